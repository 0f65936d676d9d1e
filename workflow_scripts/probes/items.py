"""What a probe can be asked about in a state file: words that are written and spoken, and whole questions.

A word's text states are those of the tokens that overlap its characters; its speech states those of the positions that
overlap its time (`measures.word_reading.positions_of`). A word that lacks either is
left out of both forms and counted: every probe sees the same words in both.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.questions import Question
from workflow_scripts.artifacts.states import StateReader
from workflow_scripts.artifacts.word_times import WordTimes
from workflow_scripts.measures.probes import SPEECH, TEXT
from workflow_scripts.measures.time_truth import position_bounds
from workflow_scripts.measures.word_kinds import Span, first_words, has_number, is_content, name_runs
from workflow_scripts.measures.word_reading import positions_of

NO_TIME, NO_TOKEN = "words without a time", "words without a text token"
NO_POSITION = "words without a speech position"
"""Why a word is left out."""


@dataclass(frozen=True)
class Item:
    """A word, or a whole question.

    Attributes:
        question: number of its prompt; a prompt that is asked in several voices is one question.
        subset: where it is asked. file: number of its state file.
        rows: by form, the rows of its states in a layer of that file, [first, behind the last).
        word: in lower case; empty for a whole question.
        is_content, is_number: kinds of words (`measures.word_kinds`).
        is_name: part of a name; None for the first word of a sentence, which nobody can tell.
    """

    question: int
    subset: str
    file: int
    rows: Mapping[str, Span]
    word: str = ""
    is_content: bool = False
    is_number: bool = False
    is_name: bool | None = None


@dataclass
class Items:
    """Items of several state files. left_out: words without states, by reason."""

    words: list[Item]
    questions: list[Item]
    left_out: Counter[str]


def read_items(
    readers: list[StateReader],
    questions: Mapping[str, Mapping[str, Question]],
    times: Mapping[str, Mapping[str, WordTimes]],
    files: Mapping[str, Path],
) -> Items:
    """Items of all files; questions and times by subset and id, `files` of the times by subset.

    Raises:
        ArtifactError: the words of a question are missing, or those of another prompt; names file and remedy.
    """
    found = Items([], [], Counter())
    numbers: dict[str, int] = {}
    for file, reader in enumerate(readers):
        subset = str(reader.attributes["subset"])
        starts = [reader.starts(place) for place in range(len(reader.ids))]
        bounds = position_bounds(reader.seconds, np.diff(reader.offsets("speech")), starts)
        for place, name in enumerate(reader.ids):
            if name not in questions[subset] or name not in times[subset]:
                raise ArtifactError(
                    f"{files[subset]}: no words of question {name!r} of {reader.path}; one of the two is older: delete "
                    f"{files[subset]} and run again"
                )
            asked = questions[subset][name]
            number = numbers.setdefault(asked.prompt, len(numbers))
            whole = {form: _whole(reader, form, place) for form in (TEXT, SPEECH)}
            found.questions.append(Item(number, subset, file, whole))
            _check_words(asked, times[subset][name], files[subset])
            _add_words(found, reader, place, times[subset][name], asked.prompt, bounds[place])
    return found


def _add_words(
    found: Items, reader: StateReader, place: int, times: WordTimes, prompt: str, bounds: np.ndarray
) -> None:
    """The words of the question that was added last."""
    question = found.questions[-1]
    tokens = reader.char_spans(place) or []
    names = [span for run in name_runs(prompt) for span in run]
    firsts = first_words(prompt)
    for word in times.words:
        text = [number for number, span in enumerate(tokens) if _overlap(span, word.span)]
        if word.seconds is None:
            found.left_out[NO_TIME] += 1
            continue
        spoken = np.array([word.seconds])
        first, stop = (int(ends[0]) for ends in positions_of(bounds[:-1], float(bounds[-1]), spoken))
        if not text or first == stop:
            found.left_out[NO_POSITION if text else NO_TOKEN] += 1
            continue
        begin = {form: question.rows[form][0] for form in (TEXT, SPEECH)}
        rows = {
            TEXT: (begin[TEXT] + text[0], begin[TEXT] + text[-1] + 1),
            SPEECH: (begin[SPEECH] + first, begin[SPEECH] + stop),
        }
        is_name = any(_overlap(span, word.span) for span in names)
        unknown = not is_name and any(_overlap(span, word.span) for span in firsts)
        kinds = (is_content(word.text), has_number(word.text), None if unknown else is_name)
        found.words.append(Item(question.question, question.subset, question.file, rows, word.text.lower(), *kinds))


def _whole(reader: StateReader, form: str, place: int) -> Span:
    first, stop = reader.offsets(form)[place : place + 2]
    return int(first), int(stop)


def _overlap(one: Span, other: Span) -> bool:
    return min(one[1], other[1]) > max(one[0], other[0])


def _check_words(asked: Question, times: WordTimes, path: Path) -> None:
    for word in times.words:
        if asked.prompt[slice(*word.span)] != word.text:
            raise ArtifactError(
                f"{path}: question {asked.id!r} has the word {word.text!r} at characters {word.span}, its prompt there "
                f"{asked.prompt[slice(*word.span)]!r}; delete the file and run again"
            )
