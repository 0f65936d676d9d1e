"""Paths of a shard against the times at which its words are spoken (`measures.time_truth`)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.states import StateReader
from workflow_scripts.artifacts.word_times import WORD_TIMES, WordTimes
from workflow_scripts.measures import (
    TimedTokens,
    TimeScores,
    position_seconds,
    proportional_scores,
    time_scores,
    time_tokens,
    uniform_scores,
)
from workflow_scripts.measures.time_truth import OUTSIDE, UNTIMED

METRICS = ("cosine", "euclidean")
BASELINES = ("uniform", "proportional")
PARTS = {"time_error_ms": "error", "time_error_median_ms": "median", "hit_rate": "hit"}
"""Measure -> field of `TimeScores`."""
TIMED_SHARE = "timed_share"
TIME_MEASURES = (*(f"{name}_{of}" for name in PARTS for of in (*METRICS, *BASELINES)), TIMED_SHARE)
"""Measures (N, L+1); those of the baselines and the share of timed tokens are the same at every layer."""


@dataclass(frozen=True)
class WordTruth:
    """Where the text tokens of each question are spoken, and the seconds a speech position covers, (N,)."""

    tokens: list[TimedTokens]
    step: np.ndarray

    def arrays(self) -> dict[str, list[np.ndarray]]:
        """The same, as an alignment file stores it."""
        return {name: [getattr(one, name) for one in self.tokens] for name in ("frame", "first", "last", "centre")}

    def facts(self) -> dict[str, Any]:
        """Counts of what is left out, for the file's attributes."""
        frames = np.concatenate([one.frame for one in self.tokens])
        return {
            "text_tokens": int(frames.size),
            "tokens_outside_words": int((frames == OUTSIDE).sum()),
            "tokens_of_untimed_words": int((frames == UNTIMED).sum()),
            "questions_without_times": sum(not one.timed.any() for one in self.tokens),
        }

    def measures(self, paths: dict[str, list[np.ndarray]], T_s: np.ndarray) -> dict[str, np.ndarray]:
        """Every measure of TIME_MEASURES, (N, L+1) float64, from paths (L+1, T_t) by metric."""
        depth = len(paths[METRICS[0]][0])
        found = {name: np.full((len(self.tokens), depth), np.nan) for name in TIME_MEASURES}
        for number, (tokens, frames) in enumerate(zip(self.tokens, T_s.tolist())):
            step = float(self.step[number])
            scores: dict[str, TimeScores] = {
                metric: time_scores(paths[metric][number], tokens, step) for metric in METRICS
            }
            scores["uniform"] = uniform_scores(tokens, frames, step)
            scores["proportional"] = proportional_scores(tokens, frames, step)
            for of, values in scores.items():
                for name, part in PARTS.items():
                    found[f"{name}_{of}"][number] = getattr(values, part)
            found[TIMED_SHARE][number] = tokens.timed.mean()
        return found


def read_truth(reader: StateReader, words: Path) -> WordTruth:
    """Times of the text tokens of a state file's questions.

    Raises:
        ArtifactError: the word times lack a question, or are of another prompt; names file and remedy.
    """
    times = {one.id: one for one in WORD_TIMES.read(words)}
    if missing := [name for name in reader.ids if name not in times]:
        raise ArtifactError(
            f"{words}: no word times of question(s) {missing[:5]} of {reader.path}; one of the two is older: delete "
            f"{words} and run again"
        )
    T_s = np.diff(reader.offsets("speech"))
    step = position_seconds(reader.seconds, T_s)
    tokens = []
    for number, name in enumerate(reader.ids):
        spans = reader.char_spans(number) or [(0, 0)] * reader.length("text", number)
        _check_prompt(words, times[name], spans)
        spoken = times[name].words
        tokens.append(
            time_tokens(
                spans,
                [word.span for word in spoken],
                [word.seconds for word in spoken],
                int(T_s[number]),
                float(step[number]),
            )
        )
    return WordTruth(tokens, step)


def _check_prompt(path: Path, times: WordTimes, spans: list[tuple[int, int]]) -> None:
    """The tokens cover the whole prompt: a word behind the last of them belongs to another text."""
    end = max((end for _, end in spans), default=0)
    if end and times.words and times.words[-1].span[1] > end:
        raise ArtifactError(
            f"{path}: question {times.id!r} has the word {times.words[-1].text!r} at characters "
            f"{times.words[-1].span}, but its prompt ends at {end}; delete the file and run again"
        )
