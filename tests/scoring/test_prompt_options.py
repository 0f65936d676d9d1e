"""Options are read from the prompt as VoiceBench writes it."""

import pytest

from workflow_scripts.scoring.prompt_options import options_in_prompt

CLOSING = "What is the answer to the above multiple choice question? Select one of the following: A, B, C, or D."


@pytest.mark.parametrize("gap", ["\n", "\n\n"])
def test_the_four_lines_of_a_voicebench_prompt_are_its_options(gap):
    prompt = f"Where is fog?\nA. a marsh\nB. the desert\nC. in 5 plains\nD. nowhere, ever{gap}{CLOSING}"
    assert options_in_prompt(prompt) == ["a marsh", "the desert", "in 5 plains", "nowhere, ever"]


def test_bracketed_letters_and_two_options_are_read():
    prompt = "Which sentence has the correct adjective order:\nOptions:\n(A) old blue car\n(B) blue old car"
    assert options_in_prompt(prompt) == ["old blue car", "blue old car"]


def test_a_quoted_list_before_the_options_does_not_count():
    prompt = "Consider:\nA. first\nB. second\nC. third\nWhich are true?\nA. one\nB. two"
    assert options_in_prompt(prompt) == ["one", "two"]


@pytest.mark.parametrize("prompt", ["What is fog?", "A. only one option", "B. no first\nC. option", "A. one\nC. gap"])
def test_a_prompt_without_a_list_has_no_options(prompt):
    assert options_in_prompt(prompt) == []
