"""Clusters on this machine; they run as root where slurm-wlm is installed. With CI=true it is installed first."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.cluster import cluster


@pytest.fixture(scope="module")
def one_node(tmp_path_factory):
    with started(tmp_path_factory.mktemp("slurm"), 1):
        yield


@pytest.fixture(scope="module")
def two_nodes(tmp_path_factory):
    with started(tmp_path_factory.mktemp("slurm"), 2):
        yield


@contextmanager
def started(state: Path, n_nodes: int) -> Iterator[None]:
    """A cluster, none of whose daemons is left afterwards."""
    if os.geteuid() != 0:
        pytest.skip("needs root to start SLURM's daemons")
    if not installed():
        install()
    if not installed():
        pytest.skip("slurm-wlm is not installed: apt-get install slurm-wlm munge")
    with cluster(state, n_nodes):
        pids = [int(path.read_text()) for path in state.glob("*.pid")]
        yield
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []


def installed() -> bool:
    return all(shutil.which(program) for program in ("sbatch", "slurmctld", "slurmd", "munge"))


def install() -> None:
    """Try Debian's packages; a machine where this fails skips the tests."""
    if os.environ.get("CI") == "true" and shutil.which("apt-get"):
        quiet = {"capture_output": True, "timeout": 240, "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}}
        subprocess.run(["apt-get", "update"], **quiet)
        subprocess.run(["apt-get", "install", "-y", "--no-install-recommends", "slurm-wlm", "munge"], **quiet)
