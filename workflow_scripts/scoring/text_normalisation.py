"""Bring two texts to one spelling, so that answers can be matched with references, options and phrases.

Removes what speech cannot carry (case, punctuation, digits against number words) and keeps all else; word error rates
have a normaliser of their own (`word_errors`). Method, in this order (ours; English rules, other scripts pass through):

1. Unicode NFKC, lower case, straight apostrophes, control and invisible characters dropped, accents of Latin letters
   dropped.
2. Symbols that are spoken become words (``%`` -> percent, ``&`` -> and, ``$5`` -> 5 dollars); dotted acronyms
   are joined.
3. Tokens: numbers (with thousands separators and a decimal part), words with inner apostrophes, single Chinese and
   Japanese characters. All other characters, hyphens included, separate tokens.
4. Contractions are written out (``can't``, ``cannot`` and ``can’t`` -> can not); a possessive loses its apostrophe.
5. Number words become digits (``twenty-three`` -> 23, ``nineteen ninety-eight`` -> 1998, ``first`` -> 1st), by the
   number rules of Whisper's English normaliser.
"""

import functools
import re
import unicodedata

_APOSTROPHES = str.maketrans(dict.fromkeys("‘’‛ʼʹ`´′＇", "'"))
_SYMBOLS = {
    "%": " percent ",
    "&": " and ",
    "+": " plus ",
    "=": " equals ",
    "°": " degrees ",
}
_CURRENCIES = {"$": "dollars", "£": "pounds", "€": "euros", "¢": "cents"}
_SIGNED = re.compile(r"([$£€¢])([^\s%]+)")
_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)|\d+(?:\.\d+)?"
_CURRENCY = re.compile(rf"([$£€]) ?({_NUMBER})((?: (?:hundred|thousand|million|billion|trillion)\b)?)")
_ACRONYM = re.compile(r"(?<![^\W_])(?:[a-z]\.){2,}(?:[a-z](?![^\W_]))?")
_LONG_NUMBER = re.compile(r"(\d{15})(?=\d)")  # longer ones are identifiers, and Python limits their conversion
_MINUS = re.compile(r"(?<!\S)[-−–](?=\d)")
_CJK = "\u3005\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
# A word: anything but space, digits and ASCII punctuation other than the apostrophe (see _letters_and_marks).
_WORD = rf"[^\s!-&(-@\[-`{{-~{_CJK}]+"
_TOKEN = re.compile(rf"(?:{_NUMBER})(?:st|nd|rd|th|s)?(?![a-z])|[{_CJK}]|{_WORD}|\d+")

_CONTRACTED = {
    "cannot": "can not",
    "can't": "can not",
    "won't": "will not",
    "shan't": "shall not",
    "ain't": "is not",
    "let's": "let us",
    "y'all": "you all",
}
_NOT_STEMS = [
    "are",
    "could",
    "did",
    "do",
    "does",
    "had",
    "has",
    "have",
    "is",
    "might",
    "must",
    "need",
    "should",
    "was",
    "were",
    "would",
]
_S_IS_STEMS = ["it", "that", "what", "who", "where", "here", "there", "he", "she", "how", "when", "why"]
_ENDINGS = {"'re": "are", "'ll": "will", "'ve": "have", "'m": "am", "'d": "would"}
# Recognisers drop apostrophes. Only spellings that are no other common word are written out again.
_CONTRACTED |= {f"{stem}nt": f"{stem} not" for stem in _NOT_STEMS} | {"cant": "can not", "wont": "will not"}
_CONTRACTED |= {f"{stem}n't": f"{stem} not" for stem in _NOT_STEMS}
_CONTRACTED |= {f"{stem}'s": f"{stem} is" for stem in _S_IS_STEMS}


def plain_characters(text: str) -> str:
    """NFKC with straight apostrophes; control characters become spaces, invisible format characters vanish.

    Line breaks are kept. Quotation marks of all shapes become ``"``.
    """
    text = unicodedata.normalize("NFKC", text).translate(_APOSTROPHES)
    text = re.sub("[“”„‟«»]", '"', text.replace("\r\n", "\n").replace("\r", "\n"))
    if text.isascii() and text.isprintable():
        return text
    kept = []
    for character in text:
        category = unicodedata.category(character)
        if category == "Cf":
            continue
        kept.append(" " if category in ("Cc", "Cs", "Co", "Cn") and character != "\n" else character)
    return "".join(kept)


def join_abbreviations(text: str) -> str:
    """Lower-case text with dotted abbreviations as words ("p.m." is "pm") and no number too long to be read as one."""
    return _LONG_NUMBER.sub(r"\1 ", _ACRONYM.sub(lambda match: match.group().replace(".", "") + " ", text))


def _letters_and_marks(text: str) -> str:
    """Non-ASCII characters: Latin letters lose accents, digits become ASCII, symbols become spaces.

    Combining marks of other scripts carry meaning and stay. The symbols of the spoken-symbol tables stay too.
    """
    if text.isascii():
        return text
    kept, after_latin = [], False
    for character in unicodedata.normalize("NFKD", text):
        if unicodedata.combining(character):
            if not after_latin:
                kept.append(character)
            continue
        after_latin = "a" <= character <= "z"
        if character.isascii() or character in _SYMBOLS or character in _CURRENCIES or character in "−–":
            kept.append(character)
        elif character.isdecimal():
            kept.append(str(unicodedata.decimal(character)))
        else:
            kept.append(character if unicodedata.category(character)[0] in "LM" else " ")
    return unicodedata.normalize("NFC", "".join(kept))


def _spoken_currency(match: re.Match[str]) -> str:
    symbol, amount, scale = match.groups()
    return f" {amount}{scale} {_CURRENCIES[symbol]} "


def _written_out(token: str) -> str:
    """The words a contraction stands for; other tokens lose their apostrophes."""
    words: list[str] = []
    for _ in range(2):  # "he'd've" has two endings
        ending = token[token.rfind("'") :] if "'" in token[1:] else ""
        if token in _CONTRACTED or ending not in _ENDINGS:
            break
        token = token[: -len(ending)]
        words.insert(0, _ENDINGS[ending])
    bare = token.replace("'", "")
    return " ".join([_CONTRACTED.get(token) or _CONTRACTED.get(bare, bare), *words])


@functools.cache
def _number_rules():
    from whisper_normalizer.english import EnglishNumberNormalizer

    return EnglishNumberNormalizer()


def _with_digits(words: str) -> str:
    """Number words as digits; the signs that Whisper's rules put at numbers are words again."""
    text = _SIGNED.sub(lambda match: f"{match[2]} {_CURRENCIES[match[1]]}", _number_rules()(words))
    return " ".join(text.replace("%", " percent").split())


def normalise_words(text: str) -> str:
    """The words of ``text`` in one spelling, separated by single spaces (rules: module docstring).

    Numbers in digits and in words become equal, as do contractions with either apostrophe or written out. The result of
    a text without words is the empty string.
    """
    text = _letters_and_marks(plain_characters(text).lower())
    text = re.sub(r"\s+", " ", text)
    text = _CURRENCY.sub(_spoken_currency, text)
    text = _MINUS.sub(" minus ", text)
    for symbol, word in _SYMBOLS.items():
        text = text.replace(symbol, word)
    text = join_abbreviations(text)

    words: list[str] = []
    for token in _TOKEN.findall(text):
        words.extend((token.replace(",", "") if token[0].isdecimal() else _written_out(token)).split())
    return _with_digits(" ".join(words))
