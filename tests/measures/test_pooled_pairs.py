"""Pooled similarity: planted answers, invariances, bad input, extreme shapes and types."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.measures.one_question import pooled_similarity
from workflow_scripts.measures.reading import mean_over_layers
from workflow_scripts.measures.states import InvalidStates, prepare


def states(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def rotation(d: int, seed: int) -> np.ndarray:
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((d, d)))
    return q.astype(np.float32)


def test_repeating_every_text_vector_leaves_the_means_equal():
    text = states(0, 4, 5, 16)
    result = pooled_similarity(np.repeat(text, 3, axis=1), text)
    np.testing.assert_allclose(result.cosine, 1, atol=1e-6)
    np.testing.assert_allclose(result.euclidean, 0, atol=1e-5)
    np.testing.assert_allclose(result.norm_speech, result.norm_text, rtol=1e-5)


def test_cosine_ignores_scale_and_distance_does_not():
    speech, text = states(1, 3, 9, 8), states(2, 3, 4, 8)
    plain, scaled = pooled_similarity(speech, text), pooled_similarity(5 * speech, 5 * text)
    np.testing.assert_allclose(scaled.cosine, plain.cosine, atol=1e-6)
    np.testing.assert_allclose(scaled.euclidean, 5 * plain.euclidean, rtol=1e-5)
    np.testing.assert_allclose(scaled.length_free_distance, plain.length_free_distance, rtol=1e-5)


def test_rotating_both_forms_changes_nothing():
    speech, text, q = states(3, 3, 9, 12), states(4, 3, 4, 12), rotation(12, 5)
    plain, turned = pooled_similarity(speech, text), pooled_similarity(speech @ q, text @ q)
    np.testing.assert_allclose(turned.cosine, plain.cosine, atol=1e-5)
    np.testing.assert_allclose(turned.euclidean, plain.euclidean, rtol=1e-4)


def test_distance_norms_and_cosine_obey_the_law_of_cosines():
    result = pooled_similarity(states(6, 5, 7, 10), states(7, 5, 3, 10))
    s, t = result.norm_speech, result.norm_text
    np.testing.assert_allclose(result.euclidean**2, s**2 + t**2 - 2 * s * t * result.cosine, rtol=1e-5)


def test_log_norm_ratios_recover_a_planted_factor():
    text = states(8, 3, 6, 10)
    result = pooled_similarity(np.e**2 * text, text)
    np.testing.assert_allclose(result.log_norm_ratio, 2, atol=1e-5)


def test_sim_averages_layers_one_to_L_and_leaves_the_embeddings_out():
    text = states(9, 3, 4, 8)
    speech = text.copy()
    speech[0] = -text[0]
    result = pooled_similarity(speech, text)
    assert result.cosine[0] == pytest.approx(-1)
    assert result.sim_cosine == pytest.approx(1)
    assert result.sim_euclidean == pytest.approx(0, abs=1e-5)


def test_a_zero_mean_gives_cosine_zero():
    text = states(10, 2, 3, 4)
    speech = np.stack([states(11, 3, 4), np.array([[1, 0, 0, 0], [1, 0, 0, 0], [-2, 0, 0, 0]], np.float32)])
    result = pooled_similarity(speech, text)
    assert result.cosine[1] == 0
    assert result.euclidean[1] == pytest.approx(result.norm_text[1])
    assert np.isnan(result.log_norm_ratio[1])
    assert np.isnan(result.length_free_distance[1])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_states_are_refused_with_their_layer(value):
    speech = states(12, 5, 6, 4)
    speech[3, 2, 1] = value
    with pytest.raises(InvalidStates, match=r"speech states are not finite in layer 3, position 2") as error:
        pooled_similarity(speech, states(13, 5, 2, 4))
    assert error.value.layer == 3


def test_values_that_would_overflow_inner_products_are_refused():
    with pytest.raises(InvalidStates, match=r"too large .* in layer 1"):
        prepare(np.array([[[1.0]], [[1e20]]]))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 3, 4), np.uint16), "uint16"),
        (np.zeros((3, 4)), r"\(3, 4\)"),
        (np.zeros((2, 0, 4)), r"\(2, 0, 4\)"),
    ],
)
def test_arrays_that_are_not_states_are_refused(array, message):
    with pytest.raises(ValueError, match=message):
        prepare(array)


def test_states_of_two_models_are_not_compared():
    with pytest.raises(InvalidStates, match="3 layers of size 8 but text states 3 layers of size 9"):
        pooled_similarity(states(0, 3, 2, 8), states(0, 3, 2, 9))


def test_a_layer_mean_needs_a_layer_beyond_the_embeddings_and_skips_undefined_ones():
    with pytest.raises(ValueError, match="more than 1 layer"):
        mean_over_layers(np.array([1.0]))
    assert mean_over_layers(np.array([9.0, 1.0, np.nan, 3.0])) == 2.0
    assert np.isnan(mean_over_layers(np.array([1.0, np.nan])))


@settings(max_examples=60)
@given(
    layers=st.integers(1, 4),
    T_s=st.integers(1, 12),
    T_t=st.integers(1, 9),
    d=st.integers(1, 17),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
    seed=st.integers(0, 2**16),
)
def test_every_shape_and_type_agrees_with_float64_arithmetic(layers, T_s, T_t, d, dtype, seed):
    rng = np.random.default_rng(seed)
    speech = rng.standard_normal((layers, T_s, d)).astype(dtype)
    text = rng.standard_normal((layers, T_t, d)).astype(dtype)
    result = pooled_similarity(speech, text)
    s, t = speech.astype(np.float64).mean(axis=1), text.astype(np.float64).mean(axis=1)
    np.testing.assert_allclose(result.euclidean, np.linalg.norm(s - t, axis=1), rtol=1e-4, atol=1e-6)
    expected = (s * t).sum(axis=1) / (np.linalg.norm(s, axis=1) * np.linalg.norm(t, axis=1))
    clear = np.minimum(np.linalg.norm(s, axis=1), np.linalg.norm(t, axis=1)) > 1e-2
    np.testing.assert_allclose(result.cosine[clear], expected[clear], atol=1e-4)
    assert np.all(np.abs(result.cosine) <= 1)
