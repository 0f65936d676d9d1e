"""Faults on purpose, and a table of what came of them: docs/reliability.md.

    python -m benchmarks.faults config|files|kills|disk ... [--folder FOLDER] [--only TEXT] [--every N] [--times N]

A small study with random models is made in --folder (once; needs no network), then damaged there. The bad cases are
printed, and all go to <folder>/<part>.jsonl. `--every 20` tries one way of twenty.
"""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks import harness

PARTS = ("config", "files", "kills", "disk")


def main() -> int:
    """Run the parts that are asked for; gives the exit status, 1 if a fault is silent, unclear or a traceback."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="+", choices=PARTS)
    folder = Path(tempfile.gettempdir(), "modgap-faults")
    parser.add_argument("--folder", type=Path, default=folder, help="working folder, kept")
    parser.add_argument("--only", default="", help="kinds and studies whose names hold this text")
    parser.add_argument("--every", type=int, default=1, help="only every so many faults")
    parser.add_argument("--times", type=int, default=100, help="kills; a tenth of it: of Snakemake, and full disks")
    options = parser.parse_args()
    harness.set_threads(1)
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    status = 0
    for part in options.parts:
        from benchmarks.faults.outcomes import show

        status |= show(_faults(part, folder, options), folder / f"{part}.jsonl")
    return status


def _faults(part: str, folder: Path, options: argparse.Namespace) -> list:
    if part == "config":
        from benchmarks.faults.config import studies, try_study

        named = {name: files for name, files in studies().items() if options.only in name}
        return [fault for name, files in named.items() for fault in try_study(name, files, options.every)]
    from benchmarks.faults import running

    study, pristine = folder / "study", folder / "pristine"
    jobs = _study(study, pristine)
    running.import_all(jobs)
    if part == "files":
        from benchmarks.faults.damage import restore
        from benchmarks.faults.files import NOTE, kinds, try_kinds

        chosen = [kind for kind in kinds(study, jobs) if options.only in kind.name]
        found = list(try_kinds(chosen, study, pristine, every=options.every))
        bare = folder / "bare"
        shutil.rmtree(bare, ignore_errors=True)
        shutil.copytree(pristine, bare, ignore=shutil.ignore_patterns(".checksums"))
        restore(study, bare)
        chosen = [kind for kind in chosen if kind.path.as_posix() != NOTE]
        found += try_kinds(chosen, study, bare, noted=False, every=options.every)
        restore(study, pristine)
        return found
    from benchmarks.faults import kills

    other = folder / "killed"
    if part == "disk":
        return list(kills.try_disks(folder / "disk", pristine, jobs, options.times // 10))
    found = list(kills.try_kills(other, pristine, jobs, options.times))
    return found + list(kills.snakemake_kills(folder / "snakemake", pristine, options.times // 10))


def _study(study: Path, pristine: Path) -> list:
    """The finished study in `study` and a copy of it; gives its jobs."""
    from benchmarks.faults import running
    from benchmarks.faults.study import write_study

    if not pristine.exists():
        shutil.rmtree(study, ignore_errors=True)
        running.checked(running.run_apart(lambda: write_study(study), study.parent), "making the study's files")
        jobs = running.all_jobs(study)
        running.import_all(jobs)
        running.build(study, jobs)
        shutil.copytree(study, pristine)
        return jobs
    return running.all_jobs(study)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
