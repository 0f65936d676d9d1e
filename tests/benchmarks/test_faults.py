"""Faults on purpose, in short: outcomes are told apart, and no fault tried here is silent, unclear or a crash."""

import os
import sys
from pathlib import Path

import pytest
import yaml

from benchmarks.faults import config, kills
from benchmarks.faults.damage import damages, restore
from benchmarks.faults.files import Kind, differing, try_kinds
from benchmarks.faults.outcomes import BAD, holds_word, outcome_of_error, show
from benchmarks.faults.running import build, run_apart, run_job
from benchmarks.faults.study import settings
from workflow_scripts.artifacts.files import read_json, write_text
from workflow_scripts.artifacts.records import Record, RecordFile
from workflow_scripts.artifacts.tables import NUMBER, TEXT, WHOLE, read_columns, write_columns
from workflow_scripts.settings import read_study
from workflow_scripts.step import Job

STEP = """
from pathlib import Path
from workflow_scripts.artifacts.logs import run_step
from workflow_scripts.artifacts.files import read_text, write_text

def copy(source, target):
    write_text(Path(target), read_text(Path(source), "the step before") + "more\\n")

if __name__ == "__main__":
    run_step(snakemake, lambda s: copy(s.input[0], s.output[0]))
"""


class Given:
    """What a step's script reads of `snakemake`."""

    def __init__(self, number: int):
        self.input, self.output, self.log = [f"results/{number}.txt"], [f"results/{number + 1}.txt"], []


def begin(folder: Path) -> None:
    write_text(folder / "results/0.txt", "start\n")


@pytest.fixture
def study(tmp_path) -> tuple[Path, Path, list[Job]]:
    """Four jobs in a chain: a folder in which they ran, a copy of it, and the jobs."""
    script = tmp_path / "step.py"
    script.write_text(STEP)
    jobs = [Job("copy", script, Given(number)) for number in range(4)]
    folder, pristine = tmp_path / "study", tmp_path / "pristine"
    for one in (folder, pristine):
        one.mkdir()
        begin(one)
        build(one, jobs)
    restore(folder, pristine)
    return folder, pristine, jobs


def test_no_bad_value_is_silent_unclear_or_a_traceback():
    name, files = "default", config.studies()["default"]
    tried = list(config.try_study(name, files, every=97))
    assert len(tried) > 100 and len(config.BAD_VALUES) >= 17
    assert not [fault for fault in tried if fault.outcome in BAD]


def test_the_small_study_is_valid_whatever_the_default_study_is(tmp_path):
    write_text(tmp_path / "faults.yaml", yaml.safe_dump(settings(tmp_path / "given"), sort_keys=False))
    found = read_study(config.ROOT, [str(tmp_path / "faults.yaml")])
    assert list(found.models) == ["tiny"] and list(found.training.recipes) == ["small"]


def test_a_value_that_is_taken_as_another_one_is_silent(monkeypatch):
    name, files = "default", config.studies()["default"]
    parse = config.parse_config
    monkeypatch.setattr(config, "BAD_VALUES", (7,))
    monkeypatch.setattr(config, "leaves", lambda _: [("seed",)])
    monkeypatch.setattr(config, "parse_config", lambda values, *_: parse({**values, "seed": 3}))
    assert [fault.outcome for fault in config.try_study(name, files)] == ["silent"]


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        ("ArtifactError: results/a.csv: cut off", "named"),
        ("ArtifactError: a file is cut off", "unclear"),
        ("KeyError: 'results/a.csv'", "traceback"),
        ("Traceback ValueError: results/a.csv", "traceback"),
        ("SIGSEGV: ", "traceback"),
    ],
)
def test_outcomes_of_errors_are_told_apart(message, outcome):
    assert outcome_of_error(message, ["results/a.csv"]) == outcome
    assert holds_word("a.seed: no", "seed") and not holds_word("a.seeds: no", "seed")


def test_every_damage_to_an_input_of_a_step_is_named_or_harmless(study, tmp_path):
    folder, pristine, jobs = study
    other = tmp_path / "other.txt"
    other.write_text("another one\n")
    kind = Kind("text", Path("results/2.txt"), (other,), lambda before: run_job(jobs[2], folder, before))
    tried = list(try_kinds([kind], folder, pristine))
    assert len(tried) >= 40
    assert not [fault for fault in tried if fault.outcome in BAD]
    assert {fault.outcome for fault in tried} == {"named", "harmless"}
    assert [fault.outcome for fault in tried if fault.what.endswith("touched")] == ["harmless"]


