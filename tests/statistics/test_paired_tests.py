"""McNemar and Holm: values by hand, scipy as a reference, symmetry."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from workflow_scripts.statistics.paired_tests import exact_mcnemar_p, holm, mcnemar, mcnemar_from_counts

probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@pytest.fixture(autouse=True, scope="module")
def no_garbage_collection():
    """statsmodels collects garbage in every correction: a tenth of a second each in a large process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gc.collect", lambda: 0)
        yield


@pytest.mark.parametrize(("b", "c", "p"), [(5, 0, 0.0625), (0, 0, 1), (4, 4, 1), (6, 0, 0.03125), (3, 1, 0.625)])
def test_p_values_by_hand(b, c, p):
    assert exact_mcnemar_p(b, c) == exact_mcnemar_p(c, b) == p


@given(st.integers(0, 2000), st.integers(0, 2000))
def test_p_equals_the_binomial_test(b, c):
    expected = binomtest(b, b + c).pvalue if b + c else 1
    assert exact_mcnemar_p(b, c) == pytest.approx(expected, rel=1e-8)


def test_counts_are_read_from_the_answers():
    before = np.array([0, 0, 0, 1, 1, 0, 1])
    after = np.array([1, 1, 0, 1, 0, 1, 1])
    result = mcnemar(before, after)
    assert (result.b, result.c, result.n, result.net) == (3, 1, 7, 2)
    assert result.p == 0.625
    assert result.difference == pytest.approx(after.mean() - before.mean())
    assert result == mcnemar(before.astype(bool), after.astype(float))


def test_swapping_the_conditions_mirrors_the_result():
    one, two = mcnemar_from_counts(9, 4, 60), mcnemar_from_counts(4, 9, 60)
    assert one.p == two.p
    assert (one.low, one.high) == pytest.approx((-two.high, -two.low))


def test_the_interval_of_the_difference_by_hand():
    # Bonett & Price with b = 9, c = 4, n = 60: cells 10/62 and 5/62.
    result = mcnemar_from_counts(9, 4, 60)
    half = 1.959964 * np.sqrt((15 / 62 - (5 / 62) ** 2) / 62)
    assert (result.low, result.high) == pytest.approx((5 / 62 - half, 5 / 62 + half), abs=1e-6)


def test_the_interval_covers_the_true_difference():
    rng = np.random.default_rng(0)
    cells = rng.multinomial(100, [0.12, 0.06, 0.82], size=2000)
    results = [mcnemar_from_counts(int(b), int(c), 100) for b, c, _ in cells]
    assert np.mean([r.low <= 0.06 <= r.high for r in results]) == pytest.approx(0.95, abs=0.02)


def test_p_rejects_no_more_often_than_it_says_under_the_null():
    rng = np.random.default_rng(1)
    p = np.array([exact_mcnemar_p(int(b), 60 - int(b)) for b in rng.binomial(60, 0.5, 2000)])
    for level in (0.01, 0.05, 0.2, 0.5):
        assert (p <= level).mean() <= level + 4 * np.sqrt(level * (1 - level) / 2000)
    assert (p <= 0.5).mean() > 0.3


def test_ten_percent_discordant_of_553_need_a_net_of_17():
    """The power statement for the paper's intervention subset."""
    assert exact_mcnemar_p(36, 19) < 0.05 < exact_mcnemar_p(35, 20)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [([0, 1], [0], "same items"), ([], [], "n > 0"), ([0, 1], [0, 0.5], "0.5"), ([0, np.nan], [0, 1], "nan")],
)
def test_answers_that_are_not_right_or_wrong_are_refused(before, after, message):
    with pytest.raises(ValueError, match=message):
        mcnemar(before, after)


@pytest.mark.parametrize(("b", "c", "n"), [(-1, 0, 5), (3, 3, 5), (0, 0, 0)])
def test_impossible_counts_are_refused(b, c, n):
    with pytest.raises(ValueError, match="expected b, c"):
        mcnemar_from_counts(b, c, n)


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.6, 0.5]), [1, 1])


def test_untested_hypotheses_do_not_count():
    adjusted = holm([0.01, np.nan, 0.04])
    np.testing.assert_allclose(adjusted[[0, 2]], [0.02, 0.04])
    assert np.isnan(adjusted[1])
    assert holm([]).size == 0


@given(probabilities, st.randoms(use_true_random=False))
def test_holm_keeps_order_and_bounds_and_follows_a_permutation(values, random):
    p = np.array(values)
    adjusted = holm(p)
    assert (adjusted >= p).all()
    assert (adjusted <= np.minimum(1, p * p.size) + 1e-15).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()
    order = list(range(p.size))
    random.shuffle(order)
    np.testing.assert_array_equal(holm(p[order]), adjusted[order])


def test_holm_holds_the_family_wise_error():
    p = np.random.default_rng(2).random((4000, 8))
    rejected = np.mean([(holm(row) <= 0.05).any() for row in p])
    assert rejected < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 4000)


@pytest.mark.parametrize("values", [[0.5, 1.2], [-0.1], [[0.5]]])
def test_values_that_are_no_probabilities_are_refused(values):
    with pytest.raises(ValueError, match="expected"):
        holm(values)
