"""Edits of one question for one cell of the grid, and what is recorded about them."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.intervention.controls import DONORS, Surroundings, make_vectors, other_tokens, tokens_of_another
from workflow_scripts.intervention.erasure import NOTHING_TO_ERASE, QuestionErasure
from workflow_scripts.intervention.grid import Cell
from workflow_scripts.intervention.operations import EditedVectors
from workflow_scripts.intervention.selection import MeasuredPaths, path_of, select_targets
from workflow_scripts.measures.edit_targets import EditTargets
from workflow_scripts.measures.linear_erasure import Eraser
from workflow_scripts.settings.intervention import ERASE, RANDOM_SUBSPACE
from workflow_scripts.speech_lm.protocol import Edit, Query


@dataclass(frozen=True, eq=False)
class QuestionStates:
    """What the edits of one question are made from.

    Attributes:
        id: of the question. seed: of the study.
        spoken, written: its queries.
        text: (L+1, T_t, d) states of the written one.
        other_text: (L+1, T_other, d) states of another question's text, None if the shard has no other.
        paths: by metric.
        mean_lengths: (L+1,) mean length of the shard's text vectors by layer, None where no entry needs it.
        erasures: by the key of the edit, of the grid's erasures.
    """

    id: str
    seed: int
    spoken: Query
    written: Query
    text: Tensor
    other_text: Tensor | None
    paths: dict[str, MeasuredPaths]
    mean_lengths: Tensor | None
    erasures: Mapping[str, QuestionErasure] = field(default_factory=dict)


@dataclass
class CellEdits:
    """Edits of one question.

    Attributes:
        edits: by layer, may be empty.
        frames, tokens: speech frames and text tokens of the first edited layer.
        shifts, log_norm_ratios: ||s' - s|| and log(||s|| / ||t||) of every edited position and layer.
        zero_vectors: pairs left out because a vector has no direction. exhausted: fewer frames than asked for.
        skipped: why nothing is edited, "" if something is.
        readings: of erasures, squared errors of reading the words' vectors from this question's: the mean's, a linear
            reader's before and after.
    """

    edits: list[Edit] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    shifts: list[float] = field(default_factory=list)
    log_norm_ratios: list[float] = field(default_factory=list)
    zero_vectors: int = 0
    exhausted: bool = False
    skipped: str = ""
    readings: tuple[float, float, float] | None = None

    def add(self, targets: EditTargets, vectors: EditedVectors) -> None:
        """Take over what one layer's edit recorded."""
        if not self.frames:
            self.frames = targets.frames[vectors.kept.numpy()].tolist()
            self.tokens = targets.tokens[vectors.kept.numpy()].tolist()
        self.shifts += vectors.shift.tolist()
        self.log_norm_ratios += vectors.log_norm_ratio.tolist()
        self.zero_vectors += len(targets.frames) - vectors.n_edited
        self.exhausted = self.exhausted or targets.exhausted

    def counted(self) -> dict[str, Any]:
        """What `EditTally` counts of it, as JSON values."""
        return {
            "shifts": self.shifts,
            "log_norm_ratios": self.log_norm_ratios,
            "zero_vectors": self.zero_vectors,
            "exhausted": self.exhausted,
            "skipped": self.skipped,
        }


NO_DONOR = "no other token or question to take from"
NO_PLACE = "no text token with a known time"
NO_DIRECTION = "every vector without direction"


