"""Options that an answer names without choosing them: lists, reviews of each option, and rejections (ours).

Small models often repeat the options or announce to go through them, and are cut off after the first one. Reading the
heading "A. ..." of such a list as a choice would turn every cut-off answer into an A.
"""

import re
from collections.abc import Sequence
from itertools import pairwise

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
MASK = "…"
"""Stands for an option's text that was blanked out (`option_texts`)."""

_OPENS_LINE = re.compile(r"(?:^|(?<=\n))(?:(?:Option|Choice|Statement) )?[(\[]?([A-Z])[.):](?=\s)")
_OTHER_LETTERS = re.compile(r" ?(?:[A-Za-z]\b[,.;)/]?(?: (?:and|or|&)\b)? ?)+(?:\n|$)")
_ALTERNATIVES = re.compile(r"(?:[A-Za-z]\b[,;/]? ?){0,24}or [A-Z]\b")
_REJECTED = re.compile(
    r"[.,]? ?(?:is|are|was|were|does|do|can|could|would|will)(?: (?:not|incorrect|wrong|false)\b|n't)", re.IGNORECASE
)
_NEGATIVE_SENTENCE = re.compile(r" (?:is|are|was|were)\b[^.\n]{0,160} not\b", re.IGNORECASE)
_REVIEW = re.compile(
    r"\b(?:let's|let us|we (?:need|have|must|should|can|will)(?: to)?|i (?:will|need to)|i'll)\b(?: \w+){0,4}? "
    r"(?:analy[sz]e|examine|consider|evaluate|review|look at|go through|go over|compare|understand|calculate|"
    r"break down|follow|determine|identify|know|find|use|think about)\b"
    r"|\b(?:step[- ]by[- ]step|analysis of) (?:\w+ ){0,2}(?:each|every|the) \w+"
    r"|\beach (?:of the )?(?:options?|statements?|choices?|requirements?)\b[^.\n]{0,60}:",
    re.IGNORECASE,
)
_LETTER = re.compile(r"[A-Za-z]")
_LISTED = re.compile(rf"[\"'(\[]{{0,2}}[A-Za-z][.):,]{{0,2}} ?{MASK}[ ,;]{{0,2}}[A-Z][.):,]{{0,2}} ?{MASK}")
_STATED_AT = re.compile(r"[\"'(\[{<]{0,2}[A-Za-z][\"')\]}>]{0,2}[.:]? ?")


def announces_review(text: str) -> bool:
    """The answer says that it will go through the options or the problem ("let's analyze each option")."""
    return bool(_REVIEW.search(text))


def before_review(text: str) -> str:
    """The text before a review is announced; all of it if none is."""
    announced = _REVIEW.search(text)
    return text[: announced.start()] if announced else text


def opening_letters(text: str, count: int) -> set[str]:
    """Option letters that open a line as "A." or "A)" would; two or more of them are a list."""
    return {letter for letter in _OPENS_LINE.findall(text) if letter in LETTERS[:count]}


def continues_list(text: str, letter: str, count: int) -> bool:
    """A last lone letter is the next heading of a list if the letter before it is the list's last one so far."""
    opened = opening_letters(text[: text.rstrip().rfind("\n") + 1], count)
    return bool(opened) and letter not in opened and ord(letter) == ord(max(opened)) + 1


def is_no_choice(after: str, letter: str, option: str) -> bool:
    """Does what follows an opening letter show that it is none: "A is not", "A. <its text> is wrong", "A, B, or C"?

    "A. A" says one letter twice and stays a choice.

    Args:
        after: text behind the letter and its delimiter.
        letter: the opening letter, upper case.
        option: text of the letter's option.
    """
    if rejects(after, option, anywhere=True) or _ALTERNATIVES.match(after.lstrip(" ")):
        return True
    others = _OTHER_LETTERS.match(after.lstrip(" "))
    if others is None or after.strip(" .\n").lower() == option.lower():
        return False
    return set(re.findall(r"\b[A-Z]\b", others.group().upper())) != {letter}


def inline_list(text: str, options: Sequence[str]) -> list[tuple[int, int]]:
    """Spans of two or more options of one line, each its letter and its text: "A. copper B carbon, C, germanium".

    Such a list repeats the question, whatever stands between letter and text. Options on lines of their own are
    `opening_letters`.
    """
    spans = []
    for letter, option in zip(LETTERS, options):
        if words := re.findall(r"\w+", option):
            wording = r"[^\w\n]{1,3}".join(words)
            said = rf"(?<![A-Za-z0-9']){letter}[.,:)]{{0,2}} ?(?i:{wording})(?!\w)"
            spans += [(match.start(), match.end(), letter) for match in re.finditer(said, text)]
    spans.sort()
    listed = []
    for first, second in pairwise(spans):
        if first[2] < second[2] and re.fullmatch(r"[^\w\n]{0,4}(?:(?:and|or) )?", text[first[1] : second[0]]):
            listed += [first[:2], second[:2]]
    return sorted(set(listed))


def listed_at(text: str, position: int, listed: Sequence[tuple[int, int]]) -> bool:
    """Does the letter at `position` belong to one of `listed` (`inline_list`), or to a list of blanked-out texts?"""
    letter = _LETTER.search(text, position)
    inside = letter is not None and any(start <= letter.start() < end for start, end in listed)
    return inside or _LISTED.match(text, position) is not None


def rejects(after: str, option: str, anywhere: bool = False) -> bool:
    """ "is wrong", "is not", "can not" follow the letter, or the option's text behind it.

    Args:
        anywhere: "not" later in a sentence about the option's text counts too: such a sentence is no plain choice.
    """
    after = after.lstrip(" ")
    for known in (option.rstrip("."), MASK):
        if known and after.lower().startswith(known.lower()):
            rest = after[len(known) :]
            return bool(_REJECTED.match(rest) or (anywhere and _NEGATIVE_SENTENCE.match(rest)))
    return bool(_REJECTED.match(f" {after}"))


def rejected_at(text: str, position: int, options: Sequence[str]) -> bool:
    """Is the option whose letter stands at `position` rejected right behind it?"""
    match = _STATED_AT.match(text, position)
    if match is None:
        return False
    letter = next(character for character in match.group() if character.isalpha()).upper()
    place = LETTERS.index(letter)
    return place < len(options) and rejects(text[match.end() : match.end() + 400], options[place])


def rejected_openings(text: str, options: Sequence[str]) -> set[int]:
    """Places of the options that a line opens with only to reject them."""
    return {
        LETTERS.index(match.group(1))
        for match in _OPENS_LINE.finditer(text)
        if match.group(1) in LETTERS[: len(options)] and rejected_at(text, match.start(1), options)
    }
