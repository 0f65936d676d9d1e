"""responses.h5: how a checkpoint goes on after the spoken and the written question, per question and response position.

`/ids`, `/subsets (N,)`; `/{measure}/{prefix} (N, K)` in nats, NaN behind the end of a prefix or where there is none;
`/lens/{layers, recall, control}`, where the logit lens was applied, (n, layers) for the questions looked at;
`/words`, of the same questions, `{own, next}_{recall, log_rank} (n, n, layers, offsets)`, row = speech, column = words,
NaN between subsets; `{own, next}_words (n, offsets)`; `layers`, `offsets` in seconds, `positions (n,)`, `subsets (n,)`,
`reasons (n,)` why one is left out;
`/similarity (N, L+1)` of the answer's token states and `/similarity_null (N, L+1)` with another question's answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.artifacts import hdf5

SCHEMA = "responses/1"


@dataclass(frozen=True)
class Responses:
    """Contents of the file; `divergence` maps (measure, prefix) to (N, K)."""

    ids: list[str]
    subsets: list[str]
    divergence: dict[tuple[str, str], np.ndarray]
    similarity: np.ndarray
    similarity_null: np.ndarray
    attributes: Mapping[str, Any]
    lens: dict[str, np.ndarray] = field(default_factory=dict)
    words: dict[str, np.ndarray] = field(default_factory=dict)


def write_responses(path: Path, content: Responses) -> None:
    """Write atomically."""
    with hdf5.create(path, SCHEMA, content.attributes) as file:
        hdf5.write_ids(file, content.ids)
        file["subsets"] = np.array([name.encode() for name in content.subsets], dtype="S80")
        for (measure, prefix), values in content.divergence.items():
            file[f"divergence/{measure}/{prefix}"] = np.asarray(values, dtype=np.float32)
        for group, found in (("lens", content.lens), ("words", content.words)):
            for name, values in found.items():
                file[f"{group}/{name}"] = np.asarray(values)
        file["similarity"] = np.asarray(content.similarity, dtype=np.float32)
        file["similarity_null"] = np.asarray(content.similarity_null, dtype=np.float32)


def read_responses(path: Path) -> Responses:
    """Read and check the schema."""
    with hdf5.open_checked(path, SCHEMA) as file:
        return Responses(
            ids=hdf5.read_ids(file),
            subsets=[name.decode() for name in file["subsets"][:]],
            divergence={
                (measure, prefix): data[:]
                for measure, group in file["divergence"].items()
                for prefix, data in group.items()
            },
            similarity=file["similarity"][:],
            similarity_null=file["similarity_null"][:],
            attributes=dict(file.attrs),
            **{
                group: {name: data[:] for name, data in hdf5.group_of(file, group).items()}
                for group in ("lens", "words")
            },
        )
