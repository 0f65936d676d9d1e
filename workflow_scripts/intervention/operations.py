"""What an edit does to a speech vector s, given the text vector t it is aligned with (paper, section on interventions).

angle     s' = ||s|| t / ||t||    t's direction, own length
length    s' = ||t|| s / ||s||    own direction, t's length
no_op     s' = s                  a control: the answers must not change by a bit
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Operation = Literal["no_op", "angle", "length"]

ZERO_NORM = 1e-12
"""Vectors no longer than this have no direction."""


@dataclass(frozen=True)
class EditedVectors:
    """Edited vectors of one question.

    Attributes:
        values: (m, d); float64, except for no_op, which returns the vectors it was given.
        kept: (m,) int64 indices of the edited pairs among the n given; the others had a zero vector.
        log_norm_ratio: (m,) float64 log(||s|| / ||t||), before the edit.
        shift: (m,) float64 ||s' - s||.
    """

    values: Tensor
    kept: Tensor
    log_norm_ratio: Tensor
    shift: Tensor

    @property
    def n_edited(self) -> int:
        """m."""
        return len(self.kept)


def edit_vectors(operation: Operation, speech: Tensor, text: Tensor) -> EditedVectors:
    """Apply `operation` to speech vectors (n, d) with their text partners (n, d).

    Pairs in which a vector is zero are left out, for `no_op` too, so that its edits cover the same positions.
    Raises ValueError for shapes that differ or an unknown operation.
    """
    if speech.ndim != 2 or speech.shape != text.shape:
        raise ValueError(
            f"speech vectors {tuple(speech.shape)} and text vectors {tuple(text.shape)} must be (n, d) both"
        )
    s, t = speech.double(), text.double()
    s_norm, t_norm = s.norm(dim=1), t.norm(dim=1)
    kept = torch.nonzero((s_norm > ZERO_NORM) & (t_norm > ZERO_NORM))[:, 0]
    s, t, s_norm, t_norm = s[kept], t[kept], s_norm[kept], t_norm[kept]
    if operation == "no_op":
        values = speech[kept]
    elif operation == "angle":
        values = t * (s_norm / t_norm)[:, None]
    elif operation == "length":
        values = s * (t_norm / s_norm)[:, None]
    else:
        raise ValueError(f"operation {operation!r} is unknown; choose no_op, angle or length")
    shift = (values.double() - s).norm(dim=1)
    return EditedVectors(values, kept, torch.log(s_norm / t_norm), shift)
