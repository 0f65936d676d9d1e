"""Word errors as Whisper's normaliser has them counted."""

import pytest

from workflow_scripts.scoring.word_errors import word_error_rate


def test_word_error_rate_counts_planted_errors():
    reference = "the cat sat on the mat today"
    assert word_error_rate(reference, "The cat sat on the mat, today.") == 0
    assert word_error_rate(reference, "the cat sat on a mat today") == pytest.approx(1 / 7)
    assert word_error_rate(reference, "the cat sat on mat") == pytest.approx(2 / 7)
    assert word_error_rate(reference, "oh the cat sat on the mat today") == pytest.approx(1 / 7)
    assert word_error_rate(reference, "") == 1
    assert word_error_rate("yes", "no no no") == 3


def test_word_error_rate_ignores_spelling():
    assert word_error_rate("I can't pay 25% in 1998", "i can not pay twenty five percent in nineteen ninety eight") == 0
    for one, other in (
        ("colour", "color"),
        ("3pm", "three p.m."),
        ("Mr. O’Neill won't", "mister o'neill will not"),
        ("$5 million", "five million dollars"),
    ):
        assert word_error_rate(one, other) == word_error_rate(other, one) == 0, one


def test_words_in_brackets_were_spoken_and_count():
    assert word_error_rate("the harbour (in Kiel) [today]", "the harbor") == 3 / 5


def test_word_error_rate_of_no_words_is_an_error_that_quotes_the_reference():
    with pytest.raises(ValueError, match=r"'\?\!'"):
        word_error_rate("?!", "hello")
