"""The learning curve's held-out side: answer loss per token of prompts that are never trained on."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch.utils.data import Dataset

from workflow_scripts.speech_lm.decoding.batching import batches
from workflow_scripts.speech_lm.trainable.lslm import LSLM
from workflow_scripts.training.collator import Collator
from workflow_scripts.training.dataset import InstructionDataset, Sample
from workflow_scripts.training.sharding import split_again

MAX_POSITIONS = 4096
BATCH = 32


@dataclass(frozen=True)
class FormLoss:
    """Teacher-forced loss of one form: nats per answer token (end token not counted), pooled over samples."""

    form: str
    loss_per_token: float
    n_samples: int
    n_tokens: int


class Heldout:
    """Held-out losses of a model in training, by form; those of written prompts once where it is frozen."""

    def __init__(
        self, lslm: LSLM, dataset: InstructionDataset, collator: Collator, *, bf16: bool, frozen: bool
    ) -> None:
        self.lslm, self.dataset, self.collator = lslm, dataset, collator
        self.bf16, self.frozen = bf16, frozen
        self.known: dict[str, FormLoss] = {}

    def __call__(self) -> list[FormLoss]:
        options = {"batch_size": BATCH, "bf16": self.bf16, "known": self.known}
        found = list(heldout_losses(self.lslm, self.dataset, self.collator, **options))
        if self.frozen:
            self.known.update({loss.form: loss for loss in found if loss.form == "text"})
        split_again(self.lslm)
        return found


def heldout_losses(
    lslm: LSLM,
    dataset: InstructionDataset,
    collator: Collator,
    *,
    batch_size: int,
    bf16: bool,
    known: Mapping[str, FormLoss] = MappingProxyType({}),
) -> Iterator[FormLoss]:
    """Loss of the spoken, then of the written form of all instructions of `dataset`; the model's mode is restored.

    bf16: matrix products in bfloat16, as in training. No random numbers are drawn.
    known: losses by form that need not be computed again: those of written prompts where the language model is frozen.
    """
    n = len(dataset) // 2
    device = next(lslm.parameters()).device
    was_training = lslm.training
    lslm.eval()
    try:
        for form, indices in (("speech", range(n)), ("text", range(n, 2 * n))):
            if form in known:
                yield known[form]
                continue
            nll, n_tokens = _total(lslm, dataset, indices, collator, batch_size, device, bf16)
            if not math.isfinite(nll):
                raise FloatingPointError(
                    f"the held-out loss of the {form} form is {nll}; lower the recipe's learning_rate or "
                    "adapter_learning_rate, or start from a warmed-up adapter"
                )
            yield FormLoss(form, nll / n_tokens, n, n_tokens)
    finally:
        lslm.train(was_training)


@torch.no_grad()
def _total(
    lslm: LSLM,
    dataset: Dataset[Sample],
    indices: Sequence[int],
    collator: Collator,
    batch_size: int,
    device: torch.device,
    bf16: bool,
) -> tuple[float, int]:
    samples = [dataset[index] for index in indices]
    total, n_tokens = 0.0, 0
    lengths = [
        len(sample.instruction.prompt_ids) if sample.features is None else len(sample.features) for sample in samples
    ]
    for group in batches(lengths, batch_size, MAX_POSITIONS * collator.stack):
        batch = {name: tensor.to(device) for name, tensor in collator([samples[i] for i in group]).items()}
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            token_nll = lslm(**batch).token_nll
        total += float(token_nll.double().sum())
        n_tokens += len(token_nll)
    return total, n_tokens
