"""sensitivity.csv: what each reading that the paper leaves open does to APS and Sim, and to their R2 with GAP (ours).

One row per switch and reading; the reading we take by default is marked. `value` is the mean over the last checkpoints
of all runs, `difference` from the default; R2 is that of GAP over all checkpoints, the unit is stated in n_runs. `n`
counts the values, one per question and checkpoint, that a reading is the mean of.

Most readings come from the stored per-sample values of all questions. Those that need other positions or states (padded
speech, template positions, the state after the final norm) were measured by the activations stage on a few questions: a
switch is compared with its default on the same ones.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.measurements import (
    READINGS,
    Measurements,
    check_same_shard,
    identity,
    read_measurements,
    read_pair,
)
from workflow_scripts.artifacts.states import kept_layers
from workflow_scripts.artifacts.tables import read_table, write_table
from workflow_scripts.measures import calibrate
from workflow_scripts.statistics.regression import linear_fit
from workflow_scripts.statistics.run_validation import leave_one_run_out_q2

COLUMNS = (
    *("score", "switch", "reading", "default", "value", "difference"),
    *("r2", "r2_difference", "q2", "n_checkpoints", "n_runs", "n"),
)
FEWEST_RUNS = 3
Shard = tuple[Measurements, Measurements, Measurements]
"""similarity, alignment and readings of one shard"""
MEASURED = {
    "speech span": (
        ("real audio", ""),
        ("with the padding of the window", "_padded"),
    ),
    "template": (
        ("query only", ""),
        ("text with template", "_text_template"),
        ("speech with template", "_speech_template"),
        ("both with template", "_both_template"),
    ),
    "last state": (
        ("before the final norm", ""),
        ("after the final norm", "_normed"),
    ),
}
"""Switches that the activations stage measured: switch -> (reading, suffix of the measure), the default first."""


@dataclass(frozen=True)
class Reading:
    """One reading of a score: `of` gives the sum over questions of a shard, and their number."""

    score: str
    switch: str
    name: str
    of: Callable[[Shard], tuple[float, float]]
    default: bool = False


def _samples(stage: int, measure: str, layers: slice = slice(1, None)) -> Callable[[Shard], tuple[float, float]]:
    """Mean over layers of each question, summed."""

    def total(shard: Shard) -> tuple[float, float]:
        return _sum(_layer_mean(shard[stage].measures[measure].raw[:, layers]))

    return total


def _measured(
    score: str, switch: str, measure: str, options: Sequence[tuple[str, str]], layers: slice
) -> list[Reading]:
    """Readings of the activations stage, each over the questions on which all of the switch are defined."""

    def of(suffix: str) -> Callable[[Shard], tuple[float, float]]:
        def total(shard: Shard) -> tuple[float, float]:
            values = {one: _layer_mean(shard[2].measures[measure + one].raw[:, layers]) for _, one in options}
            everywhere = np.isfinite(list(values.values())).all(axis=0)
            return _sum(values[suffix][everywhere])

        return total

    return [Reading(score, switch, name, of(suffix), not suffix) for name, suffix in options]


def _calibrated(stage: int, measure: str, kind: str) -> Callable[[Shard], tuple[float, float]]:
    def total(shard: Shard) -> tuple[float, float]:
        found = shard[stage].measures[measure]
        return _sum(_layer_mean(calibrate(found.raw, found.null_mean, kind)[:, 1:]))

    return total


def _tokens(metric: str, first: int = 0, weighted: bool = False) -> Callable[[Shard], tuple[float, float]]:
    """From the path scores themselves: without the `first` tokens, or every token with the same weight."""

    def total(shard: Shard) -> tuple[float, float]:
        averaged = _averaged(shard[1])
        scores = [one[averaged, first:].mean(axis=0, dtype=np.float64) for one in shard[1].scores[metric]]
        if weighted:
            return _sum(np.concatenate(scores))
        return _sum(np.array([one.mean() if one.size else np.nan for one in scores]))

    return total


def _best_layer(stage: int, measure: str, kind: str) -> Callable[[Shard], tuple[float, float]]:
    """Best of layers 1..L by the shard's mean: an upper end, as the choice is made on the same questions."""

    def total(shard: Shard) -> tuple[float, float]:
        values = shard[stage].measures[measure].raw[:, _averaged(shard[stage])].astype(np.float64)
        means = values.mean(axis=0)
        return _sum(values[:, int(np.argmax(means) if kind == "cosine" else np.argmin(means))])

    return total


