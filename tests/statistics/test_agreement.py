"""Agreement of two systems against textbook values, an independent formula, and nulls."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.statistics.agreement import outcome_agreement


def outcomes(both, first_only, second_only, neither):
    first = [1] * both + [1] * first_only + [0] * second_only + [0] * neither
    second = [1] * both + [0] * first_only + [1] * second_only + [0] * neither
    return np.array(first), np.array(second)


def test_kappa_of_a_known_table():
    found = outcome_agreement(*outcomes(20, 5, 10, 15))  # observed 0.7, expected 0.5
    assert found.agreement == pytest.approx(0.7)
    assert found.kappa == pytest.approx(0.4)
    assert found.error_overlap == pytest.approx(15 / 30)
    assert found.error_overlap_chance == pytest.approx(0.5 * 0.4 / (1 - 0.5 * 0.6))


def test_opposite_outcomes_have_kappa_below_0_and_no_common_error():
    found = outcome_agreement(*outcomes(0, 10, 10, 0))
    assert (found.kappa, found.error_overlap) == (-1, 0)


def test_kappa_is_undefined_where_nothing_varies_and_overlap_where_nothing_fails():
    found = outcome_agreement(*outcomes(9, 0, 0, 0))
    assert math.isnan(found.kappa) and math.isnan(found.error_overlap)
    assert found.agreement == 1
    assert outcome_agreement(*outcomes(0, 0, 0, 9)).error_overlap == 1


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=2, max_size=40), st.integers(0, 99))
def test_weights_are_the_same_as_repeating_questions(pairs, seed):
    first, second = np.array(pairs).T
    weights = np.random.default_rng(seed).integers(0, 4, (3, len(pairs)))
    weights[:, 0] += 1
    found = outcome_agreement(first, second, weights)
    for draw, row in enumerate(weights):
        repeated = outcome_agreement(np.repeat(first, row), np.repeat(second, row))
        for name in ("agreement", "kappa", "error_overlap", "error_overlap_chance"):
            assert getattr(found, name)[draw] == pytest.approx(float(getattr(repeated, name)), nan_ok=True, abs=1e-9)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=40))
def test_agreement_is_symmetric_and_bounded(pairs):
    first, second = np.array(pairs).T
    one, other = outcome_agreement(first, second), outcome_agreement(second, first)
    assert one.kappa == pytest.approx(float(other.kappa), nan_ok=True)
    assert 0 <= one.agreement <= 1
    assert np.isnan(one.kappa) or -1 - 1e-9 <= one.kappa <= 1 + 1e-9


def test_independent_outcomes_have_kappa_0_on_average():
    rng = np.random.default_rng(0)
    found = [outcome_agreement(rng.random(200) < 0.7, rng.random(200) < 0.4).kappa for _ in range(200)]
    assert abs(np.mean(found)) < 0.02


@pytest.mark.parametrize(("first", "second"), [([], []), ([1, 0], [1]), ([[1]], [[1]])])
def test_lengths_that_do_not_fit_are_refused(first, second):
    with pytest.raises(ValueError, match="equal length"):
        outcome_agreement(np.array(first), np.array(second))


def test_graded_outcomes_are_refused():
    with pytest.raises(ValueError, match="0 or 1"):
        outcome_agreement(np.array([0.5, 1]), np.array([1, 1]))
