"""Planning: `snakemake -n` of studies/paper.yaml against a Snakefile of as many trivial jobs of the same shape.

The trivial Snakefile has a rule for each of ours, with the directives that ours have (script, conda, log, benchmark,
resources, params, message), all constant, and the same jobs with as many inputs and outputs; it has no config and no
code of ours. What it takes is what Snakemake itself takes for such a graph.
"""

import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import yaml

from benchmarks import harness
from benchmarks.faults.study import PARTS
from benchmarks.scale import GOAL, apart, processor_seconds

MOST = 1.2
"""Our time over Snakemake's own."""
QUICK_STUDY, STUDY, NAME = "studies/quick.yaml", "studies/paper.yaml", "planned.yaml"
TRIVIAL = "from pathlib import Path\nfor path in snakemake.output:\n    Path(path).touch()\n"
Planned = tuple[str, list[str], list[str]]
"""Rule, inputs and outputs of a job."""


def write_workflow(folder: Path) -> None:
    """A copy of the checkout's sources, without results."""
    for part in PARTS:
        if (source := harness.ROOT / part).is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, folder / part)


def write_settings(folder: Path, study: str, per_shard: int | None) -> None:
    """The study's config file with so many questions per shard."""
    values = yaml.safe_load((harness.ROOT / study).read_text(encoding="utf-8"))
    values.setdefault("benchmark", {})["questions_per_shard"] = per_shard
    (folder / NAME).write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")


def jobs_of(folder: Path) -> list[Planned]:
    """All jobs of the study in `folder`. Called in a process of its own."""
    from snakemake.settings.types import DAGSettings

    from workflow_scripts.step import planned_jobs

    os.chdir(folder)
    os.environ["HF_HUB_OFFLINE"] = "1"
    found = planned_jobs(DAGSettings(targets={"all"}, rerun_triggers=frozenset()), [NAME])
    jobs = {id(job): job for job in found.values()}.values()
    return [(job.rule, list(map(str, job.snakemake.input)), list(map(str, job.snakemake.output))) for job in jobs]


def write_trivial(folder: Path, jobs: Sequence[Planned]) -> None:
    """A Snakefile of trivial jobs with the inputs and outputs of `jobs` under other names."""
    numbers: dict[tuple[str, int], int] = defaultdict(int)
    names: dict[str, str] = {}
    placed = []
    for rule, inputs, outputs in jobs:
        kind = f"{rule}_{len(outputs)}"
        number = numbers[rule, len(outputs)]
        numbers[rule, len(outputs)] += 1
        names |= {path: f"made/{kind}/{number}.{place}" for place, path in enumerate(outputs)}
        placed.append((kind, inputs))
    made = set(names)
    folder.mkdir()
    for path in {path for _, inputs in placed for path in inputs if path not in made}:
        names[path] = f"given/{len(names)}"
        (folder / names[path]).parent.mkdir(exist_ok=True)
        (folder / names[path]).touch()
    wanted: dict[str, list[list[str]]] = defaultdict(list)
    for kind, inputs in placed:
        wanted[kind].append([names[path] for path in inputs])
    used = {path for _, inputs in placed for path in inputs}
    wanted["all"] = [[names[path] for path in names if path in made - used]]
    (folder / "jobs.json").write_text(json.dumps(wanted), encoding="utf-8")
    rules = ["import json", "with open('jobs.json') as file:", "    JOBS = json.load(file)"]
    rules += ["rule all:", "    input: JOBS['all'][0]"]
    for rule, outputs in numbers:
        kind = f"{rule}_{outputs}"
        rules += [
            f"rule {kind}:",
            f"    input: lambda wildcards: JOBS['{kind}'][int(wildcards.job)]",
            f"    output: {', '.join(repr(f'made/{kind}/{{job}}.{place}') for place in range(outputs))}",
            "    wildcard_constraints: job=r'\\d+'",
            f"    log: 'logs/{kind}/{{job}}.log'",
            f"    benchmark: 'times/{kind}/{{job}}.tsv'",
            "    conda: 'env.yaml'",
            "    threads: 1",
            "    resources: mem_mb=1000, runtime=10",
            "    params: code='0', job='{job}', seed=1",
            f"    message: '{kind} {{wildcards.job}}'",
            f"    script: '{kind}.py'",
        ]
        (folder / f"{kind}.py").write_text(TRIVIAL, encoding="utf-8")
    (folder / "env.yaml").write_text("dependencies: [python]\n", encoding="utf-8")
    (folder / "Snakefile").write_text("\n".join(rules) + "\n", encoding="utf-8")


def plan(folder: Path, *arguments: str) -> float:
    """Processor seconds of a dry run of everything. Raises CalledProcessError if it fails."""
    command = [sys.executable, "-m", "snakemake", "all", "--dry-run", "--cores", "1", "--quiet", "all", *arguments]
    before = processor_seconds()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    return processor_seconds() - before


def compare(sizes: Sequence[int | None], folder: Path, quick: bool) -> list[harness.Ratio]:
    """Plan the study and its trivial twin at each number of questions per shard."""
    study = QUICK_STUDY if quick else STUDY
    ours = folder / "ours"
    write_workflow(ours)
    rows = []
    for place, per_shard in enumerate(sizes):
        write_settings(ours, study, per_shard)
        jobs = apart(jobs_of, ours)
        trivial = folder / f"trivial{place}"
        write_trivial(trivial, jobs)
        mine, theirs = plan(ours, "--configfile", NAME), plan(trivial)
        rows.append([len(jobs), per_shard or "all", mine, theirs, 1000 * mine / len(jobs), mine / theirs])
    print(f"planning: {study}\n")
    header = ["jobs", "questions per shard", "ours, s", "trivial jobs, s", "ours, ms per job", "times"]
    print(harness.table(header, rows) + "\n", flush=True)
    return [
        harness.Ratio("scale_planning_linear_time", rows[0][4] / rows[-1][4], GOAL),
        harness.Ratio("scale_planning_over_snakemake", rows[-1][3] / rows[-1][2], 1 / MOST),
    ]
