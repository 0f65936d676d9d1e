"""Settings of evaluation, activations, similarity, alignment, correlation and intervention."""

from typing import Literal

from pydantic import Field, model_validator

from workflow_scripts.settings.base import NAME_PATTERN, Settings

Form = Literal["text", "speech", "asr"]


class EvaluationSettings(Settings):
    """How answers are generated and scored."""

    batch_size: int = Field(default=32, gt=0, description="Rows decoded together.")
    max_positions: int = Field(default=8192, gt=0, description="Rows times longest prompt in one batch at most.")
    bootstrap_draws: int = Field(default=2000, gt=99, description="Resamples of the paired bootstrap of GAP.")


class ActivationSettings(Settings):
    """Which hidden states are written and how."""

    subsets: list[str] | None = Field(default=None, description="Subsets to analyse; default: those in Overall.")
    batch_size: int = Field(default=16, gt=0, description="Rows of one forward pass.")
    layers: list[int] | None = Field(
        default=None,
        min_length=1,
        description="Layer indices to keep, 0 = embeddings; the pass ends at the highest; default: all.",
    )
    compression: Literal["bitshuffle", "gzip", "none"] = Field(
        default="bitshuffle", description="bitshuffle-lz4 is fast; gzip and none open everywhere."
    )
    keep: bool = Field(default=False, description="Keep the state files after similarity and alignment.")

    @model_validator(mode="after")
    def _layers_beyond_embeddings(self) -> "ActivationSettings":
        if self.layers is not None and (min(self.layers) < 0 or max(self.layers) == 0):
            raise ValueError(
                f"layers {self.layers}: name at least one above 0; Sim and APS are means over layers 1 .. L"
            )
        return self


class NullSettings(Settings):
    """The shuffled-pair null: speech of one question against the text of another of like length."""

    draws: int = Field(default=20, ge=1, description="Derangements; p cannot go below 1 / (draws + 1).")


class InterventionOperation(Settings):
    """One edit of speech tokens along the alignment path."""

    operation: Literal["none", "no_op", "angle", "length"] = Field(description="What is done to each speech vector.")
    selection: Literal["bottom", "all"] = Field(default="all", description="Which path entries are edited.")
    k: int | None = Field(default=None, gt=0, description="Entries edited when selection is bottom.")

    @model_validator(mode="after")
    def _bottom_has_k(self) -> "InterventionOperation":
        if (self.selection == "bottom") != (self.k is not None):
            raise ValueError(f"selection {self.selection!r} with k {self.k}: bottom needs k, all takes none")
        return self


class InterventionSettings(Settings):
    """Which models and questions are edited, and how."""

    subset: str = Field(pattern=NAME_PATTERN, description="Subset whose questions are asked again under edits.")
    layer: int = Field(default=0, ge=0, description="Decoder layer whose input is replaced; 0 = embeddings.")
    operations: dict[str, InterventionOperation] = Field(
        description="The edits by name; `none`, the unedited baseline, must be among them."
    )

    @model_validator(mode="after")
    def _has_baseline(self) -> "InterventionSettings":
        baselines = [name for name, entry in self.operations.items() if entry.operation == "none"]
        if baselines != ["none"]:
            raise ValueError(
                f"operations must have exactly one baseline, `none: {{operation: none}}`; found {baselines}"
            )
        return self
