"""Does a path follow the speech? Its frames against the times at which the words are spoken. Ours.

A path of similar frames need not be an alignment: similarity says nothing about where in the audio a frame lies. Every
text token that belongs to a timed word is scored against that word; tokens outside words (punctuation) and tokens of
words without a time are left out and counted. Speech position i covers the seconds [b_i, b_i+1) of the audio, b being
`position_bounds`: equal steps, or a run of one heard token each.

    time error   |(b_i + b_i+1) / 2 - centre of the word of token j|, i = i*_j, ms: mean, and median, over tokens
    hit rate     share of tokens whose frame i*_j holds any part of their word

Two paths need no model and are what a path has to beat. Uniform: every frame equally likely for every token, its exact
expectation. Proportional: i_j = floor((j + 1/2) T_s / T_t), a constant speaking rate.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

UNTIMED, OUTSIDE = -1, -2
"""Stand for a frame where the token's word has no time, and where the token belongs to no word."""
ROUNDING = 1e-9


@dataclass(frozen=True)
class TimedTokens:
    """Where in the audio the text tokens of one question are spoken.

    frame    (T_t,) int32, the frame at the middle of the token's own share of its word; UNTIMED or OUTSIDE without one
    first    (T_t,) int32, the first frame that holds part of the token's word; the same
    last     (T_t,) int32, the last one; the same
    centre   (T_t,) float64, seconds of the middle of the word; NaN without one
    """

    frame: np.ndarray
    first: np.ndarray
    last: np.ndarray
    centre: np.ndarray

    @property
    def timed(self) -> np.ndarray:
        """Which tokens count, (T_t,) bool."""
        return self.frame >= 0


@dataclass(frozen=True)
class TimeScores:
    """Scores of paths, (rows,) float64; NaN where no token is timed. `error`, `median`: ms. `hit`: share of tokens."""

    error: np.ndarray
    median: np.ndarray
    hit: np.ndarray


UNDEFINED = TimeScores(*(np.full(1, np.nan) for _ in range(3)))
"""Of a question without times."""


@dataclass(frozen=True)
class TimedQuestion:
    """One question with the times of its words: its tokens, and bounds (T_s + 1,) of its speech positions, seconds."""

    tokens: TimedTokens
    bounds: np.ndarray

    @cached_property
    def baselines(self) -> dict[str, TimeScores]:
        """Scores of the two paths that need no model, the same at every layer."""
        return {
            "uniform": uniform_scores(self.tokens, self.bounds),
            "proportional": proportional_scores(self.tokens, self.bounds),
        }

    def of(self, i_star: np.ndarray) -> TimeScores:
        """Scores of one path (T_t,)."""
        return time_scores(i_star[None], self.tokens, self.bounds)


def position_seconds(seconds: np.ndarray, T_s: np.ndarray) -> np.ndarray:
    """Seconds that one speech position covers, per question, (N,) float64, from lengths (N,) alone.

    Models cut the audio into equal parts of which the last may be incomplete, T_s = ceil(seconds / f): if one f in
    common explains all questions, it is taken (the middle of what is possible); else seconds / T_s of each.
    Raises ValueError for shapes that differ, or lengths that are not positive.
    """
    seconds, T_s = np.asarray(seconds, dtype=np.float64), np.asarray(T_s)
    if seconds.ndim != 1 or seconds.shape != T_s.shape or not (np.all(seconds > 0) and np.all(T_s > 0)):
        raise ValueError(f"seconds {seconds.tolist()[:5]} and T_s {T_s.tolist()[:5]}: expected two (N,) of lengths > 0")
    own = seconds / T_s
    longer = T_s > 1
    if not longer.any():
        return own
    least, below = own.max(), (seconds[longer] / (T_s[longer] - 1)).min()
    return np.full(len(own), (least + below) / 2) if least < below else own


def position_bounds(seconds: np.ndarray, T_s: np.ndarray, starts: Sequence[np.ndarray | None]) -> list[np.ndarray]:
    """Seconds at which the speech positions of each question begin, and at which the last one ends: (T_s + 1,) each.

    starts: (T_s,) of each question where the model gives them; else positions are of equal length.
    Raises ValueError as `position_seconds`, or for starts that are not T_s or do not ascend.
    """
    found = []
    for length, n, step, given in zip(seconds, T_s, position_seconds(seconds, T_s), starts, strict=True):
        if given is None:
            found.append(np.arange(n + 1) * step)
            continue
        if len(given) != n or np.any(np.diff(given) < 0):
            raise ValueError(f"{len(given)} starts of {n} positions, expected as many, ascending")
        found.append(np.append(given, max(length, given[-1])))
    return found


