"""Linear erasure: the least change of vectors x after which a linear reader knows no more of z than its mean.

LEACE (Belrose et al. 2023, arXiv 2306.03819, theorem 4.3): with W = cov(x)^-1/2 and P the orthogonal projection on the
columns of W cov(x, z),

    x' = x - W^-1 P W (x - E x)        so that cov(x', z) = 0

Two things differ from the paper (both ours). cov(x) is shrunk towards a multiple of the identity (Ledoit and Wolf
2004), because vectors have more dimensions than there are positions; cov(x', z) = 0 holds for any invertible W, so this
costs nothing of the guarantee and decides only which change counts as small. And z, as wide as x, is reduced to its
first principal components: what lies in the others is not erased.

The guarantee holds on the positions of the fit. `reader_errors` says what it is worth on others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

TINY = 1e-10
"""Singular values and variances below this share of the largest one are rounding."""
STEPS, WIDEST = 24, 2.0
"""Bisections, and the range, of the exponent by which a random subspace leans towards wide directions."""


@dataclass(frozen=True, eq=False)
class Eraser:
    """x - (x - mean) read write'.

    Attributes:
        mean: (d,). read, write: (d, r); read' write = 1, except for a lengthened random subspace (`random_eraser`).
    """

    mean: np.ndarray
    read: np.ndarray
    write: np.ndarray

    @property
    def rank(self) -> int:
        """r; 0: nothing is erased."""
        return self.read.shape[1]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(n, d) float64, `x` (n, d) erased."""
        x = np.asarray(x, dtype=np.float64)
        return x - self.removed(x)

    def removed(self, x: np.ndarray) -> np.ndarray:
        """(n, d) what `__call__` takes away."""
        return ((np.asarray(x, dtype=np.float64) - self.mean) @ self.read) @ self.write.T


@dataclass(frozen=True, eq=False)
class Spread:
    """Mean and shrunk covariance of vectors, by its axes.

    Attributes:
        mean: (d,). centred: (n, d) vectors minus mean.
        axes: (d, m) orthonormal. values: (m,) variances along them. rest: variance along everything else.
    """

    mean: np.ndarray
    centred: np.ndarray
    axes: np.ndarray
    values: np.ndarray
    rest: float

    @property
    def variances(self) -> np.ndarray:
        """(m + 1,) along the axes, and along everything else."""
        return np.append(self.values, self.rest)

    @property
    def dimensions(self) -> int:
        """Directions with any variance."""
        wide = self.variances > TINY * self.variances.max()
        return int(wide[:-1].sum()) + (len(self.mean) - len(self.values) if wide[-1] else 0)

    def power(self, vectors: np.ndarray, exponent: float) -> np.ndarray:
        """cov^exponent @ vectors (d, k), 0 along directions without variance."""
        scaled = np.zeros(len(self.values) + 1)
        wide = self.variances > TINY * self.variances.max()
        scaled[wide] = self.variances[wide] ** exponent
        inside = self.axes.T @ vectors
        return self.axes @ (scaled[:-1, None] * inside) + scaled[-1] * (vectors - self.axes @ inside)


def spread_of(x: np.ndarray) -> Spread:
    """Mean and Ledoit-Wolf covariance (2004, lemma 3.2 to 3.4) of n vectors `x` (n, d).

    Raises ValueError for another shape or fewer than two vectors.
    """
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 2 or len(x) < 2:
        raise ValueError(f"vectors have shape {x.shape}; a covariance needs (n, d) with n of 2 at least")
    n, d = x.shape
    mean = x.mean(axis=0)
    centred = x - mean
    if n > d:
        values, axes = np.linalg.eigh(centred.T @ centred / n)
        values = values.clip(min=0)
    else:
        _, sizes, across = np.linalg.svd(centred, full_matrices=False)
        values, axes = sizes**2 / n, across.T
    level, total = values.sum() / d, float((values**2).sum())
    away = total - d * level**2
    noise = (float((np.einsum("nd,nd->n", centred, centred) ** 2).sum()) / n - total) / n
    share = min(1.0, max(0.0, noise / away)) if away > TINY * total else 1.0
    return Spread(mean, centred, axes, share * level + (1 - share) * values, share * level)


