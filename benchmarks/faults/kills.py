"""A study that is killed, or runs out of disk, again and again until it is whole: are its results those of one run?

A runner does what Snakemake does, without its seconds of planning: job after job, each in a process of its own; what an
unfinished job left is removed before it runs again. `snakemake_kills` does the same to Snakemake itself.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.faults.files import differing
from benchmarks.faults.outcomes import Fault, outcome_of_error
from benchmarks.faults.running import End, checked, run_apart, run_here, start
from benchmarks.faults.study import NAME, write_study
from workflow_scripts.artifacts.files import is_disk_full
from workflow_scripts.step import Job

MEAN_SECONDS = 2.5
"""From one kill to the next."""
PAUSE = 0.15
"""Seconds for which writers wait, in every second run, before they rename a file into its place."""
STEPS = ((1 << 18), (3 << 20))
"""Bytes, at least and at most, by which a full disk grows before the next run."""


def run_all(jobs: Sequence[Job], done: Path, pause: float = 0.0) -> None:
    """Run, in the working directory, every job that has no mark in `done`; ends the process at the first error."""
    if pause:
        _slow_writes(pause)
    for number, job in enumerate(jobs):
        if (mark := done / str(number)).exists():
            continue
        for path in job.snakemake.output:
            Path(path).unlink(missing_ok=True)
        if pid := os.fork():
            if status := os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
                said = mark.with_suffix(".error")
                sys.exit(said.read_text() if said.exists() else f"{job.rule} ended with {status}")
            mark.touch()
            continue
        try:
            run_here(job)
        except SystemExit as stop:
            if stop.code:
                mark.with_suffix(".error").write_text(str(stop.code))
                os._exit(1)
        except BaseException as error:
            known = isinstance(error, OSError) and is_disk_full(error)  # of a folder, which Snakemake makes
            mark.with_suffix(".error").write_text(f"{'' if known else 'Traceback '}{type(error).__name__}: {error}")
            os._exit(1)
        os._exit(0)


def _slow_writes(seconds: float) -> None:
    """Make every writer of whole files wait between its last byte and the rename."""
    flush = os.fsync

    def slow(descriptor: int) -> None:
        time.sleep(seconds)
        flush(descriptor)

    os.fsync = slow


def try_kills(
    folder: Path,
    pristine: Path,
    jobs: Sequence[Job],
    times: int,
    *,
    seed: int = 0,
    mean_seconds: float = MEAN_SECONDS,
    begin: Callable[[Path], object] = write_study,
) -> Iterator[Fault]:
    """SIGKILL to the process group at random moments, in every second run of writers that pause; then it goes on.

    Args:
        folder: is emptied; `begin` puts what the jobs start from there.
        pristine: the same study finished by one run.
    """
    rng = random.Random(seed)
    done, killed = folder.with_name("done"), 0
    while killed < times:
        _fresh(folder, done, begin)
        chain: list[str] = []
        while True:
            slow = len(chain) % 2 == 1
            pid, words = start(lambda slow=slow: run_all(jobs, done, PAUSE if slow else 0.0), folder)
            end = _wait(pid, rng.expovariate(1 / mean_seconds) if killed < times else None)
            if end is not None:
                break
            killed += 1
            written = sorted(path.relative_to(folder) for path in folder.rglob("*.part"))
            at = len(list(done.glob("*"))) - len(list(done.glob("*.error")))
            chain.append(f"in job {at} of {len(jobs)}" + (f", while it wrote {written[0]}" if written else ""))
        yield from _judged("kills", chain, End(end, words.read_text()), folder, pristine)


def _judged(
    part: str, chain: Sequence[str], end: End, folder: Path, pristine: Path, leave_out: Sequence[Path] = ()
) -> Iterator[Fault]:
    """One fault for each interruption of a chain, by what became of it in the end."""
    outcome, message = "harmless", ""
    if end.status:
        outcome, message = outcome_of_error(end.message, ["results/", "resources/"]), end.message
        outcome = "unclear" if outcome == "named" else outcome  # an error has no place here, named or not
    elif different := differing(folder, pristine, leave_out):
        outcome, message = "silent", f"differ: {', '.join(map(str, different[:5]))}"
    elif left := [path for top in ("results", "resources") for path in (folder / top).rglob("*.part")]:
        outcome, message = "unclear", f"left behind: {left[0]}"
    for what in chain:
        kind = "in a write" if "while" in what else "between writes"
        yield Fault(part, kind, what, outcome, message)


def _fresh(folder: Path, done: Path, begin: Callable[[Path], object]) -> None:
    shutil.rmtree(done, ignore_errors=True)
    done.mkdir(parents=True)
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    checked(run_apart(lambda: begin(folder), done), "making the study's files")


def _wait(pid: int, seconds: float | None) -> int | None:
    """Exit status of a process group's leader; None if the group was killed after so many seconds, and is gone."""
    deadline = None if seconds is None else time.monotonic() + seconds
    while (ended := os.waitpid(pid, os.WNOHANG))[0] == 0:
        if deadline is not None and time.monotonic() > deadline:
            with contextlib.suppress(ProcessLookupError):  # it leads no group yet
                os.killpg(pid, signal.SIGKILL)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            with contextlib.suppress(ProcessLookupError):
                while True:
                    os.killpg(pid, 0)
                    time.sleep(0.002)
            return None
        time.sleep(0.002)
    return os.waitstatus_to_exitcode(ended[1])


