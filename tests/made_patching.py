"""Made-up tables of exchanged states, for `made_results`."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from workflow_scripts.artifacts.patches import TEXT_ONLY, TO_SPEECH, TO_TEXT
from workflow_scripts.settings.patching import EVERY_CLASS

Row = dict[str, Any]


def _cells(models: Sequence[str], step: int) -> Iterator[Row]:
    for model in models:
        key = {"model": model, "checkpoint": f"step-{step:06d}", "step": step, "subset": "nq", "n": 12}
        for direction in (TO_SPEECH, TO_TEXT):
            for positions in EVERY_CLASS[:-1]:
                yield key | {
                    "kind": TEXT_ONLY,
                    "direction": direction,
                    "positions": positions,
                    "window": 1,
                    "difference": 2.0,
                }


def patching_rows(models: Sequence[str], step: int) -> Iterator[Row]:
    """patching.csv: a cell per class and layer; `last` carries the answer behind layer 18, `query` before it."""
    for cell in _cells(models, step):
        for layer in range(0, 30, 3):
            late = 1 / (1 + math.exp((18 - layer) / 2))
            share = {"last": late, "query": 1 - late, "content": 0.6 * (1 - late)}.get(cell["positions"], 0.1)
            row = cell | {"layer": layer, "share": share, "share_low": share - 0.1, "share_high": share + 0.1}
            yield row | {"other": 0.05, "random": 0.0, "p": 0.01, "p_holm": 0.01 if share > 0.5 else 1.0}


def profile_rows(models: Sequence[str], step: int) -> Iterator[Row]:
    """patching_profiles.csv of the same story, and a class that was skipped."""
    for cell in _cells(models, step):
        mean = {"last": 0.4, "query": 0.6, "content": 0.36}.get(cell["positions"], 0.1)
        row = cell | {"depth": 30, "first_half": 18, "first_low": 15, "first_high": 21, "reached": 1.0}
        yield row | {"last_half": 18, "width": 0.2, "mean_share": mean, "split_half": 0.9}
    yield cell | {"kind": TEXT_ONLY, "positions": "answer", "n": 0, "skipped": 12, "note": "one token: 12"}
