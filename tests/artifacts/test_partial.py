"""Finished batches of an unfinished step survive whatever happens when the next run opens them."""

from pathlib import Path

import numpy as np
import pytest

from workflow_scripts.artifacts.partial import PartialArrays, PartialBatches


def kept(tmp_path, n=5):
    batches = PartialBatches(tmp_path / "answers.jsonl", "fp")
    for number in range(n):
        batches.add(str(number), {"answer": number})
    return batches.path


def opened(tmp_path):
    return PartialBatches(tmp_path / "answers.jsonl", "fp")


@pytest.mark.parametrize("torn", [b"", b'["5", {"ans'])
def test_a_run_that_ends_while_it_opens_its_batches_loses_none(tmp_path, monkeypatch, torn):
    path = kept(tmp_path)
    path.write_bytes(path.read_bytes() + torn)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", lambda *_args, **_options: (_ for _ in ()).throw(KeyboardInterrupt))
        if torn:
            with pytest.raises(KeyboardInterrupt):
                opened(tmp_path)
        else:
            opened(tmp_path)
    assert [opened(tmp_path).get(str(number)) for number in range(5)] == [{"answer": k} for k in range(5)]


def test_after_a_torn_line_the_next_batch_has_a_line_of_its_own(tmp_path):
    path = kept(tmp_path)
    path.write_bytes(path.read_bytes()[:-4])
    batches = opened(tmp_path)
    assert batches.get("3") == {"answer": 3} and batches.get("4") is None
    batches.add("4", {"answer": 4})
    assert opened(tmp_path).get("4") == {"answer": 4}


def test_a_line_without_a_key_is_left_out(tmp_path):
    path = kept(tmp_path)
    path.write_bytes(path.read_bytes() + b'[["list"], 1]\n[1, 2, 3]\n7\n')
    assert opened(tmp_path).get("4") == {"answer": 4}


def test_batches_of_other_work_are_removed(tmp_path):
    path = kept(tmp_path)
    assert PartialBatches(tmp_path / "answers.jsonl", "other").get("0") is None and not path.exists()


def test_arrays_with_a_flipped_bit_are_never_given_wrong(tmp_path):
    arrays = PartialArrays(tmp_path / "states.h5", "fp")
    arrays.add("k", {"x": np.arange(10)})
    [file] = arrays.path.glob("*.npz")
    whole = file.read_bytes()
    for place in range(len(whole)):
        for bit in (0, 4, 7):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            file.write_bytes(damaged)
            found = arrays.get("k")
            assert found is None or list(found) != ["x"] or np.array_equal(found["x"], np.arange(10))
