"""HDF5 artifacts: planted values come back, damage is named, bfloat16 is rounded as torch does it."""

import tracemalloc

import h5py
import numpy as np
import pytest
import torch

from workflow_scripts.artifacts import hdf5
from workflow_scripts.artifacts.features import FeatureReader, write_features
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.measurements import (
    ALIGNMENT,
    Measured,
    Measurements,
    read_measurements,
    write_measurements,
)
from workflow_scripts.artifacts.states import SampleStates, StateReader, write_states


def test_bfloat16_rounding_equals_torch_on_every_kind_of_number():
    values = np.random.default_rng(0).normal(size=20_000).astype(np.float32)
    values = np.concatenate([values, values * 1e30, values * 1e-40, [0.0, -0.0, np.inf, -np.inf, np.nan]]).astype("f4")
    bits = hdf5.float32_to_bfloat16(values)
    expected = torch.tensor(values).bfloat16()
    back = hdf5.bfloat16_to_float32(bits)
    np.testing.assert_array_equal(back, expected.float().numpy())


@pytest.fixture
def features(tmp_path):
    rng = np.random.default_rng(1)
    blocks = [rng.integers(-8, 8, size=(length, 4)).astype(np.float32) for length in (3, 1, 5)]
    path = tmp_path / "features.h5"
    order = [2, 0, 1]
    write_features(path, ["a", "b", "c"], [0.06, 0.02, 0.1], [3, 1, 5], 4, ((i, blocks[i]) for i in order), {"seed": 3})
    return path, blocks


def test_features_come_back_in_any_writing_order(features):
    path, blocks = features
    reader = FeatureReader(path)
    for name, block in zip("abc", blocks):
        np.testing.assert_array_equal(reader[name], block)
    assert reader.frames("c") == 5
    assert "d" not in reader


def test_features_are_read_when_they_are_asked_for_and_a_damaged_part_is_named(tmp_path):
    noise = np.random.default_rng(1).standard_normal((2, 4096, 256), dtype=np.float32)
    path = tmp_path / "large.h5"
    write_features(path, ["a", "b"], [82, 82], [4096, 4096], 256, enumerate(noise), {})
    tracemalloc.start()
    reader = FeatureReader(path)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 200_000, "of 4 MB"
    del reader
    whole = path.read_bytes()
    first = hdf5.float32_to_bfloat16(noise[0])[:8].tobytes()
    place = whole.index(first)
    path.write_bytes(whole[:place] + bytes(64) + whole[place + 64 :])
    damaged = FeatureReader(path)
    assert np.allclose(damaged["b"], noise[1], rtol=2**-7)
    with pytest.raises(ArtifactError, match=r"large\.h5: damaged"):
        damaged["a"]


def test_features_of_wrong_shape_or_nan_name_the_question(tmp_path):
    path = tmp_path / "f.h5"
    with pytest.raises(ValueError, match="'a'"):
        write_features(path, ["a"], [1], [3], 4, [(0, np.zeros((2, 4), np.float32))], {})
    with pytest.raises(ValueError, match="'a' are not finite"):
        write_features(path, ["a"], [1], [3], 4, [(0, np.full((3, 4), np.nan, np.float32))], {})
    assert not path.exists()


def test_frames_behind_the_audio_come_back_where_they_were_kept(tmp_path):
    path, frames = tmp_path / "f.h5", np.zeros((3, 4), np.float32)
    facts = (["a", "b"], [0.06, 0.06], [3, 3], 4, [(0, frames), (1, frames)], {})
    behind = np.arange(8, dtype=np.float32).reshape(2, 4)
    write_features(path, *facts, [(1, behind)])
    reader = FeatureReader(path)
    assert reader.padding("a") is None
    np.testing.assert_array_equal(reader.padding("b"), behind)
    for bad in (np.zeros((2, 5), np.float32), np.full((2, 4), np.inf, np.float32)):
        with pytest.raises(ValueError, match=r"padding of 'b': .* expected finite frames of width 4"):
            write_features(tmp_path / "bad.h5", *facts, [(1, bad)])
    assert not (tmp_path / "bad.h5").exists()


