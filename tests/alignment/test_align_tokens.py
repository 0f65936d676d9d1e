"""Alignment by layer: planted paths, agreement with the measure pair by pair, chance level, undefined values."""

import json
from itertools import pairwise

import numpy as np
import pytest

from tests.measures.one_question import measure_pair, token_alignment
from tests.planted_states import plant_text, random_states, write_planted
from workflow_scripts.alignment.align_tokens import align_tokens
from workflow_scripts.artifacts.measurements import ALIGNMENT, read_measurements
from workflow_scripts.artifacts.states import StateReader
from workflow_scripts.measures.registry import MEASURES, Measure, of_level
from workflow_scripts.measures.shuffle_null import calibrate, derangements
from workflow_scripts.measures.token_alignment import token_similarity

CENTRED = "path_score_centred"
WITH_NULL = [name for name, measure in of_level("token").items() if measure.has_null]
LENGTHS_S, LENGTHS_T = [20, 31, 25, 44, 38, 29, 33], [6, 9, 7, 12, 10, 8, 11]


def measured(tmp_path, speech, text, draws=20, seed=0, examples=1):
    states = write_planted(tmp_path / "states.h5", speech, text)
    align_tokens(states, tmp_path / "alignment.h5", draws=draws, seed=seed, examples=examples)
    return read_measurements(tmp_path / "alignment.h5", ALIGNMENT)


def test_a_planted_path_is_recovered_with_perfect_scores(tmp_path):
    text = random_states(LENGTHS_T, 1)
    speech, paths = plant_text(text, LENGTHS_S, 2)
    found = measured(tmp_path, speech, text)
    for number, path in enumerate(paths):
        for metric in ("cosine", "euclidean"):
            np.testing.assert_array_equal(found.paths[metric][number], np.tile(path, (4, 1)))
        np.testing.assert_allclose(found.scores["cosine"][number], 1, atol=1e-6)
        np.testing.assert_allclose(found.scores["euclidean"][number], 0, atol=1e-4)
    np.testing.assert_allclose(found.measures["path_score_cosine"].raw, 1, atol=1e-6)
    np.testing.assert_allclose(found.measures["path_score_euclidean"].raw, 0, atol=1e-4)
    for name in ("monotonicity_cosine", "monotonicity_euclidean", "consistency"):
        np.testing.assert_allclose(found.measures[name].raw, 1, atol=1e-6)
    assert (found.measures["path_score_cosine"].p == np.float32(1 / 21)).all()
    assert (found.measures["path_score_euclidean"].p == np.float32(1 / 21)).all()


def test_a_planted_path_that_runs_backwards_has_monotonicity_minus_one(tmp_path):
    text = random_states(LENGTHS_T, 3)
    speech, paths = plant_text(text, LENGTHS_S, 4)
    found = measured(tmp_path, [one[:, ::-1] for one in speech], text)
    np.testing.assert_allclose(found.measures["monotonicity_cosine"].raw, -1, atol=1e-6)
    np.testing.assert_array_equal(found.paths["cosine"][0][2], LENGTHS_S[0] - 1 - paths[0])


