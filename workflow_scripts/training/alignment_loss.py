"""Distillation of states: speech vectors are pulled towards the text tokens they align with (ours).

The paper ends by suggesting that alignment be trained; this option tests it. For a spoken sample, at each chosen layer
l, with the states of its speech positions s_i and those of the same prompt written, t_j:

    i*_j = argmax_i cos(s_i, t_j)          the alignment path of that layer, found anew in each step
    loss = 1 - mean over layers and j of cos(s_{i*_j}, t_j)

Gradients go through s only: the path and the text states are constants. Zero vectors count as cosine 0. States are
indexed as in measuring: l < L is the input of layer l.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.measures.reading import best_frames
from workflow_scripts.settings.families.composite import DistillSettings
from workflow_scripts.speech_lm.anatomy import decoder_of
from workflow_scripts.speech_lm.trainable.lslm import LSLM, LSLMOutput
from workflow_scripts.training.distill import Distillation


class AlignmentLoss(Distillation):
    """1 - cosine along the path, 0 to 2 per sample.

    Raises:
        ArtifactError: a layer does not exist.
    """

    written = "prompt"

    def __init__(self, lslm: LSLM, settings: DistillSettings) -> None:
        super().__init__(lslm, settings)
        n_layers = len(decoder_of(lslm.language_model).layers)
        if outside := [layer for layer in settings.layers if not 0 <= layer <= n_layers]:
            raise ArtifactError(
                f"distill.layers has {outside[0]}, but the language model has states 0 .. {n_layers}; change "
                "the model's entry"
            )

    def _run(
        self, model: nn.Module, inputs: dict[str, Any], written: dict[str, Tensor]
    ) -> tuple[LSLMOutput, Tensor, int]:
        with self.recording() as speech:
            output = model(**inputs)
        with self.teaching(), self.recording() as text:
            embeds = self.lslm.embed_tokens(written["written_ids"])
            decoder_of(self.lslm.language_model)(inputs_embeds=embeds, use_cache=False)
        query = written["written_mask"]
        losses = []
        for place, row in enumerate(output.speech_mask.any(dim=1).nonzero()[:, 0].tolist()):
            aligned = [
                aligned_cosine(speech[layer][row, output.speech_mask[row]], text[layer][place, query[place]])
                for layer in self.settings.layers
            ]
            losses.append(1 - torch.stack(aligned).mean())
        return output, torch.stack(losses), int(query.sum())

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


def aligned_cosine(speech: Tensor, text: Tensor) -> Tensor:
    """Mean over text tokens (T_t, d) of the cosine with their best speech position (T_s, d).

    The gradient goes to the speech only.
    """
    s = nn.functional.normalize(speech.float(), dim=1)
    t = nn.functional.normalize(text.detach().float(), dim=1)
    frames = best_frames(s.detach() @ t.T)
    return (s[frames] * t).sum(dim=1).mean()
