"""Positions of words by hand, whatever the spacing; ranks and recall by hand; the null's cases."""

import numpy as np
import pytest

from workflow_scripts.measures.pair_null import plan_pairs
from workflow_scripts.measures.word_reading import SpokenWords, exchanged, positions_of, read_words, shared_tokens


def test_positions_are_those_that_the_time_overlaps():
    starts = np.array([0.0, 0.1, 0.2, 0.3])
    seconds = np.array([[0.1, 0.3], [0.05, 0.15], [0.2, 0.2], [0.35, 0.9], [-0.2, 0.0], [0.4, 0.5], [-0.1, 0.05]])
    first, last = positions_of(starts, 0.4, seconds)
    assert list(zip(first, last)) == [(1, 3), (0, 2), (2, 3), (3, 4), (0, 0), (4, 4), (0, 1)]


def test_a_vector_for_each_token_heard_covers_the_time_until_the_next():
    first, last = positions_of(np.array([0.3, 0.5, 1.4]), 2.0, np.array([[0.0, 0.2], [0.6, 1.0], [1.3, 1.9]]))
    assert list(zip(first, last)) == [(0, 0), (1, 2), (1, 3)]


def test_rank_is_the_best_over_positions_and_variants_and_times_are_stretched():
    ranks = np.array([[[1, 50], [100, 7], [1000, 1000], [10, 200]]])
    words = SpokenWords(np.array([[0.0, 0.1], [0.05, 0.1]]), 0.2, [(8, 9), (8,)])
    starts = np.arange(4) * 0.1
    found, counts = read_words(ranks, starts, 0.4, words, {8: 0, 9: 1}, [0.0, 0.1, 0.4], k=10)
    assert counts.tolist() == [2, 2, 0]
    np.testing.assert_allclose(found["recall"], [[0.5, 0.5, np.nan]])
    np.testing.assert_allclose(found["log_rank"][0, :2], [(0 + 2) / 2, (np.log10(7) + 3) / 2])


def test_shared_tokens_are_those_of_two_questions():
    assert shared_tokens([[(1, 2), (3,), (3,)], [(2,), (4,)], [(5,)]]) == {2}


def test_the_null_has_the_other_questions_and_p_all_permutations():
    values = np.full((4, 4, 2), 0.2)
    values[np.arange(4), np.arange(4), 0] = [0.5, 0.6, 0.7, np.nan]
    bins = plan_pairs(np.full(4, 9), np.full(4, 3), 199, 0)
    found = exchanged(values, bins, True)
    np.testing.assert_allclose(found.value, [0.6, 0.2])
    np.testing.assert_allclose(found.null, 0.2)
    assert found.n.tolist() == [3, 4] and found.p[0] <= 0.1 and found.p[1] == 1
    assert exchanged(values, bins, False).p[0] == 1


def test_a_question_alone_does_not_count_and_nothing_is_undefined():
    bins = plan_pairs(np.full(3, 9), np.full(3, 3), 9, 0, groups=np.array(["a", "b", "b"]))
    values = np.zeros((3, 3, 1))
    values[0] = 5.0
    assert exchanged(values, bins, True).value == 0 and exchanged(values, bins, True).n == 2
    alone = exchanged(np.ones((1, 1, 1)), plan_pairs(np.ones(1), np.ones(1), 9, 0), True)
    assert np.isnan([alone.value, alone.null, alone.p]).all() and alone.n == 0
    with pytest.raises(ValueError):
        plan_pairs(np.ones(1), np.ones(1), -1, 0)