def time_tokens(
    char_spans: Sequence[tuple[int, int]],
    word_spans: Sequence[tuple[int, int]],
    word_seconds: Sequence[tuple[float, float] | None],
    bounds: np.ndarray,
) -> TimedTokens:
    """Frames of the text tokens of one question.

    A token belongs to the word that it shares most characters with (the first of several). Its own share of the word's
    time is that of its characters within the word. Times before the first frame or behind the last one become these.

    Args:
        char_spans: characters of each token in the prompt, (T_t,) pairs.
        word_spans, word_seconds: characters and (start, end) of each word; None without a time.
        bounds: (T_s + 1,) of the speech positions.

    Raises ValueError if spans and times do not belong together.
    """
    if len(word_spans) != len(word_seconds) or len(bounds) < 2:
        raise ValueError(f"{len(word_spans)} words, {len(word_seconds)} times, {len(bounds)} bounds of positions")
    T_t, T_s = len(char_spans), len(bounds) - 1
    frame, first, last = (np.full(T_t, OUTSIDE, dtype=np.int32) for _ in range(3))
    centre = np.full(T_t, np.nan)
    for token, (start, end) in enumerate(char_spans):
        shared = [min(end, b) - max(start, a) for a, b in word_spans]
        if not shared or max(shared) <= 0:
            continue
        word = int(np.argmax(shared))
        if (times := word_seconds[word]) is None:
            frame[token] = first[token] = last[token] = UNTIMED
            continue
        (a, b), (begin, stop) = word_spans[word], times
        middle = (max(start, a) + min(end, b)) / 2
        spoken = begin + (stop - begin) * (middle - a) / (b - a)
        centre[token] = (begin + stop) / 2
        # A word that ends where a frame starts is no part of that frame; the allowance is for rounding.
        inside = np.searchsorted(bounds, [spoken + ROUNDING, begin + ROUNDING], side="right") - 1
        frames = *inside, np.searchsorted(bounds, stop - ROUNDING, side="left") - 1
        frame[token], first[token], last[token] = (min(max(int(one), 0), T_s - 1) for one in frames)
        last[token] = max(last[token], first[token])
    return TimedTokens(frame, first, last, centre)


def time_scores(i_star: np.ndarray, tokens: TimedTokens, bounds: np.ndarray) -> TimeScores:
    """Scores of paths (rows, T_t), usually the layers' of one question: computed now, stored, or of a token matrix
    (`token_alignment.alignment_path`).

    Raises ValueError if the path has another number of tokens, or is none.
    """
    i_star = np.asarray(i_star)
    if i_star.ndim != 2 or i_star.shape[1] != len(tokens.frame) or not np.issubdtype(i_star.dtype, np.integer):
        raise ValueError(
            f"paths of shape {i_star.shape} and dtype {i_star.dtype}, expected integer frames (rows, "
            f"{len(tokens.frame)}), one for each text token"
        )
    timed = tokens.timed
    if not timed.any():
        return TimeScores(*(np.full(len(i_star), np.nan) for _ in range(3)))
    error, hit = _scored(i_star[:, timed], tokens, bounds)
    return TimeScores(error.mean(axis=1), np.median(error, axis=1), hit.mean(axis=1))


def uniform_scores(tokens: TimedTokens, bounds: np.ndarray) -> TimeScores:
    """What frames drawn uniformly from all T_s get, exactly: means over all frames and tokens; arrays of one entry."""
    if not tokens.timed.any():
        return TimeScores(*(np.full(1, np.nan) for _ in range(3)))
    error, hit = _scored(np.arange(len(bounds) - 1)[:, None], tokens, bounds)
    return TimeScores(error.mean(keepdims=True)[0], np.median(error, keepdims=True)[0], hit.mean(keepdims=True)[0])


def proportional_scores(tokens: TimedTokens, bounds: np.ndarray) -> TimeScores:
    """What the path of a constant speaking rate gets; arrays of one entry."""
    T_t, T_s = len(tokens.frame), len(bounds) - 1
    frames = ((np.arange(T_t) + 0.5) * T_s / max(T_t, 1)).astype(np.int32)
    return time_scores(frames[None], tokens, bounds)


def _scored(frames: np.ndarray, tokens: TimedTokens, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Error in ms and hit of frames (rows, timed tokens), or (rows, 1) for every token alike."""
    timed = tokens.timed
    centres = (bounds[:-1] + bounds[1:]) / 2
    error = 1000 * np.abs(centres[frames] - tokens.centre[timed])
    return error, (frames >= tokens.first[timed]) & (frames <= tokens.last[timed])
