"""Which frames are edited: the sources of the path, entries by rank or at random, controls elsewhere."""

import numpy as np
import pytest

from workflow_scripts.intervention.selection import MeasuredPaths, path_of, select_targets
from workflow_scripts.settings.intervention import InterventionOperation

# Layer 0 disagrees everywhere and must not count; layers 1..3 vote. Tokens 0 and 4 share frame 2.
I_STAR = np.array([[9, 9, 9, 9, 9], [2, 4, 6, 8, 2], [2, 4, 6, 7, 2], [2, 5, 6, 8, 2]], dtype=np.int32)
SCORES = np.array([[0.0] * 5, [0.9, 0.2, 0.5, 0.7, 0.1], [0.9, 0.2, 0.5, 0.7, 0.1], [0.9, 0.2, 0.5, 0.7, 0.1]])
VOTED = np.array([2, 4, 6, 8, 2]), SCORES[1]


def entry(**values):
    return InterventionOperation(**{"operation": "angle", **values})


def measured(T_s=10, states=None, best_layer=2, layers=None, spoken=None):
    return MeasuredPaths(I_STAR, SCORES, layers or [0, 1, 2, 3], best_layer, T_s, states, spoken)


def test_sources_of_the_path():
    assert path_of(entry(), measured())[0].tolist() == VOTED[0].tolist()
    assert path_of(entry(path=0), measured())[0].tolist() == [9] * 5
    assert path_of(entry(path="best"), measured())[0].tolist() == I_STAR[2].tolist()
    with pytest.raises(ValueError, match=r"path 4: the paths are of layers \[0, 1, 2, 3\]"):
        path_of(entry(path=4), measured())
    with pytest.raises(ValueError, match=r"frames 2 \.\. 8 of 8"):
        path_of(entry(), measured(T_s=8))


def test_layers_whose_states_were_not_kept_have_no_vote_and_no_path():
    absent = MeasuredPaths(np.where([[0], [0], [1], [0]], I_STAR, 0), np.where([[0], [0], [1], [0]], SCORES, np.nan),
                           [2], 2, 10, None)  # fmt: skip
    frames, scores = path_of(entry(), absent)
    assert frames.tolist() == I_STAR[2].tolist() and scores.tolist() == SCORES[2].tolist()
    with pytest.raises(ValueError, match=r"path 3: the paths are of layers \[2\]"):
        path_of(entry(path=3), absent)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_the_warping_path_follows_a_planted_diagonal(metric):
    rng = np.random.default_rng(0)
    text = rng.standard_normal((4, 5, 16)).astype(np.float32)
    speech = 3 * rng.standard_normal((4, 15, 16)).astype(np.float32)
    planted = [1, 4, 7, 10, 13]
    speech[:, planted] = text
    frames, scores = path_of(entry(path="dtw", metric=metric), measured(15, lambda: (speech, text)))
    assert frames.tolist() == planted
    np.testing.assert_allclose(scores, 1.0 if metric == "cosine" else 0.0, atol=1e-3)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_a_forced_alignment_goes_where_the_words_are_spoken_and_leaves_out_what_has_no_time(metric):
    rng = np.random.default_rng(0)
    text = rng.standard_normal((4, 5, 16)).astype(np.float32)
    speech = 3 * rng.standard_normal((4, 10, 16)).astype(np.float32)
    speech[:, [3, 7]] = text[:, [1, 4]]  # tokens 1 and 4 are where they are spoken, token 2 is not
    spoken = np.array([-2, 3, 5, -1, 7], dtype=np.int32)
    forced = entry(path="forced_alignment", metric=metric)
    frames, scores = path_of(forced, measured(states=lambda: (speech, text), spoken=spoken))
    assert frames.tolist() == [-1, 3, 5, -1, 7] and np.isnan(scores[[0, 3]]).all()
    np.testing.assert_allclose(scores[[1, 4]], 1.0 if metric == "cosine" else 0.0, atol=1e-3)
    assert scores[2] < scores[1] - 0.5
    found = select_targets(forced, frames, scores)
    assert found.frames.tolist() == [3, 5, 7] and found.tokens.tolist() == [1, 2, 4]
    lowest = select_targets(entry(path="forced_alignment", selection="bottom", k=1), frames, scores)
    assert (lowest.frames.tolist(), lowest.tokens.tolist()) == ([5], [2])
    elsewhere = select_targets(forced, frames, scores, control="random_frames", T_s=10, seed=0)
    assert elsewhere.tokens.tolist() == [1, 2, 4] and not set(elsewhere.frames.tolist()) & {3, 5, 7}


