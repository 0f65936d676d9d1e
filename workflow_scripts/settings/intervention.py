"""Settings of the intervention stage: a grid of named entries, each an edit, a control or a ceiling."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from workflow_scripts.settings.base import NAME_PATTERN, Settings, nearest

BASELINE = "none"
"""Name of the unedited answers; every grid has them."""

TEXT = "text"
"""Name of the answers to the same questions in writing: every grid has them too, as target and as ceiling."""
ORACLE = "oracle_transcript"
"""Speech with its transcript behind it: a ceiling, not an edit."""
EVERYWHERE = "everywhere"
"""The selection of every speech frame, on the path or not."""
TURNING = ("angle", "partial_angle", "slerp", "orthogonal", "replace")
"""Operations after which a vector points elsewhere."""
SCALING = ("length", "mean_length")
"""Operations that keep the direction."""
ERASE, RANDOM_SUBSPACE = "erase", "random_subspace"
"""The operation that takes something away instead of putting it in, and the control that belongs to it."""
DIRECTED = (RANDOM_SUBSPACE, "random_direction", "other_token", "other_question")
"""Controls that stand for one kind of edit only: erasures, or edits towards something."""

Operation = Literal[
    "none",
    "no_op",
    "angle",
    "partial_angle",
    "slerp",
    "orthogonal",
    "length",
    "mean_length",
    "replace",
    "noise",
    "erase",
    "oracle_transcript",
]
Control = Literal[
    "random_direction",
    "random_shift",
    "random_subspace",
    "other_token",
    "other_question",
    "random_frames",
    "random_selection",
    "top_selection",
]
LayerNumber = Annotated[int, Field(ge=0, le=1000)]
Layer = LayerNumber | list[LayerNumber] | Literal["sweep", "all", "all_recomputed"]


class InterventionOperation(Settings):
    """One entry of the grid: an edit along the alignment path, or (with `control` and `of`) a control of one."""

    operation: Operation | None = Field(
        default=None, description="What is done to each speech vector; docs/interventions.md defines them."
    )
    weight: float = Field(
        default=1.0,
        gt=0,
        description="partial_angle, slerp: share of the way to the text's direction (at most 1); noise: its length "
        "over the speech vector's.",
    )
    rank: int = Field(default=16, gt=0, description="erase: most dimensions that are erased.")
    erased: Literal["embedding", "state"] = Field(
        default="embedding",
        description="erase: what shall not be readable any more, the embeddings of the words' tokens, or their states "
        "at the edited layer.",
    )
    selection: Literal["bottom", "top", "random", "all", "everywhere"] = Field(
        default="all",
        description="Which frames are edited: those of k path entries of lowest or highest score, of k at random, "
        "or of all; `everywhere`: every speech frame, with the token of the nearest frame of the path.",
    )
    k: int | None = Field(default=None, gt=0, description="Entries edited, unless selection is all or everywhere.")
    layer: Layer | None = Field(
        default=None,
        description="Decoder layer whose input is edited; a list or `sweep` (every layer): one at a time, each a cell "
        "of the grid; `all`: every layer in one pass; `all_recomputed`: that, with the path found anew in each layer. "
        "Default: intervention.layer.",
    )
    metric: Literal["cosine", "euclidean"] = Field(default="cosine", description="Metric of the path.")
    path: LayerNumber | Literal["vote", "best", "dtw", "forced_alignment"] = Field(
        default="vote",
        description="Where the path comes from: most frequent frame over layers 1..L, the layer of the highest "
        "calibrated path score, dynamic time warping, the times at which the words are spoken, or the number of a "
        "layer.",
    )
    control: Control | None = Field(default=None, description="What this control changes in the entry it belongs to.")
    of: str | None = Field(default=None, description="The entry that this one is a control of.")

    @property
    def layers(self) -> list[int]:
        """Layers given by their numbers, those of the path included."""
        edited = self.layer if isinstance(self.layer, list) else [self.layer]
        return [layer for layer in (*edited, self.path) if isinstance(layer, int)]

    @model_validator(mode="after")
    def _is_one_kind(self) -> "InterventionOperation":
        if self.control is None and self.of is None:
            if self.operation is None:
                raise ValueError("an entry needs `operation`, or `control` and `of`")
            self._check_edit()
        elif self.control is None or self.of is None or (extra := self._changed() - {"control", "of"}):
            found = sorted(extra) if self.control and self.of else sorted(self._changed())
            raise ValueError(
                f"a control has the keys `control` and `of` and takes all else from what it controls; found {found}"
            )
        return self

    def _changed(self) -> set[str]:
        """Keys whose values are not the defaults; a config with every default filled in has the same."""
        return {name for name, field in type(self).model_fields.items() if getattr(self, name) != field.default}

    def _check_edit(self) -> None:
        if (self.selection in ("all", EVERYWHERE)) == (self.k is not None):
            raise ValueError(
                f"selection {self.selection!r} with k {self.k}: all and everywhere take no k, the others need one"
            )
        if self.operation in ("partial_angle", "slerp") and self.weight > 1:
            raise ValueError(f"weight {self.weight} of {self.operation} must be at most 1, the text's own direction")
        if self.operation == ERASE and self.layer in ("all", "all_recomputed"):
            raise ValueError(
                f"layer {self.layer}: erase is fitted to the states of one layer; name it, give a list, or sweep"
            )
        if self.operation != ERASE and (own := self._changed() & {"rank", "erased"}):
            raise ValueError(f"{sorted(own)} belong(s) to operation erase, not to {self.operation}; remove it")
        if isinstance(self.layer, list) and (not self.layer or len(set(self.layer)) < len(self.layer)):
            raise ValueError(f"layer {self.layer}: a list needs different layers, one at least")
        if self.layer == "all_recomputed" and self.path != "vote":
            raise ValueError(f"layer all_recomputed finds its own path in each layer; remove path {self.path!r}")


class InterventionSettings(Settings):
    """Which models and questions are edited, and how."""

    subset: str = Field(pattern=NAME_PATTERN, description="Subset whose questions are asked again under edits.")
    layer: LayerNumber = Field(default=0, description="Layer of entries that name none; 0 = embeddings.")
    decoding: str = Field(default="greedy", description="Only greedy: the tests compare one answer per question.")
    operations: dict[str, InterventionOperation] = Field(
        description="The edits by name; `none`, the unedited baseline, must be among them."
    )
    cases: int = Field(default=10, ge=0, description="Rows of the case table per model and direction of change.")

    @field_validator("decoding")
    @classmethod
    def _is_greedy(cls, value: str) -> str:
        if value != "greedy":
            raise ValueError(
                f"{value!r} is not supported: edits act during prefill and paired tests need one answer per question; "
                "sampling and beam search would add changes that no edit made. Use greedy"
            )
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> "InterventionSettings":
        baselines = [name for name, entry in self.operations.items() if entry.operation == "none"]
        if baselines != [BASELINE]:
            raise ValueError(
                f"operations must have exactly one baseline, `none: {{operation: none}}`; found {baselines}"
            )
        if TEXT in self.operations:
            raise ValueError(f"operations.{TEXT}: this name is reserved for the answers to the written questions")
        for name, entry in self.operations.items():
            if entry.control is not None:
                self._check_control(name, entry)
        return self

    def _check_control(self, name: str, entry: InterventionOperation) -> None:
        treated = self.operations.get(entry.of or "")
        edits = [key for key, one in self.operations.items() if one.operation not in (None, "no_op", BASELINE, ORACLE)]
        if treated is None or entry.of not in edits:
            raise ValueError(
                f"operations.{name}: of {entry.of!r} is no edit of this grid{nearest(entry.of or '', edits)}"
            )
        if entry.control in ("random_selection", "top_selection") and treated.selection != "bottom":
            raise ValueError(
                f"operations.{name}: {entry.control} is a control of selection bottom, but {entry.of} selects "
                f"{treated.selection}"
            )
        if entry.control == "random_frames" and treated.selection == EVERYWHERE:
            raise ValueError(f"operations.{name}: {entry.of} edits every frame, so there are no others; remove it")
        if (entry.control == RANDOM_SUBSPACE) != (treated.operation == ERASE) and entry.control in DIRECTED:
            remedy = "use random_subspace" if treated.operation == ERASE else "it is a control of erase"
            raise ValueError(
                f"operations.{name}: {entry.control} is no control of {entry.of} ({treated.operation}); {remedy}"
            )
        if entry.control == "random_direction" and treated.operation not in TURNING:
            raise ValueError(
                f"operations.{name}: {entry.of} ({treated.operation}) does not turn vectors towards the text, so a "
                "random direction at the same angle would be the edit itself; use random_shift"
            )
        if entry.control in ("other_token", "other_question") and treated.operation in ("noise", "mean_length"):
            raise ValueError(f"operations.{name}: {entry.of} ({treated.operation}) takes nothing from a text token")
