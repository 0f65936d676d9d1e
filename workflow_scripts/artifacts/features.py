"""features.h5: encoder output of spoken questions, computed once and read by training, evaluation and activations.

`/ids (N,)`, `/offsets (N+1,)`, `/seconds (N,)`, `/features (sum frames, d_enc)` bfloat16 as uint16. For some questions
also `/padding/{n} (frames, d_enc)`: the encoder's frames behind the audio of question n, up to the end of its window.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.artifacts import hdf5
from workflow_scripts.artifacts.files import ArtifactError

SCHEMA = "features/1"
NAMES = (".features.h5", ".silence.h5")
"""What follows the encoder's name in the names of files."""


def write_features(
    path: Path,
    ids: Sequence[str],
    seconds: Sequence[float],
    lengths: Sequence[int],
    width: int,
    blocks: Iterable[tuple[int, np.ndarray]],
    attributes: Mapping[str, Any],
    padding: Iterable[tuple[int, np.ndarray]] = (),
) -> None:
    """Write features as they arrive.

    Args:
        lengths: frames of each id, known before encoding.
        width: d_enc.
        blocks: pairs (index into ids, float32 (frames, d_enc)), in any order; each index exactly once.
        attributes: provenance.
        padding: pairs (index into ids, float32 (frames, d_enc)) of the frames behind the audio, of any of the ids.

    Raises:
        ValueError: a block or padding has another shape than announced or is not finite; names the id.
    """
    offsets = hdf5.offsets_of(lengths)
    with hdf5.create(path, SCHEMA, attributes) as file:
        hdf5.write_ids(file, ids)
        file["offsets"] = offsets
        file["seconds"] = np.asarray(seconds, dtype=np.float64)
        rows = max(1, hdf5.CHUNK_BYTES // (2 * width))
        total = int(offsets[-1])
        data = file.create_dataset("features", (total, width), np.uint16, chunks=(min(rows, max(total, 1)), width))
        data.attrs["dtype"] = "bfloat16"
        for index, block in blocks:
            if block.shape != (lengths[index], width):
                raise ValueError(f"features of {ids[index]!r}: {block.shape}, announced {(lengths[index], width)}")
            if not np.isfinite(block).all():
                raise ValueError(f"features of {ids[index]!r} are not finite; check its audio")
            data[offsets[index] : offsets[index + 1]] = hdf5.float32_to_bfloat16(block)
            file.check()
        for index, block in padding:
            if block.ndim != 2 or block.shape[1] != width or not np.isfinite(block).all():
                raise ValueError(f"padding of {ids[index]!r}: {block.shape}, expected finite frames of width {width}")
            file[f"padding/{index}"] = hdf5.float32_to_bfloat16(block)
            file.check()


class FeatureReader:
    """Random access to the features of a file, read when asked for: memory does not grow with the file.

    Raises:
        ArtifactError: damaged, or of another encoder than its name says.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        with hdf5.open_checked(path, SCHEMA) as file:
            self._check_encoder(file.attrs.get("encoder"))
            self.ids = hdf5.read_ids(file)
            self._offsets = file["offsets"][:]
            self.seconds = dict(zip(self.ids, file["seconds"][:].tolist()))
            self.width: int = file["features"].shape[1]
            """d_enc."""
            self._padded = {self.ids[int(number)]: f"padding/{number}" for number in hdf5.group_of(file, "padding")}
        self._file = hdf5.reopened(path)
        self._index = {name: number for number, name in enumerate(self.ids)}

    def _check_encoder(self, encoder: str | None) -> None:
        for ending in NAMES:
            named = self.path.name.removesuffix(ending)
            if encoder is not None and named not in (self.path.name, encoder):
                raise ArtifactError(
                    f"{self.path}: features of encoder {encoder!r}, not of {named!r}; delete it and run again"
                )

    def __contains__(self, name: str) -> bool:
        return name in self._index

    def frames(self, name: str) -> int:
        """Encoder frames of an id."""
        number = self._index[name]
        return int(self._offsets[number + 1] - self._offsets[number])

    def padding(self, name: str) -> np.ndarray | None:
        """Frames behind the audio of an id, float32 (frames, d_enc); None if they were not kept."""
        return self._read(self._padded[name], slice(None)) if name in self._padded else None

    def __getitem__(self, name: str) -> np.ndarray:
        """Features of an id, float32 (frames, d_enc)."""
        if name not in self._index:
            raise KeyError(f"no features of question {name!r}; its audio was dropped or the file is older than it")
        number = self._index[name]
        return self._read("features", slice(*self._offsets[number : number + 2]))

    def several(self, names: Sequence[str]) -> list[np.ndarray]:
        """Features of several ids, in their order."""
        return [self[name] for name in names]

    def _read(self, dataset: str, rows: slice) -> np.ndarray:
        try:
            return hdf5.bfloat16_to_float32(self._file[dataset][rows])
        except OSError as error:
            raise ArtifactError(f"{self.path}: damaged ({error}); delete it and run again") from error
