"""What was asked: prompts, references and options that answer files lack, and the scorer that fits each question."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from workflow_scripts.audit.given import AuditError, GivenAnswer
from workflow_scripts.audit.rows import csv_rows, instructions, json_rows, optional_text, texts
from workflow_scripts.scoring.prompt_options import options_in_prompt
from workflow_scripts.scoring.question_formats import check_question
from workflow_scripts.scoring.registry import SCORERS

_SAFETY = ("advbench",)
"""Subsets of harmful requests, the only ones without a reference in which a refusal is the right answer."""


@dataclass(frozen=True)
class Asked:
    """One question as a scorer needs it."""

    scorer: str
    prompt: str
    reference: tuple[str, ...]
    options: tuple[str, ...]
    instructions: tuple[Mapping[str, Any], ...]
    group: str


@dataclass(frozen=True)
class Source:
    """One row of a question file."""

    prompt: str
    reference: tuple[str, ...]
    options: tuple[str, ...]
    instructions: tuple[Mapping[str, Any], ...]
    scorer: str
    group: str
    subset: str


def read_questions(path: Path) -> tuple[dict[str, Source], dict[str, Source]]:
    """Questions by id and by prompt, from JSON lines or CSV with the fields of docs/audit.md.

    A row without an id has its number in the file as id, from 0, as harnesses count samples.

    Raises:
        AuditError: two rows have one id, or a field cannot be read; names file, line and field.
    """
    path = Path(path)
    rows = csv_rows(path, ("prompt",)) if path.suffix.lower() == ".csv" else json_rows(path)
    by_id: dict[str, Source] = {}
    by_text: dict[str, Source] = {}
    for position, (number, row) in enumerate(rows):
        place = f"{path}, line {number}"
        name = optional_text(row, ("id", "doc_id", "index", "question_id", "key")) or str(position)
        source = Source(
            prompt=optional_text(row, ("prompt", "question")),
            reference=texts(row, ("reference",), place),
            options=texts(row, ("options",), place),
            instructions=instructions(row, place),
            scorer=optional_text(row, ("scorer",)),
            group=optional_text(row, ("skill", "domain", "category")),
            subset=optional_text(row, ("subset",)),
        )
        if name in by_id:
            raise AuditError(f"{place}, field 'id': {name!r} appears twice")
        by_id[name] = by_text[" ".join(source.prompt.split())] = source
    return by_id, by_text


def completed(answers: Sequence[GivenAnswer], questions: Path | None) -> list[GivenAnswer]:
    """The answers with what the question file adds to them, found by prompt, else by id; nothing is overwritten.

    Raises:
        AuditError: no answer is in the question file.
    """
    if questions is None:
        return list(answers)
    by_id, by_text = read_questions(questions)
    found, known = [], 0
    # "law:0" is row 0 of the file only while law is the only domain.
    domains = {one.keys.get("id", "").rpartition(":")[0] for one in answers}
    for one in answers:
        source = by_text.get(one.keys.get("text", "")) if one.keys.get("text") else None
        name = one.keys.get("id", "")
        source = source or by_id.get(name) or (by_id.get(name.rpartition(":")[2]) if len(domains) == 1 else None)
        if source is None:
            found.append(one)
            continue
        known += 1
        keys = dict(one.keys)
        if source.prompt:
            keys["text"] = " ".join(source.prompt.split())
        found.append(
            replace(
                one,
                keys=keys,
                prompt=one.prompt or source.prompt,
                reference=one.reference or source.reference,
                options=one.options or source.options,
                instructions=one.instructions or source.instructions,
                scorer=one.scorer or source.scorer,
                group=one.group or source.group,
                subset=one.subset or source.subset,
            )
        )
    if not known:
        first = answers[0]
        raise AuditError(
            f"{first.place}: none of the {len(answers)} answers is in {questions}, such as id "
            f"{first.keys.get('id')!r}; ids or prompts must agree"
        )
    return found


def asked(text: GivenAnswer, speech: GivenAnswer, scorer: str) -> Asked:
    """The question of a pair and its scorer: `scorer` if given, else the file's, else what the reference looks like.

    Raises:
        AuditError: no scorer fits, or the scorer cannot use the reference (a gold answer that does not parse); names
            file, line and field.
    """
    both = (text, speech)
    prompt = next((one.prompt for one in both if one.prompt), "")
    reference = next((one.reference for one in both if one.reference), ())
    options = next((one.options for one in both if one.options), ()) or tuple(options_in_prompt(prompt))
    rules = next((one.instructions for one in both if one.instructions), ())
    name = scorer or next((one.scorer for one in both if one.scorer), "") or _inferred(text, reference, options, rules)
    if name not in SCORERS:
        raise AuditError(f"{text.place}, field 'scorer': {name!r} is unknown; known are {', '.join(SCORERS)}")
    if name == "multiple_choice":
        reference, options = _letter(reference, options)
    try:
        check_question(name, reference, [one or "?" for one in options], rules)
    except ValueError as error:
        field = "instruction_id_list" if name == "instruction_following" else "reference"
        raise AuditError(f"{text.place}, field {field!r}: {error}") from None
    group = next((one.group for one in both if one.group), "")
    return Asked(name, prompt, tuple(reference), tuple(options), tuple(rules), group)


def _inferred(text: GivenAnswer, reference: Sequence[str], options: Sequence[str], rules: Sequence[Any]) -> str:
    if rules:
        return "instruction_following"
    if reference and text.subset == "bbh":
        return "yes_no"
    if reference:
        letter = len(reference) == 1 and re.fullmatch(r"\(?[A-Z]\)?[.:)]?", reference[0])
        return "multiple_choice" if letter or options else "short_answer"
    if text.subset in _SAFETY:
        return "refusal"
    raise AuditError(
        f"{text.place}, field 'reference': missing, and the subset {text.subset!r} is no set of harmful requests; give "
        "the references by --questions, or say --scorer refusal"
    )


def _letter(reference: Sequence[str], options: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A reference like "(B)" or "B." as its letter; options whose texts are unknown have empty texts, four of them."""
    match = re.fullmatch(r"\(?([A-Za-z])\)?[.:)]?", reference[0].strip()) if len(reference) == 1 else None
    plain = (match[1].upper(),) if match else tuple(reference)
    return plain, tuple(options) or ("", "", "", "")
