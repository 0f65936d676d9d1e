"""points.csv and regression.csv: planted lines, the rival predictor, few runs, undefined regressions."""

import math

import numpy as np
import pandas as pd
import pytest

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.tables import read_table, select, write_table
from workflow_scripts.correlation.points import wide_points
from workflow_scripts.correlation.regress_gap import all_predictors, regress_gap, regression_row
from workflow_scripts.measures.registry import MEASURES, Measure

STEPS = (0, 100, 200, 400, 800)
FACTS = {
    "a": {"strategy": "lora", "backbone": "lm", "warmup": "ctc", "start": "lm ctc 0"},
    "b": {"strategy": "full", "backbone": "lm", "warmup": "ctc", "start": "lm ctc 1"},
    "c": {"strategy": "lora", "backbone": "other", "warmup": "none", "start": "other none 0"},
}


def tables(folder, models, gap_of, measures_of, steps=STEPS):
    """gap.csv and checkpoints.csv: `gap_of(model, step)` and `measures_of(model, step)` give values by name."""
    gaps, measured = [], []
    for model in models:
        for step in steps:
            key = {"model": model, "checkpoint": f"step-{step:06d}", "step": step}
            for name, value in gap_of(model, step).items():
                measure, form = ("loss", "gap") if name == "loss_gap" else ("score", name)
                row = key | {"form": form, "measure": measure, "n": 40}
                gaps += [row | {"subset": "overall", "value": value}, row | {"subset": "obqa", "value": -99.0}]
            for name, value in (dict.fromkeys(MEASURES, 0.5) | measures_of(model, step)).items():
                row = key | {"measure": name, "n": 30, "calibrated": 0.1}
                measured += [row | {"subset": "all", "value": value}, row | {"subset": "obqa", "value": 9.0}]
    gaps.append({"model": "lm", "checkpoint": "base", "subset": "overall", "form": "text", "measure": "score"})
    gap, checkpoints = folder / "gap.csv", folder / "checkpoints.csv"
    write_table(gap, gaps, "gap")
    write_table(checkpoints, measured, "checkpoints")
    return gap, checkpoints


def run(folder, files, models=("a", "b", "c")):
    points, regression = folder / "points.csv", folder / "regression.csv"
    comparisons = folder / "comparisons.csv"
    regress_gap(*files, points, regression, comparisons, models={name: FACTS[name] for name in models})
    return read_table(points, "points"), read_table(regression, "regression")


def pick(frame, **wanted):
    (row,) = select(frame, **wanted).to_dict("records")
    return row


def planted_line(folder, models=("a", "b", "c")):
    """gap = 40 - 50 cosine exactly, sim independent of the step; loss gap = sim / 2."""
    rng = np.random.default_rng(0)
    sim = {(model, step): round(float(rng.uniform()), 3) for model in models for step in STEPS}
    return tables(
        folder,
        models,
        lambda *key: {"gap": 40 - 50 * sim[key], "loss_gap": sim[key] / 2, "text": 60.0, "speech": 20.0},
        lambda *key: {"cosine": sim[key], "path_score_cosine": float(rng.normal())},
    )


def test_a_planted_line_is_recovered_in_every_pool(tmp_path):
    _, rows = run(tmp_path, planted_line(tmp_path))
    for pool, n, runs in (("pooled", 15, 3), ("trained", 12, 3), ("strategy:lora", 10, 2), ("model:b", 5, 1)):
        row = pick(rows, outcome="gap", predictor="cosine", pool=pool)
        assert (row["slope"], row["intercept"], row["r2"]) == pytest.approx((-50, 40, 1), abs=1e-4)
        assert (row["n_checkpoints"], row["n_runs"]) == (n, runs)
        assert row["partial_r2"] == pytest.approx(1)
    assert pick(rows, outcome="gap", predictor="cosine", pool="pooled")["q2"] == pytest.approx(1)
    loss = pick(rows, outcome="loss_gap", predictor="cosine", pool="pooled")
    assert (loss["slope"], loss["intercept"]) == pytest.approx((0.5, 0), abs=1e-6)


def test_a_measure_that_only_follows_training_time_adds_nothing_to_it():
    """Its R2 is high, but its mean partial R2 is that of noise: 1 / (residual degrees of freedom + 1) = 1 / 11."""
    rng = np.random.default_rng(1)
    offset = {"a": 0.0, "b": 5.0, "c": -5.0}
    found = []
    for _ in range(40):
        points = [
            {
                "model": model,
                "log_step": math.log1p(step),
                "gap": 40 - 3 * math.log1p(step) + shift + float(rng.normal(0, 0.5)),
                "cosine": 0.1 * math.log1p(step) + float(rng.normal(0, 0.02)),
            }
            for model, shift in offset.items()
            for step in STEPS
        ]
        found.append(regression_row("gap", "cosine", "pooled", pd.DataFrame(points)))
    assert np.mean([row["r2"] for row in found]) > 0.6
    assert np.mean([row["partial_r2"] for row in found]) == pytest.approx(1 / 11, abs=0.06)


