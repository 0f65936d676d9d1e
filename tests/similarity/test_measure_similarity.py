"""Pooled similarity by layer: planted answers, chance level, invariances."""

import json

import numpy as np
import pytest

from tests.planted_states import random_states, write_planted
from workflow_scripts.artifacts.measurements import SIMILARITY, read_measurements
from workflow_scripts.measures import calibrate, pooled_similarity
from workflow_scripts.similarity.measure_similarity import measure_similarity

LENGTHS_S, LENGTHS_T = [20, 31, 25, 44, 38, 29], [6, 9, 7, 12, 10, 8]


def measured(tmp_path, speech, text, draws=20, seed=0):
    states = write_planted(tmp_path / "states.h5", speech, text, {"dtype": "float32"})
    measure_similarity(states, tmp_path / "similarity.h5", draws=draws, seed=seed)
    return read_measurements(tmp_path / "similarity.h5", SIMILARITY)


def test_equal_means_are_found_at_the_layer_where_they_were_planted(tmp_path):
    speech, text = random_states(LENGTHS_S, 1), random_states(LENGTHS_T, 2)
    for spoken, written in zip(speech, text):
        spoken[2, :] = written[2, 0]
        written[2, :] = written[2, 0]
    found = measured(tmp_path, speech, text).measures
    np.testing.assert_allclose(found["cosine"].raw[:, 2], 1, atol=1e-6)
    np.testing.assert_allclose(found["euclidean"].raw[:, 2], 0, atol=1e-5)
    assert (np.abs(found["cosine"].raw[:, [0, 1, 3]]) < 0.8).all()
    assert (found["cosine"].p[:, 2] == np.float32(1 / 21)).all()
    assert (found["euclidean"].p[:, 2] == np.float32(1 / 21)).all()


def test_every_value_is_that_of_the_measure_on_the_question_alone(tmp_path):
    speech, text = random_states(LENGTHS_S, 3), random_states(LENGTHS_T, 4)
    found = measured(tmp_path, speech, text).measures
    for number, pair in enumerate(zip(speech, text)):
        alone = pooled_similarity(*pair)
        for name, values in found.items():
            np.testing.assert_allclose(values.raw[number], getattr(alone, name), rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_shared_direction_raises_the_raw_cosine_and_nothing_is_left_after_calibration(tmp_path):
    """Unrelated pairs with a common mean look similar; the null has the same level, so the calibrated value is 0."""
    lengths = list(range(20, 60))
    common = 2 * np.random.default_rng(0).standard_normal((4, 1, 32)).astype(np.float32)
    speech = [one + common for one in random_states(lengths, 5)]
    text = [one + common for one in random_states([n // 3 for n in lengths], 6)]
    found = measured(tmp_path, speech, text).measures["cosine"]
    assert found.raw.mean() > 0.9
    calibrated = calibrate(found.raw.mean(axis=0), found.null_mean.mean(axis=0), "cosine")
    assert np.abs(calibrated).max() < 0.15


def test_the_order_of_positions_does_not_matter(tmp_path):
    speech, text = random_states(LENGTHS_S, 7), random_states(LENGTHS_T, 8)
    before = measured(tmp_path, speech, text).measures
    rng = np.random.default_rng(9)
    after = measured(tmp_path, [one[:, rng.permutation(one.shape[1])] for one in speech], text).measures
    for name, values in before.items():
        np.testing.assert_allclose(values.raw, after[name].raw, rtol=1e-4, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(values.null_mean, after[name].null_mean, rtol=1e-4, atol=1e-5, err_msg=name)


def test_norms_scale_with_the_speech_and_have_no_null(tmp_path):
    speech, text = random_states(LENGTHS_S, 10), random_states(LENGTHS_T, 11)
    before = measured(tmp_path, speech, text).measures
    after = measured(tmp_path, [4 * one for one in speech], text).measures
    np.testing.assert_allclose(after["norm_speech"].raw, 4 * before["norm_speech"].raw, rtol=1e-5)
    np.testing.assert_allclose(after["token_norm_speech"].raw, 4 * before["token_norm_speech"].raw, rtol=1e-5)
    np.testing.assert_allclose(after["log_norm_ratio"].raw - before["log_norm_ratio"].raw, np.log(4), atol=1e-5)
    np.testing.assert_allclose(after["cosine"].raw, before["cosine"].raw, atol=1e-6)
    for name in ("norm_speech", "norm_text", "token_norm_speech", "token_norm_text", "log_norm_ratio"):
        assert np.isnan(after[name].null_mean).all() and np.isnan(after[name].p).all()


def test_a_single_question_has_no_null_and_that_is_counted(tmp_path):
    found = measured(tmp_path, random_states([20], 12), random_states([6], 13))
    assert np.isfinite(found.measures["cosine"].raw).all()
    assert np.isnan(found.measures["cosine"].null_mean).all() and np.isnan(found.measures["cosine"].p).all()
    assert found.attributes["null_draws"] == 0
    assert json.loads(found.attributes["undefined_null"]) == {"cosine": 4, "euclidean": 4}


def test_a_zero_mean_has_cosine_zero_and_is_counted(tmp_path):
    speech, text = random_states(LENGTHS_S, 14), random_states(LENGTHS_T, 15)
    speech[3][1] = 0
    found = measured(tmp_path, speech, text)
    assert found.measures["cosine"].raw[3, 1] == 0
    assert np.isnan(found.measures["log_norm_ratio"].raw[3, 1])
    assert found.attributes["zero_norms"] == 1
    assert json.loads(found.attributes["undefined"])["log_norm_ratio"] == 1


def test_the_null_depends_on_the_seed_only(tmp_path):
    speech, text = random_states(LENGTHS_S, 16), random_states(LENGTHS_T, 17)
    first, again, other = (measured(tmp_path, speech, text, 5, seed).measures["cosine"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.null_mean, again.null_mean)
    assert not np.array_equal(first.null_mean, other.null_mean)


@pytest.mark.parametrize("name", ["model", "checkpoint", "dtype", "n_layers", "hidden_size"])
def test_attributes_of_the_states_are_handed_on(tmp_path, name):
    expected = {"model": "planted", "checkpoint": "step-000001", "dtype": "float32", "n_layers": 3, "hidden_size": 32}
    found = measured(tmp_path, random_states([20, 21], 18), random_states([6, 7], 19))
    assert found.attributes[name] == expected[name]
