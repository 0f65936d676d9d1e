"""IFEval through its checkers: empty answers fail, nothing is skipped, drawn or logged silently."""

import logging
import random

import pytest

from workflow_scripts.scoring.instruction_following import check_answer, check_instructions, following_rates

NO_COMMA = {"id": "punctuation:no_comma", "kwargs": {}}
WORDS = {"id": "length_constraints:number_words", "kwargs": {"relation": "at least", "num_words": 5}}
QUOTED = {"id": "startend:quotation", "kwargs": {}}
SENTENCES = {"id": "length_constraints:number_sentences", "kwargs": {"relation": "at least", "num_sentences": 2}}
GERMAN = {"id": "language:response_language", "kwargs": {"language": "de"}}


def test_each_instruction_is_judged_by_itself():
    found = check_answer("one two three four five six", "Say it.", [NO_COMMA, WORDS])
    assert (found.strict, found.loose, found.prompt_strict, found.score) == ((True, True), (True, True), True, 1)
    found = check_answer("one, two", "Say it.", [NO_COMMA, WORDS])
    assert (found.strict, found.prompt_strict, found.score) == ((False, False), False, 0)
    found = check_answer("one two", "Say it.", [NO_COMMA, WORDS])
    assert found.strict == (True, False)
    assert found.score == pytest.approx((0 + 0 + 0.5 + 0.5) / 4)


def test_loose_forgives_a_first_line_and_strict_does_not():
    found = check_answer('Sure, here it is:\n"A quoted answer"', "Quote.", [QUOTED])
    assert (found.strict, found.loose) == ((False,), (True,))
    assert found.score == 0.5


@pytest.mark.parametrize("answer", ["", "  \n", "\x00", "<think>much thought</think>", "<think>never closed"])
def test_an_empty_answer_fails_all_its_instructions_instead_of_having_none(answer):
    found = check_answer(answer, "Say it.", [NO_COMMA, WORDS])
    assert found.empty
    assert found.strict == found.loose == (False, False)


def test_padding_with_none_is_dropped():
    padded = {"id": NO_COMMA["id"], "kwargs": {"num_words": None, "relation": None}}
    assert check_answer("no comma here", "Say it.", [padded]).strict == (True,)


def test_an_unknown_instruction_is_an_error_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'punctuation:no_coma'.*punctuation:no_comma"):
        check_instructions([{"id": "punctuation:no_coma", "kwargs": {}}])


@pytest.mark.parametrize("kwargs", [{}, {"num_words": 5}, {"relation": "at least", "num_words": 5, "extra": 1}])
def test_incomplete_arguments_are_an_error_since_the_checker_would_draw_them(kwargs):
    with pytest.raises(ValueError, match="num_words"):
        check_instructions([{"id": WORDS["id"], "kwargs": kwargs}])


def test_no_instruction_is_an_error():
    with pytest.raises(ValueError, match="at least one instruction"):
        check_answer("x", "y", [])


def test_the_global_generator_is_left_alone_and_does_not_matter():
    # The checker replaces a "letter" outside a-z by a random one.
    exclamation = {
        "id": "keywords:letter_frequency",
        "kwargs": {"letter": "!", "let_relation": "at least", "let_frequency": 2},
    }
    outcomes = set()
    for seed in range(20):
        random.seed(seed)
        before = random.getstate()
        outcomes.add(check_answer("the quick brown fox", "Shout.", [exclamation]).strict)
        assert random.getstate() == before
    assert len(outcomes) == 1


def test_language_is_detected_the_same_way_every_time():
    answer = "Hallo welt hello world"
    assert len({check_answer(answer, "Deutsch.", [GERMAN]).strict for _ in range(10)}) == 1
    assert check_answer("Dies ist ein deutscher Satz über das Wetter.", "Deutsch.", [GERMAN]).strict == (True,)


def test_undetectable_answers_are_not_dumped_into_the_log(caplog):
    with caplog.at_level(logging.DEBUG):
        check_answer("!!!! 1234 ????", "Deutsch.", [GERMAN])
    assert "1234" not in caplog.text


def test_missing_tokenizer_data_is_an_error_that_names_folder_and_remedy(tmp_path, monkeypatch):
    import nltk
    from if_verifiable.ifeval import instructions_util

    monkeypatch.setattr(nltk.data, "path", [])
    getattr(instructions_util._get_sentence_tokenizer, "cache_clear", lambda: None)()
    nltk.data.clear_cache()
    with pytest.raises(FileNotFoundError, match=r"punkt_tab.*tokenizers/punkt_tab"):
        check_answer("One. Two. Three.", "Say it.", [SENTENCES], nltk_data=tmp_path)


@pytest.mark.parametrize("unit", ["[", "<<", "a b. ", "{", "漢", "\x00x"])
@pytest.mark.parametrize(
    "instruction",
    [
        {"id": "detectable_content:number_placeholders", "kwargs": {"num_placeholders": 2}},
        {"id": "detectable_format:title", "kwargs": {}},
        {"id": "detectable_format:json_format", "kwargs": {}},
    ],
    ids=lambda instruction: instruction["id"],
)
def test_endless_answers_do_not_stall_a_checker(unit, instruction):
    found = check_answer((unit * 100_000)[:100_000], "Say it.", [instruction])
    assert found.strict == (False,)


def test_the_four_rates_of_planted_results():
    strict = [[True, True], [True, False, False, False]]
    loose = [[True, True], [True, True, True, True]]
    found = following_rates(strict, loose)
    assert (found.prompt_strict, found.prompt_loose) == (0.5, 1.0)
    assert (found.instruction_strict, found.instruction_loose) == (0.5, 1.0)
    assert found.final == 0.75
    # Pooled over instructions, not averaged over prompts: that would be (1 + 1/4) / 2.
    assert following_rates([[True], [False, False, False]], [[True], [False] * 3]).instruction_strict == 0.25


@pytest.mark.parametrize(("strict", "loose"), [([], []), ([[True]], [[True, True]]), ([[]], [[]])])
def test_rates_of_mismatched_rows_are_an_error(strict, loose):
    with pytest.raises(ValueError, match="equal length"):
        following_rates(strict, loose)
