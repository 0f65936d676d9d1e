"""Yes and no are read from what answers state, labelled by hand; both forms of BBH's references are scored."""

import pytest

from workflow_scripts.scoring.registry import score_answer
from workflow_scripts.scoring.yes_no import read_yes_no

LABELLED = [
    ("Yes", "yes"),
    ("**No.**", "no"),
    ("\\boxed{no}", "no"),
    ("The answer is yes.", "yes"),
    ("So the final answer is: **No**.", "no"),
    ("Yes, the sentence is plausible.", "yes"),
    ("No. A basketball player does not take a corner kick.", "no"),
    # VoiceBench's reader takes this for yes (issue 26).
    ('The sentence "Draymond Green threw a touchdown" is not plausible.', "no"),
    ("The sentence is implausible.", "no"),
    ("It is quite plausible that he scored a try.", "yes"),
    ("It isn't a plausible sentence.", "no"),
    ("You would not return to the starting point.", "no"),
    ("After these steps you are back at the starting point.", "yes"),
    ("Following the instructions, you don't end up where you started.", "no"),
    ("Therefore, Kandi does not tell the truth.", "no"),
    ("Fletcher lies. Since Fletcher lies, Delfina tells the truth.", "yes"),
    ("Delfina tells the truth and so Kandi lies.", "no"),
    ("Let us think. He lies, she says no.\nThe answer is yes.", "yes"),
    ("Let us follow the steps one by one. Take 3 steps left. Yes", "yes"),
    ("<think>yes yes yes</think>No", "no"),
    ("No one knows what he would do.", None),
    ("I cannot tell.", None),
    ("", None),
]


@pytest.mark.parametrize("answer, label", LABELLED)
def test_labelled_answers_are_read_as_they_were_labelled(answer, label):
    assert read_yes_no(answer).letter == label


def test_an_answer_that_opens_with_both_is_ambiguous():
    assert read_yes_no("Yes, he could.\nNo, he could not have done so here").rule == "ambiguous"


@pytest.mark.parametrize(
    "answer, reference, correct",
    [
        ("b", "(B)", 1),  # read as (A) by VoiceBench before its issue 26
        ("The answer is (A).", "(A)", 1),
        ("Option B has the correct adjective order.", "B", 1),
        ("a", "(B)", 0),
    ],
)
def test_references_with_letters_are_scored_by_the_choice_reader(answer, reference, correct):
    found = score_answer("yes_no", answer, [reference], ["old blue car", "blue old car"])
    assert found.score == correct


def test_an_unread_answer_is_wrong_and_half_in_expectation():
    found = score_answer("yes_no", "Who knows?", ["yes"])
    assert (found.score, found.unparsed, found.details["expected"]) == (0, True, 0.5)
