"""Options of a multiple-choice question as its prompt lists them, one a line: ``A. text`` or ``(A) text``.

VoiceBench stores no options beside the prompt, so that whoever reads its rows or its answers has only this text.
"""

import re

from workflow_scripts.scoring.option_lists import LETTERS

_OPTION_LINE = re.compile(r"^[ \t]*\(?([A-Z])(?:\.|\)|:)[ \t]+(\S[^\n]*?)[ \t]*$", re.MULTILINE)


def options_in_prompt(prompt: str) -> list[str]:
    """Texts of the options A, B, ... of a prompt, in order; empty if it lists fewer than two.

    A list begins with A and goes on without a gap; of several such lists the last counts, since a question may quote
    one before its own options.
    """
    found: list[str] = []
    run: list[str] = []
    for match in _OPTION_LINE.finditer(prompt):
        letter, text = match.groups()
        if letter == "A":
            run = [text]
        elif run and len(run) < len(LETTERS) and letter == LETTERS[len(run)]:
            run.append(text)
        else:
            run = []
        if len(run) >= 2:
            found = run
    return list(found)
