"""Sequence-level similarity of spoken and written questions by layer, with its shuffled-pair null (paper, section 5).

For every question and layer l = 0..L, hbar^s_l and hbar^t_l being the means of the states over positions:

    cosine, euclidean          of hbar^s_l and hbar^t_l; their means over layers 1..L and questions are Sim
    norm_speech, norm_text     ||hbar^s_l||, ||hbar^t_l||
    token_norm_speech, ..text  mean ||h_{l,i}|| over positions
    log_norm_ratio             log(||hbar^s_l|| / ||hbar^t_l||)

Ours, beside the norms (||s - t||^2 = ||s||^2 + ||t||^2 - 2 ||s|| ||t|| cos, so growing norms alone raise the distance):

    length_free_distance       euclidean / sqrt(||s|| ||t||)
    cosine_common, _modality   after the mean over both forms, or of each form, in the other half is taken away
    cosine_trimmed             without the dimensions of massive activations
    mutual_knn, retrieval      utterance level: shared nearest neighbours, and whether speech finds its own text first
    cosine_median, _last,      other readings of the sequence mean: median over positions, last position, mean without
    _without_first             the first position (a sink); they have no null
    shard: cka                 debiased linear CKA of every speech layer (rows) and text layer; null of its diagonal

The null pairs the speech of question i with the text of question pi(i), over B derangements pi among questions of like
length. One layer is in memory at a time, and the mean vectors of at most `MOST_UTTERANCES` questions at all layers.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.inherited import inherited
from workflow_scripts.artifacts.logs import progress
from workflow_scripts.artifacts.measurements import SIMILARITY, Measured, Measurements, write_measurements
from workflow_scripts.artifacts.provenance import provenance
from workflow_scripts.artifacts.states import StateReader
from workflow_scripts.measures import (
    Bin,
    InvalidStates,
    PairMeasurements,
    Prepared,
    compare_means,
    cosine_pairs,
    halves,
    held_out_means,
    layer_cka,
    massive_dimensions,
    mutual_neighbours,
    neighbours_used,
    null_cka,
    plan_pairs,
    pooled_pairs,
    prepare,
    retrieval_at_1,
    sequence_means,
    u_centred_gram,
)
from workflow_scripts.measures.shuffle_null import Kind

logger = logging.getLogger(__name__)

KINDS: dict[str, Kind] = {
    "cosine": "cosine",
    "euclidean": "distance",
    "length_free_distance": "distance",
    "cosine_common": "cosine",
    "cosine_modality": "cosine",
    "cosine_trimmed": "cosine",
    "mutual_knn": "cosine",
    "retrieval": "cosine",
}
"""Measures with a null, and how they compare with it: `cosine` higher is better, `distance` lower."""
NORMS = ("norm_speech", "norm_text", "token_norm_speech", "token_norm_text", "log_norm_ratio")
READINGS = ("cosine_median", "cosine_last", "cosine_without_first")
MOST_UTTERANCES = 400
"""Questions of a shard that CKA, mutual kNN and retrieval use, a seeded choice: they compare all with all."""


@dataclass(frozen=True)
class _Pooled:
    """One layer of one form, (N, d) each: mean, median and last state, mean without the first; `norms` (N,)."""

    mean: np.ndarray
    median: np.ndarray
    last: np.ndarray
    without_first: np.ndarray
    norms: np.ndarray


def measure_similarity(states: Path, similarity: Path, *, draws: int, seed: int, massive: int) -> None:
    """Write the similarity file of a state file.

    Args:
        states: activation file of one shard.
        similarity: output.
        draws: B, derangements of the null; 0 for none.
        seed: of the derangements and of the halves that centre each other; the alignment step with the same seed pairs
            the same questions.
        massive: dimensions left out in `cosine_trimmed`.

    Raises:
        ArtifactError: the state file cannot be read or holds states that no measure can use.
    """
    with StateReader(states) as reader:
        content = pooled_measurements(reader, draws=draws, seed=seed, massive=massive)
    write_measurements(similarity, SIMILARITY, content)


def pooled_measurements(reader: StateReader, *, draws: int, seed: int, massive: int) -> Measurements:
    """Contents of the similarity file for an open state file; arguments as in `measure_similarity`.

    A shard of one question has no derangement: its null is NaN, and `null_draws` is 0. Layers that the state file does
    not hold are undefined (NaN).
    """
    n, depth = len(reader.ids), reader.n_layers + 1
    T_s, T_t = np.diff(reader.offsets("speech")), np.diff(reader.offsets("text"))
    plan, half = plan_pairs(T_s, T_t, draws, seed), halves(reader.ids, seed)
    drawn = len(plan[0].partners)
    found = PairMeasurements(KINDS, n, depth, drawn)
    plain = {name: np.full((n, depth), np.nan) for name in (*NORMS, *READINGS)}
    chosen = np.sort(np.random.default_rng(seed).permutation(n)[:MOST_UTTERANCES])
    grams = np.full((2, depth, len(chosen), len(chosen)), np.nan)
    zero_norms = 0
    for layer in progress(reader.layers, len(reader.layers), "layers compared"):
        speech, text = (_pool(reader, form, layer) for form in ("speech", "text"))
        # The rows of `compare_means` are questions here: each is compared within its row only.
        matched = compare_means(speech.mean, text.mean, speech.norms, text.norms)
        zero_norms += matched.zero_norms
        for name in NORMS:
            plain[name][:, layer] = getattr(matched, name)
        for name in READINGS:
            pair = (getattr(form, name.removeprefix("cosine_")) for form in (speech, text))
            plain[name][:, layer] = compare_means(*pair, speech.norms, text.norms).cosine
        compared = _compared(speech.mean, text.mean, half, massive)
        near = {
            "mutual_knn": mutual_neighbours(speech.mean[chosen], text.mean[chosen]),
            "retrieval": retrieval_at_1(speech.mean[chosen], text.mean[chosen]),
        }
        for one in plan:
            found.add(layer, one, _pairs(one, compared) | {k: _of_bin(v, chosen, n, one) for k, v in near.items()})
        for number, form in enumerate((speech, text)):
            grams[number, layer] = u_centred_gram(form.mean[chosen])
    nothing, shard = np.full((n, depth), np.nan), _cka(*grams, plan, chosen, n)
    measures = {name: Measured(found.raw[name], found.mean[name], found.sd[name], found.p[name]) for name in KINDS}
    measures |= {name: Measured(values, nothing, nothing, nothing) for name, values in plain.items()}
    return Measurements(
        ids=reader.ids,
        measures=measures,
        T_s=T_s,
        T_t=T_t,
        attributes=inherited(reader.attributes)
        | {
            "null_draws": drawn,
            "seed": seed,
            "undefined": {name: int(np.isnan(measured.raw).sum()) for name, measured in measures.items()}
            | {"cka": int(np.isnan(shard["cka"]).sum())},
            "undefined_null": {name: int(np.isnan(found.mean[name]).sum()) for name in KINDS},
            "zero_norms": zero_norms,
            "neighbours": neighbours_used(len(chosen)),
            "utterances": len(chosen),
            "massive_dimensions": massive,
            "provenance": provenance({"draws": draws, "seed": seed, "massive": massive}),
        },
        draws={name: (found.draw_sum[name], found.draw_count[name]) for name in KINDS},
        shard=shard,
    )


def _compared(
    speech: np.ndarray, text: np.ndarray, half: np.ndarray, massive: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Vectors (N, d) of both forms to be compared, by what was done to them."""
    kept = np.delete(np.arange(speech.shape[1]), massive_dimensions(speech, text, massive))
    vectors = {"none": (speech, text), "cosine_trimmed": (speech[:, kept], text[:, kept])}
    for centring in ("common", "modality"):
        taken = held_out_means(speech, text, half, centring)
        vectors[f"cosine_{centring}"] = (speech - taken[0], text - taken[1])
    return vectors


