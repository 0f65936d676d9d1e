"""Will a model fit? Estimated from its files before anything is loaded."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from safetensors import safe_open

from workflow_scripts.speech_lm.protocol import SpeechLMError

logger = logging.getLogger(__name__)

OVERHEAD = 1.15
"""Buffers, the largest layer's temporaries and the states of one batch, as a share of the weights (ours, rough)."""
MIN_BYTES = 300 * 2**20
"""What a batch takes beside small models."""


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes: of the weights, of the whole job, and free on the device(s)."""

    weights: int
    total: int
    free: int
    where: str

    def line(self) -> str:
        """For the log: gigabytes, 1 GB = 10^9 bytes."""
        weights, total, free = (value / 1e9 for value in (self.weights, self.total, self.free))
        return f"weights {weights:.2f} GB, with one batch about {total:.2f} GB; free on {self.where}: {free:.2f} GB"


def estimate_memory(
    n_parameters: int, dtype: torch.dtype, device: torch.device, *, eight_bit: bool = False, spread: bool = False
) -> MemoryEstimate:
    """Memory of a model of `n_parameters` in `dtype` (or 8 bit), on one device or `spread` over all."""
    size = 1 if eight_bit else torch.empty((), dtype=dtype).element_size()
    weights = n_parameters * size
    free, where = free_bytes(device, spread=spread)
    return MemoryEstimate(weights, max(int(weights * OVERHEAD), weights + MIN_BYTES), free, where)


def free_bytes(device: torch.device, *, spread: bool = False) -> tuple[int, str]:
    """Free memory where the weights would go; spread weights may also use the main memory."""
    main = int(psutil.virtual_memory().available)
    if device.type != "cuda":
        return main, device.type
    devices = range(torch.cuda.device_count()) if spread else [device.index or 0]
    free = sum(torch.cuda.mem_get_info(index)[0] for index in devices)
    return (free + main, "all GPUs and main memory") if spread else (free, f"cuda:{devices[0]}")


def require_memory(name: str, estimate: MemoryEstimate) -> None:
    """Log the estimate, and refuse a model that cannot fit.

    Raises:
        SpeechLMError: names what is needed, what is free, and what makes a model smaller.
    """
    logger.info("%s: %s", name, estimate.line())
    if estimate.total > estimate.free:
        raise SpeechLMError(
            f"{name} cannot fit: {estimate.line()}. Set dtype: bfloat16, load_in_8bit: true or device_map: auto in "
            "models." + name + ", or run this job where there is more memory"
        )


def count_parameters(folder: Path) -> int:
    """Numbers in the safetensors files of a model folder, read off their headers."""
    total = 0
    for path in sorted(Path(folder).glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            names = file.keys()
            total += sum(math.prod(file.get_slice(name).get_shape()) for name in names)
    return total


def require_backbone(folder: Path, bytes_per_parameter: float, device: torch.device, purpose: str) -> None:
    """Refuse a language model that cannot fit, before it is loaded; batches come on top of what is counted here.

    Args:
        folder: of the model; files other than safetensors are not counted.
        bytes_per_parameter: of its weights, and `model_size.TRAINED_BYTES` where all of them are trained.
        purpose: what the memory is for, in words.

    Raises:
        SpeechLMError: names what is needed, what is free and what can be done.
    """
    count = count_parameters(folder)
    needed, (free, where) = count * bytes_per_parameter, free_bytes(device)
    if needed > free:
        raise SpeechLMError(
            f"{folder}: {count / 1e6:,.0f} million parameters x {bytes_per_parameter:g} bytes ({purpose}) are "
            f"{needed / 1e9:.1f} GB; free on {where}: {free / 1e9:.1f} GB. Use a smaller backbone, strategy lora or "
            "adapter instead of full, or run this job where there is more memory"
        )
