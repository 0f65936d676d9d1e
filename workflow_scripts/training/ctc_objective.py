"""Training of an adapter by CTC alone (recipe `objective: ctc`), the language model unseen; not in the paper.

The loss is the warm-up's (`ctc`); a checkpoint is a whole speech LLM, so a run shows how far hearing explains the gap.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from workflow_scripts.speech_lm.trainable.lslm import IGNORED_LABEL
from workflow_scripts.training.collator import padded_features
from workflow_scripts.training.ctc import CtcVocabulary, ctc_nll, sampled_classes
from workflow_scripts.training.dataset import Sample
from workflow_scripts.training.trainer import LSLMTrainer


class CtcCollator:
    """Spoken samples -> `features`, `feature_lengths` and `labels` (B, longest): CTC classes, -100 behind them."""

    def __init__(self, vocabulary: CtcVocabulary, texts: Mapping[str, str], sampled_tokens: int | None = None) -> None:
        """texts: what is said, by the sample's id; sampled_tokens: see `CtcTrainer`."""
        self.vocabulary = vocabulary
        self.sampled_tokens = sampled_tokens
        self._texts = texts

    def __call__(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """Raises ValueError for a written sample, which says nothing."""
        if any(sample.features is None for sample in samples):
            raise ValueError("a written sample in a batch for CTC; written_share must not reach it")
        classes = [torch.tensor(self.vocabulary.encode(self._texts[one.instruction.id])) for one in samples]
        features, lengths = padded_features([sample.features for sample in samples])
        labels = nn.utils.rnn.pad_sequence(classes, batch_first=True, padding_value=IGNORED_LABEL)
        return {"features": features, "feature_lengths": lengths, "labels": labels}


class CtcTrainer(LSLMTrainer):
    """`compute_loss` is the CTC cost per label of the whole optimiser step; the language model is not run.

    With the collator's `sampled_tokens` the softmax is over a batch's tokens and so many others (`sampled_classes`).
    """

    data_collator: CtcCollator

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The log of training counts labels as tokens.

        Raises:
            FloatingPointError: the loss is not finite; names step and remedy.
        """
        labels = [row[row != IGNORED_LABEL].tolist() for row in inputs["labels"]]
        asked, weight = None, None
        if self.data_collator.sampled_tokens is not None:
            # Of seed and step alone, so that a run that was killed goes on as it would have.
            draw = torch.Generator().manual_seed(self.args.seed * 1_000_003 + self.state.global_step)
            classes, weight, labels = sampled_classes(
                labels, len(self.data_collator.vocabulary), self.data_collator.sampled_tokens, draw
            )
            asked = classes[1:].to(inputs["features"].device) - 1
        # Trainer puts autocast around the model's own forward pass, which is not called here.
        with self.accelerator.autocast():
            logits, positions = model.adapter.logits(inputs["features"], inputs["feature_lengths"], asked)
        if weight is not None:
            logits = logits.float() + weight.to(logits.device)
        nll, n_labels = ctc_nll(logits, positions, labels)
        loss = nll / num_items_in_batch
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"the CTC loss is {loss.item()} at step {self.state.global_step + 1}; lower adapter_learning_rate"
            )
        spoken = torch.ones(len(labels), dtype=torch.bool)
        self.meter.add((nll / n_labels).expand(n_labels), torch.zeros(n_labels, dtype=torch.long), spoken)
        return (loss, logits) if return_outputs else loss
