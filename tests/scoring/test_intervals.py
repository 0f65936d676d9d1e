"""Intervals agree with independent computations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from workflow_scripts.scoring.intervals import exact_interval, mean_interval


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_exact_agrees_with_scipy(case):
    successes, n = case
    expected = stats.binomtest(successes, n).proportion_ci(0.95, method="exact")
    found = exact_interval(successes, n)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_exact_covers_at_least_95_percent_of_planted_shares():
    draws = np.random.default_rng(0).binomial(60, 0.8, size=4000)
    intervals = {k: exact_interval(int(k), 60) for k in np.unique(draws)}
    covered = np.mean([intervals[k].low <= 0.8 <= intervals[k].high for k in draws])
    assert 0.95 <= covered < 0.985


def test_graded_scores_count_as_the_0_1_answers_that_tell_as_much():
    """Half the spread of 0/1 answers: four times as many of them, less the doubt about the spread (Student's t)."""
    values = np.array([0.25, 0.75] * 25)
    found = mean_interval(values.mean(), list(values - values.mean()))
    trials = 50 * 0.25 / (0.0625 * 50 / 49) * (1.959964 / stats.t.ppf(0.975, 49)) ** 2
    low, high = stats.beta.ppf([0.025, 0.975], [trials / 2, trials / 2 + 1], [trials / 2 + 1, trials / 2])
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_equal_scores_have_an_interval_of_some_width_inside_the_scale(value):
    found = mean_interval(value, [0.0] * 20)
    assert 0 <= found.low < found.high <= 1 and found.low <= value <= found.high


def test_one_question_tells_nothing():
    found = mean_interval(0.7, [0.0])
    assert (found.low, found.high) == (0.0, 1.0)
    assert "n < 2" in found.method


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_impossible_counts_are_errors(successes, n):
    with pytest.raises(ValueError, match=f"{successes} of {n}"):
        exact_interval(successes, n)
