"""Chance correction and estimates with their intervals."""

import numpy as np
import pytest

from workflow_scripts.scoring.estimates import (
    chance_corrected,
    corrected_estimate,
    mean_estimate,
    rate_estimate,
    share_estimate,
)


def test_a_guesser_scores_0_and_a_perfect_model_100_whatever_the_number_of_options():
    rng = np.random.default_rng(0)
    for options in (2, 4, 5):
        guesses = (rng.integers(0, options, 20_000) == 0).astype(float).tolist()
        assert corrected_estimate(guesses, [1 / options] * len(guesses)).value == pytest.approx(0, abs=2)
        assert corrected_estimate([1.0] * 9, [1 / options] * 9).value == 100
    assert corrected_estimate([0.0] * 9, [0.25] * 9).value == pytest.approx(-100 / 3)


def test_guesses_among_different_numbers_of_options_still_average_0():
    rng = np.random.default_rng(1)
    chances = [1 / k for k in rng.integers(2, 6, 20_000)]
    scores = [float(rng.random() < chance) for chance in chances]
    found = corrected_estimate(scores, chances)
    assert found.low < 0 < found.high
    assert found.method == "korn-graubard"


def test_the_interval_is_the_exact_one_moved_like_the_score():
    plain, moved = rate_estimate([1, 1, 1, 0]), corrected_estimate([1, 1, 1, 0], [0.25] * 4)
    for end in ("value", "low", "high"):
        assert getattr(moved, end) == pytest.approx((getattr(plain, end) - 25) / 0.75)
    assert (moved.n, moved.method) == (4, "clopper-pearson")


def test_a_chance_of_1_or_more_is_refused():
    with pytest.raises(ValueError, match=r"chance level is 1\.0"):
        chance_corrected(1.0, 1.0)


def test_estimates_of_nothing_and_of_one():
    assert rate_estimate([]) is None and mean_estimate([]) is None and corrected_estimate([], []) is None
    one = mean_estimate([3.0])
    assert (one.value, one.low, one.high, one.n) == (3.0, None, None, 1)


def test_a_mean_is_not_cut_to_a_scale():
    found = mean_estimate([-2.0, 5.0])
    assert found.low < -2 and found.high > 5
    equal = mean_estimate([3.0, 3.0, 3.0])
    assert (equal.value, equal.low, equal.high) == (3.0, None, None), "no spread, no interval"


def test_error_rates_above_1_are_a_mean_without_a_range():
    inside, outside = share_estimate([0.0, 0.5, 0.1]), share_estimate([0.0, 2.5, 0.1])
    assert (inside.method, outside.method) == ("korn-graubard", "student")
    assert outside.value == pytest.approx(100 * 2.6 / 3) and outside.low < outside.value < outside.high
