"""How an English answer states an option letter: the patterns behind `multiple_choice` (ours).

A *statement* is one place where a letter, or a list of letters, is said to be the answer. Each has a strength:

- ``final``: the conclusion of an argument ("so the answer is C", "final answer: C", a LaTeX box);
- ``cue``: a plain statement ("the answer is C", "I would pick C", "C is correct");
- ``mention``: an option named without a verdict ("option C"), or a verdict under a condition ("if C is correct").

Negated statements ("the answer is not B", "I would not pick B", "the wrong answer is B") are no statements. A list of
every option ("select one of A, B, C, or D") repeats the question and is none either.

The text must have single spaces: all patterns rely on it, and use bounded repetition only, so that time stays linear.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_OPEN, _CLOSE = r"[(\[{\"'<]{0,2}", r"[)\]}\"'>]{0,2}"
_LATIN = "A-Za-z0-9À-ɏ"  # not \\w: Chinese text has no spaces around a letter
_HERE = rf"(?![{_LATIN}+#&°])(?!['-][A-Za-z0-9])(?!\.[A-Za-z]\.)"
ADVERB = (
    r"(?:most likely|likely|probably|definitely|clearly|certainly|actually|simply|therefore|thus|obviously|indeed|then|"
    r"now|surely|perhaps|really)"
)
_FILLER = rf"(?: ?(?:the|my|an?|option|options|choice|letter|answer|number|either|both|{ADVERB})\b){{0,4}}"
_COPULA = (
    r"(?: ?(?:is|was|are|be|being|'s|has to be|can only be|seems to be|appears to be|ought to be|to be|"
    rf"(?:should|would|must|will|could|might|may)(?: {ADVERB})? be)\b)"
)
_NOUN = r"(?:answer|ans|option|choice|solution|response|selection|pick|guess|conclusion|one|statement|alternative)"
_AFTER_NOUN = (
    r"(?: (?:here|choice|option|letter)){0,2}"
    r"(?: (?:to|for|of|in) (?:(?:the|this|that|above|your|given|multiple|choice|following|\w+-choice) ){0,4}"
    r"(?:question|problem|riddle|case|query|puzzle)(?: \"[^\"\n]{1,300}\")?)?"
)
_VERDICT = (
    r"(?:correct|right|true|best|answer|appropriate|accurate|suitable|likely|valid|choice|option|fit|fits|solution|one)"
)
_NOT_INSIDE = rf"(?<![{_LATIN}])(?<![{_LATIN}]['-])"

_LETTER_LIST = (
    rf"(?P<letters>{_OPEN} ?{_NOT_INSIDE}[A-Za-z]{_HERE} ?{_CLOSE}"
    rf"(?P<rest>(?: ?(?:,|/|&|;|\band\b|\bor\b|\bnor\b){{1,2}} ?(?:(?:also|both|option|choice) ){{0,2}}"
    rf"{_OPEN}{_NOT_INSIDE}[A-Za-z]{_HERE}(?! (?:is|are|was|would|does|has)\b){_CLOSE}){{0,9}}))"
)
_NEGATION = re.compile(
    r"(?:\b(?:not|never|cannot|neither|nor|without|unlike|except|against|eliminate|eliminates|eliminated|exclude|"
    r"excluded|discard|reject|wrong|incorrect|false|worst|rather than|instead of|rule out|ruled out|hardly)|n't)"
    r"(?: (?:be|the|an?|option|options|choice|letter|answer|answers|really|have|"
    r"to|out|say|correct|right|that)\b){0,3}[ ,:]{0,2}\Z",
    re.IGNORECASE,
)
# A condition governs the whole sentence, a hedge only its own clause ("it could be A, but the answer is C").
_CONDITION = re.compile(
    r"\b(?:if|whether|suppose|supposing|assuming|assume|unless|not sure that|doubt)\b", re.IGNORECASE
)
_HEDGE = re.compile(
    r"\b(?:could|might|may|maybe|perhaps|thought|at first|initially|tempting|someone|some people)\b", re.IGNORECASE
)
_CLAUSE_END = re.compile(r"[,;]|\b(?:but|however|yet|although|though)\b", re.IGNORECASE)
_CONCLUDING = re.compile(
    r"\b(?:final(?:ly)?|therefore|thus|hence|so|in conclusion|conclude|in summary|in short|overall|consequently|"
    r"actually|correction|on second thought|wait|to sum up|ultimately|in the end|as a result|this means|leaves)\b",
    re.IGNORECASE,
)
_QUESTION_START = re.compile(
    r"^\W{0,4}(?:what|which|is|are|was|does|do|can|could|would|should|why|how|who|where|when|select|choose)\b",
    re.IGNORECASE,
)

_BEFORE_LETTER = tuple(
    re.compile(pattern + _LETTER_LIST, re.IGNORECASE)
    for pattern in (
        # "the correct answer to the question is most likely option", "Answer:", "my final choice would be"
        rf"\b{_NOUN}{_AFTER_NOUN} ?(?:{_COPULA}|:|=|-|->|→)(?: ?[:\-])?(?P<neg> ?not\b)?{_FILLER} ?(?::\n|:)? ?",
        # "I would choose", "we select option", "go with", "I'd say"
        r"\b(?:lean(?:ing)? towards?|select|choose|chose|choosing|pick|picked|picking|go with|going with|went with|say|"
        r"opt for|vote for|"
        rf"guess|settle on|favou?r|points? to|leaves?(?: us with)?|think|believe)(?P<neg> not\b)?{_FILLER} ?:? ?",
        # "it is", "it must be", "that would be"
        rf"\b(?:it|that|this|which){_COPULA}(?P<neg> ?not\b)?{_FILLER} ?:? ?",
        # "not B but C"
        r"(?P<neg>\bnot) (?:(?:option|choice) )?[(\"']?[A-Za-z][)\"']?,? but (?:rather |instead )?(?:option |choice )?",
    )
)
_ANSWER_LETTER = re.compile(rf"\b(?:answer|ans)\b(?P<neg> not\b)? ?{_LETTER_LIST}", re.IGNORECASE)
_BARE_CONCLUSION = re.compile(
    rf"(?:^|[.!?\n;,] ?)(?:so|therefore|thus|hence|in conclusion|finally),? ?(?P<neg>not )?{_LETTER_LIST}(?=[.!\n]|$)",
    re.IGNORECASE,
)
_CHINESE = re.compile(rf"(?:答案|正确答案|选项?|选择)(?:应该|应当)?(?:是|为|选)?(?P<neg>不是)?[::]? ?{_LETTER_LIST}")
_FOREIGN = re.compile(
    r"\b(?:respuesta|solución|opción|réponse|solution|antwort|lösung)(?: (?:correcta|correcte|richtige|finale?))?"
    r"(?P<neg> no\b| n'| nicht\b)?(?: ?(?:es|est|ist|lautet|sería|serait|wäre)\b)?(?: (?:pas|nicht)\b(?P<not>))? ?:? ?"
    r"(?:(?:la|el|le|die|das|l') ?)?(?:(?:opción|option|lettre|letra|antwort|buchstabe) )?" + _LETTER_LIST,
    re.IGNORECASE,
)
"""Spanish, French and German."""
_AFTER_LETTER = re.compile(
    rf"{_NOT_INSIDE}{_LETTER_LIST} ?(?:is|would be|should be|must be|seems|looks|appears|fits|'s)\b"
    rf"(?: (?:to be|the|my|{ADVERB}|most|single|only|best|final|clearly|closest|correct)){{0,4}} {_VERDICT}\b",
    re.IGNORECASE,
)
# "A. the light in the hall is the correct answer"
_AFTER_TEXT = re.compile(
    r"(?:^|(?<=\n))[(\[]?(?P<letters>[A-Z](?P<rest>))[.):]+ (?:(?! not\b)[^.\n]){1,160}?"
    r" (?:is|are|would be|must be)(?: the| my| most| best| only){0,3} (?:correct|right|best|answer)\b"
)
# "letters" are those of the alphabet
_MENTION = re.compile(rf"\b(?:options?|choices?|letter|answers?) {_LETTER_LIST}", re.IGNORECASE)
# "the answer is A. B. dry": a second letter where the first one's text should stand
_RUNS_ON = re.compile(r"[.):] ?(?P<next>[A-Z])[.):](?= ?\n| [^a-z]|$)")
# "the behaviour that fits is:" in the first line, and one option on a line of its own
_SET_APART = re.compile(
    r"\A(?![(\[]?[A-Z][.):] )[^\n]*\b(?:is|would be):\n(?P<letters>[A-Z](?P<rest>))[.):] [^\n]*"
    r"(?!\n[(\[]?[A-Z][.):] )(?=\n|$)"
)
_ALTERNATIVE_BEFORE = re.compile(
    r"(?<![A-Za-z0-9'])[A-Za-z][)\"']?(?:,? or|,? nor|/) ?\Z"
)  # "A, B, or C is the answer"
_REJECTED_AFTER = re.compile(
    r"^ ?(?:\([^)\n]{0,80}\) ?)?(?:is|are|was|can|could|does|do|would|has|might|may)(?: be)?"
    r"(?: clearly| also| definitely)?"
    r"(?: not\b|n't\b| incorrect| wrong| false| unlikely| irrelevant| ruled out| eliminated)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Statement:
    """One place where letters are stated.

    Attributes:
        letters: the distinct upper-case option letters named there, in order.
        strength: "final", "cue" or "mention".
        position: character offset in the text, for reading order.
    """

    letters: tuple[str, ...]
    strength: str
    position: int


def _is_closed(text: str, end: int) -> bool:
    """What follows a letter shows that it is no article: the end, a line break, a bracket, ``. , : ; ! "``."""
    return text[end : end + 1] in ("", "\n", ".", ",", ":", ";", "!", "?", ")", "]", "}", '"', "'", "/") or bool(
        re.match(r" (?:-|–|—|because|since|is\b|and [A-Z]\b|or [A-Z]\b)", text[end : end + 12])
    )


