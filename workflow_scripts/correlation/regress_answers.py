"""Are single answers right where the question is well aligned? Logistic regression over answers.

    correct_speech_i ~ score_i + correct_text_i + T_s + T_t + subset + model (+ log(1 + step))

for score in {Sim, APS, calibrated APS, centred APS}, each question's mean over layers 1..L. Coefficients are log odds
ratios per standard deviation, with errors clustered by training run: answers of one run share its weights. The row
without training time is the question as usually put; the row with it is the one to believe, as both sides move with
time. An answer is right if its score is at least one half. Answers of an untrained model from which several runs start
count once.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workflow_scripts.artifacts.checkpoints import checkpoint_step
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.measurements import identity, read_pair
from workflow_scripts.artifacts.scores import ScoreFile
from workflow_scripts.artifacts.tables import without_repeated_starts, write_table
from workflow_scripts.measures.reading import mean_over_layers
from workflow_scripts.measures.registry import CALIBRATED
from workflow_scripts.measures.shuffle_null import calibrate
from workflow_scripts.statistics.logistic import logistic_fit
from workflow_scripts.statistics.run_validation import MIN_RUNS

SIM, APS, CENTRED = "cosine", "path_score_cosine", "path_score_centred"
SCORES = (SIM, APS, APS + CALIBRATED, CENTRED)


def regress_answers(
    similarity: Sequence[Path],
    alignment: Sequence[Path],
    scores: Sequence[Path],
    table: Path,
    *,
    models: Mapping[str, Mapping[str, str]],
) -> None:
    """Write answers_regression.csv.

    Args:
        similarity, alignment: measurement files of all shards, in the same order. scores: score files of the forms text
            and speech of the same models, checkpoints and subsets, in any order.
        models: training run -> its facts, `start` among them; others are left out.

    Raises:
        ArtifactError: a measured question has no score in one of the forms, or the two files of a shard are not of the
            same questions.
    """
    right = _right_answers(scores)
    answers: list[dict[str, Any]] = []
    for pair in zip(similarity, alignment, strict=True):
        pooled, aligned = read_pair(*pair)
        model, checkpoint, subset = identity(pooled)
        step = checkpoint_step(checkpoint)
        if model not in models or step is None:
            continue
        path = aligned.measures[APS]
        columns = {
            SIM: pooled.measures[SIM].raw,
            APS: path.raw,
            APS + CALIBRATED: calibrate(path.raw, path.null_mean, True),
            CENTRED: aligned.measures[CENTRED].raw,
        }
        means = {name: mean_over_layers(values, axis=1) for name, values in columns.items()}
        for number, name in enumerate(pooled.ids):
            row: dict[str, Any] = {
                "model": model,
                "subset": subset,
                "id": name,
                "step": step,
                "start": models[model]["start"],
                "T_s": pooled.T_s[number],
                "T_t": pooled.T_t[number],
            }
            for form in ("speech", "text"):
                key = (model, checkpoint, subset, form, name)
                if key not in right:
                    raise ArtifactError(
                        f"{pair[0]}: question {name!r} has no score in form {form}; run the scoring step"
                    )
                row[form] = right[key]
            row["log_step"] = math.log1p(step)
            answers.append(row | {score: float(values[number]) for score, values in means.items()})
    answers.sort(key=lambda row: row["model"])
    if answers:
        answers = without_repeated_starts(pd.DataFrame(answers), "subset", "id").to_dict("records")
    write_table(table, regression_rows(answers), "answers_regression")


def regression_rows(answers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows by score, without and with training time, and term."""
    rows = []
    for score in SCORES:
        for timed in (False, True):
            names, columns = [score, "correct_text", "T_s", "T_t"], [score, "text", "T_s", "T_t"]
            if timed:
                names, columns = [*names, "log_step"], [*columns, "log_step"]
            x = [[float(row[name]) for row in answers] for name in columns]
            for kind in ("subset", "model"):
                for value in sorted({row[kind] for row in answers})[1:]:
                    names.append(f"{kind} {value}")
                    x.append([float(row[kind] == value) for row in answers])
            runs = np.array([row["model"] for row in answers], dtype=str)
            design = np.array(x, dtype=np.float64).reshape(len(names), len(answers)).T
            fit = logistic_fit(np.array([row["speech"] for row in answers], dtype=np.float64), design, names, runs)
            for k, term in enumerate(fit.names):
                row = {"score": score, "with_log_step": timed, "term": term, "n": fit.n, "n_runs": fit.runs}
                row |= {"coefficient": fit.coefficient[k], "low": fit.low[k], "high": fit.high[k], "p": fit.p[k]}
                row = {key: float(value) if isinstance(value, np.floating) else value for key, value in row.items()}
                rows.append(row | {"verdict": _verdict(row) if term == score else None, "note": fit.note})
    return rows


def _verdict(row: Mapping[str, Any]) -> str:
    """underpowered: fewer than three runs or undefined; supported: the interval lies above 0; else not supported."""
    if row["n_runs"] < MIN_RUNS or math.isnan(row["low"]):
        return "underpowered"
    return "supported" if row["low"] > 0 else "not supported"


def _right_answers(scores: Sequence[Path]) -> dict[tuple[str, str, str, str, str], float]:
    right = {}
    for path in scores:
        found = ScoreFile.read(path)
        for question in found.questions:
            key = (found.model, found.checkpoint, found.subset, found.form, question.id)
            right[key] = float(question.score >= 0.5)
    return right


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: regress_answers(
            [Path(path) for path in s.input.similarity],
            [Path(path) for path in s.input.alignment],
            [Path(path) for path in s.input.scores],
            Path(s.output.table),
            models=s.params.models,
        ),
    )
