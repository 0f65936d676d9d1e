"""Empty, cut-off, refusing, foreign and degenerate answers are told from good ones."""

import pytest

from workflow_scripts.scoring import answer_traits

GOOD = [
    "B",
    "**C**",
    "Paris",
    "The answer is B, because water boils at one hundred degrees in the open air.",
    "Here is a list:\n- apples\n- pears\n- plums",
    "1. Boil the water.\n2. Add the pasta",
    "x = 3, so the area is 9 square metres, and therefore the right choice is (C)",
    "El Niño and the café are in San José, and that is all there is to say about it.",
]
GERMAN = "Die richtige Antwort ist B, weil Wasser bei hundert Grad kocht und der Druck dabei gleich bleibt."


def present(answer, finish_reason=""):
    return set(answer_traits.present(answer, finish_reason))


@pytest.mark.parametrize("answer", GOOD)
def test_a_good_answer_has_no_trait(answer):
    assert present(answer) == set()


@pytest.mark.parametrize("answer", ["", "   \n\t"])
def test_nothing_visible_is_empty_and_nothing_else(answer):
    assert present(answer) == {"empty"}
    assert present(answer, "length") == {"empty", "truncated"}


def test_a_recorded_finish_reason_decides_over_the_last_words():
    cut = "The first thing to consider is that the water in the pot would have to be"
    whole = "The water boils at one hundred degrees, and so the answer is the second one."
    assert present(cut) == {"truncated"}
    assert present(cut, "stop") == set()
    assert present(whole, "length") == present(whole, "MAX_TOKENS") == {"truncated"}


def test_refusals_are_counted_whatever_was_asked():
    assert present("I'm sorry, but I can't help with that request.") == {"refusal"}


@pytest.mark.parametrize(
    "answer", ["答案是B，因为水在一百度沸腾。", GERMAN, "Правильный ответ - Б, так как вода кипит."]
)
def test_answers_in_another_language_or_script_are_foreign(answer):
    assert present(answer) == {"other_language"}


@pytest.mark.parametrize(
    "answer",
    ["!" * 60, "... --- ...", "okay " * 60, "The answer is B. " + "no no no no " * 40, "a" * 50],
)
def test_loops_and_repeated_characters_are_degenerate(answer):
    assert "degenerate" in present(answer)