def principal(z: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean (k,), first principal axes (k, r <= rank) of `z` (n, k), and the share of its variance that they hold.

    r is smaller where z varies in fewer directions, 0 where it is constant (the share is then 0).
    """
    z = np.asarray(z, dtype=np.float64)
    mean = z.mean(axis=0)
    _, sizes, axes = np.linalg.svd(z - mean, full_matrices=False)
    real = sizes > TINY * max(float(np.abs(z).max(initial=0.0)) * np.sqrt(z.size), float(sizes.max(initial=0.0)))
    kept = int(min(rank, real.sum()))
    total = float((sizes**2).sum())
    return mean, axes[:kept].T, float((sizes[:kept] ** 2).sum()) / total if kept else 0.0


def concept_eraser(spread: Spread, z: np.ndarray) -> Eraser:
    """LEACE of `z` (n, k) from the n vectors of `spread`; its rank is at most k and that of z.

    Raises ValueError if there is not one row of z for each vector.
    """
    z = np.asarray(z, dtype=np.float64)
    if z.ndim != 2 or len(z) != len(spread.centred):
        raise ValueError(f"z has shape {z.shape}, but there are {len(spread.centred)} vectors; give one row for each")
    z = z - z.mean(axis=0)
    cross = spread.centred.T @ z / len(z)
    # The most that the covariance could be: below a rounding of it there is nothing to erase.
    most = np.linalg.norm(spread.centred) * np.linalg.norm(z) / len(z)
    if not np.linalg.norm(cross) > TINY * most:
        return _eraser(spread, np.empty((len(spread.mean), 0)))
    left, sizes, _ = np.linalg.svd(spread.power(cross, -0.5), full_matrices=False)
    return _eraser(spread, left[:, sizes > TINY * sizes[0]])


def random_eraser(spread: Spread, like: Eraser, seed: int) -> Eraser:
    """Erases a random subspace that has nothing to do with `like`: of its rank, with its mean squared change.

    Its directions in whitened space are Gaussian ones made orthogonal to those of `like`, so all that a linear reader
    knew is left. They lean towards wide or narrow directions of the vectors by cov^t, with the t in -WIDEST .. WIDEST
    at which the n vectors of `spread` change by as much as under `like`, in the mean of squares. Where no t reaches
    that, because the concept lies along the widest directions, what is taken away is lengthened (or shortened) to it.
    The rank is smaller where fewer dimensions than that are left.
    """
    rank = min(like.rank, spread.dimensions - like.rank)
    if rank < 1:
        return _eraser(spread, np.empty((len(spread.mean), 0)))
    drawn = np.random.default_rng(seed).standard_normal((len(spread.mean), rank))
    taken, wanted, largest = spread.power(like.read, 0.5), _energy(spread, like), spread.variances.max()
    # Largest variance 1, so that its powers stay among the floats.
    scaled = replace(spread, values=spread.values / largest, rest=spread.rest / largest)

    def leaned(exponent: float) -> Eraser:
        vectors = scaled.power(drawn, exponent)
        return _eraser(spread, np.linalg.qr(vectors - taken @ (taken.T @ vectors))[0])

    low, high = -WIDEST, WIDEST
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if _energy(spread, leaned(middle)) < wanted else (low, middle)
    found = leaned((low + high) / 2)
    return replace(found, write=found.write * np.sqrt(wanted / _energy(spread, found)))


def reader_errors(
    fit_x: np.ndarray, fit_z: np.ndarray, x: np.ndarray, z: np.ndarray, half: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Squared errors (n,) of reading `z` (n, k) from `x` (n, d), and of taking the mean of `fit_z` for it.

    The reader is linear, with the shrunk covariance of the vectors that it is fitted on. What it says is scaled by the
    slope, 0 to 1, at which readers of one `half` (m,) of its vectors are right on the other one: with fewer vectors
    than dimensions it would else say much where there is nothing to read. 1 - sum / sum is its R2 on new vectors.
    """
    mean = fit_z.mean(axis=0)
    said = np.zeros_like(fit_z)
    for side in (half, ~half):
        if 2 <= side.sum() <= len(side) - 2:
            said[side] = _read(fit_x[~side], fit_z[~side], fit_x[side])
    size = float((said**2).sum())
    slope = min(1.0, max(0.0, float((said * (fit_z - mean)).sum()) / size)) if size else 0.0
    found = mean + slope * _read(fit_x, fit_z, x)
    return ((z - found) ** 2).sum(axis=1), ((z - mean) ** 2).sum(axis=1)


def _read(fit_x: np.ndarray, fit_z: np.ndarray, x: np.ndarray) -> np.ndarray:
    """(n, k) by how much z is above its mean, read linearly from `x`."""
    spread = spread_of(fit_x)
    weights = spread.power(spread.centred.T @ (fit_z - fit_z.mean(axis=0)) / len(fit_z), -1.0)
    return (np.asarray(x, dtype=np.float64) - spread.mean) @ weights


def _eraser(spread: Spread, directions: np.ndarray) -> Eraser:
    """Of orthonormal directions (d, r) in whitened space."""
    return Eraser(spread.mean, spread.power(directions, -0.5), spread.power(directions, 0.5))


def _energy(spread: Spread, eraser: Eraser) -> float:
    """Mean squared change of the vectors of `spread`."""
    return float((((spread.centred @ eraser.read) @ eraser.write.T) ** 2).sum() / len(spread.centred))
