"""A study of 20,000 training prompts on a SLURM cluster of one node, killed three times: are its results the same?

    python -m benchmarks.cluster [--prompts 20000] [--folder FOLDER] [--seed 0]

Random models of a few layers, a voice of tones, and all that follows, by `snakemake all --workflow-profile
profiles/slurm`. The run is hit three times, each time when a drawn number of its jobs is done and some seconds later:

1. `scancel` of the jobs that run; Snakemake lives on, and the profile's `retries: 1` submits them again;
2. SIGKILL to Snakemake, and `scancel` of its jobs; then `snakemake --unlock` and the same command again;
3. that command gives the jobs of a rule that takes longer a time limit of one minute, and ends with an error; then the
   same command again without it. Where no job takes so long, the running ones get SIGKILL instead.

What it is compared with is made by the same jobs one after the other, without cluster, Snakemake and kills, or with
`--alone` on the cluster too. Every file below results/ is compared: bytes, HDF5 files by content; times, and the hashes
of files that hold times, aside. Exits with 1 if one differs. A study that lies in the folder already is gone on with.
Needs root, slurm-wlm and munge; /etc/slurm is put back in the end.
"""

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import harness

PROMPTS = 20_000
SLURM = harness.ROOT / "tests" / "slurm"
CONFIGURATION = Path("/etc/slurm")
LIMITED_SECONDS = 100
"""A job that took so long is ended by a limit of one minute; SLURM looks at limits every half a minute."""
DELAY_SECONDS = 20
"""Longest time between the end of a job and a kill."""
STARTS = 6
"""Commands, at most, until the killed study is whole."""
KINDS = {
    "answers of the models": r"\.answers\.jsonl$",
    "answers to training prompts": r"^training/answers/",
    "scores": r"\.scores\.json$",
    "checkpoint weights": r"\.safetensors$",
    "tables": r"\.(csv|tex)$",
    "clips": r"\.flac$",
    "lists of prompts, clips and transcripts": r"\.jsonl$",
    "features, states and measures": r"\.h5$",
    "figures": r"\.(svg|pdf|png)$",
    "page, and what is left": "",
}
"""Kinds of files by what their path below results/ has; the first that fits counts."""


@contextlib.contextmanager
def cluster(state: Path, n_nodes: int = 1) -> Iterator[None]:
    """The tests' cluster on this machine; SLURM's configuration is put back afterwards."""
    kept = state / "kept"
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(parents=True)
    if CONFIGURATION.exists():
        shutil.copytree(CONFIGURATION, kept)
    try:
        subprocess.run([SLURM / "start.sh", state, str(n_nodes)], check=True, timeout=300)
        yield
    finally:
        subprocess.run([SLURM / "stop.sh", state], check=True, timeout=60)
        shutil.rmtree(CONFIGURATION, ignore_errors=True)
        if kept.exists():
            shutil.copytree(kept, CONFIGURATION)