def test_a_forced_alignment_without_any_time_has_no_targets_and_needs_no_states():
    forced = entry(path="forced_alignment", selection="bottom", k=2)
    frames, scores = path_of(forced, measured(spoken=np.full(5, -1, dtype=np.int32)))
    found = select_targets(forced, frames, scores)
    assert found.frames.size == found.tokens.size == 0 and found.exhausted


def test_a_forced_alignment_needs_word_times_within_the_question():
    forced = entry(path="forced_alignment")
    with pytest.raises(ValueError, match="has no word times; delete it and run again"):
        path_of(forced, measured())
    states = np.ones((4, 12, 3), np.float32), np.ones((4, 5, 3), np.float32)
    with pytest.raises(ValueError, match=r"frames 0 \.\. 11 of 10"):
        path_of(forced, measured(states=lambda: states, spoken=np.array([0, 1, 2, 3, 11], dtype=np.int32)))


def test_all_edits_every_distinct_frame_with_its_best_token():
    found = select_targets(entry(selection="all"), *VOTED)
    assert found.frames.tolist() == [2, 4, 6, 8]
    assert found.tokens.tolist() == [0, 1, 2, 3]


def test_everywhere_edits_every_frame_with_the_token_of_the_nearest_frame_of_the_path():
    found = select_targets(entry(selection="everywhere"), *VOTED, T_s=11)
    assert found.frames.tolist() == list(range(11)) and not found.exhausted
    assert found.tokens.tolist() == [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 3], "between two, the earlier one's"
    backwards = select_targets(entry(selection="everywhere"), np.array([8, 2]), np.zeros(2), T_s=10)
    assert backwards.tokens.tolist() == [1] * 6 + [0] * 4
    with pytest.raises(ValueError, match="everywhere needs T_s"):
        select_targets(entry(selection="everywhere"), *VOTED)


def test_bottom_takes_the_frames_with_the_lowest_score_and_top_the_highest():
    """Token 4 scores lowest, but its frame 2 is also that of token 0, the best: it is not among the bottom two."""
    found = select_targets(entry(selection="bottom", k=2), *VOTED)
    assert found.frames.tolist() == [4, 6] and found.tokens.tolist() == [1, 2]
    assert not found.exhausted
    assert select_targets(entry(selection="top", k=2), *VOTED).frames.tolist() == [2, 8]


def test_more_than_the_path_has_takes_all_and_says_so():
    found = select_targets(entry(selection="bottom", k=9), *VOTED)
    assert sorted(found.frames.tolist()) == [2, 4, 6, 8] and found.exhausted


def test_selection_controls_choose_elsewhere_on_the_path():
    bottom = entry(selection="bottom", k=2)
    assert select_targets(bottom, *VOTED, control="top_selection").frames.tolist() == [2, 8]
    drawn = {tuple(select_targets(bottom, *VOTED, control="random_selection", seed=k).frames) for k in range(30)}
    assert len(drawn) > 5 and all(len(frames) == 2 for frames in drawn)


def test_random_frames_keep_the_tokens_and_avoid_the_path_as_far_as_there_is_room():
    bottom = entry(selection="bottom", k=2)
    for seed in range(10):
        found = select_targets(bottom, *VOTED, control="random_frames", T_s=10, seed=seed)
        assert found.tokens.tolist() == [1, 2]
        assert len(set(found.frames.tolist())) == 2 and not set(found.frames.tolist()) & {2, 4, 6, 8}
    crowded = select_targets(entry(), *VOTED, control="random_frames", T_s=10, seed=0)
    assert len(set(crowded.frames.tolist())) == 4
    full = select_targets(entry(), np.arange(3), np.zeros(3), control="random_frames", T_s=3, seed=1)
    assert sorted(full.frames.tolist()) == [0, 1, 2]
    with pytest.raises(ValueError, match="needs T_s"):
        select_targets(bottom, *VOTED, control="random_frames")
