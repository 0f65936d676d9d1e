"""The words of a prompt found again among the words that a voice or a recogniser timed (ours).

The two differ: symbols are read out, numbers become words, a recogniser mishears. Words are compared by letters and
digits alone; the longest common runs are matched first (`difflib`), and what lies between two runs is one block.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from workflow_scripts.artifacts.word_times import TimedWord

_CHUNK = re.compile(r"\S+")


@dataclass(frozen=True)
class SpokenWord:
    """A word with the seconds at which it starts and ends in the audio."""

    text: str
    start: float
    end: float


def prompt_words(prompt: str) -> list[tuple[str, tuple[int, int]]]:
    """Words and their characters in the prompt: runs without space, less the punctuation around them.

    A run without any letter or digit is no word.
    """
    found = []
    for chunk in _CHUNK.finditer(prompt):
        inside = [place for place, character in enumerate(chunk[0]) if character.isalnum()]
        if inside:
            start, end = chunk.start() + inside[0], chunk.start() + inside[-1] + 1
            found.append((prompt[start:end], (start, end)))
    return found


def match_words(prompt: str, spoken: Sequence[SpokenWord]) -> list[TimedWord]:
    """The words of the prompt, each with the time of its counterpart.

    Between two runs of equal words: one word against several (`1905`, "nineteen oh five") lasts as long as all of them;
    as many words as there are (misheard ones) are paired in order; any other number has no defined counterpart, and
    neither has a word that was not spoken.
    """
    written = prompt_words(prompt)
    spoken = [word for word in spoken if _key(word.text)]
    matcher = SequenceMatcher(None, [_key(text) for text, _ in written], [_key(one.text) for one in spoken], False)
    times: list[tuple[float, float] | None] = [None] * len(written)
    for _, a, a_end, b, b_end in matcher.get_opcodes():
        mine, theirs = a_end - a, b_end - b
        if mine == theirs:
            for word, other in zip(range(a, a_end), spoken[b:b_end]):
                times[word] = (other.start, other.end)
        elif mine == 1 and theirs:
            times[a] = (spoken[b].start, spoken[b_end - 1].end)
    return [TimedWord(text=text, span=span, seconds=one) for (text, span), one in zip(written, times)]


def _key(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if c.isalnum())
