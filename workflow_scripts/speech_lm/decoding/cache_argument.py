"""How a decoder is given its cache: transformers renamed the argument in 5.24 and drops the old name in 5.40."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

from torch import nn
from transformers.cache_utils import Cache

NEW, OLD = "cache", "past_key_values"


def with_cache(decoder: nn.Module, kept: Cache) -> dict[str, Any]:
    """Keyword arguments of a pass that reads `kept` and stores into it."""
    return {_name(type(decoder)): kept, "use_cache": True}


@cache
def _name(kind: type[nn.Module]) -> str:
    """`cache` where the class's forward takes it, else the old name (also of code that comes with a model)."""
    return NEW if NEW in inspect.signature(kind.forward).parameters else OLD
