"""What an edit does to a speech vector s, given the text vector t it is aligned with (paper, section on interventions).

Hats are unit vectors; w is the entry's weight. Angle and length are the paper's; the others read or probe it further.

angle          s' = ||s|| t^                       t's direction, own length
partial_angle  s' = ||s|| ((1 - w) s^ + w t^)^     between the two directions, own length
slerp          s' = ||s|| slerp(s^, t^, w)         w of the angle between them, own length
orthogonal     s' = (s . t^) t^                    orthogonal projection on t
length         s' = ||t|| s^                       own direction, t's length
mean_length    s' = m s^                           own direction, the mean length m of the text vectors of that layer
replace        s' = t                              the text vector itself
noise          s' = s + w ||s|| u                  u: a random unit vector
erase          s' = s - B A (s - m)                what tells the words, by a linear eraser (`measures.linear_erasure`)
no_op          s' = s                              a control: the answers must not change by a bit
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from workflow_scripts.measures.linear_erasure import Eraser

OPERATIONS = (
    *("no_op", "angle", "partial_angle", "slerp", "orthogonal"),
    *("length", "mean_length", "replace", "noise", "erase"),
)

ZERO_NORM = 1e-12
"""Vectors no longer than this have no direction."""


@dataclass(frozen=True)
class EditedVectors:
    """Edited vectors of one question.

    Attributes:
        values: (m, d); float64, except for no_op, which returns the vectors it was given.
        kept: (m,) int64 indices of the edited pairs among the n given; the others had a vector without direction.
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


def edit_vectors(
    operation: str,
    speech: Tensor,
    text: Tensor,
    *,
    weight: float = 1.0,
    mean_length: float | None = None,
    generator: torch.Generator | None = None,
    eraser: Eraser | None = None,
) -> EditedVectors:
    """Apply `operation` to speech vectors (n, d) with their text partners (n, d).

    Pairs in which a vector is zero, or for which the operation has no direction (a blend of opposite vectors), are left
    out, for `no_op` too, so that its edits cover the same positions.

    Args:
        weight: w of partial_angle, slerp and noise. mean_length: m, for mean_length only.
        generator: source of u, for noise only. eraser: for erase only.

    Raises ValueError for shapes that differ, an unknown operation, or an argument that the operation lacks.
    """
    if speech.ndim != 2 or speech.shape != text.shape:
        raise ValueError(
            f"speech vectors {tuple(speech.shape)} and text vectors {tuple(text.shape)} must be (n, d) both"
        )
    if operation not in OPERATIONS:
        raise ValueError(f"operation {operation!r} is unknown; choose one of {', '.join(OPERATIONS)}")
    s, t = speech.double(), text.double()
    s_norm, t_norm = s.norm(dim=1), t.norm(dim=1)
    kept = torch.nonzero((s_norm > ZERO_NORM) & (t_norm > ZERO_NORM))[:, 0]
    s, t, s_norm, t_norm = s[kept], t[kept], s_norm[kept, None], t_norm[kept, None]
    if operation == "no_op":
        values = speech[kept]
    elif operation == "erase":
        if eraser is None:
            raise ValueError("operation erase needs an eraser, fitted on other questions at the same layer")
        values = torch.from_numpy(eraser(s.numpy()))
    else:
        values = _edited(operation, s, t, s_norm, t_norm, weight, mean_length, generator)
        defined = torch.nonzero(values.isfinite().all(dim=1))[:, 0]
        kept, values, s, s_norm, t_norm = kept[defined], values[defined], s[defined], s_norm[defined], t_norm[defined]
    shift = (values.double() - s).norm(dim=1)
    return EditedVectors(values, kept, torch.log(s_norm / t_norm)[:, 0], shift)


def random_units(like: Tensor, generator: torch.Generator) -> Tensor:
    """Unit vectors uniform over directions, float64, in the shape of `like` (n, d)."""
    drawn = torch.randn(like.shape, generator=generator, dtype=torch.float64)
    return drawn / drawn.norm(dim=1, keepdim=True)


def _edited(
    operation: str,
    s: Tensor,
    t: Tensor,
    s_norm: Tensor,
    t_norm: Tensor,
    weight: float,
    mean_length: float | None,
    generator: torch.Generator | None,
) -> Tensor:
    """(m, d) values; not finite where the operation has no direction."""
    s_hat, t_hat = s / s_norm, t / t_norm
    if operation == "angle":
        return s_norm * t_hat
    if operation == "replace":
        return t
    if operation == "length":
        return t_norm * s_hat
    if operation == "orthogonal":
        return (s * t_hat).sum(dim=1, keepdim=True) * t_hat
    if operation == "partial_angle":
        blend = (1 - weight) * s_hat + weight * t_hat
        norm = blend.norm(dim=1, keepdim=True)
        return s_norm * torch.where(norm > 1e-9, blend / norm, torch.nan)
    if operation == "slerp":
        return s_norm * _slerp(s_hat, t_hat, weight)
    if operation == "mean_length":
        if mean_length is None:
            raise ValueError("operation mean_length needs the mean length of the text vectors of the layer")
        return mean_length * s_hat
    if generator is None:
        raise ValueError("operation noise needs a seeded generator")
    return s + weight * s_norm * random_units(s, generator)


def _slerp(first: Tensor, second: Tensor, weight: float) -> Tensor:
    """Unit vectors at `weight` of the angle from `first` to `second` (m, d); NaN between opposite ones."""
    across = second - (first * second).sum(dim=1, keepdim=True) * first
    size = across.norm(dim=1, keepdim=True)
    angle = torch.atan2(size, (first * second).sum(dim=1, keepdim=True))
    turned = torch.cos(weight * angle) * first + torch.sin(weight * angle) * across / size
    opposite = torch.where(angle > 1, torch.full_like(first, torch.nan), second)
    return torch.where(size > 1e-9, turned, opposite)
