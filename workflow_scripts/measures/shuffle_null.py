"""The shuffled-pair null: what a measure gives when speech is paired with the transcript of another question.

Ours; the paper reports raw values. Representations share directions (a common mean, position), so unrelated
pairs reach high cosines, path scores and even Spearman coefficients. Every similarity therefore stands
beside the distribution of the same statistic over B derangements, drawn among samples of similar lengths
because the best of T_s frames is better when T_s is larger.
"""

import math
from dataclasses import dataclass

import numpy as np

from workflow_scripts.measures.reading import averaged_layers, nan_mean

SAMPLES_PER_BIN = 8
"""Length bins are made as fine as this mean occupancy allows."""

MOST_BINS = 4
"""Quantile bins per length axis at most, unless bins grew beyond `MOST_SAMPLES_PER_BIN`."""

MOST_SAMPLES_PER_BIN = 64
"""Mean occupancy at which bins are made finer still: all pairs of a bin are compared, so work grows with n only."""


@dataclass(frozen=True)
class BestLayer:
    """The best of the layers 1..L; the mean of the draws' own best, and p and the score above tau (`critical_value`)
    with the choice repeated in every draw."""

    layer: int
    raw: float
    null: float
    p: float
    above_tau: float


def derangements(T_s: np.ndarray, T_t: np.ndarray, draws: int, seed: int, quantiles: int | None = None) -> np.ndarray:
    """Partner indices (draws, n) int64: speech of sample i is compared with text of sample `result[b, i]`.

    Each row is a permutation without fixed points, uniform among those that stay within the length bins
    (`length_bins`) of the n samples with T_s frames and T_t tokens. Small cases: n = 2 has one derangement,
    so all rows are the same swap; n = 3 has two, the rotations. With few samples the draws repeat and the
    null's SD is that of few values: prefer shards of 20 samples or more.

    Raises ValueError for n < 2 (there is nobody to swap with), draws < 1, or lengths of different shape.
    """
    partners = np.empty((max(draws, 0), np.size(T_s)), dtype=np.int64)
    for members, local in derangements_of_bins(T_s, T_t, draws, seed, quantiles):
        partners[:, members] = members[local]
    return partners


