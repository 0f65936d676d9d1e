"""The choice parser reads what a person would read, and nothing else."""

import json
import random
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.scoring.multiple_choice import LETTERS, Choice, parse_choice

SENTENCES = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "data" / "choice_sentences.jsonl").read_text("utf-8").splitlines()
]
HABITAT = ("a marsh", "a lake", "a desert", "a jungle")
STATEMENTS = (
    "{letter}",
    "({letter}) {text}",
    "{letter}. {text}",
    "{letter} - {text}",
    "**{letter}**",
    "Answer: {letter}",
    "The answer is {letter}.",
    "The correct answer is **{letter}. {text}**",
    "I would choose option {letter}.",
    "{letter} is the correct answer.",
    "Option {letter}",
    "\\boxed{{{letter}}}",
    "{text}",
    "The answer is {text}.",
    "It could be A or C, but in the end the answer is {letter}.",
    "A. a marsh\nB. a lake\nC. a desert\nD. a jungle\n\nAnswer: {letter}. {text}",
)


def test_the_quality_set_is_large_and_holds_every_kind():
    assert len(SENTENCES) >= 60
    assert len({sentence["group"] for sentence in SENTENCES}) == 10


@pytest.mark.parametrize("sentence", SENTENCES, ids=lambda s: f"{s['group']}: {s['answer'][:40]!r}")
def test_quality_set(sentence):
    assert parse_choice(sentence["answer"], sentence["options"]).letter == sentence["letter"]


@pytest.mark.parametrize("statement", STATEMENTS)
@pytest.mark.parametrize("position", range(4))
def test_a_statement_is_read_in_every_position(statement, position):
    letter = LETTERS[position]
    answer = statement.format(letter=letter, text=HABITAT[position])
    assert parse_choice(answer, HABITAT).letter == letter


@pytest.mark.parametrize("statement", [s for s in STATEMENTS if "a marsh" not in s])
def test_permuting_the_options_moves_the_answer_given_by_text_only(statement):
    answer = statement.format(letter="B", text="a lake")
    permuted = ("a desert", "a jungle", "a marsh", "a lake")
    expected = "B" if "{letter}" in statement else "D"
    assert parse_choice(answer, permuted).letter == expected


def test_rules_are_named():
    assert parse_choice("C", HABITAT) == Choice("C", "whole")
    assert parse_choice("a desert", HABITAT) == Choice("C", "option_text")
    assert parse_choice("It is dry.\nC", HABITAT) == Choice("C", "last")
    assert parse_choice("So the answer is C, see above", HABITAT) == Choice("C", "final")
    assert parse_choice("The answer is C, see above", HABITAT) == Choice("C", "cue")
    assert parse_choice("The answer is a desert, see above", HABITAT) == Choice("C", "cue_text")
    assert parse_choice("Look at **C** please", HABITAT) == Choice("C", "bold")
    assert parse_choice("C) dry land", HABITAT) == Choice("C", "leading")
    assert parse_choice("I like option C very much", HABITAT) == Choice("C", "mention")
    assert parse_choice("Camels live in a desert, see above", HABITAT) == Choice("C", "text")
    assert parse_choice("The answer is A. The answer is B, see above", HABITAT) == Choice(None, "ambiguous")
    assert parse_choice("No idea, see above", HABITAT) == Choice(None, "unparsed")
    assert parse_choice(" ", HABITAT) == Choice(None, "empty")


def test_a_letter_beyond_the_options_is_no_choice():
    assert parse_choice("The answer is D.", ("yes", "no")).letter is None
    assert parse_choice("The answer is B.", ("yes", "no")).letter == "B"


def test_random_prose_without_a_choice_is_never_guessed():
    rng = random.Random(0)
    subjects = ("A plant", "An animal", "The answer", "It", "I", "One option", "A good choice", "What I say")
    verbs = ("is", "would be", "depends on", "needs", "might pick", "is not", "has to choose", "believes in")
    objects = ("a house", "a little water", "a cool place", "the rain", "a matter of taste", "an idea", "a big debate")
    for _ in range(500):
        sentences = [f"{rng.choice(subjects)} {rng.choice(verbs)} {rng.choice(objects)}" for _ in range(4)]
        answer = ". ".join(sentences) + "."
        assert parse_choice(answer, HABITAT).letter is None, answer


