"""Does a linear map read a property off states, in one form and across forms? With control tasks (ours).

A probe is a ridge classifier (scikit-learn) on the states of n items, such as the mean state of each word. It is fitted
to one form and asked in both, in folds of questions: no question is in what it was fitted to and in what it is asked.
Each form is standardised by itself, by the mean and the standard deviation of the questions that the probe is fitted
to, so that a constant shift between the forms is no obstacle; labels of the form asked are never seen.

What a probe gets right need not be in the states: it can be learnt. So each has a control task (Hewitt and Liang,
arXiv 1909.03368): every kind of item, such as a word wherever it occurs, gets one random label, drawn from the labels'
own distribution. selectivity = accuracy - control accuracy. Only what is told apart beyond the kinds themselves is
selective; where the labels are the kinds, each item is a kind of its own, and the control is at chance.

Across forms a class is told alike wherever it occurs, so unrelated codes agree in some classes by luck, which no number
of questions tells from a common code. p says how often random renamings of the classes tell as many right.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from workflow_scripts.statistics.means import Mean, of_ratios

TEXT, SPEECH = FORMS = ("text", "speech")
EVERY_PAIR = tuple(product(FORMS, FORMS))
"""The form that a probe is fitted to, and the one in which it is asked."""
PENALTY = 0.1
"""Of the ridge, per dimension: standardised states of width d have a squared length of d."""
RENAMINGS = 999
ROUNDING = 1e-9
"""Standard deviation of a dimension, as a share of its mean, up to which it does not vary."""
Pair = tuple[str, str]


@dataclass(frozen=True)
class Task:
    """What is to be told apart, and how it is judged.

    labels: (n,) classes 0, 1, ... questions: (n,) the question of each item. folds: (n,) when an item is asked.
    controls: (draws, n) labels of the control task.
    """

    labels: np.ndarray
    questions: np.ndarray
    folds: np.ndarray
    controls: np.ndarray

    @property
    def chance(self) -> float:
        """Share of the most frequent class."""
        return float(np.bincount(self.labels).max() / len(self.labels))


@dataclass(frozen=True)
class Hits:
    """Per item the class that it was told to be, whether that is right, and in which share of the control draws the
    control label was: (n,) each, the latter two 0 to 1."""

    told: np.ndarray
    own: np.ndarray
    control: np.ndarray


def plan_task(
    labels: np.ndarray, kinds: np.ndarray, questions: np.ndarray, *, folds: int, draws: int, seed: int
) -> Task:
    """A task of items (n,) with labels 0, 1, ..., kinds 0, 1, ... and questions of any numbers.

    Raises ValueError for arrays of unequal length or fewer than two classes.
    """
    if not len(labels) == len(kinds) == len(questions) or len(np.unique(labels)) < 2:
        raise ValueError(
            f"{len(labels)} labels, {len(np.unique(labels))} classes, {len(kinds)} kinds, {len(questions)} questions, "
            "expected equally many, and two classes"
        )
    return Task(labels, questions, question_folds(questions, folds, seed), control_labels(labels, kinds, draws, seed))


def question_folds(questions: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Fold of each item (n,): whole questions, dealt out at random as evenly as they go."""
    different, place = np.unique(questions, return_inverse=True)
    return (np.random.default_rng(seed).permutation(len(different)) % folds)[place]


def control_labels(labels: np.ndarray, kinds: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """(draws, n): for each kind of item one label, drawn with the frequencies of `labels`."""
    drawn = np.random.default_rng(seed).choice(labels, (draws, int(kinds.max()) + 1))
    return drawn[:, kinds]


def probe(states: Mapping[str, np.ndarray], task: Task, pairs: Sequence[Pair] = EVERY_PAIR) -> dict[Pair, Hits]:
    """Hits of probes of one layer by pair of forms, from states (n, d) of the same items in each form.

    Raises ImportError without scikit-learn, naming the remedy.
    """
    draws, n = task.controls.shape
    every = np.stack([task.labels, *task.controls])
    told = {pair: np.zeros((1 + draws, n), dtype=np.int64) for pair in pairs}
    for fold in np.unique(task.folds):
        asked = task.folds == fold
        scaled = {form: _standardised(values, ~asked) for form, values in states.items()}
        for fitted in dict.fromkeys(first for first, _ in pairs):
            tests = [second for first, second in pairs if first == fitted]
            for row, labels in enumerate(every):
                known = scaled[fitted][~asked], labels[~asked]
                for test, found in zip(tests, _told(*known, [scaled[test][asked] for test in tests])):
                    told[fitted, test][row, asked] = found
    right = {pair: found == every for pair, found in told.items()}
    return {
        pair: Hits(told[pair][0], found[0].astype(np.float64), found[1:].mean(axis=0)) for pair, found in right.items()
    }


def question_mean(hits: np.ndarray, questions: np.ndarray) -> Mean:
    """Mean of (n,) values over items, 0 to 1, whose interval is one over questions: a question's items go together."""
    place = np.unique(questions, return_inverse=True)[1]
    return of_ratios([(np.bincount(place, weights=hits), np.bincount(place).astype(np.float64))], (0.0, 1.0))


def renamed_p(told: np.ndarray, labels: np.ndarray, seed: int, draws: int = RENAMINGS) -> float:
    """Share of random renamings of the classes told (n,) that are right as often as they are; NaN for two classes.

    The classes as they are count as one of the renamings, so p is at least 1 / (draws + 1).
    """
    classes = int(labels.max()) + 1
    if classes < 3:
        return float("nan")
    seen = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(seen, (labels, told), 1)
    names = np.random.default_rng(seed).permuted(np.tile(np.arange(classes), (draws, 1)), axis=1)
    right = seen[np.arange(classes), names].sum(axis=1)
    return float((1 + (right >= np.trace(seen)).sum()) / (draws + 1))


def linear_classifier(width: int) -> Any:
    """An unfitted probe of states of `width` dimensions. Raises ImportError without scikit-learn."""
    try:
        from sklearn.linear_model import RidgeClassifier
    except ImportError as error:
        raise ImportError(
            "probes need scikit-learn: pip install -r requirements.txt, or leave them out with `probes: null`"
        ) from error
    return RidgeClassifier(alpha=PENALTY * width)


def _standardised(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Values (n, d) with mean 0 and standard deviation 1 over the known rows; dimensions that do not vary are 0."""
    mean, spread = (take(values[known], axis=0, dtype=np.float64) for take in (np.mean, np.std))
    varies = spread > ROUNDING * np.abs(mean)
    return ((values - mean) * varies / np.where(varies, spread, 1)).astype(np.float32)


def _told(states: np.ndarray, labels: np.ndarray, tests: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What a probe that is fitted to states (m, d) says of each test; of one class alone there is nothing to fit."""
    if (labels == labels[0]).all():
        return [np.full(len(one), labels[0]) for one in tests]
    fitted = linear_classifier(states.shape[1]).fit(states, labels)
    return [fitted.predict(one) for one in tests]
