"""Leave-one-run-out Q2 and the bootstrap over runs."""

from math import comb

import numpy as np
import pytest

from workflow_scripts.statistics.regression import linear_fit
from workflow_scripts.statistics.run_validation import cluster_bootstrap_r2, leave_one_run_out_q2


def runs_of_checkpoints(seed: int, runs: int = 4, checkpoints: int = 5, noise: float = 0.5):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(runs * checkpoints)
    return x, 2 * x + noise * rng.standard_normal(x.size), np.repeat(np.arange(runs), checkpoints)


def test_a_noiseless_line_predicts_every_left_out_run():
    x, _, runs = runs_of_checkpoints(0)
    result = leave_one_run_out_q2(x, 4 - x, runs)
    assert result.q2 == pytest.approx(1)
    np.testing.assert_allclose(result.predictions, 4 - x)
    assert (result.n, result.runs, result.note) == (20, 4, "")


def test_q2_follows_its_formula_written_out():
    x, y, runs = runs_of_checkpoints(1)
    error = reference = 0.0
    for run in range(4):
        rest = runs != run
        slope, intercept = np.polyfit(x[rest], y[rest], 1)
        error += ((y[~rest] - intercept - slope * x[~rest]) ** 2).sum()
        reference += ((y[~rest] - y[rest].mean()) ** 2).sum()
    assert leave_one_run_out_q2(x, y, runs).q2 == pytest.approx(1 - error / reference)


def test_a_measure_that_only_tells_runs_apart_fails_on_a_new_run():
    rng = np.random.default_rng(2)
    level_x, level_y = np.array([0.0, 1, 2, 3]), np.array([5.0, -5, -5, 5])
    runs = np.repeat(np.arange(4), 5)
    q2 = [
        leave_one_run_out_q2(level_x[runs] + 0.1 * rng.standard_normal(20), level_y[runs], runs).q2 for _ in range(20)
    ]
    assert max(q2) < 0


def test_several_columns_and_their_units():
    x, y, runs = runs_of_checkpoints(3)
    columns = np.column_stack([x, np.tile(np.log(np.arange(1, 6)), 4)])
    plain = leave_one_run_out_q2(columns, y, runs).q2
    assert leave_one_run_out_q2(columns * [1e-6, 1e7], y, runs).q2 == pytest.approx(plain)


@pytest.mark.parametrize(
    ("x", "y", "runs", "reason"),
    [
        ([1.0, 2, 3], [1.0, 2, 3], [0, 0, 0], "1 runs"),
        ([1.0, 1, 1, 2], [1.0, 2, 3, 4], [0, 0, 1, 1], "without run 1"),
        ([1.0, 2, 3, 4], [5.0, 5, 5, 5], [0, 0, 1, 1], "y is constant"),
    ],
)
def test_undefined_q2_is_nan_with_a_reason(x, y, runs, reason):
    result = leave_one_run_out_q2(x, y, runs)
    assert np.isnan(result.q2)
    assert reason in result.note


def test_unusable_points_are_left_out_of_q2():
    x, y, runs = runs_of_checkpoints(4)
    result = leave_one_run_out_q2(np.append(x, np.nan), np.append(y, 0), np.append(runs, 0))
    assert result.q2 == leave_one_run_out_q2(x, y, runs).q2
    assert np.isnan(result.predictions[-1])
    assert "1 non-finite" in result.note


def test_every_draw_is_the_r2_of_some_resample_of_whole_runs():
    x, y, runs = runs_of_checkpoints(5, runs=3)
    result = cluster_bootstrap_r2(x, y, runs, draws=200, seed=1)
    possible = []
    for a in range(3):
        for b in range(a, 3):
            for c in range(b, 3):
                index = np.concatenate([np.flatnonzero(runs == run) for run in (a, b, c)])
                possible.append(linear_fit(x[index], y[index]).r2)
    assert len(possible) == result.distinct_resamples == 10
    assert np.abs(result.r2_draws[:, None] - np.array(possible)).min(axis=1).max() < 1e-9
    assert len(np.unique(result.r2_draws.round(9))) == 10
    assert result.r2 == pytest.approx(linear_fit(x, y).r2)
    assert result.low <= result.r2 <= result.high


def test_four_runs_have_35_distinct_resamples():
    x, y, runs = runs_of_checkpoints(6)
    assert cluster_bootstrap_r2(x, y, runs, draws=10, seed=0).distinct_resamples == 35 == comb(7, 4)


def test_draws_follow_the_seed_and_pair_up_between_measures():
    x, y, runs = runs_of_checkpoints(7)
    first = cluster_bootstrap_r2(x, y, runs, draws=50, seed=3)
    np.testing.assert_array_equal(first.r2_draws, cluster_bootstrap_r2(x, y, runs, draws=50, seed=3).r2_draws)
    assert (first.r2_draws != cluster_bootstrap_r2(x, y, runs, draws=50, seed=4).r2_draws).any()
    scaled = cluster_bootstrap_r2(100 - 7 * x, y, runs, draws=50, seed=3)
    np.testing.assert_allclose(scaled.r2_draws, first.r2_draws, atol=1e-9)


def test_large_offsets_do_not_cost_digits():
    x, y, runs = runs_of_checkpoints(8)
    moved = cluster_bootstrap_r2(x + 1e6, y - 1e6, runs, draws=50, seed=0)
    np.testing.assert_allclose(moved.r2_draws, cluster_bootstrap_r2(x, y, runs, 50, 0).r2_draws, atol=1e-6)


def test_undefined_draws_are_counted():
    x, runs = np.array([1.0, 1, 1, 1, 2, 3]), np.array([0, 0, 0, 1, 1, 1])
    result = cluster_bootstrap_r2(x, np.arange(6.0), runs, draws=100, seed=0)
    assert 0 < result.undefined < 100
    assert np.isnan(result.r2_draws).sum() == result.undefined
    assert np.isfinite([result.low, result.high]).all()


def test_one_run_or_a_constant_measure_has_no_bootstrap():
    one = cluster_bootstrap_r2([1.0, 2, 3], [1.0, 2, 4], [0, 0, 0], draws=5, seed=0)
    constant = cluster_bootstrap_r2([1.0] * 4, [1.0, 2, 4, 3], [0, 0, 1, 1], draws=5, seed=0)
    assert np.isnan([one.r2, one.low, constant.r2, constant.low]).all()
    assert "1 runs" in one.note
    assert "constant in every draw" in constant.note


def test_bad_requests_are_refused():
    with pytest.raises(ValueError, match="draws is 0"):
        cluster_bootstrap_r2([1.0], [1.0], [0], draws=0, seed=0)
    with pytest.raises(ValueError, match="2 columns"):
        cluster_bootstrap_r2(np.zeros((3, 2)), np.zeros(3), np.zeros(3), draws=1, seed=0)
    with pytest.raises(ValueError, match="expected n rows"):
        leave_one_run_out_q2(np.zeros(3), np.zeros(4), np.zeros(4))