class EditMaker:
    """Makes the edits of one cell for one question; everything random follows (seed, question, cell)."""

    def __init__(self, cell: Cell, states: QuestionStates) -> None:
        self.cell, self.states = cell, states
        self._seed = [states.seed, zlib.crc32(states.id.encode()), zlib.crc32(cell.key.encode())]
        self._generator = torch.Generator().manual_seed(int(np.random.SeedSequence(self._seed).generate_state(1)[0]))
        self.found = CellEdits()

    def at_one_layer(self, speech: Tensor) -> CellEdits:
        """Edits at the cell's layer, from its states (T_s, d)."""
        layer = int(self.cell.layer or 0)
        made = self._vectors(layer, speech, self._targets())
        if made is not None:
            frames, values = made
            self.found.edits.append(Edit(layer, self.states.spoken.span[0] + frames, values))
        return self.finished()

    def at_every_layer(self) -> Callable[[int, Tensor], tuple[Tensor, Tensor] | None]:
        """What to write at a layer, given its states (T_s, d) after the edits below."""
        fixed = None if self.cell.recomputed else self._targets()

        def rewrite(layer: int, speech: Tensor) -> tuple[Tensor, Tensor] | None:
            targets = fixed if fixed is not None else self._own_targets(layer, speech)
            return self._vectors(layer, speech, targets)

        return rewrite

    def finished(self) -> CellEdits:
        """The record, with a reason where nothing was edited."""
        if not self.found.frames and not self.found.skipped:
            self.found.skipped = NO_DIRECTION
        return self.found

    def _targets(self) -> EditTargets:
        measured = self.states.paths[self.cell.entry.metric]
        return self._select(*path_of(self.cell.entry, measured))

    def _own_targets(self, layer: int, speech: Tensor) -> EditTargets:
        """Targets on the path of this layer's states alone."""
        s, t = speech.float(), self.states.text[layer].float()
        if self.cell.entry.metric == "cosine":
            matrix = torch.nn.functional.normalize(s, dim=1) @ torch.nn.functional.normalize(t, dim=1).T
        else:
            matrix = -torch.cdist(s, t)
        scores, frames = matrix.max(dim=0)
        return self._select(frames.numpy().astype(np.int32), scores.numpy().astype(np.float64))

    def _select(self, frames: np.ndarray, scores: np.ndarray) -> EditTargets:
        start, end = self.states.spoken.span
        seed = int(np.random.SeedSequence([*self._seed, 1]).generate_state(1)[0])
        control = self.cell.control
        return select_targets(self.cell.entry, frames, scores, control=control, T_s=end - start, seed=seed)

    def _vectors(self, layer: int, speech: Tensor, targets: EditTargets) -> tuple[Tensor, Tensor] | None:
        """Frames and values at a layer, recorded; None where nothing is edited."""
        if not len(targets.frames):
            self.found.skipped = NO_PLACE
            return None
        frames, tokens = torch.from_numpy(targets.frames).long(), torch.from_numpy(targets.tokens).long()
        donors = None
        if self.cell.control in DONORS:
            donors = self._donors(layer, targets.tokens)
            if donors is None:
                self.found.skipped = NO_DONOR
                return None
        eraser = None
        if self.cell.entry.operation == ERASE:
            eraser = self._eraser()
            if eraser is None:
                return None
        lengths = self.states.mean_lengths
        around = Surroundings(self._generator, None if lengths is None else float(lengths[layer]), donors, eraser)
        text = self.states.text[layer][tokens]
        vectors = make_vectors(self.cell.entry, self.cell.control, speech[frames], text, around)
        self.found.add(targets, vectors)
        return (frames[vectors.kept], vectors.values) if vectors.n_edited else None

    def _eraser(self) -> Eraser | None:
        """That of the edit or of its random subspace, its readings recorded; None, with the reason, where none is."""
        erasure = self.states.erasures[self.cell.edit]
        random = self.cell.control == RANDOM_SUBSPACE
        eraser = erasure.random if random else erasure.concept
        if eraser is None or not eraser.rank:
            self.found.skipped = erasure.why or NOTHING_TO_ERASE
            return None
        if random or self.cell.control is None:
            self.found.readings = erasure.readings(random)
        return eraser

    def _donors(self, layer: int, tokens: np.ndarray) -> Tensor | None:
        if self.cell.control == "other_question":
            other = self.states.other_text
            if other is None:
                return None
            chosen = tokens_of_another(tokens, self.states.text.shape[1], other.shape[1])
            return other[layer][torch.from_numpy(chosen)]
        written = self.states.written
        rng = np.random.default_rng([*self._seed, 2])
        found = other_tokens(tokens, np.array(written.token_ids), list(written.tokens), rng)
        return None if found is None else self.states.text[layer][torch.from_numpy(found)]


@dataclass
class EditTally:
    """Counts of one cell over a shard.

    Attributes:
        questions: all of them. unedited: those in which nothing was edited, by reason.
        edited: positions replaced, over layers. zero_vectors: positions left because a vector has no direction.
        exhausted: questions whose path had fewer distinct frames than asked for.
        log_norm_ratios, shifts: log(||s|| / ||t||) and ||s' - s|| of the edited positions.
    """

    questions: int = 0
    edited: int = 0
    zero_vectors: int = 0
    exhausted: int = 0
    unedited: dict[str, int] = field(default_factory=dict)
    log_norm_ratios: list[float] = field(default_factory=list)
    shifts: list[float] = field(default_factory=list)

    def add(self, found: CellEdits) -> None:
        """Count one question."""
        self.questions += 1
        self.edited += len(found.shifts)
        self.zero_vectors += found.zero_vectors
        self.exhausted += int(found.exhausted)
        if found.skipped:
            self.unedited[found.skipped] = self.unedited.get(found.skipped, 0) + 1
        self.log_norm_ratios += found.log_norm_ratios
        self.shifts += found.shifts

    def summary(self) -> dict[str, Any]:
        """Plain values for a file header; means are None where nothing was edited."""
        return {
            "edited": self.edited,
            "zero_vectors": self.zero_vectors,
            "exhausted": self.exhausted,
            "unedited": self.unedited,
            "mean_log_norm_ratio": _mean(self.log_norm_ratios),
            "mean_shift": _mean(self.shifts),
        }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
