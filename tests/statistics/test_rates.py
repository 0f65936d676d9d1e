"""Intervals of a rate against scipy, their coverage and edges."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from workflow_scripts.statistics.rates import graded_interval, rate_interval

METHODS = {"wilson": "wilson", "clopper-pearson": "exact"}


@pytest.mark.parametrize("method", METHODS)
@given(data=st.data(), level=st.sampled_from([0.9, 0.95, 0.99]))
def test_intervals_agree_with_scipy(method, data, level):
    n = data.draw(st.integers(1, 600))
    k = data.draw(st.integers(0, n))
    interval = rate_interval(k, n, level, method)
    reference = binomtest(k, n).proportion_ci(level, METHODS[method])
    assert (interval.low, interval.high) == pytest.approx((reference.low, reference.high), abs=1e-9)
    assert interval.low <= interval.rate == k / n <= interval.high
    assert interval.method == method


@pytest.mark.parametrize("method", METHODS)
def test_swapping_success_and_failure_mirrors_the_interval(method):
    one, two = rate_interval(3, 20, method=method), rate_interval(17, 20, method=method)
    assert (one.low, one.high) == pytest.approx((1 - two.high, 1 - two.low))


def test_the_exact_interval_never_covers_less_than_it_says_and_wilson_does_on_average():
    n, rates = 25, np.linspace(0.02, 0.98, 97)
    coverage = {}
    for method in METHODS:
        intervals = [rate_interval(k, n, method=method) for k in range(n + 1)]
        coverage[method] = [
            sum(binom.pmf(k, n, p) for k, i in enumerate(intervals) if i.low <= p <= i.high) for p in rates
        ]
    assert min(coverage["clopper-pearson"]) >= 0.95
    assert np.mean(coverage["wilson"]) == pytest.approx(0.95, abs=0.01)
    assert min(coverage["wilson"]) < 0.95


def test_no_trials_leave_everything_open():
    interval = rate_interval(0, 0)
    assert np.isnan(interval.rate)
    assert (interval.low, interval.high, interval.n) == (0, 1, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, 2), "3 successes in 2"),
        ((-1, 2), "-1"),
        ((0.5, 2), "0.5"),
        ((1, 2, 95), "95"),
        ((1, 2, 0.9, "wald"), "wald"),
    ],
)
def test_impossible_requests_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        rate_interval(*arguments)


def test_values_that_only_rounding_tells_apart_have_the_interval_of_equal_ones():
    value = 0.9964930075308389
    equal = graded_interval(value, 0.0, 5)
    assert 0 < equal[0] < value < equal[1] == 1
    for variance in (1e-32, 1e-20):
        assert graded_interval(value, variance, 5) == equal
