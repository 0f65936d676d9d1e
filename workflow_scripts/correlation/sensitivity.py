"""sensitivity.csv: what each choice that the paper leaves open does to APS and Sim, and to their R2 with GAP.

One row per switch and reading; the one used everywhere else is marked `default`. `value` is the mean over the last
checkpoints of all runs, `difference` from the default; R2 is that of GAP over all checkpoints, and n_runs says how many
training runs they are of; an untrained model from which several runs start counts once. `n` counts the values, one per
question and checkpoint, that a reading is the mean of.

Most readings come from the stored per-sample values of all questions. Those that need other positions or states (padded
speech, template positions, the state after the final norm) were measured by the activations stage on a few questions: a
switch is compared with its default on the same ones.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

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
from workflow_scripts.artifacts.tables import select, without_repeated_starts, write_table
from workflow_scripts.correlation.points import overall_gaps
from workflow_scripts.measures.reading import READING, Reading, averaged_layers, mean_over_layers, nan_mean
from workflow_scripts.measures.registry import MEASURES
from workflow_scripts.measures.shuffle_null import calibrate
from workflow_scripts.statistics.regression import linear_fit
from workflow_scripts.statistics.run_validation import MIN_RUNS, leave_one_run_out_q2

Shard = tuple[Measurements, Measurements, Measurements]
"""similarity, alignment and readings of one shard"""
Total = Callable[[Shard], tuple[float, float]]
"""Gives the sum of a score over the questions of a shard, and their number."""
LAST = Reading(layers="L")
SCORES = {
    "APS cosine": "path_score_cosine",
    "Sim cosine": "cosine",
    "APS euclidean": "path_score_euclidean",
    "Sim euclidean": "euclidean",
}
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
class MetricVariant:
    """One reading of a score: how it is computed from a shard."""

    score: str
    switch: str
    name: str
    of: Total
    default: bool = False


def _samples(measure: str, reading: Reading = READING) -> Total:
    """Mean over layers of each question, summed."""
    return lambda shard: _sum(mean_over_layers(_values(shard, measure).raw, axis=1, reading=reading))


def _measured(
    score: str, switch: str, measure: str, options: Sequence[tuple[str, str]], reading: Reading = READING
) -> list[MetricVariant]:
    """Readings of the activations stage, each over the questions on which all of the switch are defined."""

    def of(suffix: str) -> Total:
        def total(shard: Shard) -> tuple[float, float]:
            few = shard[2].measures
            values = {one: mean_over_layers(few[measure + one].raw, axis=1, reading=reading) for _, one in options}
            everywhere = np.isfinite(list(values.values())).all(axis=0)
            return _sum(values[suffix][everywhere])

        return total

    return [MetricVariant(score, switch, name, of(suffix), not suffix) for name, suffix in options]


def _calibrated(measure: str) -> Total:
    def total(shard: Shard) -> tuple[float, float]:
        found = _values(shard, measure)
        values = calibrate(found.raw, found.null_mean, bool(MEASURES[measure].higher_is_better))
        return _sum(mean_over_layers(values, axis=1))

    return total


def _tokens(metric: str, first: int = 0, weighted: bool = False) -> Total:
    """From the path scores themselves: without the `first` tokens, or every token with the same weight."""

    def total(shard: Shard) -> tuple[float, float]:
        scores = [mean_over_layers(one)[first:] for one in shard[1].scores[metric]]
        if weighted:
            return _sum(np.concatenate(scores))
        return _sum(np.array([one.mean() if one.size else np.nan for one in scores]))

    return total


def _best_layer(measure: str) -> Total:
    """Best of layers 1..L by the shard's mean: an upper end, as the choice is made on the same questions."""

    def total(shard: Shard) -> tuple[float, float]:
        content = shard[0] if measure in shard[0].measures else shard[1]
        raw = content.measures[measure].raw
        values = np.float64(raw[:, averaged_layers(raw.shape[1], kept_layers(content.attributes, raw.shape[1] - 1))])
        means = values.mean(axis=0)
        return _sum(values[:, int((np.argmax if MEASURES[measure].higher_is_better else np.argmin)(means))])

    return total


def variants() -> list[MetricVariant]:
    """Every switch with its readings, the default first."""
    found = []
    for name, measure in SCORES.items():
        plain = _samples(measure)
        found += [
            MetricVariant(name, "layers", "1..L", plain, True),
            MetricVariant(name, "layers", "0..L", _samples(measure, Reading(layers="0..L"))),
            MetricVariant(name, "layers", "L only", _samples(measure, LAST)),
            MetricVariant(name, "layers", "best of 1..L", _best_layer(measure)),
            MetricVariant(name, "chance", "raw", plain, True),
            MetricVariant(name, "chance", "calibrated per question", _calibrated(measure)),
        ]
        if name.startswith("APS"):
            metric = name.removeprefix("APS ")
            found += [
                MetricVariant(name, "averaging", "tokens, layers, questions", plain, True),
                MetricVariant(name, "averaging", "token-weighted", _tokens(metric, weighted=True)),
                MetricVariant(name, "text span", "all tokens of the query", plain, True),
                MetricVariant(name, "text span", "without the first token", _tokens(metric, first=1)),
            ]
    for name, measure in SCORES.items():
        for switch, options in MEASURED.items():
            found += _measured(name, switch, measure, options)
        found += _measured(name, "last state, layer L only", measure, MEASURED["last state"], LAST)
    for score, switch, options in (
        ("APS cosine", "direction", {"text to frame": "path_score_cosine", "frame to text": "path_score_frame_to_text",
                                     "mutual best": "path_score_mutual", "text-monotone path": "monotone_score"}),
        ("APS euclidean", "direction", {"own path": "path_score_euclidean",
                                        "cosine path": "path_score_euclidean_on_cosine_path"}),
        ("APS cosine", "centring", {"none": "path_score_cosine", "each form": "path_score_centred"}),
        ("Sim cosine", "centring", {"none": "cosine", "both forms together": "cosine_common",
                                    "each form": "cosine_modality", "no massive dimensions": "cosine_trimmed"}),
        ("Sim cosine", "sequence mean", {"mean": "cosine", "median": "cosine_median", "last position": "cosine_last",
                                         "without the first position": "cosine_without_first"}),
    ):  # fmt: skip
        for name, measure in options.items():
            found.append(MetricVariant(score, switch, name, _samples(measure), measure == SCORES[score]))
    return found


