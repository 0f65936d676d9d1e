"""Verdicts on edits, by stated rules: an edit must beat the unedited answers and each of its matched controls (ours).

An angle edit writes directions of the written question into the prompt, and any change of that size may move answers.
So a verdict rests on several tests: the edit against unedited speech, and against each control. With p by exact McNemar
and Holm's correction over all tests on which a verdict of the table rests:

- `helps`: the edit has at least one control, and every test has p_holm < .05 with more answers turned right than wrong.
- `hurts`: the same with more turned wrong: it does more harm than changes of its size elsewhere.
- `underpowered`: neither, and every unresolved test had too few discordant answers to reach p_holm < .05 even if all
  had gone one way (fewest_discordant for the number of tests).
- `no evidence`: otherwise; some test could have decided and did not. So is an edit without controls.
"""

from collections.abc import Sequence
from dataclasses import dataclass

ALPHA = 0.05
HELPS, HURTS, NONE, UNDERPOWERED = "helps", "hurts", "no evidence", "underpowered"


@dataclass(frozen=True)
class PairedResult:
    """One test of an edit: b answers right only with the edit, c right only without it (or with the control)."""

    b: int
    c: int
    p_holm: float


def edit_verdict(baseline: PairedResult, controls: Sequence[PairedResult], fewest: int) -> str:
    """The verdict of the module docstring; `fewest` discordant answers are needed to reach p_holm < .05."""
    tests = [baseline, *controls]
    for verdict, sign in ((HELPS, 1), (HURTS, -1)):
        if controls and all(_shows(test, sign) for test in tests):
            return verdict
    direction = 1 if baseline.b >= baseline.c else -1
    unresolved = [test for test in tests if not _shows(test, direction)]
    if unresolved and all(test.b + test.c < fewest for test in unresolved):
        return UNDERPOWERED
    return NONE


def _shows(test: PairedResult, sign: int) -> bool:
    return test.p_holm < ALPHA and sign * (test.b - test.c) > 0
