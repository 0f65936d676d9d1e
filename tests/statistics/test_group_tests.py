"""Groups of questions: the interval by hand, p uniform where the group says nothing, small where it does."""

import numpy as np
import pytest

from workflow_scripts.statistics.group_tests import exchange_p, groups_interval
from workflow_scripts.statistics.means import Mean


def mean(value, low, high):
    return Mean(value, np.empty(0), own=(low, high))


def test_the_interval_adds_squared_distances_at_each_end():
    low, high = groups_interval(mean(10.0, 7.0, 15.0), mean(2.0, -2.0, 5.0))
    assert (low, high) == pytest.approx((8 - np.hypot(3, 3), 8 + np.hypot(5, 4)))
    assert np.isnan(groups_interval(mean(1.0, np.nan, np.nan), mean(0.0, -1.0, 1.0))).all()


def p_of(values, members, seed=0, draws=199):
    return exchange_p(np.asarray(values, dtype=float), np.asarray(members), draws=draws, seed=seed)


@pytest.mark.parametrize("kind", ["normal", "heavy", "flips"])
def test_p_is_uniform_when_membership_is_random(kind):
    """Also for a group of 8 of 60, and for gaps in right and wrong answers, where ties only make p larger."""
    found = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        draw = {"normal": rng.normal, "heavy": rng.standard_cauchy}.get(kind)
        values = draw(size=60) if draw else rng.choice([-100.0, 0, 100], 60, p=[0.1, 0.6, 0.3])
        found.append(p_of(values, rng.permutation(60) < 8, seed))
    for level in (0.05, 0.2, 0.5):
        share, spread = np.mean(np.array(found) <= level), np.sqrt(level * (1 - level) / 300)
        assert share <= level + 2.6 * spread
        assert kind == "flips" or share >= level - 2.6 * spread


def test_p_is_small_for_another_mean_and_not_for_another_spread():
    rng = np.random.default_rng(0)
    members = np.arange(200) < 40
    assert p_of(rng.normal(size=200) + members, members, draws=1999) == pytest.approx(1 / 2000)
    wide = [p_of(rng.normal(size=200) * np.where(members, 4, 1), members, seed) for seed in range(200)]
    assert np.mean(np.array(wide) <= 0.05) <= 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / 200)


def test_p_does_not_depend_on_scale_shift_or_which_side_is_the_group():
    rng = np.random.default_rng(1)
    values, members = rng.normal(size=40), np.arange(40) < 12
    first = p_of(values, members)
    assert first == p_of(1e4 * values + 7e6, members) == p_of(-values, members)
    assert first == p_of(values, ~members) or first == pytest.approx(p_of(values, ~members), abs=0.1)


def test_equal_values_give_one_and_a_group_apart_without_spread_the_least():
    members = np.arange(30) < 10
    assert p_of(np.full(30, 3.0), members) == 1
    assert p_of(100.0 * members, members) == pytest.approx(1 / 200)


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(odd):
    with pytest.raises(ValueError, match="not finite"):
        exchange_p(np.array([odd, 1.0, 2.0, 3.0]), np.array([True, True, False, False]), draws=9, seed=0)


def test_a_group_of_one_is_refused():
    with pytest.raises(ValueError, match="1 of 10 in the group"):
        p_of(np.arange(10), np.arange(10) < 1)
