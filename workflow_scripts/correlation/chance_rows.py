"""Rows of chance.csv and cka.csv: a checkpoint's means beside the null of the mean, and the best layer beside its own.

Ours. The null's draws are means over the same questions with exchanged texts, so that p says how often unrelated pairs
are as good on average. `best_layer` is chosen by the data; `best_p` repeats the choice in every draw: it pays for being
chosen. Subset `all`: mean over subsets, draw by draw.
"""

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from workflow_scripts.measures import best_layer_of_means, calibrate, p_value
from workflow_scripts.measures.shuffle_null import Kind

if TYPE_CHECKING:
    from workflow_scripts.correlation.build_alignment_table import Key, Samples

KINDS: dict[str, Kind] = {
    **dict.fromkeys(
        ("cosine", "cosine_common", "cosine_modality", "cosine_trimmed", "mutual_knn", "retrieval"), "cosine"
    ),
    **dict.fromkeys(("euclidean", "length_free_distance", "path_score_euclidean", "dtw_cost"), "distance"),
    **dict.fromkeys(("violations", "collisions", "monotone_loss"), "distance"),
    **dict.fromkeys(("path_score_cosine", "path_score_centred", "consistency", "monotone_score"), "cosine"),
    **dict.fromkeys(("monotonicity_cosine", "monotonicity_euclidean", "cka"), "cosine"),
}
"""Every measure with a null: higher is better (`cosine`) or lower (`distance`)."""

CHANCE_COLUMNS = (
    *("model", "checkpoint", "step", "subset", "measure", "n", "draws"),
    *("raw", "null", "null_sd", "calibrated", "p"),
    *("best_layer", "best_raw", "best_null", "best_p"),
)
CKA_COLUMNS = (
    "model",
    "checkpoint",
    "step",
    "subset",
    "speech_layer",
    "text_layer",
    "n",
    "cka",
    "null",
    "null_sd",
    "p",
)

Means = tuple[np.ndarray, np.ndarray, int]


def joined_draws(
    shards: Sequence[Mapping[str, tuple[np.ndarray, np.ndarray]]],
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Sums and counts (B, L+1) added over shards; shards without null (a single question) are left out."""
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for name in {name for shard in shards for name in shard}:
        parts = [shard[name] for shard in shards if name in shard]
        most = max(len(total) for total, _ in parts)
        parts = [part for part in parts if len(part[0]) == most]
        found[name] = sum(total for total, _ in parts), sum(count for _, count in parts)
    return found


def chance_rows(everything: "Mapping[Key, Samples]") -> list[dict[str, Any]]:
    """Rows by checkpoint, subset (`all` first) and measure; measures without draws are left out."""
    groups: dict[tuple[str, str], dict[str, dict[str, Means]]] = defaultdict(dict)
    for (model, checkpoint, subset), samples in everything.items():
        groups[model, checkpoint][subset] = _means(samples)
    rows = []
    for (model, checkpoint), subsets in groups.items():
        for measure, kind in KINDS.items():
            own = {name: means[measure] for name, means in subsets.items() if measure in means}
            if len(own) == len(subsets) and len({len(draws) for _, draws, _ in own.values()}) == 1:
                raw, draws, n = (list(part) for part in zip(*own.values()))
                own = {"all": (np.mean(raw, axis=0), np.mean(draws, axis=0), sum(n))} | own
            for subset, means in own.items():
                rows.append(_key(model, checkpoint, subset) | {"measure": measure} | _row(*means, kind))
    return rows


def _means(samples: "Samples") -> dict[str, Means]:
    """Measure -> means over samples (L+1,), of each draw (B, L+1), and n."""
    found: dict[str, Means] = {}
    for name in KINDS:
        if name in samples.draws and len(samples.draws[name][0]):
            total, count = samples.draws[name]
            draws = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
            raw = samples.measures[name].raw
            number = (~np.isnan(raw)).sum(axis=0)
            mean = np.divide(np.nansum(raw, axis=0), number, out=np.full(raw.shape[1], np.nan), where=number > 0)
            found[name] = mean, draws, len(raw)
    if samples.cka is not None and len(samples.cka[1]):
        found["cka"] = np.diagonal(samples.cka[0]), samples.cka[1], len(samples.ids)
    return found


def _row(raw: np.ndarray, draws: np.ndarray, n: int, kind: Kind) -> dict[str, Any]:
    """Mean over layers 1..L, and the best of them."""
    row: dict[str, Any] = {"n": n, "draws": len(draws)}
    if np.isnan(raw[1:]).all():
        return row
    value = float(np.nanmean(raw[1:]))
    defined = ~np.isnan(draws[:, 1:])
    null = np.divide(
        np.where(defined, draws[:, 1:], 0).sum(axis=1),
        defined.sum(axis=1),
        out=np.full(len(draws), np.nan),
        where=defined.any(axis=1),
    )
    known = null[~np.isnan(null)]
    if known.size:
        mean = float(known.mean())
        row |= {"null": mean, "calibrated": float(calibrate(value, mean, kind))}
        row["null_sd"] = float(known.std(ddof=1)) if known.size > 1 else float("nan")
    best = best_layer_of_means(raw, draws, kind)
    worst = np.where(np.isnan(draws[:, 1:]), -np.inf if kind == "cosine" else np.inf, draws[:, 1:])
    chosen = worst.max(axis=1) if kind == "cosine" else worst.min(axis=1)
    chosen = chosen[np.isfinite(chosen)]
    row |= {"raw": value, "p": float(p_value(value, null, kind))}
    row |= {"best_layer": best.layer, "best_raw": best.raw, "best_p": best.p}
    return row | {"best_null": float(chosen.mean()) if chosen.size else float("nan")}


def cka_rows(everything: "Mapping[Key, Samples]") -> list[dict[str, Any]]:
    """Every kept speech layer with every kept text layer, mean over subsets; the null on equal layers only.

    Subsets of fewer than four questions have no CKA: they are left out, and n counts the questions of the others.
    """
    groups: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for (model, checkpoint, _), samples in everything.items():
        if samples.cka is not None:
            groups[model, checkpoint].append(samples)
    rows = []
    for (model, checkpoint), subsets in groups.items():
        members = [one for one in subsets if not np.isnan(one.cka[0]).all()] or subsets
        matrix = np.mean([one.cka[0] for one in members], axis=0)
        most = max(len(one.cka[1]) for one in members)
        draws = np.mean([one.cka[1] for one in members if len(one.cka[1]) == most], axis=0)
        n = sum(len(one.ids) for one in members)
        layers = members[0].layers
        for speech, text in itertools.product(layers, layers):
            value = matrix[speech, text]
            row = _key(model, checkpoint, "all") | {"speech_layer": speech, "text_layer": text, "n": n}
            row["cka"] = float(value)
            if speech == text and most > 1 and not np.isnan(value):
                null = draws[:, speech]
                row |= {"null": float(null.mean()), "null_sd": float(null.std(ddof=1))}
                row["p"] = float(p_value(value, null, "cosine"))
            rows.append(row)
    return rows


def _key(model: str, checkpoint: str, subset: str) -> dict[str, Any]:
    step = int(checkpoint.removeprefix("step-")) if checkpoint.startswith("step-") else None
    return {"model": model, "checkpoint": checkpoint, "step": step, "subset": subset}