class Study:
    """A folder of the study, the command that runs it, and its jobs on the cluster."""

    def __init__(self, folder: Path, targets: Sequence[str]) -> None:
        from benchmarks.faults.study import NAME

        self.folder = folder
        self.starts = 0
        self._run: subprocess.Popen | None = None
        self._command = [sys.executable, "-m", "snakemake", *targets, "--workflow-profile", "profiles/slurm"]
        self._command += ["--configfile", NAME]

    def start(self, *more: str) -> None:
        """The command, in the background."""
        self.starts += 1
        with open(self.folder / "run.log", "a", encoding="utf-8") as log:
            self._run = subprocess.Popen(
                [*self._command, *more], cwd=self.folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def unlock(self) -> None:
        """As docs/reliability.md says."""
        subprocess.run([*self._command, "--unlock"], cwd=self.folder, capture_output=True, check=True)

    @property
    def status(self) -> int | None:
        """Exit status of the command; None while it runs."""
        return self._run.poll()

    def finish(self) -> int:
        """Wait for the command; gives its exit status."""
        return self._run.wait()

    def kill(self) -> None:
        """SIGKILL to Snakemake and what it started here."""
        os.killpg(self._run.pid, signal.SIGKILL)
        self._run.wait()

    def jobs(self, *states: str) -> dict[str, dict[str, str]]:
        """What `scontrol` says of the study's jobs, by their number; with `states` of those in one of them."""
        shown = subprocess.run(["scontrol", "show", "job", "--oneliner"], capture_output=True, text=True, check=True)
        found = {}
        for line in shown.stdout.splitlines():
            facts = dict(re.findall(r"(\w+)=(\S*)", line))
            if facts.get("WorkDir") == str(self.folder) and (not states or facts["JobState"] in states):
                found[facts["JobId"]] = facts
        return found

    def cancel(self, *options: str) -> str:
        """`scancel` of the jobs that run; gives their rules."""
        running = self.jobs("RUNNING")
        if running:
            subprocess.run(["scancel", *options, *running], check=True)
        return ", ".join(sorted(_rule(job) for job in running.values()))


def _rule(job: dict[str, str]) -> str:
    """Snakemake writes a job's output below a folder that is named by the rule."""
    return re.search(r"/rule_(\w+)/", job["StdOut"])[1]


def seconds_of(job: dict[str, str]) -> int:
    """How long a job has run."""
    days, _, clock = job["RunTime"].rpartition("-")
    hours, minutes, seconds = map(int, clock.split(":"))
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def run_killed(study: Study, jobs: Sequence, seed: int) -> Iterator[str]:
    """Run the study with three kills, until it is whole; gives what was done.

    Args:
        jobs: all that it takes.

    Raises:
        RuntimeError: it is not whole after `STARTS` commands, or nothing is left to kill.
    """
    rng = random.Random(seed)
    moments = sorted(rng.sample(range(len(jobs) // 10, len(jobs) * 9 // 10), 3))
    delays = [rng.uniform(0, DELAY_SECONDS) for _ in moments]
    study.start()
    done = _wait(study, jobs, moments[0], delays[0])
    yield f"{done} of {len(jobs)} jobs done: scancel of {study.cancel()}"
    done = _wait(study, jobs, moments[1], delays[1])
    study.kill()
    yield f"{done} of {len(jobs)} jobs done: SIGKILL of Snakemake, and scancel of {study.cancel()}"
    while study.jobs("RUNNING", "PENDING", "COMPLETING"):
        subprocess.run(["scancel", "--state=PENDING", *study.jobs("PENDING")], check=False, capture_output=True)
        time.sleep(1)
    study.unlock()
    rule = long_rule(study, jobs)
    study.start(*(("--set-resources", f"{rule}:runtime=1", "--retries", "0") if rule else ()))
    if rule:
        study.finish()
        yield f"time limit of 1 minute for {rule}: it ended {len(study.jobs('TIMEOUT'))} jobs"
    else:
        done = _wait(study, jobs, moments[2], delays[2])
        yield f"{done} of {len(jobs)} jobs done: SIGKILL of {study.cancel('--signal=KILL', '--full')}"
    while status := study.finish():
        if study.starts == STARTS:
            raise RuntimeError(f"not whole after {STARTS} commands, the last ended with {status}: {study.folder}")
        study.start()
    yield f"whole after {study.starts} commands"


def left(study: Study, jobs: Sequence) -> list:
    """The jobs that have not written all their files."""
    return [job for job in jobs if not all((study.folder / path).exists() for path in job.snakemake.output)]


def _wait(study: Study, jobs: Sequence, least: int, delay: float) -> int:
    """Until `least` jobs are done, then some seconds more, and until a job runs; gives how many are done.

    A command that ends before is given again.
    """
    moment = None
    while True:
        done = len(jobs) - len(left(study, jobs))
        moment = time.monotonic() + delay if moment is None and done >= least else moment
        if moment is not None and time.monotonic() >= moment and study.jobs("RUNNING"):
            return done
        if study.status is not None:
            if study.status == 0 or study.starts == STARTS:
                raise RuntimeError(f"ended with {study.status} before it was killed: {study.folder}/run.log")
            study.start()
        time.sleep(0.5)


def long_rule(study: Study, jobs: Sequence) -> str | None:
    """The rule with the longest job so far, of those that have one left to do; None if it is too short for a limit."""
    rules = {job.rule for job in left(study, jobs)}
    took = {(seconds_of(job), _rule(job)) for job in study.jobs("COMPLETED").values() if _rule(job) in rules}
    seconds, rule = max(took, default=(0, None))
    return rule if seconds >= LIMITED_SECONDS else None


def run_alone(study: Study, jobs: Sequence, on_cluster: bool) -> None:
    """Make the study without a kill.

    Raises:
        RuntimeError: a job failed.
    """
    if on_cluster:
        study.start()
        if study.finish():
            raise RuntimeError(f"the study failed, nothing was killed: {study.folder}/run.log")
        return
    from benchmarks.faults import running

    missing = left(study, jobs)
    running.import_all(missing)
    running.build(study.folder, missing)


def compared(killed: Path, alone: Path) -> list[Sequence]:
    """By kind of file: how many are equal, and how many there are."""
    from benchmarks.faults.files import compared_files, differing

    different = set(differing(killed, alone))
    equal, every = Counter(), Counter()
    for name in compared_files(killed, alone):
        path = name.relative_to("results").as_posix()
        kind = next(kind for kind, pattern in KINDS.items() if re.search(pattern, path))
        every[kind] += 1
        equal[kind] += name not in different
    for name in sorted(different)[:20]:
        print(f"differs: {name}")
    return [(kind, equal[kind], every[kind]) for kind in KINDS if every[kind]]


def main() -> int:
    """Run and print; gives the exit status."""
    parser = harness.arguments(
        __doc__,
        prompts={"type": int, "default": PROMPTS, "help": f"default {PROMPTS}; with --quick 200"},
        folder={"type": Path, "default": Path(tempfile.gettempdir(), "modgap-cluster"), "help": "kept"},
        seed={"type": int, "default": 0, "help": "of the moments"},
        shards={"type": int, "default": 8, "help": "of the training prompts"},
        alone={"action": "store_true", "help": "the study that is left alone runs on the cluster too"},
        targets={"nargs": "+", "default": ["all"], "help": "a part of the study; default: all"},
    )
    options = parser.parse_args()
    harness.set_threads(1)
    from benchmarks.cluster_study import MOST, write_cluster_study
    from benchmarks.faults.running import all_jobs
    from benchmarks.faults.study import NAME

    began = time.monotonic()
    prompts = 200 if options.quick else options.prompts
    if not 0 < prompts <= MOST:
        parser.error(f"--prompts is {prompts}, expected 1 to {MOST}")
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    folder = options.folder.resolve() / str(prompts)
    harness.heading(f"{prompts} prompts on SLURM, killed three times", 1)
    alone, killed = (Study(folder / name, options.targets) for name in ("alone", "killed"))
    made = folder / "made"
    if not (made / NAME).exists():
        shutil.rmtree(made, ignore_errors=True)
        write_cluster_study(made, prompts, options.shards)
    for study in (alone, killed):
        if not study.folder.exists():
            shutil.copytree(made, study.folder)
    jobs = all_jobs(alone.folder, options.targets)
    with cluster(folder / "slurm"):
        for line in run_killed(killed, jobs, options.seed):
            print(f"{time.monotonic() - began:.0f} s: {line}", flush=True)
        if options.alone:
            run_alone(alone, jobs, on_cluster=True)
    if not options.alone:
        run_alone(alone, jobs, on_cluster=False)
    rows = compared(killed.folder, alone.folder)
    print("\n" + harness.table(["files", "equal", "n"], rows))
    return int(any(equal < n for _, equal, n in rows))


if __name__ == "__main__":
    sys.exit(main())
