"""Agreement of two systems against textbook values, an independent formula, and nulls."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from statsmodels.stats.inter_rater import cohens_kappa

from workflow_scripts.statistics.agreement import agreement_intervals, outcome_agreement


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


def test_intervals_of_a_known_table():
    """Shares are Clopper and Pearson's; kappa's is that of statsmodels with one question more in each cell."""
    found = agreement_intervals(*outcomes(20, 5, 10, 15))
    exact = (binomtest(k, n).proportion_ci(0.95, method="exact") for k, n in ((35, 50), (15, 30)))
    assert [found[name] for name in ("agreement", "error_overlap")] == [
        pytest.approx((ci.low, ci.high)) for ci in exact
    ]
    more = cohens_kappa(np.array([[21, 6], [11, 16]]))
    assert found["kappa"] == pytest.approx((more.kappa_low, more.kappa_upp))


def test_what_is_undefined_has_no_interval_and_perfect_agreement_has_a_width():
    nothing = agreement_intervals(*outcomes(9, 0, 0, 0))
    assert np.isnan([*nothing["kappa"], *nothing["error_overlap"]]).all() and nothing["agreement"][0] < 0.7
    assert np.isnan(list(agreement_intervals(*outcomes(1, 0, 0, 0)).values())).all()
    low, high = agreement_intervals(*outcomes(10, 0, 0, 10))["kappa"]
    assert 0.4 < low < 0.9 and high == 1


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
