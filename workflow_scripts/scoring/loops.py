"""Answers that go in circles: a phrase over and over, or a stretch with hardly any new word (ours)."""

from collections import Counter
from collections.abc import Sequence

LONGEST_PHRASE = 4
REPETITIONS = 6
_WINDOW, _MINIMUM, _SHARE = 60, 24, 0.2  # words, words, distinct words per word


def repeats_a_phrase(words: Sequence[str]) -> bool:
    """A phrase of up to four words stands at least six times in a row and makes up half of the text."""
    for size in range(1, LONGEST_PHRASE + 1):
        run = 0
        for place in range(size, len(words)):
            run = run + 1 if words[place] == words[place - size] else 0
            if run >= (REPETITIONS - 1) * size and 2 * (run + size) >= len(words):
                return True
    return False


def poor_windows(words: Sequence[str], step: int = _WINDOW) -> list[bool]:
    """For each window of 60 words, every `step` words, whether less than a fifth of its words are distinct."""
    windows = [words[start : start + _WINDOW] for start in range(0, len(words), step)]
    return [len(Counter(one)) < max(2, _SHARE * len(one)) for one in windows if len(one) >= _MINIMUM]
