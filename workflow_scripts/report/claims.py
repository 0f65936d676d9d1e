"""The regression claim and the rule of its verdict.

Claim: a measure predicts the gap better than training time alone. The paper (sections 5 and 6) has the gap explained by
similarity and by APS over checkpoints; that training time is the rival is ours, and so are the verdicts:

- `underpowered`: fewer than three training runs, or a number the rule needs is undefined. Checkpoints of one run are
  not independent, so their number does not count.
- `supported`: the slope has the paper's sign (more similar, smaller gap), Q2 of the measure (one run left out) exceeds
  that of log(1 + step), and the lower end of its R2 over resampled runs exceeds the R2 of log(1 + step).
- `not supported`: otherwise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workflow_scripts.report.html_tables import NOTHING, fixed, with_interval

FEWEST_RUNS = 3
BASELINE = "log_step"
POOL = "pooled"
OUTCOMES = {"gap": "GAP", "loss_gap": "Loss gap"}
PREDICTORS = {
    "sim_cosine": "Similarity, cosine",
    "sim_euclidean": "Similarity, Euclid",
    "sim_cosine_calibrated": "Similarity, cosine, calibrated",
    "aps_cosine": "APS, cosine",
    "aps_euclidean": "APS, Euclid",
    "aps_cosine_calibrated": "APS, cosine, calibrated",
}
RULE = (
    "Claim: the measure predicts the gap better than training time alone, log(1 + step). underpowered: fewer than "
    f"{FEWEST_RUNS} training runs, or a number the rule needs is undefined. supported: more similarity goes with a "
    "smaller gap, Q2 (one run left out) exceeds that of training time, and the lower end of R2 over resampled runs "
    "exceeds the R2 of training time. not supported: otherwise."
)


@dataclass(frozen=True)
class Claim:
    """One measure against training time; `row` and `baseline` are rows of regression.csv."""

    outcome: str
    predictor: str
    row: Mapping[str, Any]
    baseline: Mapping[str, Any]
    verdict: str

    def cells(self) -> list[str]:
        """Runs, checkpoints, R2, R2 of training time, partial R2, Q2, Q2 of training time, R2 over runs, slope."""
        over_runs = [self.row.get(f"r2_runs_{end}") for end in ("low", "high")]
        return [
            fixed(self.row["n_runs"], 0),
            fixed(self.row["n_checkpoints"], 0),
            with_interval(self.row, "r2", 2),
            with_interval(self.baseline, "r2", 2),
            fixed(self.row["partial_r2"]),
            fixed(self.row.get("q2")),
            fixed(self.baseline.get("q2")),
            NOTHING if None in over_runs else " to ".join(map(fixed, over_runs)),
            fixed(self.row["slope"], 3),
        ]


def regression_claims(regression: Sequence[Mapping[str, Any]]) -> list[Claim]:
    """Claims of every outcome and measure, all checkpoints pooled; what was not fitted is left out."""
    rows = {(row["outcome"], row["predictor"]): row for row in regression if row["pool"] == POOL}
    return [
        Claim(label, name, rows[outcome, predictor], baseline, verdict(rows[outcome, predictor], baseline, predictor))
        for outcome, label in OUTCOMES.items()
        if (baseline := rows.get((outcome, BASELINE))) is not None
        for predictor, name in PREDICTORS.items()
        if (outcome, predictor) in rows
    ]


def verdict(row: Mapping[str, Any], baseline: Mapping[str, Any], predictor: str) -> str:
    """The verdict of the module docstring."""
    needed = (row.get("slope"), row.get("q2"), row.get("r2_runs_low"), baseline.get("q2"), baseline.get("r2"))
    if (row["n_runs"] or 0) < FEWEST_RUNS or any(value is None for value in needed):
        return "underpowered"
    slope, q2, r2_low, baseline_q2, baseline_r2 = needed
    expected = slope > 0 if "euclidean" in predictor else slope < 0
    return "supported" if expected and q2 > baseline_q2 and r2_low > baseline_r2 else "not supported"
