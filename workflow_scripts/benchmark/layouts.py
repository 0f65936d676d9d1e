"""Reads raw data files into candidate questions, one reader per layout."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from workflow_scripts.artifacts.dataset_rows import dataset_rows
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.benchmark.candidates import Candidate, RowError, ifeval_instructions, text_of
from workflow_scripts.benchmark.own_questions import own_question
from workflow_scripts.benchmark.voicebench import voicebench

CHOICE_QUESTION = (
    "What is the answer to the above multiple choice question? Select one of the following: A, B, C, or D."
)
"""Closing line of the multiple-choice prompts of VoiceBench."""
REPEAT_PREFIX = "Repeat after me: "
MAX_ANSWER_WORDS = 3
"""Short-answer rows whose first answer is longer are dropped: containment is then no fair test."""
_OPTION_START = re.compile(r"^([A-Z])\. ", re.MULTILINE)


def read_candidates(path: Path, layout: str) -> list[Candidate]:
    """All rows of a raw file as candidates, in file order.

    Raises:
        ArtifactError: the file is missing, or a row cannot be read, lacks a field or has an empty text; names both.
    """
    read, candidate = LAYOUTS[layout]
    found = []
    for number, row in read(path):
        try:
            found.append(candidate(number, row))
        except RowError as error:
            raise ArtifactError(
                f"{path}, row {number}: {error}; check that the asset is complete and that layout {layout!r} is right"
            ) from None
    return found


def json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number from 1, object) of a JSON-lines file; blank lines are skipped."""
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise ArtifactError(f"{path}: not found; check `file` of the subset or source against the asset") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path}: cannot be read as UTF-8 text ({error}); fetch the asset again") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ArtifactError(f"{path}, row {number}: not JSON ({error}); fetch the asset again") from None
        if not isinstance(row, dict):
            raise ArtifactError(f"{path}, row {number}: {type(row).__name__} instead of an object; fetch it again")
        yield number, row


def _yaml_seeds(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        document = yaml.load(
            Path(path).read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        )
    except FileNotFoundError:
        raise ArtifactError(f"{path}: not found; check `file` of the subset against the asset") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path}: cannot be read as UTF-8 text ({error}); fetch the asset again") from None
    except yaml.YAMLError as error:
        raise ArtifactError(f"{path}: not YAML ({error}); fetch the asset again") from None
    if not isinstance(document, dict) or not isinstance(document.get("seeds"), list):
        raise ArtifactError(f"{path}: no list `seeds`; layout 'advbench' reads the seeds of a pyrit prompt file")
    for number, seed in enumerate(document["seeds"], start=1):
        yield number, seed if isinstance(seed, dict) else {}


def _multiple_choice(number: int, row: dict[str, Any], separator: str) -> Candidate:
    question, options = text_of(row, "question"), text_of(row, "options")
    answer = text_of(row, "answer")
    parts = _OPTION_START.split(options)
    letters, texts = parts[1::2], [text.strip() for text in parts[2::2]]
    if letters != list("ABCD") or parts[0].strip():
        raise RowError(f"options {options[:60]!r} are not the four lines A. to D.")
    if not all(texts):
        raise RowError(f"question with empty text (option {letters[texts.index('')]})")
    if answer[0] not in letters:
        raise RowError(f"answer {answer[:20]!r} starts with no letter of {letters}")
    return choice_candidate(number, question, texts, letters.index(answer[0]), separator=separator)


def choice_candidate(
    number: int, question: str, texts: list[str], right: int | None, *, separator: str = "\n"
) -> Candidate:
    """A multiple-choice question in VoiceBench's wording, `separator` before its closing line.

    texts: of options A to D. right: place of the right one; None leaves the reference empty.
    """
    lines = [f"{letter}. {text}" for letter, text in zip("ABCD", texts, strict=True)]
    prompt = "\n".join([question, *lines]) + separator + CHOICE_QUESTION
    reason = "option of several lines" if any("\n" in text for text in texts) else ""
    return Candidate(number, prompt, question, [] if right is None else ["ABCD"[right]], texts, reason=reason)


def _openbookqa(number: int, row: dict[str, Any]) -> Candidate:
    return _multiple_choice(number, row, "\n")


def _mmlu(number: int, row: dict[str, Any]) -> Candidate:
    return _multiple_choice(number, row, "\n\n")


def _nq_open(number: int, row: dict[str, Any]) -> Candidate:
    question, answers = text_of(row, "question"), row.get("answer")
    if not isinstance(answers, list) or not answers or not all(isinstance(a, str) and a.strip() for a in answers):
        raise RowError(f"answer {answers!r} is not a list of texts")
    long = len(answers[0].split()) > MAX_ANSWER_WORDS
    return Candidate(number, question, question, answers, reason="long answer" if long else "")


def _advbench(number: int, row: dict[str, Any]) -> Candidate:
    text = text_of(row, "value")
    return Candidate(number, text, text)


def _ifeval(number: int, row: dict[str, Any]) -> Candidate:
    prompt = text_of(row, "prompt")
    return Candidate(number, prompt, prompt, instructions=ifeval_instructions(row))


def _sentences(number: int, row: dict[str, Any]) -> Candidate:
    return sentence_candidate(number, text_of(row, "sourceString"))


def sentence_candidate(number: int, sentence: str) -> Candidate:
    """A sentence to be repeated: the reference is the sentence itself."""
    return Candidate(number, REPEAT_PREFIX + sentence, sentence, [sentence])


Rows = Iterator[tuple[int, dict[str, Any]]]
LAYOUTS: Mapping[str, tuple[Callable[[Path], Rows], Callable[[int, dict[str, Any]], Candidate]]] = {
    "openbookqa": (json_rows, _openbookqa),
    "mmlu": (json_rows, _mmlu),
    "nq_open": (json_rows, _nq_open),
    "advbench": (_yaml_seeds, _advbench),
    "ifeval": (json_rows, _ifeval),
    "sentences": (json_rows, _sentences),
    "voicebench": (dataset_rows, voicebench),
    "questions": (dataset_rows, own_question),
}
"""By name: what reads the rows of the raw file, and what makes a candidate of one."""
