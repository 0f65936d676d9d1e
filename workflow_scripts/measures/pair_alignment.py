"""Token-level alignment of all speech-text pairs of a bin at one layer, true pairs on the diagonal.

Source: arXiv 2510.12116, section on token-level analysis.

    A[i, j] = f(h^s_i, h^t_j)      token matrix (T_s, T_t) for f = cosine or Euclidean distance
    i*_j    = argmax_i A[i, j]     (argmin for the distance): one speech frame per text token

The texts are stacked, so that one matrix product per spoken question serves every pair, and nothing but the best frame
of each text token is turned into a distance. Near ties of the argmax are decided in float64 (`exact_best`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from workflow_scripts.measures.exact_best import most_similar_frames, nearest_frames
from workflow_scripts.measures.path_quality import BELOW_ANY, monotone_scores
from workflow_scripts.measures.states import Prepared
from workflow_scripts.measures.time_truth import UNDEFINED, TimedQuestion, TimeScores
from workflow_scripts.measures.token_alignment import CANCELLATION

METRICS = ("cosine", "euclidean")

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
class OwnPath:
    """One spoken question with its own text.

    cosine          (T_t, T_s) float32, token matrix of cosines
    i_star, scores  metric -> (T_t,), the path and the similarity along it
    on_cosine_path  (T_t,) Euclidean distance along the cosine path
    times           where its words are spoken; None if unknown
    """

    cosine: np.ndarray
    i_star: dict[str, np.ndarray]
    scores: dict[str, np.ndarray]
    on_cosine_path: np.ndarray
    times: TimedQuestion | None

    def time_scores(self, path: str) -> TimeScores:
        """Of the path of a metric, or of one that needs no model: `uniform`, `proportional`."""
        if self.times is None:
            return UNDEFINED
        return self.times.baselines[path] if path in self.times.baselines else self.times.of(self.i_star[path])


@dataclass(frozen=True)
class TokenPairs:
    """Spoken questions against the texts of their bin at one layer: what a measure of level `token` is computed from.

    i_star   metric -> (m_s, m_t, tokens) paths, filled up behind T_t
    scores   metric -> (m_s, m_t) mean similarity along them
    cosine   (m_s, m_t, tokens, frames) float32, filled up with `BELOW_ANY` along frames
    T_s, T_t (m_s,), (m_t,)
    own      per spoken question, its own text
    centred  (m_s, m_t) mean best cosine after centring; None without another half
    """

    i_star: dict[str, np.ndarray]
    scores: dict[str, np.ndarray]
    cosine: np.ndarray
    T_s: np.ndarray
    T_t: np.ndarray
    own: list[OwnPath]
    centred: np.ndarray | None = None

    @property
    def frames(self) -> int:
        return self.cosine.shape[-1]

    @cached_property
    def lengths(self) -> np.ndarray:
        """T_t of every pair, (m_s, m_t)."""
        return np.broadcast_to(self.T_t, self.scores["cosine"].shape)

    def of_paths(self, statistic: Callable[..., np.ndarray], *metrics: str, **options: Any) -> np.ndarray:
        """A statistic of `path_statistics` on every pair, (m_s, m_t)."""
        rows = [self.i_star[metric].reshape(-1, self.i_star[metric].shape[-1]) for metric in metrics]
        return statistic(*rows, lengths=self.lengths.ravel(), **options).reshape(self.lengths.shape)

    @cached_property
    def monotone_score(self) -> np.ndarray:
        return monotone_scores(self.cosine, self.lengths)


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


def align_pairs(
    speech: Sequence[Prepared],
    texts: StackedTexts,
    own: np.ndarray,
    centred: tuple[Sequence[Prepared], StackedTexts] | None = None,
    times: Sequence[TimedQuestion | None] | None = None,
) -> TokenPairs:
    """Align spoken questions, `prepare`d from (1, T_s, d), with all texts; own (m_s,): place of each one's own text.

    centred: the same questions and texts after centring. times: when the words of each spoken question are spoken.

    i*_j = argmax_i cos(s_i, t_j), and argmin_i ||s_i - t_j|| (paper, section on token-level analysis), exact up to ties
    of equal vectors (`exact_best`). Zero vectors have cosine 0.
    """
    T_s = np.array([one.positions for one in speech])
    pairs, most = (len(speech), len(texts.lengths)), int(T_s.max())
    paths = {metric: np.empty((*pairs, texts.place.shape[1]), dtype=np.int64) for metric in ("cosine", "euclidean")}
    means = {metric: np.empty(pairs) for metric in paths}
    matrices = np.full((*pairs, texts.place.shape[1], most), BELOW_ANY, dtype=np.float32)
    true_pairs = []
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
        true_pairs.append(
            OwnPath(
                cosine[mine].copy(),
                {metric: frames[mine].astype(np.int32) for metric, frames in found.items()},
                {metric: values[mine] for metric, values in score.items()},
                _distances(inner, spoken, texts, found["cosine"], mine),
                None if times is None else times[number],
            )
        )
    best = None if centred is None else np.stack([best_cosines(spoken, centred[1]) for spoken in centred[0]])
    return TokenPairs(paths, means, matrices, T_s, texts.lengths, true_pairs, best)


def best_cosines(speech: Prepared, texts: StackedTexts) -> np.ndarray:
    """Mean over tokens of max_i cos(s_i, t_j) against every text, (m,) float64: the path score, without a path."""
    best = (texts.states @ speech.states[0].T * _reciprocal(speech.norms[0]).astype(np.float32)).max(axis=1)
    best = np.clip(best * _reciprocal(texts.norms), -1.0, 1.0)
    return np.add.reduceat(best, texts.starts[:-1]) / texts.lengths


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
