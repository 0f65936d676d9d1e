"""Leave-one-run-out Q2 and the jackknife over runs."""

import numpy as np
import pytest
from scipy import stats

from workflow_scripts.statistics.regression import linear_fit
from workflow_scripts.statistics.run_validation import (
    jackknife_interval,
    leave_one_run_out_q2,
    r2_interval,
    r2_without_each_run,
)


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


def test_r2_without_each_run_is_that_of_the_rest():
    x, y, runs = runs_of_checkpoints(5, runs=3)
    whole, without = r2_without_each_run(x, y, runs)
    assert whole == pytest.approx(linear_fit(x, y).r2)
    rest = [linear_fit(x[runs != run], y[runs != run]).r2 for run in range(3)]
    np.testing.assert_allclose(without, rest)


def test_the_jackknife_of_a_mean_is_its_t_interval():
    values = np.random.default_rng(9).standard_normal(6)
    without = np.array([np.delete(values, k).mean() for k in range(6)])
    expected = stats.t.interval(0.95, 5, values.mean(), stats.sem(values))
    assert jackknife_interval(values.mean(), without) == pytest.approx(expected)


def test_the_interval_of_r2_has_no_unit_and_stays_between_0_and_1():
    x, y, runs = runs_of_checkpoints(7)
    low, high = r2_interval(x, y, runs)
    assert 0 <= low < linear_fit(x, y).r2 < high < 1
    assert r2_interval(100 - 7 * x, y, runs) == pytest.approx((low, high))
    assert r2_interval(x + 1e6, y - 1e6, runs) == pytest.approx((low, high), abs=1e-6)
    weak = r2_interval(np.random.default_rng(0).standard_normal(20), y, runs)
    assert weak[0] == 0 < weak[1]


def test_what_is_undefined_has_no_interval():
    """Fewer than three runs, a constant measure, a measure that varies in one run only, a line without any spread."""
    x, y, runs = runs_of_checkpoints(6)
    for case in (
        (x, y, np.minimum(runs, 1)),
        (np.ones(20), y, runs),
        (np.where(runs == 0, x, 1.0), y, runs),
        (x, 4 - x, runs),
        (np.full(20, np.nan), y, runs),
    ):
        assert np.isnan(r2_interval(*case)).all()


def test_bad_requests_are_refused():
    with pytest.raises(ValueError, match="2 columns"):
        r2_without_each_run(np.zeros((3, 2)), np.zeros(3), np.zeros(3))
    with pytest.raises(ValueError, match="expected n rows"):
        leave_one_run_out_q2(np.zeros(3), np.zeros(4), np.zeros(4))
