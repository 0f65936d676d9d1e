"""From files of answers to tables and one page."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from workflow_scripts.artifacts.files import sha256_file
from workflow_scripts.artifacts.tables import write_columns
from workflow_scripts.audit import compare
from workflow_scripts.audit.conclusions import COLUMNS, Conclusion, conclude, conclude_overall
from workflow_scripts.audit.given import AuditError, GivenAnswer
from workflow_scripts.audit.harnesses import HARNESSES, read_answers
from workflow_scripts.audit.page import write_page
from workflow_scripts.audit.pairing import Paired, Unpaired, pair_answers
from workflow_scripts.audit.questions import asked, completed
from workflow_scripts.audit.verdicts import verdicts
from workflow_scripts.scoring.official import checkout_identity
from workflow_scripts.scoring.registry import find_scorer

logger = logging.getLogger(__name__)

UNPAIRED_COLUMNS = {
    **dict.fromkeys(("subset", "form", "file"), "str"),
    "line": "Int64",
    **dict.fromkeys(("key", "reason"), "str"),
}
QUESTION_COLUMNS = {
    **dict.fromkeys(("subset", "group", "key", "scorer", "source", "form", "read"), "str"),
    "score": "float64",
}
MAX_DISAGREEMENTS = 200


@dataclass(frozen=True)
class Options:
    """How an audit is made.

    Attributes:
        harness: of the files that name none (`HARNESS:FILE`).
        questions: file with prompts, references, options or skills that the answers lack; None without.
        scorer: our scorer for all questions; "" infers it from each question.
        subset: name of the subset, where neither rows nor file names say; "" keeps what they say.
        join: `auto`, `id`, `hash`, `text` or `order`.
        official: a checkout of VoiceBench; None leaves its evaluators out.
        nltk_data: folder with tokenizers/punkt_tab, for IFEval.
        seed: of the official evaluators' language detection.
    """

    harness: str
    questions: Path | None = None
    scorer: str = ""
    subset: str = ""
    join: str = "auto"
    official: Path | None = None
    nltk_data: Path | None = None
    seed: int = 0


@dataclass(frozen=True)
class Audit:
    """The tables of an audit as rows, and what they were made from."""

    files: list[dict[str, Any]]
    facts: dict[str, Any]
    conclusions: list[Conclusion]
    tables: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)


TABLES = {
    "conclusions": COLUMNS,
    "gap": compare.GAP_COLUMNS,
    "tests": compare.TEST_COLUMNS,
    "traits": compare.TRAIT_COLUMNS,
    "cascade": compare.CASCADE_COLUMNS,
    "disagreements": compare.DISAGREEMENT_COLUMNS,
    "unpaired": UNPAIRED_COLUMNS,
    "questions": QUESTION_COLUMNS,
}
"""Columns of every table, by its file's name."""


