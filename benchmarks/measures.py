"""Similarity and alignment with their nulls against a plain NumPy transcription; reading states; growth with n.

(a) One synthetic checkpoint's states (the default backbone's shape): our two steps against `benchmarks.transcription`,
    and the cost of the null beside that of the raw measures.
(b) One layer of an activation file beside `numpy.fromfile` of the same bytes, both from the page cache (warm) and
    after the cache was dropped (cold); the time of reading beside that of the raw measures.
(c) Time and memory at growing numbers of questions, with the width of a 7B model and few layers, shard by shard.

    python -m benchmarks.measures [--quick] [--parts a b c]
"""

import json
import os
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks import harness

MODULE = "benchmarks.measures"
SEED = 2510
MASSIVE = 4
SPEED_GOAL, TOLERANCE = 10.0, 1e-5
NULL_GOAL = 3.0
COMPRESSIONS = ("none", "bitshuffle", "gzip")
READ_GOAL = 0.05
"""Time of reading over that of the raw measures."""
LINEAR_GOAL, MEMORY_GOAL = 0.8, 0.8
WIDTH, DEPTH = 576, 31
WIDTH_7B, DEPTH_7B, SHARD = 3584, 3, 50


def ours(path: Path, draws: int, seed: int) -> dict[str, dict[str, Any]]:
    """Both steps' measures of a state file, in the transcription's form; files are not written. 0 draws: no null."""
    from workflow_scripts.alignment.align_tokens import measure_alignment
    from workflow_scripts.artifacts.states import StateReader
    from workflow_scripts.similarity.measure_similarity import pooled_measurements

    with StateReader(path) as reader:
        pooled = pooled_measurements(reader, draws=draws, seed=seed, massive=MASSIVE).measures
        aligned = measure_alignment(reader, draws=draws, seed=seed, examples=0).measures
    return {name: vars(measured) for name, measured in {**pooled, **aligned}.items()}


def transcribed(path: Path, draws: int, seed: int) -> dict[str, dict[str, Any]]:
    """The same numbers by the transcription, which holds the whole file in memory."""
    import numpy as np

    from benchmarks.transcription import all_measures
    from workflow_scripts.artifacts.states import StateReader
    from workflow_scripts.measures.centring import halves
    from workflow_scripts.measures.shuffle_null import derangements

    states = {}
    with StateReader(path) as reader:
        for form in ("speech", "text"):
            layers = np.stack([reader.layer(form, layer) for layer in range(reader.n_layers + 1)])
            states[form] = [layers[:, a:b] for a, b in pairwise(reader.offsets(form))]
        T_s, T_t = (np.diff(reader.offsets(form)) for form in ("speech", "text"))
        half = halves(reader.ids, seed)
    return all_measures(states["speech"], states["text"], derangements(T_s, T_t, draws, seed), half)


def largest_difference(mine: dict[str, dict[str, Any]], theirs: dict[str, dict[str, Any]]) -> float:
    """Largest |a - b| / max(1, |b|) over measures, raw values and null; infinite where only one is undefined."""
    import numpy as np

    largest = 0.0
    for name, parts in theirs.items():
        for part, expected in parts.items():
            found = np.asarray(mine[name][part], dtype=np.float64)
            if (np.isnan(found) != np.isnan(expected)).any():
                return float("inf")
            defined = ~np.isnan(expected)
            difference = np.abs(found - expected)[defined] / np.maximum(1, np.abs(expected[defined]))
            largest = max(largest, float(difference.max(initial=0.0)))
    return largest


def raw_flops(T_s: list[int], T_t: list[int], depth: int, width: int) -> float:
    """Multiplications and additions of the token matrices of all true pairs."""
    return 2.0 * depth * width * sum(a * b for a, b in zip(T_s, T_t))


