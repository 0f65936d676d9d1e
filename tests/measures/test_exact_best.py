"""Paths do not depend on how float32 rounds: near ties are decided as float64 decides them."""

import numpy as np
import pytest

from workflow_scripts.measures.exact_best import TIE, most_similar_frames, nearest_frames
from workflow_scripts.measures.pair_alignment import align_pairs, stack_texts
from workflow_scripts.measures.states import prepare


def near_ties(seed, d=64, T=40, n=30, step=3e-8):
    """Frames around each other by less than float32 can tell in a product; all exactly float32."""
    rng = np.random.default_rng(seed)
    frames = np.tile(rng.standard_normal((1, d)), (T, 1)) + step * rng.standard_normal((T, d)) * d
    return frames.astype(np.float32), (frames[0] + 0.1 * rng.standard_normal((n, d))).astype(np.float32)


def exact_paths(frames, text):
    s, t = frames.astype(np.float64), text.astype(np.float64)
    cosine = (t @ s.T) / np.linalg.norm(s, axis=1)
    return cosine.argmax(axis=1), ((t[:, None] - s[None]) ** 2).sum(axis=2).argmin(axis=1)


@pytest.mark.parametrize("seed", range(5))
def test_near_ties_are_decided_as_in_float64_where_float32_alone_is_wrong(seed):
    frames, text = near_ties(seed)
    expected = exact_paths(frames, text)
    speech, texts = prepare(frames[None]), prepare(text[None])
    inner = text @ frames.T
    plain = (inner / np.linalg.norm(frames, axis=1)).argmax(axis=1)
    assert (plain != expected[0]).any()  # this is what moved monotonicity and consistency
    for best, wanted in zip((most_similar_frames, nearest_frames), expected):
        np.testing.assert_array_equal(best(inner, speech, text, texts.norms[0]), wanted)


def test_paths_of_a_shard_are_those_of_float64_on_near_ties():
    frames, text = near_ties(7)
    paired = align_pairs([prepare(frames[None])], stack_texts([prepare(text[None])]), np.array([0]))
    for metric, wanted in zip(("cosine", "euclidean"), exact_paths(frames, text)):
        np.testing.assert_array_equal(paired.i_star[metric][0, 0], wanted)
        np.testing.assert_array_equal(paired.own[0].i_star[metric], wanted)


@pytest.mark.parametrize("d", [1, 64, 4096])
def test_the_tolerance_exceeds_the_rounding_of_a_float32_product(d):
    rng = np.random.default_rng(d)
    s, t = (rng.standard_normal((60, d)).astype(np.float32) + 3 for _ in range(2))
    exact = s.astype(np.float64) @ t.astype(np.float64).T
    size = np.linalg.norm(s, axis=1)[:, None] * np.linalg.norm(t, axis=1)
    assert (np.abs(s @ t.T - exact) / size).max() < TIE / 3


def test_equal_frames_give_the_first_one_and_a_zero_text_too():
    frames = np.tile(np.random.default_rng(0).standard_normal((1, 8)), (6, 1)).astype(np.float32)
    text = np.vstack([frames[:2], np.zeros((1, 8), np.float32)])
    speech, texts = prepare(frames[None]), prepare(text[None])
    inner = text @ frames.T
    for best in (most_similar_frames, nearest_frames):
        assert best(inner, speech, text, texts.norms[0]).tolist() == [0, 0, 0]
