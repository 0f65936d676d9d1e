"""Regression, partial R2 and the Fisher interval: planted lines, scipy as a reference, undefined cases."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import f as f_distribution
from scipy.stats import linregress
from scipy.stats import t as t_distribution

from workflow_scripts.statistics.regression import (
    group_dummies,
    linear_fit,
    partial_r2,
    r2_fisher_interval,
)


def points(seed: int, n: int, slope: float = 2.0, noise: float = 1.0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(n)
    return x, 3 + slope * x + noise * rng.standard_normal(n)


def test_a_noiseless_line_is_recovered():
    x = np.array([1.0, 2.0, 4.0, 7.0])
    fit = linear_fit(x, 5 - 3 * x)
    assert (fit.slope, fit.intercept, fit.r2, fit.n) == pytest.approx((-3, 5, 1, 4))
    assert fit.p < 1e-10
    assert fit.note == ""


@settings(max_examples=50)
@given(st.integers(3, 40), st.integers(0, 9999), st.sampled_from([-2.0, 0.0, 1.0]))
def test_a_simple_fit_agrees_with_scipy(n, seed, slope):
    x, y = points(seed, n, slope)
    fit, reference = linear_fit(x, y), linregress(x, y)
    half = t_distribution.ppf(0.975, n - 2) * reference.stderr
    assert fit.slope == pytest.approx(reference.slope)
    assert fit.intercept == pytest.approx(reference.intercept)
    assert fit.r2 == pytest.approx(reference.rvalue**2, abs=1e-10)
    assert fit.p == pytest.approx(reference.pvalue, rel=1e-6)
    assert (fit.slope_low, fit.slope_high) == pytest.approx((reference.slope - half, reference.slope + half))


def test_r2_ignores_units_and_order():
    x, y = points(4, 15)
    order = np.random.default_rng(5).permutation(15)
    fit = linear_fit(x, y)
    assert linear_fit(1e-6 * x[order] + 50, -1e5 * y[order]).r2 == pytest.approx(fit.r2)


def test_the_slope_interval_covers_a_null_slope_about_as_often_as_it_says():
    fits = [linear_fit(*points(seed, 8, slope=0.0)) for seed in range(600)]
    covered = np.mean([fit.slope_low <= 0 <= fit.slope_high for fit in fits])
    assert abs(covered - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 600)
    assert np.mean([fit.p <= 0.05 for fit in fits]) == pytest.approx(1 - covered)


@pytest.mark.parametrize(
    ("x", "y", "reason"),
    [
        ([1.0, 2.0], [1.0, 2.0], "2 points"),
        ([], [], "0 points"),
        ([0.1, 0.1, 0.1, 0.1], [1.0, 2.0, 3.0, 4.0], "x is constant"),
        ([1.0, np.nan, 3.0], [1.0, 2.0, 3.0], "1 non-finite points left out"),
    ],
)
def test_undefined_fits_are_nan_with_a_reason(x, y, reason):
    fit = linear_fit(x, y)
    assert np.isnan([fit.r2, fit.slope, fit.p, fit.slope_low]).all()
    assert reason in fit.note


def test_a_constant_y_has_a_zero_slope_but_no_r2():
    fit = linear_fit([1.0, 2, 3, 4], [0.3] * 4)
    assert fit.slope == pytest.approx(0)
    assert np.isnan(fit.r2)
    assert "y is constant" in fit.note


def test_non_finite_points_are_left_out_and_counted():
    x, y = points(6, 10)
    fit = linear_fit(np.append(x, np.nan), np.append(y, 1.0))
    assert (fit.r2, fit.n) == (linear_fit(x, y).r2, 10)
    assert fit.note == "1 non-finite points left out"


def test_different_lengths_are_an_error():
    with pytest.raises(ValueError, match="expected"):
        linear_fit([1.0, 2.0], [1.0, 2.0, 3.0])


def test_partial_r2_equals_the_squared_correlation_of_residuals():
    rng = np.random.default_rng(8)
    Z = rng.standard_normal((40, 3))
    x = Z @ [1, 2, 3] + rng.standard_normal(40)
    y = x + Z @ [3, 0, -1] + rng.standard_normal(40)
    design = np.column_stack([np.ones(40), Z])
    project = design @ np.linalg.pinv(design)
    r = np.corrcoef(x - project @ x, y - project @ y)[0, 1]
    result = partial_r2(y, x, Z)
    assert result.value == pytest.approx(r**2)
    assert result.df_residual == 35
    assert result.p == pytest.approx(f_distribution.sf(r**2 / (1 - r**2) * 35, 1, 35))


def test_partial_r2_with_several_columns_and_its_f_test():
    rng = np.random.default_rng(9)
    Z, X = rng.standard_normal((30, 2)), rng.standard_normal((30, 3))
    y = X @ [1, 0.5, 0] + rng.standard_normal(30)
    result = partial_r2(y, X, Z)
    statistic = (result.value / 3) / ((1 - result.value) / 24)
    assert result.p == pytest.approx(f_distribution.sf(statistic, 3, 24))
    assert result.value == pytest.approx((result.r2_full - result.r2_reduced) / (1 - result.r2_reduced))


def test_a_measure_that_only_follows_training_time_adds_nothing():
    rng = np.random.default_rng(10)
    step = np.tile(np.log([2, 4, 6, 8, 10]), 8)
    gap, measure = -step + 0.3 * rng.standard_normal(40), step + 0.3 * rng.standard_normal(40)
    assert linear_fit(measure, gap).r2 > 0.4
    assert partial_r2(gap, measure, step).value < 0.15


def test_collinear_covariates_and_all_dummies_are_harmless():
    rng = np.random.default_rng(11)
    groups = np.repeat(["a", "b", "c"], 6)
    x, y = rng.standard_normal((2, 18))
    full = (groups[:, None] == np.array(["a", "b", "c"])).astype(float)
    assert group_dummies(groups).tolist() == full[:, 1:].tolist()
    one, two = partial_r2(y, x, group_dummies(groups)), partial_r2(y, x, 1e6 * full)
    assert (two.value, two.p, two.df_residual) == pytest.approx((one.value, one.p, one.df_residual))


@pytest.mark.parametrize(
    ("y", "x", "covariates", "reason"),
    [
        ([1.0, 2, 4, 3], [2.0, 4, 6, 8], [1.0, 2, 3, 4], "linear combination"),
        ([1.0, 2, 4], [1.0, 0, 5], [1.0, 2, 3], "no residual degree"),
        ([1.0, 2, 3, 4, 5], [1.0, 0, 5, 2, 2], [1.0, 2, 3, 4, 5], "explain y completely"),
        ([1.0, 2], [1.0, 0], [1.0, 2], "2 points"),
    ],
)
def test_undefined_partial_r2_is_nan_with_a_reason(y, x, covariates, reason):
    result = partial_r2(y, x, covariates)
    assert np.isnan(result.value)
    assert np.isnan(result.p)
    assert reason in result.note


@pytest.mark.parametrize(
    ("r2", "n", "low", "high"),
    [
        (0.75, 20, 0.47, 0.89),
        (0.81, 20, 0.58, 0.92),
        (0.39, 20, 0.06, 0.70),
        (0.95, 10, 0.80, 0.99),
        (0.27, 10, 0, 0.75),
    ],
)
def test_fisher_intervals_of_the_papers_r2(r2, n, low, high):
    interval = r2_fisher_interval(r2, n)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.005)


def test_fisher_intervals_at_the_edges():
    assert np.isnan(r2_fisher_interval(0.5, 3).low)
    assert np.isnan(r2_fisher_interval(float("nan"), 20).high)
    assert np.isnan(r2_fisher_interval(1.0, 10).low), "no spread around the line"
    assert r2_fisher_interval(0.0, 10).low == 0
    with pytest.raises(ValueError, match=r"1\.5"):
        r2_fisher_interval(1.5, 10)


def test_a_line_without_spread_has_a_slope_and_no_interval():
    for y in (3 - 2 * np.arange(8.0), np.full(8, 5.0)):
        fit = linear_fit(np.arange(8.0), y)
        assert fit.slope == pytest.approx(y[1] - y[0]) and np.isnan([fit.slope_low, fit.slope_high]).all()


def test_training_time_alone_explains_the_papers_printed_gaps():
    """R2 of GAP on log(step), alone and with model intercepts, from the printed Table 2 (arXiv 2510.12116)."""
    path = Path(__file__).parent / "golden" / "printed_gaps.csv"
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for strategy, alone, with_models in (("LoRA", 0.49, 0.93), ("Full", 0.52, 0.90)):
        some = [row for row in rows if row["strategy"] == strategy]
        step = np.log([float(row["step"]) for row in some])
        gap = np.array([float(row["gap"]) for row in some])
        models = np.array([row["model"] for row in some])
        assert len(some) == 20
        assert linear_fit(step, gap).r2 == pytest.approx(alone, abs=0.005)
        assert partial_r2(gap, step, group_dummies(models)).r2_full == pytest.approx(with_models, abs=0.005)
        assert partial_r2(gap, step, group_dummies(models)).r2_full == pytest.approx(with_models, abs=0.005)
    qwen = [row for row in rows if row["strategy"] == "LoRA" and row["model"].startswith("Qwen")]
    assert linear_fit(
        np.log([float(row["step"]) for row in qwen]), np.array([float(row["gap"]) for row in qwen])
    ).r2 == pytest.approx(0.83, abs=0.005)
