"""Two spellings of the same words become one; different words stay different."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.scoring.text_normalisation import normalise_words

SAME = [
    ("Twenty-three", "23"),
    ("nineteen ninety-eight", "1998"),
    ("nineteen oh five", "1905"),
    ("twenty twenty four", "2024"),
    ("one hundred and five", "105"),
    ("two thousand and five", "2005"),
    ("two hundred thousand three hundred and six", "200,306"),
    ("three point one four", "3.14"),
    ("one point five million", "1.5 million"),
    ("$5 million", "five million dollars"),
    ("50%", "fifty percent"),
    ("salt & pepper", "salt and pepper"),
    ("the 21st", "the twenty-first"),
    ("minus five", "-5"),
    ("can’t", "can't"),
    ("can't", "cannot"),
    ("can not", "cant"),
    ("it's", "it is"),
    ("they’ll", "they will"),
    ("John's", "Johns"),
    ("well-known", "well known"),
    ("U.S.A.", "USA"),
    ("Café", "cafe"),
    ("HELLO, world!", "hello world"),
    ("covid19", "COVID-19"),
    ("５", "five"),
    ("٣٤", "34"),
]
DIFFERENT = [
    ("ten", "often"),
    ("no one", "1"),
    ("1.5", "15"),
    ("-5", "5"),
    ("first", "one"),
    ("two and three", "5"),
]


@pytest.mark.parametrize(("first", "second"), SAME)
def test_same_words_in_two_spellings(first, second):
    assert normalise_words(first) == normalise_words(second) != ""


@pytest.mark.parametrize(("first", "second"), DIFFERENT)
def test_different_words_stay_different(first, second):
    assert normalise_words(first) != normalise_words(second)


def test_golden_sentence():
    text = "In 1998, Dr. O’Brien’s 2nd team couldn't beat twenty-one U.S. teams — not even 3.5% of them!"
    assert normalise_words(text) == (
        "in 1998 dr obriens 2nd team could not beat 21 us teams not even 3.5 percent of them"
    )


@pytest.mark.parametrize("text", ["", " \n", "?!", "\x00", "—"])
def test_text_without_words_is_empty(text):
    assert normalise_words(text) == ""


def test_other_scripts_keep_their_words():
    assert normalise_words("Привет, мир!") == "привет мир"
    assert normalise_words("नमस्ते दुनिया") == "नमस्ते दुनिया"
    assert normalise_words("是巴黎。") == "是 巴 黎"


@given(st.integers(0, 999_999))
def test_digits_and_words_of_any_number_agree(number):
    assert normalise_words(in_words(number)) == normalise_words(str(number)) == (str(number) if number != 1 else "one")


def in_words(number):
    """An independent speller of 0 to 999,999."""
    small = (
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen"
    )
    tens = "zero ten twenty thirty forty fifty sixty seventy eighty ninety"
    if number < 20:
        return small.split()[number]
    if number < 100:
        rest = f"-{in_words(number % 10)}" if number % 10 else ""
        return tens.split()[number // 10] + rest
    unit, name = (100, "hundred") if number < 1000 else (1000, "thousand")
    head, tail = divmod(number, unit)
    joint = " and " if tail < 100 else " "
    return f"{in_words(head)} {name}" + (joint + in_words(tail) if tail else "")
