"""An alignment loss beside the answer loss: speech vectors are pulled towards the text tokens they align with (ours).

The paper ends by suggesting that alignment be trained; this option tests it. For a spoken sample, at each chosen layer
l, with the states of its speech positions s_i and those of the same prompt written, t_j:

    i*_j = argmax_i cos(s_i, t_j)          the alignment path of that layer, found anew in each step
    loss = 1 - mean over layers and j of cos(s_{i*_j}, t_j)

Gradients go through s only: the path and the text states are constants, computed with the weights of the moment and
without dropout. Zero vectors count as cosine 0. States are indexed as in measuring: l < L is the input of layer l.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.measures.reading import best_frames
from workflow_scripts.settings.families.composite import DistillSettings
from workflow_scripts.speech_lm.anatomy import decoder_of
from workflow_scripts.speech_lm.trainable.lslm import LSLM

logger = logging.getLogger(__name__)
WRITTEN = ("written_ids", "written_mask")
"""Keys of a batch that hold the prompts of its spoken samples in writing; not arguments of the model."""


class Distillation:
    """The alignment loss of a model at the chosen layers.

    Raises:
        ArtifactError: a layer does not exist.
    """

    def __init__(self, lslm: LSLM, settings: DistillSettings) -> None:
        self.lslm, self.settings = lslm, settings
        n_layers = len(decoder_of(lslm.language_model).layers)
        if outside := [layer for layer in settings.layers if not 0 <= layer <= n_layers]:
            raise ArtifactError(
                f"distill.layers has {outside[0]}, but the language model has states 0 .. {n_layers}; change "
                "the model's entry"
            )
        self._sum, self._n = 0.0, 0

    @contextmanager
    def recording(self) -> Iterator[dict[int, Tensor]]:
        """While open, a forward pass leaves its states (B, T, d) at the chosen layers in the dict, with gradients."""
        layers = decoder_of(self.lslm.language_model).layers
        states: dict[int, Tensor] = {}

        def reading_hook(index: int) -> Callable[..., None]:
            def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
                states[index] = args[0] if args else kwargs["hidden_states"]

            return hook

        def output_hook(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
            states[len(layers)] = output[0] if isinstance(output, tuple) else output

        handles = []
        try:
            for index in self.settings.layers:
                if index < len(layers):
                    handles.append(layers[index].register_forward_pre_hook(reading_hook(index), with_kwargs=True))
                else:
                    handles.append(layers[-1].register_forward_hook(output_hook))
            yield states
        finally:
            for handle in handles:
                handle.remove()

    def loss(self, states: dict[int, Tensor], speech_mask: Tensor, written: dict[str, Tensor]) -> Tensor:
        """Sum over the batch's spoken samples of their alignment losses, each in 0 .. 2.

        Args:
            states: of the pass, by layer. speech_mask: (B, T).
            written: `written_ids` and `written_mask` (S, T_w) of the S spoken samples, in row order.
        """
        text = self._text_states(written["written_ids"])
        total = torch.zeros((), device=speech_mask.device)
        for place, row in enumerate(speech_mask.any(dim=1).nonzero()[:, 0].tolist()):
            aligned = [
                aligned_cosine(states[layer][row, speech_mask[row]], text[layer][place, written["written_mask"][place]])
                for layer in self.settings.layers
            ]
            total = total + 1 - torch.stack(aligned).mean()
            self._n += 1
        self._sum += float(total.detach())
        return total

    def read(self) -> float | None:
        """Mean alignment loss of the samples since the last reading; None without any."""
        mean = self._sum / self._n if self._n else None
        self._sum, self._n = 0.0, 0
        return mean

    @torch.no_grad()
    def _text_states(self, ids: Tensor) -> dict[int, Tensor]:
        training = self.lslm.training
        self.lslm.eval()
        try:
            with self.recording() as states:
                embeds = self.lslm.embed_tokens(ids)
                decoder_of(self.lslm.language_model)(inputs_embeds=embeds, use_cache=False)
        finally:
            self.lslm.train(training)
        return states


def aligned_cosine(speech: Tensor, text: Tensor) -> Tensor:
    """Mean over text tokens (T_t, d) of the cosine with their best speech position (T_s, d).

    The gradient goes to the speech only.
    """
    s = nn.functional.normalize(speech.float(), dim=1)
    t = nn.functional.normalize(text.detach().float(), dim=1)
    frames = best_frames(s.detach() @ t.T)
    return (s[frames] * t).sum(dim=1).mean()
