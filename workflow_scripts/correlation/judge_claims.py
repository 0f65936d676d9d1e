"""claims.csv: each claim of the paper with our estimate, interval, n and a verdict by stated rules (ours).

The unit is the training run. An estimate per run is averaged over runs with a t interval (95 %); a comparison of
predictors uses the paired bootstrap over runs. Verdicts, never typed in:

    underpowered   fewer than three runs that the claim is about, or a number that the rule needs is undefined
    supported      the rule in column `rule` holds
    not supported  otherwise
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata, t

from workflow_scripts.artifacts.tables import read_table, write_table
from workflow_scripts.correlation.build_alignment_table import ALL

FEWEST_RUNS = 3
LEVEL = 0.95
COLUMNS = ("claim", "measure", "estimate", "low", "high", "n_runs", "n_checkpoints", "n", "verdict", "rule", "note")
ABOVE_ZERO = "the 95 % interval over runs lies above 0"
BELOW_ZERO = "the 95 % interval over runs lies below 0"
Row = Mapping[str, Any]


def judge_claims(
    layers: Path, checkpoints: Path, regression: Path, comparisons: Path, claims: Path, *, models: Mapping[str, Row]
) -> None:
    """Write claims.csv from the tables of this stage; `models` maps a run to its `warmup` ("none" or not)."""
    by_layer = [row for row in read_table(layers) if row["subset"] == ALL and row["model"] in models]
    points = [row for row in read_table(checkpoints) if row["subset"] == ALL and row["model"] in models]
    rows = [*depth_claims(by_layer), *training_claims(points), *monotonicity_claims(points)]
    rows += regression_claims(read_table(regression), read_table(comparisons))
    rows += spontaneity_claims([row for row in points if models[row["model"]]["warmup"] == "none"])
    write_table(claims, rows, COLUMNS)


def depth_claims(layers: Sequence[Row]) -> list[dict[str, Any]]:
    """Spearman of layer 1..L and similarity, last checkpoint of each run."""
    last = _last(layers)
    found = []
    for claim, metric, column in (
        ("cosine rises with depth", "cosine", "similarity"),
        ("Euclid rises with depth", "euclidean", "similarity"),
        ("Euclid rises with depth, lengths divided out", "cosine", "length_free"),
    ):
        rows = {run: [r for r in own if r["metric"] == metric and r["layer"] > 0] for run, own in last.items()}
        found.append(_per_run(claim, f"Spearman(layer, {column} {metric})", rows, "layer", column, +1))
    return found


def training_claims(points: Sequence[Row]) -> list[dict[str, Any]]:
    """Spearman of training step and similarity within each run."""
    runs = _by_run(points)
    return [
        _per_run("cosine improves with training", "Spearman(step, sim_cosine)", runs, "step", "sim_cosine", +1),
        _per_run("Euclid improves with training", "Spearman(step, sim_euclidean)", runs, "step", "sim_euclidean", -1),
    ]


def monotonicity_claims(points: Sequence[Row]) -> list[dict[str, Any]]:
    """Monotonicity minus that of unrelated pairs, last checkpoint of each run."""
    rows = []
    for metric in ("cosine", "euclidean"):
        name = f"monotonicity_{metric}"
        own = {run: _excess(rows[-1], name) for run, rows in _by_run(points).items()}
        number = sum(row[-1]["n"] or 0 for row in _by_run(points).values())
        rows.append(_judged("paths are monotonic", f"{name} minus its null", own, len(own), number, +1))
    return rows


def spontaneity_claims(points: Sequence[Row]) -> list[dict[str, Any]]:
    """Calibrated APS of the last minus the first checkpoint of runs without warm-up: a warm-up imposes alignment."""
    own = {}
    for run, rows in _by_run(points).items():
        first, last = (_number(row["aps_cosine_calibrated"]) for row in (rows[0], rows[-1]))
        own[run] = last - first
    number = sum(rows[-1]["n"] or 0 for rows in _by_run(points).values())
    row = _judged("alignment is spontaneous", "rise of calibrated APS", own, len(points), number, +1)
    return [row | {"note": "runs without warm-up only"}]


def regression_claims(regression: Sequence[Row], comparisons: Sequence[Row]) -> list[dict[str, Any]]:
    """Similarity predicts GAP, and APS predicts it better, both over all checkpoints."""
    fits = {row["predictor"]: row for row in regression if (row["outcome"], row["pool"]) == ("gap", "pooled")}
    pairs = {(row["first"], row["second"]): row for row in comparisons if row["outcome"] == "gap"}
    found = []
    for predictor, sign in (("sim_cosine", -1), ("sim_euclidean", +1), ("aps_cosine", -1), ("aps_euclidean", +1)):
        if predictor in fits:
            found.append(_predicts(fits[predictor], pairs.get((predictor, "log_step")), sign))
    for first, second in (("aps_cosine", "sim_cosine"), ("aps_euclidean", "sim_euclidean")):
        if (first, second) in pairs:
            found.append(_predicts_better(pairs[first, second]))
    return found


def _predicts(fit: Row, rival: Row | None, sign: int) -> dict[str, Any]:
    """Q2 above 0, the paper's sign, and better than training time alone."""
    name = "similarity" if fit["predictor"].startswith("sim") else "APS"
    needed = [fit["slope"], fit["q2"], None if rival is None else rival["r2_difference_low"]]
    row = {
        "claim": f"{name} predicts GAP",
        "measure": f"R2 of {fit['predictor']}",
        "estimate": fit["r2"],
        "low": fit["r2_runs_low"],
        "high": fit["r2_runs_high"],
        "n_runs": fit["n_runs"],
        "n_checkpoints": fit["n_checkpoints"],
        "rule": "more similar goes with a smaller gap, Q2 > 0, and R2 minus R2 of log(1 + step) > 0 over runs (95 %)",
    }
    if (fit["n_runs"] or 0) < FEWEST_RUNS or any(value is None for value in needed):
        return row | {"verdict": "underpowered"}
    slope, q2, advantage = needed
    holds = np.sign(slope) == sign and q2 > 0 and advantage > 0
    note = f"Q2 {q2:.3f}; R2 minus that of training time, lower end {advantage:.3f}"
    return row | {"verdict": "supported" if holds else "not supported", "note": note}


