"""DTW and the text-monotone path against brute force, planted paths and symmetry."""

from itertools import combinations_with_replacement

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.measures.monotone_paths import dtw, frame_per_token, text_monotone_path

shapes = st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6))


def cheapest_by_enumeration(cost: np.ndarray) -> float:
    """Try every warping path, without any table."""

    def rest(i: int, j: int) -> float:
        if (i, j) == (0, 0):
            return cost[0, 0]
        before = [(i - 1, j), (i, j - 1), (i - 1, j - 1)]
        return cost[i, j] + min(rest(a, b) for a, b in before if a >= 0 and b >= 0)

    return rest(cost.shape[0] - 1, cost.shape[1] - 1)


@settings(max_examples=40)
@given(shapes, st.integers(0, 2**16))
def test_dtw_is_as_cheap_as_the_best_of_all_paths(shape, seed):
    cost = np.random.default_rng(seed).random(shape)
    result = dtw(cost)
    for layer in range(shape[0]):
        assert result.cost[layer] == pytest.approx(cheapest_by_enumeration(cost[layer]))
        pairs = result.pairs[layer]
        assert cost[layer][pairs[:, 0], pairs[:, 1]].sum() == pytest.approx(result.cost[layer])
        assert pairs[0].tolist() == [0, 0]
        assert pairs[-1].tolist() == [shape[1] - 1, shape[2] - 1]
        assert {tuple(step) for step in np.diff(pairs, axis=0).tolist()} <= {(1, 0), (0, 1), (1, 1)}


@settings(max_examples=40)
@given(shapes, st.integers(0, 2**16))
def test_the_monotone_path_scores_as_high_as_the_best_of_all_paths(shape, seed):
    similarity = np.random.default_rng(seed).standard_normal(shape)
    result = text_monotone_path(similarity)
    _, frames, tokens = shape
    for layer, matrix in enumerate(similarity):
        best = max(
            sum(matrix[i, j] for j, i in enumerate(path))
            for path in combinations_with_replacement(range(frames), tokens)
        )
        assert result.path_score[layer].sum() == pytest.approx(best)
        assert result.score[layer] == pytest.approx(best / tokens)
        assert (np.diff(result.i_star[layer]) >= 0).all()


def test_a_planted_warping_path_is_found():
    rng = np.random.default_rng(0)
    cost = 0.5 * rng.random((1, 30, 12))
    i = j = 0
    planted = [(0, 0)]
    while (i, j) != (29, 11):
        moves = [(a, b) for a, b in ((1, 0), (0, 1), (1, 1)) if i + a < 30 and j + b < 12]
        a, b = moves[rng.integers(len(moves))]
        i, j = i + a, j + b
        planted.append((i, j))
    rows, columns = np.array(planted).T
    cost[0, rows, columns] -= 1  # below zero, so that skipping a planted corner by a diagonal does not pay
    assert dtw(cost).pairs[0].tolist() == [list(pair) for pair in planted]
    edge = cost[0, :, 0].sum() + cost[0, -1, 1:].sum()
    assert dtw(cost).cost[0] < edge - 10


def test_swapping_speech_and_text_transposes_the_warping_cost():
    cost = np.random.default_rng(1).random((3, 9, 14))
    np.testing.assert_allclose(dtw(cost).cost, dtw(cost.transpose(0, 2, 1)).cost)


def test_a_monotone_plant_is_kept_and_a_crossing_one_straightened():
    similarity = np.zeros((2, 8, 4))
    similarity[0, [1, 3, 3, 6], range(4)] = 1
    similarity[1, [1, 7, 2, 3], range(4)] = 1
    result = text_monotone_path(similarity)
    assert result.i_star[0].tolist() == [1, 3, 3, 6]
    np.testing.assert_allclose(result.score, [1, 0.75])


def test_ties_go_to_the_earliest_frames():
    assert text_monotone_path(np.zeros((1, 5, 3))).i_star.tolist() == [[0, 0, 0]]


def test_equally_cheap_ways_prefer_the_diagonal():
    assert dtw(np.zeros((1, 3, 3))).pairs[0].tolist() == [[0, 0], [1, 1], [2, 2]]


def test_each_token_takes_its_cheapest_frame_of_the_warping_path():
    cost = np.array([[[0.3, 9.0], [0.1, 9.0], [0.2, 9.0], [9.0, 0.3]]])
    pairs = dtw(cost).pairs[0]
    assert pairs.tolist() == [[0, 0], [1, 0], [2, 0], [3, 1]]
    assert frame_per_token(pairs, cost[0]).tolist() == [1, 3]


@pytest.mark.parametrize("function", [dtw, text_monotone_path])
def test_bad_matrices_are_refused(function):
    with pytest.raises(ValueError, match=r"shape \(2, 2\)"):
        function(np.zeros((2, 2)))
    bad = np.zeros((3, 2, 2))
    bad[1, 0, 0] = np.nan
    with pytest.raises(ValueError, match="layer 1"):
        function(bad)