def derangements_of_bins(
    T_s: np.ndarray, T_t: np.ndarray, draws: int, seed: int, quantiles: int | None = None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The same bin by bin: its members (m,) and, as places in the bin, their partners (draws, m).

    Raises ValueError as `derangements` does.
    """
    if draws < 1:
        raise ValueError(f"draws is {draws}, expected at least 1")
    bins = length_bins(T_s, T_t, quantiles)
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(bins == label) for label in np.unique(bins)]
    return [(one, _uniform_derangements(one.size, draws, rng)) for one in members]


def length_bins(T_s: np.ndarray, T_t: np.ndarray, quantiles: int | None = None) -> np.ndarray:
    """Bin label (n,) of each sample by quantiles of T_s and, crossed with them, of T_t; every bin has >= 2
    samples.

    `quantiles` bins per axis; by default floor(sqrt(n / 8)), between 1 and 4, so that a bin holds about 8
    samples or more on average; above 1,024 samples more, so that it holds at most 64. A bin with one sample is
    merged with its nearest bin, measured between mean
    length ranks. Raises ValueError for n < 2 or lengths of different shape.
    """
    T_s, T_t = np.asarray(T_s), np.asarray(T_t)
    if T_s.ndim != 1 or T_s.shape != T_t.shape:
        raise ValueError(f"lengths have shapes {T_s.shape} and {T_t.shape}, expected (n,) twice")
    if T_s.size < 2:
        raise ValueError(f"a shuffled-pair null needs at least 2 samples in a shard, got {T_s.size}; enlarge the shard")
    if quantiles is None:
        quantiles = int(np.clip(np.sqrt(T_s.size / SAMPLES_PER_BIN), 1, MOST_BINS))
        quantiles = max(quantiles, int(np.ceil(np.sqrt(T_s.size / MOST_SAMPLES_PER_BIN))))
    if quantiles < 1:
        raise ValueError(f"quantiles is {quantiles}, expected at least 1")
    labels = _quantile_bin(T_s, quantiles) * quantiles + _quantile_bin(T_t, quantiles)
    ranks = np.stack([_midranks(T_s), _midranks(T_t)], axis=1)
    return _merge_singletons(labels, ranks)


def calibrate(raw: np.ndarray, null_mean: np.ndarray, higher_is_better: bool) -> np.ndarray:
    """A value on a scale whose fixed points are chance and perfect agreement.

    Higher is better (any score with maximum 1): (raw - null) / (1 - null); chance is 0, perfect 1. Lower is better
    (distances): raw / null; chance is 1, perfect 0. NaN where the null leaves no room: 1 or more, or 0 or less.
    """
    raw, null_mean = np.asarray(raw, dtype=np.float64), np.asarray(null_mean, dtype=np.float64)
    if higher_is_better:
        numerator, denominator = raw - null_mean, 1 - null_mean
    else:
        numerator, denominator = np.broadcast_arrays(raw, null_mean)
    undefined = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    return np.divide(numerator, denominator, out=undefined, where=denominator > 0)


def p_value(raw: np.ndarray, null: np.ndarray, higher_is_better: bool) -> np.ndarray:
    """(k + 1) / (B + 1) with k the number of null values (B, ...) at least as good as raw (...); NaN if raw
    is NaN.

    Undefined (NaN) null values count as at least as good, which can only make the test more careful.
    B = 20 cannot go below 0.048; use B >= 199 where p itself matters.
    """
    raw, null = np.asarray(raw, dtype=np.float64), np.asarray(null, dtype=np.float64)
    worse = null < raw if higher_is_better else null > raw
    k = null.shape[0] - worse.sum(axis=0)
    return np.where(np.isnan(raw), np.nan, (k + 1) / (null.shape[0] + 1))


TAU_ALPHA = 0.05
"""Share of draws that may lie above `critical_value`."""


def critical_value(raw: float, null: np.ndarray, higher_is_better: bool) -> tuple[float, float]:
    """tau and (raw - tau) / (1 - tau), between 0 and 1, of one value and its null values (B,): Groeger et al. (2026).

    tau is the ceil((1 - alpha) (B + 1))-th smallest of the B + 1 values, raw among them; of distances, the largest of
    that number of smallest ones, and the score (tau - raw) / tau. The score is above 0 in at most alpha of unrelated
    cases, unlike `calibrate`, whose mean is 0 there. Undefined null values count as good. NaN where raw is undefined
    or tau leaves no room.
    """
    sign = 1.0 if higher_is_better else -1.0
    null = sign * np.asarray(null, dtype=np.float64)
    both = np.sort(np.append(np.where(np.isnan(null), np.inf, null), sign * raw))
    tau = both[math.ceil((1 - TAU_ALPHA) * len(both)) - 1]
    best = 1.0 if higher_is_better else 0.0
    if not np.isfinite(tau) or np.isnan(raw) or best <= tau:
        return float("nan"), float("nan")
    return float(sign * tau), float(np.clip((sign * raw - tau) / (best - tau), 0, 1))


def null_per_sample(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and SD (B - 1) over the draws (B, n, ...) for every sample, (n, ...) each: what is stored beside
    raw."""
    draws = np.asarray(draws, dtype=np.float64)
    return nan_mean(draws), _nan_sd(draws)


def best_layer(raw: np.ndarray, draws: np.ndarray, higher_is_better: bool) -> BestLayer:
    """Best of the averaged layers from means over samples, raw (L+1,) and of each draw (B, L+1).

    Every draw picks its own best layer, so p is honest about the choice. Raises ValueError if no layer is defined.
    """
    sign = 1.0 if higher_is_better else -1.0
    layers = averaged_layers(len(raw))
    means = sign * np.asarray(raw, dtype=np.float64)[layers]
    if means.size == 0 or np.isnan(means).all():
        raise ValueError("no layer 1..L has a defined mean; there is no best layer")
    null = sign * np.asarray(draws, dtype=np.float64)[:, layers]
    chosen = np.max(np.where(np.isnan(null), -np.inf, null), axis=1)
    place = int(np.nanargmax(means))
    finite = chosen[np.isfinite(chosen)]
    return BestLayer(
        layers[place],
        float(sign * means[place]),
        float(sign * finite.mean()) if finite.size else float("nan"),
        float(p_value(means[place], chosen, True)),
        critical_value(float(sign * means[place]), sign * chosen, higher_is_better)[1],
    )


def _nan_sd(values: np.ndarray) -> np.ndarray:
    """SD over the first axis with n - 1, without NaN entries; NaN where fewer than two are left."""
    count = (~np.isnan(values)).sum(axis=0)
    square = np.where(np.isnan(values), 0.0, (values - nan_mean(values)) ** 2).sum(axis=0)
    return np.where(count > 1, np.sqrt(square / np.maximum(count - 1, 1)), np.nan)


def _uniform_derangements(size: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """(draws, size) permutations without fixed points, uniform by rejection: about 1/e of permutations
    qualify."""
    identity = np.arange(size)
    result = np.tile(identity, (draws, 1))
    todo = np.arange(draws)
    while todo.size:
        result[todo] = rng.permuted(result[todo], axis=1)
        todo = todo[(result[todo] == identity).any(axis=1)]
    return result


def _quantile_bin(lengths: np.ndarray, quantiles: int) -> np.ndarray:
    """0..quantiles-1. Equal lengths share a bin, so a bin may stay empty."""
    edges = np.quantile(lengths, np.arange(1, quantiles) / quantiles)
    return np.searchsorted(edges, lengths, side="right")


def _midranks(lengths: np.ndarray) -> np.ndarray:
    ordered = np.sort(lengths)
    return (np.searchsorted(ordered, lengths, "left") + np.searchsorted(ordered, lengths, "right")) / 2


def _merge_singletons(labels: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    while True:
        names, counts = np.unique(labels, return_counts=True)
        if names.size == 1 or counts.min() >= 2:
            return labels
        lonely = names[counts == 1][0]
        centres = np.stack([ranks[labels == name].mean(axis=0) for name in names])
        distance = np.linalg.norm(centres - ranks[labels == lonely][0], axis=1)
        distance[names == lonely] = np.inf
        labels = np.where(labels == lonely, names[np.argmin(distance)], labels)
