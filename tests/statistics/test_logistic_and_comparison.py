"""Logistic regression with errors by run, paired comparison of predictors: planted answers, null, undefined cases."""

import math

import numpy as np
import pytest

from workflow_scripts.statistics.logistic import logistic_fit
from workflow_scripts.statistics.predictor_comparison import compare_predictors


def drawn(seed, runs=12, per_run=200, effect=1.0, run_sd=0.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(runs * per_run, 2))
    run = np.repeat(np.arange(runs), per_run)
    logit = effect * x[:, 0] + run_sd * rng.normal(size=runs)[run] - 0.5
    return (rng.uniform(size=len(run)) < 1 / (1 + np.exp(-logit))).astype(float), x, run


def test_planted_coefficients_are_recovered_and_the_idle_column_is_not():
    y, x, run = drawn(0)
    fit = logistic_fit(y, x, ["effect", "idle"], run)
    assert fit.coefficient[0] == pytest.approx(1.0, abs=0.15)
    assert fit.low[0] > 0.5 and fit.p[0] < 1e-4
    assert fit.low[1] < 0 < fit.high[1]
    assert (fit.n, fit.runs) == (2400, 12)


def test_a_two_by_two_table_gives_its_log_odds_ratio():
    """20 of 30 right with x = 1, 10 of 40 with x = 0: log((20/10) / (10/30)) = log 6 per unit."""
    x = np.repeat([1.0, 0.0], [30, 40])
    y = np.concatenate([np.repeat([1.0, 0.0], [20, 10]), np.repeat([1.0, 0.0], [10, 30])])
    fit = logistic_fit(y, x[:, None], ["x"], np.arange(70))
    assert fit.coefficient[0] / x.std() == pytest.approx(math.log(6), rel=1e-6)
    # With every answer its own cluster the errors are the plain sandwich ones: sqrt of the sum of 1 / cell counts.
    half = (fit.high[0] - fit.low[0]) / 2 / x.std()
    assert half == pytest.approx(1.9949 * math.sqrt(1 / 20 + 1 / 10 + 1 / 10 + 1 / 30) * math.sqrt(70 / 69), rel=1e-3)


def test_a_property_of_the_run_is_not_significant_by_the_number_of_its_answers():
    """x is a property of runs without effect: plain errors would reject most of the time, clustered ones rarely."""
    rejected = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        run = np.repeat(np.arange(10), 80)
        x = rng.normal(size=10)[run]
        logit = 0.8 * rng.normal(size=10)[run]
        y = (rng.uniform(size=800) < 1 / (1 + np.exp(-logit))).astype(float)
        rejected += logistic_fit(y, x[:, None], ["x"], run).p[0] < 0.05
    assert rejected < 12


@pytest.mark.parametrize(
    ("y", "x", "note"),
    [
        (np.ones(20), np.arange(20.0), "equally right"),
        ((np.arange(20) > 9).astype(float), np.arange(20.0), "separates"),
        (np.array([0.0, 1.0]), np.array([1.0, 2.0]), "2 answers for 2 parameters"),
        (np.array([]), np.array([]), "no answers"),
    ],
    ids=["constant y", "separated", "too few", "none"],
)
def test_undefined_fits_say_why(y, x, note):
    fit = logistic_fit(y, x[:, None], ["x"], np.arange(len(y)))
    assert np.isnan(fit.coefficient).all() and note in fit.note


def test_repeated_and_constant_columns_are_dropped_and_named():
    y, x, run = drawn(1)
    fit = logistic_fit(y, np.column_stack([x[:, 0], np.ones(len(y)), 2 * x[:, 0]]), ["a", "one", "twice"], run)
    assert np.isnan(fit.coefficient[[1, 2]]).all() and np.isfinite(fit.coefficient[0])
    assert "one, twice" in fit.note


def test_one_run_has_no_errors_and_undefined_rows_are_counted():
    y, x, _ = drawn(2)
    x[:3, 0] = np.nan
    fit = logistic_fit(y, x, ["a", "b"], np.zeros(len(y)))
    assert np.isfinite(fit.coefficient).all() and np.isnan(fit.p).all()
    assert "single run" in fit.note and "3 rows" in fit.note
    with pytest.raises(ValueError, match="0 and 1"):
        logistic_fit(y + 1, x, ["a", "b"], np.zeros(len(y)))


def points(seed, runs=8, steps=5):
    rng = np.random.default_rng(seed)
    run = np.repeat(np.arange(runs), steps)
    return rng, run, rng.normal(size=runs * steps)


def test_a_better_predictor_is_found_and_swapping_changes_the_sign():
    rng, run, y = points(0)
    good, bad = y + 0.1 * rng.normal(size=y.size), rng.normal(size=y.size)
    found, back = (compare_predictors(*pair, y, run) for pair in ((good, bad), (bad, good)))
    assert found.r2_difference > 0.8 and found.low > 0.5 and found.q2_difference > 0.5
    assert (back.r2_difference, back.high) == pytest.approx((-found.r2_difference, -found.low))


def test_equal_predictors_do_not_differ_and_two_of_the_same_quality_rarely_do():
    rng, run, y = points(1)
    same = compare_predictors(y, y, y, run)
    assert same.r2_difference == 0 and np.isnan([same.low, same.high]).all()
    decided = 0
    for seed in range(40):
        rng, run, y = points(seed)
        pair = compare_predictors(y + rng.normal(size=y.size), y + rng.normal(size=y.size), y, run)
        decided += pair.low > 0 or pair.high < 0
    assert decided < 7  # 2 expected


def test_few_runs_are_underpowered_and_only_common_points_count():
    rng, run, y = points(2)
    x = y + rng.normal(size=y.size)
    few = compare_predictors(x, y, y, np.minimum(run, 1))
    assert math.isnan(few.r2_difference) and "underpowered: 2 runs" in few.note
    x[4] = np.nan
    assert compare_predictors(x, y, y, run).n == y.size - 1
    with pytest.raises(ValueError, match="differ"):
        compare_predictors(x[1:], y, y, run)
