"""Kinds of words that a rule can see in a prompt: numbers, names, content words (ours).

The rules are simple, so that anybody can check them by reading the prompt; they miss some words and take some too many.
"""

import re

Span = tuple[int, int]
"""Characters of a text, [start, end)."""
LETTERS = 5
"""Letters of a word that counts as content."""

_NUMBER_WORDS = """two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety
    hundred thousand million billion percent"""
_NUMBER = re.compile(rf"\d|\b(?:{'|'.join(_NUMBER_WORDS.split())})\b", re.IGNORECASE)
_SENTENCE = re.compile(r"[.!?:;\n\"“”()]+\s*")
_FIRST_WORD = re.compile(r"\W*([\w'’-]+)")
_WORD = re.compile(r"[\w'’-]+|[^\w\s]")
_I = re.compile(r"I['’]")
_POSSESSIVE = re.compile(r"['’]s?$")
_CONTENT = re.compile(rf"[^\W\d_]{{{LETTERS},}}")


def has_number(text: str) -> bool:
    """Whether there is a digit, or a number word from two on ("one" is mostly a pronoun)."""
    return _NUMBER.search(text) is not None


def is_content(word: str) -> bool:
    """Whether a word is `LETTERS` letters or more, and nothing else."""
    return _CONTENT.fullmatch(word) is not None


def first_words(text: str) -> list[Span]:
    """The first word of every sentence, line and option: its capital says nothing."""
    return [match.span(1) for span in _sentences(text) if (match := _FIRST_WORD.match(text, *span))]


def name_runs(text: str) -> list[list[Span]]:
    """Names, each a run of capitalised words, without the first word of a sentence; single letters and "I'm" are none.

    The ending of a possessive is left out, and ends a name. A text in lower case has none.
    """
    runs: list[list[Span]] = []
    for start, end in _sentences(text):
        run: list[Span] = []
        first = _FIRST_WORD.match(text, start, end)
        for match in _WORD.finditer(text, first.end() if first else start, end):
            word = match[0]
            bare = _POSSESSIVE.sub("", word)
            is_name = word[:1].isupper() and len(bare) > 1 and not _I.match(word)
            if is_name:
                run.append((match.start(), match.start() + len(bare)))
            if run and (not is_name or bare != word):
                runs.append(run)
                run = []
        if run:
            runs.append(run)
    return runs


def _sentences(text: str) -> list[Span]:
    breaks = [match.span() for match in _SENTENCE.finditer(text)]
    return list(zip([0, *(end for _, end in breaks)], [*(start for start, _ in breaks), len(text)]))