def states_arguments(rng, compression="none"):
    T_s, tokens = [4, 2], [["who", "is"], ["it"]]
    samples = [
        SampleStates(
            *(
                hdf5.float32_to_bfloat16(rng.normal(size=(3, length, 5)).astype(np.float32))
                for length in (T_s[n], len(tokens[n]))
            )
        )
        for n in range(2)
    ]
    return {
        "ids": ["q-1", "q-2"],
        "seconds": [0.4, 0.2],
        "T_s": T_s,
        "tokens": tokens,
        "char_spans": [[(0, 3), (4, 6)], [(0, 2)]],
        "n_layers": 2,
        "hidden_size": 5,
        "compression": compression,
        "attributes": {"model": "m"},
    }, samples


@pytest.mark.parametrize("compression", ["bitshuffle", "gzip", "none"])
def test_states_come_back_bit_equal_by_layer(tmp_path, compression):
    arguments, samples = states_arguments(np.random.default_rng(2), compression)
    path = tmp_path / "states.h5"
    write_states(path, samples=[(1, samples[1]), (0, samples[0])], **arguments)
    with StateReader(path) as reader:
        assert reader.ids == ["q-1", "q-2"]
        assert reader.tokens(0) == ["who", "is"]
        assert [reader.length("speech", n) for n in (0, 1)] == [4, 2]
        for layer in range(3):
            whole = np.concatenate([hdf5.bfloat16_to_float32(sample.speech[layer]) for sample in samples])
            np.testing.assert_array_equal(reader.layer("speech", layer), whole)


def _everything(path) -> dict[str, bytes]:
    """All datasets of a state file as its reader sees them."""
    with StateReader(path) as reader:
        layers = {f"{form}{layer}": reader.layer(form, layer) for form in ("speech", "text") for layer in range(3)}
        facts = [(reader.tokens(n), reader.char_spans(n), reader.length("speech", n)) for n in range(2)]
        attributes = {name: str(reader.attributes[name]) for name in ("schema", "model", "layers", "span_convention")}
        return {name: values.tobytes() for name, values in layers.items()} | {
            "facts": repr((facts, attributes, reader.ids))
        }


