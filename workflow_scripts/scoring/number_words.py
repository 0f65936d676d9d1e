"""English number words to digits: the part of text normalisation that looks at several words at once (ours).

A run of number words is read as the groups a speaker would make: "one hundred and five" is one group (105), "one two
three" is three groups (1 2 3), and a run of exactly two groups that looks like a year is joined ("nineteen
ninety-eight" -> 1998). Digits take part only as the factor of a scale word ("5 million", "1.5 million").
"""

from decimal import Decimal

_ONES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_TEENS = ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SMALL = {word: value for value, word in enumerate(_ONES + _TEENS)}
_TENS_VALUE = {word: 10 * (position + 2) for position, word in enumerate(_TENS)}
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_ORDINAL_ONES = ["zeroth", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth"]
_ORDINALS = {word: value for value, word in enumerate(_ORDINAL_ONES)}
_ORDINALS |= {
    word: value + 10
    for value, word in enumerate(
        [
            "tenth",
            "eleventh",
            "twelfth",
            "thirteenth",
            "fourteenth",
            "fifteenth",
            "sixteenth",
            "seventeenth",
            "eighteenth",
            "nineteenth",
        ]
    )
}
_ORDINAL_TENS = {f"{word[:-1]}ieth": value for word, value in _TENS_VALUE.items()}
_ORDINAL_SCALES = {f"{word}th": value for word, value in ({"hundred": 100} | _SCALES).items()}
_FACTORS = {"hundred": 100} | _SCALES
_YEAR_CENTURIES = range(10, 21)
_LONGEST_NUMBER = 15  # digits: longer strings are identifiers, and converting them costs time


def _ordinal(value: int) -> str:
    suffix = "th" if value % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(value % 10, "th")
    return f"{value}{suffix}"


def _read_below_hundred(words: list[str], at: int) -> tuple[int | None, int, bool]:
    """A number from 0 to 99 at position ``at``: (value or None, next position, is an ordinal)."""
    word = words[at] if at < len(words) else ""
    if word in _SMALL:
        return _SMALL[word], at + 1, False
    if word in _ORDINALS:
        return _ORDINALS[word], at + 1, True
    if word in _ORDINAL_TENS:
        return _ORDINAL_TENS[word], at + 1, True
    if word in _TENS_VALUE:
        following = words[at + 1] if at + 1 < len(words) else ""
        if 1 <= _SMALL.get(following, 0) <= 9:
            return _TENS_VALUE[word] + _SMALL[following], at + 2, False
        if 1 <= _ORDINALS.get(following, 0) <= 9:
            return _TENS_VALUE[word] + _ORDINALS[following], at + 2, True
        return _TENS_VALUE[word], at + 1, False
    return None, at, False


def _read_below_thousand(words: list[str], at: int) -> tuple[int | None, int, bool]:
    """As above for 0 to 9,900: "three hundred and five", "nineteen hundred"."""
    if words[at : at + 1] == ["a"] and at + 1 < len(words) and words[at + 1] in _FACTORS:
        value, position, ordinal = 1, at + 1, False  # "a hundred"
    else:
        value, position, ordinal = _read_below_hundred(words, at)
    if value is None or ordinal or position >= len(words):
        return value, position, ordinal
    if words[position] == "hundredth" and value:
        return value * 100, position + 1, True
    if words[position] != "hundred" or not value:
        return value, position, ordinal
    value, position = value * 100, position + 1
    skip = 1 if position < len(words) and words[position] == "and" else 0
    rest, after, rest_ordinal = _read_below_hundred(words, position + skip)
    if rest:
        return value + rest, after, rest_ordinal
    return value, position, False


def _read_cardinal(words: list[str], at: int) -> tuple[int | None, int, bool]:
    """A full number word group at ``at`` with falling scales: "two million three hundred thousand and six"."""
    total, position, ordinal, smallest = None, at, False, None
    while True:
        skip = 1 if total is not None and position < len(words) and words[position] == "and" else 0
        value, after, ordinal_part = _read_below_thousand(words, position + skip)
        if value is None or (total is not None and not value):
            return total, position, ordinal
        scale_word = words[after] if after < len(words) and not ordinal_part else ""
        scale = _SCALES.get(scale_word) or (_ORDINAL_SCALES.get(scale_word) if scale_word != "hundredth" else None)
        if smallest is not None and (scale or 1) >= smallest:
            return total, position, ordinal
        if scale is None:
            return (total or 0) + value, after, ordinal_part
        if value == 0:
            return value, after, False
        total, position, smallest = (total or 0) + value * scale, after + 1, scale
        if scale_word in _ORDINAL_SCALES:
            return total, position, True


def _decimal_part(words: list[str], at: int) -> tuple[str, int]:
    """Digits after "point": "three point one four" -> "14"; empty without such digits."""
    if at >= len(words) or words[at] != "point":
        return "", at
    digits, position = "", at + 1
    while position < len(words) and (words[position] == "oh" or _SMALL.get(words[position], 10) < 10):
        digits += "0" if words[position] == "oh" else str(_SMALL[words[position]])
        position += 1
    return (digits, position) if digits else ("", at)


def _is_pronoun(words: list[str], at: int) -> bool:
    """ "no one" is nobody, not the number one."""
    return words[at] == "one" and at > 0 and words[at - 1] == "no"


def _scaled(number: str, words: list[str], at: int) -> tuple[str | None, int]:
    """Multiply ``number`` by the scale words from ``at`` on ("5" + thousand); None without one or if no integer."""
    if not number.replace(".", "", 1).isdecimal():
        return None, at
    position, digits = at, number
    while position < len(words) and words[position] in _FACTORS and len(digits) <= _LONGEST_NUMBER:
        value = Decimal(digits) * _FACTORS[words[position]]
        digits = format(value.to_integral_value() if value == value.to_integral_value() else value, "f")
        position += 1
    return (digits, position) if position > at and "." not in digits else (None, at)


def _join_years(groups: list[str]) -> list[str]:
    """Exactly two groups of two digits with a century first become a year; anything else stays apart."""
    if len(groups) == 2 and all(group.isdecimal() and len(group) == 2 for group in groups):
        return ["".join(groups)] if int(groups[0]) in _YEAR_CENTURIES else groups
    if len(groups) == 3 and groups[1] == "oh" and len(groups[0]) == 2 and len(groups[2]) == 1:
        return [f"{groups[0]}0{groups[2]}"]
    return groups


def join_number_words(words: list[str]) -> list[str]:
    """Replace runs of English number words in a list of lower-case words by digits.

    Ordinals become ``1st``, ``22nd``. "second" always reads as an ordinal and "one" as a number (except in "no one"):
    both sides of a comparison get the same reading, which is all that is needed here.
    """
    joined: list[str] = []
    run: list[str] = []  # number groups that stand next to each other

    def close_run() -> None:
        joined.extend(_join_years(run))
        run.clear()

    position = 0
    while position < len(words):
        scaled, after = _scaled(words[position], words, position + 1)
        if scaled is not None:
            close_run()
            joined.append(scaled)
            position = after
            continue
        value, after, ordinal = (
            (None, position, False) if _is_pronoun(words, position) else _read_cardinal(words, position)
        )
        if value is None:
            if words[position] == "oh" and len(run) == 1 and position + 1 < len(words):
                following = words[position + 1]
                if 1 <= _SMALL.get(following, 0) <= 9:  # "nineteen oh five"
                    run.extend(["oh", str(_SMALL[following])])
                    position += 2
                    close_run()
                    continue
            close_run()
            joined.append(words[position])
            position += 1
            continue
        if ordinal:
            run.append(_ordinal(value))
        else:
            digits, after = _decimal_part(words, after)
            number = f"{value}.{digits}" if digits else str(value)
            scaled, after_scale = _scaled(number, words, after)
            if scaled is not None:  # "three point five million", "one million million"
                number, after = scaled, after_scale
            run.append(number)
        position = after
    close_run()
    return joined
