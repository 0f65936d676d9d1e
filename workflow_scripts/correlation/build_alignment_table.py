"""Similarity and alignment by layer and by checkpoint, averaged as in the paper, each beside its chance level.

Paper (section 5; averaging order as read in its section 9.1): a checkpoint's Sim and APS are means over layers 1..L per
sample, then over samples. Layer 0 (embeddings) is in layers.csv only. Where `activations.layers` keeps fewer, all means
are over those. Subset `all` is the unweighted mean over subsets of the same column, as Overall is; its n is the sum.

chance.csv (ours) has the same values beside the null of the mean over questions, its p, and the best layer with a p
that repeats the choice in every draw; cka.csv the debiased CKA of every speech layer with every text layer.

Calibrated (ours): (raw - null) / (1 - null) for similarities, raw / null for distances, on the averaged values. Perfect
agreement is 1 (0 for distances), chance is 0 (1 for distances). Undefined values (Spearman of a constant path or of
fewer than four tokens) are left out of means and counted in `monotonicity_n` and `monotonicity_skipped`. Shards and
subsets of fewer than four questions have no CKA and are left out of its means; if nothing is left, the cell is empty.

Errors of the paths in time (`measures.time_truth`) stand beside two paths that need no model, uniform and proportional.
`timed_share` is the share of text tokens that belong to a timed word, `timed_n` the questions that have one.
"""

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.measurements import ALIGNMENT, SIMILARITY, Measured, read_measurements
from workflow_scripts.artifacts.states import kept_layers
from workflow_scripts.artifacts.tables import write_table
from workflow_scripts.correlation.chance_rows import CHANCE_COLUMNS, CKA_COLUMNS, chance_rows, cka_rows, joined_draws

logger = logging.getLogger(__name__)

ALL = "all"
METRICS = ("cosine", "euclidean")
DISTANCES = frozenset({"euclidean"})

TIME = ("time_error_ms", "time_error_median_ms", "hit_rate")
TIMED = (*(f"{name}_{of}" for name in TIME for of in (*METRICS, "uniform", "proportional")), "timed_share")
"""Errors in time of the path of each metric and of two paths that need no model; columns and measures have one name."""

KEY_COLUMNS = ("model", "checkpoint", "step", "subset")
LAYER_COLUMNS = (
    *KEY_COLUMNS,
    "layer",
    "metric",
    "n",
    "similarity",
    "similarity_null",
    "similarity_null_sd",
    "similarity_calibrated",
    "path_score",
    "path_score_null",
    "path_score_calibrated",
    "monotonicity",
    "monotonicity_null",
    "monotonicity_n",
    "consistency",
    "consistency_null",
    "norm_ratio",
    "similarity_centred",
    "similarity_centred_null",
    "length_free",
    "length_free_null",
    *(f"{name}{of}" for name in TIME for of in ("", "_uniform", "_proportional")),
)
FURTHER = {
    "sim_cosine_common": "cosine_common",
    "sim_cosine_centred": "cosine_modality",
    "sim_cosine_trimmed": "cosine_trimmed",
    "sim_length_free": "length_free_distance",
    "aps_cosine_centred": "path_score_centred",
    **{name: name for name in ("mutual_knn", "retrieval", "violations", "collisions")},
    **{name: name for name in ("monotone_score", "monotone_loss", "dtw_cost")},
}
"""Further columns of checkpoints.csv, each with its null: column -> measure."""
CHECKPOINT_COLUMNS = (
    *KEY_COLUMNS,
    "n",
    *(
        f"{name}_{metric}{part}"
        for name in ("sim", "aps")
        for part in ("", "_null", "_calibrated")
        for metric in METRICS
    ),
    *(f"monotonicity_{metric}{part}" for part in ("", "_null") for metric in METRICS),
    "monotonicity_skipped",
    "consistency",
    "consistency_null",
    *(f"{name}{part}" for name in FURTHER for part in ("", "_null")),
    "cka",
    "cka_null",
    "log_norm_ratio",
    *TIMED,
    "timed_n",
)
MEASURES = {
    SIMILARITY: (
        *(*METRICS, "log_norm_ratio", "length_free_distance", "cosine_common", "cosine_modality", "cosine_trimmed"),
        *("mutual_knn", "retrieval"),
    ),
    ALIGNMENT: (
        *(f"{name}_{metric}" for name in ("path_score", "monotonicity") for metric in METRICS),
        *("consistency", "path_score_centred", "violations", "collisions"),
        *("monotone_score", "monotone_loss", "dtw_cost"),
        *TIMED,
    ),
}
"""What each kind of file must hold."""

