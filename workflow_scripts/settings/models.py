"""Settings of the models under study: those that the workflow trains, and those that exist already."""

import re
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from workflow_scripts.settings.base import Settings, Step
from workflow_scripts.settings.training import Strategy, TrainedModel

ADAPTER = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$"
FINAL = "final"
"""The one checkpoint of a model that is not trained here."""
WEIGHTS = ".weights"
"""Ending of the asset that is made of a model's own `hub` or `path`."""

Dtype = Literal["auto", "float32", "bfloat16", "float16"]


class CheckpointsModel(Settings):
    """Checkpoints of a composite model, trained earlier or elsewhere with this workflow's training step."""

    family: Literal["checkpoints"] = Field(description="Encoder + adapter + causal LM, weights from a folder.")
    folder: str = Field(min_length=1, description="Folder with checkpoints.json and one folder per checkpoint.")
    steps: list[Step] = Field(min_length=1, description="Steps of the checkpoints to study, in order of training.")
    backbone: str = Field(description="Key of `assets`: the LLM they were trained from.")
    encoder: str = Field(description="Key of `assets`: the Whisper model whose encoder they were trained with.")
    strategy: Strategy = Field(description="What was trained: the adapter alone, or with it LoRA or the full LLM.")
    warmup: Literal["ctc", "none"] = Field(description="Whether the adapter had a CTC warm-up.")

    @model_validator(mode="after")
    def _steps_rise(self) -> "CheckpointsModel":
        if self.steps != sorted(set(self.steps)) or self.steps[0] < 0:
            raise ValueError(f"steps {self.steps} must rise strictly from 0 or more")
        return self


