"""Settings of the training stage and of the models under study."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from workflow_scripts.settings.base import FileName, Rate, Settings, Step

Strategy = Literal["adapter", "lora", "full"]
"""What is trained: the speech adapter alone, or also LoRA on the language model, or also all its weights."""


class PromptSource(Settings):
    """Rows of one data file that become training prompts."""

    asset: str = Field(description="Key of `assets`; own files are an asset with a `path`.")
    file: FileName = Field(description="File inside the asset: .jsonl, .csv with a header line, or .parquet.")
    layout: Literal["question", "multiple_choice", "sentence", "words"] = Field(
        description="`question`: asked as it stands. `multiple_choice`: with four options, in VoiceBench's wording. "
        "`sentence`: 'Repeat after me: ...'. `words`: the different words of all rows, a few to a prompt, to be "
        "repeated: an ear is taught the words of ten thousand texts in the time that it takes to say each word once."
    )
    field: str = Field(min_length=1, description="Field with the text.")
    word_count: int = Field(default=3, gt=0, description="Layout words: how often a word must occur in the file.")
    words_per_prompt: int = Field(default=12, gt=0, description="Layout words: words of one prompt.")
    response: str | None = Field(
        default=None,
        min_length=1,
        description="Field with the answer that is trained: a text, the first of a list, or the right option's text or "
        "letter. Default: the backbone's own answer; sentences are answered with themselves.",
    )
    response_map: dict[str, str] = Field(
        default={}, description="What is said for some responses, such as {'True': 'Yes', 'False': 'No'}."
    )
    options: str = Field(
        default="options",
        min_length=1,
        description="Field with the options of `multiple_choice`: a list, or a text with lines or '|' between. Of "
        "more than four, three wrong ones are drawn.",
    )
    exclude_file: FileName | None = Field(
        default=None,
        description="File of the same asset whose texts must not be used (a benchmark's test part).",
    )
    share: float = Field(gt=0, description="Relative number of prompts from this source.")
    min_words: int | None = Field(default=None, gt=0, description="Default: training.instructions.min_words.")
    max_words: int | None = Field(default=None, gt=0, description="Default: training.instructions.max_words.")
    wer_filter: bool = Field(
        default=True,
        description="Whether utterances above speech.training_wer_limit are dropped; if not, they are not transcribed.",
    )

    @model_validator(mode="after")
    def _has_a_response_of_its_own(self) -> "PromptSource":
        if self.is_repeated and self.response is not None:
            raise ValueError(f"response {self.response!r}: what is repeated is answered with itself; remove response")
        return self

    @property
    def is_answered(self) -> bool:
        """Whether the answers come with the data, so that the backbone answers nothing."""
        return self.response is not None or self.is_repeated

    @property
    def is_repeated(self) -> bool:
        """Whether the prompt asks for its own words."""
        return self.layout in ("sentence", "words")


class InstructionSettings(Settings):
    """The training prompts and the answers they are trained to get."""

    prompts: int = Field(gt=0, description="Number of training prompts.")
    heldout: int = Field(gt=0, description="Further prompts kept out of training for the learning curve.")
    min_words: int = Field(default=3, gt=0, description="Shortest prompt in words.")
    max_words: int = Field(default=18, gt=0, description="Longest prompt in words.")
    max_new_tokens: int = Field(default=24, gt=0, description="Longest base-model answer, in tokens.")
    sources: list[PromptSource] = Field(min_length=1, description="Where prompts come from.")

    @model_validator(mode="after")
    def _some_length_fits(self) -> "InstructionSettings":
        if self.min_words > self.max_words:
            raise ValueError(f"min_words {self.min_words} is above max_words {self.max_words}: no prompt fits")
        return self


class WarmupSettings(Settings):
    """CTC warm-up of the adapter against the backbone's token embeddings; not in the paper."""

    epochs: int = Field(default=1, gt=0, description="Passes over the training utterances.")
    batch_size: int = Field(default=32, gt=0, description="Utterances per step.")
    learning_rate: Rate = Field(default=1e-3, description="Peak rate of AdamW.")


