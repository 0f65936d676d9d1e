"""Words of prompts found among timed ones: equal, misheard, read out, missing."""

import pytest

from workflow_scripts.speech.word_matching import SpokenWord, match_words, prompt_words


def spoken(text):
    """Words of a second each."""
    return [SpokenWord(word, float(k), k + 1.0) for k, word in enumerate(text.split())]


def times(prompt, said):
    return [word.seconds for word in match_words(prompt, spoken(said))]


def test_words_are_runs_without_space_less_the_punctuation_around_them():
    prompt = 'Is "New York" (mother-in-law) 3.5% - or\nB. it\'s?'
    words = prompt_words(prompt)
    assert [text for text, _ in words] == ["Is", "New", "York", "mother-in-law", "3.5", "or", "B", "it's"]
    assert all(prompt[start:end] == text for text, (start, end) in words)
    assert prompt_words(" ?! -- ") == []


def test_equal_words_take_their_times_whatever_case_accents_and_punctuation():
    assert times("Where is Zürich?", "where, IS zurich.") == [(0, 1), (1, 2), (2, 3)]


def test_what_was_heard_in_addition_moves_nothing():
    assert times("who wrote it", "um who who wrote it then") in ([(1, 2), (3, 4), (4, 5)], [(2, 3), (3, 4), (4, 5)])


def test_a_number_read_as_several_words_lasts_as_long_as_all_of_them():
    assert times("in 1905 was", "in nineteen oh five was") == [(0, 1), (1, 4), (4, 5)]


def test_misheard_words_are_paired_in_order():
    assert times("who was Nigel Havers then", "who was nigh jell then") == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]


def test_words_that_were_not_spoken_or_cannot_be_told_apart_have_no_time():
    assert times("one two three", "one three") == [(0, 1), None, (1, 2)]
    assert times("one blue green red five", "one x y five") == [(0, 1), None, None, None, (3, 4)]
    assert times("anything", "") == [None]
    assert match_words("?!", spoken("hello")) == []


@pytest.mark.parametrize("text", ["a", "a a a", "the the cat"])
def test_a_text_matches_itself_word_by_word(text):
    assert times(text, text) == [(k, k + 1) for k in range(len(text.split()))]
