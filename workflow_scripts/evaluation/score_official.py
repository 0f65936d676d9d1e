"""official.csv: our scores and those of VoiceBench's own evaluators on the same answers, side by side (opt-in).

Rows: every model, checkpoint, subset and form whose scorer has an official evaluator (`scoring.official`). An evaluator
that fails on a set of answers leaves its cells empty and its error in `note`; the comparison never stops a study.
"""

import logging
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.answers import ANSWERS, AnswerRecord
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.questions import Question, by_subset
from workflow_scripts.artifacts.scores import ScoreFile
from workflow_scripts.artifacts.tables import NUMBER, TEXT, WHOLE, write_columns
from workflow_scripts.scoring.official import (
    FILES,
    OfficialAnswer,
    checkout_identity,
    official_reference,
    official_score,
)

logger = logging.getLogger(__name__)

COLUMNS = {
    **dict.fromkeys(("model", "checkpoint", "subset", "form", "scorer", "scorer_version"), TEXT),
    "n": WHOLE,
    **dict.fromkeys(("ours", "ours_expected", "ours_unparsed"), NUMBER),
    **dict.fromkeys(("official", "official_expected", "official_unparsed", "difference"), NUMBER),
    **{"note": TEXT, "seed": WHOLE, "commit": TEXT, "evaluators_sha256": TEXT},
}
"""Scores 0 to 100, unparsed as shares; difference = ours_expected - official_expected, both free of random draws."""
_OURS = {"multiple_choice": "expected", "yes_no": "expected", "refusal": "keyword_refusal"}
"""Our estimate that the official number compares with: it treats unparsed answers, or refusals, as theirs does."""


def score_official(
    questions: Sequence[Path],
    answers: Sequence[Path],
    scores: Sequence[Path],
    nltk: Path,
    table: Path,
    *,
    official: str,
    seed: int,
) -> None:
    """Write the table and log it.

    Args:
        questions: questions.jsonl of every subset.
        answers: answers.jsonl files; they lie in the folder of their scores.
        nltk: asset.json of the tokenizer; `nltk_data/tokenizers/punkt_tab` lies beside it.
        official: path of a VoiceBench checkout.
        seed: of the official evaluators' random guesses.

    Raises:
        OfficialError: no VoiceBench checkout there.
        ArtifactError: a question of a score file has no answer.
    """
    identity = checkout_identity(Path(official))
    asked = by_subset(questions)
    found: dict[tuple[Path, str], dict[str, AnswerRecord]] = defaultdict(dict)
    for path in answers:
        for record in ANSWERS.read(path):
            found[Path(path).parent, record.form][record.id] = record
    rows = []
    for path in sorted(scores):
        file = ScoreFile.read(path)
        if file.scorer in FILES:
            inputs = _inputs(path, file, found[Path(path).parent, file.form], asked[file.subset])
            rows.append(_row(file, inputs, Path(official), nltk.parent / "nltk_data", seed) | identity)
    for row in rows:
        if row.get("note"):
            logger.warning(
                "%s, %s, %s, %s: %s", *(row[name] for name in ("model", "checkpoint", "subset", "form")), row["note"]
            )
    write_columns(table, rows, COLUMNS)
    logger.info("ours and VoiceBench %s, %d score files\n%s", identity["commit"][:12], len(rows), _printed(rows))


def _inputs(
    path: Path, file: ScoreFile, answers: dict[str, AnswerRecord], asked: dict[str, Question]
) -> list[OfficialAnswer]:
    """The answers of a score file as the evaluators read them; each question has a prompt of its own, see `_item`."""
    if missing := [row.id for row in file.questions if row.id not in answers or row.id not in asked]:
        raise ArtifactError(f"{path}: no answer or question of {missing[:5]}; delete it and run again")
    return [
        OfficialAnswer(
            key=number,
            prompt=asked[row.id].prompt,
            response=answers[row.id].answer,
            reference=official_reference(file.scorer, asked[row.id].reference),
            task=str(asked[row.id].source.get("skill") or ""),
            instructions=asked[row.id].instructions,
        )
        for number, row in enumerate(file.questions)
    ]


def _row(file: ScoreFile, inputs: list[OfficialAnswer], official: Path, nltk: Path, seed: int) -> dict[str, Any]:
    expected = file.estimates[_OURS[file.scorer]].value if file.scorer in _OURS else file.mean
    row: dict[str, Any] = {
        **{name: getattr(file, name) for name in list(COLUMNS)[:7]},
        "ours": file.mean,
        "ours_expected": expected,
        "ours_unparsed": file.unparsed_rate,
        "seed": seed,
    }
    if len({answer.prompt for answer in inputs}) < len(inputs):
        row["note"] = "prompts repeat; the official evaluator keeps one answer a prompt"
    try:
        theirs = official_score(official, file.scorer, inputs, seed=seed, nltk_data=nltk)
    except Exception as error:  # their code, any answer: say what happened and go on
        return row | {"note": f"{type(error).__name__}: {error}"[:300]}
    return row | {
        "official": theirs.score,
        "official_expected": theirs.expected,
        "official_unparsed": theirs.unparsed,
        "difference": expected - theirs.expected,
    }


def _printed(rows: Sequence[dict[str, Any]]) -> str:
    shown = ("model", "checkpoint", "subset", "form", "n", "ours", "ours_expected", "official", "official_expected")
    lines = [" | ".join(shown)]
    for row in rows:
        cells = [row.get(name) for name in shown]
        lines.append(" | ".join(f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: score_official(
            [Path(path) for path in s.input.questions],
            [Path(path) for path in s.input.answers],
            [Path(path) for path in s.input.scores],
            Path(s.input.nltk),
            Path(s.output.table),
            official=s.params.official,
            seed=s.params.seed,
        ),
    )
