"""Figure 6 of the paper: token similarity matrices of one question and layer, with the alignment path marked.

Beyond the paper: on the cosines, the best path that never runs back and the cheapest time warping from corner to
corner, and on both the positions during which each token's word is spoken.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.measurements import ALIGNMENT, read_measurements
from workflow_scripts.artifacts.states import kept_layers
from workflow_scripts.figures.style import PAGE_INCHES, Look, figure, integer_ticks
from workflow_scripts.measures.monotone_paths import dtw, text_monotone_path

METRICS = {"cosine": ("cosine similarity", "viridis"), "euclidean": ("Euclidean distance", "viridis_r")}
MAX_LABELS = 36
"""More token labels than this would overlap; then every second (third, ...) token is labelled."""


def shown_token(token: str) -> str:
    """A token without the marks that byte-level (Ġ, Ċ) and SentencePiece (▁) vocabularies use for white space."""
    return token.replace("Ġ", " ").replace("▁", " ").replace("Ċ", "\\n").strip()


def plot_token_matrix(alignment: Path, display: Mapping[str, Any]) -> Figure:
    """Draw the first example: both metrics side by side, text tokens across, speech positions down.

    The layer is display.example_layer, or the one kept nearest to the middle of the stack.
    """
    content = read_measurements(alignment, ALIGNMENT)
    model = str(content.attributes["model"])
    look = Look(display, [model])
    if not content.examples:
        raise ArtifactError(f"{alignment}: holds no example matrix; delete it and run again with at least one example")
    name = next(iter(content.examples))
    number = content.ids.index(name)
    tokens = content.example_tokens[name]
    n_layers = content.examples[name]["cosine"].shape[0] - 1
    kept = kept_layers(content.attributes, n_layers)
    middle = min(kept, key=lambda layer: abs(layer - n_layers // 2))
    layer = look.example_layer if look.example_layer is not None else middle
    if layer <= n_layers and layer not in kept:
        raise ArtifactError(
            f"{alignment}: holds layers {kept}; set display.example_layer ({layer}) to one of them, or keep it in "
            "activations.layers"
        )
    if layer > n_layers:
        raise ArtifactError(f"{alignment}: has layers 0 to {n_layers}; set display.example_layer ({layer}) within them")
    labelled = np.arange(0, len(tokens), math.ceil(len(tokens) / MAX_LABELS))
    drawn, axes = figure(1, 2, PAGE_INCHES, 3.4, sharey=True)
    for axis, (metric, (label, colors)) in zip(axes[0], METRICS.items()):
        matrix = content.examples[name][metric][layer].astype(np.float32)
        image = axis.imshow(matrix, aspect="auto", cmap=colors, interpolation="nearest", origin="lower")
        path = content.paths[metric][number][layer]
        shown = {"color": "white", "markeredgecolor": "black", "markersize": 3, "linewidth": 0.6}
        axis.plot(np.arange(len(path)), path, "o-", label="best frame (argmax)", **shown)
        if content.words:
            first, last = (content.words[part][number] for part in ("first", "last"))
            timed = np.flatnonzero(first >= 0)
            span = (first[timed] - 0.5, last[timed] + 0.5)
            axis.vlines(timed, *span, color="#56B4E9", linewidth=3, alpha=0.7, label="word is spoken")
        if metric == "cosine":
            monotone = text_monotone_path(matrix[None]).i_star[0]
            axis.plot(np.arange(len(monotone)), monotone, "-", color="#D55E00", label="monotone path")
            warped = dtw(1 - matrix[None]).pairs[0]
            axis.plot(warped[:, 1], warped[:, 0], ":", color="#CC79A7", linewidth=1.4, label="time warping")
        axis.set_xticks(labelled, [shown_token(tokens[k]) for k in labelled], rotation=90, parse_math=False)
        axis.set_xlabel("text token")
        integer_ticks(axis.yaxis)
        drawn.colorbar(image, ax=axis, shrink=0.85, label=label)
    axes[0, 0].set_ylabel("speech position")
    legend = drawn.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower left", ncols=4)
    # The white path and the pale bars need a ground like that of the matrices.
    legend.set(frame_on=True)
    legend.get_frame().set(facecolor="#BBBBBB", edgecolor="none")
    place = f"layer {layer} of {n_layers}"
    checkpoint = content.attributes["checkpoint"]
    drawn.suptitle(f"{look.label(model)}, {checkpoint}, question {name}, {place}", fontsize=8, x=0.01, ha="left")
    return drawn
