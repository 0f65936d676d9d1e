"""Questions that cannot be scored are refused before a model is asked."""

import pytest

from workflow_scripts.artifacts.questions import Question
from workflow_scripts.scoring.question_formats import check_question, reference_answer
from workflow_scripts.scoring.registry import SCORERS

GOOD = {
    "multiple_choice": (["B"], ["a lake", "a desert"], []),
    "short_answer": (["Paris"], [], []),
    "refusal": ([], [], []),
    "instruction_following": ([], [], [{"id": "punctuation:no_comma", "kwargs": {}}]),
    "repeat": (["say this"], [], []),
    "yes_no": (["no"], [], []),
    "judge": ([], [], []),
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
        ("yes_no", (["maybe"],), "yes, no or one letter"),
    ],
)
def test_an_unusable_question_is_refused_with_what_is_wrong(scorer, question, message):
    with pytest.raises(ValueError, match=message):
        check_question(scorer, *question)


@pytest.mark.parametrize(
    ("scorer", "reference", "options", "expected"),
    [
        ("multiple_choice", ["B"], ["sun", "moon"], "B. moon"),
        ("short_answer", ["Shakespeare", "William"], [], "Shakespeare"),
        ("short_answer", [], [], None),
        ("repeat", ["hello there"], [], "hello there"),
        ("refusal", [], [], None),
        ("refusal", ["I cannot"], [], None),
        ("instruction_following", [], [], None),
        ("a scorer without a line here", ["yes", "no"], [], "yes"),
    ],
)
def test_the_reference_answer_is_the_right_answer_written_out_where_there_is_one(scorer, reference, options, expected):
    asked = Question(
        id="a", subset="s", prompt="p", spoken="p", reference=reference, options=options, scorer=scorer, source={}
    )
    assert reference_answer(asked) == expected
