"""What each scorer needs of its questions, and which text its reference stands for. No answer is read here.

Apart from the registry, so that a better answer parser reruns the scoring, and neither questions nor answers.
"""

import re
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from workflow_scripts.artifacts.questions import Question
from workflow_scripts.scoring import instruction_following, short_answer
from workflow_scripts.scoring.text_normalisation import normalise_words


def check_letter(reference: Sequence[str], options: Sequence[str]) -> None:
    """Refuse a multiple-choice reference that is not one letter of an option.

    Raises:
        ValueError: quotes the reference and the letters there are.
    """
    letters = string.ascii_uppercase[: len(options)]
    if len(reference) != 1 or len(reference[0]) != 1 or reference[0] not in letters:
        raise ValueError(f"a multiple-choice reference is one letter of {letters!r}, got {list(reference)!r}")


def _check_choice(reference: Sequence[str], options: Sequence[str], _: Any) -> None:
    check_letter(reference, options)
    if len(options) < 2 or not all(option.strip() for option in options):
        raise ValueError(f"a multiple-choice question needs two or more options with text, got {list(options)!r}")


def _check_sentence(reference: Sequence[str], _: Any, __: Any) -> None:
    if len(reference) != 1 or not normalise_words(reference[0]):
        raise ValueError(f"a repeat reference is one sentence with words, got {list(reference)!r}")


def check_yes_no(reference: Sequence[str]) -> None:
    """Refuse a reference that is neither yes, no nor a letter.

    Raises:
        ValueError: quotes it.
    """
    if len(reference) != 1 or not re.fullmatch(r"yes|no|\(?[A-Z]\)?", reference[0], re.IGNORECASE):
        raise ValueError(f"a yes_no reference is yes, no or one letter such as (A), got {list(reference)!r}")


CHECKS: Mapping[str, Callable[[Sequence[str], Sequence[str], Sequence[Mapping[str, Any]]], object]] = {
    "multiple_choice": _check_choice,
    "short_answer": lambda reference, _, __: short_answer.check_references(reference),
    "instruction_following": lambda _, __, instructions: instruction_following.check_instructions(instructions),
    "repeat": _check_sentence,
    "yes_no": lambda reference, _, __: check_yes_no(reference),
}
"""By scorer: raises ValueError for a (reference, options, instructions) with which no answer could be scored."""

REFERENCE_TEXTS: Mapping[str, Callable[[Sequence[str], Sequence[str]], str | None]] = {
    "multiple_choice": lambda letter, options: f"{letter[0]}. {options[ord(letter[0]) - ord('A')]}" if letter else None,
    "refusal": lambda _, __: None,
    "judge": lambda _, __: None,
    "instruction_following": lambda _, __: None,
}
"""By scorer: the right answer written out, from (reference, options); without an entry the first reference."""


def check_question(
    scorer: str,
    reference: Sequence[str],
    options: Sequence[str] = (),
    instructions: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Refuse a question that its scorer could not score.

    Raises:
        ValueError: a reference that is no option letter, would match nothing, or has no words; fewer than two options;
            an unknown instruction or argument.
    """
    if scorer in CHECKS:
        CHECKS[scorer](list(reference), options, instructions)


def reference_answer(question: Question) -> str | None:
    """The right answer written out, whose loss is compared between forms; None if the question has none (ours).

    Multiple choice: letter and option text; short answers: the first accepted answer; repeat: the sentence.
    """
    if question.scorer in REFERENCE_TEXTS:
        return REFERENCE_TEXTS[question.scorer](question.reference, question.options)
    return question.reference[0] if question.reference else None
