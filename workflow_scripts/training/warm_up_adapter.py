"""CTC warm-up of the speech adapter, so that a small study reaches alignment within minutes; not in the paper.

Alone, before the language model sees any speech, the adapter learns to write the utterance's tokens in the language
model's own embedding directions (`ctc.py`). Then, if its outputs are what the language model gets
(`adapter.output: projection`), its last layer is scaled so that they are as long, on average, as token embeddings; with
`posterior` the language model gets the mean embedding under the CTC posterior. A function of data, settings and seed.
"""

import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoTokenizer

from workflow_scripts.artifacts.files import ArtifactError, atomic_path
from workflow_scripts.artifacts.provenance import provenance
from workflow_scripts.artifacts.questions import Question
from workflow_scripts.artifacts.tables import WARMUP_LOG, write_columns
from workflow_scripts.settings.training import RecipeSettings, WarmupSettings
from workflow_scripts.speech_lm.device import multiplies_bfloat16, resolve_device
from workflow_scripts.speech_lm.trainable.adapters import CtcHead, PosteriorAdapter, SpeechAdapter
from workflow_scripts.speech_lm.trainable.checkpoint import load_backbone
from workflow_scripts.training.collator import padded_features
from workflow_scripts.training.ctc import (
    CtcVocabulary,
    ctc_nll,
    greedy_classes,
    positions_needed,
    spoken_text,
)
from workflow_scripts.training.dataset import HELDOUT, TRAIN, kept_questions
from workflow_scripts.training.initial_model import new_adapter
from workflow_scripts.training.online import Features, open_features
from workflow_scripts.training.sampler import LengthGroupedOrder

logger = logging.getLogger(__name__)
RISING_SHARE = 0.05
LOG_SECONDS = 20.0
RESCALE_UTTERANCES = 1000


@dataclass(frozen=True, eq=False)
class Utterance:
    """One utterance: number of encoder frames, label classes, the text that was said, and what reads its features.

    Features are read when a batch needs them: of a day of speech they are 9 GB in float32.
    """

    frames: int
    classes: list[int]
    text: str
    read: Callable[[], np.ndarray]


def warm_up_adapter(
    questions: Path,
    manifest: Path,
    features: Path | None,
    backbone: Path,
    adapter: Path,
    curve: Path,
    *,
    recipe: Mapping[str, Any],
    seed: int,
    encoder: Path | None = None,
    window_seconds: float | None = None,
) -> None:
    """Train the adapter with CTC on the training utterances and write adapter.safetensors and log.csv.

    Args:
        backbone: folder of the language model whose token embeddings are the targets; it is not run.
        recipe: values of `RecipeSettings`.

    Raises:
        ArtifactError: the recipe has no warm-up, or no utterance is long enough for its text.
        FloatingPointError: the loss is not finite; names the step and the remedy.
    """
    settings = RecipeSettings.model_validate(recipe)
    if settings.warmup != "ctc":
        raise ArtifactError(f"warmup is {settings.warmup!r} in this recipe; there is nothing to warm up")
    reader = open_features(features, manifest, encoder, window_seconds)
    by_split = kept_questions(questions, manifest, reader)
    embeddings = token_embeddings(backbone)
    tokenizer = AutoTokenizer.from_pretrained(backbone, local_files_only=True, trust_remote_code=False)
    vocabulary = CtcVocabulary(tokenizer, [question.spoken for question in by_split[TRAIN]])
    train = possible(load_utterances(by_split[TRAIN], reader, vocabulary), settings.adapter.stack)
    heldout = load_utterances(by_split[HELDOUT], reader, vocabulary)
    n_impossible = len(by_split[TRAIN]) - len(train)
    logger.info("%d CTC classes; %d utterances are too short for their text, dropped", len(vocabulary), n_impossible)
    if not train:
        raise ArtifactError(
            f"{features or manifest}: every utterance has fewer positions than tokens; lower adapter.stack"
        )
    trained = new_adapter(settings.adapter, reader.width, embeddings.shape[1], seed)
    rows = []
    device = resolve_device()
    trained.to(device)
    used = embeddings[torch.tensor(vocabulary.token_ids)]
    head = CtcHead(used).to(device)
    for row in train_ctc(trained, head, train, settings.ctc, seed):
        wer = word_error_rate(trained, head, vocabulary, heldout)
        rows.append({**row, "wer": wer, "n_impossible": n_impossible, "n_heldout": len(heldout)})
        logger.info("epoch %d: ctc loss %.3f per token, held-out WER %.3f", row["epoch"], row["ctc_loss"], wer)
    facts = provenance(dict(recipe), seed=seed, n_train=len(train), heldout_wer=rows[-1]["wer"])
    if settings.adapter.output == "posterior":
        trained = PosteriorAdapter.of(trained.cpu(), head.cpu(), used, collapse=settings.adapter.collapse)
    else:
        target = float(embeddings.norm(dim=-1).mean())
        facts["scale"] = rescale(trained, train, target)
        logger.info(
            "last layer scaled by %.4f: mean output norm is now %.3f, as token embeddings", facts["scale"], target
        )
    write_adapter(adapter, trained, facts)
    write_columns(curve, rows, WARMUP_LOG)


