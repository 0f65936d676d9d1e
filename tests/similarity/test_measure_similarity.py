"""Pooled similarity by layer: planted answers, chance level, invariances."""

import json

import numpy as np
import pytest

from tests.measures.one_question import measure_pair
from tests.planted_states import random_states, write_planted
from workflow_scripts.artifacts.measurements import SIMILARITY, read_measurements
from workflow_scripts.measures.cka import cka
from workflow_scripts.measures.registry import MEASURES, Measure, of_level
from workflow_scripts.measures.shuffle_null import calibrate
from workflow_scripts.similarity.measure_similarity import measure_similarity

WITH_NULL = [name for name, measure in of_level("pair").items() if measure.has_null]
NORMS = ("norm_speech", "norm_text", "token_norm_speech", "token_norm_text", "log_norm_ratio")

LENGTHS_S, LENGTHS_T = [20, 31, 25, 44, 38, 29], [6, 9, 7, 12, 10, 8]


def measured(tmp_path, speech, text, draws=20, seed=0, massive=2):
    states = write_planted(tmp_path / "states.h5", speech, text, {"dtype": "float32"})
    measure_similarity(states, tmp_path / "similarity.h5", draws=draws, seed=seed, massive=massive)
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
    of_shards = {"cosine_common", "cosine_modality", "cosine_trimmed", "retrieval"}
    for number, pair in enumerate(zip(speech, text)):
        alone = measure_pair(*pair, set(of_level("pair")) - of_shards)
        for name, values in alone.items():
            np.testing.assert_allclose(found[name].raw[number], values, rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_measure_that_is_added_to_the_registry_is_in_the_file_with_its_null(tmp_path, monkeypatch):
    """One function and one entry are enough."""

    def speech_length(pairs):
        return np.repeat(pairs.norms[0][:, None], len(pairs.members), axis=1)

    toy = Measure("toy", "pair", speech_length, True, True, "toy", "", "the speech's length, whatever the text")
    monkeypatch.setitem(MEASURES, "toy", toy)
    monkeypatch.setitem(MEASURES, "toy_shard", Measure("toy_shard", "shard", cka, True, True, "toy", "", "CKA again"))
    found = measured(tmp_path, random_states(LENGTHS_S, 3), random_states(LENGTHS_T, 4))
    np.testing.assert_array_equal(found.measures["toy"].raw, found.measures["norm_speech"].raw)
    np.testing.assert_allclose(found.measures["toy"].null_mean, found.measures["toy"].raw, rtol=1e-6)
    assert (found.measures["toy"].p == 1).all() and found.draws["toy"][0].shape == (20, 4)
    for one, other in zip(found.shard["toy_shard"], found.shard["cka"]):
        np.testing.assert_array_equal(one, other)


def test_a_shared_direction_raises_the_raw_cosine_and_nothing_is_left_after_calibration(tmp_path):
    """Unrelated pairs with a common mean look similar; the null has the same level, so the calibrated value is 0."""
    lengths = list(range(20, 60))
    common = 2 * np.random.default_rng(0).standard_normal((4, 1, 32)).astype(np.float32)
    speech = [one + common for one in random_states(lengths, 5)]
    text = [one + common for one in random_states([n // 3 for n in lengths], 6)]
    found = measured(tmp_path, speech, text).measures["cosine"]
    assert found.raw.mean() > 0.9
    calibrated = calibrate(found.raw.mean(axis=0), found.null_mean.mean(axis=0), True)
    assert np.abs(calibrated).max() < 0.15


def test_the_order_of_positions_does_not_matter(tmp_path):
    speech, text = random_states(LENGTHS_S, 7), random_states(LENGTHS_T, 8)
    before = measured(tmp_path, speech, text).measures
    rng = np.random.default_rng(9)
    after = measured(tmp_path, [one[:, rng.permutation(one.shape[1])] for one in speech], text).measures
    for name in (*WITH_NULL, *NORMS, "cosine_median"):
        values = before[name]
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
    for name in NORMS:
        assert np.isnan(after[name].null_mean).all() and np.isnan(after[name].p).all()


def test_a_single_question_has_no_null_and_that_is_counted(tmp_path):
    found = measured(tmp_path, random_states([20], 12), random_states([6], 13))
    assert np.isfinite(found.measures["cosine"].raw).all()
    assert np.isnan(found.measures["cosine"].null_mean).all() and np.isnan(found.measures["cosine"].p).all()
    assert found.attributes["null_draws"] == 0
    assert json.loads(found.attributes["undefined_null"]) == dict.fromkeys(WITH_NULL, 4)


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


def with_offsets(lengths, seed, offset):
    """Normal states around a common vector per form."""
    rng = np.random.default_rng(seed)
    common = offset * rng.standard_normal((4, 1, 32)).astype(np.float32)
    return [one + common for one in random_states(lengths, seed + 1)]


def test_centring_takes_a_shared_direction_away(tmp_path):
    lengths = list(range(20, 60))
    found = measured(tmp_path, with_offsets(lengths, 1, 2), with_offsets([n // 3 for n in lengths], 1, 2)).measures
    assert found["cosine"].raw.mean() > 0.9
    for name in ("cosine_common", "cosine_modality"):
        assert abs(found[name].raw.mean()) < 0.06, name


def test_an_offset_between_the_forms_survives_the_common_mean_only(tmp_path):
    """The constant offset is a modality gap: taking both forms' means away hides it, the common mean does not."""
    lengths = list(range(20, 60))
    text = with_offsets([n // 3 for n in lengths], 2, 1)
    found = measured(tmp_path, with_offsets(lengths, 5, 1), text).measures
    assert found["cosine_common"].raw.mean() < -0.7
    assert abs(found["cosine_modality"].raw.mean()) < 0.06


def test_a_massive_dimension_makes_everything_similar_until_it_is_left_out(tmp_path):
    lengths = list(range(20, 60))
    forms = random_states(lengths, 6), random_states([n // 3 for n in lengths], 7)
    for form in forms:
        for one in form:
            one[:, :, 5] = 500
    found = measured(tmp_path, *forms, massive=1).measures
    assert found["cosine"].raw.min() > 0.99
    assert abs(found["cosine_trimmed"].raw.mean()) < 0.06
    np.testing.assert_array_equal(measured(tmp_path, *forms, massive=0).measures["cosine_trimmed"].raw > 0.99, True)


def test_equal_forms_have_cka_one_and_find_each_other_at_once(tmp_path):
    text = random_states([12] * 15, 8)
    found = measured(tmp_path, [one.copy() for one in text], text)
    np.testing.assert_allclose(np.diag(found.shard["cka"][0]), 1, atol=1e-6)
    assert found.shard["cka"][0].shape == (4, 4) and np.abs(found.shard["cka"][0] - np.eye(4)).max() < 0.5
    assert found.shard["cka"][1].shape == (20, 4) and found.shard["cka"][1].max() < 0.5
    np.testing.assert_allclose(found.measures["retrieval"].raw, 1)
    np.testing.assert_allclose(found.shard["mutual_knn"][0], 1)
    assert found.attributes["neighbours"] == 10


def test_unrelated_forms_retrieve_and_share_neighbours_at_chance(tmp_path):
    n = 60
    found = measured(tmp_path, random_states([20] * n, 9), random_states([8] * n, 10))
    assert found.measures["retrieval"].raw.mean() < 5 / n
    for values in found.shard["mutual_knn"]:
        np.testing.assert_allclose(values.mean(), 10 / (n - 1), atol=0.03)


def test_a_small_shard_leaves_cka_undefined(tmp_path):
    found = measured(tmp_path, random_states([9, 8, 7], 11), random_states([4, 5, 6], 12))
    assert np.isnan(found.shard["cka"][0]).all()
    assert np.isfinite(found.shard["mutual_knn"][0]).all()


def test_draws_hold_what_the_mean_over_questions_and_its_null_need(tmp_path):
    found = measured(tmp_path, random_states(LENGTHS_S, 16), random_states(LENGTHS_T, 17))
    total, count = found.draws["cosine"]
    assert total.shape == (20, 4) and (count == 6).all()
    # Draws are permutations with fixed points, for p; the null's mean is of other questions' texts only.
    everything = found.measures["cosine"].null_mean.mean(axis=0) * 5 / 6 + found.measures["cosine"].raw.mean(axis=0) / 6
    np.testing.assert_allclose((total / count).mean(axis=0), everything, atol=0.1)


def test_single_positions_are_their_own_median_last_and_mean(tmp_path):
    found = measured(tmp_path, random_states([1] * 6, 18), random_states([1] * 6, 19)).measures
    for name in ("cosine_median", "cosine_last", "cosine_without_first"):
        np.testing.assert_allclose(found[name].raw, found["cosine"].raw, atol=1e-6)
