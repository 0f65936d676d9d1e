"""Paired bootstrap over questions within subsets, for every mean and difference of scores (ours).

One set of resamples per subset serves all models, checkpoints and forms: draw b uses the same questions everywhere, so
each difference is paired. A resample of Overall resamples every subset and averages the subset means, as Overall does.
Intervals are percentile intervals.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95
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
    """A number with its bootstrap draws (draws,); `own` is an interval that replaces the bootstrap's."""

    value: float
    draws: np.ndarray
    own: tuple[float, float] | None = None

    def __sub__(self, other: "Resampled") -> "Resampled":
        return Resampled(self.value - other.value, self.draws - other.draws)

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % interval; NaN where the spread is unknown."""
        return interval(self.draws) if self.own is None else self.own


def mean_of(values: Sequence[Resampled]) -> Resampled:
    """The unweighted mean, draw by draw."""
    return Resampled(float(np.mean([one.value for one in values])), np.mean([one.draws for one in values], axis=0))


def interval(draws: np.ndarray) -> tuple[float, float]:
    """Percentile interval at level 0.95 of resampled values; NaN draws are left out, without any the ends are NaN."""
    defined = draws[~np.isnan(draws)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
