"""Regression, figures, tables and page of studies with public models: alone, and beside a trained one."""

import csv
from pathlib import Path

import pytest

from tests.figures.test_figure_files import MAGIC, draw
from tests.made_results import STEPS, Made, write_made_tables
from tests.made_samples import write_made_manifest, write_made_samples
from tests.report.conftest import TEMPLATE, build_tables_of
from workflow_scripts.artifacts.tables import read_table
from workflow_scripts.correlation.regress_gap import RESPONSES, regress_gap
from workflow_scripts.figures.table import FIGURES
from workflow_scripts.report.build_report import build_report
from workflow_scripts.report.headline import headlines
from workflow_scripts.report.html_tables import NOTHING


def make_public(path: Path, public: str, keep_others: bool) -> None:
    """Rewrite a table: of model `public` the last step remains, as checkpoint `final` without a step."""
    with open(path, newline="") as source:
        reader = csv.DictReader(source)
        names, rows = reader.fieldnames, list(reader)
    last = f"step-{STEPS[-1]:06d}"
    kept = []
    for row in rows:
        if row["model"] != public:
            kept += [row] if keep_others else []
        elif row["checkpoint"] == last:
            kept.append(row | {"checkpoint": "final"} | ({"step": ""} if "step" in row else {}))
    with open(path, "w", newline="") as out:
        writer = csv.DictWriter(out, names)
        writer.writeheader()
        writer.writerows(kept)


@pytest.fixture(params=["alone", "beside"])
def study(request, tmp_path) -> tuple[Made, list[str]]:
    """A study of a public model, and the models that were trained in it."""
    made = write_made_tables(tmp_path, ("trained", "public"))
    beside = request.param == "beside"
    for name in ("gap", "decline", "layers", "checkpoints", "tests"):
        make_public(made.table(name), "public", beside)
    with open(made.table("decline"), newline="") as source:
        rows = [line for line in source if not line.startswith("public,")]  # its backbone is not known
    made.table("decline").write_text("".join(rows))
    facts = {"strategy": "public", "backbone": "unknown", "warmup": "unknown"}
    made.facts["public"] = facts
    if not beside:
        made.models, made.facts = ("public",), {"public": facts}
    tables = [made.table(name) for name in ("gap", "checkpoints", "points", "regression", "comparisons")]
    regress_gap(*tables, models=made.facts, draws=20, seed=0)
    return made, ["trained"] if beside else []


def test_public_models_are_no_points_of_the_regression_over_training(study):
    made, trained = study
    assert {row["model"] for row in read_table(made.table("points"))} == set(trained)
    for row in read_table(made.table("regression")):
        # Response measures are absent from these tables, so their rows rest on no run.
        assert row["n_runs"] == (0 if row["predictor"] in RESPONSES else len(trained)) and row["note"]


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_drawn(study, name):
    made, _ = study
    for kind, content in draw(name, made, made.folder).items():
        assert content.startswith(MAGIC[kind])


def test_tables_and_page_show_a_public_model(study):
    made, trained = study
    tables = build_tables_of(made)
    assert any(row["model"] in ("public", "First model") for row in read_table(tables["table2_gap_csv"]))
    files = write_made_samples(made, n=4)
    figure = made.folder / "layers.svg"
    figure.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    page = made.folder / "index.html"
    build_report(
        TEMPLATE,
        [figure],
        {"layers": {"title": "Layers", "caption": "By layer."}},
        [path for name, path in tables.items() if name.endswith("_csv")],
        [made.folder / "training" / model / "log.csv" for model in trained],
        write_made_manifest(made.folder / "manifest.json"),
        page,
        results={name: made.table(name) for name in ("gap", "decline", "regression", "checkpoints", "tests")},
        browser=vars(files),
        models=made.facts,
        trained=trained,
        subsets=list(made.subsets),
        samples=2,
        display={"title": "public", "models": {}},
    )
    assert '<th scope="col">public</th>' in page.read_text()
    read = [read_table(made.table(name)) for name in ("gap", "decline", "checkpoints")]
    values = {line.name: line.values[0] for line in headlines(["public"], *read)}
    assert values["GAP, Overall"].endswith("n = 156")
    assert values["GAP before training"] == NOTHING, "it was not trained here"
    assert "\N{RIGHTWARDS ARROW}" not in values["WER of repeating"]
