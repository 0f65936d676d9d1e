"""The committed reference study: files are copied, and the page's numbers are those of the tables."""

import json
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from tests.made_results import write_made_tables
from tests.made_samples import write_made_manifest
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.tables import last_checkpoints, read_table, select
from workflow_scripts.figures.table import FIGURES
from workflow_scripts.measures.labels import label
from workflow_scripts.report.numbers import fixed, with_interval
from workflow_scripts.report.write_reference import FOLDERS, TABLES, write_reference


@pytest.fixture
def results(tmp_path):
    """A finished run of made-up tables, with empty figures."""
    made = write_made_tables(tmp_path / "made", ("lora", "full"))
    results = tmp_path / "results"
    for name in TABLES:
        target = results / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(made.table(target.stem), target)
    for model, curve in zip(made.models, made.logs):
        (results / "training" / model).mkdir(parents=True)
        shutil.copy2(curve, results / "training" / model / "log.csv")
    for folder in ("tables", "figures", "report"):
        (results / folder).mkdir(exist_ok=True)
    shutil.copy2(made.table("lens"), results / "correlation/lens.csv")
    (results / "tables" / "table2_gap.csv").write_text("a\n1\n")
    for name in FIGURES:
        Image.new("RGB", (8, 8), "white").save(results / "figures" / f"{name}.png")
    manifest = write_made_manifest(results / "report" / "manifest.json")
    content = json.loads(manifest.read_text())
    for name in map(Path, content["sha256"]):
        if name.parent.name in FOLDERS and not (tmp_path / name).exists():
            (tmp_path / name.parent).mkdir(exist_ok=True)
            shutil.copy2(made.table(name.stem), tmp_path / name)
    content["sha256"] |= {str(path.relative_to(tmp_path)): "ab" * 32 for path in results.rglob("*.csv")}
    content["settings"] |= {"models": {model: {} for model in made.models}}
    manifest.write_text(json.dumps(content))
    return results


def test_page_holds_every_models_last_gap_and_every_edit(results, tmp_path):
    write_reference(results, tmp_path / "target", FIGURES)
    page = (tmp_path / "target" / "README.md").read_text()
    gaps = select(last_checkpoints(read_table(results / "evaluation/gap.csv", "gap")), subset="overall", form="gap")
    for gap in select(gaps, measure="score")["value"]:
        assert f"{fixed(gap, 1)} [" in page
    tests = select(read_table(results / "intervention/tests.csv", "tests"), against="none")
    for row in tests.itertuples():
        assert f"| {row.model} | {row.edit} | {row.n} | {row.b} | {row.c} |" in page


def test_page_holds_every_score_of_every_checkpoint_with_its_interval(results, tmp_path):
    write_reference(results, tmp_path / "target", FIGURES)
    page = (tmp_path / "target" / "README.md").read_text().splitlines()
    scores = select(read_table(results / "evaluation/gap.csv", "gap"), measure="score")
    assert len(set(scores["checkpoint"])) > 2
    for row in scores.itertuples():
        (line,) = (line for line in page if line.startswith(f"| {row.subset} | {row.model} | {row.checkpoint} | "))
        assert f" {with_interval(row.value, row.low, row.high)} " in line and f"| {row.n} |" in line


@pytest.mark.parametrize("content", ["null", "[]", "{}", '{"schema": "manifest/1"}'])
def test_a_manifest_that_is_none_is_named(results, tmp_path, content):
    (results / "report/manifest.json").write_text(content)
    with pytest.raises(ArtifactError, match=r"report/manifest\.json: (no manifest|settings, .* missing)"):
        write_reference(results, tmp_path / "target", FIGURES)


def test_a_figure_of_tables_that_the_study_does_not_make_is_left_out(results, tmp_path):
    path = results / "report" / "manifest.json"
    content = json.loads(path.read_text())
    del content["sha256"]["results/patching/patching.csv"]
    path.write_text(json.dumps(content))
    (results / "figures" / "patching.png").unlink()
    write_reference(results, tmp_path / "target", FIGURES)
    assert "(figures/patching.png)" not in (tmp_path / "target" / "README.md").read_text()
    copied = {one.name for one in (tmp_path / "target" / "tables").iterdir()}
    assert "patching.csv" not in copied and {"patching_profiles.csv", "probes.csv"} <= copied


def test_tables_of_another_study_in_the_folder_are_not_copied(results, tmp_path):
    (results / "training" / "of-another-study").mkdir()
    shutil.copy2(results / "training/lora/log.csv", results / "training/of-another-study/log.csv")
    shutil.copy2(results / "tables/claims.csv", results / "tables/of_another_study.csv")
    write_reference(results, tmp_path / "target", FIGURES)
    copied = {one.name for one in (tmp_path / "target" / "tables").iterdir()}
    assert {name for name in copied if name.startswith("training_")} == {"training_lora.csv", "training_full.csv"}
    assert "of_another_study.csv" not in copied


