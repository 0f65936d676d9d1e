"""Bad input that is known while the workflow is parsed stops it before any job, and fetching comes first."""

import re
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
    assert "backbone=lambda wildcards: wildcards.asset in plan.backbones" in rule
    others = [path.read_text() for path in (ROOT / "rules").glob("*.smk") if path.name != "assets.smk"]
    assert not any("priority:" in text for text in others)
