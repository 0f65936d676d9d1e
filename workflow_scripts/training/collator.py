"""From samples to the arguments of `LSLM.forward`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.speech_lm.trainable.lslm import IGNORED_LABEL
from workflow_scripts.training.dataset import Sample

POSITIONS_STEP = 8
"""Rows are padded to a multiple of this many positions: kernels are prepared anew for each new shape."""
FRAMES_STEP = 50
"""Features are padded to a multiple of this many frames (one second), for the same reason."""
_PLACEHOLDER = 0


def round_up(number: int, step: int) -> int:
    """Next multiple of `step`."""
    return -(-number // step) * step


def padded_features(features: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """(frames, d_enc) arrays -> (S, F, d_enc) zero-padded float32, F a multiple of `FRAMES_STEP`, and (S,) lengths."""
    lengths = [len(frames) for frames in features]
    padded = np.zeros((len(features), round_up(max(lengths), FRAMES_STEP), features[0].shape[1]), dtype=np.float32)
    for row, frames in zip(padded, features):
        row[: len(frames)] = frames
    return torch.from_numpy(padded), torch.tensor(lengths)


@dataclass(frozen=True)
class Collator:
    """Builds right-padded rows `prompt, answer (, end token)` and their labels.

    The loss is on the answer tokens, and on the end token where the answer ended by itself (`Instruction.ended`); a
    spoken prompt is the template's tokens with T_s = ceil(frames / stack) placeholders in the place of the text.

    Attributes:
        prefix, suffix: template ids before and after the query.
        end_id: token that ends the model's turn.
        stack: encoder frames per speech position.
        train_end: False leaves the end token out of the labels: loss per answer token, as evaluation counts it.
        written: what is added of the spoken samples in writing, for distillation: their prompts, or answers too.
    """

    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    end_id: int
    stack: int
    train_end: bool = True
    written: Literal["prompt", "answered"] | None = None

    def __call__(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """`input_ids`, `labels` (B, T) and `speech_mask` (B, T); with speech also `features`, `feature_lengths`."""
        prompts = [self._prompt(sample) for sample in samples]
        answers = [self._answer(sample) for sample in samples]
        width = round_up(max(len(p) + len(a) for (p, _), a in zip(prompts, answers)), POSITIONS_STEP)
        input_ids = torch.full((len(samples), width), _PLACEHOLDER)
        labels = torch.full((len(samples), width), IGNORED_LABEL)
        speech_mask = torch.zeros((len(samples), width), dtype=torch.bool)
        for row, ((prompt, (start, end)), answer) in enumerate(zip(prompts, answers)):
            stop = len(prompt) + len(answer)
            input_ids[row, :stop] = torch.tensor([*prompt, *answer])
            labels[row, len(prompt) : stop] = torch.tensor(answer)
            speech_mask[row, start:end] = True
        batch = {"input_ids": input_ids, "labels": labels, "speech_mask": speech_mask}
        spoken = [sample.features for sample in samples if sample.features is not None]
        if spoken:
            batch["features"], batch["feature_lengths"] = padded_features(spoken)
            if self.written is not None:
                batch |= self._written([sample for sample in samples if sample.features is not None])
        return batch

    def _written(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """`written_ids` (S, T) right-padded, and `written_mask` (S, T), true at the tokens of the query itself, or with
        answers `written_labels` (S, T), those of the spoken row.
        """
        prompts = [sample.instruction.prompt_ids for sample in samples]
        answers = [self._answer(sample) if self.written == "answered" else [] for sample in samples]
        width = round_up(max(len(p) + len(a) for p, a in zip(prompts, answers)), POSITIONS_STEP)
        ids = torch.full((len(samples), width), _PLACEHOLDER)
        mask = torch.zeros((len(samples), width), dtype=torch.bool)
        labels = torch.full((len(samples), width), IGNORED_LABEL)
        for row, (prompt, answer) in enumerate(zip(prompts, answers)):
            stop = len(prompt) + len(answer)
            ids[row, :stop] = torch.tensor([*prompt, *answer])
            mask[row, len(self.prefix) : len(prompt) - len(self.suffix)] = True
            labels[row, len(prompt) : stop] = torch.tensor(answer)
        taught = {"written_labels": labels} if self.written == "answered" else {"written_mask": mask}
        return {"written_ids": ids} | taught

    def _prompt(self, sample: Sample) -> tuple[list[int], tuple[int, int]]:
        """Prompt ids and the range of the speech positions (empty for a written prompt)."""
        if sample.features is None:
            return list(sample.instruction.prompt_ids), (0, 0)
        n_positions = -(-len(sample.features) // self.stack)
        start = len(self.prefix)
        return [*self.prefix, *[_PLACEHOLDER] * n_positions, *self.suffix], (start, start + n_positions)

    def _answer(self, sample: Sample) -> list[int]:
        end = [self.end_id] if self.train_end and sample.instruction.ended else []
        return [*sample.instruction.answer_ids, *end]
