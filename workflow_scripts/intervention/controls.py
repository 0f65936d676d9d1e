"""What a control puts in the place of an edit s -> s', at the same positions and with the same size of change (ours).

random_direction  length and angle to s as s' has them, towards a random direction instead of t
other_token       the same, towards another token of the transcript; for edits that keep the direction: its length
other_question    the same, towards a token of another question's transcript
random_subspace   for erasures: as many other directions erased, the mean squared change being that of the edit
random_shift      s + ||s' - s|| u with a random unit vector u: for edits of the length
random_frames, random_selection, top_selection    the edit itself elsewhere: see `selection`

The first three turn s by exactly the angle by which the edit turns it, so ||delta h|| is equal, not only alike. Lengths
taken from another token change s by another amount; the tables print both.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.intervention.operations import ZERO_NORM, EditedVectors, edit_vectors, random_units
from workflow_scripts.measures.linear_erasure import Eraser
from workflow_scripts.settings.intervention import SCALING, InterventionOperation

DONORS = ("other_token", "other_question")
"""Controls whose direction or length is another text vector's."""

SHORTEST_CONTENT = 3
"""Letters or digits that a token needs to count as a word with content."""


@dataclass(frozen=True)
class Surroundings:
    """What edits take besides s and t.

    Attributes:
        mean_length: mean length of the text vectors of the layer, or None where no entry needs it.
        donors: (n, d) text vectors of other tokens, for the controls `DONORS`.
        generator: of random directions.
        eraser: for erasures; under the control random_subspace that of the random one.
    """

    generator: torch.Generator
    mean_length: float | None = None
    donors: Tensor | None = None
    eraser: Eraser | None = None


def make_vectors(
    entry: InterventionOperation, control: str | None, speech: Tensor, text: Tensor, around: Surroundings
) -> EditedVectors:
    """Vectors of an entry (`control` None) or of one of its controls, for n pairs (n, d).

    The pairs left out (`EditedVectors.kept`) are those that the edit itself leaves out, and those with a donor that has
    no direction of its own.

    Raises ValueError for a donor control without donors.
    """
    options = {"weight": entry.weight, "mean_length": around.mean_length, "generator": around.generator}
    options["eraser"] = around.eraser
    operation = str(entry.operation)
    if control in DONORS and around.donors is None:
        raise ValueError(f"control {control} needs the text vectors of other tokens")
    if control in DONORS and operation in SCALING:
        return edit_vectors(operation, speech, around.donors, **options)
    edited = edit_vectors(operation, speech, text, **options)
    if control == "random_direction":
        units = random_units(edited.values, around.generator)
        return _replaced(edited, speech, turned_alike(speech[edited.kept], edited.values, units))
    if control in DONORS:
        return _replaced(edited, speech, turned_alike(speech[edited.kept], edited.values, around.donors[edited.kept]))
    if control == "random_shift":
        shifted = speech[edited.kept].double() + edited.shift[:, None] * random_units(edited.values, around.generator)
        return _replaced(edited, speech, shifted)
    return edited


def turned_alike(speech: Tensor, edited: Tensor, towards: Tensor) -> Tensor:
    """Vectors as long as `edited`, at its angle from `speech`, in the plane of `speech` and `towards`; all (n, d).

    float64; NaN where `towards` is parallel to `speech` and so gives no plane.
    """
    s, e, o = speech.double(), edited.double(), towards.double()
    s_hat = s / s.norm(dim=1, keepdim=True)
    along = (e * s_hat).sum(dim=1, keepdim=True)
    across = (e - along * s_hat).norm(dim=1, keepdim=True)
    aside = o - (o * s_hat).sum(dim=1, keepdim=True) * s_hat
    size = aside.norm(dim=1, keepdim=True)
    defined = size > torch.clamp(1e-9 * o.norm(dim=1, keepdim=True), min=ZERO_NORM)
    return along * s_hat + across * torch.where(defined, aside / size, torch.nan)


def other_tokens(tokens: np.ndarray, ids: np.ndarray, texts: list[str], rng: np.random.Generator) -> np.ndarray | None:
    """For each of `tokens` (m,), another token of the same text with another id, a word with content if there is one.

    ids, texts: of all T_t tokens. Gives (m,) indices, or None if the text has one kind of token only.
    """
    content = np.array([sum(c.isalnum() for c in text) >= SHORTEST_CONTENT for text in texts])
    chosen = []
    for token in tokens:
        other = ids != ids[token]
        candidates = np.flatnonzero(other & content)
        if not len(candidates):
            candidates = np.flatnonzero(other)
        if not len(candidates):
            return None
        chosen.append(rng.choice(candidates))
    return np.array(chosen, dtype=np.int64)


def tokens_of_another(tokens: np.ndarray, T_t: int, T_other: int) -> np.ndarray:
    """For each of `tokens` (m,) of a text of T_t tokens, the one at the same relative place of a text of T_other."""
    return np.asarray(tokens, dtype=np.int64) * T_other // T_t


def _replaced(edited: EditedVectors, speech: Tensor, values: Tensor) -> EditedVectors:
    """The control's values with their own shift; pairs without a defined value are left out."""
    defined = torch.nonzero(values.isfinite().all(dim=1))[:, 0]
    kept, values = edited.kept[defined], values[defined]
    shift = (values - speech[kept].double()).norm(dim=1)
    return EditedVectors(values, kept, edited.log_norm_ratio[defined], shift)
