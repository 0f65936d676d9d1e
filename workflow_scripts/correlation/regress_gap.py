"""How well similarity and alignment predict the modality gap over checkpoints, beside training time alone.

Paper (sections 5 and 8): GAP regressed on Sim and on APS, one point per checkpoint, R2. Beyond it: the reference-answer
loss gap as a second outcome, calibrated measures, log(1 + step) as the rival predictor, the partial R2 of a measure
given model dummies and log(1 + step), and validation over training runs, which are the independent units; checkpoints
of one run are not. An untrained model from which several runs start is one point, of the first of them. p values, slope
intervals and Fisher's intervals of R2 treat checkpoints as independent and are optimistic; those over runs do not.
"""

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workflow_scripts.artifacts.tables import without_repeated_starts, write_table
from workflow_scripts.correlation.points import LOG_STEP, OUTCOMES, join_points, wide_points
from workflow_scripts.measures.registry import predictors
from workflow_scripts.statistics.predictor_comparison import compare_predictors
from workflow_scripts.statistics.regression import group_dummies, linear_fit, partial_r2, r2_fisher_interval
from workflow_scripts.statistics.run_validation import MIN_RUNS, leave_one_run_out_q2, r2_interval

logger = logging.getLogger(__name__)

OTHER_PREDICTORS = ("kl_forward_text", "kl_reverse_text", "response_cosine", "loss_gap", LOG_STEP)
"""Predictors that are no measures of states. `loss_gap` predicts GAP only: it is the other outcome."""
PAPER_PAIRS = (("path_score_cosine", "cosine"), ("path_score_euclidean", "euclidean"))
"""The paper compares APS with Sim; every predictor is also compared with training time."""


def regress_gap(
    gap: Path,
    checkpoints: Path,
    points: Path,
    regression: Path,
    comparisons: Path,
    *,
    models: Mapping[str, Mapping[str, str]],
    responses: Path | None = None,
) -> None:
    """Write points.csv, regression.csv and comparisons.csv.

    Args:
        gap: gap.csv. checkpoints: checkpoints.csv of the alignment table.
        models: trained model -> its strategy, backbone, warmup and start; other models are left out.
        responses: responses.csv, if divergences between forms are to be predictors too.

    Raises:
        ArtifactError: a checkpoint of a trained model is in one of the two tables only.
    """
    joined = join_points(gap, checkpoints, models, responses)
    wide = wide_points(joined)
    rows = regression_rows(wide)
    write_table(points, joined, "points")
    write_table(regression, rows, "regression")
    write_table(comparisons, comparison_rows(wide), "comparisons")
    logger.info("%d points, %d regressions", len(wide), len(rows))


def all_predictors() -> list[str]:
    """Names of all predictors, in the order of regression.csv."""
    return [*predictors(), *OTHER_PREDICTORS]


def pools(points: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Sets of points (rows of `wide_points`) that are regressed together.

    `pooled`: all. `trained`: all but the untrained start (step 0), which has a leverage of its own. Then one per
    strategy and one per model. A start that runs share is in each of them once.
    """
    found = {"pooled": points, "trained": points[points["step"] > 0]}
    for column in ("strategy", "model"):
        for value in sorted(set(points[column])):
            found[f"{column}:{value}"] = points[points[column] == value]
    return {pool: without_repeated_starts(members) for pool, members in found.items()}


def regression_rows(points: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of regression.csv for every outcome, predictor and pool; what is undefined is NaN, the note says why."""
    return [
        regression_row(outcome, predictor, pool, members)
        for outcome in OUTCOMES
        for predictor in all_predictors()
        if predictor != outcome
        for pool, members in pools(points).items()
    ]


def comparison_rows(points: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of comparisons.csv, all checkpoints pooled: R2 of `first` minus R2 of `second`, paired over runs."""
    points = pools(points)["pooled"]
    runs = points["model"].to_numpy(dtype=str)
    pairs = [*PAPER_PAIRS, *((name, LOG_STEP) for name in all_predictors() if name != LOG_STEP)]
    rows = []
    for outcome in OUTCOMES:
        for first, second in pairs:
            if outcome == first:
                continue
            x, other, y = (_column(points, name) for name in (first, second, outcome))
            found = compare_predictors(x, other, y, runs)
            row = {"outcome": outcome, "first": first, "second": second, "n_checkpoints": found.n, "n_runs": found.runs}
            row |= {"r2_difference": found.r2_difference, "q2_difference": found.q2_difference, "note": found.note}
            rows.append(row | {"r2_difference_low": found.low, "r2_difference_high": found.high})
    return rows


def regression_row(outcome: str, predictor: str, pool: str, points: pd.DataFrame) -> dict[str, Any]:
    """One regression.

    `r2_low`, `r2_high`: Fisher's interval over checkpoints. `q2`: leave-one-run-out. `r2_runs_low`, `r2_runs_high`:
    jackknife over runs. The last three need at least MIN_RUNS runs.
    """
    x, y, log_step = (_column(points, name) for name in (predictor, outcome, LOG_STEP))
    runs = points["model"].to_numpy(dtype=str)
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
    if n_runs < MIN_RUNS:
        notes.append(f"underpowered: {n_runs} run{'' if n_runs == 1 else 's'}")
    elif not math.isnan(r2):
        left_out = leave_one_run_out_q2(x, y, runs)
        low, high = r2_interval(x, y, runs)
        row |= {"q2": left_out.q2, "r2_runs_low": low, "r2_runs_high": high}
        notes.append(f"Q2 {left_out.note}" if math.isnan(left_out.q2) else "")
    return row | {"note": "; ".join(note for note in notes if note)}


def _column(points: pd.DataFrame, name: str) -> np.ndarray:
    values = points[name] if name in points else pd.Series(np.nan, index=points.index)
    return values.to_numpy(dtype=np.float64)


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: regress_gap(
            *(Path(s.input[name]) for name in ("gap", "checkpoints")),
            *(Path(s.output[name]) for name in ("points", "regression", "comparisons")),
            responses=Path(s.input.responses),
            models=s.params.models,
        ),
    )
