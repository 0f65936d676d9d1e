"""Which options' texts does an answer contain, for answers that name no letter (ours).

Texts are compared as normalised words without articles, so "5 deserts" and "the five deserts." agree. An occurrence
inside an occurrence of a longer option does not count ("desert" in "hot desert"), nor does a negated one ("not a
marsh", "marsh is wrong"). Options made of function words only ("no", "all", "it") are said by accident in any
prose: they count after a cue or as a sentence of their own.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from workflow_scripts.scoring.choice_cues import ADVERB
from workflow_scripts.scoring.option_lists import MASK
from workflow_scripts.scoring.text_normalisation import normalise_words, plain_characters

_FUNCTION_WORD_LIST = (
    "all am and any are as at be both but by can do does for from had has have he her him his i if in is it its less "
    "many may me more most much must my neither never no none not of off on one or other our out over same she should "
    "so some such than that their them then there these they this those to too true up us very was we were what when "
    "which who will with would yes you your down false"
)
_FUNCTION_WORDS = frozenset(_FUNCTION_WORD_LIST.split())
_AFTER_LETTER_A = frozenset({"and", "or", "only", "is", "are", "was", "has", "because"})
_CUE_NOUNS = frozenset({"answer", "solution", "option", "choice", "response", "guess", "conclusion"})
_CUE = re.compile(
    r"(?: (?:answer|solution|option|choice|response|guess|conclusion)"
    r"(?: (?:to|for) (?:this |that |your |above )?question)?"
    r"(?: (?:is|was|would be|should be|must be|will be))?"
    r"| (?:select|choose|chose|pick|go with|say|opt for)| (?:it|that) (?:is|would be|must be|should be))"
    rf"(?: (?:{ADVERB}|option|choice))? $"
)
_CUE_AFTER = re.compile(r" (?:is|would be|must be) (?:my |most |clearly )?(?:correct|right|best|answer)\b")
_LETTER_BEFORE = re.compile(r" (?:lettera|[b-z]) $")  # "A. marsh is correct" states the letter, whatever its text is
_NEGATED_BEFORE = re.compile(
    r" (?:not|never|unlike|than|instead of|without|except|neither|nor|exclude|eliminate|reject|rule out)"
    r"(?: (?:be|option|choice|because of|due to))? $"
)
_NEGATED_AFTER = re.compile(
    r" (?:is|are|was|were|can|does|do|would)(?: also| clearly| definitely)? (?:not|incorrect|wrong|false|unlikely) "
)
_ENUMERATOR = re.compile(r"[(\[]?[A-Z][.):\]] ?\S")
# An "A." in the place of a letter; as a word it would be dropped as an article ("the answer is A. marsh").
_LETTER_A = re.compile(r"(?:^|(?<=\n)|(?<=is )|(?<=be )|(?<=: )|(?<=option )|(?<=choice ))\(?A(?=[.):])")
_NO_CUE_BEFORE = re.compile(r" (?:each|every|any|other|another|which|given|following|these|those|all|of) (?:\w+ )?$")
_LETTER_WORD = re.compile(r"(?<![A-Za-z0-9])[A-Za-z](?![A-Za-z0-9])")
_CELL = 512  # characters: spans are filed by cell, so that long repetitive answers stay linear


@dataclass(frozen=True)
class OptionsSaid:
    """Options found in an answer.

    Attributes:
        masked: the answer's text in which option texts that contain a bare letter ("vitamin C") are blanked out.
        cued: indices of options whose text follows a cue ("the answer is ...").
        contained: indices of options whose text occurs anywhere and is not negated.
    """

    masked: str
    cued: frozenset[int]
    contained: frozenset[int]


def option_tokens(text: str) -> list[str]:
    """Normalised words without articles; an "a" beside "and", "or" or a single letter is an option letter and stays."""
    words = normalise_words(text).split()
    kept = []
    for word, following in zip(words, [*words[1:], ""]):
        article = word in ("an", "the") or (word == "a" and len(following) > 1 and following not in _AFTER_LETTER_A)
        if not article:
            kept.append(word)
    return kept


def sole_option(text: str, options: Sequence[str]) -> int | None:
    """Index of the option whose text is the whole answer; None if no option's is, or several are."""
    literal = [index for index, option in enumerate(options) if option and text.rstrip(". ") == option.rstrip(". ")]
    if len(literal) == 1:
        return literal[0]
    if _ENUMERATOR.match(text):
        return None  # "A. marsh" names the letter A, not an article
    tokens = option_tokens(text) if len(text) < 2000 else []
    found = [index for index, option in enumerate(options) if tokens and option_tokens(option) == tokens]
    return found[0] if len(found) == 1 else None