def audit(forms: Mapping[str, Sequence[str]], options: Options) -> Audit:
    """Read, pair, score and compare.

    Args:
        forms: paths by form (`text`, `speech`, optional `asr`), each `FILE` or `HARNESS:FILE`.

    Raises:
        AuditError: a file cannot be read, nothing pairs, or a reference does not parse; names file, line and field.
        OfficialError: no VoiceBench checkout at `options.official`.
    """
    facts: dict[str, Any] = {"seed": options.seed}
    if options.official is not None:
        facts |= checkout_identity(options.official)
    answers, files = {}, []
    for form, paths in forms.items():
        given: list[GivenAnswer] = []
        for text in paths:
            harness, path = _source(text, options.harness)
            read = completed(read_answers(path, harness), options.questions)
            if options.subset:
                read = [_with_subset(one, options.subset) for one in read]
            files.append(
                {"form": form, "file": str(path), "harness": harness, "answers": len(read), "sha256": sha256_file(path)}
            )
            given += read
        answers[form] = given
    paired = pair_answers(answers, options.join)
    subsets = [_subset(one, options) for one in paired if one.pairs]
    facts["keys"] = {one.subset or "answers": one.key for one in paired}
    facts["pairs"] = sum(len(one.pairs) for one in paired)
    facts["unpaired"] = sum(len(one.unpaired) for one in paired)
    facts["scorers"] = {one.name: _versions(one) for one in subsets}
    conclusions = [conclude(one) for one in subsets]
    if (whole := conclude_overall(subsets)) is not None:
        conclusions.insert(0, whole)
    gap = compare.overall_rows(subsets) + [row for one in subsets for row in compare.gap_rows(one)]
    tables = {
        "conclusions": [_conclusion_row(one) for one in conclusions],
        "gap": gap,
        "tests": [row for one in subsets for row in compare.test_rows(one)],
        "traits": [row for one in subsets for row in compare.trait_rows(one)],
        "cascade": [row for one in subsets for row in compare.cascade_rows(one)],
        "disagreements": [row for one in subsets for row in compare.disagreements(one, MAX_DISAGREEMENTS)],
        "unpaired": [_unpaired_row(one.subset, left) for one in paired for left in one.unpaired],
        "questions": [row for one in subsets for row in _question_rows(one)],
    }
    return Audit(files, facts, conclusions, tables)


def write_audit(found: Audit, folder: Path) -> Path:
    """Write the tables as CSV and the page; returns the page's path."""
    folder = Path(folder)
    for name, columns in TABLES.items():
        write_columns(folder / f"{name}.csv", pd.DataFrame(found.tables[name], columns=list(columns)), columns)
    page = folder / "index.html"
    write_page(page, found.files, found.facts, found.conclusions, found.tables)
    return page


def _source(text: str, harness: str) -> tuple[str, Path]:
    prefix, colon, rest = text.partition(":")
    if colon and prefix in HARNESSES:
        return prefix, Path(rest)
    if not harness:
        raise AuditError(
            f"{text}: say which program wrote it, by --harness or as HARNESS:FILE ({', '.join(HARNESSES)})"
        )
    return harness, Path(text)


def _with_subset(answer: GivenAnswer, subset: str) -> GivenAnswer:
    return GivenAnswer(**{name: getattr(answer, name) for name in answer.__dataclass_fields__} | {"subset": subset})


def _subset(paired: Paired, options: Options) -> compare.Subset:
    questions = [asked(pair["text"], pair["speech"], options.scorer) for pair in paired.pairs]
    found = verdicts(
        *(paired.pairs, questions),
        official=options.official,
        nltk_data=options.nltk_data,
        seed=options.seed,
    )
    return compare.Subset(paired.subset or "answers", paired.pairs, [one.group for one in questions], found)


def _versions(subset: compare.Subset) -> str:
    name = subset.verdicts[0].scorer
    return f"{name} {find_scorer(name).version}"


def _conclusion_row(found: Conclusion) -> dict[str, Any]:
    row = {name: value for name, value in asdict(found).items() if name in COLUMNS}
    return row | {sign: "; ".join(names) for sign, names in found.signs.items()}


def _unpaired_row(subset: str, left: Unpaired) -> dict[str, Any]:
    one = left.answer
    key = one.keys.get("id") or one.keys.get("text", "")[:80]
    row = {"subset": subset or "answers", "form": left.form, "file": str(one.path), "line": one.line}
    return row | {"key": key, "reason": left.reason}


def _question_rows(subset: compare.Subset) -> list[dict[str, Any]]:
    rows = []
    for verdict in subset.verdicts:
        for form, values in verdict.scores.items():
            read = verdict.parsed.get(form) or [""] * len(values)
            for pair, group, value, parsed in zip(subset.pairs, subset.groups, values, read):
                keys = pair["text"].keys
                rows.append(
                    {"subset": subset.name, "group": group, "key": keys.get("id") or keys.get("text", "")[:80]}
                    | {"scorer": verdict.scorer, "source": verdict.source, "form": form}
                    | {"read": parsed or "", "score": float(value)}
                )
    return rows
