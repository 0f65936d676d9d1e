"""panda.csv: PEDANT's verdicts on short answers beside our containment, to compare with published SD-QA (opt-in)."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.answers import ANSWERS
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.questions import by_subset
from workflow_scripts.artifacts.scores import ScoreFile
from workflow_scripts.artifacts.tables import NUMBER, TEXT, WHOLE, write_columns
from workflow_scripts.scoring.estimates import rate_estimate
from workflow_scripts.scoring.panda import Panda, PickleFile
from workflow_scripts.scoring.registry import find_scorer
from workflow_scripts.settings.scoring import PandaSettings

logger = logging.getLogger(__name__)

COLUMNS = {
    **dict.fromkeys(("model", "checkpoint", "subset", "form"), TEXT),
    "n": WHOLE,
    **dict.fromkeys(("panda", "panda_low", "panda_high", "contains"), NUMBER),
    **dict.fromkeys(("scorer", "qa_metrics", "scikit-learn", "classifier_sha256", "vectorizer_sha256"), TEXT),
}


def score_panda(
    questions: Sequence[Path],
    answers: Sequence[Path],
    scores: Sequence[Path],
    table: Path,
    *,
    panda: Mapping[str, Any],
) -> None:
    """Write one row per score file whose scorer compares with accepted answers.

    Args:
        questions: questions.jsonl of every subset. answers: answers.jsonl files, in the folders of their scores.
        panda: PandaSettings as plain values.

    Raises:
        PandaError: files or package are not the ones named; before anything is read.
        ArtifactError: a scored question has no answer.
    """
    chosen = PandaSettings.model_validate(panda)
    pedant = Panda(
        PickleFile(Path(chosen.classifier), chosen.classifier_sha256),
        PickleFile(Path(chosen.vectorizer), chosen.vectorizer_sha256),
    )
    subsets = by_subset(questions)
    said = {(Path(path).parent, row.form, row.id): row.answer for path in answers for row in ANSWERS.read(path)}
    rows = []
    for path in sorted(map(Path, scores)):
        file = ScoreFile.read(path)
        if not find_scorer(file.scorer).accepted_answers:
            continue
        asked = subsets[file.subset]
        keys = [(path.parent, file.form, row.id) for row in file.questions]
        if missing := [key[2] for key in keys if key not in said or key[2] not in asked]:
            raise ArtifactError(f"{path}: no answer or question of {missing[:5]}; delete it and run again")
        verdicts = [pedant.correct(said[key], asked[key[2]].reference, asked[key[2]].prompt) for key in keys]
        found = rate_estimate(verdicts)
        row = {name: getattr(file, name) for name in ("model", "checkpoint", "subset", "form", "n")}
        row |= {"panda": found.value, "panda_low": found.low, "panda_high": found.high, "contains": file.mean}
        rows.append(row | pedant.facts)
    write_columns(table, rows, COLUMNS)
    logger.info("panda of %d score files", len(rows))


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: score_panda(
            [Path(path) for path in s.input.questions],
            [Path(path) for path in s.input.answers],
            [Path(path) for path in s.input.scores],
            Path(s.output.table),
            panda=s.params.panda,
        ),
    )