def stated_letters(text: str, match: re.Match[str], count: int) -> tuple[str, ...]:
    """Option letters of a matched list, upper case; empty if one is no option letter or could be an article.

    "a" and "i" are words: in lower case, or in a text without lower-case letters, they count only when closed.
    """
    start = match.start("letters")
    found: list[str] = []
    shouting = text.upper() == text
    for position, letter in enumerate(re.finditer(r"(?<![A-Za-z])[A-Za-z](?![A-Za-z])", match.group("letters"))):
        character = letter.group()
        index = ord(character.upper()) - ord("A")
        word_like = character in "ai" or (character in "AI" and (shouting or character == "I"))
        if (
            character == "a"
            and start + letter.end() == len(text)
            and not re.search(_NOUN, match.group(), re.IGNORECASE)
        ):
            return ()  # "This is a": cut off, so an article
        if index >= count or (word_like and not _is_closed(text, start + letter.end())):
            if position == 0:
                return ()
            break
        if character.upper() not in found:
            found.append(character.upper())
    return tuple(found)


def _sentence_around(text: str, start: int, end: int) -> tuple[str, str]:
    """(the sentence's beginning up to ``start``, its terminator), looking at most 200 characters either way."""
    before = text[max(0, start - 200) : start]
    cut = max(before.rfind(mark) for mark in (". ", "! ", "? ", "\n", ".\n"))
    after = re.search(r"[.!?\n]", text[end : end + 200])
    return before[cut + 1 :], after.group() if after else ""


