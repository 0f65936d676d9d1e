"""Every rule has what a rule must have, parsing is light, and Snakemake accepts the workflow."""

import re
import subprocess
import sys
import time

import pytest
import yaml

from tests.workflow.workflow_copy import ROOT

NEEDED = ("params:", "output:", "log:", "benchmark:", "conda:", "threads:", "mem_mb", "runtime", "message:")


def rule_blocks() -> dict[str, str]:
    """Text of every full rule (not those derived by `use rule`) by name."""
    blocks = {}
    for path in sorted((ROOT / "rules").glob("*.smk")):
        parts = re.split(r"^(?:use )?rule (\w+)(?: as (\w+) with)?:\n", path.read_text(), flags=re.M)[1:]
        blocks |= {name: text for name, derived, text in zip(parts[::3], parts[1::3], parts[2::3]) if not derived}
    return blocks


@pytest.mark.parametrize("name", sorted(rule_blocks()))
def test_rule_has_log_benchmark_environment_resources_and_message(name):
    text = rule_blocks()[name]
    runs_code = "script:" in text  # else it only copies files
    for needed in NEEDED if runs_code else set(NEEDED) - {"params:"}:
        assert re.search(rf"^ +{needed}", text, flags=re.M), f"rule {name} has no {needed}"
    assert not runs_code or name == "fetch_asset" or "code=plan.code(" in text, f"rule {name} does not know its code"
    assert not re.search(r"[=(]config\b(?!\[)", text.replace("within=config", "")), "a rule must not read all settings"


def test_the_slurm_profile_gives_a_gpu_to_every_rule_that_runs_a_model():
    models = {name for name, text in rule_blocks().items() if re.search(r"^ +gpu=", text, flags=re.M)}
    for path in (ROOT / "rules").glob("*.smk"):
        derived = re.findall(r"^ *use rule (\w+) as (\w+) with:", path.read_text(), flags=re.M)
        models |= {name for base, name in derived if base in models}
    profile = yaml.safe_load((ROOT / "profiles/slurm/profile.yaml").read_text())
    assert profile["set-resources"] == {one: {"slurm_partition": "gpu", "gpu": 1} for one in models}


def test_parsing_imports_nothing_heavy(workflow):
    program = (
        "import sys, time\n"
        "started = time.perf_counter()\n"
        "import yaml\n"
        "from pathlib import Path\n"
        "from workflow_scripts.plan import ANSWERS, Plan\n"
        "from workflow_scripts.settings import parse_config\n"
        "values = {**yaml.safe_load(open('assets.yaml')), **yaml.safe_load(open('config.yaml'))}\n"
        "plan = Plan(parse_config(values), Path('.').resolve())\n"
        "plan.study.files(ANSWERS); plan.code('training/start_training.py')({})\n"
        "heavy = {'torch', 'transformers', 'numpy', 'scipy', 'h5py', 'matplotlib'} & set(sys.modules)\n"
        "print(sorted(heavy), time.perf_counter() - started)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=workflow.folder, capture_output=True, text=True, check=True
    )
    assert run.stdout.startswith("[] "), run.stdout


@pytest.mark.parametrize("arguments", [("--lint",), ("all", "--dry-run", "--cores", "1")])
def test_snakemake_accepts_the_workflow(workflow, arguments):
    started = time.monotonic()
    workflow.run(*arguments)
    assert time.monotonic() - started < 60
