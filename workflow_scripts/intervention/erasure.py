"""What tells the words is taken out of speech vectors, by erasers fitted on other questions than the one edited.

A shard's questions are dealt to folds; the eraser of a fold (LEACE, `measures.linear_erasure`) is fitted on the speech
vectors of the other folds at the frames of the alignment path, against the vectors of the words given to them, reduced
to `rank` principal components. Beside it stands the eraser of a random subspace of the same rank and mean squared
change.

How well that works on questions which no eraser has seen is read off in thirds of the questions: an eraser from one, a
linear reader of the words' components from the second, both put to the third; each third is each of them once. Vectors
that an eraser was fitted on would show nothing of what it misses, and a reader that shares questions with the eraser is
not independent of it, so both stay apart. The reader is fitted to erased vectors and may use whatever is left. An
eraser of a third of the questions misses more than one of four fifths: what is left is overstated.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from workflow_scripts.measures.linear_erasure import (
    Eraser,
    concept_eraser,
    principal,
    random_eraser,
    reader_errors,
    spread_of,
)

FOLDS = 5
POSITIONS_PER_RANK = 4
"""Positions of other questions that one erased dimension needs at least (ours)."""
TOO_FEW = "too few positions of other questions for the rank"
NOTHING_TO_ERASE = "no words that vary in other questions"


@dataclass(frozen=True, eq=False)
class Words:
    """speech (m, d) vectors of a question, and words (m, k), the vectors of what is said there; m may be 0."""

    speech: np.ndarray
    words: np.ndarray


@dataclass(frozen=True, eq=False)
class QuestionErasure:
    """Erasers for one question, None with the reason `why` where there are none.

    Attributes:
        concept: of the words. random: of a random subspace.
        spread: squared distance of the words' components from their mean in other questions, summed over positions.
        errors: squared errors of readers: before, after, without the random subspace. None where nothing was read.
    """

    why: str = ""
    concept: Eraser | None = None
    random: Eraser | None = None
    spread: float = 0.0
    errors: tuple[float, float, float] | None = None

    def readings(self, random: bool) -> tuple[float, float, float] | None:
        """Spread, error before, error after the words or (`random`) the random subspace were erased."""
        return None if self.errors is None else (self.spread, self.errors[0], self.errors[1 + random])


@dataclass(frozen=True, eq=False)
class ShardErasure:
    """of: erasures by question. positions: all. share: of the words' variance that lies in the components erased."""

    of: Mapping[str, QuestionErasure]
    positions: int
    share: float | None

    def facts(self) -> dict[str, Any]:
        """Plain values for a file header."""
        return {"fit_positions": self.positions, "words_share": self.share}


def fit_erasure(questions: Mapping[str, Words], rank: int, seed: int) -> ShardErasure:
    """Erasers of every question, each from questions of other folds; `seed` of the folds and of random subspaces."""
    n = len(questions)
    x, z = (np.concatenate([getattr(one, part) for one in questions.values()]) for part in ("speech", "words"))
    owner = np.repeat(np.arange(n), [len(one.speech) for one in questions.values()])
    folds = question_parts(n, FOLDS, seed)
    fits = {}
    for fold in sorted(set(folds.tolist())):
        others = folds[owner] != fold
        few = others.sum() < POSITIONS_PER_RANK * rank
        fits[fold] = TOO_FEW if few else _fit(x[others], z[others], rank, [seed, fold])
    errors = _readings(x, z, question_parts(n, 6, seed + 1)[owner], rank, seed)
    found = {}
    for number, name in enumerate(questions):
        fit, own = fits[int(folds[number])], errors[owner == number].sum(axis=0)
        if isinstance(fit, str):
            found[name] = QuestionErasure(fit)
        else:
            spread, *read = own.tolist()
            known = np.isfinite(own).all() and spread > 0
            found[name] = QuestionErasure("", *fit.erasers, *((spread, tuple(read)) if known else ()))
    shares = [fit.share for fit in fits.values() if not isinstance(fit, str)]
    return ShardErasure(found, len(x), float(np.mean(shares)) if shares else None)


def question_parts(n: int, parts: int, seed: int) -> np.ndarray:
    """(n,) the part 0 .. parts - 1 of each question; parts are as equal as can be."""
    return np.random.default_rng([seed, n]).permutation(n) % parts


@dataclass(frozen=True, eq=False)
class _Fit:
    """erasers: of the words and of a random subspace. mean (k,), axes (k, r): of the words' components."""

    erasers: tuple[Eraser, Eraser]
    mean: np.ndarray
    axes: np.ndarray
    share: float

    def words(self, vectors: np.ndarray) -> np.ndarray:
        """Components (m, r) of words (m, k)."""
        return (vectors - self.mean) @ self.axes


def _fit(x: np.ndarray, z: np.ndarray, rank: int, seed: list[int]) -> _Fit | str:
    """Erasers from two or more positions (m, d) and their words (m, k), or why there are none."""
    mean, axes, share = principal(z, rank)
    spread = spread_of(x)
    concept = concept_eraser(spread, (z - mean) @ axes)
    if not concept.rank:
        return NOTHING_TO_ERASE
    drawn = int(np.random.SeedSequence(seed).generate_state(1)[0])
    return _Fit((concept, random_eraser(spread, concept, drawn)), mean, axes, share)


def _readings(x: np.ndarray, z: np.ndarray, part: np.ndarray, rank: int, seed: int) -> np.ndarray:
    """(n, 4) by position: spread, errors before, after, and without the random subspace; NaN where nothing was read.

    part: (n,) sixth that the question of each position is in: two of them make a third.
    """
    errors = np.full((len(x), 4), np.nan)
    thirds = [part % 3 == number for number in range(3)]
    if min(third.sum() for third in thirds) < 2:
        return errors
    for number in range(3):
        taught, reads, asked = (thirds[(number + step) % 3] for step in range(3))
        fit = _fit(x[taught], z[taught], rank, [seed, FOLDS + number])
        if isinstance(fit, str):
            continue
        words = fit.words(z)
        for place, change in enumerate((np.asarray, *fit.erasers), start=1):
            found = reader_errors(change(x[reads]), words[reads], change(x[asked]), words[asked], half=part[reads] < 3)
            errors[asked, place], errors[asked, 0] = found
    return errors
