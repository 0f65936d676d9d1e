"""The null from all pairs of a bin equals the null draw by draw."""

import numpy as np
import pytest

from workflow_scripts.measures.pair_null import PairMeasurements, null_of_pairs, plan_pairs
from workflow_scripts.measures.registry import Measure
from workflow_scripts.measures.shuffle_null import derangements, null_per_sample, p_value


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_counts_give_what_the_draws_give_one_by_one(higher_is_better):
    rng = np.random.default_rng(0)
    values = rng.uniform(size=(9, 9)).round(1)  # rounded: ties with the true pair occur
    values[2, 5] = values[4, 4] = np.nan
    (one,) = plan_pairs(np.full(9, 5), np.full(9, 3), 40, seed=1)
    drawn = values[np.arange(9), one.partners]
    mean, sd, p = null_of_pairs(values, one.counts, higher_is_better)
    expected = null_per_sample(drawn)
    np.testing.assert_allclose(mean, expected[0])
    np.testing.assert_allclose(sd, expected[1])
    np.testing.assert_allclose(p, p_value(np.diag(values), drawn, higher_is_better))
    assert np.isnan(p[4])


def test_bins_draw_the_partners_of_derangements():
    rng = np.random.default_rng(2)
    T_s, T_t = rng.integers(10, 90, 50), rng.integers(3, 30, 50)
    plan = plan_pairs(T_s, T_t, 7, seed=3)
    partners = derangements(T_s, T_t, 7, seed=3)
    assert len(plan) > 1 and sorted(np.concatenate([one.members for one in plan])) == list(range(50))
    for one in plan:
        np.testing.assert_array_equal(one.members[one.partners], partners[:, one.members])
        assert (np.diagonal(one.counts) == 0).all() and (one.counts.sum(axis=1) == 7).all()


def test_means_over_questions_and_their_null_come_back_from_sums_over_bins():
    rng = np.random.default_rng(4)
    T_s, T_t = rng.integers(10, 90, 40), rng.integers(3, 30, 40)
    values = rng.normal(size=(3, 40, 40))
    values[1, 0, :] = np.nan
    plan = plan_pairs(T_s, T_t, 30, 5)
    partners = np.empty((30, 40), dtype=np.int64)
    for one in plan:
        partners[:, one.members] = one.members[one.permutations]
    found = PairMeasurements({"x": Measure("x", "pair", len, True, True, "x", "", "x")}, 40, 3, 30)
    for layer in range(3):
        for one in plan:
            found.add(layer, one, {"x": values[layer][np.ix_(one.members, one.members)]})
    drawn = np.stack([values[:, np.arange(40), row].T for row in partners])
    np.testing.assert_allclose(found.draw_sum["x"] / found.draw_count["x"], np.nanmean(drawn, axis=1))
    np.testing.assert_allclose(found.raw["x"], np.diagonal(values, axis1=1, axis2=2).T)


def test_permutations_are_uniform_and_stay_inside_groups():
    T, groups = np.full(6, 5), np.array([0, 1, 0, 1, 1, 1])
    plan = plan_pairs(T, T, 6000, seed=2, groups=groups)
    assert [one.members.tolist() for one in plan] == [[0, 2], [1, 3, 4, 5]]
    for one in plan:
        m = len(one.members)
        np.testing.assert_array_equal(np.sort(one.permutations, axis=1), np.tile(np.arange(m), (6000, 1)))
        share = [(one.permutations[:, place] == place).mean() for place in range(m)]
        np.testing.assert_allclose(share, 1 / m, atol=0.03)


@pytest.mark.parametrize(("n", "draws"), [(1, 20), (4, 0)])
def test_without_partners_every_question_stands_alone(n, draws):
    plan = plan_pairs(np.full(n, 5), np.full(n, 3), draws, seed=0)
    assert [one.members.tolist() for one in plan] == [[k] for k in range(n)]
    assert all(len(one.partners) == 0 for one in plan)
    with pytest.raises(ValueError, match="draws is -1"):
        plan_pairs(np.full(n, 5), np.full(n, 3), -1, seed=0)


def test_bins_stay_small_in_large_shards():
    rng = np.random.default_rng(6)
    plan = plan_pairs(rng.integers(20, 200, 3000), rng.integers(5, 60, 3000), 2, seed=0)
    assert max(one.members.size for one in plan) < 200
