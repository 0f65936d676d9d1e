"""The kinds of speech adapter a checkpoint can hold, by the record in its lslm.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workflow_scripts.speech_lm.trainable.conv_adapter import ConvAdapter, ConvAdapterShape
from workflow_scripts.speech_lm.trainable.stacking_adapter import AdapterShape, SpeechAdapter

Shape = AdapterShape | ConvAdapterShape
Adapter = SpeechAdapter | ConvAdapter


def shape_of(record: Mapping[str, Any]) -> Shape:
    """The shape that `to_dict` wrote. Raises KeyError or TypeError for a record of no known kind."""
    values = dict(record)
    kind = values.pop("kind", "stack")
    return {"stack": AdapterShape, "conv": ConvAdapterShape}[kind](**values)


def new_adapter(shape: Shape) -> Adapter:
    """An adapter of that shape with torch's default initialisation."""
    return ConvAdapter(shape) if isinstance(shape, ConvAdapterShape) else SpeechAdapter(shape)
