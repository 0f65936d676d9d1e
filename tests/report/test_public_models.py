"""Regression, figures, tables and page of studies with public models: alone, and beside a trained one."""

import pandas as pd
import pytest

from tests.figures.test_figure_files import MAGIC, draw
from tests.made_results import STEPS, Made, write_made_tables
from tests.report.conftest import build_page
from workflow_scripts.artifacts.tables import read_table, select, write_table
from workflow_scripts.correlation.judge_claims import judge_claims
from workflow_scripts.correlation.regress_gap import regress_gap
from workflow_scripts.figures.table import FIGURES
from workflow_scripts.report.headline import headlines
from workflow_scripts.report.numbers import NOTHING

PUBLIC = {"strategy": "public", "backbone": "unknown", "warmup": "unknown", "start": ""}


def make_public(made: Made, name: str, public: str, keep_others: bool) -> None:
    """Rewrite a table: of model `public` the last step remains, as checkpoint `final` without a step."""
    frame = read_table(made.table(name), name)
    last = select(frame, model=public, checkpoint=f"step-{STEPS[-1]:06d}").assign(checkpoint="final")
    if "step" in last:
        last = last.assign(step=pd.NA)
    others = frame[frame["model"] != public]
    write_table(made.table(name), pd.concat([others, last]) if keep_others else last, name)


@pytest.fixture(params=["alone", "beside"])
def study(request, tmp_path) -> tuple[Made, list[str]]:
    """A study of a public model, and the models that were trained in it."""
    made = write_made_tables(tmp_path, ("trained", "public"))
    beside = request.param == "beside"
    for name in ("gap", "decline", "layers", "checkpoints", "tests"):
        make_public(made, name, "public", beside)
    decline = read_table(made.table("decline"), "decline")
    write_table(made.table("decline"), decline[decline["model"] != "public"], "decline")  # its backbone is not known
    trained = ["trained"] if beside else []
    made.facts = {name: made.facts[name] for name in trained} | {"public": PUBLIC}
    made.models = tuple(made.facts)
    tables = [made.table(name) for name in ("gap", "checkpoints", "points", "regression", "comparisons")]
    regress_gap(*tables, models=made.facts)
    tables = [made.table(name) for name in ("layers", "checkpoints", "regression", "comparisons", "claims")]
    judge_claims(*tables, models=made.facts)
    return made, trained


def test_public_models_are_no_points_of_the_regression_over_training(study):
    made, trained = study
    assert set(read_table(made.table("points"), "points")["model"]) == set(trained)
    assert read_table(made.table("regression"), "regression")["n_runs"].max() == len(trained)


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_drawn(study, name):
    made, _ = study
    for kind, content in draw(name, made, made.folder).items():
        assert content.startswith(MAGIC[kind])


def test_tables_and_page_show_a_public_model(study, tmp_path):
    made, trained = study
    logs = [made.folder / "training" / model / "log.csv" for model in trained]
    page = build_page(tmp_path, made=made, trained=trained, logs=logs, display={"models": {}})
    assert '<th scope="col">public</th>' in page.text
    read = [read_table(made.table(name), name) for name in ("gap", "decline", "checkpoints")]
    values = {line.name: line.values[0] for line in headlines(["public"], *read)}
    assert values["GAP, Overall"].endswith("n = 156")
    assert values["GAP, first checkpoint"] == NOTHING, "it was not trained here"
    assert "\N{RIGHTWARDS ARROW}" not in values["WER of repeating"]