def _pairs(one: Bin, compared: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    """Values (m, m) of all pairs of a bin."""
    values: dict[str, np.ndarray] = {}
    for name, (speech, text) in compared.items():
        pair = speech[one.members], text[one.members]
        values |= pooled_pairs(*pair) if name == "none" else {name: cosine_pairs(*pair)}
    return values


def _of_bin(values: np.ndarray, chosen: np.ndarray, n: int, one: Bin) -> np.ndarray:
    """The bin's part (m, m) of values between the chosen questions; NaN for questions that were not chosen."""
    place = np.full(n, len(chosen))
    place[chosen] = np.arange(len(chosen))
    padded = np.full((len(chosen) + 1, len(chosen) + 1), np.nan)
    padded[:-1, :-1] = values
    return padded[np.ix_(place[one.members], place[one.members])]


def _cka(speech: np.ndarray, text: np.ndarray, plan: list[Bin], chosen: np.ndarray, n: int) -> dict[str, np.ndarray]:
    """CKA of every layer with every layer, and the null's draws on equal layers."""
    partners = np.tile(np.arange(n), (len(plan[0].partners), 1))
    for one in plan:
        partners[:, one.members] = one.members[one.partners]
    found = {"cka": layer_cka(speech, text)}
    if len(chosen) == n:
        found["cka_draws"] = null_cka(speech, text, partners)
        return found
    # Among chosen questions only, a derangement of the shard is none: a plain permutation of them takes its place.
    rng = np.random.default_rng(n)
    found["cka_draws"] = null_cka(speech, text, np.stack([rng.permutation(len(chosen)) for _ in partners]))
    return found


def _pool(reader: StateReader, form: str, layer: int) -> _Pooled:
    """Every question's vectors of one layer and form."""
    block, offsets = reader.layer(form, layer), reader.offsets(form)
    kept = [np.empty((len(reader.ids), block.shape[1])) for _ in range(4)]
    norms = np.empty(len(reader.ids))
    for number, name in enumerate(reader.ids):
        try:
            one = prepare(block[None, offsets[number] : offsets[number + 1]], f"{form} states")
        except InvalidStates as error:
            raise ArtifactError(f"{reader.path}: question {name!r}, layer {layer}: {error}") from error
        for values, found in zip(kept, _vectors(one)):
            values[number] = found
        norms[number] = one.norms.mean()
    return _Pooled(*kept, norms)


def _vectors(one: Prepared) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mean, median and last vector, and the mean without the first; a single position is its own everything."""
    states, mean = one.states[0], sequence_means(one)[0]
    rest = (mean * len(states) - states[0]) / (len(states) - 1) if len(states) > 1 else mean
    return mean, np.median(np.ascontiguousarray(states.T), axis=1), states[-1], rest


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: measure_similarity(
            Path(s.input.states),
            Path(s.output.similarity),
            draws=s.params.draws,
            seed=s.params.seed,
            massive=s.params.massive,
        ),
    )
