"""similarity.h5 and alignment.h5: per sample and layer, never pre-averaged, each with its shuffled-pair null.

The measures are those of `measures.registry`, of levels `pair` and `shard` in one file and `token` in the other.

similarity.h5   `/{measure} (N, L+1)` and its null `/null/{measure}/{mean,sd,p}`, each (N, L+1); of measures with null
                `/draws/{measure}/{sum,count} (B, L+1)`; `/shard/{measure}` what exists for the shard as a whole, such
                as CKA (L+1, L+1), and its draws `/shard/{measure}_draws (B, L+1)`
alignment.h5    the same; ragged `/path/{metric}` and `/score/{metric}` (L+1, sum T_t) with `/offsets (N+1,)`;
                `/examples/{id}/{metric}` token matrices; `/words/{frame,first,last,centre} (sum T_t)` and
                `/position_bounds (sum (T_s + 1))`, where the tokens' words are spoken (measures.time_truth)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.artifacts import hdf5
from workflow_scripts.artifacts.files import ArtifactError

SIMILARITY = "similarity/3"
ALIGNMENT = "alignment/5"
DRAWS = "_draws"
READINGS = "readings/1"
"""Scores of a few questions under other positions or states, in the same layout, without null."""


@dataclass(frozen=True)
class Measured:
    """One measure with its null, all of shape (N, L+1), float32; NaN where undefined.

    Attributes:
        raw: the value on true pairs.
        null_mean, null_sd: over derangements, per sample and layer.
        p: share of derangements at least as good, (k + 1) / (B + 1).
    """

    raw: np.ndarray
    null_mean: np.ndarray
    null_sd: np.ndarray
    p: np.ndarray


def measured(found: Any) -> dict[str, Measured]:
    """Raw values with their nulls from a `measures.pair_null.PairMeasurements`; NaN for measures without null."""
    nothing = np.full(next(iter(found.raw.values())).shape, np.nan)
    nulls = (found.mean, found.sd, found.p)
    return {name: Measured(raw, *(part.get(name, nothing) for part in nulls)) for name, raw in found.raw.items()}


@dataclass(frozen=True)
class Measurements:
    """Contents of a similarity or alignment file.

    Attributes:
        ids: the N questions.
        measures: by name.
        T_s, T_t: positions per question, (N,).
        paths, scores: alignment only; by metric, one (L+1, T_t) array per question.
        examples: alignment only; id -> metric -> token matrix (L+1, T_s, T_t), float16.
        example_tokens: id -> text tokens of the example.
        attributes: provenance, null draws and seed, counts of undefined values.
        draws: measure -> sum over questions and number of defined values of each draw of the null, (B, L+1) each.
        shard: measure of the shard as a whole -> its values, (L+1,) or (L+1, L+1) with them on the diagonal, and draws.
        words: alignment only; `frame`, `first`, `last`, `centre` of measures.time_truth.TimedTokens, one (T_t,) array
            per question; empty if there are no word times.
        position_bounds: alignment only; seconds at which speech positions begin, and the last one ends, one (T_s + 1,)
            array per question; empty if there are no word times.
    """

    ids: list[str]
    measures: dict[str, Measured]
    T_s: np.ndarray
    T_t: np.ndarray
    attributes: Mapping[str, Any]
    draws: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    shard: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    paths: dict[str, list[np.ndarray]] = field(default_factory=dict)
    scores: dict[str, list[np.ndarray]] = field(default_factory=dict)
    examples: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    example_tokens: dict[str, list[str]] = field(default_factory=dict)
    words: dict[str, list[np.ndarray]] = field(default_factory=dict)
    position_bounds: list[np.ndarray] = field(default_factory=list)

    def row(self, name: str, T_s: int, T_t: int) -> int:
        """Place of a question whose queries have so many positions.

        Raises:
            ArtifactError: the file was made from other positions.
        """
        number = self.ids.index(name)
        if (found := (int(self.T_s[number]), int(self.T_t[number]))) != (T_s, T_t):
            raise ArtifactError(
                f"alignment of question {name!r} has (T_s, T_t) = {found}, its queries have {(T_s, T_t)}; it was made "
                "from other audio or with another tokenizer: delete it and run again"
            )
        return number


def check_alignment(path: Path, aligned: Measurements, ids: Sequence[str], facts: Mapping[str, Any]) -> None:
    """Check that an alignment file holds these questions, measured on this very checkpoint, with paths in their spans.

    Raises:
        ArtifactError: names what differs and the remedy.
    """
    for name in ("model", "checkpoint", "weights_sha256"):
        if (found := aligned.attributes.get(name)) != facts[name]:
            raise ArtifactError(f"{path}: {name} is {found!r}, expected {facts[name]!r}; delete it and run again")
    if missing := sorted(set(ids) - set(aligned.ids)):
        raise ArtifactError(
            f"{path}: no path of question(s) {missing[:5]}; it is older than them: delete it and run again"
        )
    for metric, paths in aligned.paths.items():
        for name, T_s, frames in zip(aligned.ids, aligned.T_s.tolist(), paths):
            if frames.size and not (int(frames.min()) >= 0 and int(frames.max()) < T_s):
                raise ArtifactError(
                    f"{path}: the {metric} path of question {name!r} has frames {int(frames.min())} .. "
                    f"{int(frames.max())}, but the question has {T_s}; delete it and run again"
                )


def write_measurements(path: Path, schema: str, content: Measurements) -> None:
    """Write a similarity or alignment file atomically."""
    packed = {"compression": "gzip", "compression_opts": 4, "shuffle": True}
    with hdf5.create(path, schema, content.attributes) as file:
        hdf5.write_ids(file, content.ids)
        file["T_s"], file["T_t"] = np.asarray(content.T_s), np.asarray(content.T_t)
        for name, measured in content.measures.items():
            file[name] = np.asarray(measured.raw, dtype=np.float32)
            for part in ("null_mean", "null_sd", "p"):
                file[f"null/{name}/{part.removeprefix('null_')}"] = np.asarray(getattr(measured, part), np.float32)
        for name, (total, count) in content.draws.items():
            file.create_dataset(f"draws/{name}/sum", data=np.asarray(total, dtype=np.float64), **packed)
            file.create_dataset(f"draws/{name}/count", data=np.asarray(count, dtype=np.int64), **packed)
        for name, (values, draws) in content.shard.items():
            file[f"shard/{name}"] = np.asarray(values, dtype=np.float32)
            file[f"shard/{name}{DRAWS}"] = np.asarray(draws, dtype=np.float32)
        if content.paths:
            file["offsets"] = hdf5.offsets_of([int(n) for n in content.T_t])
        for name, blocks in content.words.items():
            file.create_dataset(f"words/{name}", data=np.concatenate(blocks), **packed)
        if content.position_bounds:
            file["position_bounds"] = np.concatenate(content.position_bounds)
        for metric, blocks in content.paths.items():
            file.create_dataset(f"path/{metric}", data=np.concatenate(blocks, axis=1).astype(np.int32), **packed)
        for metric, blocks in content.scores.items():
            file.create_dataset(f"score/{metric}", data=np.concatenate(blocks, axis=1).astype(np.float32), **packed)
        for name, matrices in content.examples.items():
            for metric, matrix in matrices.items():
                file.create_dataset(f"examples/{name}/{metric}", data=matrix.astype(np.float16), **packed)
            file[f"examples/{name}"].attrs["tokens"] = content.example_tokens[name]


def _bounds(file: Any) -> list[np.ndarray]:
    if "position_bounds" not in file:
        return []
    return np.split(file["position_bounds"][:], np.cumsum(file["T_s"][:] + 1)[:-1])


def read_measurements(path: Path, schema: str) -> Measurements:
    """Read a similarity or alignment file."""
    with hdf5.open_checked(path, schema) as file:
        names = list(file["null"])
        measures = {
            name: Measured(file[name][:], *(file[f"null/{name}/{part}"][:] for part in ("mean", "sd", "p")))
            for name in names
        }
        offsets = file["offsets"][:] if "offsets" in file else None
        return Measurements(
            ids=hdf5.read_ids(file),
            measures=measures,
            T_s=file["T_s"][:],
            T_t=file["T_t"][:],
            attributes=dict(file.attrs),
            draws={
                name: (group["sum"][:], group["count"][:].astype(np.float64))
                for name, group in hdf5.group_of(file, "draws").items()
            },
            shard={
                name: (data[:], file[f"shard/{name}{DRAWS}"][:])
                for name, data in hdf5.group_of(file, "shard").items()
                if not name.endswith(DRAWS)
            },
            paths=_split(file, "path", offsets),
            scores=_split(file, "score", offsets),
            words=_split(file, "words", offsets),
            position_bounds=_bounds(file),
            examples={
                name: {metric: data[:] for metric, data in group.items()}
                for name, group in hdf5.group_of(file, "examples").items()
            },
            example_tokens={
                name: [str(token) for token in group.attrs["tokens"]]
                for name, group in hdf5.group_of(file, "examples").items()
            },
        )


def _split(file: Any, group: str, offsets: np.ndarray | None) -> dict[str, list[np.ndarray]]:
    if group not in file or offsets is None:
        return {}
    pairs: Sequence[tuple[int, int]] = list(zip(offsets[:-1].tolist(), offsets[1:].tolist()))
    whole = {metric: data[:] for metric, data in file[group].items()}
    return {metric: [data[..., a:b] for a, b in pairs] for metric, data in whole.items()}


def read_pair(similarity: Path, alignment: Path) -> tuple[Measurements, Measurements]:
    """Both files of one shard.

    Raises:
        ArtifactError: they are not of the same model, checkpoint, subset and questions in the same order; names both.
    """
    pair = read_measurements(similarity, SIMILARITY), read_measurements(alignment, ALIGNMENT)
    check_same_shard(alignment, pair[1], similarity, pair[0])
    if pair[0].ids != pair[1].ids:
        odd = sorted(set(pair[0].ids) ^ set(pair[1].ids))[:5]
        what = f"different questions, such as {odd}" if odd else "their questions in different orders"
        raise ArtifactError(f"{similarity} and {alignment} hold {what}; delete both and run again")
    return pair


def identity(content: Measurements) -> tuple[str, str, str]:
    """Model, checkpoint and subset that a file was measured on."""
    model, checkpoint, subset = (str(content.attributes[name]) for name in ("model", "checkpoint", "subset"))
    return model, checkpoint, subset


def check_same_shard(path: Path, content: Measurements, other_path: Path, other: Measurements) -> None:
    """Raise ArtifactError if two files are not of one model, checkpoint and subset."""
    if (own := identity(content)) != (expected := identity(other)):
        raise ArtifactError(
            f"{path} is of {'/'.join(own)}, {other_path} of {'/'.join(expected)}; delete both and run again"
        )
