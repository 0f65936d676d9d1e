"""Paired bootstrap over questions within subsets, for every mean and difference of scores (ours).

One set of resamples per subset serves all models, checkpoints and forms: draw b uses the same questions everywhere, so
each difference is paired. A resample of Overall resamples every subset and averages the subset means, as Overall does.
Intervals are percentile intervals.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from workflow_scripts.statistics.paired_tests import bonett_price

LEVEL = 0.95
Z_95 = 1.959963984540054
TWO_VALUED = 100.0
"""The higher of the two values of outcomes, in points; the lower one is 0, or below for chance-corrected scores."""
ROUNDING = 1e-9
"""Differences of two means below this, in points, are rounding; added to draws they would give ends like -7e-15."""


class Resampler:
    """Resamples of the questions of each subset.

    The draws of a subset depend on the seed, its name and its number of questions only, not on which other subsets or
    models there are.
    """

    def __init__(self, draws: int, seed: int):
        self.draws, self.seed = draws, seed
        self._weights: dict[tuple[str, int], np.ndarray] = {}

    def weights(self, subset: str, n: int) -> np.ndarray:
        """How often each of `n` questions (sorted by id) occurs in each resample, (draws, n) float64."""
        key = (subset, n)
        if key not in self._weights:
            rng = np.random.default_rng([self.seed, zlib.crc32(subset.encode())])
            self._weights[key] = rng.multinomial(n, np.full(n, 1 / n), size=self.draws).astype(np.float64)
        return self._weights[key]

    def means(self, subset: str, values: np.ndarray, estimate: float) -> np.ndarray:
        """Resampled means (draws,) of per-question values (n,), shifted so that they scatter around `estimate`.

        The shift is zero for scorers whose aggregate is the mean of the question scores. It matters for instruction
        following, whose aggregate pools instructions over questions: there the bootstrap gives the width only.
        NaN for a single question, which cannot be resampled.
        """
        if len(values) == 1:
            return np.full(self.draws, np.nan)
        shift = estimate - values.mean()
        if abs(shift) < ROUNDING:
            shift = 0.0
        return self.weights(subset, len(values)) @ values / len(values) + shift

    def aggregates(self, subset: str, sums: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        """Resampled means (draws,), in points, of ratios of sums over all questions: pairs (above, below) of (n,).

        NaN for a single question, which cannot be resampled.
        """
        n = len(sums[0][0])
        everything = np.arange(n)
        return 100 * np.mean([self.ratios(subset, n, everything, above, below) for above, below in sums], axis=0)

    def ratios(self, subset: str, n: int, index: np.ndarray, above: np.ndarray, below: np.ndarray) -> np.ndarray:
        """Resampled ratios of sums (draws,), sum of `above` / sum of `below`, over the questions `index` of `n`.

        A resample without any of these questions is NaN, and so are all if there is a single one.
        """
        if len(index) == 1:
            return np.full(self.draws, np.nan)
        weights = self.weights(subset, n)[:, index]
        total = weights @ below
        return np.divide(weights @ above, total, out=np.full(self.draws, np.nan), where=total > 0)


@dataclass(frozen=True)
class Resampled:
    """A number with its bootstrap draws (draws,).

    Attributes:
        own: an interval that replaces the bootstrap's.
        outcomes: (n,) the questions' values where there are only two, `TWO_VALUED` apart; their paired differences have
            the interval of Bonett and Price, as percentiles of few discordant questions are too narrow.
        spread: centre and variance of a normal interval that replaces the bootstrap's.
        parts: the numbers that this one is the mean of.
    """

    value: float
    draws: np.ndarray
    own: tuple[float, float] | None = None
    outcomes: np.ndarray | None = None
    spread: tuple[float, float] | None = None
    parts: tuple["Resampled", ...] = ()

    def __sub__(self, other: "Resampled") -> "Resampled":
        value, draws = self.value - other.value, self.draws - other.draws
        if self.parts and len(self.parts) == len(other.parts):
            return replace(mean_of([one - two for one, two in zip(self.parts, other.parts)]), value=value, draws=draws)
        return Resampled(value, draws, spread=_paired_spread(self.outcomes, other.outcomes))

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % interval; NaN where the spread is unknown."""
        if self.own is not None or self.spread is None:
            return interval(self.draws) if self.own is None else self.own
        centre, variance = self.spread
        return centre - Z_95 * variance**0.5, centre + Z_95 * variance**0.5


def _paired_spread(first: np.ndarray | None, second: np.ndarray | None) -> tuple[float, float] | None:
    """Centre and variance of the mean paired difference of two-valued outcomes; None for others."""
    if first is None or second is None or len(first) != len(second) or len(first) < 2:
        return None
    high = TWO_VALUED
    low = min(0.0, first.min(), second.min())
    if not np.isin(np.concatenate([first, second]), (low, high)).all():
        return None
    b, c = int(((first == high) & (second == low)).sum()), int(((first == low) & (second == high)).sum())
    centre, variance = bonett_price(b, c, len(first))
    return (high - low) * centre, (high - low) ** 2 * variance


def mean_of(values: Sequence[Resampled]) -> Resampled:
    """The unweighted mean of independent numbers, draw by draw."""
    draws, spread = np.mean([one.draws for one in values], axis=0), None
    if any(one.spread is not None for one in values):
        spreads = [one.spread or (one.value, float(np.nanvar(one.draws, ddof=1))) for one in values]
        spread = (
            float(np.mean([centre for centre, _ in spreads])),
            sum(variance for _, variance in spreads) / len(values) ** 2,
        )
    return Resampled(float(np.mean([one.value for one in values])), draws, spread=spread, parts=tuple(values))


def interval(draws: np.ndarray) -> tuple[float, float]:
    """Percentile interval at level 0.95 of resampled values; NaN draws are left out, without any the ends are NaN."""
    defined = draws[~np.isnan(draws)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
