"""The rules of the verdicts, case by case."""

import pytest

from workflow_scripts.intervention.verdicts import PairedResult, edit_verdict

CLEAR, AGAINST = PairedResult(20, 1, 0.001), PairedResult(1, 20, 0.001)
DULL, FEW = PairedResult(12, 9, 1.0), PairedResult(4, 1, 1.0)


@pytest.mark.parametrize(
    ("baseline", "controls", "expected"),
    [
        (CLEAR, [CLEAR, CLEAR], "helps"),
        (AGAINST, [AGAINST], "hurts"),
        (CLEAR, [], "no evidence"),
        (AGAINST, [], "no evidence"),
        (CLEAR, [CLEAR, DULL], "no evidence"),
        (CLEAR, [CLEAR, FEW], "underpowered"),
        (CLEAR, [FEW, DULL], "no evidence"),
        (CLEAR, [AGAINST], "no evidence"),
        (AGAINST, [CLEAR], "no evidence"),
        (FEW, [FEW], "underpowered"),
        (FEW, [CLEAR], "underpowered"),
        (FEW, [], "underpowered"),
        (DULL, [CLEAR], "no evidence"),
        (PairedResult(0, 0, 1.0), [PairedResult(0, 0, 1.0)], "underpowered"),
        (PairedResult(6, 0, 0.05), [CLEAR], "underpowered"),
    ],
)
def test_rule(baseline, controls, expected):
    assert edit_verdict(baseline, controls, fewest=11) == expected


def test_the_limit_of_fewest_is_exact():
    blocked = PairedResult(8, 3, 1.0)
    assert edit_verdict(CLEAR, [blocked], fewest=12) == "underpowered"
    assert edit_verdict(CLEAR, [blocked], fewest=11) == "no evidence"