class PublicModel(Settings):
    """What all models that are not trained here have in common; give exactly one of `hub`, `path` and `asset`."""

    hub: str | None = Field(default=None, pattern=r"^[\w.-]+/[\w.-]+$", description="Repository of the model hub.")
    revision: str | None = Field(default=None, min_length=1, description="Commit, tag or branch; goes with `hub`.")
    path: str | None = Field(default=None, min_length=1, description="Local transformers folder.")
    asset: str | None = Field(default=None, description="Key of `assets`, where the weights are one already.")
    licence: str = Field(default="see the model's own terms", min_length=1, description="Recorded with the weights.")
    backbone: str | None = Field(
        default=None, description="Key of `assets`: the LLM it was made from, for the decline; default: unknown."
    )
    dtype: Dtype = Field(default="auto", description="Number format; auto: bfloat16 where multiplied natively.")
    device_map: Literal["auto", "balanced", "sequential"] | None = Field(
        default=None, description="Spread the layers over several devices; default: one device."
    )
    load_in_8bit: bool = Field(default=False, description="8-bit weights (CUDA with bitsandbytes installed).")
    memory_gb: float = Field(default=16, gt=0, description="Main memory that a job with it books (SLURM).")
    trust_remote_code: bool = Field(default=False, description="Run code that comes with the weights.")

    @model_validator(mode="after")
    def _one_source(self) -> "PublicModel":
        given = [name for name in ("hub", "path", "asset") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of `hub`, `path` and `asset`; found {given or 'none'}")
        if (self.hub is None) != (self.revision is None):
            raise ValueError("`hub` and `revision` go together: a commit of 40 hexadecimal digits is reproducible")
        return self

    def source(self) -> dict[str, Any] | None:
        """The source of the weights as an asset has it; None where the weights are an asset already."""
        if self.hub is not None:
            return {"hub": self.hub, "revision": self.revision}
        return None if self.path is None else {"path": self.path}


class HfModel(PublicModel):
    """A placeholder model of transformers with its processor."""

    family: Literal["hf"] = Field(description="Audio embeddings take the place of placeholder ids in the model.")
    class_name: str | None = Field(
        default=None,
        alias="class",
        pattern=r"^[A-Za-z]\w*$",
        description="Class in transformers; default: the one its config names.",
    )
    template: Literal["native", "matched"] = Field(
        default="native", description="matched: the same frame around speech and text."
    )
    audio_token: str | None = Field(default=None, description="Text of one placeholder; default: the processor's.")
    positions_per_second: float | None = Field(
        default=None, gt=0, description="For models that fill the whole window: what trims the padding."
    )
    max_seconds: float | None = Field(default=None, gt=0, description="Longest clip; default: the extractor's window.")
    lora: Literal["auto", "always", "speech", "never"] = Field(
        default="auto", description="When a LoRA is on; auto: as trained (Granite, Phi: for speech only)."
    )
    lora_subfolder: str | None = Field(
        default=None, pattern=r"^[\w-]+$", description="Folder of a LoRA inside the weights, such as speech-lora."
    )
    interventions: bool = Field(
        default=True, description="False for models that only run as a whole (Gemma 4): edits need a shared prefill."
    )


class UnitsModel(PublicModel):
    """A causal LM whose vocabulary holds speech units."""

    family: Literal["units"] = Field(description="Speech as vocabulary ids.")
    unit_token: str = Field(description="Text of a unit's token with {} for its number, such as <{}>.")
    begin: str = Field(default="", description="Text before the units, such as <sosp>.")
    end: str = Field(default="", description="Text after the units, such as <eosp>.")
    prompt: str | None = Field(
        default=None, description="Prompt with {query} in it; default: the tokenizer's chat template."
    )
    quantizer: str = Field(
        description="Key of `assets`: HuBERT with centroids.safetensors, or GLM-4-Voice's speech tokenizer; or "
        "package.module:Class."
    )
    quantizer_layer: int = Field(default=11, gt=0, description="HuBERT layer that is quantised.")
    merge_repeats: bool = Field(default=True, description="One token for a run of equal units.")
    max_seconds: float | None = Field(default=None, gt=0, description="Longest clip.")

    @model_validator(mode="after")
    def _placeholders(self) -> "UnitsModel":
        if self.unit_token.count("{}") != 1:
            raise ValueError(f"unit_token {self.unit_token!r} must hold {{}} exactly once, for the unit's number")
        if self.prompt is not None and self.prompt.count("{query}") != 1:
            raise ValueError(f"prompt {self.prompt!r} must hold {{query}} exactly once")
        return self

    @property
    def quantizer_asset(self) -> str | None:
        """The asset of the quantizer, None if it is a class of one's own."""
        return None if re.match(ADAPTER, self.quantizer) else self.quantizer


class AdapterModel(PublicModel):
    """A model behind a class of one's own."""

    family: Literal["adapter"] = Field(description="A third-party `SpeechLM` class.")
    adapter: str = Field(
        pattern=ADAPTER, description="`package.module:Class`; it is imported and run, so name only what you trust."
    )
    options: dict[str, Any] = Field(default={}, description="Keyword arguments of the class.")


def _family(value: Any) -> Any:
    """The tag of an entry; entries without one are composite."""
    return value.get("family", "composite") if isinstance(value, dict) else getattr(value, "family", None)


AnyModel = Annotated[
    Annotated[TrainedModel, Tag("composite")]
    | Annotated[CheckpointsModel, Tag("checkpoints")]
    | Annotated[HfModel, Tag("hf")]
    | Annotated[UnitsModel, Tag("units")]
    | Annotated[AdapterModel, Tag("adapter")],
    Discriminator(
        _family,
        custom_error_type="model_family",
        custom_error_message="family must be one of composite, checkpoints, hf, units and adapter",
    ),
]

PUBLIC = (HfModel, UnitsModel, AdapterModel)
Public = HfModel | UnitsModel | AdapterModel


def weights_asset(name: str, model: PublicModel) -> str:
    """The asset that holds the weights of the public model `name`."""
    return model.asset or f"{name}{WEIGHTS}"
