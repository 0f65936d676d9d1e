"""Paths against word times: planted answers, what chance gets, invariances, tokens and words without a time."""

import numpy as np
import pytest

from workflow_scripts.measures.time_truth import (
    OUTSIDE,
    UNTIMED,
    position_bounds,
    position_seconds,
    proportional_scores,
    time_scores,
    time_tokens,
    uniform_scores,
)
from workflow_scripts.measures.token_alignment import alignment_path

STEP = 0.1


def even(n=24, step=STEP):
    """Bounds of n positions of equal length."""
    return np.arange(n + 1) * step


# "one three?" as tokens: one | th | ree | ?
SPANS = [(0, 3), (3, 6), (6, 9), (9, 10)]
WORDS = [(0, 3), (4, 9)]
SECONDS = [(0.2, 0.6), (1.0, 2.0)]
T_S = 24


def tokens(seconds=SECONDS, bounds=None):
    return time_tokens(SPANS, WORDS, seconds, even() if bounds is None else bounds)


def test_a_token_goes_to_the_middle_of_its_share_of_the_word_and_is_scored_against_the_whole_word():
    found = tokens()
    # " th" is characters 4..6 of the word 4..9, middle 5: 1.0 + 1/5 = 1.2 s; "ree" is 6..9, middle 7.5: 1.7 s.
    assert found.frame.tolist() == [4, 12, 17, OUTSIDE]
    assert found.first.tolist() == [2, 10, 10, OUTSIDE]
    assert found.last.tolist() == [5, 19, 19, OUTSIDE]
    np.testing.assert_allclose(found.centre, [0.4, 1.5, 1.5, np.nan])
    assert found.timed.tolist() == [True, True, True, False]


def test_the_planted_path_hits_every_word_and_its_error_is_known():
    planted = np.array([[4, 12, 17, 0]])
    found = time_scores(planted, tokens(), even())
    # Frame centres 0.45, 1.25 and 1.75 s against word centres 0.4, 1.5 and 1.5 s.
    np.testing.assert_allclose(found.error, [1000 * (0.05 + 0.25 + 0.25) / 3])
    np.testing.assert_allclose(found.median, [250])
    assert found.hit.tolist() == [1]


def test_frames_of_other_words_miss_and_the_untimed_token_counts_nowhere():
    paths = np.array([[12, 12, 2, 0], [12, 12, 2, 23]])
    found = time_scores(paths, tokens(), even())
    assert found.hit.tolist() == [pytest.approx(1 / 3)] * 2
    assert found.error[0] == found.error[1]


def test_a_later_path_is_later_by_as_much_and_a_common_delay_of_words_and_path_changes_nothing():
    one_word = time_tokens([(0, 3)], [(0, 3)], [(0.0, 0.1)], even(100))
    later = time_scores(np.arange(0, 100, 10)[:, None], one_word, even(100))
    np.testing.assert_allclose(np.diff(later.error), 1000)
    shifted = tokens([(a + 0.3, b + 0.3) for a, b in SECONDS])
    path = np.array([[2, 9, 20, 0]])
    before, after = time_scores(path, tokens(), even()), time_scores(path + 3, shifted, even())
    np.testing.assert_allclose(after.error, before.error)
    np.testing.assert_array_equal(after.hit, before.hit)


def test_uniform_is_the_expectation_over_random_paths():
    found, expected = tokens(), uniform_scores(tokens(), even())
    drawn = time_scores(np.random.default_rng(0).integers(0, T_S, (40_000, 4)), found, even())
    assert drawn.error.mean() == pytest.approx(expected.error[0], rel=0.01)
    assert drawn.hit.mean() == pytest.approx(expected.hit[0], rel=0.02)
    assert expected.hit[0] == pytest.approx((4 + 10 + 10) / 3 / T_S)


def test_proportional_is_right_for_a_constant_speaking_rate_and_wrong_after_a_long_pause():
    spans = [(k, k + 1) for k in range(10)]
    steady = time_tokens(spans, spans, [(k * 0.3, (k + 1) * 0.3) for k in range(10)], even(30))
    found = proportional_scores(steady, even(30))
    assert found.hit.tolist() == [1] and found.error[0] < 1000 * STEP
    late = time_tokens(spans, spans, [(2 + k * 0.1, 2.1 + k * 0.1) for k in range(10)], even(30))
    assert proportional_scores(late, even(30)).hit[0] < 0.2


def test_scores_of_a_stored_token_matrix_are_those_of_its_path():
    rng = np.random.default_rng(1)
    cosine = rng.uniform(-1, 0.5, (3, T_S, 4)).astype(np.float16)
    cosine[:, [4, 12, 17, 0], np.arange(4)] = 0.9
    found = time_scores(alignment_path(cosine, "cosine")[0], tokens(), even())
    assert found.hit.tolist() == [1, 1, 1]


