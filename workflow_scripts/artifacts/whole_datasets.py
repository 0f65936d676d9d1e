"""Whole datasets of bfloat16 bits, read and decoded by threads (ours).

HDF5 decodes one chunk after the other, under a lock. Here HDF5 only says where the chunks lie; they are read beside it
and decoded on all cores, each straight into its rows of the result. Whatever is stored in another way than
`hdf5.compression_options` does it is read by h5py.
"""

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import deflate
import h5py
import hdf5plugin
import numpy as np

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.hdf5 import bfloat16_to_float32

Decode = Callable[[np.ndarray, np.ndarray], None]
"""(stored bytes of a chunk, (rows, d) uint16 to fill)"""

SHUFFLE, DEFLATE, BITSHUFFLE, LZ4 = 2, 1, 32008, 2
"""Numbers of HDF5's filters, and of LZ4 among bitshuffle's compressors."""
BITSHUFFLE_HEADER = 12
"""Bytes of a bitshuffled chunk before its blocks: its size when decoded (8) and the size of a block (4), big endian."""
THREADS = 2 * min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
"""Two per core that this process may use: some wait for the disk or for memory while others decode."""


def read_bits(dataset: h5py.Dataset) -> np.ndarray:
    """The dataset (n, d) as stored, uint16."""
    return _read(dataset, np.uint16, np.copyto)


def read_float32(dataset: h5py.Dataset) -> np.ndarray:
    """Values (n, d) of a dataset of bfloat16 bits, as float32.

    Raises ArtifactError for a chunk that cannot be decoded.
    """
    return _read(dataset, np.float32, lambda out, bits: bfloat16_to_float32(bits, out))


def _read(dataset: h5py.Dataset, dtype: type, put: Callable[[np.ndarray, np.ndarray], object]) -> np.ndarray:
    out = np.empty(dataset.shape, dtype)
    decode, chunks = _decoder(dataset), _chunks(dataset)
    if decode is None or chunks is None:
        put(out, dataset[:])
        return out
    rows, direct = dataset.chunks[0], dtype == np.uint16
    largest = max(size for _, _, size in chunks)
    waiting = iter(chunks)

    def fill(_: int) -> None:
        """Chunks, as long as any are waiting. Memory that is used again costs no page faults."""
        buffer, whole = np.empty(largest, np.uint8), np.empty(dataset.chunks, np.uint16)
        for first, place, size in waiting:
            stored, target = buffer[:size], out[first : first + rows]
            # Chunks at the end of a dataset are stored whole.
            block = target if direct and len(target) == rows else whole
            try:
                if (n_read := os.preadv(descriptor, [stored], place)) != size:
                    raise ValueError(f"the file ends after {n_read} of {size} bytes")
                decode(stored, block)
            except (ValueError, deflate.DeflateError) as error:
                raise ArtifactError(
                    f"{dataset.file.filename}: {dataset.name}, rows {first} and after cannot be decoded ({error}); "
                    "delete the file and run again"
                ) from error
            if block is not target:
                put(target, block[: len(target)])

    descriptor = os.open(dataset.file.filename, os.O_RDONLY)
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(fill, range(min(THREADS, len(chunks)))))
    finally:
        os.close(descriptor)
    return out


def _chunks(dataset: h5py.Dataset) -> list[tuple[int, int, int]] | None:
    """(first row, byte in the file, bytes) of every chunk in the order of the file; None if some are not as usual."""
    if dataset.ndim != 2 or dataset.chunks is None or dataset.chunks[1] != dataset.shape[1] or not dataset.size:
        return None
    found: list[tuple[int, int, int]] = []
    masks = set()

    def note(chunk: h5py.h5d.StoreInfo) -> None:
        found.append((chunk.chunk_offset[0], chunk.byte_offset, chunk.size))
        masks.add(chunk.filter_mask)

    dataset.id.chunk_iter(note)
    if len(found) != -(-dataset.shape[0] // dataset.chunks[0]) or masks != {0} or dataset.file.userblock_size:
        return None
    return sorted(found, key=lambda chunk: chunk[1])


def _decoder(dataset: h5py.Dataset) -> Decode | None:
    """How a chunk of the dataset is decoded; None if only HDF5 knows."""
    if dataset.dtype != np.dtype("<u2"):
        return None
    pipeline = dataset.id.get_create_plist()
    filters = [pipeline.get_filter(number) for number in range(pipeline.get_nfilters())]
    match [(code, options) for code, _, options, _ in filters]:
        case []:
            return _copy
        case [(code, (_, _, 2, _, compressor, *_))] if (code, compressor) == (BITSHUFFLE, LZ4):
            return None if _bitshuffle_lz4() is None else _unbitshuffle
        case [(first, _), (second, _)] if (first, second) == (SHUFFLE, DEFLATE):
            return _inflate
    return None


def _copy(stored: np.ndarray, out: np.ndarray) -> None:
    np.copyto(out, stored.view("<u2").reshape(out.shape))


def _inflate(stored: np.ndarray, out: np.ndarray) -> None:
    """gzip of all low bytes followed by all high bytes."""
    halves = np.frombuffer(deflate.zlib_decompress(stored, out.nbytes), np.uint8).reshape(2, *out.shape)
    np.left_shift(halves[1], 8, out=out, dtype=np.uint16)
    np.bitwise_or(out, halves[0], out=out)


def _unbitshuffle(stored: np.ndarray, out: np.ndarray) -> None:
    header = stored[:BITSHUFFLE_HEADER].tobytes()
    size, block = int.from_bytes(header[:8], "big"), int.from_bytes(header[8:], "big")
    if size != out.nbytes or block <= 0:
        raise ValueError(f"a bitshuffled chunk of {size} bytes in blocks of {block}, expected {out.nbytes} bytes")
    begin = stored.ctypes.data + BITSHUFFLE_HEADER
    n_read = _bitshuffle_lz4()(begin, out.ctypes.data, out.size, out.itemsize, block // out.itemsize)
    if n_read != stored.size - BITSHUFFLE_HEADER:
        raise ValueError(f"bitshuffle read {n_read} of {stored.size - BITSHUFFLE_HEADER} bytes")


@cache
def _bitshuffle_lz4() -> Callable[..., int] | None:
    """The function behind hdf5plugin's filter, which runs without Python's lock; None if its library hides it."""
    try:
        library = ctypes.CDLL(str(next(Path(hdf5plugin.PLUGIN_PATH).glob("*h5bshuf*"))))
        function = library.bshuf_decompress_lz4
    except (StopIteration, OSError, AttributeError):
        return None
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_size_t]
    function.restype = ctypes.c_int64
    return function
