"""Weights of linear layers laid out once for many products with few rows (CPUs; by oneDNN).

A decoding step multiplies every weight with a few dozen rows. torch's linear function brings the weight into the order
that the kernel reads anew at every call; with so few rows that takes about as long as the product. Here it is done once
per batch, before its prompts, which gain by it too. The copies live as long as the `with` block: weights changed before
or after it are never seen stale.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor, nn

logger = logging.getLogger(__name__)

_DTYPES = (torch.float32, torch.bfloat16)
BUDGET_BYTES = 2**30
"""A model whose linear weights take more is left as it is: the copies would double its memory (ours)."""
LEAST_STEPS = 8
"""Shorter runs do without. In one trial (135M parameters, 32 rows, two cores) laying out cost as much as seven steps
saved in float32, and as eight saved in bfloat16."""


@contextmanager
def packed_linears(model: nn.Module, n_steps: int, n_rows: int) -> Iterator[int]:
    """While open, the model's linear layers multiply with packed weights; yields how many do.

    For at most `n_steps` products of about `n_rows` rows. Same results up to the order of summation. Hooks on the
    layers act as always, parameters stay as they are. None are packed, and everything runs as before, for fewer than
    `LEAST_STEPS` steps or two rows, while gradients are recorded, on other devices than CPUs, above `BUDGET_BYTES`, or
    where torch lacks the operators. Layers of a class of their own (quantized ones, adapters) are left alone; the plain
    ones inside them are packed.
    """
    wanted = n_steps >= LEAST_STEPS and n_rows > 1 and not torch.is_grad_enabled() and torch.backends.mkldnn.enabled
    linears = [module for module in model.modules() if _packable(module)] if wanted else []
    n_bytes = sum(linear.weight.nbytes for linear in linears)
    if n_bytes > BUDGET_BYTES or not all(_operators_work(dtype) for dtype in {one.weight.dtype for one in linears}):
        linears = []
    try:
        for linear in linears:
            linear.forward = _packed_forward(linear, n_rows)
        yield len(linears)
    finally:
        for linear in linears:
            linear.__dict__.pop("forward", None)


def _packable(module: nn.Module) -> bool:
    """A plain linear layer with a plain dense weight on the CPU and no forward of its own put into it."""
    if type(module) is not nn.Linear or "forward" in module.__dict__:
        return False
    weight = module.weight
    return type(weight) is nn.Parameter and weight.device.type == "cpu" and weight.dtype in _DTYPES


def _packed_forward(linear: nn.Linear, n_rows: int) -> Callable[[Tensor], Tensor]:
    weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), n_rows)
    bias = None if linear.bias is None else linear.bias.detach()

    def forward(input: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(input, weight, bias, "none", [], "")

    return forward


@cache
def _operators_work(dtype: torch.dtype) -> bool:
    """Whether torch's packed product exists here for `dtype` and is right; says so once in the log if not."""
    linear = nn.Linear(16, 16, dtype=dtype)
    rows = torch.linspace(-1, 1, 64).reshape(4, 16).to(dtype)
    try:
        with torch.no_grad():
            found, expected = _packed_forward(linear, len(rows))(rows), linear(rows)
        fault = None if torch.allclose(found, expected, atol=1e-2) else "their product is wrong"
    except (AttributeError, RuntimeError) as error:
        fault = str(error).splitlines()[0]
    if fault is not None:
        logger.info("weights are not packed for decoding in %s, it will be slower: %s", dtype, fault)
    return fault is None
