"""One look for all figures: print sizes, colour-blind-safe colours, deterministic files."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from workflow_scripts.artifacts.files import atomic_path
from workflow_scripts.settings.display import DisplaySettings

PAGE_INCHES = 6.9
"""Width of a two-column page: figures are drawn at their printed size."""
PAGE_HEIGHT_INCHES = 9.3
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours, distinguishable with the common colour vision deficiencies."""
COSINE, EUCLIDEAN, NULL = "#0072B2", "#E69F00", "#8C8C8C"
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""One more than colours, so that no pair repeats before 56 models."""
STYLE: dict[str, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "modgap",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "savefig.dpi": 150,
}


def figure(rows: int, columns: int, width: float, height: float, **options: Any) -> tuple[Figure, Any]:
    """A figure of `width` x `height` inches with a grid of axes (always a 2-D array)."""
    return plt.subplots(rows, columns, figsize=(width, height), squeeze=False, **options)


def panel_inches(rows: int, wanted: float) -> float:
    """Height of one of `rows` panels: `wanted`, or less so that all fit on a page."""
    return min(wanted, PAGE_HEIGHT_INCHES / rows)


def save(drawn: Figure, files: Mapping[str, str | Path]) -> None:
    """Write the files atomically, by format, without dates, so that equal data gives equal bytes; close the figure.

    The layout is computed once, so that all files have the same.
    """
    undated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {"Software": None}}
    with plt.rc_context(STYLE):
        drawn.draw_without_rendering()
        drawn.set_layout_engine("none")
        for kind, metadata in undated.items():
            with atomic_path(Path(files[kind])) as temporary:
                drawn.savefig(temporary, format=kind, metadata=metadata)
    plt.close(drawn)


class Look:
    """Labels, colours and markers of models and subsets.

    Args:
        display: DisplaySettings as plain values.
        models: the models of the figure. Colours and markers are dealt out over these and all models of `display`, so
            that a model looks the same in a figure that lacks some of the others.
    """

    def __init__(self, display: Mapping[str, Any], models: Sequence[str] = ()):
        self._display = DisplaySettings.model_validate(display)
        self.models = sorted(set(models))
        used = {shown.color for shown in self._display.models.values()}
        self._known = sorted({*self._display.models, *models})
        free = cycle([color for color in PALETTE if color not in used] or PALETTE)
        self._colors = {
            model: (self._display.models[model].color if model in self._display.models else None) or next(free)
            for model in self._known
        }

    def label(self, model: str) -> str:
        """Name of a model, with dollar signs kept from starting a formula."""
        shown = self._display.models[model].label if model in self._display.models else model
        return shown.replace("$", r"\$")

    def color(self, model: str) -> str:
        """Colour of a model."""
        return self._colors[model]

    def marker(self, model: str) -> str:
        """Marker of a model, so that colour is never the only difference."""
        return MARKERS[self._known.index(model) % len(MARKERS)]

    def subset(self, subset: str) -> str:
        """Name of a subset."""
        shown = self._display.subsets.get(subset, {"overall": "Overall", "knowledge": "Knowledge"}.get(subset, subset))
        return shown.replace("$", r"\$")

    @property
    def example_layer(self) -> int | None:
        """Layer of the token-matrix figure, if configured."""
        return self._display.example_layer


def step_name(row: Any) -> str:
    """A row's checkpoint as legends call it: its step, or its name if it has none."""
    return str(row.checkpoint) if pd.isna(row.step) else f"step {row.step}"


def steps(rows: pd.DataFrame) -> np.ndarray:
    """Training steps as floats; a model that is not trained here stands at 0."""
    return rows["step"].fillna(0).to_numpy(dtype=np.float64)


def by_checkpoint(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Rows of each checkpoint, in order of training: names sort as steps do."""
    return {str(name): part for name, part in rows.groupby("checkpoint", sort=True)}


def measures_side_by_side(points: pd.DataFrame, measures: Sequence[str]) -> pd.DataFrame:
    """One row per checkpoint, a column of values per measure; NaN where a checkpoint has none."""
    keys = ["model", "checkpoint", "step", "start"]
    return points.pivot(index=keys, columns="measure", values="value").reindex(columns=measures).reset_index()


def interval_range(rows: pd.DataFrame, column: str) -> tuple[float, float] | None:
    """Lowest lower and highest upper end of the intervals of several rows; None without any."""
    ends = rows[[f"{column}_low", f"{column}_high"]].dropna()
    return (ends.iloc[:, 0].min(), ends.iloc[:, 1].max()) if len(ends) else None


def counted(fit: Any) -> str:
    """What a fit rests on: its checkpoints, and the training runs that they come from."""
    return f"n={fit.n_checkpoints}, {fit.n_runs} run{'' if fit.n_runs == 1 else 's'}"


def integer_ticks(*axes: Any) -> None:
    """Ticks of an x or y axis at whole numbers only, as layers and positions are."""
    for axis in axes:
        axis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))


def whiskers(draw: Any, place: Any, low: Any, high: Any, **options: Any) -> None:
    """Intervals by `axis.vlines` or `axis.hlines`, where both ends are known."""
    place, low, high = (np.asarray(values, dtype=float) for values in (place, low, high))
    known = np.isfinite(low + high)
    draw(place[known], low[known], high[known], **options)


def top_legend(drawn: Figure, axes: Iterable[Any], place: str = "outside upper left", **options: Any) -> None:
    """One legend above the panels, so that it covers no data: every label of `axes` once, in order of appearance."""
    found: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels()):
            found.setdefault(label, handle)
    if found:
        shown = {"handlelength": 1.4, "columnspacing": 1.0} | options
        drawn.legend(found.values(), found.keys(), loc=place, **shown)


def printed(value: float, digits: int) -> str:
    """A number with `digits` decimals, a dash if it is missing."""
    return "\N{EN DASH}" if pd.isna(value) else f"{value:.{digits}f}"
