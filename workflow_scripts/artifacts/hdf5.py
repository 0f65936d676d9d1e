"""What all HDF5 files of the workflow share: atomic writing, checksums, attributes, bfloat16 bits, checked reading."""

import contextlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import h5py
import hdf5plugin
import numpy as np

from workflow_scripts.artifacts.files import ArtifactError, atomic_path, sha256_text

Compression = Literal["bitshuffle", "gzip", "none"]
CHUNK_BYTES = 1 << 20
CHECKSUM = "attributes_sha256"


def compression_options(compression: Compression) -> dict[str, Any]:
    """Keyword arguments of `create_dataset`; bitshuffle-lz4 needs hdf5plugin in readers, gzip and none do not."""
    if compression == "bitshuffle":
        return dict(hdf5plugin.Bitshuffle(cname="lz4"))
    if compression == "gzip":
        return {"compression": "gzip", "compression_opts": 4, "shuffle": True}
    return {}


class _Sink(io.FileIO):
    """The file below an HDF5 file that is being written. Once a write failed, all further ones are dropped.

    HDF5 crashes the process if a write fails, since it flushes what is left again when it closes: so it never learns
    of the failure here, and `check` raises it.
    """

    failure: OSError | None = None

    def write(self, data: Any) -> int:
        rest = memoryview(data).cast("B")
        try:
            while len(rest) and self.failure is None:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.failure = error
        return len(data)

    def check(self) -> None:
        """Raise the OSError of the write that failed, if one did."""
        if self.failure is not None:
            raise self.failure


class NewFile(h5py.File):
    """An HDF5 file that is being written; every dataset is stored in chunks with a checksum (fletcher32)."""

    def __init__(self, sink: _Sink) -> None:
        super().__init__(sink, "w", libver="latest")
        self._sink = sink

    def create_dataset(self, *arguments: Any, **options: Any) -> h5py.Dataset:
        """As in h5py, with a checksum; assigning to `file[name]` comes here too."""
        return super().create_dataset(*arguments, fletcher32=True, **options)

    def check(self) -> None:
        """Raise OSError if a write failed so far; called in long loops, so that nothing is computed for a full disk."""
        self._sink.check()


@contextlib.contextmanager
def create(path: Path, schema: str, attributes: Mapping[str, Any]) -> Iterator[NewFile]:
    """An HDF5 file that appears at `path` only when the block ends without error.

    `attributes` that are not plain scalars are stored as JSON text.

    Raises:
        ArtifactError: the disk is full.
    """
    with atomic_path(Path(path)) as temporary, _Sink(temporary, "wb+") as sink:
        try:
            with NewFile(sink) as file:
                file.attrs["schema"] = schema
                for name, value in attributes.items():
                    file.attrs[name] = value if isinstance(value, str | int | float) else json.dumps(value, default=str)
                file.attrs[CHECKSUM] = _checksum(file.attrs)
                yield file
        finally:
            sink.check()


@contextlib.contextmanager
def open_checked(path: Path, schema: str) -> Iterator[h5py.File]:
    """Open for reading.

    Raises:
        ArtifactError: missing, truncated, damaged or of another schema; names the file and the remedy.
    """
    try:
        file = h5py.File(path, "r", locking=False)
    except FileNotFoundError:
        raise ArtifactError(f"{path}: not found; run the step that writes {schema} files") from None
    except OSError as error:
        raise ArtifactError(f"{path}: not a readable HDF5 file ({error}); delete it and run again") from None
    try:
        with file:
            if (found := file.attrs.get("schema")) != schema:
                raise ArtifactError(f"{path}: schema {found!r}, expected {schema!r}; delete it and run again")
            if file.attrs.get(CHECKSUM, expected := _checksum(file.attrs)) != expected:
                raise ArtifactError(f"{path}: damaged (its attributes are not those written); delete it and run again")
            yield file
    except (KeyError, OSError) as error:
        # HDF5's own errors (a name that is not there, a checksum that does not fit) carry no number of the system.
        if getattr(error, "errno", None) is not None:
            raise
        raise ArtifactError(f"{path}: damaged or a field is missing ({error}); delete it and run again") from error
    except (RuntimeError, TypeError, AttributeError) as error:
        # h5py gives None for what it cannot read, and a RuntimeError where HDF5 cannot go on.
        if _can_be_walked(path):
            raise
        raise ArtifactError(f"{path}: damaged ({error}); delete it and run again") from error


def group_of(file: h5py.File, name: str) -> Mapping[str, Any]:
    """A group of a file, empty if the file has none: h5py's `get` says the same of one that it cannot open."""
    return file[name] if name in list(file) else {}


def _can_be_walked(path: Path) -> bool:
    """Whether all names and attributes of an HDF5 file can be read; values are not read."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            groups = [file]
            for group in groups:  # it grows; visititems would pass over what it cannot open
                dict(group.attrs)
                things = [group[name] for name in group]
                groups += [thing for thing in things if isinstance(thing, h5py.Group)]
                for thing in things:
                    dict(thing.attrs)
    except (OSError, RuntimeError, KeyError):
        return False
    return True


def reopened(path: Path) -> h5py.File:
    """A file that `open_checked` found whole, open until it is no longer used."""
    return h5py.File(path, "r", locking=False)


def _checksum(attributes: Mapping[str, Any]) -> str:
    """SHA-256 over the attributes of a file: HDF5 has checksums for datasets and few attributes, not for many."""
    return sha256_text(json.dumps(sorted((name, str(value)) for name, value in attributes.items() if name != CHECKSUM)))


def write_ids(file: h5py.File, ids: Sequence[str]) -> None:
    """Fixed-width question ids, shape (N,)."""
    file["ids"] = np.array([name.encode() for name in ids], dtype="S80")


def read_ids(file: h5py.File) -> list[str]:
    """Question ids."""
    return [name.decode() for name in file["ids"][:]]


def offsets_of(lengths: Sequence[int]) -> np.ndarray:
    """Ragged offsets, shape (N+1,) int64, of consecutive blocks."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)


def bfloat16_to_float32(bits: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Values of a uint16 array that holds bfloat16 bit patterns, as float32 of the same shape; into `out` if given."""
    out = np.empty(bits.shape, np.float32) if out is None else out
    np.left_shift(bits, 16, out=out.view(np.uint32), dtype=np.uint32)
    return out


def float32_to_bfloat16(values: np.ndarray) -> np.ndarray:
    """Bit patterns, uint16, of float32 values rounded to nearest-even bfloat16."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(values), np.uint32(0x7FC0), rounded).astype(np.uint16)
