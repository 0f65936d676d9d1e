"""Datasets read by threads beside HDF5 against h5py's own reading."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from workflow_scripts.artifacts import hdf5, whole_datasets
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.whole_datasets import read_bits, read_float32

WIDTH = 24
COMPRESSIONS = ("bitshuffle", "gzip", "none")


def written(path: Path, n: int, rows: int, **options) -> np.ndarray:
    """Bits of values of like size, so that compression finds something; stored in chunks of `rows`."""
    values = np.random.default_rng(n).standard_normal((n, WIDTH)).astype(np.float32)
    bits = hdf5.float32_to_bfloat16(values)
    with h5py.File(path, "w", libver="latest") as file:
        file.create_dataset("form/001", data=bits, **({"chunks": (rows, WIDTH)} if rows else {}), **options)
    return bits


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize(("n", "rows"), [(1, 1), (7, 3), (64, 64), (1000, 128), (1024, 128)])
def test_threads_read_what_h5py_reads(tmp_path, compression, n, rows):
    bits = written(tmp_path / "x.h5", n, rows, **hdf5.compression_options(compression))
    with h5py.File(tmp_path / "x.h5") as file:
        dataset = file["form/001"]
        assert whole_datasets._decoder(dataset) is not None and len(whole_datasets._chunks(dataset)) == -(-n // rows)
        np.testing.assert_array_equal(read_bits(dataset), bits)
        found = read_float32(dataset)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, hdf5.bfloat16_to_float32(bits))


@pytest.mark.parametrize(
    "options",
    [{"rows": 0}, {"rows": 50, "compression": "lzf"}, {"rows": 50, "fletcher32": True}, {"rows": 50, "compression": 4}],
    ids=["contiguous", "lzf", "checksum", "gzip without shuffle"],
)
def test_other_ways_of_storing_are_left_to_h5py(tmp_path, options):
    rows = options.pop("rows")
    bits = written(tmp_path / "x.h5", 120, rows, **options)
    with h5py.File(tmp_path / "x.h5") as file:
        dataset = file["form/001"]
        assert whole_datasets._decoder(dataset) is None or whole_datasets._chunks(dataset) is None
        np.testing.assert_array_equal(read_bits(dataset), bits)


def test_chunks_that_were_never_written_are_left_to_h5py(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("a", (100, WIDTH), np.uint16, chunks=(10, WIDTH))[:10] = 3
    with h5py.File(tmp_path / "x.h5") as file:
        assert read_bits(file["a"]).sum() == 3 * 10 * WIDTH


def test_without_the_filters_function_bitshuffled_files_are_read_by_h5py(tmp_path, monkeypatch):
    bits = written(tmp_path / "x.h5", 100, 30, **hdf5.compression_options("bitshuffle"))
    monkeypatch.setattr(whole_datasets, "_bitshuffle_lz4", lambda: None)
    with h5py.File(tmp_path / "x.h5") as file:
        np.testing.assert_array_equal(read_bits(file["form/001"]), bits)


@pytest.mark.parametrize("compression", ["bitshuffle", "gzip"])
def test_a_damaged_chunk_is_an_error_that_names_file_and_dataset(tmp_path, compression):
    path = tmp_path / "x.h5"
    written(path, 1000, 100, **hdf5.compression_options(compression))
    with h5py.File(path) as file:
        _, place, _ = whole_datasets._chunks(file["form/001"])[3]
    content = bytearray(path.read_bytes())
    content[place : place + 8] = b"\xff" * 8
    path.write_bytes(content)
    with h5py.File(path) as file, pytest.raises(ArtifactError, match=r"x\.h5: /form/001, rows \d+ .*delete the file"):
        read_bits(file["form/001"])