class LoraSettings(Settings):
    """Shape of the LoRA update."""

    r: int = Field(default=8, gt=0, description="Rank (paper: 8).")
    alpha: float = Field(default=4.0, gt=0, description="Scale is alpha / r (paper: 4).")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="Dropout on the LoRA input (paper: 0.1).")
    targets: list[Annotated[str, Field(pattern=r"^[\w.]+$")]] = Field(
        min_length=1, default=["q_proj", "k_proj", "v_proj", "o_proj"], description="Linear maps that get an update."
    )


class AdapterSettings(Settings):
    """The paper's adapter: two fully connected layers on stacked encoder frames."""

    output: Literal["projection", "posterior"] = Field(
        default="projection",
        description="What the LLM gets: the second layer's output (the paper), or the LLM's mean token embedding under "
        "the CTC posterior of the warm-up (LegoSLM).",
    )
    stack: int = Field(default=5, gt=0, description="Neighbouring encoder frames joined into one position.")
    hidden_size: int = Field(default=2048, gt=0, description="Width between the two layers.")
    activation: Literal["relu", "gelu"] = Field(default="relu", description="Nonlinearity between them.")
    collapse: bool = Field(
        default=False,
        description="With output posterior: CTC's repeats are merged and its blanks dropped, so that the LLM reads one "
        "vector per token heard (CTC compression).",
    )

    @model_validator(mode="after")
    def _collapses_a_posterior(self) -> "AdapterSettings":
        if self.collapse and self.output != "posterior":
            raise ValueError(f"adapter.collapse is set with output {self.output!r}; it needs output: posterior")
        return self


