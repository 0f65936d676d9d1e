"""The voted path and the choice of frames to edit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.measures.one_question import token_alignment
from workflow_scripts.measures.edit_targets import all_entries, bottom_k, path_entry_scores, random_k, top_k, vote_path
from workflow_scripts.measures.token_alignment import token_similarity

entries = st.lists(st.tuples(st.integers(0, 6), st.integers(-5, 5)), min_size=1, max_size=15)


def test_the_most_frequent_frame_of_layers_one_to_L_wins():
    i_star = np.array([[9, 9], [4, 1], [4, 2], [5, 2]])
    voted = vote_path(i_star, np.ones(i_star.shape))
    assert voted.frames.tolist() == [4, 2]
    np.testing.assert_allclose(voted.votes, 2 / 3)


def test_the_embedding_layer_has_no_vote_and_no_score():
    i_star = np.array([[7], [3], [7]])
    score = np.array([[100.0], [0.4], [0.2]])
    voted = vote_path(i_star, score)
    assert voted.frames.tolist() == [3]
    np.testing.assert_allclose(voted.scores, 0.3)


def test_equal_votes_go_to_the_more_similar_then_to_the_earlier_frame():
    i_star = np.array([[0, 0], [2, 8], [6, 5], [2, 8], [6, 5]])
    score = np.array([[0, 0], [0.1, 0.5], [0.4, 0.5], [0.3, 0.5], [0.2, 0.5]])
    assert vote_path(i_star, score).frames.tolist() == [6, 5]


def test_only_layers_that_were_kept_vote():
    i_star, score = np.array([[0], [5], [7], [5]]), np.array([[0.0], [np.nan], [0.4], [np.nan]])
    voted = vote_path(i_star, score, kept=[0, 2])
    assert (voted.frames.tolist(), voted.votes.tolist(), voted.scores.tolist()) == ([7], [1.0], [0.4])


def test_negative_scores_do_not_lose_to_frames_without_votes():
    assert vote_path(np.array([[0], [4], [4]]), -np.ones((3, 1))).frames.tolist() == [4]


def test_bottom_three_by_hand():
    path = np.array([10, 11, 11, 12, 13])
    scores = np.array([0.5, 0.1, 0.9, 0.2, 0.3])
    # Frame 11 is shared: its better token 2 (0.9) stands for it, so it is not among the lowest.
    lowest = bottom_k(path, scores, 3)
    assert lowest.frames.tolist() == [12, 13, 10]
    assert lowest.tokens.tolist() == [3, 4, 0]
    assert lowest.scores.tolist() == [0.2, 0.3, 0.5]
    assert not lowest.exhausted
    highest = top_k(path, scores, 2)
    assert highest.frames.tolist() == [11, 10]
    assert highest.tokens.tolist() == [2, 0]


def test_asking_for_more_frames_than_there_are_returns_all_and_says_so():
    result = bottom_k(np.array([4, 4]), np.array([0.1, 0.2]), 3)
    assert (result.frames.tolist(), result.tokens.tolist(), result.exhausted) == ([4], [1], True)
    assert not bottom_k(np.array([4]), np.array([0.1]), 1).exhausted


def test_equal_scores_take_the_earlier_token():
    assert bottom_k(np.array([8, 3, 5]), np.zeros(3), 2).frames.tolist() == [8, 3]
    assert all_entries(np.array([8, 8]), np.zeros(2)).tokens.tolist() == [0]


@given(entries, st.integers(1, 9), st.integers(0, 99))
def test_every_choice_is_a_subset_of_all_entries(pairs, k, seed):
    path, scores = np.array([p for p, _ in pairs]), np.array([float(s) for _, s in pairs])
    everything = all_entries(path, scores)
    assert sorted(everything.frames.tolist()) == sorted(set(path.tolist()))
    known = set(zip(everything.frames.tolist(), everything.tokens.tolist()))
    for chosen in (bottom_k(path, scores, k), top_k(path, scores, k), random_k(path, scores, k, seed)):
        assert set(zip(chosen.frames.tolist(), chosen.tokens.tolist())) <= known
        assert chosen.frames.size == len(set(chosen.frames.tolist())) == min(k, len(known))
        np.testing.assert_array_equal(path[chosen.tokens], chosen.frames)
        np.testing.assert_array_equal(scores[chosen.tokens], chosen.scores)
        for frame, score in zip(chosen.frames, chosen.scores):
            assert score == scores[path == frame].max()
    low, rest = bottom_k(path, scores, k).scores, everything.scores
    np.testing.assert_array_equal(low, np.sort(rest)[:k])


def test_the_random_choice_follows_its_seed_and_reaches_every_frame():
    path, scores = np.arange(6), np.arange(6.0)
    first = random_k(path, scores, 2, seed=1)
    np.testing.assert_array_equal(first.frames, random_k(path, scores, 2, seed=1).frames)
    assert {int(f) for s in range(60) for f in random_k(path, scores, 2, seed=s).frames} == set(range(6))


def test_entry_scores_read_all_layers_at_the_voted_frame():
    rng = np.random.default_rng(0)
    speech, text = rng.standard_normal((4, 9, 8)), rng.standard_normal((4, 5, 8))
    matrices, alignment = token_similarity(speech, text), token_alignment(speech, text).cosine
    voted = vote_path(alignment.i_star, alignment.path_score)
    expected = [np.mean([matrices.cosine[layer, i, j] for layer in (1, 2, 3)]) for j, i in enumerate(voted.frames)]
    scores = path_entry_scores(matrices.cosine, voted.frames)
    np.testing.assert_allclose(scores, expected, rtol=1e-6)
    assert (scores <= voted.scores + 1e-6).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bottom_k(np.array([1]), np.array([1.0]), 0), "k is 0"),
        (lambda: bottom_k(np.array([], int), np.array([]), 1), "T_t > 0"),
        (lambda: all_entries(np.array([1, 2]), np.array([1.0, np.nan])), "text token 1"),
        (lambda: vote_path(np.zeros((2, 3), int), np.zeros((2, 2))), "expected"),
        (lambda: vote_path(np.zeros((1, 3), int), np.zeros((1, 3))), "at least one"),
        (lambda: vote_path(np.zeros((3, 3), int), np.zeros((3, 3)), kept=[0]), r"those kept, \[0\]"),
    ],
)
def test_bad_requests_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