def _strength(text: str, match: re.Match[str], default: str) -> str | None:
    """Strength of a match from its sentence; None if it is negated or part of a question."""
    prefix, terminator = _sentence_around(text, match.start(), match.end())
    if _NEGATION.search(text[max(0, match.start() - 60) : match.start()]):
        return None
    inside = text[match.start() : match.start("letters")]
    if match.groupdict().get("not") is not None:
        return None
    if match.groupdict().get("neg") and "but" not in inside.lower():
        return None
    if "but" not in inside.lower() and _NEGATION.search(inside):
        return None
    if terminator == "?" and _QUESTION_START.match(prefix + inside):
        return None
    clause = _CLAUSE_END.split(prefix + inside)[-1]
    if default == "mention" or _CONDITION.search(prefix + inside) or _HEDGE.search(clause):
        return "mention"
    return "final" if _CONCLUDING.search(prefix + inside) else default


def find_statements(text: str, count: int) -> Iterator[Statement]:
    """Statements in ``text`` (single spaces, plain quotes) about ``count`` options, in no particular order."""
    patterns = [
        (pattern, "cue")
        for pattern in (*_BEFORE_LETTER, _ANSWER_LETTER, _AFTER_LETTER, _AFTER_TEXT, _CHINESE, _FOREIGN)
    ]
    patterns += [(_BARE_CONCLUSION, "final"), (_MENTION, "mention"), (_SET_APART, "mention")]
    for pattern, default in patterns:
        for match in pattern.finditer(text):
            letters = stated_letters(text, match, count)
            if not letters or (len(letters) == count and count > 2):
                continue
            if _REJECTED_AFTER.match(text[match.end() : match.end() + 120]):
                continue
            if (runs_on := _RUNS_ON.match(text, match.end())) and ord(runs_on["next"]) - ord("A") < count:
                letters = tuple(dict.fromkeys((*letters, runs_on["next"])))
            if pattern is _AFTER_LETTER and _ALTERNATIVE_BEFORE.search(
                text[max(0, match.start() - 12) : match.start()]
            ):
                continue
            strength = _strength(text, match, default)
            if strength is not None:
                yield Statement(letters, strength, match.start("letters"))
