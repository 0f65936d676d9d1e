"""The shuffled-pair null of all questions of a shard from the values of all pairs inside a length bin.

B derangements pair a question with few different texts, those of its bin, over and over. So the statistic is
computed once for every pair of a bin, a matrix V (m, m) with the true pairs on its diagonal, and a draw is a choice of
m entries of V: mean, SD and p of a question need only how often each text was drawn; their cost hardly depends on B.

The p of a mean over questions needs draws among which the true pairing could be one: uniform permutations, fixed points
included. Derangements alone make it too small, at n = 4 by a factor of three.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from workflow_scripts.measures.registry import Measure
from workflow_scripts.measures.shuffle_null import derangements_of_bins


@dataclass(frozen=True)
class Bin:
    """Questions of like length, which exchange their texts.

    Attributes:
        members: (m,) question numbers.
        partners: (B, m) place in `members` of the text that each member's speech is drawn with; B = 0 without null.
        counts: (m, m) how often speech i was drawn with text j.
        permutations: (B, m) like `partners`, but uniform among all permutations of the bin: for the p of means.
    """

    members: np.ndarray
    partners: np.ndarray
    counts: np.ndarray
    permutations: np.ndarray


def plan_pairs(T_s: np.ndarray, T_t: np.ndarray, draws: int, seed: int, groups: np.ndarray | None = None) -> list[Bin]:
    """Bins of N questions with T_s frames and T_t tokens, (N,) each, with B = `draws` derangements inside them.

    The partners are those of `derangements` with the same arguments. With `groups` (N,), texts are exchanged inside a
    group only. Without draws, every question is a bin of its own, and so is a single one, which has no other to
    exchange with. Raises ValueError for draws < 0; 0 gives no null.
    """
    if draws < 0:
        raise ValueError(f"draws is {draws}, expected at least 0")
    if groups is not None:
        members = [np.flatnonzero(groups == label) for label in np.unique(groups)]
        plans = [plan_pairs(T_s[own], T_t[own], draws, seed + place) for place, own in enumerate(members)]
        return [replace(one, members=own[one.members]) for own, plan in zip(members, plans) for one in plan]
    rng = np.random.default_rng([seed, 1])
    if len(T_s) < 2 or draws == 0:
        alone = np.empty((0, 1), dtype=np.int64)
        return [_bin(np.array([number]), alone, draws, rng) for number in range(len(T_s))]
    return [_bin(*one, draws, rng) for one in derangements_of_bins(T_s, T_t, draws, seed)]


def _bin(members: np.ndarray, partners: np.ndarray, draws: int, rng: np.random.Generator) -> Bin:
    m = members.size
    cells = (partners + m * np.arange(m)).ravel()
    permutations = rng.permuted(np.tile(np.arange(m), (draws, 1)), axis=1)
    return Bin(members, partners, np.bincount(cells, minlength=m * m).reshape(m, m), permutations)


class PairMeasurements:
    """Values of measures over all questions, with the null of those that have one, filled bin by bin, layer by layer.

    Attributes:
        raw: measure -> (N, L+1) float64, NaN where undefined.
        mean, sd, p: the same, for measures with a null; NaN without draws.
        draw_sum, draw_count: measure with a null -> (B, L+1): sum over questions of the values of a draw, and how many
            are defined; what a mean over questions and its null need, whatever shards they are in.
    """

    def __init__(self, measures: Mapping[str, Measure], n: int, depth: int, draws: int):
        self.measures = dict(measures)
        with_null = [name for name, measure in self.measures.items() if measure.has_null]
        self.raw = {name: np.full((n, depth), np.nan) for name in self.measures}
        self.mean, self.sd, self.p = ({name: np.full((n, depth), np.nan) for name in with_null} for _ in range(3))
        self.draw_sum, self.draw_count = ({name: np.zeros((draws, depth)) for name in with_null} for _ in range(2))

    def add(self, layer: int, one: Bin, values: Mapping[str, np.ndarray]) -> None:
        """Take the values of a bin at one layer: (m, m), row = speech, column = text, or (m,) for measures without
        null."""
        at = one.members, layer
        for name, found in values.items():
            found = np.asarray(found, dtype=np.float64)
            if not self.measures[name].has_null:
                self.raw[name][at] = found
                continue
            self.raw[name][at] = np.diagonal(found)
            if len(one.partners):
                better = self.measures[name].higher_is_better
                self.mean[name][at], self.sd[name][at], self.p[name][at] = null_of_pairs(found, one.counts, better)
            if len(one.permutations) != len(self.draw_sum[name]):
                continue
            drawn = found[np.arange(one.members.size), one.permutations]
            defined = ~np.isnan(drawn)
            self.draw_sum[name][:, layer] += np.where(defined, drawn, 0.0).sum(axis=1)
            self.draw_count[name][:, layer] += defined.sum(axis=1)


def null_of_pairs(
    values: np.ndarray, counts: np.ndarray, higher_is_better: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, SD and p of each question from `values` (m, m) and `counts` (m, m), the numbers of draws: (m,) each.

    SD with B - 1. p = (k + 1) / (B + 1), k draws at least as good as the diagonal; undefined draws count as at least as
    good, an undefined diagonal gives NaN. What is NaN is left out of mean and SD. Equal to `null_per_sample` and
    `p_value` on the B values one by one.
    """
    raw, total = np.diagonal(values), counts.sum(axis=1)
    defined = ~np.isnan(values)
    weight = np.where(defined, counts, 0)
    filled = np.where(defined, values, 0.0)
    number = weight.sum(axis=1)
    mean = np.divide((weight * filled).sum(axis=1), number, out=np.full(len(values), np.nan), where=number > 0)
    square = (weight * np.where(defined, filled - np.where(number > 0, mean, 0.0)[:, None], 0.0) ** 2).sum(axis=1)
    variance = np.divide(square, number - 1, out=np.full(len(values), np.nan), where=number > 1)
    with np.errstate(invalid="ignore"):
        worse = values < raw[:, None] if higher_is_better else values > raw[:, None]
    k = total - (counts * worse).sum(axis=1)
    p = np.where(np.isnan(raw), np.nan, (k + 1) / (total + 1))
    return mean, np.sqrt(variance), p
