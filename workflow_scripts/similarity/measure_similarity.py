"""Sequence-level similarity of spoken and written questions by layer, with its shuffled-pair null (paper, section 5).

For every question and layer l = 0..L, hbar^s_l and hbar^t_l being the means of the states over positions:

    cosine, euclidean          of hbar^s_l and hbar^t_l; their means over layers 1..L and questions are Sim
    norm_speech, norm_text     ||hbar^s_l||, ||hbar^t_l||
    token_norm_speech, ..text  mean ||h_{l,i}|| over positions
    log_norm_ratio             log(||hbar^s_l|| / ||hbar^t_l||)

The norms are ours: ||s - t||^2 = ||s||^2 + ||t||^2 - 2 ||s|| ||t|| cos, so growing norms alone raise the distance. The
null (ours) pairs the speech of question i with the text of question pi(i), over B derangements pi among questions of
like length; it exists for cosine and euclidean only. One layer is in memory at a time.
"""

import logging
from pathlib import Path

import numpy as np

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.inherited import inherited
from workflow_scripts.artifacts.logs import progress
from workflow_scripts.artifacts.measurements import SIMILARITY, Measured, Measurements, write_measurements
from workflow_scripts.artifacts.provenance import provenance
from workflow_scripts.artifacts.states import StateReader
from workflow_scripts.measures import (
    InvalidStates,
    compare_means,
    derangements,
    null_per_sample,
    p_value,
    prepare,
    sequence_means,
)

logger = logging.getLogger(__name__)

KINDS = {"cosine": "cosine", "euclidean": "distance"}
"""Measures with a null, and how they compare with it: `cosine` higher is better, `distance` lower."""
NORMS = ("norm_speech", "norm_text", "token_norm_speech", "token_norm_text", "log_norm_ratio")


def measure_similarity(states: Path, similarity: Path, *, draws: int, seed: int) -> None:
    """Write the similarity file of a state file.

    Args:
        states: activation file of one shard.
        similarity: output.
        draws: B, derangements of the null.
        seed: of the derangements; the alignment step with the same seed pairs the same questions.

    Raises:
        ArtifactError: the state file cannot be read or holds states that no measure can use.
    """
    with StateReader(states) as reader:
        content = pooled_measurements(reader, draws=draws, seed=seed)
    write_measurements(similarity, SIMILARITY, content)


def pooled_measurements(reader: StateReader, *, draws: int, seed: int) -> Measurements:
    """Contents of the similarity file for an open state file; arguments as in `measure_similarity`.

    A shard of one question has no derangement: its null is NaN, and `null_draws` is 0.
    """
    n, depth = len(reader.ids), reader.n_layers + 1
    T_s, T_t = np.diff(reader.offsets("speech")), np.diff(reader.offsets("text"))
    partners = derangements(T_s, T_t, draws, seed) if n > 1 else np.empty((0, n), dtype=np.int64)
    # Layers that the state file does not hold stay undefined.
    raw = {name: np.full((n, depth), np.nan) for name in (*KINDS, *NORMS)}
    drawn = {name: np.full((len(partners), n, depth), np.nan) for name in KINDS}
    zero_norms = 0
    for layer in progress(reader.layers, len(reader.layers), "layers compared"):
        (speech, speech_norms), (text, text_norms) = (_pool(reader, form, layer) for form in ("speech", "text"))
        # The rows of `compare_means` are questions here: each is compared within its row only.
        matched = compare_means(speech, text, speech_norms, text_norms)
        zero_norms += matched.zero_norms
        for name, values in raw.items():
            values[:, layer] = getattr(matched, name)
        for draw, texts in enumerate(partners):
            mismatched = compare_means(speech, text[texts], speech_norms, text_norms[texts])
            for name, values in drawn.items():
                values[draw, :, layer] = getattr(mismatched, name)
    measures = {}
    nothing = np.full((n, depth), np.nan)
    for name, values in raw.items():
        if name in KINDS and len(partners):
            null = drawn[name]
            measures[name] = Measured(values, *null_per_sample(null), p_value(values, null, KINDS[name]))
        else:
            measures[name] = Measured(values, nothing, nothing, nothing)
    return Measurements(
        ids=reader.ids,
        measures=measures,
        T_s=T_s,
        T_t=T_t,
        attributes=inherited(reader.attributes)
        | {
            "null_draws": len(partners),
            "seed": seed,
            "undefined": {name: int(np.isnan(values).sum()) for name, values in raw.items()},
            "undefined_null": {name: int(np.isnan(measures[name].null_mean).sum()) for name in KINDS},
            "zero_norms": zero_norms,
            "provenance": provenance({"draws": draws, "seed": seed}),
        },
    )


def _pool(reader: StateReader, form: str, layer: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean vectors (N, d) float64 and mean single-vector norms (N,) of one layer."""
    block, offsets = reader.layer(form, layer), reader.offsets(form)
    means, norms = np.empty((len(reader.ids), block.shape[1])), np.empty(len(reader.ids))
    for number, name in enumerate(reader.ids):
        try:
            one = prepare(block[None, offsets[number] : offsets[number + 1]], f"{form} states")
        except InvalidStates as error:
            raise ArtifactError(f"{reader.path}: question {name!r}, layer {layer}: {error}") from error
        means[number], norms[number] = sequence_means(one)[0], one.norms.mean()
    return means, norms


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: measure_similarity(
            Path(s.input.states), Path(s.output.similarity), draws=s.params.draws, seed=s.params.seed
        ),
    )
