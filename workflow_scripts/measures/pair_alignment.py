"""Token-level measures of all speech-text pairs of a bin at one layer: matrices (m, m), true pairs on the diagonal.

The same numbers as `token_alignment` and `path_quality` on each pair (a test compares them). The texts are stacked, so
that one matrix product per spoken question serves every pair, and nothing but the best frame of each text token is
turned into a distance.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workflow_scripts.measures.exact_best import most_similar_frames, nearest_frames
from workflow_scripts.measures.path_quality import BELOW_ANY, monotone_scores, warping_costs
from workflow_scripts.measures.path_statistics import collisions, consistency, monotonicity, violations
from workflow_scripts.measures.shuffle_null import Kind
from workflow_scripts.measures.states import Prepared
from workflow_scripts.measures.token_alignment import CANCELLATION

PAIR_KINDS: dict[str, Kind] = {
    "path_score_cosine": "cosine",
    "path_score_euclidean": "distance",
    "monotonicity_cosine": "cosine",
    "monotonicity_euclidean": "cosine",
    "consistency": "cosine",
    "violations": "distance",
    "collisions": "distance",
    "monotone_score": "cosine",
    "monotone_loss": "distance",
    "dtw_cost": "distance",
}
"""The measures, and how each compares with its null: `cosine` higher is better, `distance` lower."""

OWN_ONLY = ("path_score_frame_to_text", "path_score_mutual", "path_score_euclidean_on_cosine_path")
"""Readings of the path that the paper leaves open, of true pairs only: see `_other_readings`."""

BLOCK = 8_000_000
"""Entries of the padded token matrices held at once (32 MB)."""


@dataclass(frozen=True)
class StackedTexts:
    """Texts of a bin at one layer, one below the other.

    states (n, d) float32, norms (n,), lengths (m,) = T_t, starts (m + 1,), place (m, max T_t): the row of each token of
    each text, filled up with the text's first row.
    """

    states: np.ndarray
    norms: np.ndarray
    lengths: np.ndarray
    starts: np.ndarray
    place: np.ndarray


@dataclass(frozen=True)
class PairAlignment:
    """Spoken questions against the texts of their bin.

    values: measure of `PAIR_KINDS` -> (m_s, m_t) float64.
    i_star, path_score: metric -> per spoken question, path and score along its own text, (T_t,).
    own: measure of `OWN_ONLY` -> (m_s,).
    """

    values: dict[str, np.ndarray]
    i_star: dict[str, list[np.ndarray]]
    path_score: dict[str, list[np.ndarray]]
    own: dict[str, np.ndarray]


def stack_texts(text: Sequence[Prepared]) -> StackedTexts:
    """Stack texts `prepare`d from (1, T_t, d)."""
    lengths = np.array([one.positions for one in text])
    starts = np.concatenate([[0], np.cumsum(lengths)])
    token = np.arange(lengths.max())
    place = starts[:-1, None] + np.where(token < lengths[:, None], token, 0)
    return StackedTexts(
        np.concatenate([one.states[0] for one in text]),
        np.concatenate([one.norms[0] for one in text]),
        lengths,
        starts,
        place,
    )


def chunks(T_s: np.ndarray, T_t: np.ndarray) -> list[slice]:
    """Spoken questions of a bin whose padded token matrices fit `BLOCK` together; at least one at a time."""
    size = max(1, BLOCK // int(len(T_t) * T_t.max() * T_s.max()))
    return [slice(start, start + size) for start in range(0, len(T_s), size)]


def align_pairs(speech: Sequence[Prepared], texts: StackedTexts, own: np.ndarray) -> PairAlignment:
    """Align spoken questions, `prepare`d from (1, T_s, d), with all texts; own (m_s,): place of each one's own text.

    i*_j = argmax_i cos(s_i, t_j), and argmin_i ||s_i - t_j|| (paper, section on token-level analysis), exact up to ties
    of equal vectors (`exact_best`). Zero vectors have cosine 0.
    """
    T_s = np.array([one.positions for one in speech])
    pairs, most = (len(speech), len(texts.lengths)), int(T_s.max())
    paths = {metric: np.empty((*pairs, texts.place.shape[1]), dtype=np.int64) for metric in ("cosine", "euclidean")}
    means = {metric: np.empty(pairs) for metric in paths}
    matrices = np.full((*pairs, texts.place.shape[1], most), BELOW_ANY, dtype=np.float32)
    i_star: dict[str, list[np.ndarray]] = {metric: [] for metric in paths}
    path_score: dict[str, list[np.ndarray]] = {metric: [] for metric in paths}
    others: dict[str, list[float]] = {name: [] for name in OWN_ONLY}
    for number, spoken in enumerate(speech):
        inner = texts.states @ spoken.states[0].T
        found = {
            "cosine": most_similar_frames(inner, spoken, texts.states, texts.norms),
            "euclidean": nearest_frames(inner, spoken, texts.states, texts.norms),
        }
        cosine = inner * _reciprocal(spoken.norms[0]).astype(np.float32)
        cosine *= _reciprocal(texts.norms).astype(np.float32)[:, None]
        np.clip(cosine, -1.0, 1.0, out=cosine)
        score = {
            "cosine": cosine[np.arange(len(cosine)), found["cosine"]].astype(np.float64),
            "euclidean": _distances(inner, spoken, texts, found["euclidean"]),
        }
        matrices[number, :, :, : spoken.positions] = cosine[texts.place]
        mine = slice(int(texts.starts[own[number]]), int(texts.starts[own[number] + 1]))
        for metric, frames in found.items():
            paths[metric][number] = frames[texts.place]
            means[metric][number] = np.add.reduceat(score[metric], texts.starts[:-1]) / texts.lengths
            i_star[metric].append(frames[mine].astype(np.int32))
            path_score[metric].append(score[metric][mine])
        on_cosine = _distances(inner, spoken, texts, found["cosine"], mine)
        for name, value in zip(OWN_ONLY, (*_other_readings(cosine[mine]), on_cosine.mean())):
            others[name].append(float(value))
    return PairAlignment(
        _values(paths, means, matrices, T_s, texts.lengths),
        i_star,
        path_score,
        {name: np.array(values) for name, values in others.items()},
    )


def best_cosines(speech: Prepared, texts: StackedTexts) -> np.ndarray:
    """Mean over tokens of max_i cos(s_i, t_j) against every text, (m,) float64: the path score, without a path."""
    best = (texts.states @ speech.states[0].T * _reciprocal(speech.norms[0]).astype(np.float32)).max(axis=1)
    best = np.clip(best * _reciprocal(texts.norms), -1.0, 1.0)
    return np.add.reduceat(best, texts.starts[:-1]) / texts.lengths


def _values(
    paths: dict[str, np.ndarray], means: dict[str, np.ndarray], matrices: np.ndarray, T_s: np.ndarray, T_t: np.ndarray
) -> dict[str, np.ndarray]:
    """Every measure (m_s, m_t) from paths (m_s, m_t, tokens), mean scores and padded cosines."""
    pairs, frames = means["cosine"].shape, matrices.shape[-1]
    lengths, T_s = np.broadcast_to(T_t, pairs), np.broadcast_to(T_s[:, None], pairs)
    rows = {metric: path.reshape(-1, path.shape[-1]) for metric, path in paths.items()}
    flat = lengths.ravel()
    monotone = monotone_scores(matrices, lengths)
    found = {f"path_score_{metric}": value for metric, value in means.items()}
    for metric, path in rows.items():
        found[f"monotonicity_{metric}"] = monotonicity(path, frames, flat).reshape(pairs)
    found["consistency"] = consistency(rows["cosine"], rows["euclidean"], lengths=flat).reshape(pairs)
    found["violations"] = violations(rows["cosine"], flat).reshape(pairs)
    found["collisions"] = collisions(rows["cosine"], frames, flat).reshape(pairs)
    found["monotone_score"] = monotone
    found["monotone_loss"] = np.maximum(means["cosine"] - monotone, 0.0)
    found["dtw_cost"] = warping_costs(matrices, lengths, T_s)
    return found


def _other_readings(text_by_speech: np.ndarray) -> tuple[float, float]:
    """Path score with the argmax in the other direction, and on mutually best pairs, from cosines (T_t, T_s).

    Frame to text: mean over frames of the best cosine of any token. Mutual: mean over pairs that are each other's best;
    the largest entry is always one.
    """
    best_token, best_frame = text_by_speech.argmax(axis=0), text_by_speech.argmax(axis=1)
    tokens = np.arange(len(best_frame))
    mutual = best_token[best_frame] == tokens
    return (
        text_by_speech.max(axis=0).mean(dtype=np.float64),
        text_by_speech[tokens[mutual], best_frame[mutual]].mean(dtype=np.float64),
    )


def _distances(
    inner: np.ndarray, speech: Prepared, texts: StackedTexts, frames: np.ndarray, rows: slice = slice(None)
) -> np.ndarray:
    """||s_{i_j} - t_j|| at frame i_j of each text token, (n,) float64; in float64 where float32 loses its digits."""
    inner, text, norms, frames = inner[rows], texts.states[rows], texts.norms[rows], frames[rows]
    squares = norms**2 + speech.norms[0][frames] ** 2
    squared = squares - 2 * inner[np.arange(len(inner)), frames].astype(np.float64)
    close = np.flatnonzero(squared < CANCELLATION * squares)
    if close.size:
        difference = text[close].astype(np.float64) - speech.states[0][frames[close]]
        squared[close] = (difference**2).sum(axis=1)
    return np.sqrt(np.maximum(squared, 0.0))


def _reciprocal(norms: np.ndarray) -> np.ndarray:
    return np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
