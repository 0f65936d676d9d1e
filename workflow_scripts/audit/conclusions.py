"""Does the choice of scorer change the sign or the significance of the gap?

A gap is positive or negative if its 95 % interval lies on one side of 0, else undecided. The choice of scorer matters
for the *sign* if one scorer calls the gap positive and another negative, and for the *significance* if one decides and
another does not. The widest difference between two scorers' gaps is itself given with a paired interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from workflow_scripts.audit.compare import Subset, means_of
from workflow_scripts.statistics.means import UNKNOWN, Mean, mean_of

MIN_PAIRS = 30
"""Intervals of fewer pairs are rough."""
POSITIVE, NEGATIVE, UNDECIDED = "positive", "negative", "undecided"
COLUMNS = {
    "subset": "str",
    "verdict": "str",
    **dict.fromkeys(("positive", "negative", "undecided"), "str"),
    **dict.fromkeys(("lowest", "highest"), "str"),
    **dict.fromkeys(("spread", "low", "high"), "float64"),
    "n": "Int64",
}


@dataclass(frozen=True)
class Conclusion:
    """What the scorers say about the gap of one subset.

    Attributes:
        signs: scorers by `positive`, `negative`, `undecided`.
        verdict: one sentence.
        lowest, highest: scorers with the smallest and the largest gap.
        spread, low, high: difference of their gaps in points, with its paired 95 % interval.
        n: pairs.
    """

    subset: str
    signs: dict[str, list[str]]
    verdict: str
    lowest: str
    highest: str
    spread: float
    low: float
    high: float
    n: int

    @property
    def changes(self) -> bool:
        """The choice of scorer decides what is concluded."""
        return sum(bool(names) for names in self.signs.values()) > 1


def conclude(subset: Subset) -> Conclusion:
    """The conclusion of one subset, over all scorers that read the same quantity."""
    gaps = {}
    for verdict in subset.verdicts:
        if not verdict.comparable:
            continue
        found = means_of(verdict)
        gaps[verdict.scorer] = found["text"] - found["speech"]
    return _concluded(subset.name, gaps, len(subset.pairs))


def conclude_overall(subsets: Sequence[Subset]) -> Conclusion | None:
    """The same for the mean over subsets, per source; None without two sources that cover two subsets."""
    gaps = {}
    for source in dict.fromkeys(one.source for subset in subsets for one in subset.verdicts):
        found = [
            means_of(verdict)
            for subset in subsets
            for verdict in subset.verdicts
            if verdict.source == source and verdict.primary
        ]
        if len(found) == len(subsets):
            gaps[source] = mean_of([one["text"] - one["speech"] for one in found])
    if len(subsets) < 2 or len(gaps) < 2:
        return None
    return _concluded("overall", gaps, sum(len(subset.pairs) for subset in subsets))


def _concluded(name: str, gaps: dict[str, Mean], n: int) -> Conclusion:
    signs: dict[str, list[str]] = {POSITIVE: [], NEGATIVE: [], UNDECIDED: []}
    for scorer, gap in gaps.items():
        low, high = gap.interval
        signs[POSITIVE if low > 0 else NEGATIVE if high < 0 else UNDECIDED].append(scorer)
    lowest, highest = min(gaps, key=lambda key: gaps[key].value), max(gaps, key=lambda key: gaps[key].value)
    widest = gaps[highest] - gaps[lowest]
    low, high = widest.interval if highest != lowest else UNKNOWN
    few = f" With {n} pairs these intervals are rough." if n < MIN_PAIRS else ""
    return Conclusion(name, signs, _sentence(signs, gaps) + few, lowest, highest, widest.value, low, high, n)


def _sentence(signs: dict[str, list[str]], gaps: dict[str, Mean]) -> str:
    if len(gaps) == 1:
        return "One scorer only: nothing to compare."
    if signs[POSITIVE] and signs[NEGATIVE]:
        return (
            f"The choice of scorer changes the sign of the gap: positive under {_named(signs[POSITIVE])}, negative "
            f"under {_named(signs[NEGATIVE])}."
        )
    decided = signs[POSITIVE] or signs[NEGATIVE]
    word = POSITIVE if signs[POSITIVE] else NEGATIVE
    if decided and signs[UNDECIDED]:
        return (
            f"The choice of scorer changes the significance of the gap: {word} under {_named(decided)}, not "
            f"distinguished from 0 under {_named(signs[UNDECIDED])}."
        )
    opposite = any(np.sign(gaps[a].value) * np.sign(gaps[b].value) < 0 for a, b in combinations(gaps, 2))
    if not decided:
        addition = "; the estimates have different signs" if opposite else ""
        return f"No scorer distinguishes the gap from 0{addition}."
    return f"Every scorer calls the gap {word}: the choice of scorer changes its size only."


def _named(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