@pytest.mark.parametrize("offset", [0.0, 30.0], ids=["unrelated", "nearly equal directions"])
def test_values_and_null_equal_the_plain_measure_pair_by_pair(tmp_path, offset):
    """A large common vector makes distances small parts of the lengths: the case that float32 alone gets wrong."""
    common = offset * np.random.default_rng(0).standard_normal((4, 1, 32)).astype(np.float32)
    speech = [one + common for one in random_states(LENGTHS_S, 5)]
    text = [one + common for one in random_states(LENGTHS_T, 6)]
    found = measured(tmp_path, speech, text, draws=6, seed=3)
    with StateReader(tmp_path / "states.h5") as reader:  # the states as stored, rounded to bfloat16
        for form, stored in (("speech", speech), ("text", text)):
            blocks, cuts = np.stack([reader.layer(form, layer) for layer in range(4)]), reader.offsets(form)
            stored[:] = [blocks[:, a:b] for a, b in pairwise(cuts)]
    partners = derangements(np.array(LENGTHS_S), np.array(LENGTHS_T), 6, 3)
    for number, spoken in enumerate(speech):
        own = token_alignment(spoken, text[number])
        for metric in ("cosine", "euclidean"):
            expected = getattr(own, metric)
            np.testing.assert_array_equal(found.paths[metric][number], expected.i_star)
            np.testing.assert_allclose(found.scores[metric][number], expected.path_score, rtol=1e-4, atol=1e-5)
        raw = measure_pair(spoken, text[number])
        null = [measure_pair(spoken, text[other]) for other in partners[:, number]]
        for name in set(WITH_NULL) - {CENTRED}:
            values = np.stack([one[name] for one in null])
            measure = found.measures[name]
            np.testing.assert_allclose(measure.raw[number], raw[name], rtol=1e-4, atol=1e-5, err_msg=name)
            np.testing.assert_allclose(measure.null_mean[number], values.mean(axis=0), rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(measure.null_sd[number], values.std(axis=0, ddof=1), rtol=2e-3, atol=1e-4)
    assert found.attributes["distinct_null_pairs"] == sum(len(set(column)) for column in partners.T.tolist())


def test_a_measure_that_is_added_to_the_registry_is_in_the_file_with_its_null(tmp_path, monkeypatch):
    """One function and one entry are enough."""
    toy = Measure(
        "toy", "token", lambda pairs: 2 * pairs.scores["cosine"], True, True, "toy", "", "twice the path score"
    )
    own = Measure("toy_own", "token", lambda pairs: pairs.T_s, None, False, "toy", "", "frames")
    monkeypatch.setitem(MEASURES, "toy", toy)
    monkeypatch.setitem(MEASURES, "toy_own", own)
    found = measured(tmp_path, random_states(LENGTHS_S, 7), random_states(LENGTHS_T, 8))
    toy, plain = found.measures["toy"], found.measures["path_score_cosine"]
    np.testing.assert_allclose(toy.raw, 2 * plain.raw, rtol=1e-6)
    np.testing.assert_allclose(toy.null_mean, 2 * plain.null_mean, rtol=1e-6)
    np.testing.assert_array_equal(toy.p, plain.p)
    np.testing.assert_array_equal(found.measures["toy_own"].raw, np.tile(np.array(LENGTHS_S)[:, None], (1, 4)))


def test_unrelated_pairs_are_at_chance_after_calibration(tmp_path):
    lengths = list(range(20, 50))
    speech, text = random_states(lengths, 7), random_states([n // 2 for n in lengths], 8)
    found = measured(tmp_path, speech, text).measures
    raw, null = found["path_score_cosine"].raw.mean(axis=0), found["path_score_cosine"].null_mean.mean(axis=0)
    assert (raw > 0.25).all()  # the best of many frames is similar by chance alone
    assert np.abs(calibrate(raw, null, True)).max() < 0.03
    distance = found["path_score_euclidean"]
    ratio = calibrate(distance.raw.mean(axis=0), distance.null_mean.mean(axis=0), False)
    np.testing.assert_allclose(ratio, 1, atol=0.02)
    assert 0.3 < np.nanmean(found["path_score_cosine"].p) < 0.7


def test_questions_are_aligned_independently_of_their_order(tmp_path):
    text = random_states(LENGTHS_T, 9)
    speech = random_states(LENGTHS_S, 10)
    order = np.random.default_rng(11).permutation(len(text))
    before = measured(tmp_path, speech, text)
    after = measured(tmp_path, [speech[n] for n in order], [text[n] for n in order])
    for name, values in before.measures.items():
        if name == CENTRED:  # the halves follow the ids, which stay in their places
            continue
        np.testing.assert_allclose(values.raw[order], after.measures[name].raw, rtol=1e-5, atol=1e-6, err_msg=name)
    for place, number in enumerate(order):
        np.testing.assert_array_equal(after.paths["euclidean"][place], before.paths["euclidean"][number])


def test_a_single_question_has_values_but_no_null_and_that_is_counted(tmp_path):
    found = measured(tmp_path, random_states([20], 12), random_states([6], 13))
    assert np.isfinite(found.measures["path_score_cosine"].raw).all()
    assert all(np.isnan(values.null_mean).all() and np.isnan(values.p).all() for values in found.measures.values())
    assert found.attributes["null_draws"] == 0
    assert json.loads(found.attributes["undefined_null"]) == dict.fromkeys(WITH_NULL, 4)


def test_monotonicity_of_short_texts_and_constant_paths_is_undefined_and_counted(tmp_path):
    speech, text = random_states(LENGTHS_S, 14), random_states([3, *LENGTHS_T[1:]], 15)
    speech[4][:] = speech[4][:, :1]  # every frame alike: the path stays on frame 0
    found = measured(tmp_path, speech, text)
    rho = found.measures["monotonicity_cosine"].raw
    assert np.isnan(rho[[0, 4]]).all() and np.isfinite(rho[[1, 2, 3, 5, 6]]).all()
    assert (found.paths["cosine"][4] == 0).all()
    undefined = json.loads(found.attributes["undefined"])
    assert undefined == {**dict.fromkeys(WITH_NULL, 0), "monotonicity_cosine": 8, "monotonicity_euclidean": 8}


def test_zero_vectors_have_cosine_zero_and_are_counted(tmp_path):
    speech, text = random_states(LENGTHS_S, 16), random_states(LENGTHS_T, 17)
    text[2][1, 3] = 0
    speech[2][3, 5] = 0
    found = measured(tmp_path, speech, text)
    assert found.scores["cosine"][2][1, 3] == 0
    assert found.attributes["zero_norms"] == 2
    assert np.isfinite(found.measures["path_score_cosine"].raw).all()


def test_examples_are_the_token_matrices_of_the_first_questions(tmp_path):
    speech, text = random_states(LENGTHS_S, 18), random_states(LENGTHS_T, 19)
    found = measured(tmp_path, speech, text, examples=2)
    assert list(found.examples) == ["q0", "q1"]
    expected = token_similarity(speech[1], text[1])
    for metric in ("cosine", "euclidean"):
        matrix = found.examples["q1"][metric]
        assert matrix.dtype == np.float16 and matrix.shape == (4, LENGTHS_S[1], LENGTHS_T[1])
        np.testing.assert_allclose(matrix, getattr(expected, metric), rtol=1e-3, atol=1e-3)
    assert found.example_tokens["q1"] == [f"t{j}" for j in range(LENGTHS_T[1])]


def test_more_examples_than_questions_gives_all_and_none_gives_none(tmp_path):
    speech, text = random_states([20, 22], 20), random_states([6, 7], 21)
    assert len(measured(tmp_path, speech, text, examples=9).examples) == 2
    assert measured(tmp_path, speech, text, examples=0).examples == {}


def test_distances_beyond_float16_are_clipped_in_examples_only(tmp_path):
    speech = [1e5 * one for one in random_states([20, 22], 22)]
    text = random_states([6, 7], 23)
    found = measured(tmp_path, speech, text)
    assert np.isfinite(found.examples["q0"]["euclidean"]).all()
    assert found.measures["path_score_euclidean"].raw.min() > 1e5


def test_the_centred_path_score_loses_a_shared_direction_and_keeps_the_planted_path(tmp_path):
    lengths = [8 + n % 5 for n in range(24)]
    text = random_states(lengths, 24)
    speech, _ = plant_text(text, [3 * n for n in lengths], 25)
    rng = np.random.default_rng(26)
    offsets = [6 * rng.standard_normal((4, 1, 32)).astype(np.float32) for _ in range(2)]
    found = measured(tmp_path, [one + offsets[0] for one in speech], [one + offsets[1] for one in text]).measures
    assert found["path_score_cosine"].raw.mean() < 0.2  # the two offsets are unrelated and hide the plant
    assert found[CENTRED].raw.mean() > 0.9
    assert found[CENTRED].p.max() < 0.06


def test_without_draws_there_is_no_null(tmp_path):
    found = measured(tmp_path, random_states(LENGTHS_S, 27), random_states(LENGTHS_T, 28), draws=0)
    assert found.attributes["null_draws"] == 0
    assert all(np.isnan(values.p).all() for values in found.measures.values())
    assert found.draws["consistency"][0].shape == (0, 4)


def test_other_readings_of_the_path_are_those_of_the_token_matrix(tmp_path):
    speech, text = random_states(LENGTHS_S, 29), random_states(LENGTHS_T, 30)
    found = measured(tmp_path, speech, text).measures
    for number, pair in enumerate(zip(speech, text)):
        matrices = token_similarity(*pair)
        cosine, frames = matrices.cosine, matrices.cosine.argmax(axis=1)
        back = found["path_score_frame_to_text"].raw[number]
        np.testing.assert_allclose(back, cosine.max(axis=2).mean(axis=1), rtol=1e-5)
        distances = np.take_along_axis(matrices.euclidean, frames[:, None], axis=1).mean(axis=(1, 2))
        reused = found["path_score_euclidean_on_cosine_path"].raw[number]
        np.testing.assert_allclose(reused, distances, rtol=1e-4)
        assert (reused >= found["path_score_euclidean"].raw[number] - 1e-5).all()
        for layer, matrix in enumerate(cosine):
            mutual = [
                matrix[i, j] for j, i in enumerate(matrix.argmax(axis=0)) if matrix[i].argmax() == j
            ]  # fmt: skip
            assert found["path_score_mutual"].raw[number, layer] == pytest.approx(np.mean(mutual), rel=1e-5)