COUNTS = frozenset({"n", "monotonicity_n", "monotonicity_skipped", "timed_n"})
"""Columns that are added up over subsets; all others are averaged."""

Key = tuple[str, str, str]


@dataclass(frozen=True)
class Samples:
    """All samples of one (model, checkpoint, subset), shards joined, sorted by id.

    Attributes:
        ids: the N questions.
        measures: by name; arrays (N, L+1), float64, NaN where undefined.
        draws: by measure with a null; sum over samples and number of defined values of each draw, (B, L+1) each.
        layers: those of 0 .. L whose states were kept; all measures are undefined elsewhere.
        cka: (L+1, L+1), mean over shards, and its draws on equal layers (B, L+1); None without.
    """

    ids: list[str]
    measures: dict[str, Measured]
    layers: list[int]
    draws: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    cka: tuple[np.ndarray, np.ndarray] | None = None


def build_alignment_table(
    similarity: Sequence[Path], alignment: Sequence[Path], layers: Path, checkpoints: Path, chance: Path, cka: Path
) -> None:
    """Write layers.csv, checkpoints.csv, chance.csv and cka.csv.

    Args:
        similarity, alignment: measurement files of all shards, in any order; model, checkpoint and subset are taken
            from their attributes.

    Raises:
        ArtifactError: the two kinds of files do not hold the same samples, a sample occurs twice, or an attribute or a
            measure is missing; names the file.
    """
    pooled, aligned = read_samples(similarity, SIMILARITY), read_samples(alignment, ALIGNMENT)
    if pooled.keys() != aligned.keys():
        odd = sorted(pooled.keys() ^ aligned.keys())[:3]
        raise ArtifactError(f"similarity and alignment files cover different (model, checkpoint, subset): {odd}")
    layer_rows, checkpoint_rows = [], []
    everything: dict[Key, Samples] = {}
    for key in sorted(pooled):
        if pooled[key].ids != aligned[key].ids:
            odd = sorted(set(pooled[key].ids) ^ set(aligned[key].ids))[:5]
            raise ArtifactError(f"{'/'.join(key)}: similarity and alignment hold different questions, such as {odd}")
        joined = Samples(
            pooled[key].ids,
            pooled[key].measures | aligned[key].measures,
            pooled[key].layers,
            pooled[key].draws | aligned[key].draws,
            pooled[key].cka,
        )
        everything[key] = joined
        layer_rows += layer_means(key, joined)
        checkpoint_rows.append(checkpoint_means(key, joined))
    write_table(layers, with_all(layer_rows, ("model", "checkpoint", "step", "layer", "metric")), LAYER_COLUMNS)
    write_table(checkpoints, with_all(checkpoint_rows, ("model", "checkpoint", "step")), CHECKPOINT_COLUMNS)
    write_table(chance, chance_rows(everything), CHANCE_COLUMNS)
    write_table(cka, cka_rows(everything), CKA_COLUMNS)
    skipped = sum(row["monotonicity_skipped"] for row in checkpoint_rows)
    logger.info("%d checkpoint rows; %d undefined Spearman coefficients left out", len(checkpoint_rows), skipped)


def read_samples(paths: Iterable[Path], schema: str) -> dict[Key, Samples]:
    """Samples of each (model, checkpoint, subset), whatever the order of the files."""
    parts: dict[Key, list[tuple[Path, Any]]] = defaultdict(list)
    for path in paths:
        content = read_measurements(path, schema)
        if missing := [name for name in ("model", "checkpoint", "subset") if name not in content.attributes]:
            raise ArtifactError(f"{path}: attribute(s) {missing} missing; delete it and run again")
        if missing := [name for name in MEASURES[schema] if name not in content.measures]:
            raise ArtifactError(f"{path}: measure(s) {missing} missing; delete it and run again")
        key = tuple(str(content.attributes[name]) for name in ("model", "checkpoint", "subset"))
        parts[key].append((path, content))
    return {key: _join(files) for key, files in parts.items()}