def test_an_untrained_model_from_which_several_runs_start_is_one_point_of_every_pool(tmp_path, monkeypatch):
    """Planted: runs without any trend, and one untrained model far off, written down once for each of three runs."""
    rng = np.random.default_rng(3)
    facts = {name: FACTS["a"] | {"strategy": strategy} for name, strategy in zip("abc", ("adapter", "lora", "lora"))}
    own = {(model, step): rng.normal(size=2) for model in facts for step in STEPS}
    value = {key: np.array([9.0, -9.0]) if key[1] == 0 else pair for key, pair in own.items()}
    files = tables(
        tmp_path, facts, lambda *key: {"gap": value[key][0]}, lambda *key: {"path_score_cosine": value[key][1]}
    )

    def rows(facts):
        monkeypatch.setitem(globals(), "FACTS", facts)
        return *run(tmp_path, files, models=tuple(facts)), read_table(tmp_path / "comparisons.csv", "comparisons")

    points, fits, comparisons = rows(facts)
    assert len(wide_points(points)) == 15  # what was measured stays in the table
    chosen = {"outcome": "gap", "predictor": "path_score_cosine"}
    for pool, n, runs in (("pooled", 13, 3), ("trained", 12, 3), ("strategy:lora", 9, 2), ("model:c", 5, 1)):
        row = pick(fits, **chosen, pool=pool)
        assert (row["n_checkpoints"], row["n_runs"]) == (n, runs), pool
    once = np.array([pair for key, pair in value.items() if key[1] or key[0] == "a"]).T
    assert pick(fits, **chosen, pool="pooled")["r2"] == pytest.approx(np.corrcoef(once)[0, 1] ** 2, rel=1e-4)
    assert set(comparisons["n_checkpoints"]) <= {13, 0}
    # Three untrained models that differ are three points.
    other = rows({name: one | {"start": name} for name, one in facts.items()})[1]
    assert pick(other, **chosen, pool="pooled")["n_checkpoints"] == 15


def test_training_time_has_no_partial_r2_given_itself(tmp_path):
    _, rows = run(tmp_path, planted_line(tmp_path))
    assert select(rows, predictor="log_step")["partial_r2"].isna().all()


def test_an_unrelated_measure_has_no_predictive_value_for_new_runs(tmp_path):
    rng = np.random.default_rng(4)
    files = tables(tmp_path, FACTS, lambda *_: {"gap": float(rng.normal())}, lambda *_: {"cosine": float(rng.normal())})
    row = pick(run(tmp_path, files)[1], outcome="gap", predictor="cosine", pool="pooled")
    assert row["q2"] < 0.3
    assert row["slope_low"] < 0 < row["slope_high"]
    assert row["r2_low"] == 0


def test_few_runs_are_called_underpowered_and_get_no_validation(tmp_path):
    _, rows = run(tmp_path, planted_line(tmp_path, ("a", "b")), models=("a", "b"))
    pooled = pick(rows, outcome="gap", predictor="cosine", pool="pooled")
    assert pooled["note"] == "underpowered: 2 runs"
    assert np.isnan([pooled["q2"], pooled["r2_runs_low"]]).all()
    assert pick(rows, outcome="gap", predictor="cosine", pool="model:a")["note"] == "underpowered: 1 run"


def test_constant_or_missing_values_are_empty_with_a_reason(tmp_path):
    files = tables(tmp_path, FACTS, lambda _, step: {"gap": float(step)}, lambda *_: {})
    _, rows = run(tmp_path, files)
    constant = pick(rows, outcome="gap", predictor="path_score_cosine", pool="pooled")
    assert np.isnan([constant[name] for name in ("slope", "r2", "r2_low", "partial_r2")]).all()
    assert constant["note"] == "undefined: x is constant"
    missing = pick(rows, outcome="loss_gap", predictor="log_step", pool="pooled")
    assert (missing["n_checkpoints"], missing["n_runs"]) == (0, 0)
    assert missing["note"].startswith("undefined: 0 points, at least 3 needed")


@pytest.mark.parametrize("n", [0, 1, 2])
def test_fewer_than_three_points_never_crash(n):
    points = [
        {"model": "a", "log_step": float(k), "gap": float(k), "loss_gap": None, "cosine": float(k * k)}
        for k in range(n)
    ]
    frame = pd.DataFrame(points, columns=["model", "log_step", "gap", "loss_gap", "cosine"])
    row = regression_row("gap", "cosine", "pooled", frame)
    assert math.isnan(row["slope"])
    assert row["n_checkpoints"] == n
    assert "undefined" in row["note"]


