"""What an alignment path looks like, layer by layer: monotonicity, consistency, violations, collisions.

A path is `i_star` (L+1, T_t): for each layer and text token j the speech frame i*_j. Monotonicity and
consistency are the paper's (arXiv 2510.12116); violations and collisions are ours.
"""

import numpy as np

MIN_TOKENS = 4
"""Spearman's coefficient of three points takes four values only; shorter texts are skipped and counted."""


def monotonicity(i_star: np.ndarray, frames: int | None = None, lengths: np.ndarray | None = None) -> np.ndarray:
    """rho_l = Spearman(j, i*_{l,j}) for each row of `i_star` (rows, T_t), a layer or a pair: float64 (rows,).

    Tied frames share their average rank, as in scipy.stats.spearmanr. NaN where undefined: T_t < 4, or a
    path that stays on one frame. `frames` is T_s if known (saves a pass). `lengths` (rows,): tokens that count, if rows
    are filled up to a common T_t. Raises ValueError for a path with negative frames or of the wrong shape.
    """
    i_star, real, count = _checked(i_star, lengths)
    occurrences, flat = _occurrences(i_star, real, frames)
    below = np.cumsum(occurrences, axis=1) - occurrences
    ranks = (below + (occurrences + 1) / 2).ravel()[flat]
    deviation = np.where(real, ranks - (count[:, None] + 1) / 2, 0.0)
    position = np.where(real, np.arange(i_star.shape[1]) - (count[:, None] - 1) / 2, 0.0)
    spread = np.sqrt((deviation**2).sum(axis=1) * (position**2).sum(axis=1))
    rho = np.full(len(i_star), np.nan)
    np.divide((deviation * position).sum(axis=1), spread, out=rho, where=(spread > 0) & (count >= MIN_TOKENS))
    return np.clip(rho, -1.0, 1.0)


def consistency(
    i_star_cosine: np.ndarray,
    i_star_euclidean: np.ndarray,
    tolerance: int = 0,
    lengths: np.ndarray | None = None,
) -> np.ndarray:
    """Share of text tokens on whose frame the two metrics agree within `tolerance` frames, (rows,) float64.

    The paper asks for equality (tolerance 0). `lengths` as in `monotonicity`. Raises ValueError if the shapes differ.
    """
    first, real, count = _checked(i_star_cosine, lengths)
    second = _checked(i_star_euclidean, lengths)[0]
    if first.shape != second.shape:
        raise ValueError(f"paths have shapes {first.shape} and {second.shape}; compare paths of the same sample")
    distance = np.abs(first.astype(np.int64) - second.astype(np.int64))
    return ((distance <= tolerance) & real).sum(axis=1) / count


def violations(i_star: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
    """Share of steps that go back, i*_{j+1} < i*_j, (rows,) float64; NaN for a single text token."""
    i_star, real, count = _checked(i_star, lengths)
    back = ((i_star[:, 1:] < i_star[:, :-1]) & real[:, 1:]).sum(axis=1)
    return np.divide(back, count - 1, out=np.full(len(i_star), np.nan), where=count > 1)


def collisions(i_star: np.ndarray, frames: int | None = None, lengths: np.ndarray | None = None) -> np.ndarray:
    """1 - distinct frames / T_t, (rows,) float64: 0 if every text token has its own frame."""
    i_star, real, count = _checked(i_star, lengths)
    occurrences, _ = _occurrences(i_star, real, frames)
    return 1 - (occurrences[:, :-1] > 0).sum(axis=1) / count


def _checked(i_star: np.ndarray, lengths: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The paths, which of their entries count (same shape, bool), and how many of each row (rows,)."""
    i_star = np.asarray(i_star)
    if i_star.ndim != 2 or 0 in i_star.shape or not np.issubdtype(i_star.dtype, np.integer):
        raise ValueError(
            f"a path has shape {i_star.shape} and dtype {i_star.dtype}, expected integer frames (L+1, T_t) with T_t > 0"
        )
    if i_star.min() < 0:
        raise ValueError(f"a path holds frame {i_star.min()}; frames count from 0")
    rows, tokens = i_star.shape
    count = np.full(rows, tokens) if lengths is None else np.asarray(lengths)
    if count.shape != (rows,) or count.min() < 1 or count.max() > tokens:
        raise ValueError(f"lengths {count.shape} must be one of 1 .. {tokens} for each of {rows} rows")
    return i_star, np.arange(tokens) < count[:, None], count


def _occurrences(i_star: np.ndarray, real: np.ndarray, frames: int | None) -> tuple[np.ndarray, np.ndarray]:
    """How often each row visits each frame, (rows, T_s + 1), and the place of every entry in it: no sort, all at once.

    The last column takes the entries that do not count, so that they rank behind all others.
    """
    frames = int(i_star.max()) + 1 if frames is None else frames
    columns = np.where(real, i_star, frames).astype(np.int64)
    flat = columns + (frames + 1) * np.arange(len(i_star))[:, None]
    counts = np.bincount(flat.ravel(), minlength=len(i_star) * (frames + 1)).reshape(len(i_star), frames + 1)
    return counts, flat
