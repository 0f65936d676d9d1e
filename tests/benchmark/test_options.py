"""Which option an answer names: benchmark and training read it alike, and neither guesses."""

import pytest

from workflow_scripts.benchmark.candidates import RowError
from workflow_scripts.benchmark.options import named_option, unfit_options

BLOOD = ["O", "A", "B", "AB"]
GERMS = ["E. coli", "C. difficile", "B. cereus", "yeast?"]


@pytest.mark.parametrize(
    ("answer", "options", "place"),
    [
        *(("B", GERMS, 1), ("b", GERMS, 1), ("(B)", GERMS, 1), ("B).", GERMS, 1), ("C. difficile", GERMS, 1)),
        *(("YEAST?", GERMS, 3), ("D. yeast?", GERMS, 3), ("D: yeast", GERMS, 3), ("C. B. cereus", GERMS, 2)),
        *(("O", BLOOD, 0), ("D", BLOOD, 3), ("B. A", BLOOD, 1), ("ab", BLOOD, 3)),
        *(("A", ["A", "B"], 0), ("B. x", ["x", "x"], 0)),
    ],
)  # fmt: skip
def test_letter_text_or_both_name_an_option(answer, options, place):
    assert named_option(answer, options) == place


@pytest.mark.parametrize(
    ("answer", "options", "message"),
    [
        ("A", BLOOD, "'A' can be 'A. O' or 'B. A', by its letter or by its text"),
        ("B. O", BLOOD, "'B. O' can be 'A. O' or 'B. A'"),
        ("A. B. cereus", GERMS, "can be 'A. E. coli' or 'C. B. cereus'"),
        ("B. completely other", GERMS, "'B. completely other' is neither a letter nor the text"),
        ("E", GERMS, "'E' is neither"),
        ("E. yeast", GERMS, "'E. yeast' is neither"),
        ("word 26", [f"word {n}" for n in range(30)], "is neither"),
    ],
)
def test_two_options_or_none_are_refused(answer, options, message):
    with pytest.raises(RowError, match=message):
        named_option(answer, options)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (BLOOD, ""),
        ([str(number) for number in range(26)], ""),
        ([str(number) for number in range(27)], "more options than letters"),
        (["a\nb", "c"], "option of several lines"),
        (["Rh", "RH"], "options repeat"),
    ],
)
def test_options_that_cannot_be_asked_say_why(options, reason):
    assert unfit_options(options) == reason
