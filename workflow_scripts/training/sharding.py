"""Weights, gradients and optimiser state of full fine-tuning split over processes (torch's FSDP2).

Every decoder layer is a group of its own: gathered before it runs, in bfloat16 where that is multiplied, and split
again afterwards; embeddings, head, final norm and adapter are the last group, gathered for the whole pass. A process
then holds 16 bytes per parameter over the number of processes, and works on its own part of the batch as under DDP.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from workflow_scripts.speech_lm.anatomy import decoder_of
from workflow_scripts.speech_lm.trainable.lslm import LSLM


def shard(lslm: LSLM, device: torch.device, n_processes: int, *, bf16: bool) -> None:
    """Split the float32 parameters of a model over all processes, in place, and move each part to `device`.

    Every process must hold the same weights; the process group must exist. bf16: gathered weights and products are in
    bfloat16; gradients are summed, and weights updated, in float32.
    """
    mesh = init_device_mesh(device.type, (n_processes,))
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32) if bf16 else None
    options: dict[str, Any] = {"mesh": mesh} if policy is None else {"mesh": mesh, "mp_policy": policy}
    for layer in decoder_of(lslm.language_model).layers:
        fully_shard(layer, **options)
    fully_shard(lslm, **options)
    # What Trainer asks for: such a model is neither moved nor wrapped again.
    lslm.is_distributed_loading_by_transformers = True


def is_sharded(model: nn.Module) -> bool:
    """Whether the parameters are split over processes."""
    return any(isinstance(parameter, DTensor) for parameter in model.parameters())


def split_again(model: nn.Module) -> None:
    """Split what a forward pass without a backward pass has left gathered, in bfloat16 perhaps."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def place(parameter: Tensor, value: Tensor) -> None:
    """Put a whole value into a parameter; of a split one, into this process's part. All processes must call it."""
    with torch.no_grad():
        if isinstance(parameter, DTensor):
            value = distribute_tensor(value.to(parameter.device), parameter.device_mesh, parameter.placements)
        parameter.copy_(value)


def save_optimizer_part(optimizer: torch.optim.Optimizer, path: Path) -> None:
    """This process's part of the optimiser's state."""
    state = optimizer.state_dict()
    parts = {
        number: {name: value.to_local() if isinstance(value, DTensor) else value for name, value in values.items()}
        for number, values in state["state"].items()
    }
    torch.save(state | {"state": parts}, path)


def load_optimizer_part(optimizer: torch.optim.Optimizer, path: Path) -> None:
    """Put back what `save_optimizer_part` wrote, by the same number of processes."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    parts = {number: _as_parts(values, parameters[number]) for number, values in saved["state"].items()}
    optimizer.load_state_dict(saved | {"state": parts})


def _as_parts(values: Mapping[str, Any], parameter: Tensor) -> dict[str, Any]:
    """State of one parameter: what has the shape of its part becomes a part again; the step count stays as it is."""
    if not isinstance(parameter, DTensor):
        return dict(values)
    shape = parameter.to_local().shape
    return {
        name: DTensor.from_local(
            value.to(parameter.device),
            parameter.device_mesh,
            parameter.placements,
            shape=parameter.shape,
            stride=parameter.stride(),
        )
        if name != "step" and isinstance(value, Tensor) and value.shape == shape
        else value
        for name, value in values.items()
    }
