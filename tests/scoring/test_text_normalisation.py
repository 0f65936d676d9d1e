"""Two spellings of the same words become one; different words stay different."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.scoring.text_normalisation import normalise_words, word_error_rate

SAME = [
    ("Twenty-three", "23"),
    ("nineteen ninety-eight", "1998"),
    ("nineteen oh five", "1905"),
    ("twenty twenty four", "2024"),
    ("one hundred and five", "105"),
    ("two thousand and five", "2005"),
    ("a hundred people", "100 people"),
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
    ("one two three", "123"),
    ("ten twenty thirty", "102030"),
    ("no one", "1"),
    ("1.5", "15"),
    ("-5", "5"),
    ("first", "one"),
    ("two and three", "5"),
]
NUMBER_WORDS = (
    "zero one two ten nineteen twenty ninety hundred thousand million first third twentieth hundredth thousandth and "
    "point oh no a 5 1.5 1,000 19 98 5th"
)


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


@given(st.one_of(st.text(), st.lists(st.sampled_from(NUMBER_WORDS.split()), max_size=7).map(" ".join)))
def test_normalising_twice_changes_nothing(text):
    once = normalise_words(text)
    assert normalise_words(once) == once


@given(st.integers(0, 999_999))
def test_digits_and_words_of_any_number_agree(number):
    assert normalise_words(in_words(number)) == str(number)


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


def test_word_error_rate_counts_planted_errors():
    reference = "the cat sat on the mat today"
    assert word_error_rate(reference, "The cat sat on the mat, today.") == 0
    assert word_error_rate(reference, "the cat sat on a mat today") == pytest.approx(1 / 7)
    assert word_error_rate(reference, "the cat sat on mat") == pytest.approx(2 / 7)
    assert word_error_rate(reference, "oh the cat sat on the mat today") == pytest.approx(1 / 7)
    assert word_error_rate(reference, "") == 1
    assert word_error_rate("yes", "no no no") == 3


def test_word_error_rate_ignores_spelling():
    assert word_error_rate("I can't pay 25% in 1998", "i cannot pay twenty five percent in nineteen ninety eight") == 0


def test_word_error_rate_of_no_words_is_an_error_that_quotes_the_reference():
    with pytest.raises(ValueError, match=r"'\?\!'"):
        word_error_rate("?!", "hello")
