"""Bad input that is known while the workflow is parsed stops it before any job, and fetching comes first."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_model_that_stands_twice_stops_before_any_job(workflow):
    path = workflow.folder / "config.yaml"
    copied = re.search(r"^  smollm2-lora:\n(?:    .*\n)+", path.read_text(), flags=re.M)
    path.write_text(path.read_text().replace(copied[0], copied[0] * 2))
    run = workflow.run("all", "--cores", "1", check=False)
    assert run.returncode != 0
    assert "models.smollm2-lora: the key stands in lines" in run.stdout + run.stderr
    assert not (workflow.folder / "results").exists()


def test_fetching_has_priority_and_knows_the_backbones():
    rule = (ROOT / "rules" / "assets.smk").read_text()
    assert re.search(r"^    priority: 1$", rule, flags=re.M)
    assert "backbone=lambda wildcards: wildcards.asset in study.backbones" in rule
    others = [
        path.read_text() for path in (ROOT / "rules").glob("*.smk") if path.name not in ("assets.smk", "training.smk")
    ]
    assert not any("priority:" in text for text in others)


def test_a_finished_study_does_not_hide_a_config_that_cannot_be_made(workflow):
    path = workflow.folder / "config.yaml"
    text = path.read_text()
    for line, expected in (
        ("scoring: {official: gone, panda: null}", "has no src/evaluator"),
        ("scoring: {official: null, panda: null}\nseed: 1" + "0" * 23, "seed"),
    ):
        path.write_text(
            re.sub(
                r"^scoring: .*$",
                line,
                text.replace("seed: 2510\n", "" if "seed" in line else "seed: 2510\n"),
                flags=re.M,
            )
        )
        run = workflow.run("all", "--cores", "1", check=False)
        assert run.returncode != 0
        assert expected in run.stdout + run.stderr and "config.yaml, line" in run.stdout + run.stderr


def test_a_config_file_that_is_no_yaml_is_named_with_its_line(workflow):
    path = workflow.folder / "config.yaml"
    path.write_text(path.read_text() + "\tx: 1\n")
    run = workflow.run("all", "--cores", "1", check=False)
    assert run.returncode != 0
    assert re.search(r"config\.yaml, line \d+: not YAML: .*the line has a tab", run.stdout + run.stderr)


def test_an_environment_in_a_folder_with_a_space_is_refused_when_planning(workflow, tmp_path):
    spaced = tmp_path / "with space"
    spaced.symlink_to(sys.prefix)
    command = [str(spaced / "bin" / "python"), "-m", "snakemake", "all", "--dry-run"]
    run = subprocess.run(command, cwd=workflow.folder, capture_output=True, text=True)
    assert run.returncode != 0
    assert "make VENV=/path/without/spaces" in run.stdout + run.stderr


def test_a_job_that_cannot_fit_into_memory_is_refused_before_any_other_starts(workflow):
    run = workflow.run("all", "--cores", "1", "--resources", "mem_mb=2000", check=False)
    assert run.returncode != 0
    assert re.search(
        r"training \(smollm2-\w+: 134 million parameters\) needs \d\.\d GB of main memory, this machine has 2\.0",
        run.stdout + run.stderr,
    )
    assert "rule fetch_asset" not in run.stdout + run.stderr and not list(workflow.folder.rglob("asset.json"))
