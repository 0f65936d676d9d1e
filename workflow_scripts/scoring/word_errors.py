"""Word error rates as Whisper's are counted: both texts through its English normaliser, then jiwer.

The normaliser (openai/whisper, in the package whisper-normalizer) drops case, punctuation and fillers, and brings
numbers, contractions, titles and British spellings to one form. Before it, here: typographic apostrophes become
straight, dotted abbreviations are joined ("p.m." is "pm", as in "3pm"), and words in brackets stay, which it would
drop.
"""

import functools
import re

from workflow_scripts.scoring.text_normalisation import join_abbreviations, plain_characters

_BRACKETS = re.compile(r"[()\[\]{}<>]")


@functools.cache
def _normaliser():
    from whisper_normalizer.english import EnglishTextNormalizer  # 1,700 spellings to load

    return EnglishTextNormalizer()


def recognised_words(text: str) -> str:
    """The words of `text` as word errors are counted over them, separated by single spaces."""
    plain = join_abbreviations(_BRACKETS.sub(" ", plain_characters(text).lower()))
    return " ".join(word for word in _normaliser()(plain).split() if any(map(str.isalnum, word)))


def word_error_rate(reference: str, hypothesis: str) -> float:
    """Word errors (substitutions + deletions + insertions) per reference word, both sides normalised.

    0 is a perfect transcript, an empty hypothesis gives 1, and insertions can push the rate above 1.

    Raises:
        ValueError: the reference has no words after normalisation, so the rate has no denominator.
    """
    import jiwer

    words = recognised_words(reference)
    if not words:
        raise ValueError(
            f"the reference {reference[:80]!r} has no words after normalisation, so its word error rate is undefined; "
            "drop the item or give its spoken form"
        )
    return float(jiwer.wer(words, recognised_words(hypothesis)))