def sensitivity(
    similarity: Sequence[Path],
    alignment: Sequence[Path],
    measured: Sequence[Path],
    gap: Path,
    table: Path,
    *,
    models: Mapping[str, Mapping[str, str]],
) -> None:
    """Write sensitivity.csv.

    Args:
        similarity, alignment, measured: measurement files of all shards, in the same order; `measured` are the readings
            files of the activations stage. gap: gap.csv.
        models: training run -> its facts, `start` among them; others are left out.

    Raises:
        ArtifactError: a file cannot be read, or the files of a shard are not of the same questions.
    """
    gaps = select(overall_gaps(gap), measure="gap").set_index(["model", "checkpoint"])
    everything = variants()
    sums: dict[tuple[str, str], dict[str, np.ndarray]] = defaultdict(dict)
    for paths in zip(similarity, alignment, measured, strict=True):
        shard = _read_shard(*paths)
        model, checkpoint, subset = identity(shard[0])
        if model in models:
            own = sums[model, checkpoint].setdefault(subset, np.zeros((len(everything), 2)))
            own += np.array([variant.of(shard) for variant in everything])
    steps = gaps["step"].dropna().to_dict()
    keys = _one_start(sorted(key for key in sums if key in steps), steps, models)
    values = np.array([_mean_of_subsets(sums[key].values()) for key in keys]).reshape(len(keys), len(everything))
    used = [subset[:, 1] for key in keys for subset in sums[key].values()]
    counted = np.sum(used, axis=0) if used else np.zeros(len(everything))
    y = {key: float(gaps["value"][key]) for key in keys}
    write_table(table, _rows(everything, values, y, steps, counted), "sensitivity")


def _one_start(
    keys: Sequence[tuple[str, str]], steps: Mapping[tuple[str, str], int], models: Mapping[str, Mapping[str, str]]
) -> list[tuple[str, str]]:
    facts = {"step": [steps[key] for key in keys], "start": [models[model]["start"] for model, _ in keys]}
    return [keys[place] for place in without_repeated_starts(pd.DataFrame(facts)).index]


def _read_shard(similarity: Path, alignment: Path, measured: Path) -> Shard:
    pooled, aligned = read_pair(similarity, alignment)
    few = read_measurements(measured, READINGS)
    check_same_shard(measured, few, similarity, pooled)
    if odd := sorted(set(few.ids) - set(pooled.ids))[:5]:
        raise ArtifactError(f"{measured} holds questions that {similarity} does not: {odd}; delete both and run again")
    return pooled, aligned, few


def _values(shard: Shard, measure: str) -> Any:
    return (shard[0] if measure in shard[0].measures else shard[1]).measures[measure]


def _mean_of_subsets(subsets: Iterable[np.ndarray]) -> np.ndarray:
    """Unweighted mean over subsets of sum / count, as Overall is."""
    means = [np.divide(s[:, 0], s[:, 1], out=np.full(len(s), np.nan), where=s[:, 1] > 0) for s in subsets]
    return np.mean(means, axis=0)


def _rows(
    everything: Sequence[MetricVariant],
    values: np.ndarray,
    gaps: Mapping[tuple[str, str], float],
    step: Mapping[tuple[str, str], int],
    counted: np.ndarray,
) -> list[dict[str, Any]]:
    """Rows from the values of each checkpoint (keys of `gaps`, in order) and variant."""
    y = np.array(list(gaps.values()), dtype=np.float64)
    runs = np.array([model for model, _ in gaps], dtype=str)
    steps = np.array([step[key] for key in gaps])
    last = np.array([step == steps[runs == run].max() for run, step in zip(runs, steps)], dtype=bool)
    rows: list[dict[str, Any]] = []
    defaults: dict[tuple[str, str], dict[str, Any]] = {}
    for variant, x, n in zip(everything, values.T, counted.astype(int).tolist()):
        fit = linear_fit(x, y)
        row: dict[str, Any] = {"score": variant.score, "switch": variant.switch, "reading": variant.name}
        row |= {"default": variant.default, "value": float(nan_mean(x[last])), "r2": fit.r2}
        row |= {"n_checkpoints": fit.n, "n_runs": len(set(runs[np.isfinite(x) & np.isfinite(y)])), "n": n}
        if row["n_runs"] >= MIN_RUNS:
            row["q2"] = leave_one_run_out_q2(x, y, runs).q2
        if variant.default:
            defaults[variant.score, variant.switch] = row
        base = defaults[variant.score, variant.switch]
        rows.append(row | {"difference": row["value"] - base["value"], "r2_difference": row["r2"] - base["r2"]})
    return rows


def _sum(values: np.ndarray) -> tuple[float, float]:
    defined = values[~np.isnan(values)]
    return float(defined.sum()), float(len(defined))


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: sensitivity(
            [Path(path) for path in s.input.similarity],
            [Path(path) for path in s.input.alignment],
            [Path(path) for path in s.input.readings],
            Path(s.input.gap),
            Path(s.output.sensitivity),
            models=s.params.models,
        ),
    )
