"""How well similarity and alignment predict the modality gap over checkpoints, beside training time alone.

Paper (sections 5 and 8): GAP regressed on Sim and on APS, one point per checkpoint, R2. Ours: the reference-answer loss
gap as a second outcome, calibrated measures, log(1 + step) as the rival predictor, the partial R2 of a measure given
model dummies and log(1 + step), and validation over training runs, which are the independent units; checkpoints of one
run are not. p values, slope intervals and Fisher's intervals of R2 treat checkpoints as independent and are optimistic.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.tables import read_table, write_table
from workflow_scripts.correlation.build_alignment_table import ALL, CHECKPOINT_COLUMNS, KEY_COLUMNS
from workflow_scripts.statistics.predictor_comparison import compare_predictors
from workflow_scripts.statistics.regression import group_dummies, linear_fit, partial_r2, r2_fisher_interval
from workflow_scripts.statistics.run_validation import cluster_bootstrap_r2, leave_one_run_out_q2

logger = logging.getLogger(__name__)

OUTCOMES = ("gap", "loss_gap")
MEASURES = ("sim_cosine", "sim_euclidean", "aps_cosine", "aps_euclidean")
LOG_STEP = "log_step"
PREDICTORS = (
    *MEASURES,
    *(f"{name}_calibrated" for name in MEASURES),
    *("sim_cosine_centred", "sim_length_free", "aps_cosine_centred", "monotone_score", "cka", "mutual_knn"),
    *("kl_forward_text", "kl_reverse_text", "response_cosine"),
    "loss_gap",
    LOG_STEP,
)
RESPONSES = ("kl_forward_text", "kl_reverse_text", "kl_forgetting", "response_cosine", "response_cosine_null")
"""Columns of responses.csv that go into points.csv, empty where a checkpoint has no row there."""
"""`loss_gap` predicts GAP only: it is the other outcome."""
COMPARED = (
    ("aps_cosine", "sim_cosine"),
    ("aps_euclidean", "sim_euclidean"),
    *((name, LOG_STEP) for name in PREDICTORS if name != LOG_STEP),
)
"""Pairs of predictors whose R2 are compared on the same points and resampled runs."""
COMPARISON_COLUMNS = (
    *("outcome", "first", "second", "n_checkpoints", "n_runs"),
    *("r2_difference", "r2_difference_low", "r2_difference_high", "q2_difference", "note"),
)

FEWEST_RUNS = 3
"""Below this, leaving one run out leaves a single run to learn from: nothing is said about new runs."""

GAP_COLUMNS = ("text", "speech", "gap", "gap_low", "gap_high", "loss_gap", "loss_gap_low", "loss_gap_high")
POINT_COLUMNS = (
    *("model", "checkpoint", "step", "strategy", "backbone", "warmup", LOG_STEP),
    *GAP_COLUMNS,
    "n_gap",
    *(name for name in CHECKPOINT_COLUMNS if name not in KEY_COLUMNS),
    *RESPONSES,
)
REGRESSION_COLUMNS = (
    *("outcome", "predictor", "pool", "n_checkpoints", "n_runs"),
    *("slope", "slope_low", "slope_high", "intercept", "r2", "r2_low", "r2_high", "p", "partial_r2"),
    *("q2", "r2_runs_low", "r2_runs_high", "note"),
)


def regress_gap(
    gap: Path,
    checkpoints: Path,
    points: Path,
    regression: Path,
    comparisons: Path,
    *,
    models: Mapping[str, Mapping[str, str]],
    draws: int,
    seed: int,
    responses: Path | None = None,
) -> None:
    """Write points.csv, regression.csv and comparisons.csv.

    Args:
        gap: gap.csv. checkpoints: checkpoints.csv of the alignment table.
        models: trained model -> its strategy, backbone and warmup; other models are left out.
        draws, seed: of the bootstrap over runs.
        responses: responses.csv, if divergences between forms are to be predictors too.

    Raises:
        ArtifactError: a checkpoint of a trained model is in one of the two tables only.
    """
    joined = join_points(gap, checkpoints, models)
    found = {} if responses is None else {(r["model"], r["checkpoint"]): r for r in read_table(responses)}
    for point in joined:
        own = found.get((point["model"], point["checkpoint"]), {})
        point |= {name: own.get(name) for name in RESPONSES}
    rows = regression_rows(joined, draws, seed)
    write_table(points, joined, POINT_COLUMNS)
    write_table(regression, rows, REGRESSION_COLUMNS)
    write_table(comparisons, comparison_rows(joined, draws, seed), COMPARISON_COLUMNS)
    logger.info("%d points, %d regressions", len(joined), len(rows))


def join_points(gap: Path, checkpoints: Path, models: Mapping[str, Mapping[str, str]]) -> list[dict[str, Any]]:
    """One row per checkpoint of a trained model: Overall gap, alignment over all subsets, and facts of the run.

    `n_gap` counts the questions behind the gap, `n` those behind the alignment. `log_step` is log(1 + step), so that
    the untrained start has a place on the axis.
    """
    outcomes = _by_checkpoint(gap, "overall", models)
    measured = _by_checkpoint(checkpoints, ALL, models)
    for found, other, path in ((outcomes, measured, checkpoints), (measured, outcomes, gap)):
        if missing := sorted(found.keys() - other.keys()):
            names = ["/".join(key) for key in missing[:5]]
            raise ArtifactError(f"{path}: no row of {names}; the other table has them, run the step that writes it")
    rows = []
    for key in sorted(outcomes, key=lambda key: (key[0], outcomes[key]["step"])):
        step = outcomes[key]["step"]
        row = {name: measured[key][name] for name in CHECKPOINT_COLUMNS if name not in KEY_COLUMNS}
        row |= {"model": key[0], "checkpoint": key[1], "step": step, LOG_STEP: math.log1p(step)}
        row |= {name: models[key[0]][name] for name in ("strategy", "backbone", "warmup")}
        row |= {name: outcomes[key][name] for name in GAP_COLUMNS} | {"n_gap": outcomes[key]["n"]}
        rows.append(row)
    return rows


def pools(points: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Sets of points that are regressed together.

    `pooled`: all. `trained`: all but the untrained start (step 0), which has a leverage of its own. Then one per
    strategy and one per model.
    """
    found: dict[str, list[Mapping[str, Any]]] = {
        "pooled": list(points),
        "trained": [point for point in points if point["step"] > 0],
    }
    for column in ("strategy", "model"):
        for value in sorted({point[column] for point in points}):
            found[f"{column}:{value}"] = [point for point in points if point[column] == value]
    return found


