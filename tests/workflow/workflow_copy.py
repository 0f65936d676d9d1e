"""A copy of the workflow in a temporary folder, and dry runs in it."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.small_study import SMALL_STUDY
from workflow_scripts.planning.snakemake_dag import study

ROOT = Path(__file__).parents[2]
PARTS = (
    "Snakefile",
    "rules",
    "workflow_scripts",
    "profiles",
    "envs",
    "report",
    "studies",
    "assets.yaml",
)


class Workflow:
    """The workflow's sources in a folder of their own, with the tests' small study (or `config`) as config.yaml.

    Results and resources are separate from the checkout's.
    """

    def __init__(self, folder: Path, copy: bool = True, config: Path = SMALL_STUDY):
        self.folder = folder
        for part in PARTS if copy else ():
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, folder / part)
        if copy:
            shutil.copy2(config, folder / "config.yaml")

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Snakemake with the given arguments; on an unwanted failure its output is the test's message."""
        command = [sys.executable, "-m", "snakemake", *arguments]
        run = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
        if check and run.returncode:
            pytest.fail(f"{' '.join(arguments)}\n{run.stdout[-3000:]}\n{run.stderr[-3000:]}")
        return run

    def run_in_process(self, *configfiles: str) -> None:
        """Every job of the study in one further process (tests/workflow/in_process.py)."""
        command = [sys.executable, "-m", "tests.workflow.in_process", *configfiles]
        paths = {"PYTHONPATH": os.pathsep.join((str(self.folder), str(ROOT)))}
        run = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, env=os.environ | paths)
        if run.returncode:
            pytest.fail(f"{' '.join(configfiles)}\n{run.stdout[-3000:]}\n{run.stderr[-3000:]}")

    def job_counts(self, *arguments: str) -> dict[str, int]:
        """Jobs per rule that a dry run would start, without `all`."""
        run = self.run("all", "--dry-run", "--cores", "1", *arguments)
        table = run.stdout.partition("Job stats:")[2].partition("total")[0]
        counts = {rule: int(n) for rule, n in re.findall(r"^(\w+) +(\d+)$", table, flags=re.M)}
        counts.pop("all", None)
        return counts

    def planned(self, *configfiles: str) -> dict[str, int]:
        """The same in this process, which is much faster, by the settings and the sources that the folder has now.

        What the Snakefile itself imports is the checkout's: for an edited table of figures take `job_counts`.
        """
        with (
            contextlib.chdir(self.folder),
            study(self.folder / "Snakefile", [Path(one) for one in configfiles]) as (
                _,
                jobs,
            ),
        ):
            return dict(Counter(job.rule for job in jobs if job.runs))

    def plan(self, *arguments: str) -> str:
        """What `make plan` prints, or with "--keep" `make keep`."""
        command = [sys.executable, "-m", "workflow_scripts.reruns", *arguments]
        run = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
        if run.returncode:
            pytest.fail(f"{run.stdout[-3000:]}\n{run.stderr[-3000:]}")
        return run.stdout

    def edit_config(self, change) -> None:
        """Apply `change` to the parsed config.yaml and write it back."""
        import yaml

        path = self.folder / "config.yaml"
        values = yaml.safe_load(path.read_text())
        change(values)
        path.write_text(yaml.safe_dump(values, sort_keys=False))
