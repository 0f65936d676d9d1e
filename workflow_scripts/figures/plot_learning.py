"""Learning curves: held-out loss of spoken and written prompts, and what is understood of spoken sentences.

Left: loss per answer token. Right, where a study asks to repeat held-out sentences: word error rate when asked aloud,
with the same question in writing as the floor.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from workflow_scripts.artifacts.tables import select
from workflow_scripts.figures.style import NULL, PAGE_INCHES, Look, figure, steps

LINES = {"speech": ("spoken", "-"), "text": ("written", "--")}


def plot_learning(training_log: Mapping[str, pd.DataFrame], gap: pd.DataFrame, display: Mapping[str, Any]) -> Figure:
    """Draw the panels; `training_log` holds the log of each model."""
    look = Look(display, list(training_log))
    repeated = select(gap, measure="word_error_rate")
    drawn, ((losses, *words),) = figure(1, 1 if repeated.empty else 2, PAGE_INCHES, 2.7)
    n_heldout = 0
    for model, log in training_log.items():
        shown = {"color": look.color(model), "marker": look.marker(model), "markersize": 3}
        for form, (_, line) in LINES.items():
            curve = select(log, split="heldout", form=form)
            n_heldout = max([n_heldout, *curve["n_samples"]])
            losses.plot(steps(curve), curve["loss_per_token"], line, **shown)
            curve = select(repeated, model=model, form=form).sort_values("step")
            for panel in words:
                panel.plot(steps(curve), curve["value"], line, **shown)
    losses.set(xlabel="training step", ylabel="loss (nats per answer token)")
    losses.set_title(f"held-out prompts (n={n_heldout})", loc="left")
    handles = [
        Line2D([], [], color=look.color(model), marker=look.marker(model), label=look.label(model))
        for model in training_log
    ]
    handles += [Line2D([], [], color=NULL, linestyle=line, label=name) for name, line in LINES.values()]
    for panel in words:
        # An empty answer is at 100 %; above lie answers with more words than the sentence has.
        panel.axhline(100, color=NULL, linewidth=0.6, linestyle=":")
        panel.set(xlabel="training step", ylabel="word error rate (%)", ylim=(0, None))
        panel.set_title(f"'Repeat after me: ...', held-out sentences (n={repeated['n'].max()})", loc="left")
        handles += [Line2D([], [], color=NULL, linestyle=":", linewidth=0.6, label="no word said")]
    drawn.legend(handles=handles, loc="outside upper left", ncols=4 if len(training_log) > 3 else 5)
    return drawn