def regression_rows(points: Sequence[Mapping[str, Any]], draws: int, seed: int) -> list[dict[str, Any]]:
    """Rows of regression.csv for every outcome, predictor and pool; what is undefined is NaN, the note says why."""
    return [
        regression_row(outcome, predictor, pool, members, draws, seed)
        for outcome in OUTCOMES
        for predictor in PREDICTORS
        if predictor != outcome
        for pool, members in pools(points).items()
    ]


def comparison_rows(points: Sequence[Mapping[str, Any]], draws: int, seed: int) -> list[dict[str, Any]]:
    """Rows of comparisons.csv, all checkpoints pooled: R2 of `first` minus R2 of `second`, paired over runs."""
    runs = np.array([point["model"] for point in points], dtype=str)
    rows = []
    for outcome in OUTCOMES:
        for first, second in COMPARED:
            if outcome == first:
                continue
            x, other, y = (_column(points, name) for name in (first, second, outcome))
            found = compare_predictors(x, other, y, runs, draws, seed)
            row = {"outcome": outcome, "first": first, "second": second, "n_checkpoints": found.n, "n_runs": found.runs}
            row |= {"r2_difference": found.r2_difference, "q2_difference": found.q2_difference, "note": found.note}
            rows.append(row | {"r2_difference_low": found.low, "r2_difference_high": found.high})
    return rows


def regression_row(
    outcome: str, predictor: str, pool: str, points: Sequence[Mapping[str, Any]], draws: int, seed: int
) -> dict[str, Any]:
    """One regression.

    `r2_low`, `r2_high`: Fisher's interval over checkpoints. `q2`: leave-one-run-out. `r2_runs_low`, `r2_runs_high`:
    bootstrap over runs, a sensitivity range when runs are few. The last three need at least three runs.
    """
    x, y, log_step = (_column(points, name) for name in (predictor, outcome, LOG_STEP))
    runs = np.array([point["model"] for point in points], dtype=str)
    usable = np.isfinite(x) & np.isfinite(y)
    n_runs = len(set(runs[usable]))
    fit = linear_fit(x, y)
    r2 = min(max(fit.r2, 0.0), 1.0) if math.isfinite(fit.r2) else math.nan
    fisher = r2_fisher_interval(r2, fit.n)
    row: dict[str, Any] = {
        "outcome": outcome,
        "predictor": predictor,
        "pool": pool,
        "n_checkpoints": int(usable.sum()),
        "n_runs": n_runs,
        "slope": fit.slope,
        "slope_low": fit.slope_low,
        "slope_high": fit.slope_high,
        "intercept": fit.intercept,
        "r2": r2,
        "r2_low": fisher.low,
        "r2_high": fisher.high,
        "p": fit.p,
    }
    notes = [fit.note]
    if predictor != LOG_STEP and not math.isnan(r2):
        partial = partial_r2(y, x, np.column_stack([group_dummies(runs), log_step]))
        row["partial_r2"] = partial.value
        notes.append(f"partial R2 {partial.note}" if math.isnan(partial.value) else "")
    if n_runs < FEWEST_RUNS:
        notes.append(f"underpowered: {n_runs} run{'' if n_runs == 1 else 's'}")
    elif not math.isnan(r2):
        left_out = leave_one_run_out_q2(x, y, runs)
        resampled = cluster_bootstrap_r2(x, y, runs, draws, seed)
        row |= {"q2": left_out.q2, "r2_runs_low": resampled.low, "r2_runs_high": resampled.high}
        notes.append(f"Q2 {left_out.note}" if math.isnan(left_out.q2) else "")
        notes.append(f"{resampled.distinct_resamples} distinct resamples of runs")
    return row | {"note": "; ".join(note for note in notes if note)}


def _by_checkpoint(path: Path, subset: str, models: Mapping[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    rows = [row for row in read_table(path) if row["subset"] == subset and str(row["model"]) in models]
    return {(str(row["model"]), str(row["checkpoint"])): row for row in rows if row["step"] is not None}


def _column(points: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    return np.array([math.nan if point[name] is None else point[name] for point in points], dtype=np.float64)


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: regress_gap(
            *(Path(s.input[name]) for name in ("gap", "checkpoints")),
            *(Path(s.output[name]) for name in ("points", "regression", "comparisons")),
            responses=Path(s.input.responses),
            models=s.params.models,
            draws=s.params.draws,
            seed=s.params.seed,
        ),
    )