class RecipeSettings(Settings):
    """How an LSLM is trained."""

    warmup: Literal["ctc", "none"] = Field(description="CTC warm-up of the adapter first, or a random adapter.")
    ctc: WarmupSettings = Field(default=WarmupSettings(), description="Settings of the warm-up.")
    objective: Literal["answers", "ctc"] = Field(
        default="answers",
        description="What training lowers: the loss of the answers, or CTC's of what is said (strategy adapter with "
        "output posterior): the LLM is not run, and each checkpoint shows what it makes of a better ear.",
    )
    sampled_tokens: int | None = Field(
        default=None,
        gt=0,
        description="With objective ctc: the softmax is over the tokens of the batch and this many others, drawn anew "
        "in every step and weighted to stand for all of them; default: all tokens of the training texts.",
    )
    adapter: AdapterSettings = Field(default=AdapterSettings(), description="Shape of the adapter.")
    lora: LoraSettings = Field(default=LoraSettings(), description="Used by strategy lora.")
    learning_rate: dict[Literal["lora", "full"], Rate] = Field(
        default={}, description="Peak rate of the LLM by strategy; strategy adapter leaves it as it is."
    )
    adapter_learning_rate: Rate | None = Field(
        default=None, description="Peak rate of the adapter; default: the LLM's. Strategy adapter needs it."
    )
    batch_size: int = Field(gt=0, description="Samples per optimiser step, spoken and written together.")
    micro_batch_size: int | None = Field(
        default=None, gt=0, description="Samples per forward pass; default: batch_size (no accumulation)."
    )
    written_share: float = Field(
        ge=0, lt=1, description="Share of a batch that is text instruction -> response; none for strategy adapter."
    )
    checkpoint_steps: list[Step] = Field(
        min_length=1, description="Steps at which a checkpoint is kept; 0 is the untrained start."
    )
    warmup_ratio: float = Field(default=0.03, ge=0, lt=1, description="Share of steps with rising rate.")
    weight_decay: float = Field(default=0.0, ge=0, description="AdamW weight decay.")

    @model_validator(mode="after")
    def _posterior_is_trained(self) -> "RecipeSettings":
        output = self.adapter.output
        if output == "posterior" and not self.heard_by_ctc:
            raise ValueError(
                f"adapter.output is {output!r}, which CTC trains; warmup is {self.warmup!r} and objective "
                f"{self.objective!r}: set warmup: ctc, or objective: ctc"
            )
        if self.objective == "ctc" and output != "posterior":
            raise ValueError(f"objective is 'ctc', which trains adapter.output: posterior; output is {output!r}")
        if self.objective != "ctc" and self.sampled_tokens is not None:
            raise ValueError(
                f"sampled_tokens is {self.sampled_tokens} with objective {self.objective!r}; it needs objective: ctc"
            )
        return self

    @property
    def heard_by_ctc(self) -> bool:
        """Whether CTC trains the adapter at some time, which imposes alignment at the embeddings."""
        return self.warmup == "ctc" or self.objective == "ctc"

    def unfit_objective(self, strategy: Strategy, n_processes: int, distilled: bool) -> str | None:
        """Why a model cannot be trained with this recipe's objective; None if it can."""
        if self.objective == "ctc" and (strategy != "adapter" or n_processes > 1 or distilled):
            return (
                f"objective 'ctc' with strategy {strategy!r}, {n_processes} process(es)"
                f"{' and distill' if distilled else ''}: CTC trains the adapter alone, in one process, without distill"
            )
        return None

    @model_validator(mode="after")
    def _steps_rise(self) -> "RecipeSettings":
        if self.checkpoint_steps != sorted(set(self.checkpoint_steps)) or self.checkpoint_steps[0] < 0:
            raise ValueError(f"checkpoint_steps {self.checkpoint_steps} must rise strictly from 0 or more")
        if self.checkpoint_steps[-1] == 0:
            raise ValueError(f"checkpoint_steps {self.checkpoint_steps} train nothing; add a step above 0")
        return self

    def rates(self, strategy: Strategy) -> tuple[float, float]:
        """Peak rates of the language model and of the adapter; strategy adapter uses the second for both.

        Raises:
            ValueError: the recipe lacks the rate that the strategy trains with.
        """
        if strategy == "adapter":
            if self.adapter_learning_rate is None:
                raise ValueError("no adapter_learning_rate, the only rate that strategy 'adapter' trains with")
            return self.adapter_learning_rate, self.adapter_learning_rate
        if strategy not in self.learning_rate:
            raise ValueError(f"learning_rate has no {strategy!r}")
        rate = self.learning_rate[strategy]
        return rate, self.adapter_learning_rate or rate

    def unfit_batch(self, n_processes: int) -> str | None:
        """Why the batch cannot be shared by so many processes; None if it can."""
        per_process, rest = divmod(self.batch_size, n_processes)
        micro = self.micro_batch_size or per_process
        if rest or micro == 0 or per_process % micro:
            return (
                f"batch_size {self.batch_size} does not divide into {n_processes} processes x micro-batches of "
                f"{micro}; change batch_size or micro_batch_size"
            )
        return None

    def unfit_samples(self, strategy: Strategy, n_prompts: int) -> str | None:
        """Why batches cannot be drawn from so many training prompts; None if they can. The training step's sampler
        counts alike."""
        written = 0 if strategy == "adapter" else round(self.batch_size * self.written_share)
        spoken = self.batch_size - written
        if spoken < 1:
            return (
                f"written_share {self.written_share} leaves no spoken sample in a batch of {self.batch_size}; lower "
                "written_share or raise batch_size"
            )
        if max(spoken, written) > n_prompts:
            return (
                f"batch_size {self.batch_size} is {spoken} spoken and {written} written samples, of {n_prompts} "
                "prompts; lower batch_size or raise training.instructions.prompts"
            )
        return None


class TrainingSettings(Settings):
    """Training data and recipes."""

    instructions: InstructionSettings = Field(description="Training prompts.")
    prompts_per_shard: int | None = Field(
        default=None,
        gt=0,
        description="Prompts that one job speaks, transcribes or answers; default: all of them.",
    )
    features: Literal["cached", "online", "auto"] = Field(
        default="cached",
        description="Encoder output of the training prompts: `cached` in a file, or computed `online` in every step. "
        "`auto`: online where the file would take more than half of the free disk.",
    )
    recipes: dict[str, RecipeSettings] = Field(description="Recipes by name; a model names one.")
