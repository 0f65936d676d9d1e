"""Every measure of hidden states by layer and by checkpoint, averaged as in the paper, each beside its chance level.

Paper (section 5; averaging order as read in its section 9.1): a checkpoint's Sim and APS are means over layers 1..L per
sample, then over samples. Layer 0 (embeddings) is in layers.csv only. Where `activations.layers` keeps fewer, all means
are over those. Subset `all` is the unweighted mean over subsets of the same column, as Overall is; its n is the sum.
Undefined values (Spearman of a constant path or of fewer than four tokens, CKA of fewer than four questions) are left
out of means, and n counts the questions with a defined value.

`calibrated` (`measures.shuffle_null`): 0 at chance and 1 perfect, for distances 1 at chance and 0 perfect, from the
averaged value and null. checkpoints.csv has the p of the mean over questions, from as many draws of exchanged texts,
and the best layer with a `best_p` that repeats the choice in every draw: it pays for being chosen. For `all`, draws are
averaged over subsets one by one. `tau`, `above_tau` and `best_above_tau` are the critical value and the calibrated
score of Groeger et al. (2026) from the same draws, which share one permutation over all layers, as theirs do. cka.csv
has the CKA of every speech layer with every text layer.
"""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workflow_scripts.artifacts.tables import TABLES, typed, write_table
from workflow_scripts.correlation.samples import ALL, Key, Samples, key_columns, read_all
from workflow_scripts.measures.reading import averaged_layers, mean_over_layers, nan_mean
from workflow_scripts.measures.registry import MEASURES, Measure
from workflow_scripts.measures.shuffle_null import best_layer, calibrate, critical_value, p_value

logger = logging.getLogger(__name__)

Means = tuple[np.ndarray, np.ndarray]
"""Means over samples by layer, (L+1,), and those of each draw, (B, L+1)."""


def build_alignment_table(
    similarity: Sequence[Path], alignment: Sequence[Path], layers: Path, checkpoints: Path, cka: Path
) -> None:
    """Write layers.csv, checkpoints.csv and cka.csv.

    Args:
        similarity, alignment: measurement files of all shards, in any order; model, checkpoint and subset are taken
            from their attributes.

    Raises:
        ArtifactError: see `samples.read_all`.
    """
    everything = read_all(similarity, alignment)
    found = alignment_tables(everything)
    for name, path in (("layers", layers), ("checkpoints", checkpoints), ("cka", cka)):
        write_table(path, found[name], name)
    logger.info("%d measures of %d models, checkpoints and subsets", len(MEASURES), len(everything))


def alignment_tables(everything: Mapping[Key, Samples]) -> dict[str, pd.DataFrame]:
    """The tables layers, checkpoints and cka."""
    by_layer = pd.concat([layer_means(key, samples) for key, samples in everything.items()], ignore_index=True)
    means = pd.concat([checkpoint_means(key, samples) for key, samples in everything.items()], ignore_index=True)
    keys = ["model", "checkpoint", "subset", "measure"]
    chance = pd.DataFrame(chance_rows(everything), columns=[*keys, *CHANCE])
    return {
        "layers": with_all(by_layer, ["layer", "measure"]),
        "checkpoints": with_all(means, ["measure"]).merge(chance, on=keys, how="left"),
        "cka": typed(pd.DataFrame(cka_rows(everything)), TABLES["cka"]),
    }


def layer_means(key: Key, samples: Samples) -> pd.DataFrame:
    """Rows of layers.csv of one subset: one per measure and kept layer of 0..L, means over samples.

    `null_sd` is the spread of one mismatched pair: the root mean square over samples of the null's SD; of measures of a
    whole shard, the SD of the draws.
    """
    frames = []
    for name, measure, raw, null, null_sd, n in _by_layer(samples):
        columns = {"value": raw, "null": null, "null_sd": null_sd, "n": n}
        columns["calibrated"] = _calibrated(raw, null, measure)
        frames.append(
            pd.DataFrame(
                key_columns(key)
                | {"layer": samples.layers, "measure": name}
                | {column: values[samples.layers] for column, values in columns.items()}
            )
        )
    return pd.concat(frames, ignore_index=True)


