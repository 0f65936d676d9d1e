"""Token matrices, paths and APS: planted alignments, nulls, invariances, precision and ties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.measures.one_question import token_alignment
from workflow_scripts.measures.reading import mean_over_layers
from workflow_scripts.measures.shuffle_null import calibrate, derangements
from workflow_scripts.measures.states import InvalidStates, prepare
from workflow_scripts.measures.token_alignment import alignment_path, token_similarity


def states(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def planted(seed: int, frames: np.ndarray, T_s: int, layers: int = 3, d: int = 32):
    """Speech of equal-norm noise in which text vector j sits at frame `frames[j]`."""
    speech, text = states(seed, layers, T_s, d), states(seed + 1, layers, len(frames), d)
    text /= np.linalg.norm(text, axis=2, keepdims=True)
    speech /= np.linalg.norm(speech, axis=2, keepdims=True)
    speech[:, frames] = text
    return speech, text


def test_planted_text_vectors_are_found_and_score_one():
    frames = np.array([2, 3, 7, 11, 12])
    result = token_alignment(*planted(0, frames, 20))
    for metric in (result.cosine, result.euclidean):
        np.testing.assert_array_equal(metric.i_star, np.tile(frames, (3, 1)))
        np.testing.assert_allclose(metric.monotonicity, 1)
        assert metric.undefined == 0
    np.testing.assert_allclose(result.cosine.path_score, 1, atol=1e-6)
    np.testing.assert_allclose(result.euclidean.path_score, 0, atol=1e-3)
    assert result.cosine.aps == pytest.approx(1, abs=1e-6)
    np.testing.assert_array_equal(result.consistency, 1)


def test_a_reversed_plant_has_monotonicity_minus_one():
    result = token_alignment(*planted(1, np.array([15, 9, 6, 4, 1]), 20))
    np.testing.assert_allclose(result.cosine.monotonicity, -1)


def test_permuting_frames_permutes_the_path_and_keeps_aps():
    speech, text = states(2, 4, 30, 16), states(3, 4, 9, 16)
    order = np.random.default_rng(4).permutation(30)
    plain, moved = token_alignment(speech, text), token_alignment(speech[:, order], text)
    for name in ("cosine", "euclidean"):
        a, b = getattr(plain, name), getattr(moved, name)
        np.testing.assert_array_equal(order[b.i_star], a.i_star)
        np.testing.assert_allclose(b.aps_by_layer, a.aps_by_layer, rtol=1e-5)


def test_rotation_and_common_scale_keep_paths_and_consistency():
    speech, text = states(5, 3, 25, 16), states(6, 3, 8, 16)
    q, _ = np.linalg.qr(np.random.default_rng(7).standard_normal((16, 16)))
    plain, moved = token_alignment(speech, text), token_alignment(3 * speech @ q, 3 * text @ q)
    np.testing.assert_array_equal(moved.cosine.i_star, plain.cosine.i_star)
    np.testing.assert_array_equal(moved.euclidean.i_star, plain.euclidean.i_star)
    np.testing.assert_array_equal(moved.consistency, plain.consistency)
    np.testing.assert_allclose(moved.cosine.aps_by_layer, plain.cosine.aps_by_layer, atol=1e-5)
    np.testing.assert_allclose(moved.euclidean.aps_by_layer, 3 * plain.euclidean.aps_by_layer, rtol=1e-4)


def test_equal_norm_speech_vectors_make_the_metrics_agree():
    speech, text = states(8, 3, 40, 16), states(9, 3, 12, 16)
    speech /= np.linalg.norm(speech, axis=2, keepdims=True)
    np.testing.assert_array_equal(token_alignment(7 * speech, text).consistency, 1)


def test_the_calibrated_aps_of_unrelated_pairs_is_near_zero_although_raw_is_not():
    rng = np.random.default_rng(10)
    shared = 0.5 * rng.standard_normal(24)
    n, draws = 24, 30
    speech = [prepare(rng.standard_normal((2, 20, 24)) + shared) for _ in range(n)]
    text = [prepare(rng.standard_normal((2, 6, 24)) + shared) for _ in range(n)]
    partners = derangements(np.full(n, 20), np.full(n, 6), draws, seed=1)
    raw = np.array([token_alignment(s, t).cosine.aps for s, t in zip(speech, text)])
    null = np.array([[token_alignment(speech[i], text[j]).cosine.aps for i, j in enumerate(p)] for p in partners])
    chance = null.mean(axis=1)
    assert raw.mean() > 0.3
    assert abs(calibrate(raw.mean(), chance.mean(), True)) < 0.03
    assert abs(raw.mean() - chance.mean()) / chance.std(ddof=1) < 3


def test_monotonicity_of_random_paths_is_zero_within_two_standard_errors():
    rho = np.array([token_alignment(states(s, 2, 40, 8), states(s + 999, 2, 10, 8)).cosine.monotonicity
                    for s in range(150)])  # fmt: skip
    assert abs(rho.mean()) < 2 * rho.std() / np.sqrt(rho.size)


@pytest.mark.parametrize("offset", [0.0, 10.0, 100.0])
@pytest.mark.parametrize("noise", [1.0, 1e-2, 1e-3])
def test_distances_keep_four_digits_against_float64_even_when_terms_cancel(offset, noise):
    rng = np.random.default_rng(11)
    text = (rng.standard_normal((3, 8, 512)) + offset).astype(np.float32)
    speech = (np.repeat(text, 4, axis=1) + noise * rng.standard_normal((3, 32, 512))).astype(np.float32)
    exact = np.linalg.norm(speech[:, :, None].astype(np.float64) - text[:, None].astype(np.float64), axis=3)
    np.testing.assert_allclose(token_similarity(speech, text).euclidean, exact, rtol=1e-4)
    result = token_alignment(speech, text).euclidean
    np.testing.assert_allclose(result.path_score, exact.min(axis=1), rtol=1e-4)
    np.testing.assert_array_equal(result.i_star, exact.argmin(axis=1))


def test_the_fast_function_reads_the_same_path_as_the_matrices():
    speech, text = states(12, 4, 50, 24), states(13, 4, 11, 24)
    matrices, result = token_similarity(speech, text), token_alignment(speech, text)
    for name in ("cosine", "euclidean"):
        i_star, path_score = alignment_path(getattr(matrices, name), name)
        np.testing.assert_array_equal(getattr(result, name).i_star, i_star)
        np.testing.assert_allclose(getattr(result, name).path_score, path_score, rtol=1e-5)


def test_prepared_states_give_the_same_bits():
    speech, text = states(14, 3, 9, 8), states(15, 3, 5, 8)
    plain, again = token_alignment(speech, text), token_alignment(prepare(speech), prepare(text))
    np.testing.assert_array_equal(plain.cosine.path_score, again.cosine.path_score)
    np.testing.assert_array_equal(plain.euclidean.path_score, again.euclidean.path_score)


@settings(max_examples=60)
@given(units=st.lists(st.integers(0, 4), min_size=2, max_size=40), d=st.integers(2, 33), seed=st.integers(0, 999))
def test_among_repeated_speech_vectors_the_first_is_chosen(units, d, seed):
    table = states(seed, 2, 5, d)
    speech, text = table[:, units], states(seed + 1, 2, 7, d)
    result = token_alignment(speech, text)
    first = np.array([units.index(unit) for unit in units])
    for metric in (result.cosine, result.euclidean):
        np.testing.assert_array_equal(first[metric.i_star], metric.i_star)


def test_repeats_are_recognised_among_other_vectors_of_equal_norm():
    vectors = np.array([[1, 1], [1, -1], [-1, 1], [1, 1], [1, -1], [-0.0, 0], [0.0, 0]])[None]
    np.testing.assert_array_equal(prepare(vectors).first_equal, [[0, 1, 2, 0, 1, 5, 5]])


def test_zero_vectors_have_cosine_zero_and_are_counted():
    speech, text = states(16, 2, 4, 6), states(17, 2, 3, 6)
    speech[1, 2] = 0
    text[1, 0] = 0
    matrices, result = token_similarity(speech, text), token_alignment(speech, text)
    assert matrices.zero_norms == result.zero_norms == 2
    np.testing.assert_array_equal(matrices.cosine[1, 2], 0)
    np.testing.assert_array_equal(matrices.cosine[1, :, 0], 0)
    assert result.cosine.i_star[1, 0] == 0
    assert np.isfinite(matrices.cosine).all()
    np.testing.assert_allclose(matrices.euclidean[1, :, 0], np.linalg.norm(speech[1], axis=1), rtol=1e-5)


def test_short_texts_have_no_monotonicity_and_are_counted():
    result = token_alignment(states(18, 3, 9, 4), states(19, 3, 3, 4))
    assert np.isnan(result.cosine.monotonicity).all()
    assert result.cosine.undefined == 3
    assert np.isnan(mean_over_layers(result.cosine.monotonicity))


def test_a_single_frame_takes_every_token():
    result = token_alignment(states(20, 3, 1, 4), states(21, 3, 6, 4))
    np.testing.assert_array_equal(result.cosine.i_star, 0)
    np.testing.assert_array_equal(result.consistency, 1)
    assert result.cosine.undefined == 3


def test_non_finite_text_is_refused_with_its_layer():
    text = states(22, 3, 4, 5)
    text[2, 0, 0] = np.nan
    with pytest.raises(InvalidStates, match=r"text states are not finite in layer 2"):
        token_alignment(states(23, 3, 4, 5), text)


@pytest.mark.parametrize(("metric", "shape"), [("cos", (1, 2, 2)), ("cosine", (2, 2)), ("euclidean", (1, 0, 2))])
def test_alignment_path_refuses_unknown_metrics_and_shapes(metric, shape):
    with pytest.raises(ValueError, match="expected"):
        alignment_path(np.zeros(shape), metric)


def test_alignment_path_takes_the_first_of_tied_frames():
    matrix = np.array([[[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]])
    assert alignment_path(matrix, "cosine")[0].tolist() == [[0, 0]]
    assert alignment_path(matrix, "euclidean")[0].tolist() == [[2, 0]]


@settings(max_examples=80)
@given(
    layers=st.integers(1, 3),
    T_s=st.integers(1, 14),
    T_t=st.integers(1, 9),
    d=st.integers(1, 40),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
    scale=st.sampled_from([1e-2, 1.0, 1e3]),
    seed=st.integers(0, 2**16),
)
def test_every_shape_and_type_agrees_with_float64_arithmetic(layers, T_s, T_t, d, dtype, scale, seed):
    rng = np.random.default_rng(seed)
    speech = (scale * rng.standard_normal((layers, T_s, d))).astype(dtype)
    text = (scale * rng.standard_normal((layers, T_t, d))).astype(dtype)
    s, t = speech.astype(np.float32).astype(np.float64), text.astype(np.float32).astype(np.float64)
    distance = np.linalg.norm(s[:, :, None] - t[:, None], axis=3)
    cosine = s @ t.transpose(0, 2, 1)
    cosine /= np.linalg.norm(s, axis=2)[:, :, None] * np.linalg.norm(t, axis=2)[:, None]
    matrices, result = token_similarity(speech, text), token_alignment(speech, text)
    np.testing.assert_allclose(matrices.cosine, cosine, atol=1e-5)
    np.testing.assert_allclose(matrices.euclidean, distance, rtol=1e-4, atol=1e-6 * scale)
    np.testing.assert_allclose(result.cosine.path_score, cosine.max(axis=1), atol=1e-5)
    np.testing.assert_allclose(result.euclidean.path_score, distance.min(axis=1), rtol=1e-4, atol=1e-6 * scale)
    np.testing.assert_allclose(result.cosine.aps_by_layer, cosine.max(axis=1).mean(axis=1), atol=1e-5)
