"""Learning curves: held-out loss of spoken and written prompts, and what is understood of spoken sentences (ours).

Left: loss per answer token. Right: word error rate when asked aloud to repeat a held-out sentence, with the same
question in writing as the floor.
"""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from workflow_scripts.figures.style import NULL, PAGE_INCHES, Look, Rows, figure, number

FORM_LINES = (("spoken", "-"), ("written", "--"))


def plot_learning(curves: Mapping[str, Rows], gap: Rows, display: Mapping[str, Any]) -> Figure:
    """Draw both panels; `curves` holds the training log of each model."""
    models = list(curves)
    look = Look(display, models)
    scored = [row for row in gap if row.get("wer_speech") is not None]
    drawn, ((losses, words),) = figure(1, 2, PAGE_INCHES, 2.7)
    n_heldout = 0
    for model, log in curves.items():
        rows = [row for row in log if row["split"] == "heldout"]
        for form, line in (("speech", "-"), ("text", "--")):
            own = [row for row in rows if row["form"] == form]
            n_heldout = max([n_heldout, *(row["n_samples"] for row in own)])
            losses.plot(
                [row["step"] for row in own],
                [number(row["loss_per_token"]) for row in own],
                line,
                color=look.color(model),
                marker=look.marker(model),
                markersize=3,
            )
        own = sorted((row for row in scored if row["model"] == model), key=lambda row: row["step"])
        for form, line in (("speech", "-"), ("text", "--")):
            words.plot(
                [row["step"] for row in own],
                [number(row[f"wer_{form}"]) for row in own],
                line,
                color=look.color(model),
                marker=look.marker(model),
                markersize=3,
            )
    losses.set(xlabel="training step", ylabel="loss (nats per answer token)")
    losses.set_title(f"held-out prompts (n={n_heldout})", loc="left")
    handles = [
        Line2D([], [], color=look.color(model), marker=look.marker(model), label=look.label(model)) for model in models
    ]
    handles += [Line2D([], [], color=NULL, linestyle=line, label=form) for form, line in FORM_LINES]
    handles += [Line2D([], [], color=NULL, linestyle=":", linewidth=0.6, label="no word said")]
    drawn.legend(handles=handles, loc="outside upper left", ncols=4 if len(models) > 3 else 5)
    n_words = max((row["n"] for row in scored), default=0)
    # Someone who says nothing is at 100 %; above lie answers with more words than the sentence has.
    words.axhline(100, color=NULL, linewidth=0.6, linestyle=":")
    words.set(xlabel="training step", ylabel="word error rate (%)", ylim=(0, None))
    words.set_title(f"'Repeat after me: ...', held-out sentences (n={n_words})", loc="left")
    return drawn
