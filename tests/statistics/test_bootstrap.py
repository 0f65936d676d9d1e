"""Paired bootstrap over questions."""

import numpy as np
import pytest

from workflow_scripts.statistics.bootstrap import paired_bootstrap


def scores(seed: int, n: int, shift: float = 0.0):
    rng = np.random.default_rng(seed)
    item = rng.standard_normal(n)
    return item + shift + 0.5 * rng.standard_normal(n), item + 0.5 * rng.standard_normal(n)


def test_the_interval_has_the_width_of_the_paired_standard_error():
    first, second = scores(0, 400, shift=1)
    result = paired_bootstrap(first, second, draws=4000, seed=1)
    se = (first - second).std(ddof=1) / np.sqrt(400)
    assert result.estimate == pytest.approx((first - second).mean())
    assert result.low == pytest.approx(result.estimate - 1.96 * se, abs=0.2 * se)
    assert result.high == pytest.approx(result.estimate + 1.96 * se, abs=0.2 * se)


def test_pairing_ignores_how_hard_the_items_are():
    rng = np.random.default_rng(2)
    second = 100 * rng.standard_normal(50)
    result = paired_bootstrap(second + 3, second, draws=200, seed=0)
    assert (result.low, result.high) == pytest.approx((3, 3))


def test_the_interval_covers_a_zero_difference_about_as_often_as_it_says():
    results = [paired_bootstrap(*scores(seed, 60), draws=400, seed=seed) for seed in range(300)]
    covered = np.mean([r.low <= 0 <= r.high for r in results])
    assert 0.90 <= covered <= 0.985


def test_swapping_the_conditions_mirrors_the_interval():
    first, second = scores(3, 40)
    one, two = paired_bootstrap(first, second, 500, 7), paired_bootstrap(second, first, 500, 7)
    assert (two.estimate, two.low, two.high) == pytest.approx((-one.estimate, -one.high, -one.low))


def test_the_seed_fixes_the_interval():
    first, second = scores(4, 30)
    assert paired_bootstrap(first, second, 100, 5) == paired_bootstrap(first, second, 100, 5)
    assert paired_bootstrap(first, second, 100, 5) != paired_bootstrap(first, second, 100, 6)


def test_drawing_in_chunks_changes_nothing(monkeypatch):
    first, second = scores(5, 30)
    whole = paired_bootstrap(first, second, 101, 5)
    monkeypatch.setitem(paired_bootstrap.__globals__, "CHUNK", 70)
    assert paired_bootstrap(first, second, 101, 5) == whole


def test_a_single_question_has_an_estimate_but_no_interval():
    result = paired_bootstrap(np.ones(1), np.zeros(1), 20, 0)
    assert result.estimate == 1 and np.isnan([result.low, result.high]).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: paired_bootstrap(np.ones(3), np.ones(4), 5, 0), "same questions"),
        (lambda: paired_bootstrap(np.ones(0), np.ones(0), 5, 0), "n > 0"),
        (lambda: paired_bootstrap(np.array([1, np.nan]), np.ones(2), 5, 0), "question 1"),
        (lambda: paired_bootstrap(np.ones(3), np.ones(3), 0, 0), "draws is 0"),
    ],
)
def test_bad_scores_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
