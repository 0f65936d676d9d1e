"""Which texts ask nearly the same as a text that must not be used: a benchmark question in other words or order."""

from collections import Counter, defaultdict
from collections.abc import Iterable

from workflow_scripts.scoring.text_normalisation import normalise_words

SHARE = 0.75
"""Content words that two texts must have in common, of those that either has (Jaccard), to count as nearly the same."""
_FUNCTION_WORDS = """
a an the and or but if of in on at to for from by with as that this these those it its he she they him his her their we
you i my your is are was were be been being am do does did done have has had can could will would shall should may might
must what which who whom whose when where why how there here not no so than then s t
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
"""English words that say little about what is asked; the rest are a text's content words."""


def content_words(text: str) -> frozenset[str]:
    """Normalised words of `text` without function words."""
    return frozenset(normalise_words(text).split()) - FUNCTION_WORDS


class NearDuplicates:
    """A set of texts; `in` asks whether one of them has nearly the same content words (`SHARE`)."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._sets = sorted({words for text in texts if (words := content_words(text))}, key=sorted)
        self._places: dict[str, list[int]] = defaultdict(list)
        for place, words in enumerate(self._sets):
            for word in words:
                self._places[word].append(place)

    def __contains__(self, text: str) -> bool:
        words = content_words(text)
        common = Counter(place for word in words for place in self._places.get(word, ()))
        return any(n >= SHARE * (len(words) + len(self._sets[place]) - n) for place, n in common.items())
