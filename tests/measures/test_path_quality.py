"""Paths that respect time: batch scores equal the paths of `monotone_paths`, planted answers, ragged batches."""

import numpy as np
import pytest

from workflow_scripts.measures.monotone_paths import dtw, text_monotone_path
from workflow_scripts.measures.path_quality import BELOW_ANY, monotone_scores, path_quality, warping_costs
from workflow_scripts.measures.path_statistics import collisions, consistency, monotonicity, violations


@pytest.mark.parametrize(("T_s", "T_t"), [(1, 1), (1, 6), (7, 1), (5, 4), (30, 12)])
def test_scores_are_those_of_the_paths_themselves(T_s, T_t):
    cosine = np.random.default_rng(T_s * T_t).uniform(-1, 1, (3, T_s, T_t))
    found = path_quality(cosine)
    np.testing.assert_allclose(found.monotone_score, text_monotone_path(cosine).score)
    np.testing.assert_allclose(found.dtw_cost, dtw(1 - cosine).cost / (T_s + T_t))
    np.testing.assert_allclose(found.free_score, cosine.max(axis=1).mean(axis=1))
    assert (found.monotone_loss >= 0).all()
    assert np.isnan(found.violations).all() == (T_t == 1)


def test_a_path_along_the_diagonal_loses_nothing_and_a_reversed_one_does():
    planted = np.full((2, 12, 4), -0.5)
    planted[0, [1, 4, 6, 9], np.arange(4)] = 1
    planted[1, [9, 6, 4, 1], np.arange(4)] = 1
    found = path_quality(planted)
    np.testing.assert_allclose(found.free_score, 1)
    np.testing.assert_allclose(found.monotone_loss, [0, 1 - (1 - 0.5 * 3) / 4])
    np.testing.assert_allclose(found.violations, [0, 1])
    np.testing.assert_allclose(found.collisions, 0)
    assert found.dtw_cost[0] < found.dtw_cost[1]


def test_a_stored_float16_matrix_gives_the_same_as_the_fresh_one():
    fresh = np.random.default_rng(1).uniform(-1, 1, (4, 20, 9)).astype(np.float32)
    stored = path_quality(fresh.astype(np.float16))
    for name, values in vars(path_quality(fresh)).items():
        np.testing.assert_allclose(getattr(stored, name), values, atol=2e-3, err_msg=name)


def test_transposing_both_axes_of_time_keeps_the_warping_cost():
    cosine = np.random.default_rng(2).uniform(-1, 1, (3, 15, 8))
    np.testing.assert_allclose(
        path_quality(cosine).dtw_cost, path_quality(cosine.transpose(0, 2, 1)).dtw_cost, rtol=1e-12
    )


def test_all_equal_similarities_have_a_path_on_frame_0_and_collide():
    found = path_quality(np.full((2, 5, 4), 0.3))
    np.testing.assert_allclose(found.monotone_loss, 0, atol=1e-12)
    np.testing.assert_allclose(found.collisions, 0.75)
    np.testing.assert_allclose(found.violations, 0)


def test_a_matrix_that_is_not_finite_names_the_layer():
    cosine = np.zeros((3, 4, 4))
    cosine[2, 1, 1] = np.nan
    with pytest.raises(ValueError, match="layer 2 is not finite"):
        path_quality(cosine)


def test_ragged_batches_give_what_each_pair_gives_alone():
    rng = np.random.default_rng(3)
    T_s, T_t = rng.integers(1, 20, 25), rng.integers(1, 12, 25)
    block = np.full((25, T_t.max(), T_s.max()), BELOW_ANY)
    alone = [rng.uniform(-1, 1, (1, s, t)) for s, t in zip(T_s, T_t)]
    paths = np.zeros((2, 25, T_t.max()), dtype=int)
    for row, cosine in enumerate(alone):
        block[row, : T_t[row], : T_s[row]] = cosine[0].T
        paths[:, row, : T_t[row]] = rng.integers(0, T_s[row], (2, T_t[row]))
    np.testing.assert_allclose(monotone_scores(block, T_t), [path_quality(one).monotone_score[0] for one in alone])
    np.testing.assert_allclose(warping_costs(block, T_t, T_s), [path_quality(one).dtw_cost[0] for one in alone])
    first, second = paths
    singles = [(a[None, :t], b[None, :t]) for a, b, t in zip(first, second, T_t)]
    np.testing.assert_allclose(monotonicity(first, lengths=T_t), [monotonicity(a)[0] for a, _ in singles])
    np.testing.assert_allclose(violations(first, T_t), [violations(a)[0] for a, _ in singles])
    np.testing.assert_allclose(collisions(first, lengths=T_t), [collisions(a)[0] for a, _ in singles])
    np.testing.assert_allclose(consistency(first, second, lengths=T_t), [consistency(a, b)[0] for a, b in singles])
    with pytest.raises(ValueError, match="lengths"):
        violations(first, T_t + 12)