@pytest.mark.parametrize("options", [(), ("only one",), tuple("x" * 27), "ABCD"])
def test_a_question_without_a_sane_number_of_options_is_an_error(options):
    with pytest.raises(ValueError, match="2 to 26 options"):
        parse_choice("A", options)


@given(st.text(), st.lists(st.text(), min_size=2, max_size=6))
def test_any_text_is_read_without_a_crash_and_letters_exist(answer, options):
    choice = parse_choice(answer, options)
    assert choice.letter is None or choice.letter in LETTERS[: len(options)]
    assert (choice.letter is None) == (choice.rule in ("ambiguous", "unparsed", "empty"))


@pytest.mark.parametrize(
    "unit",
    ["a", "A. ", "the answer is ", "option A ", "(", "a desert ", "**", "\\text{", "is A ", "A or ", "\x00", "漢"],
)
def test_a_hundred_thousand_characters_take_no_time_to_speak_of(unit):
    answer = (unit * (100_000 // len(unit) + 1))[:100_000]
    start = time.process_time()
    parse_choice(answer, HABITAT)
    assert time.process_time() - start < 3


def test_the_conclusion_of_a_very_long_answer_is_found():
    assert parse_choice("Let us think about water. " * 4000 + "So the answer is C.", HABITAT).letter == "C"


@pytest.mark.parametrize(
    "answer",
    [
        "To find it, let's analyze each option:\n\nA. a marsh: This is a wet place.\n\nB. a lake",
        "Let us go through the options step by step.\n\nA. **a marsh**",
        "We need to consider each option:\nA) a marsh",
        "**Option A: a marsh**\n- This is wet.\n\n**Option B",
        "A. a marsh\nB. a lake",
        "A. a marsh is wet.\nB",
        "A, B, or C",
        "A. B, C, or D.",
        "A. B",
        "A. a marsh is incorrect.",
        "A. a marsh is not a dry place. A marsh is wet.",
        "A. a marsh is the correct answer. The correct option is B.",
        "The correct answer is:\nC. a desert is incorrect.",
        "Camels do not live there, while B. and C. are dry, so think of a marsh",
        "It is a place with sand. This is a",
        "A, a marsh, B, a lake, C, a desert, D, a jungle.",
        "A. a marsh B a lake C a desert D a jungle",
        "A, B, or C is the answer to the question.",
        "A. a marsh has D.",
        "It can live in marshes, a lake, deserts, and jungles.",
        "A. a marsh is not dry. The right place is:\nB. a lake is not dry. The right place is:\nC. a",
        "Let's go through the options:\n\nA. **a marsh**: wet",
    ],
)
def test_options_that_are_listed_reviewed_or_rejected_are_not_chosen(answer):
    assert parse_choice(answer, HABITAT).letter is None


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("Let's analyze each option:\nA. a marsh: wet.\nB. a lake: wet.\nTherefore, the correct answer is C.", "C"),
        ("We need to think about water. The answer is a desert.", "C"),
        ("A. a marsh\nB. a lake\nC. a desert\nD. a jungle\nThe correct answer is:\nC. a desert", "C"),
        ("A. a marsh is incorrect. The correct answer is C. a desert.", "C"),
        ("A. a desert", "A"),
        ("A. a desert\n\nThe answer is A. a desert.", "A"),
        ("C. a desert is the best answer.", "C"),
        ('The answer to the question "Where do camels live?" is C.', "C"),
        ("A: The correct answer is C: a lake.", "C"),
        ("A. a marsh, since it is wet and not dry.", "A"),
        ("A. A", "A"),
        ("A. a lake\nWater is not dry. The correct answer is indeed a desert.", "C"),
        ("A. A\n\nCamels like sand", "A"),
        ("A. a marsh B. a lake C.\n\nThe place with water is a marsh, which is", "A"),
        ("A. a desert is the correct answer.", "A"),
        ("A. dry sand is hot, but the answer is not D. Sand is hot", "A"),
        ("The dry place is:\n\nC. a desert\n\nThe others are wrong because:\n\nA. a marsh - wet", "C"),
        ("It is called **a desert**.\n\nLet's break down the options:\n\nA. **a marsh**: wet", "C"),
        ("Camels live in deserts, see above", "C"),
    ],
)
def test_a_choice_beside_lists_reviews_and_rejections_is_read(answer, letter):
    assert parse_choice(answer, HABITAT).letter == letter


def test_an_option_that_is_a_letter_is_no_list_of_letters():
    assert parse_choice("A. K", ("K", "Na", "Fe", "H")).letter == "A"