def test_controls_follow_the_edit_that_they_are_for(results, tmp_path):
    write_reference(results, tmp_path / "target", FIGURES)
    page = (tmp_path / "target" / "README.md").read_text().splitlines()
    rows = select(read_table(results / "intervention/tests.csv", "tests"), against="none").to_dict("records")
    place = {
        (row["model"], row["edit"]): next(
            number for number, line in enumerate(page) if line.startswith(f"| {row['model']} | {row['edit']} | ")
        )
        for row in rows
    }
    controls = [row for row in rows if row["kind"] == "control"]
    assert controls
    for row in controls:
        first, last = place[row["model"], row["of"]], place[row["model"], row["edit"]]
        between = [other for other in rows if first < place[other["model"], other["edit"]] < last]
        assert first < last and all(other["of"] == row["of"] for other in between)


def test_every_claim_stands_with_its_verdict(results, tmp_path):
    write_reference(results, tmp_path / "target", FIGURES)
    page = (tmp_path / "target" / "README.md").read_text()
    claims = read_table(results / "tables/claims.csv", "claims")
    assert len(claims) > 8
    for row in claims.itertuples():
        assert any(
            line.startswith(f"| {row.claim} | {label(row.measure)} | {row.statistic} |")
            and line.endswith(f"| {row.verdict} |")
            for line in page.splitlines()
        )


def test_of_a_table_too_large_for_git_the_last_checkpoints_are_copied_or_nothing_and_it_is_named(
    results, tmp_path, monkeypatch
):
    monkeypatch.setattr("workflow_scripts.report.write_reference.MAX_TABLE_BYTES", 30_000)
    messages = write_reference(results, tmp_path / "target", FIGURES)
    tables = tmp_path / "target/tables"
    assert [path.stat().st_size for path in tables.iterdir() if path.stat().st_size > 30_000] == []
    whole = read_table(results / "evaluation/gap.csv", "gap")
    assert read_table(tables / "gap.csv", "gap").equals(last_checkpoints(whole).reset_index(drop=True))
    assert not (tables / "layers.csv").exists()
    named = (tmp_path / "target/README.md").read_text().partition("## Tables not copied whole")[2]
    for name in ("gap.csv", "layers.csv"):
        assert f"`{name}`" in named
        assert any(name in message and "larger than 30 kB" in message for message in messages)


def test_everything_a_paper_would_quote_is_copied_and_linked(results, tmp_path):
    target = tmp_path / "target"
    write_reference(results, target, FIGURES)
    copied = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert {f"figures/{name}.png" for name in FIGURES} <= copied
    named = ("gap.csv", "training_lora.csv", "table2_gap.csv", "lens.csv")
    assert {"manifest.json", *(f"tables/{name}" for name in named)} <= copied
    page = (target / "README.md").read_text()
    assert all(f"(figures/{name}.png)" in page for name in FIGURES)


@pytest.mark.parametrize(
    ("study", "title", "command"),
    [
        (None, "# Reference study", "`make all`"),
        ("studies/distill.yaml", "# Reference study: distill", "`make all STUDY=studies/distill.yaml`"),
    ],
)
def test_page_says_which_study_was_run_and_how_many_models(results, tmp_path, study, title, command):
    write_reference(results, tmp_path / "target", FIGURES, study)
    page = (tmp_path / "target" / "README.md").read_text()
    assert page.splitlines()[0] == title
    text = " ".join(page.split())
    assert f"One run of {command}," in text
    assert "2 models, 1 backbone, 1 seed, one synthetic voice:" in text


def test_lines_of_the_source_are_even(results, tmp_path):
    write_reference(results, tmp_path / "target", FIGURES)
    lines = (tmp_path / "target" / "README.md").read_text().splitlines()
    prose = [line for line in lines if not line.startswith(("|", "!", "#"))]
    assert max(map(len, prose)) <= 120
    # A line ends where the next word would not have fitted, not where a string of the code ended.
    for line, following in pairwise(prose):
        if line and following and not following.startswith("- "):
            assert len(line) + 1 + len(following.split()[0]) > 120


def test_recorded_questions_are_no_synthetic_voice(results, tmp_path):
    path = results / "report/manifest.json"
    content = json.loads(path.read_text())
    content["settings"]["speech"] = {"voice": "theirs", "voices": {"theirs": {"engine": "recorded"}}}
    path.write_text(json.dumps(content))
    write_reference(results, tmp_path / "target", FIGURES)
    assert "recorded questions: read" in " ".join((tmp_path / "target" / "README.md").read_text().split())


def test_files_of_an_earlier_run_do_not_stay(results, tmp_path):
    stale = tmp_path / "target" / "tables" / "training_gone.csv"
    stale.parent.mkdir(parents=True)
    stale.write_text("old")
    write_reference(results, tmp_path / "target", FIGURES)
    assert not stale.exists()


def test_unfinished_run_is_named(results, tmp_path):
    (results / "correlation/regression.csv").unlink()
    with pytest.raises(ArtifactError, match=r"regression\.csv: not found"):
        write_reference(results, tmp_path / "target", FIGURES)