def compare_formulas(folder: Path, quick: bool) -> list[harness.Ratio]:
    """Part (a)."""
    from benchmarks.synthetic import copy_rate, draw_lengths, gemm_rate, write_state_file

    # The transcription is slow: B = 20 on all layers, B = 200 on the first three.
    n = 20 if quick else 40
    repeats = 1 if quick else 3
    flops, bandwidth = gemm_rate(), copy_rate()
    rows, ratios = [], []
    for draws, depth in ((20, 5 if quick else DEPTH), (200, 2 if quick else 3)):
        path = write_state_file(folder / f"formulas{draws}.h5", n, depth, WIDTH, SEED)
        results: dict[str, Any] = {}

        def run(name: str, function: Any, results=results, path=path, draws=draws) -> None:
            results[name] = function(path, draws, SEED)

        run("ours", ours)  # the first call pays for imports
        seconds = harness.paired(
            {"ours": lambda run=run: run("ours", ours), "theirs": lambda run=run: run("theirs", transcribed)}, repeats
        )
        ratio = harness.speed_ratio(seconds["ours"], seconds["theirs"])
        difference = largest_difference(results["ours"], results["theirs"])
        rows.append(
            [draws, n, depth, harness.median(seconds["ours"]), harness.median(seconds["theirs"]), ratio, difference]
        )
        ratios.append(harness.Ratio(f"measures_B{draws}", ratio, SPEED_GOAL))
        ratios.append(harness.Ratio(f"measures_equal_B{draws}", TOLERANCE / max(difference, 1e-12), 1.0))
    print("(a) similarity and alignment with null, against the transcription\n")
    header = ["B", "questions", "layers", "ours, s", "transcription, s", "ratio", "largest relative difference"]
    print(harness.table(header, rows) + "\n", flush=True)

    n, depth = (100, 8) if quick else (200, DEPTH)
    path = write_state_file(folder / "null.h5", n, depth, WIDTH, SEED)
    arms = {"raw": lambda: _raw(path)} | {f"B={draws}": lambda b=draws: ours(path, b, SEED) for draws in (20, 200)}
    for arm in arms.values():
        arm()
    seconds = harness.paired(arms, 2 if quick else 5)
    T_s, T_t = draw_lengths(n, SEED)
    limit = raw_flops(T_s, T_t, depth, WIDTH) / flops + 2 * depth * WIDTH * (sum(T_s) + sum(T_t)) / bandwidth
    rows = [[name, n, depth, harness.median(values), harness.speed_ratio(seconds["raw"], values), limit]
            for name, values in seconds.items()]  # fmt: skip
    for draws in (20, 200):
        cost = harness.speed_ratio(seconds["raw"], seconds[f"B={draws}"])
        ratios.append(harness.Ratio(f"raw_over_with_null_B{draws}", 1 / cost, 1 / NULL_GOAL))
    print("cost of the null (limit: bytes of the states / copy rate + flops of the true pairs / GEMM rate, here")
    print(f"{bandwidth / 1e9:.1f} GB/s and {flops / 1e9:.0f} GFLOP/s)\n")
    header = ["measures", "questions", "layers", "seconds", "times raw", "physical limit of raw, s"]
    print(harness.table(header, rows) + "\n", flush=True)
    return ratios


def _raw(path: Path) -> None:
    ours(path, 0, SEED)


def compare_reading(folder: Path, quick: bool) -> list[harness.Ratio]:
    """Part (b): `float32` is what the steps read."""
    import h5py
    import numpy as np

    from benchmarks.synthetic import copy_rate, write_state_file
    from workflow_scripts.artifacts.states import StateReader

    n, repeats, dataset = (600, 5, "speech/states/001") if quick else (4000, 9, "speech/states/001")
    bandwidth = copy_rate()
    plain = folder / "layer.bin"
    rows = []
    for compression in COMPRESSIONS:
        path = write_state_file(folder / f"{compression}.h5", n, 2, WIDTH, SEED, compression)
        with h5py.File(path) as file:
            file[dataset][:].tofile(plain)
            stored = file[dataset].id.get_storage_size()
        os.sync()

        def read_bits(path=path) -> Any:
            with h5py.File(path, "r") as file:
                return file[dataset][:]

        def read_float32(path=path) -> Any:
            with StateReader(path) as reader:
                return reader.layer("speech", 1)

        arms = {"bits": read_bits, "float32": read_float32, "fromfile": lambda: np.fromfile(plain, np.uint16)}
        for cache in ("warm", "cold"):
            forget = (lambda path=path: _drop([path, plain])) if cache == "cold" else (lambda: None)
            seconds = harness.paired(arms, repeats, before=forget)
            size = plain.stat().st_size
            rates = [size / harness.median(seconds[name]) / 1e6 for name in arms]
            rows.append([compression, cache, size / 1e6, stored / size, *rates, bandwidth / 1e6])
    print("(b) one layer of an activation file\n")
    header = [
        "compression",
        "cache",
        "MB",
        "stored share",
        "bits, MB/s",
        "float32, MB/s",
        "fromfile, MB/s",
        "copy, MB/s",
    ]
    print(harness.table(header, rows) + "\n", flush=True)

    n, depth = (100, 8) if quick else (200, DEPTH)
    path = write_state_file(folder / "share.h5", n, depth, WIDTH, SEED)
    seconds = harness.paired({"read": lambda: _read(path), "raw": lambda: _raw(path)}, 2 if quick else 5)
    share = harness.median(seconds["read"]) / harness.median(seconds["raw"])
    print(f"reading {n} questions and {depth} layers, not compressed: {share:.3f} of the time of the raw measures\n")
    return [harness.Ratio("raw_measures_over_reading", 1 / share, 1 / READ_GOAL)]


