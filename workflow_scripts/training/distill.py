"""A loss beside the answer loss, by which the same model after the written question teaches it after the spoken (ours).

`alignment_loss` teaches states, `response_loss` the distribution of the answer; `distill.loss` of a model's entry says
which. The teacher has the weights of the moment, no dropout and no gradient: with strategy adapter it is the frozen
backbone.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from workflow_scripts.settings.families.composite import DistillSettings
from workflow_scripts.speech_lm.trainable.lslm import LSLM, LSLMOutput


class Distillation(ABC):
    """What is taught. `written`: what a batch must hold of its spoken samples in writing (`Collator.written`)."""

    written: ClassVar[Literal["prompt", "answered"]]

    def __init__(self, lslm: LSLM, settings: DistillSettings) -> None:
        self.lslm, self.settings = lslm, settings
        self._sums = torch.zeros(3, dtype=torch.float64)

    def run(self, model: nn.Module, inputs: dict[str, Any]) -> tuple[LSLMOutput, Tensor | None]:
        """The model's output for a batch, and the sum over its spoken samples of their losses; None without any.

        Args:
            model: the LSLM, or what wraps it.
            inputs: a batch; what it holds in writing is taken out of it.
        """
        written = {name: inputs.pop(name) for name in list(inputs) if name.startswith("written_")}
        if not written:
            return model(**inputs), None
        output, losses, n_positions = self._run(model, inputs, written)
        self._sums += torch.tensor([float(losses.detach().sum()), len(losses), n_positions], dtype=torch.float64)
        return output, losses.sum()

    @abstractmethod
    def _run(
        self, model: nn.Module, inputs: dict[str, Any], written: dict[str, Tensor]
    ) -> tuple[LSLMOutput, Tensor, int]:
        """Output, (S,) loss of every spoken sample in row order, and how many positions were taught."""

    def read(self) -> Tensor:
        """(3,) sum of losses, samples, positions taught since the last reading."""
        sums, self._sums = self._sums, torch.zeros(3, dtype=torch.float64)
        return sums

    @contextmanager
    def teaching(self) -> Iterator[None]:
        """While open, the model is the teacher: no gradient, no dropout."""
        training = self.lslm.training
        self.lslm.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.lslm.train(training)
