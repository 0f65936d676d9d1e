"""Attributes that a derived HDF5 file takes over from its source: which model, checkpoint, tokenizer, number format."""

from collections.abc import Mapping
from typing import Any

import numpy as np

NOT_INHERITED = ("schema", "provenance", "seed")
"""Attributes that describe one file only, so every file writes its own."""


def inherited(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a source file as plain values, without those in `NOT_INHERITED`."""
    return {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in attributes.items()
        if name not in NOT_INHERITED
    }
