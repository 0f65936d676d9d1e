"""The growth program in short: every part runs and prints its goals, and what grows is seen to grow."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import scale, scale_planning
from benchmarks.harness import ROOT


@pytest.mark.parametrize("part", ["prompts", "questions", "page"])
def test_a_part_runs_and_prints_its_goals(part):
    command = [sys.executable, "-m", "benchmarks.scale", "--quick", "--threads", "1", "--parts", part]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode in (0, 1) and not done.stderr, done.stderr
    steps = [name for module in scale.MODULES[part] for name in importlib.import_module(f"benchmarks.{module}").STEPS]
    for step in steps:
        assert f"RATIO scale_{step}_linear_time" in done.stdout
        assert f"RATIO scale_{step}_flat_memory" in done.stdout
    assert ("RATIO scale_page_size" in done.stdout) == (part == "page")


def test_a_step_that_is_not_linear_or_keeps_everything_misses_its_goals():
    flat = [scale.Cost(1.0, 50, 100), scale.Cost(10.0, 50, 100)]
    assert all(ratio.met for ratio in scale.ratios("flat", (100, 1000), flat))
    bad = [scale.Cost(1.0, 50, 100), scale.Cost(20.0, 50, 200)]
    assert [(ratio.name, ratio.value, ratio.met) for ratio in scale.ratios("bad", (100, 1000), bad)] == [
        ("scale_bad_linear_time", 0.5, False),
        ("scale_bad_flat_memory", 0.5, False),
    ]


def test_the_trivial_twin_has_the_same_graph(tmp_path):
    jobs = [("fetch", [], ["a", "b"]), ("fetch", [], ["c", "d"]), ("use", ["a", "c", "config.yaml"], ["e"])]
    scale_planning.write_trivial(tmp_path / "twin", jobs)
    command = [sys.executable, "-m", "snakemake", "all", "--cores", "1", "--quiet", "all"]
    subprocess.run(command, cwd=tmp_path / "twin", check=True, capture_output=True)
    made = sorted(str(path.relative_to(tmp_path / "twin/made")) for path in Path(tmp_path, "twin/made").rglob("*.*"))
    assert made == ["fetch_2/0.0", "fetch_2/0.1", "fetch_2/1.0", "fetch_2/1.1", "use_1/0.0"]
    assert scale_planning.plan(tmp_path / "twin") > 0