@pytest.mark.parametrize("compression", ["bitshuffle", "gzip", "none"])
def test_a_flipped_bit_anywhere_is_an_error_that_names_the_file_or_changes_nothing(tmp_path, compression):
    arguments, samples = states_arguments(np.random.default_rng(2), compression)
    path = tmp_path / "states.h5"
    write_states(path, samples=list(enumerate(samples)), **arguments)
    whole, expected = path.read_bytes(), _everything(path)
    with h5py.File(path) as file:
        placed = {}
        file.visititems(lambda name, item: placed.update({name: item}) if isinstance(item, h5py.Dataset) else None)
        assert all(dataset.fletcher32 for dataset in placed.values())
        chunks = [dataset.id.get_chunk_info(0) for dataset in placed.values()]
    inside = [chunk.byte_offset + chunk.size // 2 for chunk in chunks]
    rng, refused = np.random.default_rng(5), 0
    for place in (*inside, *rng.integers(0, len(whole), size=100).tolist()):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            assert _everything(path) == expected, f"byte {place} went unnoticed"
        except ArtifactError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused >= len(inside)


def test_what_h5py_says_of_a_damaged_file_names_it_and_a_fault_of_the_reader_stays_one(tmp_path, features):
    path, _ = features
    whole = path.read_bytes()
    named = 0
    for place in np.random.default_rng(6).integers(0, len(whole), size=120).tolist():
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        try:
            with hdf5.open_checked(path, "features/1") as file:
                got = {name: dict(file.get(name).attrs) for name in ("ids", "offsets", "seconds", "features")}
                assert all(name in file and got[name] is not None for name in got)
        except ArtifactError as error:
            assert str(path) in str(error)
            named += 1
    assert named
    path.write_bytes(whole)
    with pytest.raises(TypeError, match="not subscriptable"), hdf5.open_checked(path, "features/1") as file:
        file.get("nothing")[0]


def test_a_group_that_cannot_be_opened_is_not_taken_for_one_that_is_not_there(tmp_path):
    path = tmp_path / "words.h5"
    with hdf5.create(path, "x/1", {}) as file:
        file["words"] = h5py.SoftLink("/nowhere")  # as a damaged link, h5py's `get` says that there is none
    with hdf5.open_checked(path, "x/1") as file:
        assert file.get("words") is None and hdf5.group_of(file, "lens") == {}
    with pytest.raises(ArtifactError, match=r"words\.h5: damaged"), hdf5.open_checked(path, "x/1") as file:
        hdf5.group_of(file, "words")


def test_nan_states_name_question_form_and_layer(tmp_path):
    arguments, samples = states_arguments(np.random.default_rng(3))
    samples[1].text[2, 0, 1] = 0x7FC0
    with pytest.raises(ArtifactError, match=r"text states of question 'q-2' are not finite from layer 2"):
        write_states(tmp_path / "s.h5", samples=list(enumerate(samples)), **arguments)


def test_a_question_without_states_is_named(tmp_path):
    arguments, samples = states_arguments(np.random.default_rng(4))
    with pytest.raises(ArtifactError, match=r"no states for question\(s\) \['q-2'\]"):
        write_states(tmp_path / "s.h5", samples=[(0, samples[0])], **arguments)
    assert not (tmp_path / "s.h5").exists()


def test_truncated_and_foreign_hdf5_files_are_named(tmp_path, features):
    path, _ = features
    cut = tmp_path / "cut.h5"
    cut.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ArtifactError, match="not a readable HDF5 file"):
        FeatureReader(cut)
    with (
        pytest.raises(ArtifactError, match="schema 'features/1', expected 'activations/2'"),
        StateReader(path),
    ):
        pass
    with pytest.raises(ArtifactError, match="not found"):
        FeatureReader(tmp_path / "none.h5")


def test_measurements_round_trip_with_ragged_paths_and_examples(tmp_path):
    rng = np.random.default_rng(5)
    cube = [rng.normal(size=(2, 3)).astype(np.float32) for _ in range(4)]
    cube[0][0, 1] = np.nan
    paths = [rng.integers(0, 9, size=(3, n)) for n in (2, 4)]
    content = Measurements(
        ids=["a", "b"],
        measures={"monotonicity_cosine": Measured(*cube)},
        T_s=np.array([9, 9]),
        T_t=np.array([2, 4]),
        attributes={"draws": 20, "model": "m"},
        paths={"cosine": paths},
        scores={"cosine": [path / 10 for path in paths]},
        examples={"a": {"cosine": np.ones((3, 9, 2), np.float16)}},
        example_tokens={"a": ["x", "y"]},
    )
    write_measurements(tmp_path / "m.h5", ALIGNMENT, content)
    back = read_measurements(tmp_path / "m.h5", ALIGNMENT)
    assert back.ids == ["a", "b"]
    np.testing.assert_array_equal(back.measures["monotonicity_cosine"].raw, cube[0])
    np.testing.assert_array_equal(back.measures["monotonicity_cosine"].p, cube[3])
    for found, expected in zip(back.paths["cosine"], paths):
        np.testing.assert_array_equal(found, expected)
    assert back.example_tokens == {"a": ["x", "y"]}
    assert back.attributes["draws"] == 20


@pytest.mark.parametrize("name", ["whisper-base.features.h5", "whisper-base.silence.h5"])
def test_features_of_another_encoder_of_the_same_width_are_refused(tmp_path, name):
    blocks = [(0, np.zeros((3, 4), np.float32))]
    for encoder in ("whisper-base", "whisper-small.en"):
        write_features(tmp_path / name, ["a"], [1.0], [3], 4, blocks, {"encoder": encoder})
        if encoder == "whisper-base":
            assert FeatureReader(tmp_path / name).ids == ["a"]
    with pytest.raises(ArtifactError, match=rf"{name}: features of encoder 'whisper-small.en', not of 'whisper-base'"):
        FeatureReader(tmp_path / name)
