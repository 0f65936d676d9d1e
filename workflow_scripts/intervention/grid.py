"""The cells of the grid: every entry at every layer that it names, each control beside the edit it belongs to."""

from dataclasses import dataclass
from typing import Any

from workflow_scripts.settings.intervention import (
    BASELINE,
    ERASE,
    ORACLE,
    InterventionOperation,
    InterventionSettings,
)
from workflow_scripts.speech_lm.protocol import SpeechLMError


@dataclass(frozen=True)
class Cell:
    """One thing that is done to every question.

    Attributes:
        key: name in the answers: the entry's, with `@layer` where the entry is tried at several layers.
        name: the entry's.
        entry: the edit; for a control that of the entry it controls.
        control: kind of control, None for an edit.
        of: key of the edit that a control belongs to.
        layer: the layer edited, None for all of them in one pass.
        recomputed: the path is found anew in each layer.
    """

    key: str
    name: str
    entry: InterventionOperation
    control: str | None
    of: str | None
    layer: int | None
    recomputed: bool

    def facts(self) -> dict[str, Any]:
        """What a reader of the answers has to know about the cell, as plain values."""
        layer = self.layer if self.layer is not None else ("all_recomputed" if self.recomputed else "all")
        return {
            "name": self.name,
            "operation": self.entry.operation,
            "weight": self.entry.weight,
            "selection": self.entry.selection,
            "k": self.entry.k,
            "layer": layer,
            "swept": "@" in self.key,
            "metric": self.entry.metric,
            "path": "layer's own" if self.recomputed else self.entry.path,
            "control": self.control,
            "of": self.of,
        } | ({"rank": self.entry.rank, "erased": self.entry.erased} if self.entry.operation == ERASE else {})

    @property
    def edit(self) -> str:
        """Key of the edit that this is, or is a control of."""
        return self.of or self.key


def grid_cells(settings: InterventionSettings, n_layers: int, model: str) -> list[Cell]:
    """Cells of all edits and controls, in the order configured; baseline and ceilings are no cells.

    Raises:
        SpeechLMError: an entry names a layer that the model does not have.
    """
    cells = []
    for name, own in settings.operations.items():
        if own.operation in (BASELINE, ORACLE):
            continue
        entry = own if own.control is None else settings.operations[str(own.of)]
        layer = settings.layer if entry.layer is None else entry.layer
        if layer in ("all", "all_recomputed"):
            cells.append(Cell(name, name, entry, own.control, own.of, None, layer == "all_recomputed"))
            continue
        several = not isinstance(layer, int)
        layers = list(range(n_layers)) if layer == "sweep" else layer if isinstance(layer, list) else [layer]
        if outside := [one for one in layers if not 0 <= int(one) < n_layers]:
            where = "intervention" if entry.layer is None else f"intervention.operations.{own.of or name}"
            raise SpeechLMError(f"{where}.layer is {outside[0]}, but {model} has editable layers 0 .. {n_layers - 1}")
        for one in layers:
            suffix = f"@{one}" if several else ""
            of = None if own.of is None else own.of + suffix
            cells.append(Cell(name + suffix, name, entry, own.control, of, int(one), False))
    return cells