def checkpoint_means(key: Key, samples: Samples) -> pd.DataFrame:
    """Rows of checkpoints.csv of one subset, but for chance: layers 1..L averaged per sample, then samples."""
    rows = []
    for name, measure in MEASURES.items():
        if name in samples.measures:
            measured = samples.measures[name]
            raw, null = (mean_over_layers(part, axis=1) for part in (measured.raw, measured.null_mean))
            value, null, n = float(nan_mean(raw)), float(nan_mean(null)), int((~np.isnan(raw)).sum())
        elif name in samples.shard:
            values, draws = samples.shard[name]
            averaged = averaged_layers(draws.shape[1])
            value, null = float(mean_over_layers(_diagonal(values))), float(nan_mean(draws[:, averaged], axis=None))
            n = len(samples.ids)
        else:
            continue
        rows.append(
            {"measure": name, "value": value, "null": null, "n": n, "calibrated": _calibrated(value, null, measure)}
        )
    return pd.DataFrame(rows).assign(**key_columns(key))


CHANCE = ("null_sd", "p", "tau", "above_tau", "draws")
CHANCE += ("best_layer", "best_value", "best_null", "best_p", "best_above_tau")
"""Columns of checkpoints.csv that come from the draws of the mean over questions."""


def chance_rows(everything: Mapping[Key, Samples]) -> list[dict[str, Any]]:
    """The columns CHANCE by checkpoint, subset (`all` among them) and measure; measures without draws are left out."""
    groups: dict[tuple[str, str], dict[str, dict[str, Means]]] = defaultdict(dict)
    for (model, checkpoint, subset), samples in everything.items():
        groups[model, checkpoint][subset] = draws_by_layer(samples)
    rows = []
    for (model, checkpoint), subsets in groups.items():
        for name, measure in MEASURES.items():
            own = {subset: means[name] for subset, means in subsets.items() if name in means}
            if own and len(own) == len(subsets) and len({len(draws) for _, draws in own.values()}) == 1:
                own[ALL] = tuple(np.mean(part, axis=0) for part in zip(*own.values()))
            for subset, (raw, draws) in own.items():
                key = {"model": model, "checkpoint": checkpoint, "subset": subset, "measure": name}
                rows.append(key | _chance(raw, draws, bool(measure.higher_is_better)))
    return rows


def cka_rows(everything: Mapping[Key, Samples]) -> list[dict[str, Any]]:
    """Every kept speech layer with every kept text layer, mean over subsets; the null on equal layers only.

    Subsets of fewer than four questions have no CKA: they are left out, and n counts the questions of the others.
    """
    groups: dict[tuple[str, str], list[Samples]] = defaultdict(list)
    for (model, checkpoint, _), samples in everything.items():
        if "cka" in samples.shard:
            groups[model, checkpoint].append(samples)
    rows = []
    for (model, checkpoint), subsets in groups.items():
        members = [one for one in subsets if not np.isnan(one.shard["cka"][0]).all()] or subsets
        matrix = np.mean([one.shard["cka"][0] for one in members], axis=0)
        most = max(len(one.shard["cka"][1]) for one in members)
        draws = np.mean([one.shard["cka"][1] for one in members if len(one.shard["cka"][1]) == most], axis=0)
        n = sum(len(one.ids) for one in members)
        for speech in members[0].layers:
            for text in members[0].layers:
                value = float(matrix[speech, text])
                row = key_columns((model, checkpoint, ALL)) | {"speech_layer": speech, "text_layer": text, "n": n}
                row["cka"] = value
                if speech == text and most > 1 and not np.isnan(value):
                    null = draws[:, speech]
                    row |= {"null": float(null.mean()), "null_sd": float(null.std(ddof=1))}
                    row["p"] = float(p_value(value, null, True))
                rows.append(row)
    return rows