def token_embeddings(backbone: Path) -> Tensor:
    """(V, d) input embeddings of the language model, float32; the rest of it is loaded as it is stored, and dropped."""
    stored = AutoConfig.from_pretrained(backbone, local_files_only=True, trust_remote_code=False).dtype or torch.float32
    return load_backbone(backbone, dtype=stored).get_input_embeddings().weight.detach().float()


def load_utterances(questions: Sequence[Question], features: Features, vocabulary: CtcVocabulary) -> list[Utterance]:
    """Labels of questions, and where their features are; the text is what the voice reads."""
    return [
        Utterance(
            features.frames(q.id),
            vocabulary.encode(q.spoken),
            spoken_text(q.spoken).strip(),
            partial(features.__getitem__, q.id),
        )
        for q in questions
    ]


def possible(utterances: Sequence[Utterance], stack: int) -> list[Utterance]:
    """Utterances with at least as many positions (ceil(frames / stack)) as CTC needs for their labels, and a label."""
    return [one for one in utterances if one.classes and positions_needed(one.classes) <= -(-one.frames // stack)]


def train_ctc(
    adapter: SpeechAdapter, head: CtcHead, utterances: Sequence[Utterance], settings: WarmupSettings, seed: int
) -> Iterator[dict[str, Any]]:
    """Train adapter and blank in place; after each epoch yield its row of the log (epoch, step, loss, rate, seconds).

    AdamW, rate rising over the first 5 % of the steps, then falling to zero as a cosine; batches of like length;
    gradient norm clipped at 1. The loss of a step is the CTC cost per label.
    """
    device = head.bias.device
    order = LengthGroupedOrder([one.frames for one in utterances], min(settings.batch_size, len(utterances)), (seed,))
    n_steps = settings.epochs * order.steps_per_epoch
    parameters = [*adapter.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: cosine_rate(step, n_steps))
    started = reported = time.monotonic()
    for epoch in range(settings.epochs):
        total, n_labels = 0.0, 0
        for step in range(epoch * order.steps_per_epoch, (epoch + 1) * order.steps_per_epoch):
            batch = [utterances[index] for index in order.batch(step)]
            logits, lengths = _logits(adapter, head, batch, device)
            nll, count = ctc_nll(logits, lengths, [one.classes for one in batch])
            if not torch.isfinite(nll):
                raise FloatingPointError(f"CTC loss is {nll.item()} at step {step + 1}; lower ctc.learning_rate")
            optimizer.zero_grad()
            (nll / count).backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            total, n_labels = total + nll.item(), n_labels + count
            if time.monotonic() - reported > LOG_SECONDS:
                reported = time.monotonic()
                left = (reported - started) / (step + 1) * (n_steps - step - 1)
                logger.info("step %d of %d: ctc loss %.3f, %.0f s left", step + 1, n_steps, nll.item() / count, left)
        yield {
            "epoch": epoch + 1,
            "step": (epoch + 1) * order.steps_per_epoch,
            "ctc_loss": total / n_labels,
            "n_train": len(utterances),
            "learning_rate": schedule.get_last_lr()[0],
            "seconds": time.monotonic() - started,
        }


def cosine_rate(step: int, n_steps: int) -> float:
    """Share of the peak rate at `step`: linear rise over the first `RISING_SHARE`, then a half cosine to zero."""
    rising = max(1, round(RISING_SHARE * n_steps))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, n_steps - rising)))


