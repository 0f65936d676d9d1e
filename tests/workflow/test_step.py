"""A step by hand: the job that makes a file, with the `snakemake` object that a real run gives to its script."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from workflow_scripts.step import job_of

ROOT = Path(__file__).parents[2]
SNAKEFILE = """
configfile: "config.yaml"

rule all:
    input: "out/a.2.json"

rule text:
    output: "in/{name}.txt"
    shell: "echo {wildcards.name} > {output}"

rule step:
    input: first="in/{name}.txt", several=["in/x.txt", "in/y.txt"]
    output: found="out/{name}.{n}.json", second="out/{name}.{n}.copy"
    log: "logs/{name}.{n}.log"
    threads: 2
    resources: mem_mb=70
    params:
        nested=config["nested"],
        computed=lambda wildcards, input, threads: [int(wildcards.n) + 1, len(input.several), threads],
    script: "step.py"
"""
SCRIPT = """
import json
from pathlib import Path

def value_of_everything(s):
    named = {
        name: [list(getattr(s, name)), dict(getattr(s, name).items())]
        for name in ("input", "output", "params", "wildcards", "log")
    }
    return named | {"threads": s.threads, "mem_mb": s.resources.mem_mb, "rule": s.rule, "type": str(type(s))}

if __name__ == "__main__":
    for path in snakemake.output:
        Path(path).write_text(json.dumps(value_of_everything(snakemake)))
"""


@pytest.fixture
def workflow(tmp_path, monkeypatch) -> Path:
    """A small workflow in the working directory, with a config file and another to add."""
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    (tmp_path / "step.py").write_text(SCRIPT)
    (tmp_path / "config.yaml").write_text("nested: {a: 1, b: [x, null, 0.5]}\n")
    (tmp_path / "more.yaml").write_text("nested: {a: 2}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _snakemake(*arguments: str) -> None:
    command = [sys.executable, "-m", "snakemake", "--cores", "4", *arguments]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_the_object_is_the_one_that_a_script_gets_from_a_real_run(workflow):
    _snakemake("out/a.2.json", "--configfile", "more.yaml")
    real = Path("out/a.2.json").read_text()
    job = job_of("out/a.2.copy", ["more.yaml"])
    assert json.loads(real)["params"][1] == {"nested": {"a": 2, "b": ["x", None, 0.5]}, "computed": [3, 2, 2]}
    Path("out/a.2.json").unlink()
    job.run()
    assert Path("out/a.2.json").read_text() == real


def test_planning_changes_no_file_and_leaves_the_working_directory_as_it_is(workflow):
    _snakemake("out/a.2.json")
    before = {path: path.stat().st_mtime_ns for path in workflow.rglob("*") if ".snakemake" not in path.parts}
    job_of("out/a.2.json")
    after = {path: path.stat().st_mtime_ns for path in workflow.rglob("*") if ".snakemake" not in path.parts}
    assert before == after and Path.cwd() == workflow
    assert not list((workflow / ".snakemake" / "locks").iterdir())


def test_missing_input_is_named_with_the_command_that_makes_it(workflow):
    job = job_of("out/a.2.json")
    assert job.missing == ["in/a.txt", "in/x.txt", "in/y.txt"]
    with pytest.raises(FileNotFoundError, match=r"in/a\.txt in/x\.txt in/y\.txt; make it: snakemake --cores all"):
        job.run()


@pytest.mark.parametrize("file", ["out/nothing.txt", "in/a.txt"])
def test_a_file_that_no_step_makes_is_refused_by_name(workflow, file):
    with pytest.raises(ValueError, match=file):
        job_of(file)


def test_a_session_holds_the_object_and_the_names_of_the_module():
    """The real workflow: its scripts are modules of the package."""
    typed = "print('got', snakemake.output.gap, build_gap_table.__module__, job.rule)\n"
    command = [sys.executable, "-m", "workflow_scripts.step", "results/evaluation/gap.csv"]
    environment = os.environ | {"PYTHONPATH": ""}
    run = subprocess.run(command, cwd=ROOT, input=typed, capture_output=True, text=True, env=environment)
    assert "got results/evaluation/gap.csv workflow_scripts.evaluation.build_gap_table build_gap_table" in run.stdout
    assert "rule build_gap_table: workflow_scripts/evaluation/build_gap_table.py" in run.stdout + run.stderr
