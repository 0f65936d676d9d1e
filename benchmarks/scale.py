"""How the workflow grows: processor time and memory of its steps at growing numbers of prompts, questions and jobs.

    python -m benchmarks.scale [--quick | --full] [--parts prompts questions page planning]

prompts    speech (a voice of tones in the process itself: the engine `command` starts a program for each prompt),
           shards and their index, and the input of training: samples, sampler, collated batches
questions  answers, hidden states, similarity and alignment with null, scores and tables, shard by shard, by a random
           model of three layers
page       bytes of the report, and how long headless Chromium takes to load it
planning   `snakemake -n` against a Snakefile of as many trivial jobs of the same shape

Steps are called as their rules call them, on made inputs. Each runs in a process of its own, forked after the imports,
first on a few items, then on n. Time is that of the processor, children included; memory is the process's peak, or
that of its largest child. Goals: the time of an item at the largest n within 1/0.8 of that at the smallest, and memory
within 1/0.8 of that at the next smaller n.
"""

import importlib
import multiprocessing
import resource
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import harness

GOAL = 0.8
WARM = 16
"""Items of the run before the one that is measured: what is imported or prepared once costs nothing later."""
LEAST_SECONDS = 0.5
"""A step that takes less is repeated, up to `REPEATS` times; not with `--quick`."""
REPEATS = 9
SIZES = {
    "prompts": {"quick": (50, 100), "default": (1000, 10_000), "full": (1000, 10_000, 100_000)},
    "questions": {"quick": (20, 40), "default": (100, 1000), "full": (100, 1000, 10_000)},
    "page": {"quick": (48, 96), "default": (100, 1000), "full": (100, 1000, 10_000)},
    "planning": {"quick": (None,), "default": (None, 560), "full": (None, 560, 140)},
}
"""By part: numbers of prompts or questions, and questions per shard of studies/paper.yaml (None: one shard)."""

MODULES = {
    "prompts": ("scale_prompts", "scale_training"),
    "questions": ("scale_questions", "scale_measures"),
    "page": ("scale_page",),
}
"""Where a part's steps are."""


@dataclass(frozen=True)
class Cost:
    """What one step took.

    Attributes:
        seconds: of the processor, of this process and its children.
        warm_mib, peak_mib: largest resident memory after the first few items, and in all.
    """

    seconds: float
    warm_mib: float
    peak_mib: float


def processor_seconds() -> float:
    """Of this process and of its children that ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def peak_mib() -> float:
    """Largest resident memory of this process or of one of its children so far."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return max(harness.peak_rss_mib(), children / (2**20 if sys.platform == "darwin" else 2**10))


def apart(function: Any, *arguments: Any) -> Any:
    """Result of a function called in a process of its own."""
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def measure(module: str, step: str, folder: Path, n: int, repeats: int) -> Cost:
    """Cost of a step on n items; a short one's median. Called in a process of its own."""
    run = importlib.import_module(module).STEPS[step]
    run(folder / str(WARM), WARM)
    before, seconds = peak_mib(), []
    while not seconds or (sum(seconds) < LEAST_SECONDS and len(seconds) < repeats):
        started = processor_seconds()
        run(folder / str(n), n)
        seconds.append(processor_seconds() - started)
    return Cost(harness.median(seconds), before, peak_mib())


def prepare(module: str, folder: Path, sizes: tuple[int, ...]) -> None:
    """Write a module's inputs of all sizes; one without takes what the module before it left."""
    if make := getattr(importlib.import_module(module), "prepare", None):
        for n in sizes:
            (folder / str(n)).mkdir(exist_ok=True)
            make(folder / str(n), n)


def grow(module: str, sizes: tuple[int, ...], folder: Path, repeats: int) -> list[harness.Ratio]:
    """Every step of a module at every size: prints the table, gives the ratios.

    Called in a process of its own, so that steps that need no torch do not inherit it.
    """
    costs: dict[str, list[Cost]] = {step: [] for step in importlib.import_module(module).STEPS}
    apart(prepare, module, folder, (WARM, *sizes))
    for n in sizes:
        for step in costs:
            costs[step].append(apart(measure, module, step, folder, n, repeats))
    rows = [
        [step, n, cost.seconds, 1000 * cost.seconds / n, cost.peak_mib, 1024 * (cost.peak_mib - cost.warm_mib) / n]
        for step, found in costs.items()
        for n, cost in zip(sizes, found)
    ]
    print(harness.table(["step", "n", "seconds", "ms each", "peak MiB", "KiB each"], rows) + "\n", flush=True)
    return [ratio for step, found in costs.items() for ratio in ratios(step, sizes, found)]


def ratios(step: str, sizes: tuple[int, ...], costs: list[Cost]) -> list[harness.Ratio]:
    """Time of an item at the smallest n over that at the largest; memory at the next smaller n over the largest."""
    first, last = costs[0].seconds / sizes[0], costs[-1].seconds / sizes[-1]
    return [
        harness.Ratio(f"scale_{step}_linear_time", first / last, GOAL),
        harness.Ratio(f"scale_{step}_flat_memory", costs[-2].peak_mib / costs[-1].peak_mib, GOAL),
    ]


def main() -> int:
    """Run and print; gives the exit status."""
    parts = {"nargs": "+", "choices": tuple(SIZES), "default": tuple(SIZES), "help": "default: all"}
    full = {"action": "store_true", "help": "100,000 prompts and 10,000 questions too: hours"}
    parser = harness.arguments(__doc__, parts=parts, full=full)
    options = parser.parse_args()
    harness.set_threads(options.threads)
    harness.heading("Growth: steps at growing numbers of prompts, questions and jobs", options.threads)
    size = "quick" if options.quick else "full" if options.full else "default"
    found: list[harness.Ratio] = []
    for part in options.parts:
        with tempfile.TemporaryDirectory() as folder:
            if part == "planning":
                from benchmarks.scale_planning import compare

                found += compare(SIZES[part][size], Path(folder), options.quick)
            else:
                print(f"{part}\n", flush=True)
                for module in MODULES[part]:
                    repeats = 1 if options.quick else REPEATS
                    found += apart(grow, f"benchmarks.{module}", SIZES[part][size], Path(folder), repeats)
            if part == "page":
                from benchmarks.scale_page import weigh

                found += weigh(SIZES[part][size], Path(folder))
    return harness.verdict(found)


if __name__ == "__main__":
    sys.exit(main())