def layer_means(key: Key, samples: Samples) -> list[dict[str, Any]]:
    """Rows of layers.csv of one subset: one per kept layer of 0..L and metric, means over samples.

    `similarity_null_sd` is the root mean square over samples of the null's SD: the spread of one mismatched pair.
    """
    rows = []
    consistency, norm_ratio = samples.measures["consistency"], samples.measures["log_norm_ratio"]
    for metric in METRICS:
        raw, path = samples.measures[metric], samples.measures[f"path_score_{metric}"]
        order = samples.measures[f"monotonicity_{metric}"]
        for layer in samples.layers:
            row = key_columns(key) | {"layer": layer, "metric": metric, "n": len(samples.ids)}
            for name, measured in (("similarity", raw), ("path_score", path)):
                value, null = mean(measured.raw[:, layer]), mean(measured.null_mean[:, layer])
                row |= {name: value, f"{name}_null": null, f"{name}_calibrated": calibrated(value, null, metric)}
            row["similarity_null_sd"] = float(np.sqrt(mean(raw.null_sd[:, layer] ** 2)))
            row["monotonicity"] = mean(order.raw[:, layer])
            row["monotonicity_null"] = mean(order.null_mean[:, layer])
            row["monotonicity_n"] = int(np.isfinite(order.raw[:, layer]).sum())
            row["consistency"] = mean(consistency.raw[:, layer])
            row["consistency_null"] = mean(consistency.null_mean[:, layer])
            row["norm_ratio"] = mean(norm_ratio.raw[:, layer])
            for name in TIME:
                for of, column in ((metric, name), *((of, f"{name}_{of}") for of in ("uniform", "proportional"))):
                    row[column] = mean(samples.measures[f"{name}_{of}"].raw[:, layer])
            if metric == "cosine":
                for name, measure in (
                    ("similarity_centred", "cosine_modality"),
                    ("length_free", "length_free_distance"),
                ):
                    row[name] = mean(samples.measures[measure].raw[:, layer])
                    row[f"{name}_null"] = mean(samples.measures[measure].null_mean[:, layer])
            rows.append(row)
    return rows


def checkpoint_means(key: Key, samples: Samples) -> dict[str, Any]:
    """The row of checkpoints.csv of one subset: layers 1..L averaged per sample, then samples.

    `monotonicity_skipped` counts (sample, layer, metric) triples, layers kept of 1..L, whose Spearman coefficient is
    undefined.
    """
    row = key_columns(key) | {"n": len(samples.ids), "monotonicity_skipped": 0}
    for metric in METRICS:
        for name, measure in (("sim", metric), ("aps", f"path_score_{metric}")):
            value, null = _sample_mean(samples, measure, "raw"), _sample_mean(samples, measure, "null_mean")
            row |= {f"{name}_{metric}": value, f"{name}_{metric}_null": null}
            row[f"{name}_{metric}_calibrated"] = calibrated(value, null, metric)
        measure = f"monotonicity_{metric}"
        row[measure] = _sample_mean(samples, measure, "raw")
        row[f"{measure}_null"] = _sample_mean(samples, measure, "null_mean")
        averaged = [layer for layer in samples.layers if layer > 0]
        row["monotonicity_skipped"] += int(np.isnan(samples.measures[measure].raw[:, averaged]).sum())
    for name, measure in {"consistency": "consistency", **FURTHER}.items():
        row[name] = _sample_mean(samples, measure, "raw")
        row[f"{name}_null"] = _sample_mean(samples, measure, "null_mean")
    row["log_norm_ratio"] = _sample_mean(samples, "log_norm_ratio", "raw")
    row |= {name: _sample_mean(samples, name, "raw") for name in TIMED}
    row["timed_n"] = int((samples.measures["timed_share"].raw > 0).any(axis=1).sum())
    if samples.cka is not None:
        matrix, draws = samples.cka
        row["cka"], row["cka_null"] = mean(np.diagonal(matrix)[1:]), mean(draws[:, 1:].ravel())
    return row


