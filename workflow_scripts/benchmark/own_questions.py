"""Questions of your own, one a row of JSON lines, CSV or parquet (docs/own-data.md), and what is wrong with a row.

A question that lists no options in its prompt and has `options` is asked as VoiceBench asks: with lettered options and
the closing line. Where a row has audio, its prompt is exactly what is spoken and nothing is added.
"""

import re
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.dataset_rows import cell_text, has_half_a_character
from workflow_scripts.artifacts.questions import ID_PATTERN
from workflow_scripts.benchmark.candidates import Candidate, RowError, ifeval_instructions
from workflow_scripts.benchmark.options import named_option, unfit_options
from workflow_scripts.benchmark.spoken_text import UnspeakableText, spoken_text
from workflow_scripts.scoring.prompt_options import options_in_prompt

FIELDS = (
    *("id", "prompt", "reference", "options", "audio", "spoken", "speaker", "skill", "split", "scorer"),
    *("instructions", "instruction_id_list", "kwargs", "transcript", "source_file"),
)
SEPARATOR = "|"
"""Between the entries of `reference` and `options` in a CSV cell."""

Problem = tuple[str, str]
"""Field, and what is wrong with it."""


def own_question(number: int, row: dict[str, Any]) -> Candidate:
    """One row as a candidate.

    Raises:
        RowError: the first problem of the row.
    """
    if problems := row_problems(row):
        field, message = problems[0]
        raise RowError(f"field {field!r}: {message}")
    audio, options, prompt = row.get("audio") or None, texts(row.get("options")), row["prompt"].strip()
    listed = options_in_prompt(prompt)
    core = prompt
    if options and not listed and audio is None:
        prompt = with_options(prompt, options)
    reference = texts(row.get("reference"))
    if options or listed:
        options = options or listed
        reference = [string.ascii_uppercase[named_option(reference[0], options)]]
    return Candidate(
        number,
        prompt,
        core,
        reference=reference,
        options=options,
        instructions=_instructions(row),
        audio=audio,
        **{name: cell_text(row.get(name)) for name in ("id", "spoken", "skill", "speaker", "split")},
    )


def row_problems(row: dict[str, Any], folder: Path | None = None) -> list[Problem]:
    """Everything wrong with a row, apart from what other rows have to do with it.

    Args:
        folder: where relative paths in `audio` start; None leaves them unchecked.
    """
    found: list[Problem] = []
    for name in row:
        if name not in FIELDS:
            found.append((name, f"unknown field; known are {', '.join(FIELDS[:-1])}"))
        elif has_half_a_character(row[name]):
            found.append((name, f"{row[name]!r:.80} holds half a character (a lone surrogate); write it whole"))
    prompt = row.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        other = prompt is not None and not isinstance(prompt, str)
        found.append(("prompt", f"{type(prompt).__name__}, expected text" if other else "missing or empty"))
        return found
    name = cell_text(row.get("id"))
    if name and not re.fullmatch(ID_PATTERN, name):
        found.append(("id", f"{name!r} becomes a file name: letters, digits, '_' and '-' only, at most 80"))
    for field in ("spoken", "speaker", "skill", "split", "scorer"):
        if row.get(field) is not None and not isinstance(row[field], str | int | float):
            found.append((field, f"{type(row[field]).__name__}, expected text"))
    if isinstance(row.get("spoken"), str) and row["spoken"].isspace():
        found.append(("spoken", f"{row['spoken']!r} has no text; leave it empty, or write what a voice reads"))
    found += _answer_problems(row, prompt)
    found += _sound_problems(row, prompt, folder)
    return found


def with_options(prompt: str, options: Sequence[str]) -> str:
    """The prompt with its options and the closing line of VoiceBench."""
    letters = string.ascii_uppercase[: len(options)]
    lines = "\n".join(f"{letter}. {text}" for letter, text in zip(letters, options))
    names = ", ".join(letters[:-1]) + f"{',' if len(letters) > 2 else ''} or {letters[-1]}"
    closing = f"What is the answer to the above multiple choice question? Select one of the following: {names}."
    return f"{prompt}\n{lines}\n{closing}"


def texts(value: Any) -> list[str]:
    """A text, a list of texts, or entries between `SEPARATOR` of a CSV cell, as a list; [] for nothing.

    An entry without text (`cell_text`) stays as "".
    """
    if isinstance(value, list):
        return [cell_text(one) for one in value]
    text = cell_text(value)
    return [part.strip() for part in text.split(SEPARATOR)] if text else []


def _answer_problems(row: dict[str, Any], prompt: str) -> list[Problem]:
    for field in ("reference", "options"):
        value = row.get(field)
        if isinstance(value, dict):
            return [(field, f"{value!r:.80} is a dict, expected a text or a list of texts")]
        if "" in texts(value):
            return [(field, f"{value!r:.80} has an entry without text; fill it in or remove it")]
    reference, options = texts(row.get("reference")), texts(row.get("options"))
    listed = options_in_prompt(prompt)
    if options and listed and listed != options:
        return [("options", f"the prompt lists {listed}, the field {options}; give them in one place")]
    options = options or listed
    if len(options) == 1:
        return [("options", f"one option only: {options}; separate them by {SEPARATOR!r} in CSV, or give a list")]
    if row.get("audio") and texts(row.get("options")) and not listed:
        return [("prompt", "has audio and options, but does not list them: write the prompt exactly as it is spoken")]
    if options:
        if reason := unfit_options(options):
            place = "prompt" if listed else "options"
            most = len(string.ascii_uppercase)
            return [(place, f"{reason}: {options}; at most {most} options, each with a text of its own on one line")]
        if not reference:
            return [("reference", f"missing; it is the letter or the text of one of the {len(options)} options")]
        if len(reference) != 1:
            return [
                ("reference", f"{reference} are {len(reference)}, expected a letter or the text of one of {options}")
            ]
        try:
            named_option(reference[0], options)
        except RowError as error:
            return [("reference", str(error))]
    try:
        _instructions(row)
    except RowError as error:
        return [("instructions", str(error))]
    return []


def _sound_problems(row: dict[str, Any], prompt: str, folder: Path | None) -> list[Problem]:
    audio = row.get("audio")
    if isinstance(audio, str) and audio:
        if folder is not None and not (folder / audio).is_file():
            return [("audio", f"{folder / audio} does not exist")]
        return []
    if audio is not None and not isinstance(audio, str | dict):
        return [("audio", f"{type(audio).__name__}, expected the path of a recording")]
    if audio is None and not cell_text(row.get("spoken")):
        try:
            spoken_text(prompt)
        except UnspeakableText as refused:
            return [("prompt", f"a voice cannot read it ({refused}); say how in `spoken`, or give `audio`")]
    return []


def _instructions(row: dict[str, Any]) -> list[dict[str, Any]]:
    own = row.get("instructions")
    if own:
        if not isinstance(own, list) or not all(isinstance(one, dict) and "id" in one for one in own):
            raise RowError(f"expected a list of {{id, kwargs}}, got {str(own)[:60]!r}")
        return [{"id": one["id"], "kwargs": one.get("kwargs") or {}} for one in own]
    return ifeval_instructions(row) if row.get("instruction_id_list") is not None else []
