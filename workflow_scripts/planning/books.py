"""What each job books: main memory from the size of its model and batch, and cores.

The sizes are those of config.json: of the fetched folder, else of a local source, else as `assets.yaml` records them. A
model of unknown size books `UNKNOWN_MB`. Cheap: read while the Snakefile is parsed.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.shards import shard_names
from workflow_scripts.settings import INSTRUCTIONS, Config, ConfigError
from workflow_scripts.settings.model_size import (
    PROCESS,
    ModelSize,
    answering_bytes,
    converting_bytes,
    encoding_bytes,
    loading_bytes,
    model_size,
    reading_bytes,
    training_bytes,
    transcribing_bytes,
    warm_up_bytes,
)
from workflow_scripts.settings.training import AdapterSettings, RecipeSettings

Count = Callable[[ModelSize], int]

UNKNOWN_MB = 16_000
LARGE = 300_000_000
"""Parameters from which a model takes `ALL_CORES`; smaller ones run side by side on a core each."""
ALL_CORES = 8
"""Snakemake lowers it to the cores that it was given."""
FRAMES_PER_SECOND, TOKENS_PER_SECOND = 50, 4
"""Of an encoder, and of a transcript of speech."""
WORD_SECONDS = 0.4
TEMPLATE = 40
"""Positions of a chat template."""
PROMPT = 160
"""Positions of a question in its template, on average over a batch of long ones (ours)."""
INSTRUCTION_POSITIONS = 8192
"""Of a batch of training prompts, the limit of `training.answer_instructions`."""


def positions_per_second(adapter: AdapterSettings) -> float:
    """Positions that the language model reads for a second of speech."""
    return TOKENS_PER_SECOND if adapter.collapse else FRAMES_PER_SECOND / adapter.stack


class Books:
    """Resource functions of the rules that run a model: megabytes of main memory (10^6 bytes), and threads."""

    def __init__(self, config: Config, *, on_gpu: bool = False):
        self.config = config
        self.on_gpu = on_gpu or shutil.which("nvidia-smi") is not None
        """Whether models run on a GPU: main memory then holds what is loaded, not what is computed."""
        self.largest: tuple[int, str] = (0, "")
        """The most that a job of this run has asked for, and which."""
        self._sizes: dict[str, ModelSize | None] = {}

    # --- sizes ---------------------------------------------------------------------------------------------------

    @cached_property
    def number(self) -> int:
        """Bytes of a number: 2 where this machine has a GPU or multiplies bfloat16, else 4."""
        cpuinfo = Path("/proc/cpuinfo")
        flags = cpuinfo.read_text(encoding="utf-8", errors="replace").partition("\n\n")[0] if cpuinfo.exists() else ""
        return 2 if self.on_gpu or {"avx512_bf16", "amx_bf16", "bf16"} & {*flags.split()} else 4

    def size(self, asset: str) -> ModelSize | None:
        """The size of an asset that is a model, None if nothing tells it."""
        if asset not in self._sizes:
            settings = self.config.assets[asset]
            sources = [Path(source.path) for source in settings.sources if hasattr(source, "path")]
            files = [folder / "config.json" for folder in [Path("resources", asset), *sources]]
            found = next(filter(None, map(_read, files)), settings.config)
            self._sizes[asset] = None if found is None else model_size(found)
        return self._sizes[asset]

    def _language_model(self, wildcards: Any) -> str | None:
        """The asset of the job's weights, or of the language model that they belong to."""
        name = getattr(wildcards, "backbone", None) or wildcards.model
        entry = self.config.models.get(name)
        return name if entry is None else entry.weights_asset(name) or entry.language_model

    def _model_size(self, wildcards: Any) -> ModelSize | None:
        asset = self._language_model(wildcards)
        return None if asset is None else self.size(asset)

    def _mb(
        self,
        wildcards: Any,
        what: str,
        size: ModelSize | None,
        count: Count,
        *,
        loaded: int | None = None,
        processes: int = 1,
    ) -> int:
        """Megabytes of so many processes that take `count(size)` each, or what a public model's entry says.

        loaded: bytes of a number while the weights are read, for models on a GPU; default: `number`.
        """
        entry = self.config.models.get(getattr(wildcards, "model", ""))
        stated = getattr(entry, "memory_gb", None)
        if stated is not None:
            return self._remember(int(1000 * stated), f"{what} ({wildcards.model}: memory_gb {stated:g})")
        if size is None:
            return UNKNOWN_MB
        needed = processes * (loading_bytes(size, loaded or self.number) if self.on_gpu else count(size))
        name = ", ".join(str(value) for _, value in sorted(wildcards.items()))
        return self._remember(needed // 10**6, f"{what} ({name}: {size.parameters / 1e6:,.0f} million parameters)")

    def _remember(self, megabytes: int, what: str) -> int:
        """`megabytes`, for `require_fit`."""
        self.largest = max(self.largest, (megabytes, what))
        return megabytes

    # --- memory --------------------------------------------------------------------------------------------------

    def answers(self, wildcards: Any) -> int:
        """Answers to a shard of questions."""
        subset = self.config.benchmark.subsets[wildcards.subset]
        asked = subset.questions or self.config.benchmark.questions_per_subset
        settings, limit = self.config.evaluation, self.config.benchmark.questions_per_shard
        in_shard = -(-asked // len(shard_names(asked, limit)))
        rows = min(settings.batch_size, 2 * in_shard)  # written prompts and transcripts share a batch
        positions = min(settings.max_positions, rows * PROMPT) + rows * subset.max_new_tokens
        size = self._model_size(wildcards)
        return self._mb(wildcards, "answers", size, lambda one: answering_bytes(one, positions, self.number))

    def instructions(self, wildcards: Any) -> int:
        """Answers to the training prompts."""
        settings, rows = self.config.training.instructions, self.config.evaluation.batch_size
        if all(source.is_answered for source in settings.sources):
            return self._remember(2 * PROCESS // 10**6, "answers that come with the data")  # no model is loaded
        prompt = TEMPLATE + 2 * settings.max_words
        positions = min(INSTRUCTION_POSITIONS, rows * prompt) + rows * settings.max_new_tokens
        size = self._model_size(wildcards)
        return self._mb(wildcards, "answers", size, lambda one: answering_bytes(one, positions, self.number))

    def states(self, wildcards: Any) -> int:
        """Hidden states of a batch."""
        positions = self.config.activations.batch_size * PROMPT
        size = self._model_size(wildcards)
        return self._mb(wildcards, "hidden states", size, lambda one: reading_bytes(one, positions, self.number))

    def responses(self, wildcards: Any) -> int:
        """Forced responses of few questions, in full logits."""
        settings = self.config.responses
        positions = settings.questions * (PROMPT + settings.positions)

        def count(one: ModelSize) -> int:
            return answering_bytes(one, positions, self.number) + one.vocab * positions

        return self._mb(wildcards, "responses", self._model_size(wildcards), count)

    def features(self, wildcards: Any) -> int:
        """Encoder output of a batch of clips."""
        return self._encoding(wildcards, wildcards.encoder, 16, self.config.speech.window_seconds, encoding_bytes)

    def transcripts(self, wildcards: Any) -> int:
        """Transcripts of a batch of clips."""
        asr = self.config.speech.asr
        window = self.config.speech.max_seconds
        return self._encoding(wildcards, asr.asset, asr.batch_size, window, transcribing_bytes)

    def _encoding(
        self, wildcards: Any, asset: str, batch: int, window: float, needed: Callable[[ModelSize, int, int], int]
    ) -> int:
        subset = getattr(wildcards, "subset", INSTRUCTIONS)  # shards of the training prompts have none
        seconds = max(window, min(self.config.speech.max_seconds, self._longest(subset)))
        frames = int(batch * FRAMES_PER_SECOND * seconds)
        return self._mb(wildcards, "encoder", self.size(asset), lambda one: needed(one, frames, self.number))

    def converting(self, wildcards: Any) -> int:
        """A model turned into another format."""
        return self._mb(wildcards, "conversion", self.size(wildcards.asset), converting_bytes)

    def _longest(self, subset: str) -> float:
        """Seconds of a long clip: known for training prompts, whose words are limited."""
        longest = self.config.speech.max_seconds
        if subset == INSTRUCTIONS:
            prompts = self.config.training.instructions
            words = max(source.max_words or prompts.max_words for source in prompts.sources)
            longest = min(longest, WORD_SECONDS * words)
        return longest

    def _ctc(self, wildcards: Any, recipe: RecipeSettings, batch: int, what: str) -> int:
        """CTC on a batch: of stacked frames, before they are collapsed."""
        positions = int(batch * self._longest(INSTRUCTIONS) * FRAMES_PER_SECOND / recipe.adapter.stack)
        size = self._model_size(wildcards)
        return self._mb(wildcards, what, size, lambda one: warm_up_bytes(one, positions, self.number))

    def warm_up(self, wildcards: Any) -> int:
        """The CTC warm-up of an adapter."""
        recipe = self.config.training.recipes[wildcards.recipe]
        return self._ctc(wildcards, recipe, recipe.ctc.batch_size, "warm-up")

    def training(self, wildcards: Any) -> int:
        """Training of a model, all its processes."""
        entry, prompts = self.config.models[wildcards.model], self.config.training.instructions
        recipe = self.config.training.recipes[entry.recipe]
        micro = recipe.micro_batch_size or recipe.batch_size // entry.processes
        if recipe.objective == "ctc":  # the language model is not run
            return self._ctc(wildcards, recipe, micro, "training")
        answer = prompts.max_new_tokens
        length = int(TEMPLATE + positions_per_second(recipe.adapter) * self._longest(INSTRUCTIONS) + answer)
        full = entry.strategy == "full"

        def count(one: ModelSize) -> int:
            share = entry.processes if entry.shard else 1
            return training_bytes(one, micro, length, answer, self.number, full=full, share=share)

        loaded = 4 if full else self.number
        options = {"loaded": loaded, "processes": entry.processes}
        return self._mb(wildcards, "training", self._model_size(wildcards), count, **options)

    def speaking(self, wildcards: Any, threads: int) -> int:
        """A voice in each of `threads` processes."""
        return 500 + 300 * threads

    # --- cores ---------------------------------------------------------------------------------------------------

    def threads(self, wildcards: Any) -> int:
        """One core for a small model, all for a large one, so that large ones run one at a time."""
        size = self._model_size(wildcards)
        return 1 if size is not None and size.parameters < LARGE else ALL_CORES

    # --- what does not fit ---------------------------------------------------------------------------------------

    def require_fit(self, limit_mb: int | None) -> None:
        """Refuse a run with a job that books more than there is. None: no limit (a cluster).

        Raises:
            ConfigError: names the job, what it needs, what there is and what can be done.
        """
        needed, what = self.largest
        if limit_mb is not None and needed > limit_mb:
            raise ConfigError(
                f"{what} needs {needed / 1000:.1f} GB of main memory, this machine has {limit_mb / 1000:.1f} GB to "
                "book (profiles/default): take a smaller model, strategy lora or adapter, a smaller micro_batch_size "
                "or evaluation.batch_size, or a cluster (docs/cluster.md); --resources mem_mb=N books N megabytes all "
                "the same"
            )


def _read(path: Path) -> Mapping[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
