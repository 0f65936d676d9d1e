"""The conda environments pin what requirements.txt pins."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def pins(lines) -> dict[str, str]:
    found = {}
    for line in lines:
        match = re.match(r"^([A-Za-z0-9._-]+)(?:\[\w+\])?==(\S+)$", line.strip())
        if match:
            found[re.sub(r"[-_.]+", "-", match[1]).lower()] = match[2]
    return found


LOCK = pins((ROOT / "requirements.txt").read_text().splitlines())


@pytest.mark.parametrize("path", sorted((ROOT / "envs").glob("*.yaml")), ids=lambda path: path.stem)
def test_environment_pins_equal_the_lock(path):
    dependencies = yaml.safe_load(path.read_text())["dependencies"]
    packages = pins(next(entry["pip"] for entry in dependencies if isinstance(entry, dict)))
    assert packages
    assert {name: LOCK.get(name) for name in packages} == packages


def test_lock_holds_every_direct_dependency():
    direct = pins((ROOT / "requirements.in").read_text().splitlines())
    assert {name: LOCK.get(name) for name in direct} == direct


def test_every_rule_names_an_existing_environment():
    named = {
        name
        for path in (ROOT / "rules").glob("*.smk")
        for name in re.findall(r"\.\./envs/(\w+)\.yaml", path.read_text())
    }
    assert named == {path.stem for path in (ROOT / "envs").glob("*.yaml")}
