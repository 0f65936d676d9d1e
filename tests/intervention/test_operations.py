"""Each operation keeps and changes exactly what it says."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from workflow_scripts.intervention.operations import ZERO_NORM, edit_vectors

NUMBERS = st.floats(-1e3, 1e3, allow_nan=False, width=32)


@st.composite
def vector_pairs(draw):
    """Speech and text vectors (n, d), some of them possibly zero."""
    shape = draw(st.integers(1, 6)), draw(st.integers(2, 5))
    return tuple(torch.from_numpy(draw(arrays("float32", shape, elements=NUMBERS))) for _ in range(2))


def defined(speech, text):
    return (speech.double().norm(dim=1) > ZERO_NORM) & (text.double().norm(dim=1) > ZERO_NORM)


@given(vector_pairs())
def test_angle_gives_the_direction_of_the_text_and_keeps_the_length_of_the_speech(pair):
    speech, text = pair
    found = edit_vectors("angle", speech, text)
    s, t = speech[found.kept].double(), text[found.kept].double()
    cosine = torch.nn.functional.cosine_similarity(found.values, t, eps=1e-300)
    torch.testing.assert_close(cosine, torch.ones_like(cosine))
    torch.testing.assert_close(found.values.norm(dim=1), s.norm(dim=1))


@given(vector_pairs())
def test_length_gives_the_length_of_the_text_and_keeps_the_direction_of_the_speech(pair):
    speech, text = pair
    found = edit_vectors("length", speech, text)
    s, t = speech[found.kept].double(), text[found.kept].double()
    torch.testing.assert_close(found.values.norm(dim=1), t.norm(dim=1))
    cosine = torch.nn.functional.cosine_similarity(found.values, s, eps=1e-300)
    torch.testing.assert_close(cosine, torch.ones_like(cosine))


@given(vector_pairs(), st.sampled_from(["angle", "length", "no_op", "orthogonal", "replace"]))
def test_pairs_with_a_zero_vector_are_left_out_and_only_those(pair, operation):
    found = edit_vectors(operation, *pair)
    assert found.kept.tolist() == torch.nonzero(defined(*pair))[:, 0].tolist()
    assert set(range(len(pair[0]))) - set(found.kept.tolist()) == set(torch.nonzero(~defined(*pair))[:, 0].tolist())
    assert found.n_edited == len(found.values) == len(found.log_norm_ratio) == len(found.shift)
    assert torch.isfinite(found.values).all()


@given(vector_pairs())
def test_angle_then_length_is_the_text_itself(pair):
    speech, text = pair
    once = edit_vectors("angle", speech, text)
    twice = edit_vectors("length", once.values, text[once.kept].double())
    torch.testing.assert_close(twice.values, text[once.kept].double())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_no_op_returns_the_very_bits_in_the_models_number_format(dtype):
    speech = torch.randn(4, 8, generator=torch.Generator().manual_seed(0)).to(dtype)
    found = edit_vectors("no_op", speech, torch.ones(4, 8, dtype=dtype))
    assert found.values.dtype == dtype and torch.equal(found.values, speech)
    assert (found.shift == 0).all()


def test_recorded_ratio_and_shift_are_those_of_the_edit():
    speech, text = torch.tensor([[3.0, 4.0], [0.0, 2.0]]), torch.tensor([[1.0, 0.0], [0.0, -4.0]])
    found = edit_vectors("angle", speech, text)
    torch.testing.assert_close(found.values, torch.tensor([[5.0, 0.0], [0.0, -2.0]]).double())
    torch.testing.assert_close(found.log_norm_ratio, torch.log(torch.tensor([5.0, 0.5]).double()))
    torch.testing.assert_close(found.shift, torch.tensor([20**0.5, 4.0]).double())


def test_wrong_shapes_and_operations_are_refused():
    with pytest.raises(ValueError, match=r"\(3, 3\) must be"):
        edit_vectors("angle", torch.ones(2, 3), torch.ones(3, 3))
    with pytest.raises(ValueError, match="'swap' is unknown"):
        edit_vectors("swap", torch.ones(2, 3), torch.ones(2, 3))


S, T = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 2.0]])


@pytest.mark.parametrize(
    ("operation", "weight", "expected"),
    [
        ("partial_angle", 0.5, [3 * 0.5**0.5, 3 * 0.5**0.5]),
        ("partial_angle", 0.25, [9 / 10**0.5, 3 / 10**0.5]),
        ("partial_angle", 1.0, [0.0, 3.0]),
        ("slerp", 1 / 3, [3 * 0.75**0.5, 1.5]),
        ("slerp", 1.0, [0.0, 3.0]),
        ("replace", 1.0, [0.0, 2.0]),
        ("mean_length", 1.0, [7.0, 0.0]),
        ("orthogonal", 1.0, [0.0, 0.0]),
    ],
)
def test_values_by_hand(operation, weight, expected):
    found = edit_vectors(operation, S, T, weight=weight, mean_length=7.0)
    torch.testing.assert_close(found.values, torch.tensor([expected], dtype=torch.float64), atol=1e-12, rtol=1e-9)


@given(vector_pairs(), st.sampled_from(["partial_angle", "slerp"]), st.floats(0.05, 1.0))
def test_rotations_keep_the_length_and_come_no_further_from_the_text(pair, operation, weight):
    found = edit_vectors(operation, *pair, weight=weight)
    s, t = pair[0][found.kept].double(), pair[1][found.kept].double()
    torch.testing.assert_close(found.values.norm(dim=1), s.norm(dim=1))
    before, after = (torch.nn.functional.cosine_similarity(v, t, eps=1e-300) for v in (s, found.values))
    assert (after >= before - 1e-6).all()


def test_the_projection_is_the_nearest_point_on_the_line_of_the_text():
    rng = torch.Generator().manual_seed(0)
    s, t = (torch.randn(5, 8, generator=rng, dtype=torch.float64) for _ in range(2))
    projected = edit_vectors("orthogonal", s, t).values
    torch.testing.assert_close(((s - projected) * t).sum(dim=1), torch.zeros(5, dtype=torch.float64))


def test_opposite_vectors_have_nothing_between_them_and_are_left_out():
    for operation in ("partial_angle", "slerp"):
        assert edit_vectors(operation, S, -S, weight=0.5).n_edited == 0
        assert edit_vectors(operation, S, S, weight=0.5).values.tolist() == S.tolist()


def test_noise_has_the_length_asked_for_and_follows_its_generator():
    s = torch.randn(50, 16, generator=torch.Generator().manual_seed(1))
    one, same, other = (
        edit_vectors("noise", s, s, weight=0.3, generator=torch.Generator().manual_seed(seed)) for seed in (5, 5, 6)
    )
    torch.testing.assert_close(one.shift, 0.3 * s.double().norm(dim=1))
    assert torch.equal(one.values, same.values) and not torch.equal(one.values, other.values)


def test_arguments_that_an_operation_lacks_are_named():
    with pytest.raises(ValueError, match="mean_length needs"):
        edit_vectors("mean_length", S, T)
    with pytest.raises(ValueError, match="seeded generator"):
        edit_vectors("noise", S, T)
