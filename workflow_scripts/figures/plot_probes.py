"""What linear probes read off the states, by layer: accuracy and selectivity, four pairs of forms."""

import textwrap
from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from workflow_scripts.artifacts.tables import select
from workflow_scripts.figures.style import NULL, PAGE_INCHES, PALETTE, Look, figure, integer_ticks, panel_inches
from workflow_scripts.measures.probes import EVERY_PAIR

COLUMNS = (("word", "accuracy"), ("word", "selectivity"), ("number", "selectivity"), ("entity", "selectivity"))
"""Target and quantity of each panel of a row."""
NAMES = {"word": "words", "number": "numbers", "entity": "names"}
LETTERS = 110
"""Of a line below the panels."""
PANEL_LETTERS = 18


def plot_probes(probes: pd.DataFrame, display: Mapping[str, Any]) -> Figure:
    """Draw one row of four panels per model; what could not be probed is said below."""
    models = sorted(set(probes["model"])) or ["no model"]
    look = Look(display, models)
    height = min(panel_inches(len(models), 1.9) * len(models) + 0.8, 9.5)
    drawn, axes = figure(len(models), len(COLUMNS), PAGE_INCHES, height, sharex="row")
    for row, model in zip(axes, models):
        own = select(probes, model=model)
        for axis, (target, quantity) in zip(row, COLUMNS):
            _draw(axis, select(own, target=target), quantity)
            integer_ticks(axis.xaxis)
        counts = own["n"]
        row[0].set_title(f"{look.label(model)} (n={counts.max() if len(counts) else 0})", loc="left")
    for axis, (target, quantity) in zip(axes[-1], COLUMNS):
        axis.set_xlabel(f"{quantity}, {NAMES[target]},\nby layer")
    handles = [Line2D([], [], **_style(pair), label=f"fitted to {pair[0]}, asked in {pair[1]}") for pair in EVERY_PAIR]
    drawn.legend(handles=handles, loc="outside upper left", ncols=2, columnspacing=1.0)
    if notes := _notes(probes):
        drawn.supxlabel(textwrap.fill(notes, LETTERS), fontsize=7)
    return drawn


def _style(pair: tuple[str, str]) -> dict[str, Any]:
    return {"color": PALETTE[EVERY_PAIR.index(pair)], "linestyle": "-" if pair[0] == pair[1] else "--"}


def _draw(axis: Any, rows: pd.DataFrame, quantity: str) -> None:
    """Four lines with their intervals; grey: from chance to the controls, or 0."""
    curves = rows.dropna(subset="layer").sort_values("layer")
    if not len(curves):
        text = textwrap.fill(next(iter(rows["note"]), "not asked"), PANEL_LETTERS)
        axis.text(0.5, 0.5, text, ha="center", va="center", transform=axis.transAxes, fontsize=7)
        axis.set_xticks([])
        axis.set_yticks([])
        return
    if quantity == "accuracy":
        by_layer = curves.groupby("layer")
        ends = pd.concat([by_layer[["chance", "control"]].min().min(axis=1), by_layer["control"].max()], axis=1)
        axis.fill_between(ends.index.astype(float), *ends.to_numpy().T, color=NULL, alpha=0.3, linewidth=0)
    else:
        axis.axhline(0, color=NULL, linewidth=0.6)
    for pair in EVERY_PAIR:
        curve = select(curves, fitted=pair[0], asked=pair[1])
        x, style = curve["layer"].astype(float), _style(pair)
        low, high = curve[f"{quantity}_low"], curve[f"{quantity}_high"]
        axis.fill_between(x, low, high, color=style["color"], alpha=0.12, linewidth=0)
        axis.plot(x, curve[quantity], marker="o", markersize=2, **style)


def _notes(probes: pd.DataFrame) -> str:
    """Why targets and layers were not probed, each reason once."""
    skipped = probes[probes["n"] == 0]
    layers = sorted(set(skipped["layer"].dropna()))
    found = [f"{target}: {note}" for target, note in dict.fromkeys(zip(skipped["target"], skipped["note"])) if target]
    found += [f"layers {', '.join(map(str, layers))}: states not kept"] if layers else []
    return f"Not probed: {'; '.join(found)}." if found else ""
