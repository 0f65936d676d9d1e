"""What is wrong with an answer whatever the question: empty, cut off, a refusal, another language, or no language.

Such answers are counted by form, because a scorer turns them into wrong answers, random letters or safe refusals, and a
share that differs between text and speech is then part of the gap. All rules are ours and made for English answers:

- ``empty``: no visible character.
- ``truncated``: the recorded finish reason says so; without one, the last line of a long answer ends within a sentence.
- ``refusal``: `scoring.refusal` reads it as one, whatever was asked. ``not_heard``: it says that nothing was heard.
- ``other_language``: most letters belong to another script, or few words are English function words and langdetect
  (seeded) is sure of another language. Answers under `MIN_WORDS` words in Latin script are not judged.
- ``degenerate``: one character repeated, no words, or a passage of the answer that loops.
- ``runs_on``: the model went on into another turn (`scoring.answer_turns`), which no scorer reads.
"""

import re
import unicodedata
from dataclasses import dataclass

from workflow_scripts.scoring.answer_turns import own_turn, runs_on
from workflow_scripts.scoring.loops import poor_windows, repeats_a_phrase
from workflow_scripts.scoring.refusal import classify_refusal, not_heard

NAMES = ("empty", "truncated", "refusal", "not_heard", "other_language", "degenerate", "runs_on")
VERSION = "2"

CUT_REASONS = frozenset({"length", "max_tokens", "max_length", "model_length", "token_limit"})
"""Finish reasons, lower case, that mean: the answer was longer than allowed."""
MIN_WORDS = 8
"""Shorter answers are not judged by their last words or their language: "Paris" is a whole answer."""
LANGUAGE_CHARACTERS = 600
"""Characters read for the language."""

_ENDED = re.compile(r"[.!?:;…。！？][\"'”’)\]}*_`]*$|[)\]}\"”`|*]$|</?\w+>$")
_LIST_ITEM = re.compile(r"^\s*(?:[-*•#|]|\d{1,3}[.)]|\(?[A-Za-z][.)])\s*\S")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_REPEATED = re.compile(r"(\S)\1{29,}")
_LOOP_STEP = 30  # words
_FUNCTION_WORD_LIST = (
    "the a an of to in is are was were and or that this it for on with as by be from at not which you your i my we can "
    "will would have has do does if but so there its they their he she his her what how when than more one"
)
_FUNCTION_WORDS = frozenset(_FUNCTION_WORD_LIST.split())
_ENGLISH_SHARE = 0.2
"""From this share of function words on a text is English; ordinary prose has 0.35 to 0.5."""


@dataclass(frozen=True)
class Traits:
    """Whether an answer has each trait of `NAMES`."""

    empty: bool
    truncated: bool
    refusal: bool
    not_heard: bool
    other_language: bool
    degenerate: bool
    runs_on: bool


def answer_traits(answer: str, finish_reason: str = "") -> Traits:
    """Traits of one answer.

    Args:
        finish_reason: as the generating program recorded it (`stop`, `length`, ...); "" where it recorded none.
    """
    if not answer.strip():
        cut = finish_reason.lower() in CUT_REASONS
        return Traits(**(dict.fromkeys(NAMES, False) | {"empty": True, "truncated": cut}))
    own = own_turn(answer)
    degenerate = is_degenerate(own)
    outcome = classify_refusal(own).outcome
    return Traits(
        empty=False,
        truncated=is_truncated(answer, finish_reason),
        refusal=outcome == "refusal",
        not_heard=outcome != "refusal" and not_heard(own),
        other_language=not degenerate and is_other_language(own),
        degenerate=degenerate,
        runs_on=runs_on(answer),
    )


def present(answer: str, finish_reason: str = "") -> list[str]:
    """Names of the traits that an answer has, in the order of `NAMES`."""
    found = answer_traits(answer, finish_reason)
    return [name for name in NAMES if getattr(found, name)]


def is_truncated(answer: str, finish_reason: str = "") -> bool:
    """The answer was cut off: by its finish reason, or, where none was recorded, by its last line.

    The guess misses answers cut at a sentence's end, and takes prose that its writer left unpunctuated for cut off.
    """
    if finish_reason:
        return finish_reason.lower() in CUT_REASONS
    text = answer.rstrip()
    last = text.rpartition("\n")[2]
    if len(text.split()) < MIN_WORDS or _ENDED.search(text):
        return False
    # "- apples" is a whole line of a list; a sentence within an item is judged like any other.
    return not (_LIST_ITEM.match(last) and len(last.split()) < MIN_WORDS)


def is_degenerate(answer: str) -> bool:
    """One character over and over, no word at all, or a stretch of words in a loop."""
    if _REPEATED.search(answer):
        return True
    words = [word.lower() for word in re.findall(r"\w+", answer)]
    if not words:
        return True
    return repeats_a_phrase(words) or any(poor_windows(words, _LOOP_STEP))


def is_other_language(answer: str) -> bool:
    """The answer is not in English, as far as its script and its words tell."""
    text = unicodedata.normalize("NFKC", answer[:LANGUAGE_CHARACTERS])
    letters = [character for character in text if character.isalpha()]
    foreign = sum(not _is_latin(character) for character in letters)
    if foreign > 0.3 * len(letters) and foreign >= 2:
        return True
    words = [word.lower() for word in _WORD.findall(text)]
    if len(words) < MIN_WORDS:
        return False
    if sum(word in _FUNCTION_WORDS for word in words) >= _ENGLISH_SHARE * len(words):
        return False
    return _detected(text) not in ("en", "")


def _is_latin(character: str) -> bool:
    return character.isascii() or unicodedata.name(character, "").startswith("LATIN")


def _detected(text: str) -> str:
    """Language code of which langdetect is nearly sure, else ""."""
    import langdetect  # 10 ms an answer and 1 s to load: only the few texts without English words come here

    langdetect.DetectorFactory.seed = 0
    try:
        best = langdetect.detect_langs(text)[0]
    except langdetect.LangDetectException:  # no features in the text: numbers or symbols only
        return ""
    return best.lang if best.prob > 0.95 else ""