def word_error_rate(
    adapter: SpeechAdapter, head: CtcHead, vocabulary: CtcVocabulary, utterances: Sequence[Utterance]
) -> float:
    """Pooled word error rate of greedy decoding against the texts as aligned (`spoken_text`)."""
    said: list[str] = []
    heard: list[str] = []
    with torch.no_grad():
        for batch in _chunks(utterances):
            logits, lengths = _logits(adapter, head, batch, head.bias.device)
            said.extend(one.text for one in batch)
            heard.extend(vocabulary.decode(classes) for classes in greedy_classes(logits, lengths))
    return float(jiwer.wer(said, heard))


def rescale(adapter: SpeechAdapter, utterances: Sequence[Utterance], target_norm: float) -> float:
    """Scale the adapter's last layer so that its outputs have `target_norm` on average; returns the factor.

    The mean is over the real positions of (at most `RESCALE_UTTERANCES`, evenly taken) `utterances`, in float32. The
    last layer is linear, so the new mean is exact for them.
    """
    total, count = 0.0, 0
    stride = -(-len(utterances) // RESCALE_UTTERANCES)
    with torch.no_grad():
        for batch in _chunks(utterances[::stride]):
            features, frames = padded_features([one.read() for one in batch])
            outputs, lengths = adapter(features.to(adapter.up.weight.device), frames)
            real = torch.arange(outputs.shape[1]) < lengths[:, None]
            norms = outputs.norm(dim=-1).cpu()[real]
            total, count = total + float(norms.double().sum()), count + len(norms)
        factor = target_norm / (total / count)
        adapter.up.weight.mul_(factor)
        adapter.up.bias.mul_(factor)
    return factor


def write_adapter(path: Path, adapter: SpeechAdapter, facts: Mapping[str, Any]) -> None:
    """Write the adapter's weights (float32) as safetensors, shape and provenance in the header, atomically."""
    weights = {name: tensor.detach().float().cpu().contiguous() for name, tensor in adapter.state_dict().items()}
    header = {"adapter": json.dumps(adapter.shape.to_dict()), "provenance": json.dumps(facts, default=str)}
    with atomic_path(path) as temporary:
        save_file(weights, temporary, metadata=header)


def _logits(
    adapter: SpeechAdapter, head: CtcHead, batch: Sequence[Utterance], device: torch.device
) -> tuple[Tensor, Tensor]:
    """(B, T_s, classes) logits and (B,) positions; products in bfloat16 where the hardware multiplies it."""
    features, frames = padded_features([one.read() for one in batch])
    with torch.autocast(device.type, torch.bfloat16, enabled=multiplies_bfloat16(device)):
        outputs, lengths = adapter(features.to(device), frames)
        return head(outputs), lengths


def _chunks(utterances: Sequence[Utterance], size: int = 32) -> Iterator[list[Utterance]]:
    ordered = sorted(utterances, key=lambda one: -one.frames)
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: warm_up_adapter(
            Path(s.input.questions),
            Path(s.input.manifest),
            Path(str(s.input.features)) if s.input.features else None,
            Path(s.input.backbone).parent,
            Path(s.output.adapter),
            Path(s.output.curve),
            recipe=s.params.recipe,
            seed=s.params.seed,
            encoder=Path(s.input.encoder).parent,
            window_seconds=s.params.get("window_seconds"),
        ),
    )