def _predicts_better(pair: Row) -> dict[str, Any]:
    row = {
        "claim": "APS predicts GAP better than similarity",
        "measure": f"R2 of {pair['first']} minus R2 of {pair['second']}",
        "estimate": pair["r2_difference"],
        "low": pair["r2_difference_low"],
        "high": pair["r2_difference_high"],
        "n_runs": pair["n_runs"],
        "n_checkpoints": pair["n_checkpoints"],
        "rule": "the paired interval over resampled runs lies above 0",
    }
    if (pair["n_runs"] or 0) < FEWEST_RUNS or pair["r2_difference_low"] is None:
        return row | {"verdict": "underpowered"}
    return row | {"verdict": "supported" if pair["r2_difference_low"] > 0 else "not supported"}


def _per_run(claim: str, measure: str, runs: Mapping[str, Sequence[Row]], x: str, y: str, sign: int) -> dict[str, Any]:
    own = {
        run: _spearman([_number(row[x]) for row in rows], [_number(row[y]) for row in rows])
        for run, rows in runs.items()
    }
    number = sum(max((row["n"] or 0 for row in rows), default=0) for rows in runs.values())
    checkpoints = {(row["model"], row["checkpoint"]) for rows in runs.values() for row in rows}
    return _judged(claim, measure, own, len(checkpoints), number, sign)


def _judged(
    claim: str, measure: str, own: Mapping[str, float], n_checkpoints: int, n: int, sign: int
) -> dict[str, Any]:
    """Mean over runs with a t interval; supported if it lies on the claimed side of 0."""
    values = np.array([value for value in own.values() if not np.isnan(value)])
    row: dict[str, Any] = {"claim": claim, "measure": measure, "n_runs": len(values), "n_checkpoints": n_checkpoints}
    row |= {"n": n, "rule": ABOVE_ZERO if sign > 0 else BELOW_ZERO}
    if len(values):
        row["estimate"] = float(values.mean())
    if len(values) < FEWEST_RUNS:
        return row | {"verdict": "underpowered"}
    half = t.ppf((1 + LEVEL) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    low, high = float(values.mean() - half), float(values.mean() + half)
    holds = low > 0 if sign > 0 else high < 0
    return row | {"low": low, "high": high, "verdict": "supported" if holds else "not supported"}


def _spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """NaN for fewer than four defined points or a constant."""
    pairs = np.array([(a, b) for a, b in zip(x, y) if not np.isnan(a) and not np.isnan(b)])
    if len(pairs) < 4 or np.ptp(pairs, axis=0).min() == 0:
        return float("nan")
    return float(np.corrcoef(rankdata(pairs[:, 0]), rankdata(pairs[:, 1]))[0, 1])


def _by_run(rows: Sequence[Row]) -> dict[str, list[Row]]:
    runs: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["step"] or 0):
        runs[row["model"]].append(row)
    return dict(runs)


def _last(rows: Sequence[Row]) -> dict[str, list[Row]]:
    return {
        run: [row for row in own if row["checkpoint"] == own[-1]["checkpoint"]] for run, own in _by_run(rows).items()
    }


def _excess(row: Row, name: str) -> float:
    return _number(row[name]) - _number(row[f"{name}_null"])


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: judge_claims(
            *(Path(s.input[name]) for name in ("layers", "checkpoints", "regression", "comparisons")),
            Path(s.output.claims),
            models=s.params.models,
        ),
    )
