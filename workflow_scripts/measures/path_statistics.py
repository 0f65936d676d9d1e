"""What an alignment path looks like, layer by layer: monotonicity, consistency, violations, collisions.

A path is `i_star` (L+1, T_t): for each layer and text token j the speech frame i*_j. Monotonicity and
consistency are the paper's (arXiv 2510.12116); violations and collisions are ours.
"""

import numpy as np

FEWEST_TOKENS = 4
"""Spearman's coefficient of three points takes four values only; shorter texts are skipped and counted."""


def monotonicity(i_star: np.ndarray, frames: int | None = None) -> np.ndarray:
    """rho_l = Spearman(j, i*_{l,j}) for each layer of `i_star` (L+1, T_t): float64 (L+1,) in [-1, 1].

    Tied frames share their average rank, as in scipy.stats.spearmanr. NaN where undefined: T_t < 4, or a
    path that stays on one frame. `frames` is T_s if known (saves a pass). Raises ValueError for a path with
    negative frames or of the wrong shape.
    """
    i_star = _checked(i_star)
    layers, tokens = i_star.shape
    if tokens < FEWEST_TOKENS:
        return np.full(layers, np.nan)
    deviation = _average_ranks(i_star, frames) - (tokens + 1) / 2
    position = np.arange(tokens) - (tokens - 1) / 2
    spread = np.sqrt((deviation**2).sum(axis=1) * (position**2).sum())
    rho = np.full(layers, np.nan)
    np.divide(deviation @ position, spread, out=rho, where=spread > 0)
    return np.clip(rho, -1.0, 1.0)


def consistency(i_star_cosine: np.ndarray, i_star_euclidean: np.ndarray, tolerance: int = 0) -> np.ndarray:
    """Share of text tokens on whose frame the two metrics agree within `tolerance` frames, (L+1,) float64.

    The paper asks for equality (tolerance 0). Raises ValueError if the shapes differ.
    """
    first, second = _checked(i_star_cosine), _checked(i_star_euclidean)
    if first.shape != second.shape:
        raise ValueError(f"paths have shapes {first.shape} and {second.shape}; compare paths of the same sample")
    distance = np.abs(first.astype(np.int64) - second.astype(np.int64))
    return (distance <= tolerance).mean(axis=1, dtype=np.float64)


def violations(i_star: np.ndarray) -> np.ndarray:
    """Share of steps that go back, i*_{j+1} < i*_j, (L+1,) float64; NaN for a single text token."""
    i_star = _checked(i_star)
    if i_star.shape[1] < 2:
        return np.full(i_star.shape[0], np.nan)
    return (i_star[:, 1:] < i_star[:, :-1]).mean(axis=1, dtype=np.float64)


def collisions(i_star: np.ndarray) -> np.ndarray:
    """1 - distinct frames / T_t, (L+1,) float64: 0 if every text token has its own frame."""
    i_star = _checked(i_star)
    ranked = np.sort(i_star, axis=1)
    distinct = 1 + (ranked[:, 1:] != ranked[:, :-1]).sum(axis=1)
    return 1 - distinct / i_star.shape[1]


def _checked(i_star: np.ndarray) -> np.ndarray:
    i_star = np.asarray(i_star)
    if i_star.ndim != 2 or 0 in i_star.shape or not np.issubdtype(i_star.dtype, np.integer):
        raise ValueError(
            f"a path has shape {i_star.shape} and dtype {i_star.dtype}, expected integer frames (L+1, T_t) with T_t > 0"
        )
    if i_star.min() < 0:
        raise ValueError(f"a path holds frame {i_star.min()}; frames count from 0")
    return i_star


def _average_ranks(i_star: np.ndarray, frames: int | None) -> np.ndarray:
    """Ranks 1..T_t per row, ties averaged, by counting how often each frame occurs: no sort, all layers at
    once."""
    layers, _ = i_star.shape
    frames = int(i_star.max()) + 1 if frames is None else frames
    flat = i_star.astype(np.int64) + frames * np.arange(layers)[:, None]
    counts = np.bincount(flat.ravel(), minlength=layers * frames).reshape(layers, frames)
    below = np.cumsum(counts, axis=1) - counts
    return (below + (counts + 1) / 2).ravel()[flat]
