"""Shares of a gap that patches restore: values by hand, planted profiles, coverage of nothing."""

import numpy as np
import pytest

from workflow_scripts.statistics.mediation import (
    detectable_share,
    first_reaching,
    last_reaching,
    paired_p,
    restored_shares,
    split_half,
)

RNG = np.random.default_rng(0)


def test_a_share_is_a_ratio_of_means_and_is_not_clipped():
    base, target = np.array([0.0, 2.0]), np.array([4.0, 2.0])
    found = restored_shares(np.array([[0.0, 4.0, 6.0], [2.0, 2.0, 4.0]]), base, target, 50, 0)
    assert found.estimate == pytest.approx([0, 1, 2])
    reverse = restored_shares(np.array([[4.0], [2.0]]), target, base, 50, 0)
    assert reverse.estimate == pytest.approx([0])


def test_an_effect_equal_in_all_questions_has_an_interval_without_width_and_an_uneven_one_does_not():
    base, target = RNG.normal(size=30), RNG.normal(size=30) + 5
    even = restored_shares((base + 0.4 * (target - base))[:, None], base, target, 200, 0)
    assert even.low == pytest.approx(0.4) and even.high == pytest.approx(0.4)
    uneven = restored_shares((base + 0.4 * (target - base) + RNG.normal(size=30))[:, None], base, target, 200, 0)
    assert uneven.low < uneven.estimate < uneven.high


def test_one_question_has_no_interval_and_no_gap_has_no_share():
    one = restored_shares(np.array([[1.0]]), np.array([0.0]), np.array([2.0]), 50, 0)
    assert one.estimate == pytest.approx([0.5]) and np.isnan([one.low[0], one.high[0]]).all()
    assert np.isnan(restored_shares(np.array([[1.0]]), np.array([2.0]), np.array([2.0]), 50, 0).estimate).all()
    with pytest.raises(ValueError, match=r"patched \(0, 1\)"):
        restored_shares(np.empty((0, 1)), np.empty(0), np.empty(0), 50, 0)


def test_first_and_last_layer_that_reach_half():
    rising, falling = np.array([0.0, 0.2, 0.5, 0.4, 1.0]), np.array([1.0, 0.6, 0.4, 0.1, 0.0])
    assert first_reaching(rising, 0.5, 9) == 2 and last_reaching(falling, 0.5) == 1
    assert first_reaching(np.zeros(3), 0.5, 9) == 9 and last_reaching(np.zeros(3), 0.5) == -1
    assert first_reaching(np.stack([rising, falling]), 0.5, 9).tolist() == [2, 0]


def test_halves_agree_on_a_planted_profile_and_not_on_noise():
    base, target = np.zeros(40), np.ones(40)
    profile = np.linspace(0, 1, 12)
    assert split_half(profile + 0.01 * RNG.normal(size=(40, 12)), base, target) > 0.95
    assert abs(split_half(RNG.normal(size=(40, 12)), base, target)) < 0.5
    assert np.isnan(split_half(profile[None], base[:1], target[:1]))


def test_the_paired_test_sees_a_shift_and_nothing_where_all_are_equal():
    values = RNG.normal(size=30)
    assert paired_p(values + 1, values) < 1e-4 and paired_p(values, values) == 1


def test_the_detectable_share_by_hand():
    difference = np.array([1.0, -1.0, 1.0, -1.0])  # sd 1.1547, se .57735; t(.975, 3) = 3.1824, t(.8, 3) = .9785
    assert detectable_share(difference, np.zeros(4), -2.0) == pytest.approx((3.1824 + 0.9785) * 0.57735 / 2, rel=1e-3)
    assert np.isnan(detectable_share(difference[:1], np.zeros(1), 2.0))
