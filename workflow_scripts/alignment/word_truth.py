"""Paths of a shard against the times at which its words are spoken (`measures.time_truth`)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.states import StateReader
from workflow_scripts.artifacts.word_times import WORD_TIMES, WordTimes
from workflow_scripts.measures.time_truth import OUTSIDE, UNTIMED, TimedQuestion, position_bounds, time_tokens


@dataclass(frozen=True)
class WordTruth:
    """Where the text tokens of each question are spoken."""

    questions: list[TimedQuestion]

    @property
    def bounds(self) -> list[np.ndarray]:
        """Seconds at which speech positions begin, and the last one ends, (T_s + 1,) per question."""
        return [one.bounds for one in self.questions]

    def arrays(self) -> dict[str, list[np.ndarray]]:
        """The same, as an alignment file stores it."""
        parts = ("frame", "first", "last", "centre")
        return {name: [getattr(one.tokens, name) for one in self.questions] for name in parts}

    def facts(self) -> dict[str, Any]:
        """Counts of what is left out, for the file's attributes."""
        frames = np.concatenate([one.tokens.frame for one in self.questions])
        return {
            "text_tokens": int(frames.size),
            "tokens_outside_words": int((frames == OUTSIDE).sum()),
            "tokens_of_untimed_words": int((frames == UNTIMED).sum()),
            "questions_without_times": sum(not one.tokens.timed.any() for one in self.questions),
        }


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
    bounds = position_bounds(reader.seconds, T_s, [reader.starts(number) for number in range(len(T_s))])
    questions = []
    for number, name in enumerate(reader.ids):
        spans = reader.char_spans(number) or [(0, 0)] * reader.length("text", number)
        _check_prompt(words, times[name], spans)
        spoken = times[name].words
        word_spans, seconds = [word.span for word in spoken], [word.seconds for word in spoken]
        tokens = time_tokens(spans, word_spans, seconds, bounds[number])
        questions.append(TimedQuestion(tokens, bounds[number]))
    return WordTruth(questions)


def _check_prompt(path: Path, times: WordTimes, spans: list[tuple[int, int]]) -> None:
    """The tokens cover the whole prompt: a word behind the last of them belongs to another text."""
    end = max((end for _, end in spans), default=0)
    if end and times.words and times.words[-1].span[1] > end:
        raise ArtifactError(
            f"{path}: question {times.id!r} has the word {times.words[-1].text!r} at characters "
            f"{times.words[-1].span}, but its prompt ends at {end}; delete the file and run again"
        )
