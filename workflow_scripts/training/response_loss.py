"""Distillation of answers: their distribution after the written question teaches that after the spoken one (ours).

With p_k and q_k the distributions of the k-th answer token over the vocabulary, after the written and the spoken
question, both given the answer's tokens before it (teacher forcing):

    forward_kl = mean over k of KL(p_k || q_k)          q must cover all that p says
    reverse_kl = mean over k of KL(q_k || p_k)          q must say nothing that p does not

in nats, over the label positions of the answer (its end token included, where it is trained), or the first `positions`
of them. The vocabulary product is made at these positions only, the softmax in float32.
"""

from typing import Any

import torch
from torch import Tensor, nn

from workflow_scripts.speech_lm.trainable.lslm import IGNORED_LABEL, LSLMOutput
from workflow_scripts.training.distill import Distillation


class ResponseLoss(Distillation):
    """Mean KL over the answer's positions, in nats per sample."""

    written = "answered"

    def _run(
        self, model: nn.Module, inputs: dict[str, Any], written: dict[str, Tensor]
    ) -> tuple[LSLMOutput, Tensor, int]:
        output = model(**inputs)
        # Rows are told apart by what was marked: an adapter may leave marked positions empty.
        taught = inputs["speech_mask"].any(dim=1)[output.rows]
        labels = written["written_labels"]
        if self.settings.positions is not None:
            taught &= places_in_row(output.rows) < self.settings.positions
            is_label = labels != IGNORED_LABEL
            labels = labels.masked_fill(is_label & (is_label.cumsum(dim=1) > self.settings.positions), IGNORED_LABEL)
        with self.teaching():
            teacher = self.lslm(written["written_ids"], labels=labels)
        divergences = answer_kl(teacher.logits, output.logits[taught], reverse=self.settings.loss == "reverse_kl")
        sums = divergences.new_zeros(len(labels)).index_add(0, teacher.rows, divergences)
        counts = teacher.rows.bincount(minlength=len(labels)).clamp(min=1)  # an empty answer teaches nothing
        return output, sums / counts, len(divergences)


def places_in_row(rows: Tensor) -> Tensor:
    """(N,) rows in rising order -> how many elements of the same row stand before each."""
    return torch.arange(len(rows), device=rows.device) - torch.searchsorted(rows, rows)


def answer_kl(teacher: Tensor, student: Tensor, *, reverse: bool) -> Tensor:
    """(N,) KL divergences in nats of the distributions with logits (N, V): KL(teacher || student), or reversed.

    In float32; the gradient goes to the student only.
    """
    p, q = teacher.detach().float().log_softmax(dim=-1), student.float().log_softmax(dim=-1)
    of, from_ = (q, p) if reverse else (p, q)
    return nn.functional.kl_div(from_, of, reduction="none", log_target=True).sum(dim=-1)