def test_a_step_that_hides_a_fault_is_found(study):
    folder, pristine, jobs = study
    jobs[2].script.write_text(
        STEP.replace(
            "run_step(snakemake, lambda s: copy(s.input[0], s.output[0]))",
            """
    s = snakemake
    Path(s.output[0]).write_bytes(Path(s.input[0]).read_bytes() + b"more\\n")""",
        )
    )
    kind = Kind("text", Path("results/2.txt"), (), lambda before: run_job(jobs[2], folder, before))
    assert "silent" in {fault.outcome for fault in try_kinds([kind], folder, pristine)}


class Line(Record):
    id: str
    number: float


LINES = RecordFile("lines/1", Line)
COLUMNS = {"name": TEXT, "n": WHOLE, "value": NUMBER}
FORMATS = {
    "lines.jsonl": (
        lambda path: LINES.write(path, [Line(id=f"q{n}", number=n / 3) for n in range(9)], {}),
        LINES.read,
    ),
    "table.csv": (
        lambda path: write_columns(path, [{"name": f"a{n}", "n": n, "value": n / 3} for n in range(9)], COLUMNS),
        lambda path: read_columns(path, COLUMNS),
    ),
    "facts.json": (
        lambda path: write_text(path, '{"a": [1, 2, {"b": "some text"}], "c": null}\n'),
        lambda path: read_json(path, "the step before"),
    ),
}


@pytest.mark.parametrize("name", FORMATS)
def test_readers_name_what_no_note_tells_them(tmp_path, name):
    """Without the note of the step that wrote it, a file is taken or named: nothing else."""
    write, read = FORMATS[name]
    folder, pristine = tmp_path / "study", tmp_path / "pristine"
    for one in (folder, pristine):
        write(one / "results" / name)
    restore(folder, pristine)

    def reader(before):
        def work() -> None:
            before()
            try:
                found = read(Path("results", name))
            except ValueError as error:
                sys.exit(f"{type(error).__name__}: {error}")
            Path("results/found.txt").write_text(str(found))

        return run_apart(work, folder)

    assert reader(lambda: None).status == 0
    (pristine / "results/found.txt").write_bytes((folder / "results/found.txt").read_bytes())
    restore(folder, pristine)
    tried = list(try_kinds([Kind(name, Path("results", name), (), reader)], folder, pristine, noted=False))
    assert len(tried) >= 40
    assert not [fault for fault in tried if fault.outcome in BAD]


def test_minutes_of_training_are_no_difference_of_a_page_and_losses_are(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    row = '<tr><td>Tiny</td><td class="number">2</td><td class="number">0.{}</td><td class="number">3.{}</td></tr>'
    for folder, minutes in ((one, 0), (other, 1)):
        write_text(folder / "results/index.html", f'<section id="training">{row.format(minutes, 48)}</section>')
    assert differing(one, other) == []
    write_text(other / "results/index.html", f'<section id="training">{row.format(1, 49)}</section>')
    assert differing(one, other) == [Path("results/index.html")]


def test_a_killed_study_ends_with_the_results_of_one_run(study):
    folder, pristine, jobs = study
    tried = list(kills.try_kills(folder, pristine, jobs, 6, mean_seconds=0.2, begin=begin))
    assert len(tried) >= 6
    assert {fault.outcome for fault in tried} == {"harmless"}


def test_a_step_whose_result_depends_on_what_a_kill_left_is_found(study):
    folder, pristine, jobs = study
    jobs[1].script.write_text(
        STEP.replace(
            "write_text(Path(target), ",
            'Path("results/left").open("a").write("x"); import time; time.sleep(0.2); '
            'write_text(Path(target), Path("results/left").read_text() + ',
        )
    )
    tried = list(kills.try_kills(folder, pristine, jobs, 6, mean_seconds=0.2, begin=begin))
    assert {fault.outcome for fault in tried} == {"silent"}


def test_the_table_counts_and_a_bad_case_fails_the_run(capsys, tmp_path):
    good, bad = (config.Fault("files", "a", "cut", outcome) for outcome in ("named", "silent"))
    assert show([good, good], tmp_path / "all.jsonl") == 0
    assert len((tmp_path / "all.jsonl").read_text().splitlines()) == 2
    assert show([good, bad]) == 1
    assert "silent: a, cut" in capsys.readouterr().out


def test_damages_are_the_same_each_time_and_leave_nothing_behind(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("".join(f"row {n},{n * 0.5}\n" for n in range(30)))
    names = [[name for name, _ in damages(path)] for _ in range(2)]
    assert names[0] == names[1] and len(names[0]) >= 40 and len(set(names[0])) == len(names[0])
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "a.csv").write_bytes(path.read_bytes())
    work = tmp_path / "work"
    work.mkdir()
    for _, damage in damages(path):
        restore(work, kept, [Path("a.csv")])
        damage(work / "a.csv")
        restore(work, kept, [Path("a.csv")])
        assert [one.name for one in work.iterdir()] == ["a.csv"]
        assert (work / "a.csv").read_bytes() == path.read_bytes() and os.access(work / "a.csv", os.R_OK)
