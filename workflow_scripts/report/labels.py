"""Display names of models and subsets in tables."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from workflow_scripts.settings.display import DisplaySettings


class Labels:
    """Names by key; a key without a name is its own.

    Args:
        display: DisplaySettings as plain values.
    """

    def __init__(self, display: Mapping[str, Any]):
        self._display = DisplaySettings.model_validate(display)

    @property
    def title(self) -> str:
        """Title of the report."""
        return self._display.title

    def model(self, key: str) -> str:
        """Name of a model."""
        return self._display.models[key].label if key in self._display.models else key

    def subsets(self, keys: Iterable[str]) -> dict[str, str]:
        """Names of subsets, in the order of their keys."""
        return {key: self._display.subsets.get(key, key) for key in sorted(keys)}

    def apply(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The frame with names in the columns `model` and `subset`."""
        named = frame.assign(model=frame["model"].map(self.model))
        if "subset" in named:
            names = self.subsets(set(named["subset"]))
            named["subset"] = named["subset"].map(names)
        return named
