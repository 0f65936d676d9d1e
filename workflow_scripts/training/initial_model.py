"""The model before its first step: which parts are new, which are frozen, and in which number format."""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from workflow_scripts.artifacts.checkpoints import CheckpointIndex
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.settings.families.composite import TrainedModel
from workflow_scripts.settings.model_size import TRAINED_BYTES
from workflow_scripts.settings.training import AdapterSettings, RecipeSettings
from workflow_scripts.speech_lm.device import multiplies_bfloat16, resolve_device
from workflow_scripts.speech_lm.memory import require_backbone
from workflow_scripts.speech_lm.trainable.adapters import (
    AdapterShape,
    CtcHead,
    PosteriorAdapter,
    PosteriorAdapterShape,
    SpeechAdapter,
)
from workflow_scripts.speech_lm.trainable.checkpoint import load_backbone
from workflow_scripts.speech_lm.trainable.lora import LoraSettings, attach_lora
from workflow_scripts.speech_lm.trainable.lslm import LSLM

SWAMPING_SHARE = 0.1
"""Adam moves every weight by about the learning rate a step. Measured on the default study: with a rate of 36 % of the
warmed-up last layer's typical weight, 25 steps undo the warm-up; with 6 % it stays and the model builds on it."""


def new_adapter(settings: AdapterSettings, d_encoder: int, d_model: int, seed: int) -> SpeechAdapter:
    """A randomly initialised adapter (torch's default for linear maps), drawn from `seed` alone."""
    shape = AdapterShape(d_encoder, settings.hidden_size, d_model, settings.stack, settings.activation)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SpeechAdapter(shape)


def new_lslm(
    backbone: Path,
    d_encoder: int,
    entry: TrainedModel,
    settings: RecipeSettings,
    warmup: Path | None,
    heard_tokens: Sequence[int] = (),
) -> LSLM:
    """The model at step 0: the backbone, untouched, with a new or warmed-up adapter; what is trained is in float32.

    adapter, lora: the backbone is frozen, in bfloat16 where the hardware multiplies it. full: everything is trained.
    heard_tokens: the token ids that a new posterior adapter is over.

    Raises:
        ArtifactError: the warmed-up adapter has another shape than the recipe's.
        SpeechLMError: the model does not fit into memory; known before loading.
    """
    device = resolve_device()
    bf16 = multiplies_bfloat16(device)
    frozen = entry.strategy != "full"
    if not frozen:
        share = entry.processes if entry.shard else 1
        require_backbone(backbone, TRAINED_BYTES / share, device, "float32 weights, gradients and AdamW moments")
    language_model = load_backbone(backbone, dtype=torch.bfloat16 if frozen and bf16 else torch.float32)
    embeddings = language_model.get_input_embeddings().weight.detach()
    adapter = new_adapter(settings.adapter, d_encoder, embeddings.shape[1], entry.seed)
    if warmup is None and settings.adapter.output == "posterior":
        used = embeddings[torch.tensor(heard_tokens)]
        adapter = PosteriorAdapter.of(adapter, CtcHead(used), used, collapse=settings.adapter.collapse)
    if warmup is not None:
        weights = load_file(adapter_file(warmup))
        if settings.adapter.output == "posterior":
            shape = {"n_tokens": len(weights["lengths"]), "collapse": settings.adapter.collapse}
            adapter = PosteriorAdapter(PosteriorAdapterShape(**adapter.shape.to_dict(), **shape))
        found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
        expected = {name: tuple(tensor.shape) for name, tensor in adapter.state_dict().items()}
        if found != expected:
            raise ArtifactError(f"{warmup}: shapes {found}, the recipe needs {expected}; delete it and run again")
        adapter.load_state_dict(weights)
    if device.type == "cpu":
        # torch's fused attention has a slow backward pass on CPUs: written out, a step takes a fifth less.
        language_model.set_attn_implementation("eager")
    language_model.requires_grad_(not frozen)
    if entry.strategy == "lora":
        lora = LoraSettings(settings.lora.r, settings.lora.alpha, settings.lora.dropout, tuple(settings.lora.targets))
        language_model = attach_lora(language_model, lora, seed=entry.seed)
    return LSLM(language_model, adapter)


def adapter_file(warmup: Path) -> Path:
    """The warmed-up adapter: the file itself, or that of the last checkpoint of a checkpoints.json.

    Raises:
        ArtifactError: the checkpoint's files are not those that the index lists.
    """
    if warmup.suffix != ".json":
        return warmup
    index = CheckpointIndex.read(warmup)
    return index.folder(warmup, index.checkpoints[-1].name) / "adapter.safetensors"


def swamped_matrices(adapter: nn.Module, learning_rate: float) -> dict[str, float]:
    """Weight matrices that a peak `learning_rate` soon overwrites: learning rate over root mean square weight.

    Only those where it is more than `SWAMPING_SHARE`. A warm-up ends by scaling its last layer down to the length of
    token embeddings, which makes its weights small.
    """
    sizes = {
        name: float(weight.detach().square().mean().sqrt())
        for name, weight in adapter.named_parameters()
        if weight.ndim > 1
    }
    return {name: learning_rate / size for name, size in sizes.items() if learning_rate > SWAMPING_SHARE * size}
