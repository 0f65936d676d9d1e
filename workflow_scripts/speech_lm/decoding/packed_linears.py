"""Weights of linear layers laid out once for many products with few rows (CPUs; by oneDNN).

A decoding step multiplies every weight with a few dozen rows. torch's linear function brings the weight into the order
that the kernel reads anew at every call; with so few rows that takes about as long as the product. Here it is done once
per batch, before its prompts, which gain by it too. Packed weights take the place of the plain ones, so that no model
is in memory twice; when the `with` block ends, the plain ones are laid out again, bit for bit.
"""

from __future__ import annotations

import ctypes
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor, nn

logger = logging.getLogger(__name__)

_DTYPES = (torch.float32, torch.bfloat16)
MIN_STEPS = 8
"""Shorter runs do without: laying weights out costs about as much as so few steps would save (ours)."""


@contextmanager
def packed_linears(model: nn.Module, n_steps: int, n_rows: int) -> Iterator[int]:
    """While open, the model's linear layers multiply with packed weights; yields how many do.

    For at most `n_steps` products of about `n_rows` rows. Same results up to the order of summation. Hooks on the
    layers act as always. Weights of these layers read as NaN meanwhile, without memory of their own; those that another
    module uses too (an embedding tied to the head) stay, and are copied.

    None are packed, and everything runs as before, for fewer than `MIN_STEPS` steps or two rows, while gradients are
    recorded, in inference mode (weights laid out there could never be trained again), on other devices than CPUs, or
    where torch lacks the operators. Layers of a class of their own (quantized ones, adapters) are left alone; the plain
    ones inside them are packed.
    """
    allowed = torch.backends.mkldnn.enabled and not (torch.is_grad_enabled() or torch.is_inference_mode_enabled())
    wanted = allowed and n_steps >= MIN_STEPS and n_rows > 1
    linears = [module for module in model.modules() if _packable(module)] if wanted else []
    if not all(_operators_work(dtype) for dtype in {one.weight.dtype for one in linears}):
        linears = []
    users = Counter(id(weight) for module in model.modules() for weight in module._parameters.values())
    if (head := getattr(model, "get_output_embeddings", lambda: None)()) is not None:
        users[id(head.weight)] += 1  # rows of it are read beside the product (`vocabulary.most_likely`)
    released: list[tuple[nn.Parameter, Tensor]] = []
    try:
        for linear in linears:
            packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), n_rows)
            linear.forward = _packed_forward(linear, packed)
            if users[id(linear.weight)] == 1:
                released.append((linear.weight, packed))
                linear.weight.data = linear.weight.new_full((), math.nan).expand(linear.weight.shape)
        if released:
            _return_free_memory()
        yield len(linears)
    finally:
        for linear in linears:
            linear.__dict__.pop("forward", None)
        while released:
            weight, packed = released.pop()
            weight.data = packed.to_dense()
            del packed
        if linears:
            _return_free_memory()


def _return_free_memory() -> None:
    """Give what was freed back to the system (glibc): its allocator keeps gaps between blocks that are in use."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))


def _packable(module: nn.Module) -> bool:
    """A plain linear layer with a plain dense weight on the CPU and no forward of its own put into it."""
    if type(module) is not nn.Linear or "forward" in module.__dict__:
        return False
    weight = module.weight
    return type(weight) is nn.Parameter and weight.device.type == "cpu" and weight.dtype in _DTYPES


def _packed_forward(linear: nn.Linear, packed: Tensor) -> Callable[[Tensor], Tensor]:
    bias = None if linear.bias is None else linear.bias.detach()

    def forward(input: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(input, packed, bias, "none", [], "")

    return forward


@cache
def _operators_work(dtype: torch.dtype) -> bool:
    """Whether torch's packed product exists here for `dtype` and is right; says so once in the log if not."""
    linear = nn.Linear(16, 16, dtype=dtype)
    rows = torch.linspace(-1, 1, 64).reshape(4, 16).to(dtype)
    try:
        with torch.no_grad():
            packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight, len(rows))
            found, expected = _packed_forward(linear, packed)(rows), linear(rows)
        fault = None if torch.allclose(found, expected, atol=1e-2) else "their product is wrong"
        if fault is None and not torch.equal(packed.to_dense(), linear.weight):
            fault = "packed weights cannot be laid out again"
    except (AttributeError, RuntimeError) as error:
        fault = str(error).splitlines()[0]
    if fault is not None:
        logger.info("weights are not packed for decoding in %s, it will be slower: %s", dtype, fault)
    return fault is None
