"""A repetition is scored by its word errors."""

import pytest

from workflow_scripts.scoring.repeat import compare_repetition

SENTENCE = "the cat can't eat twenty mice"


def test_a_perfect_repetition_in_another_spelling_scores_1():
    found = compare_repetition("The cat can not eat 20 mice.", SENTENCE)
    assert (found.score, found.word_error_rate) == (1, 0)
    assert found.heard == "the cat can not eat 20 mice"


def test_each_missing_word_costs_its_share():
    assert compare_repetition("the cat can't eat", SENTENCE).score == pytest.approx(1 - 2 / 7)


def test_chatter_around_the_sentence_costs_and_the_score_stops_at_0():
    found = compare_repetition("Sure, here you go, I will say it now for you: " + SENTENCE, SENTENCE)
    assert found.word_error_rate > 1
    assert found.score == 0


@pytest.mark.parametrize("answer", ["", "  ", "?"])
def test_silence_scores_0(answer):
    found = compare_repetition(answer, SENTENCE)
    assert (found.score, found.word_error_rate, found.heard) == (0, 1, "")


def test_nothing_to_repeat_is_an_error():
    with pytest.raises(ValueError, match="no words"):
        compare_repetition("hello", "...")
