"""Questions that cannot be scored are refused before a model is asked."""

import pytest

from workflow_scripts.scoring.question_check import check_question
from workflow_scripts.scoring.registry import SCORERS

GOOD = {
    "multiple_choice": (["B"], ["a lake", "a desert"], []),
    "short_answer": (["Paris"], [], []),
    "refusal": ([], [], []),
    "instruction_following": ([], [], [{"id": "punctuation:no_comma", "kwargs": {}}]),
    "repeat": (["say this"], [], []),
}


@pytest.mark.parametrize("scorer", SCORERS)
def test_a_usable_question_passes(scorer):
    check_question(scorer, *GOOD[scorer])


@pytest.mark.parametrize(
    ("scorer", "question", "message"),
    [
        ("multiple_choice", (["E"], ["a", "b"]), "one letter of 'AB'"),
        ("multiple_choice", (["Paris", "City"], []), "one letter of ''"),  # a short-answer layout
        ("multiple_choice", (["A"], ["a", "  "]), "two or more options with text"),
        ("multiple_choice", (["A"], ["a"]), "two or more options"),
        ("short_answer", (["The"],), "no tokens after normalisation"),
        ("short_answer", (["Paris", "?!"],), "no tokens after normalisation"),
        ("short_answer", ([],), "non-empty list"),
        ("instruction_following", ([], [], []), "at least one instruction"),
        ("instruction_following", ([], [], [{"id": "x:y", "kwargs": {}}]), "unknown instruction id 'x:y'"),
        ("repeat", (["..."],), "one sentence with words"),
        ("repeat", ([],), "one sentence with words"),
    ],
)
def test_an_unusable_question_is_refused_with_what_is_wrong(scorer, question, message):
    with pytest.raises(ValueError, match=message):
        check_question(scorer, *question)
