"""Fewest changes and smallest detectable effect, by hand and by simulation."""

import numpy as np
import pytest

from workflow_scripts.statistics.paired_tests import mcnemar_from_counts
from workflow_scripts.statistics.power import fewest_discordant, minimal_detectable_effect


@pytest.mark.parametrize(("tests", "expected"), [(1, 6), (2, 7), (10, 9), (48, 11)])
def test_fewest_changes_by_hand(tests, expected):
    """2 tests / 2^n < .05."""
    assert fewest_discordant(0.05, tests) == expected
    assert 2 * tests / 2**expected < 0.05 <= 2 * tests / 2 ** (expected - 1)


def test_without_churn_the_effect_is_that_of_six_changes_one_way():
    """P(Binomial(40, e) >= 6) = .8 at e = .192."""
    effect = minimal_detectable_effect(40)
    assert effect == pytest.approx(0.192, abs=0.002)
    assert minimal_detectable_effect(5) is None, "five questions can never give six changes"


@pytest.mark.parametrize(("n", "churn"), [(40, 0.0), (100, 0.05), (300, 0.1)])
def test_the_effect_is_found_as_often_as_promised(n, churn):
    effect = minimal_detectable_effect(n, churn)
    rng = np.random.default_rng(0)
    counts = rng.multinomial(n, [churn + effect, churn, 1 - 2 * churn - effect], size=1500)
    found = np.mean([mcnemar_from_counts(int(b), int(c), n).p < 0.05 for b, c, _ in counts])
    assert found == pytest.approx(0.8, abs=0.035)


def test_more_questions_or_less_churn_make_smaller_effects_visible():
    effects = [minimal_detectable_effect(n, 0.05) for n in (50, 100, 200, 400)]
    assert effects == sorted(effects, reverse=True)
    assert minimal_detectable_effect(200, 0.02) < minimal_detectable_effect(200, 0.1)


def test_impossible_requests_are_refused():
    for arguments in ((0,), (10, 0.51), (10, 0.1, 1.0)):
        with pytest.raises(ValueError, match="outside"):
            minimal_detectable_effect(*arguments)
    with pytest.raises(ValueError, match="at least one test"):
        fewest_discordant(0.05, 0)


@pytest.mark.parametrize("n", [2, 4])
def test_where_half_turn_each_way_no_effect_is_left_to_be_found(n):
    assert minimal_detectable_effect(n, 0.5) is None
