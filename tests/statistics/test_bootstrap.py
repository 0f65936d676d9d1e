"""Paired bootstrap over items, within one subset and averaged over several."""

import numpy as np
import pytest

from workflow_scripts.statistics.bootstrap import mean_of_subsets_bootstrap, paired_bootstrap


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


def test_subsets_count_equally_whatever_their_size():
    result = mean_of_subsets_bootstrap(
        {"small": (np.full(4, 10.0), np.zeros(4)), "large": (np.zeros(400), np.zeros(400))}, draws=50, seed=0
    )
    assert (result.estimate, result.low, result.high) == pytest.approx((5, 5, 5))
    assert (result.n, result.subsets) == (404, 2)


def test_the_standard_error_of_the_mean_combines_those_of_the_subsets():
    subsets = {name: scores(seed, n) for seed, (name, n) in enumerate([("a", 100), ("b", 300), ("c", 50)])}
    result = mean_of_subsets_bootstrap(subsets, draws=4000, seed=1)
    variances = [(a - b).var(ddof=1) / a.size for a, b in subsets.values()]
    se = np.sqrt(sum(variances)) / 3
    assert (result.high - result.low) / 2 == pytest.approx(1.96 * se, rel=0.1)


def test_the_order_of_subsets_does_not_matter():
    subsets = {"a": scores(1, 20), "b": scores(2, 30)}
    assert mean_of_subsets_bootstrap(subsets, 50, 3) == mean_of_subsets_bootstrap(
        dict(reversed(subsets.items())), 50, 3
    )


def test_equal_subsets_are_resampled_independently():
    pair = scores(6, 200)
    one = mean_of_subsets_bootstrap({"a": pair}, 2000, 0)
    four = mean_of_subsets_bootstrap(dict.fromkeys("abcd", pair), 2000, 0)
    assert (four.high - four.low) / (one.high - one.low) == pytest.approx(0.5, abs=0.05)


def test_a_single_item_has_an_estimate_but_no_interval():
    result = mean_of_subsets_bootstrap({"a": (np.ones(1), np.zeros(1)), "b": scores(0, 9)}, 20, 0)
    assert np.isfinite(result.estimate)
    assert np.isnan([result.low, result.high]).all()
    assert "subset a" in result.note


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: paired_bootstrap(np.ones(3), np.ones(4), 5, 0), "same items"),
        (lambda: paired_bootstrap(np.ones(0), np.ones(0), 5, 0), "n > 0"),
        (lambda: paired_bootstrap(np.array([1, np.nan]), np.ones(2), 5, 0), "item 1"),
        (lambda: paired_bootstrap(np.ones(3), np.ones(3), 0, 0), "draws is 0"),
        (lambda: mean_of_subsets_bootstrap({}, 5, 0), "no subset"),
        (lambda: mean_of_subsets_bootstrap({"obqa": (np.ones(2), np.ones(3))}, 5, 0), "'obqa'"),
    ],
)
def test_bad_scores_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
