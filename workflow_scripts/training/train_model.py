"""Training of one speech LLM on spoken and written instructions (paper, section 3): LoRA or full fine-tuning, or the
adapter alone under a frozen language model, then on spoken instructions only.

Written beside checkpoints.json: one folder per checkpoint step, and while the run is unfinished `trainer/`, from which
a killed run resumes to the same final weights. The encoder is frozen: its features are computed once, before.

Several GPUs: `start_training` starts the model's `processes` (see there and `trainer`); the recipe's batch_size is the
number of samples per optimiser step over all of them.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from transformers import AutoConfig, AutoTokenizer, PrinterCallback, TrainingArguments

from workflow_scripts.artifacts.checkpoints import CheckpointEntry, CheckpointIndex, checkpoint_name
from workflow_scripts.artifacts.files import ArtifactError, disk_full_named, sha256_file
from workflow_scripts.artifacts.provenance import library_versions, provenance, settings_hash
from workflow_scripts.settings.families.composite import TrainedModel
from workflow_scripts.settings.training import RecipeSettings
from workflow_scripts.speech_lm.device import multiplies_bfloat16, resolve_device
from workflow_scripts.speech_lm.families.chat import ChatTemplate
from workflow_scripts.speech_lm.trainable.checkpoint import save_lslm
from workflow_scripts.speech_lm.trainable.lslm import LSLM
from workflow_scripts.training.callbacks import CheckpointCallback
from workflow_scripts.training.collator import Collator
from workflow_scripts.training.curve import LearningCurve
from workflow_scripts.training.dataset import HELDOUT, TRAIN, InstructionDataset, kept_questions, load_instructions
from workflow_scripts.training.distill import Distillation
from workflow_scripts.training.heldout import Heldout
from workflow_scripts.training.initial_model import SWAMPING_SHARE, new_lslm, swamped_matrices
from workflow_scripts.training.objectives import DISTILLATIONS, OBJECTIVES, Objective
from workflow_scripts.training.online import open_features
from workflow_scripts.training.sampler import ITEMS_PER_GROUP, STEPS_PER_GROUP, MixedBatchSampler
from workflow_scripts.training.sharding import shard
from workflow_scripts.training.trainer import LSLMTrainer
from workflow_scripts.training.unfinished import (
    LOG,
    TRAINER,
    clear,
    discard_unfit,
    is_trained,
    last_state,
    state_step,
)

logger = logging.getLogger(__name__)
LOGS_PER_RUN = 40


def train_model(
    questions: Path,
    manifest: Path,
    features: Path | None,
    answers: Path,
    backbone: Path,
    warmup: Path | None,
    checkpoints: Path,
    curve: Path,
    *,
    name: str,
    model: Mapping[str, Any],
    recipe: Mapping[str, Any],
    system_prompt: str | None,
    encoder: Path | None = None,
    window_seconds: float | None = None,
) -> None:
    """Train the model `name`; write its checkpoint folders, log.csv and, last, checkpoints.json.

    Args:
        questions, manifest, features, answers: the instructions, their audio, its encoder output (None: computed in
            every step, by the Whisper model in the folder `encoder` with `window_seconds`), the targets.
        backbone: folder of the language model. warmup: adapter.safetensors of the warm-up, or checkpoints.json of
            the run to start from; None for a random adapter.
        model, recipe: values of `TrainedModel` and `RecipeSettings`.
        system_prompt: None for the chat template's own.

    Raises:
        ArtifactError: inputs do not fit each other or the recipe, or the disk is full.
        FloatingPointError: the loss is not finite.
    """
    entry, settings = TrainedModel.model_validate(model), RecipeSettings.model_validate(recipe)
    if (settings.warmup == "ctc") != (warmup is not None):
        raise ArtifactError(
            f"recipe {entry.recipe!r} has warmup {settings.warmup!r}, but the adapter given is {warmup}"
        )
    folder, steps = checkpoints.parent, settings.checkpoint_steps
    reader = open_features(features, manifest, encoder, window_seconds)
    tokenizer = AutoTokenizer.from_pretrained(backbone, local_files_only=True, trust_remote_code=False)
    template = ChatTemplate(tokenizer, system_prompt=system_prompt, model_name=entry.backbone)
    asked = kept_questions(questions, manifest, reader)
    data = {
        split: InstructionDataset(load_instructions(found, answers, reader, template), reader)
        for split, found in asked.items()
    }
    taught = None if entry.distill is None else DISTILLATIONS[entry.distill.loss]
    collator = make_collator(template, settings.adapter.stack, written=taught and taught.written)
    objective = OBJECTIVES[settings.objective](collator, tokenizer, asked[TRAIN], settings)
    inputs = {path.name: sha256_file(path) for path in (questions, manifest, features, answers, warmup) if path}
    if features is None:
        inputs["encoder"] = sha256_file(encoder / "config.json")
    facts = provenance(
        {"model": dict(model), "recipe": dict(recipe), "system_prompt": system_prompt},
        model=name,
        warmup=settings.warmup,
        n_train=len(data[TRAIN]) // 2,
        n_heldout=len(data[HELDOUT]) // 2,
        inputs=inputs,
    )
    args = training_arguments(folder / TRAINER, settings, entry)
    if args.should_save:
        discard_unfit(folder, fingerprint(facts, args), steps)
    args.distributed_state.wait_for_everyone()
    learning_curve = LearningCurve(folder / TRAINER / LOG)
    if is_trained(folder, steps):
        logger.info("%s: trained by an earlier run, which did not come to its end", folder)
        learning_curve.resume(steps[-1])
        args.distributed_state.wait_for_everyone()  # All have looked before the first clears it.
    else:
        lslm = new_lslm(backbone, reader.width, entry, settings, warmup, objective.heard_tokens)
        if warmup is not None:
            warn_of_swamping(lslm, settings.rates(entry.strategy)[1], entry.recipe)
        if entry.shard and args.world_size > 1:
            shard(lslm, args.device, args.world_size, bf16=args.bf16)
        trainer = make_trainer(
            lslm,
            args,
            objective,
            data,
            entry,
            settings,
            distillation=taught and taught(lslm, entry.distill),
            heldout_collator=make_collator(template, settings.adapter.stack, train_end=False),
            export=exporter(lslm, folder, backbone, seed=entry.seed, facts=facts, write=args.should_save),
            curve=learning_curve,
        )
        train(trainer, folder, learning_curve)
    if args.should_save:
        finish(checkpoints, curve, learning_curve, name, steps, facts)


def fingerprint(facts: Mapping[str, Any], args: TrainingArguments) -> str:
    """What a run must share with an unfinished one to go on from it: it then ends with the same weights."""
    return settings_hash(
        {
            "settings": facts["settings"],
            "inputs": facts["inputs"],
            "libraries": library_versions(),
            "processes": args.world_size,
            # A run that goes on sees the samples in the order in which it began.
            "order": [STEPS_PER_GROUP, ITEMS_PER_GROUP],
        }
    )


def make_trainer(
    lslm: LSLM,
    args: TrainingArguments,
    objective: Objective,
    data: Mapping[str, InstructionDataset],
    entry: TrainedModel,
    settings: RecipeSettings,
    *,
    distillation: Distillation | None,
    heldout_collator: Collator,
    export: Callable[[int], None],
    curve: LearningCurve,
) -> LSLMTrainer:
    """The trainer of a model on `data[TRAIN]`, which exports and evaluates on `data[HELDOUT]` at checkpoint steps."""
    steps = settings.checkpoint_steps
    sampler = MixedBatchSampler(
        [-(-one.frames // settings.adapter.stack) + len(one.answer_ids) for one in data[TRAIN].instructions],
        batch_size=settings.batch_size,
        written_share=0.0 if entry.strategy == "adapter" else settings.written_share,
        steps=steps[-1],
        seed=entry.seed,
    )
    trainer = objective.trainer(
        lslm,
        args,
        sampler=sampler,
        adapter_learning_rate=settings.rates(entry.strategy)[1],
        distillation=distillation,
        train_dataset=data[TRAIN],
        data_collator=objective.collator,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(
        CheckpointCallback(
            steps,
            log_every=max(1, steps[-1] // LOGS_PER_RUN),
            export=export,
            evaluate=Heldout(lslm, data[HELDOUT], heldout_collator, bf16=args.bf16, frozen=entry.frozen),
            together=trainer.sharded,
            meter=trainer.meter,
            curve=curve,
            distilled=trainer.distilled,
        )
    )
    log_run(lslm, sampler, args, data)
    return trainer


def exporter(
    lslm: LSLM, folder: Path, backbone: Path, *, seed: int, facts: Mapping[str, Any], write: bool
) -> Callable[[int], None]:
    """export(step), which writes the folder of a checkpoint.

    Trained in float32, stored as the backbone is: what is evaluated has the same precision before and after.
    """
    dtype = AutoConfig.from_pretrained(backbone, local_files_only=True, trust_remote_code=False).dtype

    def export(step: int) -> None:
        save_lslm(folder / checkpoint_name(step), lslm, step=step, seed=seed, facts=facts, dtype=dtype, write=write)

    return export


def train(trainer: LSLMTrainer, folder: Path, curve: LearningCurve) -> None:
    """Train to the last step, from the newest state of an unfinished run if there is one."""
    state = last_state(folder)
    if state is not None:
        curve.resume(state_step(state))
        logger.info("resuming from %s", state)
    with disk_full_named(folder / TRAINER):
        trainer.train(resume_from_checkpoint=None if state is None else str(state))


def make_collator(
    template: ChatTemplate,
    stack: int,
    *,
    train_end: bool = True,
    written: Literal["prompt", "answered"] | None = None,
) -> Collator:
    """The collator of a chat template.

    Raises:
        ArtifactError: the tokenizer names no end token.
    """
    end = template.tokenizer.eos_token_id
    if end is None:
        raise ArtifactError(f"{template.model_name}: the tokenizer has no eos_token, which has to end the answers")
    prefix, suffix = template.ids
    return Collator(prefix, suffix, end, stack, train_end, written)


def training_arguments(output: Path, settings: RecipeSettings, entry: TrainedModel) -> TrainingArguments:
    """Trainer's arguments of a recipe: cosine schedule with warm-up, AdamW, gradient norm clipped at 1.

    Raises:
        ArtifactError: processes and micro-batches do not divide the batch, or one process sees several GPUs.
    """
    device = resolve_device()
    steps = settings.checkpoint_steps[-1]
    args = TrainingArguments(
        output_dir=str(output),
        max_steps=steps,
        learning_rate=settings.rates(entry.strategy)[0],
        lr_scheduler_type="cosine",
        warmup_steps=round(settings.warmup_ratio * steps),
        weight_decay=settings.weight_decay,
        max_grad_norm=1.0,
        bf16=multiplies_bfloat16(device),
        use_cpu=device.type == "cpu",
        seed=entry.seed,
        save_strategy="no",  # the callback asks for it
        save_total_limit=1,
        logging_strategy="no",  # the callback logs
        logging_nan_inf_filter=False,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=device.type == "cuda",
        ddp_find_unused_parameters=True,  # a micro-batch may be all written
        label_names=["labels"],
    )
    if args.n_gpu > 1:
        raise ArtifactError(
            f"one process sees {args.n_gpu} GPUs; set CUDA_VISIBLE_DEVICES to one of them, or start with torchrun"
        )
    problem = settings.unfit_batch(args.world_size)
    problem = problem or settings.unfit_objective(entry.strategy, args.world_size, entry.distill is not None)
    if problem:
        raise ArtifactError(f"{problem} in the recipe")
    per_process = settings.batch_size // args.world_size
    args.per_device_train_batch_size = settings.micro_batch_size or per_process
    args.gradient_accumulation_steps = per_process // args.per_device_train_batch_size
    return args


def warn_of_swamping(lslm: LSLM, learning_rate: float, recipe: str) -> None:
    """Log each adapter matrix whose warm-up the learning rate would undo."""
    for matrix, share in swamped_matrices(lslm.adapter, learning_rate).items():
        logger.warning(
            "recipe %r: a step at adapter_learning_rate %.1e changes weights of the warmed-up %s by about %.0f %%, "
            "which undoes the warm-up; %.1e or less keeps it",
            recipe,
            learning_rate,
            matrix,
            100 * share,
            learning_rate * SWAMPING_SHARE / share,
        )


def log_run(
    lslm: LSLM, sampler: MixedBatchSampler, args: TrainingArguments, data: Mapping[str, InstructionDataset]
) -> None:
    """One line on what is trained."""
    n_trained = sum(parameter.numel() for parameter in lslm.parameters() if parameter.requires_grad)
    logger.info(
        "%.1f M trained parameters; %d steps of %d spoken + %d written samples from %d instructions; %d held out; %s",
        n_trained / 1e6,
        sampler.steps,
        sampler.n_spoken,
        sampler.n_written,
        sampler.n_instructions,
        len(data[HELDOUT]) // 2,
        "bfloat16 products" if args.bf16 else "float32",
    )


def finish(
    checkpoints: Path, curve: Path, learning_curve: LearningCurve, name: str, steps: list[int], facts: dict[str, Any]
) -> None:
    """Write log.csv and checkpoints.json over the folders beside it; clear away what a run that goes on would need."""
    learning_curve.save(curve)
    entries = [CheckpointEntry.of(checkpoints.parent / checkpoint_name(step), step) for step in steps]
    CheckpointIndex(schema="checkpoints/1", model=name, checkpoints=entries, provenance=facts).write(checkpoints)
    clear(checkpoints.parent)