def _read(path: Path) -> None:
    from workflow_scripts.artifacts.states import StateReader

    with StateReader(path) as reader:
        for form in ("speech", "text"):
            for layer in reader.layers:
                reader.layer(form, layer)


def _drop(paths: list[Path]) -> None:
    """Ask the system to forget the files' cached pages (Linux; they must have been written to disk)."""
    for path in paths:
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def work(request: dict[str, Any]) -> dict[str, Any]:
    """Part (c), one n: shards of SHARD questions are written (not timed), measured and deleted one after the other."""
    from benchmarks.synthetic import write_state_file

    seconds = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for shard in range(request["n"] // request["shard"]):
            path = write_state_file(
                Path(folder) / "shard.h5", request["shard"], request["depth"], request["width"], SEED + shard
            )
            started = time.perf_counter()
            ours(path, 20, SEED)
            seconds += time.perf_counter() - started
    return {"seconds": seconds, "peak_mib": harness.peak_rss_mib()}


def compare_growth(quick: bool, threads: int) -> list[harness.Ratio]:
    """Part (c)."""
    from benchmarks.synthetic import copy_rate, draw_lengths, gemm_rate

    flops, bandwidth = gemm_rate(), copy_rate()
    rows = []
    for n in (100, 400) if quick else (100, 1000, 10_000):
        request = {"n": n, "shard": SHARD, "depth": DEPTH_7B, "width": WIDTH_7B, "threads": threads}
        found = harness.run_apart(MODULE, request)
        limit = 0.0
        for shard in range(n // SHARD):
            T_s, T_t = draw_lengths(SHARD, SEED + shard)
            limit += raw_flops(T_s, T_t, DEPTH_7B, WIDTH_7B) / flops
            limit += 2 * DEPTH_7B * WIDTH_7B * (sum(T_s) + sum(T_t)) / bandwidth
        rows.append([n, found["seconds"], 1000 * found["seconds"] / n, found["peak_mib"], limit])
    print(f"(c) B = 20, d = {WIDTH_7B}, {DEPTH_7B} layer indices, shards of {SHARD} questions (limit: as above, raw)\n")
    print(harness.table(["questions", "seconds", "ms each", "peak MiB", "physical limit of raw, s"], rows), flush=True)
    return [
        harness.Ratio("growth_linear_time", rows[0][2] / rows[-1][2], LINEAR_GOAL),
        harness.Ratio("growth_constant_memory", rows[0][3] / rows[-1][3], MEMORY_GOAL),
    ]


def main() -> int:
    """Run and print; gives the exit status."""
    parts = {"nargs": "+", "choices": ("a", "b", "c"), "default": ("a", "b", "c"), "help": "default: all three"}
    options = harness.arguments(__doc__, parts=parts).parse_args()
    harness.set_threads(options.threads)
    if options.worker:
        print(json.dumps(work(json.loads(options.worker))))
        return 0
    harness.heading("Measures: ours against a NumPy transcription of the formulas", options.threads)
    ratios: list[harness.Ratio] = []
    with tempfile.TemporaryDirectory() as folder:
        if "a" in options.parts:
            ratios += compare_formulas(Path(folder), options.quick)
        if "b" in options.parts:
            ratios += compare_reading(Path(folder), options.quick)
    if "c" in options.parts:
        ratios += compare_growth(options.quick, options.threads)
    return harness.verdict(ratios)


if __name__ == "__main__":
    sys.exit(main())