def calibrated(raw: float, null: float, metric: str) -> float:
    """`raw` on a scale with fixed points for chance and agreement (module docstring); NaN if the null leaves none."""
    if metric in DISTANCES:
        return raw / null if null > 0 else float("nan")
    return (raw - null) / (1 - null) if null < 1 else float("nan")


def mean(values: np.ndarray) -> float:
    """Mean of the defined values; NaN if there is none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def with_all(rows: Sequence[Mapping[str, Any]], key: Sequence[str]) -> list[dict[str, Any]]:
    """Rows by subset, each group of equal `key` preceded by its row of subset `all`.

    Means of `all` weigh every subset the same and leave out subsets where the column is undefined; counts are added up.
    """
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[name] for name in key)].append(row)
    result: list[dict[str, Any]] = []
    for members in groups.values():
        joined: dict[str, Any] = {name: members[0][name] for name in key} | {"subset": ALL}
        for name in members[0].keys() - joined.keys():
            values = [member.get(name, float("nan")) for member in members]
            joined[name] = sum(values) if name in COUNTS else mean(np.array(values, dtype=np.float64))
        result += [joined, *(dict(member) for member in members)]
    return result


def key_columns(key: Key) -> dict[str, Any]:
    """The first columns of a row; `step` is empty for checkpoints that are no training step (`final`)."""
    model, checkpoint, subset = key
    found = re.fullmatch(r"step-(\d+)", checkpoint)
    return {
        "model": model,
        "checkpoint": checkpoint,
        "step": int(found[1]) if found else None,
        "subset": subset,
    }


def _join(files: Sequence[tuple[Path, Any]]) -> Samples:
    """Concatenate shards and sort by id, so that sums do not depend on the order of files."""
    n_layers = next(iter(files[0][1].measures.values())).raw.shape[1] - 1
    layers = {tuple(kept_layers(content.attributes, n_layers)) for _, content in files}
    if len(layers) > 1:
        raise ArtifactError(
            f"{files[0][0]} and other shards of it hold different layers, {sorted(layers)}: delete the older ones and "
            "run again"
        )
    names = set(files[0][1].measures)
    seen: dict[str, Path] = {}
    for path, content in files:
        if set(content.measures) != names:
            raise ArtifactError(f"{path}: measures {sorted(set(content.measures) ^ names)} are not in every shard")
        for name in content.ids:
            if name in seen:
                raise ArtifactError(f"{path}: question {name!r} is also in {seen[name]}; shards must not overlap")
            seen[name] = path
    ids = [name for _, content in files for name in content.ids]
    order = sorted(range(len(ids)), key=ids.__getitem__)
    parts = ("raw", "null_mean", "null_sd", "p")
    measures = {
        name: Measured(
            *(
                np.concatenate([getattr(content.measures[name], part) for _, content in files]).astype(np.float64)[
                    order
                ]
                for part in parts
            )
        )
        for name in names
    }
    matrices = [(one.shard["cka"], one.shard["cka_draws"]) for _, one in files if "cka" in one.shard]
    # A shard of fewer than four questions has no CKA; it must not take that of the others away.
    matrices = [pair for pair in matrices if not np.isnan(pair[0]).all()] or matrices
    return Samples(
        [ids[index] for index in order],
        measures,
        list(layers.pop()),
        joined_draws([content.draws for _, content in files]),
        None if not matrices else (np.mean([one for one, _ in matrices], axis=0), _mean_draws(matrices)),
    )


def _mean_draws(matrices: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Draw by draw over shards; shards with another number of draws (a single question has none) are left out."""
    most = max(len(draws) for _, draws in matrices)
    return np.mean([draws for _, draws in matrices if len(draws) == most], axis=0)


def _sample_mean(samples: Samples, measure: str, part: str) -> float:
    values = getattr(samples.measures[measure], part)[:, 1:]
    return mean(np.array([mean(row) for row in values]))


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: build_alignment_table(
            [Path(path) for path in s.input.similarity],
            [Path(path) for path in s.input.alignment],
            *(Path(s.output[name]) for name in ("layers", "checkpoints", "chance", "cka")),
        ),
    )