def with_all(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Rows by subset with those of subset `all`, one for each checkpoint and value of `columns`; sorted, `all` first.

    Means of `all` weigh every subset the same and leave out subsets where the column is undefined; n is added up.
    """
    key = ["model", "checkpoint", "step", *columns]
    groups = frame.drop(columns="subset").groupby(key, sort=False, dropna=False)
    joined = groups.mean().assign(n=groups["n"].sum(), subset=ALL).reset_index()
    both = pd.concat([joined, frame], ignore_index=True)
    order = {name: number for number, name in enumerate(MEASURES)}
    both = both.assign(place=both["measure"].map(order), rest=both["subset"] != ALL)
    by = ["model", "checkpoint", "rest", "subset", *(name for name in columns if name != "measure"), "place"]
    return both.sort_values(by, kind="stable").drop(columns=["place", "rest"]).reset_index(drop=True)


def _by_layer(samples: Samples) -> Any:
    """Name, measure, and by layer, (L+1,) each: mean over samples, its null, the null's SD, questions that count."""
    for name, measure in MEASURES.items():
        if name in samples.measures:
            one = samples.measures[name]
            null_sd = np.sqrt(nan_mean(one.null_sd**2))
            yield name, measure, nan_mean(one.raw), nan_mean(one.null_mean), null_sd, (~np.isnan(one.raw)).sum(axis=0)
        elif name in samples.shard:
            values, draws = samples.shard[name]
            raw = _diagonal(values)
            spread = draws.std(axis=0, ddof=1) if len(draws) > 1 else np.full(len(raw), np.nan)
            yield name, measure, raw, nan_mean(draws), spread, np.where(np.isnan(raw), 0, len(samples.ids))


def draws_by_layer(samples: Samples) -> dict[str, Means]:
    """Measure with draws -> its means over samples by layer, (L+1,), and those of each draw, (B, L+1)."""
    found: dict[str, Means] = {}
    for name, (total, count) in samples.draws.items():
        if len(total):
            draws = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
            found[name] = nan_mean(samples.measures[name].raw), draws
    return found | {name: (_diagonal(values), draws) for name, (values, draws) in samples.shard.items() if len(draws)}


def _chance(raw: np.ndarray, draws: np.ndarray, higher_is_better: bool) -> dict[str, Any]:
    """The columns CHANCE of one measure: of its mean over layers 1..L, and of the best of them."""
    row: dict[str, Any] = {"draws": len(draws)}
    value = float(mean_over_layers(raw))
    if np.isnan(value):
        return row
    null = mean_over_layers(draws, axis=1)
    known = null[~np.isnan(null)]
    best = best_layer(raw, draws, higher_is_better)
    tau, above_tau = critical_value(value, null, higher_is_better)
    row |= {"p": float(p_value(value, null, higher_is_better)), "tau": tau, "above_tau": above_tau}
    row |= {"null_sd": float(known.std(ddof=1)) if known.size > 1 else float("nan")}
    return row | {
        "best_layer": best.layer,
        "best_value": best.raw,
        "best_null": best.null,
        "best_p": best.p,
        "best_above_tau": best.above_tau,
    }


def _calibrated(raw: Any, null: Any, measure: Measure) -> Any:
    if not measure.has_null:
        return np.full(np.shape(raw), np.nan)[()]
    return calibrate(raw, null, bool(measure.higher_is_better))[()]


def _diagonal(values: np.ndarray) -> np.ndarray:
    return values if values.ndim == 1 else np.diagonal(values)


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: build_alignment_table(
            [Path(path) for path in s.input.similarity],
            [Path(path) for path in s.input.alignment],
            *(Path(s.output[name]) for name in ("layers", "checkpoints", "cka")),
        ),
    )
