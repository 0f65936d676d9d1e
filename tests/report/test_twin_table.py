"""The reference page's table on distillation."""

import pandas as pd

from workflow_scripts.artifacts.tables import TABLES, typed
from workflow_scripts.report.twin_table import twin_cells


def row(quantity, change, step=100, subset="overall", n_runs=1):
    keys = {"model": "aligned", "twin": "plain", "checkpoint": f"step-{step:06d}", "step": step, "subset": subset}
    return keys | {
        "n": 80,
        "n_runs": n_runs,
        "quantity": quantity,
        "with": 5.0,
        "without": 5.0 - change,
        "change": change,
        "change_low": change - 1,
        "change_high": change + 1,
    }


def points(model, calibrated, step=100):
    keys = {"model": model, "checkpoint": f"step-{step:06d}", "step": step}
    measures = {"path_score_cosine_calibrated": calibrated, "cosine_calibrated": 0.1, "kl_forgetting": None}
    return [keys | {"measure": name, "value": value} for name, value in measures.items()]


def table(rows, name):
    return typed(pd.DataFrame(rows, columns=list(TABLES[name])), TABLES[name])


def test_the_last_checkpoint_stands_beside_the_twin_with_its_paired_interval():
    twins = [row("gap", -9.0, step=50), row("gap", -2.0), row("text", 0.5, subset="a")]
    measured = [*points("aligned", 0.4), *points("plain", 0.25), *points("aligned", 0.9, step=50)]
    lines = twin_cells(table(twins, "twins"), table(measured, "points"))
    assert ["aligned", "plain", "GAP, Overall (points)", "5.00", "7.00", "−2.00 [−3.00, −1.00], n = 80"] in lines
    assert not any("Score on text" in line[2] or "9.00" in line[5] for line in lines)
    by_name = {line[2]: line[3:] for line in lines}
    assert by_name["APS, cosine, calibrated (0: chance, 1: equal)"] == ["0.400", "0.250", "0.150"]
    assert by_name["KL to the untuned model on text (forgetting)"] == ["–", "–", "–"]
    assert all(len(line) == 6 for line in lines)


def test_the_mean_over_seeds_is_called_so():
    twins = [row("loss_gap", -0.5), row("loss_gap", -0.3, n_runs=3)]
    names = [line[2] for line in twin_cells(table(twins, "twins"), table([], "points")) if "Loss gap" in line[2]]
    assert names == ["Loss gap (nats per token)", "Loss gap (nats per token), mean of 3 runs"]


def test_a_study_without_twins_has_no_such_section():
    assert twin_cells(table([], "twins"), table(points("plain", 0.2), "points")) == []
