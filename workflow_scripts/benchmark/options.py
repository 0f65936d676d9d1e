"""Options of a multiple-choice question: whether they can be asked, and which one an answer names."""

import re
import string
from collections.abc import Sequence

from workflow_scripts.benchmark.candidates import RowError

_LETTERED = re.compile(r"\(?([A-Za-z])(?:[.):]+\s*(.*))?", re.DOTALL)
_ENDS = " .,;:!?"


def unfit_options(options: Sequence[str]) -> str:
    """Why these options cannot be asked, "" if they can; case does not tell two apart."""
    if any("\n" in text for text in options):
        return "option of several lines"
    if len(options) > len(string.ascii_uppercase):
        return "more options than letters"
    return "options repeat" if len({text.casefold() for text in options}) < len(options) else ""


def named_option(answer: str, options: Sequence[str]) -> int:
    """Place of the option that an answer names: by its letter, its text or both ("B", "(b)", "a dog", "B. a dog").

    Args:
        options: texts of options A, B, ...; of one that repeats the first place counts.

    Raises:
        RowError: it names none, or its letter another than its text ("A" where options are O, A, B, AB).
    """
    texts = [text.casefold() for text in options[: len(string.ascii_uppercase)]]
    places = {text: texts.index(text) for text in texts}
    read = [places.get(answer.casefold())]
    if match := _LETTERED.fullmatch(answer):
        letter, text = string.ascii_uppercase.index(match[1].upper()), (match[2] or "").casefold()
        if letter < len(texts) and (not text or text in places or text.rstrip(_ENDS) == texts[letter].rstrip(_ENDS)):
            read += [places[texts[letter]], places.get(text)]  # not the letter of "C. difficile", which is a text
    named = sorted({place for place in read if place is not None})
    if not named:
        raise RowError(f"{answer[:40]!r} is neither a letter nor the text of one of {list(options)}")
    if len(named) > 1:
        both = " or ".join(repr(f"{string.ascii_uppercase[place]}. {options[place]}") for place in named)
        raise RowError(f"{answer[:40]!r} can be {both}, by its letter or by its text; write one of these")
    return named[0]
