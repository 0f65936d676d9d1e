"""Jobs of the small study, each in a forked process: modules are imported once, so that a try costs little."""

import contextlib
import importlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults.study import NAME
from workflow_scripts.step import Job, planned_jobs

HEAVY = ("torch", "transformers", "peft", "pandas", "scipy.stats", "statsmodels.api", "matplotlib.pyplot", "h5py")
SECONDS = 300
"""Longest run of one job."""


def import_all(jobs: Sequence[Job]) -> None:
    """Import what the steps import, before any fork. Nothing is computed with it: threads do not survive a fork."""
    steps = {f"workflow_scripts.{job.script.parent.name}.{job.script.stem}" for job in jobs}
    for name in (*HEAVY, *sorted(steps)):
        importlib.import_module(name)


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in a folder for a while; what follows imports the sources that lie there, not another checkout's."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def all_jobs(folder: Path, targets: Sequence[str] = ("all",)) -> list[Job]:
    """Every job of the study in `folder`, in an order in which they can run; with `targets` of a part of it."""
    from snakemake.settings.types import DAGSettings

    with inside(folder):
        jobs = planned_jobs(DAGSettings(targets=set(targets), forceall=True, rerun_triggers=frozenset()), [NAME])
    found = {id(job): job for job in jobs.values() if job.script is not None}
    return _in_order(list(found.values()))


def _in_order(jobs: Sequence[Job]) -> list[Job]:
    made = {path for job in jobs for path in job.snakemake.output}
    done: set[str] = set()
    ordered: list[Job] = []
    rest = list(jobs)
    while rest:
        ready = [job for job in rest if all(path in done or path not in made for path in job.snakemake.input)]
        if not ready:
            raise ValueError(f"jobs wait for each other: {[job.rule for job in rest]}")
        for job in ready:
            done.update(job.snakemake.output)
        ordered += ready
        rest = [job for job in rest if job not in ready]
    return ordered


@dataclass(frozen=True)
class End:
    """How a process ended: exit status (negative: the signal), and the last words of the step."""

    status: int
    message: str


def run_job(job: Job, folder: Path, before: Callable[[], object] = lambda: None) -> End:
    """Run a job in `folder`, in a process of its own in which `before` is called first, and wait for it."""
    return run_apart(lambda: (before(), run_here(job)), folder)


def run_here(job: Job) -> None:
    """Run a job in the working directory; a missing input is said as Snakemake would say it."""
    try:
        job.run()
    except FileNotFoundError as error:
        sys.exit(str(error))


def run_apart(work: Callable[[], object], folder: Path) -> End:
    """Do `work` in `folder` in a process of its own, and wait for it."""
    pid, words = start(work, folder)
    deadline = time.monotonic() + SECONDS
    while (ended := os.waitpid(pid, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return End(-signal.SIGKILL, f"SIGKILL: did not end in {SECONDS} s")
        time.sleep(0.005)
    status = os.waitstatus_to_exitcode(ended[1])
    message = words.read_text(encoding="utf-8", errors="replace") if words.exists() else ""
    words.unlink(missing_ok=True)
    if status < 0:
        message = f"{signal.Signals(-status).name}: {message}"
    return End(status, message)


def start(work: Callable[[], object], folder: Path) -> tuple[int, Path]:
    """Fork a process group that does `work` in `folder`; gives its id and the file with its last words."""
    words = Path(tempfile.gettempdir(), f"faults-{os.getpid()}.words")
    words.unlink(missing_ok=True)
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid, words
    status = 1
    last = words.open("w", encoding="utf-8")  # before rights are given up
    try:
        os.setsid()
        os.chdir(folder)
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 1), os.dup2(sink, 2)
        work()
        status = 0
    except SystemExit as stop:
        status = 0 if stop.code in (None, 0) else 1
        last.write(str(stop.code))
    except BaseException as error:
        last.write(f"Traceback {type(error).__name__}: {error}")
    finally:
        last.close()
        os._exit(status)


def build(folder: Path, jobs: Sequence[Job]) -> None:
    """Make the whole study.

    Raises:
        RuntimeError: a job failed.
    """
    for job in jobs:
        checked(run_job(job, folder), f"{job.rule}, {list(job.snakemake.output)}")


def checked(end: End, what: str) -> None:
    """Raise RuntimeError if a process failed."""
    if end.status:
        raise RuntimeError(f"{what}: {end.message}")
