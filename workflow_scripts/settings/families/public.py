"""What models that are not trained here have in common."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from workflow_scripts.settings.families.base import ModelSettings

WEIGHTS = ".weights"
"""Ending of the asset that is made of a model's own `hub` or `path`."""
CLASS_PATH = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$"
"""`package.module:Class` of a class that the user brings."""

Dtype = Literal["auto", "float32", "bfloat16", "float16"]


class PublicModel(ModelSettings):
    """What all models that are not trained here have in common; give exactly one of `hub`, `path` and `asset`."""

    not_opened: ClassVar[frozenset[str]] = frozenset(
        {"hub", "revision", "path", "asset", "licence", "backbone", "memory_gb", "interventions"}
    )

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
    memory_gb: float | None = Field(
        default=None, gt=0, description="Main memory that a job with it books; default: computed from its size."
    )
    trust_remote_code: bool = Field(default=False, description="Run code that comes with the weights.")
    allowed_tensors: list[str] = Field(
        default=[],
        description="Tensors that the files may lack or have too many of, by name or pattern such as talker.*; any "
        "other is an error.",
    )
    interventions: bool = Field(
        default=True,
        description="False leaves it out of the interventions. Models that cannot be edited are left out in any case.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> "PublicModel":
        given = [name for name in ("hub", "path", "asset") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of `hub`, `path` and `asset`; found {given or 'none'}")
        if (self.hub is None) != (self.revision is None):
            raise ValueError("`hub` and `revision` go together: a commit of 40 hexadecimal digits is reproducible")
        return self

    def weights_asset(self, name: str) -> str:
        """The asset named, or the one made of the entry's own source."""
        return self.asset or f"{name}{WEIGHTS}"

    @property
    def editable(self) -> bool:
        """As the entry says."""
        return self.interventions
