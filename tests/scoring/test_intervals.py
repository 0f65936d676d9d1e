"""Intervals agree with independent computations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from workflow_scripts.scoring.intervals import exact_interval, normal_interval


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


def test_normal_is_196_standard_errors():
    values = np.random.default_rng(1).random(50)
    found = normal_interval(values.mean(), list(values - values.mean()))
    half = 1.959964 * values.std(ddof=1) / np.sqrt(50)
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=1e-6)


def test_one_question_tells_nothing():
    found = normal_interval(0.7, [0.0])
    assert (found.low, found.high) == (0.0, 1.0)
    assert "n < 2" in found.method


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_impossible_counts_are_errors(successes, n):
    with pytest.raises(ValueError, match=f"{successes} of {n}"):
        exact_interval(successes, n)
