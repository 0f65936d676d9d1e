"""Which speech frames an intervention edits: one path for all layers, and the entries chosen from it.

Source: arXiv 2510.12116, section on interventions (`Bottom3`, `All`). The paper leaves open how the layers'
paths become one and how a frame shared by several text tokens is treated; the readings here are ours and
stated below.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workflow_scripts.measures.reading import averaged_layers, mean_over_layers, nan_mean


@dataclass(frozen=True)
class VotedPath:
    """One path for all layers.

    frames  (T_t,) int32, most frequent frame over layers 1..L
    votes   (T_t,) float64, share of the layers 1..L that chose it
    scores  (T_t,) float64, mean over layers 1..L of the text token's path score: the default ranking of
            `bottom_k`
    """

    frames: np.ndarray
    votes: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class EditTargets:
    """Speech frames to edit with the text token each takes its direction or length from; ordered by
    selection.

    frames     (m,) int32, all different
    tokens     (m,) int32
    scores     (m,) float64
    exhausted  more frames were asked for than the path has; then all of them are here
    """

    frames: np.ndarray
    tokens: np.ndarray
    scores: np.ndarray
    exhausted: bool


def vote_path(i_star: np.ndarray, path_score: np.ndarray, kept: Sequence[int] | None = None) -> VotedPath:
    """Most frequent frame over layers 1..L for each text token, from `i_star` and `path_score` (L+1, T_t).

    kept: layers of 0 .. L whose paths are known (`activations.layers`); others have no vote. Equal counts: the frame
    with the higher mean path score among the layers that chose it; still equal: the earlier frame. Pass scores of which
    higher is better. Raises ValueError if shapes differ or no layer votes.
    """
    i_star, path_score = np.asarray(i_star), np.asarray(path_score, dtype=np.float64)
    if i_star.ndim != 2 or i_star.shape != path_score.shape or 0 in i_star.shape:
        raise ValueError(f"i_star has shape {i_star.shape}, path_score {path_score.shape}; expected (L+1, T_t) twice")
    voters = averaged_layers(len(i_star), kept)
    if not voters:
        raise ValueError(f"no layer 1..L among those kept, {kept}: a vote needs at least one")
    i_star, path_score, tokens = i_star[voters], path_score[voters], i_star.shape[1]
    size = int(i_star.max()) + 1
    cell = (i_star.astype(np.int64) + size * np.arange(tokens)).ravel()
    counts = np.bincount(cell, minlength=tokens * size).reshape(tokens, size)
    sums = np.bincount(cell, weights=path_score.ravel(), minlength=tokens * size).reshape(tokens, size)
    most = counts.max(axis=1, keepdims=True)
    mean = np.where(counts == most, sums / most, -np.inf)
    return VotedPath(np.argmax(mean, axis=1).astype(np.int32), most[:, 0] / len(voters), nan_mean(path_score))


def path_entry_scores(cosine: np.ndarray, path: np.ndarray) -> np.ndarray:
    """Mean over layers 1..L of A_l[path_j, j] for one path (T_t,) through token matrices (L+1, T_s, T_t):
    (T_t,).

    Unlike `VotedPath.scores` every layer is read at the same frame. Needs the matrices, which are not stored.
    """
    entries = np.take_along_axis(cosine, np.asarray(path)[None, None, :], axis=1)[:, 0, :]
    return mean_over_layers(entries)


def bottom_k(path: np.ndarray, scores: np.ndarray, k: int) -> EditTargets:
    """The k distinct frames of `path` (T_t,) with the lowest `scores` (T_t,), lowest first.

    A frame shared by several text tokens takes its best-scoring token and that token's score. Ties: the
    earlier text token. If the path has fewer than k frames, all are returned and `exhausted` is set. Raises
    ValueError for k < 1, an empty path, shapes that differ, or a score that is not finite.
    """
    return _take(_distinct(path, scores), k, np.argsort)


def top_k(path: np.ndarray, scores: np.ndarray, k: int) -> EditTargets:
    """Like `bottom_k` with the highest scores, highest first: a control."""
    return _take(_distinct(path, scores), k, lambda values, kind: np.argsort(-values, kind=kind))


def random_k(path: np.ndarray, scores: np.ndarray, k: int, seed: int) -> EditTargets:
    """Like `bottom_k` with k frames drawn without replacement: a control."""
    rng = np.random.default_rng(seed)
    return _take(_distinct(path, scores), k, lambda values, kind: rng.permutation(values.size))


def all_entries(path: np.ndarray, scores: np.ndarray) -> EditTargets:
    """Every distinct frame of the path with its best-scoring text token, in the order of these text
    tokens."""
    frames, tokens, best = _distinct(path, scores)
    return EditTargets(frames, tokens, best, exhausted=False)


def _distinct(path: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct frames, their best-scoring text tokens and these scores, in the order of the tokens."""
    path, scores = np.asarray(path), np.asarray(scores, dtype=np.float64)
    if path.ndim != 1 or path.shape != scores.shape or path.size == 0:
        raise ValueError(f"path has shape {path.shape}, scores {scores.shape}; expected (T_t,) twice, T_t > 0")
    if not np.isfinite(scores).all():
        token = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise ValueError(f"score of text token {token} is {scores[token]}; entries cannot be ranked")
    order = np.lexsort((np.arange(path.size), -scores, path))
    first_of_frame = np.ones(path.size, dtype=bool)
    first_of_frame[1:] = path[order][1:] != path[order][:-1]
    tokens = np.sort(order[first_of_frame])
    return path[tokens].astype(np.int32), tokens.astype(np.int32), scores[tokens]


def _take(entries: tuple[np.ndarray, np.ndarray, np.ndarray], k: int, ranking) -> EditTargets:
    frames, tokens, scores = entries
    if k < 1:
        raise ValueError(f"k is {k}, expected at least 1")
    chosen = ranking(scores, kind="stable")[:k]
    return EditTargets(frames[chosen], tokens[chosen], scores[chosen], exhausted=k > frames.size)
