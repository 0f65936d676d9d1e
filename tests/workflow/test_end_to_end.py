"""The real pipeline on the real small models: every stage, then nothing to do, then a second model."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest

from tests.workflow.workflow_copy import ROOT, Workflow
from workflow_scripts.artifacts.answers import EDITED_ANSWERS
from workflow_scripts.artifacts.measurements import ALIGNMENT, read_measurements
from workflow_scripts.artifacts.questions import QUESTIONS
from workflow_scripts.artifacts.tables import read_table, select
from workflow_scripts.artifacts.utterances import UTTERANCES
from workflow_scripts.figures.table import FIGURES
from workflow_scripts.planning.results import TABLES
from workflow_scripts.scoring.text_normalisation import normalise_words

pytestmark = [pytest.mark.real, pytest.mark.timeout(1800), pytest.mark.xdist_group("real")]
STUDY = ("--configfile", "tiny.yaml", "--cores", "2")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, fetched_resources):
    workflow = Workflow(tmp_path_factory.mktemp("study"))
    (workflow.folder / "tiny.yaml").write_text(Path(__file__).with_name("tiny.yaml").read_text())
    os.symlink(fetched_resources, workflow.folder / "resources")
    records = [str(path.relative_to(fetched_resources.parent)) for path in fetched_resources.glob("*/asset.json")]
    workflow.run(*records, "--touch", *STUDY)
    workflow.run("all", *STUDY)
    return workflow


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="tests run in one process")
def test_the_runner_keeps_a_group_on_one_worker(request):
    assert request.node.nodeid.endswith("@real"), "xdist_group has no effect: check the pins of pytest and pytest-xdist"


def test_every_stage_left_its_files(finished):
    results = finished.folder / "results"
    assert (results / "report/index.html").stat().st_size > 100_000
    manifest = json.loads((results / "report/manifest.json").read_text())
    for extension in ("pdf", "svg", "png"):
        assert {path.stem for path in (results / "figures").glob(f"*.{extension}")} == {
            name for name, figure in FIGURES.items() if figure.is_drawn(manifest["sha256"])
        }
    assert {path.stem for path in (results / "tables").glob("*.tex")} == set(TABLES)
    kept = {path.name for path in (results / "activations").rglob("*.h5")}
    assert kept == {"responses.h5", "00-of-01.readings.h5"}, "states are temporary"
    assert manifest["schema"] == "manifest/1"
    assert set(manifest["wall_seconds"]) >= {"speech", "training", "evaluation", "alignment"}


def test_training_prompts_are_disjoint_from_benchmark_questions(finished):
    folder = finished.folder / "results/benchmark"
    texts = {
        path.parent.name: {normalise_words(question.prompt) for question in QUESTIONS.read(path)}
        for path in folder.glob("*/questions.jsonl")
    }
    training = texts.pop("instructions")
    assert len(texts) == 5
    assert all(not training & benchmark for benchmark in texts.values())


def test_speech_is_understood_by_the_recogniser(finished):
    rows = UTTERANCES.read(finished.folder / "results/speech/heart/nq/manifest.jsonl")
    assert sum(row.wer for row in rows) / len(rows) < 0.35
    assert all(row.kept and row.sample_rate == 16_000 for row in rows)


def test_paths_are_scored_against_the_times_of_the_words(finished):
    checkpoints = select(
        read_table(finished.folder / "results/correlation/checkpoints.csv", "checkpoints"), subset="nq"
    )
    wide = {key: checkpoints.pivot(index="checkpoint", columns="measure", values=key) for key in ("value", "n")}
    values, counts = wide["value"], wide["n"]
    assert len(values) == 2
    assert (counts["time_error_ms_cosine"] == counts["path_score_cosine"]).all() and (values["timed_share"] > 0.7).all()
    assert values["time_error_ms_proportional"].between(0, values["time_error_ms_uniform"], inclusive="neither").all()
    assert values["hit_rate_uniform"].between(0, values["hit_rate_proportional"], inclusive="neither").all()


def test_gap_table_has_every_checkpoint_and_the_untuned_backbone(finished):
    scores = select(read_table(finished.folder / "results/evaluation/gap.csv", "gap"), measure="score")
    wide = scores.pivot(index=["model", "checkpoint", "subset"], columns="form", values="value")
    overall = wide.xs("overall", level="subset")
    start, base = ("smollm2-lora", "step-000000"), ("smollm2-135m-instruct", "base")
    assert set(overall.index) == {start, ("smollm2-lora", "step-000003"), base}
    texts = overall["text"]
    assert texts[start] == pytest.approx(texts[base]), "at step 0 the language model is untouched"
    heard = wide.dropna(subset="speech")
    assert heard["gap"].to_numpy() == pytest.approx((heard["text"] - heard["speech"]).to_numpy(), abs=1e-3)


def test_no_op_edit_reproduces_the_unedited_answers_token_for_token(finished):
    [path] = (finished.folder / "results/intervention").rglob("*.answers.jsonl")
    by_edit: dict[str, dict[str, list[int]]] = {}
    for row in EDITED_ANSWERS.read(path):
        by_edit.setdefault(row.edit, {})[row.id] = row.token_ids
    assert {"none", "text", "no_op", "angle_all", "length_all", "angle_all_random_direction", "angle_sweep@20"} <= set(
        by_edit
    )
    assert not {edit for edit in by_edit if "bottom3" in edit}, "controls go with the edit that the study removes"
    assert by_edit["no_op"] == by_edit["none"]


def test_every_switch_has_its_default_and_a_value(finished):
    rows = read_table(finished.folder / "results/tables/sensitivity.csv", "sensitivity")
    assert {"speech span", "template", "last state", "text span", "layers"} <= set(rows["switch"])
    assert rows["value"].notna().all() and (rows["n"] > 0).all()
    wider = rows[rows["reading"].isin(["with the padding of the window", "both with template"])]
    wider = select(wider, score="APS cosine")
    assert (wider["difference"] > 0).all(), "more positions to choose from, and a shared template"


def test_second_run_has_nothing_to_do(finished):
    assert finished.job_counts(*STUDY) == {}


def test_snakemake_builds_its_own_report(finished):
    finished.run("--report", "report.html", *STUDY)
    page = (finished.folder / "report.html").read_text(encoding="utf-8")
    assert "Alignment" in page and "Similarity" in page
    assert re.search(r"token_matrix", page)
    assert "Debiased linear CKA over questions between every speech layer" in page, "captions come from the table"


def test_chosen_layers_are_dumped_and_measured_alone(finished):
    """Last in this file: it overwrites one checkpoint's measurements."""
    (finished.folder / "layers.yaml").write_text("activations: {layers: [0, 12]}")
    target = "results/alignment/smollm2-lora/step-000003/nq/00-of-01.h5"
    every = read_measurements(finished.folder / target, ALIGNMENT)
    finished.run(target, "--configfile", "tiny.yaml", "layers.yaml", "--cores", "2")
    chosen = read_measurements(finished.folder / target, ALIGNMENT)
    assert json.loads(chosen.attributes["layers"]) == [0, 12]
    for name, measure in chosen.measures.items():
        found, expected = measure.raw[:, [0, 12]], every.measures[name].raw[:, [0, 12]]
        # The forward pass ends at layer 12: the same states but for rounding, which moves a few ties of a path.
        assert np.isclose(found, expected, rtol=0.05, atol=0.05, equal_nan=True).mean() > 0.8, name
        assert np.isnan(np.delete(measure.raw, [0, 12], axis=1)).all(), name


def test_the_notebook_runs_on_the_finished_study_and_makes_nothing(finished):
    cells = nbformat.read(ROOT / "examples/notebook.ipynb", 4).cells
    program = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    environment = os.environ | {"STUDY": "tiny.yaml", "MPLBACKEND": "Agg"}
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=finished.folder, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert "Nothing to be done" in run.stderr or "rule " not in run.stderr
