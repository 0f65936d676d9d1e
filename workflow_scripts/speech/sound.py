"""Words cut to their sound. Both sources of word times count silence as part of words: a voice lets the last phoneme
before a pause last until the pause ends, and attention has no place for pauses at all."""

from collections.abc import Sequence

import numpy as np

from workflow_scripts.speech.word_matching import SpokenWord

SOUND = 0.01
"""Share of the utterance's peak (-40 dB) above which a sample is sound."""


def cut_to_sound(words: Sequence[SpokenWord], samples: np.ndarray, rate: int) -> list[SpokenWord]:
    """The words without the silence at their beginnings and ends, none beyond the audio (n,).

    A word in which nothing exceeds `SOUND` of the peak keeps its times.
    """
    loud = np.flatnonzero(np.abs(samples) > SOUND * np.abs(samples).max(initial=0.0))
    seconds = len(samples) / rate
    found = []
    for word in words:
        start, end = min(word.start, seconds), min(word.end, seconds)
        first = int(np.searchsorted(loud, start * rate))
        behind = int(np.searchsorted(loud, end * rate))
        if first < behind:
            start, end = max(start, float(loud[first]) / rate), min(end, float(loud[behind - 1] + 1) / rate)
        found.append(SpokenWord(word.text, start, end))
    return found
