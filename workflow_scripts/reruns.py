"""Which jobs a run would start and why, and the one way to keep results that changed code would make again.

    python -m workflow_scripts.reruns [studies/quick.yaml ...]           what would run
    python -m workflow_scripts.reruns --keep [studies/quick.yaml ...]    accept the present code for existing results

`make plan` and `make keep`, with STUDY as for `make all`. Accepting says that the changes listed leave the numbers as
they are. It concerns results that exist and their code only: changed settings, inputs and missing files still run.
"""

import argparse
import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workflow_scripts.planning.record import PREFIX, CodeRecord, changes
from workflow_scripts.planning.snakemake_dag import Job, study


def code_before(job: Job) -> str | None:
    """The digest that a job's results were made with, if it is another than the present one."""
    recorded = [text.strip("'") for text in job.recorded or () if text.startswith(f"'{PREFIX}")]
    now = job.params.get("code")
    return recorded[0] if now is not None and recorded and recorded != [now] else None


def changed_code(jobs: Sequence[Job], record: CodeRecord) -> dict[str, Counter]:
    """By rule: the definitions whose change reruns jobs, with their number."""
    found: dict[str, Counter] = defaultdict(Counter)
    for job in jobs:
        if (before := code_before(job)) is not None:
            old = record.definitions(before.removeprefix(PREFIX))
            found[job.rule].update(changes(old, job.code.step(job.wildcards).definitions))
    return found


def other_reason(job: Job) -> str:
    """Why a job runs, apart from its code, in a few words."""
    reason = job.reason
    if reason.startswith("Missing output files"):
        return "not made yet"
    if "Input files updated by another job" in reason:
        return "its inputs are made again"
    if "Params have changed" in reason:
        values = {repr(value) for name, value in job.params.items() if name != "code"}
        same = values <= (job.recorded or frozenset())
        return "" if same else "settings changed"
    return reason.partition(":")[0].lower()


def explain(jobs: Sequence[Job], record: CodeRecord) -> str:
    """Jobs that would run, counted by rule, with their reasons."""
    running = [job for job in jobs if job.runs]
    if not running:
        return "Nothing to do: every result is as its settings, inputs and code say."
    counts = Counter(job.rule for job in running)
    reasons: dict[str, Counter] = defaultdict(Counter)
    for job in running:
        reasons[job.rule][other_reason(job)] += 1
    code = changed_code(jobs, record)
    lines = [f"{'rule':<24} {'jobs':>5}  why"]
    for rule, n in counts.items():
        words = [text for text in reasons[rule] if text]
        if code.get(rule):
            words.append("code changed (below)")
        lines.append(f"{rule:<24} {n:>5}  {', '.join(words)}")
    lines.append(f"{'total':<24} {len(running):>5}")
    if code:
        lines += ["", "Code that changed since the results were made:"]
        by_change: dict[str, set[str]] = defaultdict(set)
        for rule, found in code.items():
            for change in found:
                by_change[change].add(rule)
        lines += [f"  {change}  ({', '.join(sorted(rules))})" for change, rules in sorted(by_change.items())]
        lines += ["", "If these changes leave the numbers as they are: `make keep` keeps the results made before them."]
    return "\n".join(lines)


def keep(jobs: Sequence[Job], record: CodeRecord) -> int:
    """Accept the present code of every job whose results were made with other code; how many jobs that are."""
    kept = 0
    for job in jobs:
        before = code_before(job)
        if before is not None:
            record.accept(job.code.step(job.wildcards).digest, job.wildcards, before.removeprefix(PREFIX))
            kept += 1
    record.save()
    return kept


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configfiles", nargs="*", type=Path, help="further config files, as for --configfile")
    parser.add_argument("--keep", action="store_true", help="accept the present code for existing results")
    chosen = parser.parse_args(arguments)
    logging.disable(logging.INFO)
    snakefile = Path(__file__).parents[1] / "Snakefile"
    if chosen.keep:
        jobs, record = _jobs(snakefile, chosen.configfiles)
        print(explain(jobs, record))
        print(f"\nKept: the results of {keep(jobs, record)} job(s), made with code as it was. What still runs:\n")
    print(explain(*_jobs(snakefile, chosen.configfiles)))


def _jobs(snakefile: Path, configfiles: Sequence[Path]) -> tuple[list[Job], Any]:
    with study(snakefile, configfiles) as (plan, jobs):
        return jobs, plan.record


if __name__ == "__main__":
    main()