def _averaged(content: Measurements) -> list[int]:
    """Layers 1..L that the file holds."""
    n_layers = next(iter(content.measures.values())).raw.shape[1] - 1
    return [layer for layer in kept_layers(content.attributes, n_layers) if layer > 0]


def readings() -> list[Reading]:
    """Every switch with its readings, the default first."""
    found = []
    for metric, kind in (("cosine", "cosine"), ("euclidean", "distance")):
        for score, stage, measure in (("APS", 1, f"path_score_{metric}"), ("Sim", 0, metric)):
            name = f"{score} {metric}"
            plain = _samples(stage, measure)
            found += [
                Reading(name, "layers", "1..L", plain, True),
                Reading(name, "layers", "0..L", _samples(stage, measure, slice(0, None))),
                Reading(name, "layers", "L only", _samples(stage, measure, slice(-1, None))),
                Reading(name, "layers", "best of 1..L", _best_layer(stage, measure, kind)),
                Reading(name, "chance", "raw", plain, True),
                Reading(name, "chance", "calibrated per question", _calibrated(stage, measure, kind)),
            ]
        name, plain = f"APS {metric}", _samples(1, f"path_score_{metric}")
        found += [
            Reading(name, "averaging", "tokens, layers, questions", plain, True),
            Reading(name, "averaging", "token-weighted", _tokens(metric, weighted=True)),
            Reading(name, "text span", "all tokens of the query", plain, True),
            Reading(name, "text span", "without the first token", _tokens(metric, first=1)),
        ]
    for metric in ("cosine", "euclidean"):
        for score, measure in (("APS", f"path_score_{metric}"), ("Sim", metric)):
            for switch, options in MEASURED.items():
                found += _measured(f"{score} {metric}", switch, measure, options, slice(1, None))
            alone = "last state, layer L only", measure, MEASURED["last state"]
            found += _measured(f"{score} {metric}", *alone, slice(-1, None))
    aps, sim = _samples(1, "path_score_cosine"), _samples(0, "cosine")
    euclid = _samples(1, "path_score_euclidean")
    found += [
        Reading("APS cosine", "direction", "text to frame", aps, True),
        Reading("APS cosine", "direction", "frame to text", _samples(1, "path_score_frame_to_text")),
        Reading("APS cosine", "direction", "mutual best", _samples(1, "path_score_mutual")),
        Reading("APS cosine", "direction", "text-monotone path", _samples(1, "monotone_score")),
        Reading("APS euclidean", "direction", "own path", euclid, True),
        Reading("APS euclidean", "direction", "cosine path", _samples(1, "path_score_euclidean_on_cosine_path")),
        Reading("APS cosine", "centring", "none", aps, True),
        Reading("APS cosine", "centring", "each form", _samples(1, "path_score_centred")),
        Reading("Sim cosine", "centring", "none", sim, True),
        Reading("Sim cosine", "centring", "both forms together", _samples(0, "cosine_common")),
        Reading("Sim cosine", "centring", "each form", _samples(0, "cosine_modality")),
        Reading("Sim cosine", "centring", "no massive dimensions", _samples(0, "cosine_trimmed")),
        Reading("Sim cosine", "sequence mean", "mean", sim, True),
        Reading("Sim cosine", "sequence mean", "median", _samples(0, "cosine_median")),
        Reading("Sim cosine", "sequence mean", "last position", _samples(0, "cosine_last")),
        Reading("Sim cosine", "sequence mean", "without the first position", _samples(0, "cosine_without_first")),
    ]
    return found


