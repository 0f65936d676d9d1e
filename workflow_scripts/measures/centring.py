"""Similarity without what all questions share: means taken away, and dimensions of massive activations left out.

Ours. A direction common to all states gives unrelated pairs a cosine near 1; an offset between the two forms is itself
a modality gap. The means of a question are estimated on other questions (two halves of the shard, drawn with a seed,
each centred by the other's means): means that include the question would pull its speech and text apart.
"""

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np

Centring = Literal["common", "modality"]


def halves(ids: Sequence[str], seed: int) -> np.ndarray:
    """(n,) bool: which half each question is in, as equal as n allows, by ids and seed whatever the order."""
    digests = [hashlib.sha256(f"{seed}:{name}".encode()).digest() for name in ids]
    half = np.zeros(len(digests), dtype=bool)
    half[sorted(range(len(digests)), key=digests.__getitem__)[: len(digests) // 2]] = True
    return half


def held_out_means(
    speech: np.ndarray, text: np.ndarray, half: np.ndarray, centring: Centring
) -> tuple[np.ndarray, np.ndarray]:
    """What is taken from speech and text of each question: (n, d) float64 twice.

    speech, text (n, d): one vector per question, such as its mean state. `common`: the mean over both forms of the
    other half; `modality`: the mean over the same form of the other half. NaN for a single question, which has no other
    half. Raises ValueError for shapes that differ.
    """
    speech, text = np.asarray(speech, dtype=np.float64), np.asarray(text, dtype=np.float64)
    if speech.ndim != 2 or speech.shape != text.shape or half.shape != speech.shape[:1]:
        raise ValueError(
            f"speech {speech.shape}, text {text.shape}, halves {half.shape}: expected (n, d) twice and (n,)"
        )
    taken = []
    for form in (speech, text):
        mean = np.full((2, form.shape[1]), np.nan)
        for side in (False, True):
            if (half == side).any():
                mean[int(not side)] = form[half == side].mean(axis=0)
        taken.append(mean[half.astype(int)])
    if centring == "common":
        both = (taken[0] + taken[1]) / 2
        return both, both
    return taken[0], taken[1]


def massive_dimensions(speech: np.ndarray, text: np.ndarray, k: int) -> np.ndarray:
    """The k dimensions with the largest ratio of max |x| to the median |x| over everything: (<= k,) sorted.

    speech, text (n, d). At least one dimension is always left. Ties: the lower dimension. Raises ValueError for k < 0.
    """
    if k < 0:
        raise ValueError(f"k is {k}, expected at least 0")
    size = np.abs(np.concatenate([speech, text]))
    median = np.median(size)
    ratio = size.max(axis=0) / (median if median > 0 else 1.0)
    return np.sort(np.argsort(-ratio, kind="stable")[: min(k, size.shape[1] - 1)])
