"""points.csv: what regressions of the modality gap see, one point per checkpoint of a trained model.

Rows of a point: `text`, `speech` and `gap` (Overall, 0 to 100), `loss_gap` (nats per token), the predictors that are
measures of states (`measures.registry.predictors`) and all other measures by name, divergences between forms where they
were measured (`RESPONSES`), and `log_step` = log(1 + step), so that the untrained start has a place on the axis.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.tables import read_table, select
from workflow_scripts.correlation.samples import ALL
from workflow_scripts.measures.registry import CALIBRATED, MEASURES, predictors

OUTCOMES = ("gap", "loss_gap")
LOG_STEP = "log_step"
RESPONSES = ("kl_forward_text", "kl_reverse_text", "kl_forgetting", "response_cosine", "response_cosine_null")
"""Columns of responses.csv that are rows of points.csv, of checkpoints that have a row there."""
KEY = ["model", "checkpoint", "step"]
FACTS = ["strategy", "backbone", "warmup", "start"]
VALUES = ["measure", "value", "low", "high", "n"]


def join_points(
    gap: Path, checkpoints: Path, models: Mapping[str, Mapping[str, str]], responses: Path | None = None
) -> pd.DataFrame:
    """The table `points`, sorted by model and step; models that are not in `models` are left out.

    Every run has its untrained start; whoever pools runs leaves repeated ones out (`without_repeated_starts`).

    Raises:
        ArtifactError: a checkpoint of a trained model is in one of the two tables only.
    """
    outcomes = _trained(overall_gaps(gap), models)
    measured = _trained(select(read_table(checkpoints, "checkpoints"), subset=ALL), models)
    here, there = (set(zip(frame["model"], frame["checkpoint"])) for frame in (outcomes, measured))
    for missing, path in ((here - there, checkpoints), (there - here, gap)):
        if missing:
            names = ["/".join(key) for key in sorted(missing)[:5]]
            raise ArtifactError(f"{path}: no row of {names}; the other table has them, run the step that writes it")
    calibrated = measured[(measured["measure"] + CALIBRATED).isin(list(predictors()))]
    calibrated = calibrated.assign(measure=calibrated["measure"] + CALIBRATED, value=calibrated["calibrated"])
    points = outcomes[KEY].drop_duplicates()
    parts = [outcomes, measured, calibrated, points.assign(measure=LOG_STEP, value=_log_step(points["step"]))]
    if responses is not None:
        parts.append(_responses(read_table(responses, "responses"), points))
    joined = pd.concat([part.reindex(columns=[*KEY, *VALUES]) for part in parts], ignore_index=True)
    for fact in FACTS:
        joined[fact] = joined["model"].map({model: facts[fact] for model, facts in models.items()})
    order = ["text", "speech", *OUTCOMES, LOG_STEP, *MEASURES, *predictors(), *RESPONSES]
    place = {name: number for number, name in reversed(list(enumerate(order)))}
    joined = joined.assign(place=joined["measure"].map(place)).sort_values(["model", "step", "place"], kind="stable")
    return joined[[*KEY, *FACTS, *VALUES]].reset_index(drop=True)


def wide_points(points: pd.DataFrame) -> pd.DataFrame:
    """One row per point, a column per measure; NaN where a point has none."""
    index = [*KEY, *FACTS]
    if points.empty:
        return pd.DataFrame(columns=[*index, *OUTCOMES, LOG_STEP])
    order = list(dict.fromkeys(zip(points["model"], points["checkpoint"])))
    wide = points.pivot(index=index, columns="measure", values="value").reset_index()
    wide.columns.name = None
    place = {key: number for number, key in enumerate(order)}
    wide = wide.assign(place=[place[key] for key in zip(wide["model"], wide["checkpoint"])])
    return wide.sort_values("place").drop(columns="place").reset_index(drop=True)


def overall_gaps(gap: Path) -> pd.DataFrame:
    """Overall of every checkpoint: rows `text`, `speech`, `gap` and `loss_gap` with value, low, high, n."""
    table = select(read_table(gap, "gap"), subset="overall")
    score, loss = select(table, measure="score"), select(table, measure="loss", form="gap")
    score = score[score["form"].isin(["text", "speech", "gap"])]
    rows = pd.concat([score.assign(measure=score["form"]), loss.assign(measure="loss_gap")], ignore_index=True)
    return rows[[*KEY, *VALUES]]


def _trained(frame: pd.DataFrame, models: Mapping[str, object]) -> pd.DataFrame:
    return frame[frame["model"].isin(list(models)) & frame["step"].notna()]


def _log_step(steps: pd.Series) -> np.ndarray:
    return np.log1p(steps.to_numpy(dtype=np.float64))


def _responses(responses: pd.DataFrame, points: pd.DataFrame) -> pd.DataFrame:
    found = points.merge(responses.drop(columns="step"), on=["model", "checkpoint"])
    return found.melt(id_vars=[*KEY, "n"], value_vars=list(RESPONSES), var_name="measure")