def test_a_word_without_a_time_is_told_from_a_token_outside_words_and_both_are_left_out():
    found = tokens([None, (1.0, 2.0)])
    assert found.frame.tolist() == [UNTIMED, 12, 17, OUTSIDE]
    assert time_scores(np.array([[99, 12, 17, 99]]), found, even()).hit.tolist() == [1]


def test_without_any_timed_token_every_score_is_undefined():
    nothing = tokens([None, None])
    scores = time_scores(np.zeros((2, 4), int), nothing, even())
    for found, rows in (
        (scores, 2),
        (uniform_scores(nothing, even()), 1),
        (proportional_scores(nothing, even()), 1),
    ):
        for values in (found.error, found.median, found.hit):
            assert values.shape == (rows,) and np.isnan(values).all()


def test_one_token_and_one_frame_are_defined():
    one = time_tokens([(0, 3)], [(0, 3)], [(0.02, 0.05)], even(1))
    assert (one.frame.tolist(), one.first.tolist(), one.last.tolist()) == ([0], [0], [0])
    for found in (
        time_scores(np.array([[0]]), one, even(1)),
        uniform_scores(one, even(1)),
        proportional_scores(one, even(1)),
    ):
        assert found.hit.tolist() == [1]
        np.testing.assert_allclose(found.error, [15])


def test_times_beyond_the_last_position_become_the_last_one():
    found = time_tokens([(0, 3)], [(0, 3)], [(2.38, 2.45)], even())
    assert (found.frame.tolist(), found.first.tolist(), found.last.tolist()) == ([23], [23], [23])


def test_a_word_that_ends_where_a_frame_starts_is_no_part_of_it():
    found = time_tokens([(0, 3)], [(0, 3)], [(0.3, 0.6)], even())
    assert (found.first.tolist(), found.last.tolist()) == ([3], [5])


@pytest.mark.parametrize("f", [0.1, 0.08, 0.04])
def test_the_length_of_a_position_is_found_from_how_many_there_are(f):
    seconds = np.random.default_rng(2).uniform(1.5, 12, 20)
    T_s = np.ceil(seconds / f).astype(int)
    np.testing.assert_allclose(position_seconds(seconds, T_s), f, rtol=2e-3)


def test_positions_of_unequal_length_fall_back_to_each_questions_mean():
    np.testing.assert_allclose(position_seconds(np.array([2.0, 2.0]), np.array([10, 40])), [0.2, 0.05])
    np.testing.assert_allclose(position_seconds(np.array([0.3, 0.5]), np.array([1, 1])), [0.3, 0.5])


def test_positions_begin_where_the_model_says_so_and_else_in_equal_steps():
    given, derived = position_bounds(np.array([2.0, 0.8]), np.array([3, 8]), [np.array([0.1, 0.9, 1.2]), None])
    np.testing.assert_allclose(given, [0.1, 0.9, 1.2, 2.0])
    np.testing.assert_allclose(derived, np.arange(9) * 0.1)
    [beyond] = position_bounds(np.array([1.0]), np.array([2]), [np.array([0.0, 1.1])])
    np.testing.assert_allclose(beyond, [0.0, 1.1, 1.1])
    for wrong in ([0.1, 0.9], [0.9, 0.1, 1.2]):
        with pytest.raises(ValueError, match="starts of 3 positions"):
            position_bounds(np.array([2.0]), np.array([3]), [np.array(wrong)])


def test_a_word_is_found_among_positions_of_unequal_length():
    """A run of one heard token each, as a collapsed posterior has them: the first begins behind a silence."""
    bounds = np.array([0.3, 0.9, 1.1, 1.9, 2.4])
    found = tokens(bounds=bounds)
    # "one" is spoken at 0.2 .. 0.6 s, "three" at 1.0 .. 2.0 s: positions 0, and 1 to 3.
    assert found.first.tolist() == [0, 1, 1, OUTSIDE] and found.last.tolist() == [0, 3, 3, OUTSIDE]
    assert found.frame.tolist() == [0, 2, 2, OUTSIDE]
    scores = time_scores(np.array([[0, 2, 2, 0]]), found, bounds)
    # Centres 0.6 and 1.5 s against 0.4 and 1.5 s.
    np.testing.assert_allclose([scores.error[0], scores.hit[0]], [1000 * 0.2 / 3, 1])
    np.testing.assert_allclose(uniform_scores(found, bounds).hit, [(1 + 3 + 3) / 3 / 4])


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"integer frames \(rows, 4\)"):
        time_scores(np.zeros((2, 3), int), tokens(), even())
    with pytest.raises(ValueError, match="expected integer frames"):
        time_scores(np.zeros((2, 4)), tokens(), even())
    with pytest.raises(ValueError, match="1 words, 2 times"):
        time_tokens(SPANS, WORDS[:1], SECONDS, even())
    with pytest.raises(ValueError, match="lengths > 0"):
        position_seconds(np.array([0.0]), np.array([1]))