def vary_readings(
    similarity: Sequence[Path],
    alignment: Sequence[Path],
    measured: Sequence[Path],
    gap: Path,
    sensitivity: Path,
    *,
    models: Sequence[str],
) -> None:
    """Write sensitivity.csv.

    Args:
        similarity, alignment, measured: measurement files of all shards, in the same order; `measured` are the readings
            files of the activations stage. gap: gap.csv.
        models: training runs; others are left out.

    Raises:
        ArtifactError: a file cannot be read, or the files of a shard are not of the same questions.
    """
    gaps = {(row["model"], row["checkpoint"]): row for row in read_table(gap) if row["subset"] == "overall"}
    everything = readings()
    sums: dict[tuple[str, str], dict[str, np.ndarray]] = defaultdict(dict)
    for paths in zip(similarity, alignment, measured, strict=True):
        shard = _read_shard(*paths)
        model, checkpoint, subset = identity(shard[0])
        if model in models:
            own = sums[model, checkpoint].setdefault(subset, np.zeros((len(everything), 2)))
            own += np.array([reading.of(shard) for reading in everything])
    keys = sorted(key for key in sums if key in gaps and gaps[key]["step"] is not None)
    values = np.array([_mean_of_subsets(sums[key].values()) for key in keys]).reshape(len(keys), len(everything))
    used = [subset[:, 1] for key in keys for subset in sums[key].values()]
    counted = np.sum(used, axis=0) if used else np.zeros(len(everything))
    write_table(sensitivity, _rows(everything, values, keys, gaps, counted), COLUMNS)


def _read_shard(similarity: Path, alignment: Path, measured: Path) -> Shard:
    pooled, aligned = read_pair(similarity, alignment)
    few = read_measurements(measured, READINGS)
    check_same_shard(measured, few, similarity, pooled)
    if odd := sorted(set(few.ids) - set(pooled.ids))[:5]:
        raise ArtifactError(f"{measured} holds questions that {similarity} does not: {odd}; delete both and run again")
    return pooled, aligned, few


def _mean_of_subsets(subsets: Any) -> np.ndarray:
    """Unweighted mean over subsets of sum / count, as Overall is."""
    means = [np.divide(s[:, 0], s[:, 1], out=np.full(len(s), np.nan), where=s[:, 1] > 0) for s in subsets]
    return np.mean(means, axis=0)


def _rows(
    everything: Sequence[Reading],
    values: np.ndarray,
    keys: Sequence[tuple[str, str]],
    gaps: Mapping[tuple[str, str], Mapping[str, Any]],
    counted: np.ndarray,
) -> list[dict[str, Any]]:
    y = np.array([np.nan if gaps[key]["gap"] is None else gaps[key]["gap"] for key in keys], dtype=np.float64)
    runs = np.array([key[0] for key in keys], dtype=str)
    steps = np.array([gaps[key]["step"] for key in keys])
    last = np.array([step == steps[runs == run].max() for run, step in zip(runs, steps)], dtype=bool)
    rows: list[dict[str, Any]] = []
    defaults: dict[tuple[str, str], dict[str, Any]] = {}
    for reading, x, n in zip(everything, values.T, counted.astype(int).tolist()):
        fit = linear_fit(x, y)
        own = x[last & ~np.isnan(x)]
        row: dict[str, Any] = {"score": reading.score, "switch": reading.switch, "reading": reading.name}
        row |= {"default": reading.default, "value": float(own.mean()) if own.size else float("nan"), "r2": fit.r2}
        row |= {"n_checkpoints": fit.n, "n_runs": len(set(runs[np.isfinite(x) & np.isfinite(y)])), "n": n}
        if row["n_runs"] >= FEWEST_RUNS:
            row["q2"] = leave_one_run_out_q2(x, y, runs).q2
        if reading.default:
            defaults[reading.score, reading.switch] = row
        base = defaults[reading.score, reading.switch]
        rows.append(row | {"difference": row["value"] - base["value"], "r2_difference": row["r2"] - base["r2"]})
    return rows


def _layer_mean(values: np.ndarray) -> np.ndarray:
    defined = ~np.isnan(values)
    count = defined.sum(axis=1)
    total = np.where(defined, values, 0.0).sum(axis=1, dtype=np.float64)
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)


def _sum(values: np.ndarray) -> tuple[float, float]:
    defined = values[~np.isnan(values)]
    return float(defined.sum()), float(len(defined))


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: vary_readings(
            [Path(path) for path in s.input.similarity],
            [Path(path) for path in s.input.alignment],
            [Path(path) for path in s.input.readings],
            Path(s.input.gap),
            Path(s.output.sensitivity),
            models=s.params.models,
        ),
    )
