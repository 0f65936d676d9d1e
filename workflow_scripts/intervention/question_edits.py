"""Edits of a batch of spoken queries for one operation, and what is recorded about them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from workflow_scripts.intervention.operations import EditedVectors, edit_vectors
from workflow_scripts.measures import EditTargets
from workflow_scripts.settings.analysis import InterventionOperation
from workflow_scripts.speech_lm.protocol import Edit, Query


@dataclass
class EditTally:
    """Counts of one operation over a shard.

    Attributes:
        edited: positions replaced. zero_vectors: positions left as they are because a vector was zero.
        exhausted: questions whose path had fewer distinct frames than asked for.
        log_norm_ratios, shifts: log(||s|| / ||t||) and ||s' - s|| of the edited positions.
    """

    edited: int = 0
    zero_vectors: int = 0
    exhausted: int = 0
    log_norm_ratios: list[float] = field(default_factory=list)
    shifts: list[float] = field(default_factory=list)

    def add(self, targets: EditTargets, vectors: EditedVectors) -> None:
        """Count one question."""
        self.edited += vectors.n_edited
        self.zero_vectors += len(targets.frames) - vectors.n_edited
        self.exhausted += int(targets.exhausted)
        self.log_norm_ratios += vectors.log_norm_ratio.tolist()
        self.shifts += vectors.shift.tolist()

    def summary(self) -> dict[str, float | int | None]:
        """Plain values for a file header; means are None where nothing was edited."""
        return {
            "edited": self.edited,
            "zero_vectors": self.zero_vectors,
            "exhausted": self.exhausted,
            "mean_log_norm_ratio": _mean(self.log_norm_ratios),
            "mean_shift": _mean(self.shifts),
        }


def build_edits(
    operation: InterventionOperation,
    layer: int,
    queries: Sequence[Query],
    targets: Sequence[EditTargets],
    speech: Sequence[Tensor],
    text: Sequence[Tensor],
    tally: EditTally,
) -> list[list[Edit]]:
    """One list of edits per spoken query.

    Args:
        targets: frames to edit and their text tokens, per query.
        speech, text: states of `layer`, (T_s, d) and (T_t, d) per query, in the model's number format.
        tally: counts are added to it.
    """
    edits = []
    for query, chosen, spoken, written in zip(queries, targets, speech, text):
        frames = torch.from_numpy(chosen.frames).long()
        tokens = torch.from_numpy(chosen.tokens).long()
        vectors = edit_vectors(operation.operation, spoken[frames], written[tokens])
        tally.add(chosen, vectors)
        positions = query.span[0] + frames[vectors.kept]
        edits.append([Edit(layer, positions, vectors.values)] if vectors.n_edited else [])
    return edits


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
