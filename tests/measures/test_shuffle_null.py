"""Derangements, calibration and p values of the shuffled-pair null."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.measures.shuffle_null import (
    best_layer,
    calibrate,
    critical_value,
    derangements,
    length_bins,
    null_per_sample,
    p_value,
)


@settings(max_examples=60)
@given(n=st.integers(2, 60), draws=st.integers(1, 20), quantiles=st.integers(1, 5), seed=st.integers(0, 999))
def test_rows_are_permutations_without_fixed_points_inside_bins(n, draws, quantiles, seed):
    rng = np.random.default_rng(seed)
    T_s, T_t = rng.integers(10, 300, n), rng.integers(3, 60, n)
    bins = length_bins(T_s, T_t, quantiles)
    partners = derangements(T_s, T_t, draws, seed, quantiles)
    assert partners.shape == (draws, n)
    np.testing.assert_array_equal(np.sort(partners, axis=1), np.tile(np.arange(n), (draws, 1)))
    assert not (partners == np.arange(n)).any()
    np.testing.assert_array_equal(bins[partners], np.tile(bins, (draws, 1)))
    assert np.unique(bins, return_counts=True)[1].min() >= 2


def test_two_samples_swap_and_three_rotate():
    assert derangements([5, 9], [2, 3], 4, seed=0).tolist() == [[1, 0]] * 4
    rows = {tuple(row) for row in derangements([5, 9, 7], [2, 3, 3], 40, seed=0).tolist()}
    assert rows == {(1, 2, 0), (2, 0, 1)}


def test_one_sample_has_no_partner():
    with pytest.raises(ValueError, match="at least 2 samples"):
        derangements([5], [2], 4, seed=0)


def test_derangements_of_four_are_uniform():
    counts = Counter(map(tuple, derangements([1] * 4, [1] * 4, 9000, seed=1).tolist()))
    assert len(counts) == 9
    assert max(abs(count - 1000) for count in counts.values()) < 5 * np.sqrt(1000)


def test_the_seed_fixes_the_draws_and_another_seed_changes_them():
    T = np.arange(30)
    first = derangements(T, T, 5, seed=3)
    np.testing.assert_array_equal(first, derangements(T, T, 5, seed=3))
    assert (first != derangements(T, T, 5, seed=4)).any()


def test_partners_have_similar_lengths():
    rng = np.random.default_rng(0)
    T_s = rng.integers(20, 300, 400)
    T_t = T_s // 5
    difference = np.abs(T_s - T_s[derangements(T_s, T_t, 10, seed=0)]).mean()
    unbinned = np.abs(T_s - T_s[derangements(T_s, T_t, 10, seed=0, quantiles=1)]).mean()
    assert difference < 0.4 * unbinned


def test_lonely_samples_join_the_nearest_bin():
    T_s = np.arange(1, 9)
    T_t = np.array([1, 2, 3, 5, 6, 7, 8, 4])
    # Halves of both lengths: 0-2 are short in both, 4-6 long in both, 3 and 7 alone in the mixed quadrants.
    # Sample 3 with ranks (4, 5) is nearer to the long ones; so is sample 7 with ranks (8, 4).
    bins = length_bins(T_s, T_t, quantiles=2)
    assert [sorted(np.flatnonzero(bins == label).tolist()) for label in np.unique(bins)] == [[0, 1, 2], [3, 4, 5, 6, 7]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 2], [1, 2], 0, 0), "draws is 0"),
        (([1, 2], [1, 2, 3], 1, 0), "shapes"),
        (([1, 2], [1, 2], 1, 0, 0), "quantiles is 0"),
    ],
)
def test_bad_requests_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        derangements(*arguments)


def test_calibration_by_hand():
    np.testing.assert_allclose(calibrate([0.75, 0.5, 1.0], [0.5, 0.5, 0.5], True), [0.5, 0, 1])
    np.testing.assert_allclose(calibrate([3.0, 4.0, 0.0], [4.0, 4.0, 4.0], False), [0.75, 1, 0])
    assert np.isnan(calibrate(1.0, 1.0, True))
    assert np.isnan(calibrate(1.0, 0.0, False))


def test_p_counts_draws_at_least_as_good_by_hand():
    null = np.array([0.1, 0.2, 0.3, 0.4])
    assert p_value(0.3, null, True) == pytest.approx(3 / 5)
    assert p_value(0.5, null, True) == pytest.approx(1 / 5)
    assert p_value(0.1, null, False) == pytest.approx(2 / 5)
    assert p_value(0.5, np.array([np.nan, 0.1]), True) == pytest.approx(2 / 3)
    assert np.isnan(p_value(np.nan, null, True))


def test_p_is_uniform_when_matched_pairs_are_like_any_other():
    rng = np.random.default_rng(5)
    n, draws, repeats = 12, 39, 400
    ones = np.ones(n, dtype=int)
    p = np.empty(repeats)
    for r in range(repeats):
        speech, text = rng.standard_normal((2, n, 6))
        similarity = speech @ text.T
        null = similarity[np.arange(n), derangements(ones, ones, draws, seed=r)]
        p[r] = p_value(np.diag(similarity).mean(), null.mean(axis=1), True)
    for level in (0.1, 0.25, 0.5, 0.75):
        assert abs((p <= level).mean() - level) < 4 * np.sqrt(level * (1 - level) / repeats)


def test_tau_is_an_order_statistic_of_the_value_and_its_draws_by_hand():
    null = np.arange(19) / 100  # with the value 20 numbers: the 19th smallest is tau
    assert critical_value(0.6, null, True) == pytest.approx((0.18, (0.6 - 0.18) / 0.82))
    assert critical_value(0.17, null, True) == pytest.approx((0.17, 0))
    assert critical_value(0.6, null[:5], True) == pytest.approx((0.6, 0))  # too few draws for 5 %
    assert critical_value(0.5, 1 + null, False) == pytest.approx((1, 0.5))
    assert critical_value(2.0, 1 + null, False) == pytest.approx((1.01, 0))


def test_tau_is_undefined_where_the_value_is_or_chance_leaves_no_room():
    assert np.isnan(critical_value(float("nan"), np.zeros(19), True)).all()
    assert np.isnan(critical_value(1.0, np.ones(19), True)).all()
    assert np.isnan(critical_value(0.0, np.zeros(19), False)).all()
    assert np.isnan(critical_value(0.5, np.array([np.nan, np.nan, *np.zeros(17)]), True)).all()


def test_score_and_p_are_those_of_the_package_of_groeger_et_al():
    package, torch = pytest.importorskip("calibrated_similarity"), pytest.importorskip("torch")
    rng = np.random.default_rng(11)
    for n, draws, strength in ((20, 39, 0.0), (30, 50, 0.6), (30, 19, 3.0)):
        text = rng.standard_normal((4, n, 5))
        speech = strength * text + rng.standard_normal(text.shape)
        orders = [rng.permutation(n) for _ in range(draws)]

        def similarity(x, y):
            return float((x * y).sum() / np.linalg.norm(x) / np.linalg.norm(y))

        raw = np.array([similarity(*pair) for pair in zip(speech, text)])
        drawn = np.array([[similarity(x, y[order]) for x, y in zip(speech, text)] for order in orders])
        layers = [torch.as_tensor(form) for form in (speech, text)]
        for agg, how in (("mean", np.mean), ("max", np.max)):
            again = iter(orders)
            score, p, tau = package.calibrate_layers(
                *(list(form) for form in layers),
                lambda x, y: similarity(x.numpy(), y.numpy()),
                agg=lambda S, agg=agg: getattr(S.diagonal(), agg)(),
                K=draws,
                perm_fn=lambda *_, again=again: torch.as_tensor(next(again)),
            )
            ours = critical_value(how(raw), how(drawn, axis=1), True)
            assert ours == pytest.approx((tau.item(), score.item()), abs=1e-6)
            assert p_value(how(raw), how(drawn, axis=1), True) == pytest.approx(p.item())


def test_moments_per_sample_keep_the_sample_axis():
    draws = np.random.default_rng(7).random((5, 4, 3))
    mean, sd = null_per_sample(draws)
    np.testing.assert_allclose(mean, draws.mean(axis=0))
    np.testing.assert_allclose(sd, draws.std(axis=0, ddof=1))


def test_the_best_layer_pays_for_being_chosen():
    rng = np.random.default_rng(8)
    naive, honest = [], []
    for _ in range(200):
        raw, draws = rng.standard_normal((10, 21)), rng.standard_normal((39, 10, 21))
        means, null = raw.mean(axis=0), draws.mean(axis=1)
        best = best_layer(means, null, True)
        honest.append(best.p <= 0.05)
        naive.append(p_value(means, null, True)[best.layer] <= 0.05)
    assert np.mean(naive) > 0.4
    assert np.mean(honest) < 0.11


def test_the_best_layer_is_never_the_embeddings_and_follows_the_direction():
    raw = np.array([9.0, 1.0, 3.0, 2.0])
    draws = np.zeros((3, 4))
    assert best_layer(raw, draws, True).layer == 2
    best = best_layer(raw, draws + 5, False)
    assert (best.layer, best.raw, best.null, best.p) == (1, 1.0, 5.0, 0.25)
    with pytest.raises(ValueError, match="no layer"):
        best_layer(raw[:1], draws[:, :1], True)