def test_points_join_overall_gap_and_pooled_alignment(tmp_path):
    points, _ = run(tmp_path, planted_line(tmp_path))
    wide = wide_points(points)
    assert len(wide) == 15 and wide["step"].tolist()[:5] == list(STEPS)
    row = pick(wide, model="c", step=400)
    assert (row["strategy"], row["backbone"], row["warmup"]) == ("lora", "other", "none")
    assert row["log_step"] == pytest.approx(math.log(401), abs=1e-4)
    assert row["cosine"] < 1  # the subset's row holds 9.0
    assert row["gap"] == pytest.approx(40 - 50 * row["cosine"], abs=1e-3)
    assert row["cosine_calibrated"] == 0.1
    one = select(points, model="c", step=400)
    assert set(select(one, measure="gap")["n"]) == {40} and set(select(one, measure="cosine")["n"]) == {30}
    assert one["measure"].tolist()[:5] == ["text", "speech", "gap", "loss_gap", "log_step"]


def test_a_measure_that_is_added_to_the_registry_is_a_predictor(tmp_path, monkeypatch):
    monkeypatch.setitem(MEASURES, "toy", Measure("toy", "pair", len, True, True, "toy", "", "a toy"))
    files = tables(tmp_path, FACTS, lambda _, step: {"gap": 3.0 * step}, lambda _, step: {"toy": float(step)})
    points, rows = run(tmp_path, files)
    assert set(select(points, measure="toy", step=800)["value"]) == {800.0}
    assert pick(rows, outcome="gap", predictor="toy", pool="pooled")["slope"] == pytest.approx(3)
    monkeypatch.setitem(MEASURES, "toy", Measure("toy", "pair", len, True, True, "toy", "", "a toy", predictor=""))
    assert "toy" not in all_predictors()


def test_models_not_asked_for_are_left_out(tmp_path):
    points, rows = run(tmp_path, planted_line(tmp_path), models=("a",))
    assert set(points["model"]) == {"a"}
    assert set(rows["pool"]) == {"pooled", "trained", "strategy:lora", "model:a"}


def test_tables_do_not_depend_on_row_order(tmp_path):
    gap, checkpoints = planted_line(tmp_path)
    run(tmp_path, (gap, checkpoints))
    first = [(tmp_path / name).read_bytes() for name in ("points.csv", "regression.csv")]
    for path in (gap, checkpoints):
        header, *lines = path.read_text().splitlines()
        path.write_text("\n".join([header, *lines[::-1]]) + "\n")
    run(tmp_path, (gap, checkpoints))
    assert [(tmp_path / name).read_bytes() for name in ("points.csv", "regression.csv")] == first


def test_a_checkpoint_in_one_table_only_is_named_with_the_other_file(tmp_path):
    gap, checkpoints = planted_line(tmp_path)
    lines = [line for line in gap.read_text().splitlines() if not line.startswith("b,step-000200")]
    gap.write_text("\n".join(lines) + "\n")
    with pytest.raises(ArtifactError, match=r"gap\.csv: no row of \['b/step-000200'\]"):
        run(tmp_path, (gap, checkpoints))


def test_golden_row(tmp_path):
    """gap 4, 2, 3, 1 on sim 1, 2, 3, 4: slope -0.8, r = -0.8 by hand; Fisher interval of r2 = 0.64 at n = 4."""
    sim, gap = dict(zip(STEPS, (1.0, 2.0, 3.0, 4.0))), dict(zip(STEPS, (4.0, 2.0, 3.0, 1.0)))
    files = tables(
        tmp_path, ["a"], lambda _, step: {"gap": gap[step]}, lambda _, step: {"cosine": sim[step]}, STEPS[:4]
    )
    _, rows = run(tmp_path, files, models=("a",))
    assert len(rows) == (2 * len(all_predictors()) - 1) * 4  # loss_gap does not predict itself
    row = pick(rows, outcome="gap", predictor="cosine", pool="pooled")
    half = 4.302653 * math.sqrt(0.36 / 2 * 5 / 5)  # t(2) times sqrt(RSS / df / Sxx), RSS = 0.36 * 5
    assert (row["slope"], row["intercept"], row["r2"]) == pytest.approx((-0.8, 4.5, 0.64))
    assert (row["slope_low"], row["slope_high"]) == pytest.approx((-0.8 - half, -0.8 + half), rel=1e-4)
    assert (row["r2_low"], row["r2_high"]) == pytest.approx((0, math.tanh(math.atanh(0.8) + 1.959964) ** 2), rel=1e-4)
    assert row["p"] == pytest.approx(0.2, abs=1e-6)