def try_disks(folder: Path, pristine: Path, jobs: Sequence[Job], times: int, seed: int = 0) -> Iterator[Fault]:
    """A disk that is full at `times` moments: the run ends with an error that says so, and the next one goes on.

    Raises:
        PermissionError: only root can mount a small disk.
    """
    if os.geteuid() != 0:
        raise PermissionError("a small disk (tmpfs) is mounted for this part: run it as root")
    rng = random.Random(seed)
    done, filled = folder.with_name("done"), 0
    folder.mkdir(exist_ok=True)
    while filled < times:
        _mount(folder, "size=64m")
        try:
            _fresh(folder, done, write_study)
            while True:
                room = rng.randint(*STEPS) if filled < times else 1 << 30
                _mount(folder, f"remount,size={_used(folder) + room}")
                pid, words = start(lambda: run_all(jobs, done), folder)
                if (status := _wait(pid, None)) == 0 or filled == times:
                    break
                filled += 1
                message = words.read_text()
                outcome = outcome_of_error(message, ["disk is full", "No space left"])
                for path in done.glob("*.error"):
                    path.unlink()
                yield Fault("disk", "full", f"with {room} bytes more", outcome, message)
            yield from _judged("disk", ["then it goes on"], End(status, words.read_text()), folder, pristine)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=False)


def _mount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)


def _used(folder: Path) -> int:
    found = os.statvfs(folder)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def snakemake_kills(folder: Path, pristine: Path, times: int, seconds: float = 20.0, seed: int = 0) -> Iterator[Fault]:
    """The same to Snakemake, from the answers to the gap: SIGKILL, `--unlock`, and the same command again."""
    rng = random.Random(seed)
    command = [sys.executable, "-m", "snakemake", "results/evaluation/gap.csv", "--cores", "1", "--configfile", NAME]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    log, killed = folder / "killed.log", 0
    while killed < times:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(pristine, folder)
        shutil.rmtree(folder / "results/evaluation")
        chain: list[str] = []
        while True:
            with open(log, "w") as out:
                run = subprocess.Popen(
                    command, cwd=folder, stdout=out, stderr=subprocess.STDOUT, start_new_session=True, env=environment
                )
                try:
                    status = run.wait(rng.uniform(4, seconds) if killed < times else None)
                    break
                except subprocess.TimeoutExpired:
                    os.killpg(run.pid, signal.SIGKILL)
                    run.wait()
            written = sorted(path.relative_to(folder) for path in folder.rglob("*.part"))
            chain.append(f"Snakemake{f', while it wrote {written[0]}' if written else ''}")
            killed += 1
            subprocess.run([*command, "--unlock"], cwd=folder, capture_output=True, env=environment, check=True)
        others = [path.relative_to(pristine) for path in (pristine / "results/evaluation").rglob("*")]
        unasked = [path for path in others if not (folder / path).exists()]
        for fault in _judged("kills", chain, End(status, log.read_text()[-2000:]), folder, pristine, unasked):
            yield replace(fault, kind="Snakemake")