def _masked(text: str, options: Sequence[str]) -> str:
    """Blank out option texts in which a single letter could be read as an option letter."""
    for option in sorted(options, key=len, reverse=True):
        plain = " ".join(plain_characters(option).split()).rstrip(".")
        if len(plain.split()) > 1 and _LETTER_WORD.search(plain):
            text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(plain)}(?![A-Za-z0-9])", MASK, text, flags=re.IGNORECASE)
    return text


def _wording(option: list[str], number: bool) -> str:
    """Pattern of an option's words; with `number`, singular and plural of a content word are the same."""
    words = []
    for word in option:
        counts = number and word.isalpha() and len(word) > 2 and word not in _FUNCTION_WORDS and word[-2:] != "ss"
        words.append(rf"{word.removesuffix('s') if len(word) > 3 else word}s?" if counts else re.escape(word))
    return " ".join(words)


def _spans(joined: str, wording: str) -> list[tuple[int, int]]:
    """Character spans of an option's words in a space-padded, space-joined answer; they may overlap."""
    if not wording:
        return []
    return [match.span(1) for match in re.finditer(rf"(?=( {wording} ))", joined)]


def options_said(text: str, options: Sequence[str]) -> OptionsSaid:
    """Find the options' texts in an answer with single spaces (rules: module docstring)."""
    joined = f" {' '.join(option_tokens(_LETTER_A.sub('letterA', text)))} "
    wanted = [option_tokens(option) for option in options]
    letters = [[chr(ord("a") + index)] for index in range(len(options))]
    loose = [_wording(option, number=True) for option in wanted]
    wordings = [text if loose.count(text) == 1 else _wording(wanted[index], False) for index, text in enumerate(loose)]
    spans = {index: _spans(joined, wording) for index, wording in enumerate(wordings)}
    longer = {
        index: [
            span for other, option in enumerate(wanted) if len(option) > len(wanted[index]) for span in spans[other]
        ]
        for index in spans
    }
    sentences = {tuple(option_tokens(part)) for part in re.split(r"[.!?:\n]", text) if len(part) < 100}
    cued, contained = set(), set()
    for index, option in enumerate(wanted):
        if wanted.count(option) > 1 or option in letters:
            continue  # formulas that differ in signs only, and option letters as texts, cannot be told apart by words
        function_words = _FUNCTION_WORDS.issuperset(option)
        covered = _cover(longer[index])
        for start, end in spans[index]:
            before, after = joined[max(0, start - 60) : start + 1], joined[end - 1 : end + 40]
            if any(low <= start and end <= high for low, high in covered.get(start // _CELL, ())):
                continue
            if _NEGATED_BEFORE.search(before) or _NEGATED_AFTER.match(after):
                continue
            cue = _CUE.search(before)
            if cue and _NO_CUE_BEFORE.search(before[: cue.start() + 1]):
                cue = None  # "let us analyze each option: ..." lists them
            if function_words and cue and cue.group().split()[-1] in _CUE_NOUNS:
                cue = None  # "the answer is": here an option "is" is the verb
            if cue or (_CUE_AFTER.match(after) and not _LETTER_BEFORE.search(before)):
                cued.add(index)
            if not function_words or tuple(option) in sentences:
                contained.add(index)
    return OptionsSaid(_masked(text, options), frozenset(cued), frozenset(contained | cued))


def _cover(spans: list[tuple[int, int]]) -> dict[int, list[tuple[int, int]]]:
    """Spans filed under every cell they touch."""
    cells: dict[int, list[tuple[int, int]]] = {}
    for span in spans:
        for cell in range(span[0] // _CELL, span[1] // _CELL + 1):
            cells.setdefault(cell, []).append(span)
    return cells
