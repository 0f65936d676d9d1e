"""The claim on erased words: planted losses are read as planted, and an erasure that failed refutes nothing."""

import pandas as pd
import pytest

from workflow_scripts.artifacts.tables import TABLES, typed
from workflow_scripts.correlation.judge_claims import erasure_claims


def judged(cost, after=0.02, runs=("a", "b", "c"), **changed):
    """Three runs, two layers: `cost` against the random subspace, ten times as much against the unedited answers."""
    rows = []
    for run in runs:
        for layer in (0, 14):
            edit, own = f"erase@{layer}", cost + 0.01 * (ord(run) - ord("b")) + 0.05 * (layer - 7)
            one = {"model": run, "edit": edit, "kind": "edit", "operation": "erase", "n": 40, "edited_mean": 9.0}
            one |= {"r2_before": 0.4, "r2_after": after} | changed
            rows += [one | {"against": "none", "nll_change": 10 * own}]
            rows += [one | {"against": f"erase_random@{layer}", "nll_change": own}]
            rows += [one | {"against": f"erase_frames@{layer}", "nll_change": -own}]
            for control in ("random_subspace", "random_frames"):
                name = f"erase_{control.removesuffix('_subspace').replace('random_frames', 'frames')}@{layer}"
                rows.append({"model": run, "edit": name, "kind": "control", "control": control, "against": "none"})
        rows.append({"model": run, "edit": "angle", "kind": "edit", "operation": "angle", "nll_change": -9.0})
    [row] = erasure_claims(typed(pd.DataFrame(rows), TABLES["tests"]))
    return row


def test_a_loss_beyond_that_of_a_random_subspace_is_found():
    row = judged(0.2)
    assert (row["verdict"], row["n_runs"], row["n"]) == ("supported", 3, 120)
    assert row["estimate"] == pytest.approx(0.2) and 0.15 < row["low"] < 0.2 < row["high"] < 0.25
    assert row["note"] == "R2 of a linear reader of the words 0.400 before, 0.020 after"


@pytest.mark.parametrize("cost", [0.0, -0.2])
def test_no_more_loss_than_that_is_none_where_the_words_are_gone_and_says_nothing_where_they_are_not(cost):
    assert judged(cost)["verdict"] == "not supported"
    assert judged(cost, after=0.3)["verdict"] == "underpowered"
    assert judged(0.2, after=0.3)["verdict"] == "supported"


def test_two_runs_and_runs_in_which_nothing_was_erased_are_too_few():
    assert judged(0.2, runs=("a", "b"))["verdict"] == "underpowered"
    row = judged(0.2, edited_mean=0.0)
    assert (row["verdict"], row["n_runs"]) == ("underpowered", 0) and "note" not in row
