"""Made-up tables of exchanged states, for `made_results`."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from workflow_scripts.artifacts.attention import LOOKED_AT, QUERY, SPEECH, TEXT
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


def _forms(models: Sequence[str], step: int) -> Iterator[Row]:
    for model in models:
        for form in (SPEECH, TEXT):
            key = {"model": model, "checkpoint": f"step-{step:06d}", "step": step, "subset": "nq", "n": 12}
            yield key | {"kind": TEXT_ONLY, "form": form, "skipped": 0}


def attention_rows(models: Sequence[str], step: int) -> Iterator[Row]:
    """attention.csv: writing is looked at in the middle layers, speech less; and a form that was skipped."""
    for one in _forms(models, step):
        for positions in LOOKED_AT:
            for layer in range(30):
                peak = math.exp(-(((layer - 15) / 5) ** 2)) * (0.2 if one["form"] == SPEECH else 0.3)
                share = peak if positions == QUERY else (1 - peak) / 4
                row = one | {"positions": positions, "layer": layer, "share": share, "uniform": 0.2}
                yield row | {"share_low": 0.9 * share, "share_high": 1.1 * share, "highest": min(1.0, 2 * share)}
    yield one | {"kind": "speech_only", "n": 0, "skipped": 3, "note": "its attention gives no weights: 3"}


def knockout_rows(models: Sequence[str], step: int) -> Iterator[Row]:
    """knockout.csv of the same story, all layers last."""
    for one in _forms(models, step):
        for layer, window in [*((layer, 5) for layer in range(0, 26, 5)), (0, 30)]:
            cost = -1.0 if window == 30 else -0.8 * math.exp(-(((layer - 13) / 5) ** 2))
            row = one | {"layer": layer, "window": window, "depth": 30, "outcome": "reference_log_prob", "base": -2.0}
            row |= {"n_positions": 40.0, "n_control": 12.0, "draws": 1, "change": cost, "control": -0.1}
            row |= {"change_low": cost - 0.2, "change_high": cost + 0.2, "difference": cost + 0.1, "detectable": 0.2}
            row |= {"difference_low": cost - 0.1, "difference_high": cost + 0.3, "p": 0.01}
            yield row | {"p_holm": 0.01 if cost < -0.4 else 1.0}
