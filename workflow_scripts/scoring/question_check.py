"""Can a question be scored at all? Asked when questions are made, long before a model answers them.

Apart from the registry, so that a better answer parser reruns the scoring and not the questions.
"""

import string
from collections.abc import Mapping, Sequence
from typing import Any

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
    if scorer == "multiple_choice":
        check_letter(reference, options)
        if len(options) < 2 or not all(option.strip() for option in options):
            raise ValueError(f"a multiple-choice question needs two or more options with text, got {list(options)!r}")
    elif scorer == short_answer.NAME:
        short_answer.check_references(list(reference))
    elif scorer == instruction_following.NAME:
        instruction_following.check_instructions(instructions)
    elif scorer == "repeat" and (len(reference) != 1 or not normalise_words(reference[0])):
        raise ValueError(f"a repeat reference is one sentence with words, got {list(reference)!r}")
