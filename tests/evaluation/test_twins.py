"""twins.csv: what distillation changed, question by question."""

import numpy as np
import pytest

from tests.evaluation.score_files import build, row, write
from workflow_scripts.artifacts.tables import read_table, select

FORMS = ("text", "speech")


def pair(folder, with_, without):
    """Score files of `aligned` and its twin `plain`; each a dict form -> (scores, nats)."""
    return [
        write(folder, "a", form, scores[form][0], model=model, nll=[(nats, 1) for nats in scores[form][1]])
        for model, scores in (("aligned", with_), ("plain", without))
        for form in FORMS
    ]


def twins(folder, files, **changes):
    """`aligned2` and `plain2` are the pair of another seed."""
    repeats = {"aligned": "aligned", "aligned2": "aligned"}
    build(folder, files, **({"overall": ["a"], "knowledge": [], "backbones": {}, "repeats": repeats} | changes))
    return read_table(folder / "twins.csv", "twins")


def test_changes_are_those_of_the_model_with_the_loss_minus_its_twin(tmp_path):
    with_ = {"text": ([1, 0, 0, 0], [2, 2, 2, 2]), "speech": ([1, 0, 0, 0], [3, 3, 3, 3])}
    without = {"text": ([1, 1, 0, 0], [1, 1, 1, 1]), "speech": ([0, 0, 0, 0], [5, 5, 5, 5])}
    rows = twins(tmp_path, pair(tmp_path, with_, without), twins={"aligned": "plain"})
    found = select(rows, subset="overall").set_index("quantity")["change"].to_dict()
    assert found == {"text": -25, "speech": 25, "gap": -50, "loss_text": 1, "loss_speech": -2, "loss_gap": -3}
    gap = row(rows, subset="a", quantity="gap")
    assert (gap["model"], gap["twin"], gap["step"], gap["n"]) == ("aligned", "plain", 400, 4)
    assert (gap["with"], gap["without"]) == (0, 50)
    assert gap["change_low"] < -50 < gap["change_high"]


def test_what_both_runs_share_is_no_uncertainty(tmp_path):
    """Every loss falls by half a nat, whatever it is: no spread, and so no interval."""
    nats = [1.0, 2.0, 3.0, 7.0]
    without = {"text": ([1, 0, 1, 0], nats), "speech": ([1, 0, 0, 0], nats)}
    with_ = without | {"speech": ([1, 0, 0, 0], [value - 0.5 for value in nats])}
    rows = twins(tmp_path, pair(tmp_path, with_, without), twins={"aligned": "plain"})
    found = row(rows, subset="a", quantity="loss_gap")
    assert found["change"] == pytest.approx(-0.5)
    assert np.isnan([found["change_low"], found["change_high"]]).all()
    same = row(rows, subset="a", quantity="text")
    assert same["change"] == 0 and same["change_low"] < 0 < same["change_high"], "no answer of four changed; others may"


def test_pairs_of_several_seeds_have_their_mean_with_an_interval_over_runs(tmp_path):
    """Changes of -1 and -3 nats: -2, and Student's interval of two runs (12.706 standard errors of 1)."""
    files = [
        write(tmp_path, "a", form, [1, 0, 1], model=model, nll=[(nats, 1)] * 3)
        for model, spoken in (("plain", 5.0), ("aligned", 4.0), ("plain2", 6.0), ("aligned2", 3.0))
        for form, nats in (("text", 1.0), ("speech", spoken))
    ]
    rows = twins(tmp_path, files, twins={"aligned": "plain", "aligned2": "plain2"})
    both = select(rows, subset="a", quantity="loss_gap").set_index("n_runs")
    assert both.loc[1, "change"].tolist() == [-1, -3]
    mean = both.loc[2]
    assert (mean["model"], mean["twin"]) == ("aligned", "plain")
    assert (mean["with"], mean["without"], mean["change"]) == (2.5, 4.5, -2)
    assert (mean["change_low"], mean["change_high"]) == pytest.approx((-2 - 12.706, -2 + 12.706), abs=1e-3)
    alone = twins(tmp_path, files, twins={"aligned": "plain"})
    assert set(alone["n_runs"]) == {1}


def test_losses_count_their_own_questions(tmp_path):
    files = [
        write(tmp_path, "a", form, [1, 0, 1], model=model, nll=[(1.0, 1), (2.0, 1), None])
        for model in ("aligned", "plain")
        for form in FORMS
    ]
    rows = twins(tmp_path, files, twins={"aligned": "plain"})
    found = select(rows, subset="overall").set_index("quantity")["n"].to_dict()
    assert found == {"text": 3, "speech": 3, "gap": 3, "loss_text": 2, "loss_speech": 2, "loss_gap": 2}


def test_models_without_a_twin_are_not_in_the_table(tmp_path):
    same = {form: ([1, 0], [1, 1]) for form in FORMS}
    assert twins(tmp_path, pair(tmp_path, same, same)).empty
    other_step = write(tmp_path, "a", "text", [1, 0], model="aligned", checkpoint="step-000010")
    rows = twins(tmp_path, [*pair(tmp_path, same, same), other_step], twins={"aligned": "plain"})
    assert set(rows["checkpoint"]) == {"step-000400"}
