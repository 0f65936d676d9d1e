"""The text a voice reads for a written prompt.

VoiceBench does not say how its prompts were read. Here nothing is left out silently: symbols with a common reading
become words, line ends pauses, option lines
``A. x`` become ``A: x.`` so that the letter is named. Digits stay: voices read numbers, years, ordinals and amounts.
Text with anything else (formulas, markup, tables, blanks, other scripts) has no agreed reading and is refused.
"""

import re
import unicodedata


class UnspeakableText(ValueError):
    """A text has no agreed reading; the message is the short reason, one of a fixed few."""


_PLAIN = str.maketrans(
    {
        "‘": "'", "’": "'", "‛": "'", "ʼ": "'", "`": "`", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"',
        "‚": ",", "…": "...", "‐": "-", "‑": "-", "−": "-", "\u00a0": " ", "\u2009": " ", "\u202f": " ",
        "\u200b": "", "\u200c": "", "\ufeff": "", "\u00ad": "", "￡": "£", "ß": "ss", "æ": "ae", "Æ": "Ae",
        "œ": "oe", "Œ": "Oe", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "ð": "d", "þ": "th",
    }
)  # fmt: skip
"""Typographic variants of characters that are speakable, and Latin letters without a decomposition."""

_REFUSED = (
    ("web address", re.compile(r"https?://|www\.|\S+@\S+\.\w|\b\w+\.(?:com|org|net|edu)\b", re.IGNORECASE)),
    ("blank to fill in", re.compile(r"_")),
    ("table", re.compile(r"\||\t")),
    ("code or markup", re.compile(r"`|\{|\}|\[|\]|\*|<<|>>|</?\w+>|^#+ |\w\(\)", re.MULTILINE)),
    ("formula", re.compile(r"[\\^~<>]|\b[a-zA-Z]\d*\((?!n\)|s\))|[∀∃∈∑∫√∞≡⊃∨∧→←≤≥≠·]")),
)
"""Patterns without an agreed reading, in order, with the reason."""

_NUMBER = r"\d[\d,]*(?:\.\d+)?"
_SCALE = r"(?: (?:hundred|thousand|million|billion|trillion)\b)?"
_READINGS = (
    (re.compile(r"\b([Aa])\(n\)"), r"\1 or an"),
    (re.compile(r"\b([Aa])/an\b"), r"\1 or an"),
    (re.compile(r"\b(\w+)\(s\)"), r"\1 or \1s"),
    (re.compile(r"(?<=\w)\("), " ("),
    (re.compile(rf"\$ ?({_NUMBER}{_SCALE})"), r"\1 dollars"),
    (re.compile(rf"£ ?({_NUMBER}{_SCALE})"), r"\1 pounds"),
    (re.compile(rf"€ ?({_NUMBER}{_SCALE})"), r"\1 euros"),
    (re.compile(r"#(?=\d)"), "number "),
    (re.compile(r"°\s?C\b"), " degrees Celsius"),
    (re.compile(r"°\s?F\b"), " degrees Fahrenheit"),
    (re.compile(r"°"), " degrees"),
    (re.compile(r"(?<=\d)\s?%"), " percent"),
    (re.compile(r"%"), " percent"),
    (re.compile(r"\s*&\s*"), " and "),
    (re.compile(r"\s*\+\s*"), " plus "),
    (re.compile(r"\s*=\s*"), " equals "),
    (re.compile(r"\s*×\s*"), " times "),
    (re.compile(r"\s*÷\s*"), " divided by "),
    (re.compile(r"(?<=\d)\s*[–—]\s*(?=\d)"), " to "),
    (re.compile(r"\s*[–—]\s*|\s+--?\s+|--+"), ", "),
    (re.compile(r"(?<![\w.])-(?=\d)"), "minus "),
    (re.compile(r"(?<!\d)\s*/\s*|\s*/\s*(?!\d)"), " slash "),
)
"""Symbols and how they are read. A fraction of two numbers keeps its slash: voices read it."""

MAX_SYMBOLS = 6
"""More arithmetic symbols than this make a text a formula."""
_SYMBOLS = re.compile(r"[=+×÷/%$£€°&]")
_SPEAKABLE = re.compile(r"[A-Za-z0-9 .,?!:;'\"()/-]*")
_OPTION = re.compile(r"([A-H])\. (.+)")
_QUESTION_START = re.compile(
    r"(?:in |on |at |of |to |for |from |by |with )?(?:who|whom|whose|what|when|where|which|why|how|is|are|was|were|"
    r"do|does|did|can|could|will|would|has|have|had|should)\b",
    re.IGNORECASE,
)


def spoken_text(prompt: str) -> str:
    """What the voice reads for `prompt`: one line of ASCII letters, digits and ordinary punctuation.

    Each line ends in a pause; a last line without end punctuation gets `?` if it starts like a question, else `.`.

    Raises:
        UnspeakableText: the prompt holds something without an agreed reading; the message is the reason.
    """
    text = prompt.translate(_PLAIN)
    for reason, pattern in _REFUSED:
        if pattern.search(text):
            raise UnspeakableText(reason)
    if len(_SYMBOLS.findall(text)) > MAX_SYMBOLS:
        raise UnspeakableText("many symbols")
    for pattern, reading in _READINGS:
        text = pattern.sub(reading, text)
    lines = [" ".join(_ascii_letters(line).split()) for line in text.splitlines()]
    lines = [line for line in lines if line]
    spoken = " ".join(_with_pause(line, last=number == len(lines) - 1) for number, line in enumerate(lines))
    if not re.search(r"[A-Za-z0-9]", spoken):
        raise UnspeakableText("no words")
    return spoken


def _ascii_letters(line: str) -> str:
    """Accents of Latin letters are dropped; every other character outside the speakable set is refused."""
    line = "".join(mark for mark in unicodedata.normalize("NFKD", line) if not unicodedata.combining(mark))
    for character in line:
        if character.isspace() or _SPEAKABLE.fullmatch(character):
            continue
        letter = unicodedata.category(character)[0] in "LM"
        raise UnspeakableText("letters of another script" if letter else "symbol without a reading")
    return line


def _with_pause(line: str, *, last: bool) -> str:
    option = _OPTION.fullmatch(line)
    if option:
        line = f"{option[1]}: {option[2]}"
        return line if line[-1] in ".?!" else line.rstrip(",;:") + "."
    if line.rstrip("\"')")[-1:] in tuple(".?!,;:"):
        return line
    if not last:
        return line + ","
    return line + ("?" if _QUESTION_START.match(line) else ".")
