"""Monotonicity, consistency, violations and collisions of a path."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from workflow_scripts.measures.path_statistics import collisions, consistency, monotonicity, violations

paths = st.integers(4, 30).flatmap(
    lambda n: st.lists(st.lists(st.integers(0, 12), min_size=n, max_size=n), min_size=1, max_size=4)
)


@settings(max_examples=150)
@given(paths)
def test_monotonicity_equals_spearman_with_averaged_ties(rows):
    i_star = np.array(rows)
    for row, rho in zip(i_star, monotonicity(i_star)):
        if len(set(row)) == 1:
            assert np.isnan(rho)
        else:
            assert rho == pytest.approx(spearmanr(np.arange(row.size), row).statistic, abs=1e-12)


def test_monotonicity_is_one_for_rising_and_minus_one_for_falling_paths():
    rising = np.array([0, 3, 4, 9, 20])
    np.testing.assert_allclose(monotonicity(np.stack([rising, rising[::-1]])), [1, -1])


@given(paths, st.integers(0, 1000))
def test_shifting_all_frames_changes_no_statistic(rows, shift):
    i_star = np.array(rows)
    for statistic in (monotonicity, violations, collisions):
        np.testing.assert_array_equal(statistic(i_star), statistic(i_star + shift))


def test_the_number_of_frames_does_not_change_monotonicity():
    i_star = np.array([[0, 2, 1, 5, 5]])
    np.testing.assert_array_equal(monotonicity(i_star), monotonicity(i_star, frames=300))


def test_monotonicity_is_undefined_for_three_tokens_and_for_a_constant_path():
    assert np.isnan(monotonicity(np.array([[0, 1, 2]]))).all()
    assert np.isnan(monotonicity(np.array([[5, 5, 5, 5, 5], [1, 2, 3, 4, 5]]))).tolist() == [True, False]


def test_consistency_counts_agreements_by_hand():
    a, b = np.array([[1, 2, 3, 4], [0, 0, 0, 0]]), np.array([[1, 3, 3, 9], [0, 0, 0, 0]])
    np.testing.assert_array_equal(consistency(a, b), [0.5, 1])
    np.testing.assert_array_equal(consistency(a, b, tolerance=1), [0.75, 1])


def test_violations_and_collisions_by_hand():
    i_star = np.array([[1, 1, 0, 5, 4], [0, 1, 2, 3, 4], [7, 7, 7, 7, 7]])
    np.testing.assert_allclose(violations(i_star), [0.5, 0, 0])
    np.testing.assert_allclose(collisions(i_star), [0.2, 0, 0.8])


def test_a_single_token_has_no_steps_and_no_collisions():
    assert np.isnan(violations(np.array([[3]]))).all()
    np.testing.assert_array_equal(collisions(np.array([[3]])), 0)


@pytest.mark.parametrize(
    ("path", "message"),
    [(np.array([1, 2]), "shape"), (np.array([[0.5]]), "float64"), (np.array([[0, -1]]), "-1")],
)
def test_arrays_that_are_not_paths_are_refused(path, message):
    with pytest.raises(ValueError, match=message):
        collisions(path)


def test_paths_of_different_samples_are_not_compared():
    with pytest.raises(ValueError, match="same sample"):
        consistency(np.array([[1, 2]]), np.array([[1, 2, 3]]))
