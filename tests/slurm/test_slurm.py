"""The SLURM profile on a real one-node cluster: jobs run, and get what their rules ask for.

Runs as root where slurm-wlm is installed; with CI=true it is installed first where apt-get can do so.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.small_study import SMALL_STUDY
from workflow_scripts.settings.model_size import loading_bytes, model_size

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# One group with the real pipeline: side by side on two cores they slow each other, and SLURM's executor looks at a job
# ever less often (3, 13, 23 ... seconds) the longer none has ended.
pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1500), pytest.mark.xdist_group("real")]


@pytest.fixture(scope="module")
def study(tmp_path_factory, one_node, fetched_resources):
    """The workflow with verified assets linked in, a small config, and the committed profile with test pacing."""
    folder = tmp_path_factory.mktemp("study")
    for part in ("Snakefile", "rules", "workflow_scripts", "profiles", "envs", "report", "assets.yaml"):
        source = ROOT / part
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, folder / part)
    shutil.copy2(SMALL_STUDY, folder / "config.yaml")
    os.symlink(fetched_resources, folder / "resources")
    profile = folder / "profiles/slurm/profile.yaml"
    settings = yaml.safe_load(profile.read_text())
    settings |= {"slurm-init-seconds-before-status-checks": 3, "latency-wait": 10, "slurm-keep-successful-logs": True}
    # A job that asks for more cores than the node has would wait for ever.
    many = ("synthesize_speech", "encode_speech", "transcribe_speech")
    settings["set-threads"] = {rule: min(2, os.cpu_count() or 1) for rule in many}
    profile.write_text(yaml.safe_dump(settings))
    return folder


SNAKEMAKE = [sys.executable, "-m", "snakemake"]
TARGETS = ["results/evaluation/smollm2-135m-instruct/base/nq/text.scores.json"]


def test_profile_runs_questions_speech_and_a_model_on_the_cluster(study):
    command = [*SNAKEMAKE, *TARGETS, "--workflow-profile", "profiles/slurm", "--configfile", str(HERE / "study.yaml")]
    run = subprocess.run(command, cwd=study, capture_output=True, text=True, timeout=900)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert all((study / target).exists() for target in TARGETS)

    jobs = subprocess.run(["scontrol", "show", "job", "--oneliner"], capture_output=True, text=True, check=True)
    by_rule = {
        rule: next(line for line in jobs.stdout.splitlines() if f"rule_{rule}" in line)
        for rule in ("build_questions", "answer_questions_base")
    }
    assert "Partition=cpu" in by_rule["build_questions"]
    assert "TimeLimit=00:10:00" in by_rule["build_questions"]
    assert "MinMemoryNode=1000M" in by_rule["build_questions"]
    assert "Partition=gpu" in by_rule["answer_questions_base"]
    size = model_size(json.loads((study / "resources/smollm2-135m-instruct/config.json").read_text()))
    assert f"MinMemoryNode={loading_bytes(size, 2) // 10**6}M" in by_rule["answer_questions_base"]
    assert "gres:gpu" in by_rule["answer_questions_base"]

    again = subprocess.run([*command, "--dry-run"], cwd=study, capture_output=True, text=True, timeout=120)
    assert "Nothing to be done" in again.stdout + again.stderr


def test_failing_job_ends_with_an_error_that_names_its_log(study):
    broken = study / "broken.yaml"
    broken.write_text("benchmark: {subsets: {advbench: {questions: 100000}}}\n")
    target = "results/benchmark/advbench/questions.jsonl"
    command = [*SNAKEMAKE, target, "--workflow-profile", "profiles/slurm", "--retries", "0", "--configfile"]
    run = subprocess.run([*command, "broken.yaml"], cwd=study, capture_output=True, text=True, timeout=480)
    assert run.returncode != 0
    assert "logs/benchmark/advbench.log" in run.stdout + run.stderr
