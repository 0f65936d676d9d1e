"""Measures and figures of one's own states, by the functions of the steps: similarity, alignment, tables, figures."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from workflow_scripts.alignment.align_tokens import measure_alignment
from workflow_scripts.api.arrays import ArrayStates, Questions, read_pairs
from workflow_scripts.artifacts.measurements import ALIGNMENT, SIMILARITY, write_measurements
from workflow_scripts.correlation.build_alignment_table import alignment_tables, draws_by_layer
from workflow_scripts.correlation.samples import ALL, read_all
from workflow_scripts.figures import table
from workflow_scripts.figures.plot import draw
from workflow_scripts.measures.registry import MEASURES
from workflow_scripts.measures.shuffle_null import p_value
from workflow_scripts.settings.display import DisplaySettings
from workflow_scripts.similarity.measure_similarity import pooled_measurements

FIGURES = {
    name: entry
    for name, entry in table.FIGURES.items()
    if set(entry.inputs) <= {"layers", "checkpoints", "cka", "alignment"}
}
"""The figures of the page that need states only."""
IDENTITY = {"model": "model", "checkpoint": "final", "subset": "questions"}
COLUMNS = ("measure", "layer", "value", "null", "calibrated", "p", "n")


def compare(
    speech: Questions, text: Questions, *, draws: int = 200, seed: int = 0, massive_dimensions: int = 4
) -> pd.DataFrame:
    """Every measure of spoken and written questions, by layer and averaged, each beside its chance level.

    Args:
        speech, text: states of the same questions in the same order, (L+1, T_s, d) and (L+1, T_t, d) each: arrays,
            `States`, paths of .npy, or one .safetensors file with a tensor per question. float32 is kept.
        draws: B, derangements of the null; 0 for none.
        seed: of the derangements and of the halves that centre each other.
        massive_dimensions: left out in `cosine_trimmed`.

    Returns:
        One row per measure and layer 0 .. L, and one with layer <NA>: the mean over layers 1 .. L, as in
        checkpoints.csv. Columns: measure (a name of `measures.registry.MEASURES`); layer; value; null, its mean under
        exchanged questions; calibrated, 0 at chance and 1 perfect (distances: 1 at chance and 0 perfect); p, one-sided,
        (k + 1) / (B + 1), of the mean over questions; n, questions with a defined value. Undefined numbers are NaN.

    Raises:
        ValueError: the arrays do not fit each other or are not finite; names the question.
    """
    states = read_pairs(speech, text, IDENTITY)
    with tempfile.TemporaryDirectory() as folder:
        found = _tables(_measure(states, Path(folder), draws, seed, massive_dimensions))
    own = [found[name].loc[found[name]["subset"] != ALL] for name in ("layers", "checkpoints")]
    both = pd.concat([own[0].astype({"layer": "Int64"}), own[1].assign(layer=pd.NA)], ignore_index=True)
    order = {name: number for number, name in enumerate(MEASURES)}
    both = both.sort_values("measure", key=lambda names: names.map(order), kind="stable", ignore_index=True)
    return both[list(COLUMNS)].astype({"layer": "Int64", "n": "int64"})


def figure(
    name: str,
    speech: Questions,
    text: Questions,
    *,
    draws: int = 200,
    seed: int = 0,
    massive_dimensions: int = 4,
    model: str = "model",
    layer: int | None = None,
) -> Figure:
    """A figure of the page, drawn from these states.

    Args:
        name: one of FIGURES.
        model: its name in titles.
        layer: of `token_matrix`, which shows the first question; default: the middle one.
        (others as in `compare`)

    Raises:
        ValueError: no such figure; otherwise as `compare`.
    """
    if name not in FIGURES:
        raise ValueError(f"no figure {name!r} of states alone; there are {', '.join(FIGURES)}")
    states = read_pairs(speech, text, IDENTITY | {"model": model})
    with tempfile.TemporaryDirectory() as folder:
        files = _measure(states, Path(folder), draws, seed, massive_dimensions)
        given: Mapping[str, Any] = files | _tables(files)
        display = DisplaySettings(example_layer=layer).model_dump(mode="json")
        return draw(FIGURES[name].function, **{part: given[part] for part in FIGURES[name].inputs}, display=display)


def _measure(states: ArrayStates, folder: Path, draws: int, seed: int, massive: int) -> dict[str, Path]:
    """Similarity and alignment files of states, as the steps write them."""
    files = {"similarity": folder / "similarity.h5", "alignment": folder / "alignment.h5"}
    similarity = pooled_measurements(states, draws=draws, seed=seed, massive=massive)
    write_measurements(files["similarity"], SIMILARITY, similarity)
    write_measurements(files["alignment"], ALIGNMENT, measure_alignment(states, draws=draws, seed=seed, examples=1))
    return files


def _tables(files: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    """The workflow's tables `layers` (with p), `checkpoints` and `cka`."""
    everything = read_all([files["similarity"]], [files["alignment"]])
    (samples,) = everything.values()
    found = alignment_tables(everything)
    known = {
        (name, layer): float(p_value(value, null, bool(MEASURES[name].higher_is_better)))
        for name, (raw, drawn) in draws_by_layer(samples).items()
        for layer, (value, null) in enumerate(zip(raw, drawn.T))
    }
    layers = found["layers"]
    return found | {
        "layers": layers.assign(p=[known.get(key, np.nan) for key in zip(layers["measure"], layers["layer"])])
    }
