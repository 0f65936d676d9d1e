"""All measurements of one model, checkpoint and subset: the shards of its similarity and alignment files, joined."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.artifacts.checkpoints import checkpoint_step
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.measurements import ALIGNMENT, SIMILARITY, Measured, Measurements, read_measurements
from workflow_scripts.artifacts.states import kept_layers
from workflow_scripts.measures.registry import of_level

ALL = "all"
"""Stands for the unweighted mean over subsets, as Overall does for scores."""
LEVELS = {SIMILARITY: "pair", ALIGNMENT: "token"}
"""The level of the measures that a kind of file holds for every question."""
Key = tuple[str, str, str]
"""model, checkpoint, subset"""
Draws = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Samples:
    """All samples of one (model, checkpoint, subset), sorted by id.

    Attributes:
        ids: the N questions.
        measures: by name; arrays (N, L+1), float64, NaN where undefined.
        layers: those of 0 .. L whose states were kept; all measures are undefined elsewhere.
        draws: by measure with a null; sum over samples and number of defined values of each draw, (B, L+1) each.
        shard: measure of a whole shard -> mean over shards of its values, (L+1,) or (L+1, L+1) with them on the
            diagonal, and of its draws (B, L+1).
    """

    ids: list[str]
    measures: dict[str, Measured]
    layers: list[int]
    draws: dict[str, Draws] = field(default_factory=dict)
    shard: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)


def read_all(similarity: Iterable[Path], alignment: Iterable[Path]) -> dict[Key, Samples]:
    """Samples of each (model, checkpoint, subset), sorted, from the files of all shards in any order.

    Raises:
        ArtifactError: the two kinds of files do not hold the same samples, a sample occurs twice, or an attribute or a
            measure is missing; names the file.
    """
    pooled, aligned = read_samples(similarity, SIMILARITY), read_samples(alignment, ALIGNMENT)
    if pooled.keys() != aligned.keys():
        odd = sorted(pooled.keys() ^ aligned.keys())[:3]
        raise ArtifactError(f"similarity and alignment files cover different (model, checkpoint, subset): {odd}")
    joined = {}
    for key in sorted(pooled):
        one, other = pooled[key], aligned[key]
        if one.ids != other.ids:
            odd = sorted(set(one.ids) ^ set(other.ids))[:5]
            raise ArtifactError(f"{'/'.join(key)}: similarity and alignment hold different questions, such as {odd}")
        joined[key] = Samples(
            one.ids, one.measures | other.measures, one.layers, one.draws | other.draws, one.shard | other.shard
        )
    return joined


def read_samples(paths: Iterable[Path], schema: str) -> dict[Key, Samples]:
    """Samples of each (model, checkpoint, subset) from files of one kind, whatever their order."""
    parts: dict[Key, list[tuple[Path, Measurements]]] = defaultdict(list)
    for path in paths:
        content = read_measurements(path, schema)
        if missing := [name for name in ("model", "checkpoint", "subset") if name not in content.attributes]:
            raise ArtifactError(f"{path}: attribute(s) {missing} missing; delete it and run again")
        if missing := [name for name in of_level(LEVELS[schema]) if name not in content.measures]:
            raise ArtifactError(f"{path}: measure(s) {missing} missing; delete it and run again")
        key = tuple(str(content.attributes[name]) for name in ("model", "checkpoint", "subset"))
        parts[key].append((path, content))
    return {key: _join(files) for key, files in parts.items()}


def key_columns(key: Key) -> dict[str, Any]:
    """The first columns of a row; `step` is missing for checkpoints that are no training step (`final`)."""
    model, checkpoint, subset = key
    return {"model": model, "checkpoint": checkpoint, "step": checkpoint_step(checkpoint), "subset": subset}


def _join(files: Sequence[tuple[Path, Measurements]]) -> Samples:
    """Concatenate shards and sort by id, so that sums do not depend on the order of files."""
    first = files[0][1]
    n_layers = next(iter(first.measures.values())).raw.shape[1] - 1
    layers = {tuple(kept_layers(content.attributes, n_layers)) for _, content in files}
    if len(layers) > 1:
        raise ArtifactError(
            f"{files[0][0]} and other shards of it hold different layers, {sorted(layers)}: delete the older ones and "
            "run again"
        )
    names = set(first.measures)
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

    def joined(name: str, part: str) -> np.ndarray:
        values = np.concatenate([getattr(content.measures[name], part) for _, content in files])
        return values.astype(np.float64)[order]

    parts = ("raw", "null_mean", "null_sd", "p")
    return Samples(
        [ids[index] for index in order],
        {name: Measured(*(joined(name, part) for part in parts)) for name in first.measures},
        list(layers.pop()),
        _added_draws([content.draws for _, content in files]),
        {name: _mean_of_shards([content.shard[name] for _, content in files]) for name in first.shard},
    )


def _added_draws(shards: Sequence[Mapping[str, Draws]]) -> dict[str, Draws]:
    """Sums and counts (B, L+1) added over shards; shards without null (a single question) are left out."""
    found: dict[str, Draws] = {}
    for name in dict.fromkeys(name for shard in shards for name in shard):
        parts = [shard[name] for shard in shards if name in shard]
        most = max(len(total) for total, _ in parts)
        parts = [part for part in parts if len(part[0]) == most]
        found[name] = sum(total for total, _ in parts), sum(count for _, count in parts)
    return found


def _mean_of_shards(shards: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Values and draws; a shard too small to have any must not take those of the others away."""
    shards = [one for one in shards if not np.isnan(one[0]).all()] or shards
    most = max(len(draws) for _, draws in shards)
    draws = np.mean([draws for _, draws in shards if len(draws) == most], axis=0)
    return np.mean([values for values, _ in shards], axis=0), draws
