"""Alignment paths between spoken and written questions, by layer, with their shuffled-pair null (paper, section 5).

For every question, layer l = 0..L and metric f (cosine, Euclidean distance), with A_l[i, j] = f(h^s_{l,i}, h^t_{l,j}):

    path           i*_{l,j} = argmax_i A_l[i, j] (argmin for the distance): one speech frame per text token
    path score     A_l[i*_j, j]; its mean over text tokens averages to the APS over layers 1..L and questions
    monotonicity   rho_l = Spearman(j, i*_{l,j})
    consistency    share of text tokens on whose frame the two metrics agree

The null (ours) gives the same statistics for the speech of question i and the text of question pi(i), over B
derangements pi among questions of like length. One layer is in memory at a time; beside it, the paths of all pairs
(8 (L + 1) bytes for each text token of each distinct pair).
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workflow_scripts.alignment.pairs import Partners, plan_pairs
from workflow_scripts.alignment.stacked_texts import align_stacked
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.inherited import inherited
from workflow_scripts.artifacts.logs import progress
from workflow_scripts.artifacts.measurements import ALIGNMENT, Measured, Measurements, write_measurements
from workflow_scripts.artifacts.provenance import provenance
from workflow_scripts.artifacts.states import StateReader
from workflow_scripts.measures import (
    InvalidStates,
    Prepared,
    consistency,
    monotonicity,
    null_per_sample,
    p_value,
    prepare,
    token_similarity,
)

logger = logging.getLogger(__name__)

METRICS = ("cosine", "euclidean")
KINDS = {
    "path_score_cosine": "cosine",
    "path_score_euclidean": "distance",
    "monotonicity_cosine": "cosine",
    "monotonicity_euclidean": "cosine",
    "consistency": "cosine",
}
"""The measures written, and how each compares with its null: `cosine` higher is better, `distance` lower."""
FLOAT16_MAX = float(np.finfo(np.float16).max)


@dataclass
class _Aligned:
    """What is kept of one spoken question against its P texts, filled layer by layer.

    i_star: metric -> (L+1, sum T_t) int32. mean_score: metric -> (P, L+1). own_score: metric -> (L+1, T_t) float32.
    """

    i_star: dict[str, np.ndarray]
    mean_score: dict[str, np.ndarray]
    own_score: dict[str, np.ndarray]


def align_tokens(states: Path, alignment: Path, *, draws: int, seed: int, examples: int) -> None:
    """Write the alignment file of a state file.

    Args:
        states: activation file of one shard.
        alignment: output.
        draws: B, derangements of the null.
        seed: of the derangements.
        examples: questions, from the first on, whose token matrices are kept for figures.

    Raises:
        ArtifactError: the state file cannot be read or holds states that no measure can use.
    """
    with StateReader(states) as reader:
        content = measure_alignment(reader, draws=draws, seed=seed, examples=examples)
    write_measurements(alignment, ALIGNMENT, content)


def measure_alignment(reader: StateReader, *, draws: int, seed: int, examples: int) -> Measurements:
    """Contents of the alignment file for an open state file; arguments as in `align_tokens`.

    A shard of one question has no derangement: its null is NaN, and `null_draws` is 0.
    """
    T_s, T_t = np.diff(reader.offsets("speech")), np.diff(reader.offsets("text"))
    plan = plan_pairs(T_s, T_t, draws, seed)
    depth = reader.n_layers + 1
    aligned = [_empty(partners, depth) for partners in plan]
    shown = range(min(examples, len(plan)))
    matrices: list[dict[str, list[np.ndarray]]] = [{metric: [] for metric in METRICS} for _ in shown]
    zero_norms = 0
    for layer in progress(reader.layers, len(reader.layers), "layers aligned"):
        speech, text = (_prepared(reader, form, layer) for form in ("speech", "text"))
        zero_norms += sum(one.zero_norms for one in speech + text)
        _align_layer(layer, plan, speech, text, aligned)
        for number in shown:
            similarity = token_similarity(speech[number], text[number])
            missing = layer - len(matrices[number][METRICS[0]])
            for metric in METRICS:
                # Drawings need no distance beyond float16; clipping keeps the file free of infinities.
                matrix = np.clip(getattr(similarity, metric)[0], -FLOAT16_MAX, FLOAT16_MAX)
                # Layers that the state file does not hold are empty matrices.
                matrices[number][metric] += [np.zeros(matrix.shape, np.float16)] * missing
                matrices[number][metric].append(matrix.astype(np.float16))
    absent = sorted(set(range(depth)) - set(reader.layers))
    for number in shown:
        for found in matrices[number].values():
            found += [np.zeros_like(found[0])] * (depth - len(found))
    statistics = [_statistics(*pair) for pair in zip(plan, aligned, T_s.tolist())]
    for one in statistics:
        for values in one.values():
            values[:, absent] = np.nan
    measures = _with_null(plan, statistics)
    undefined = {name: int(np.isnan(measured.raw).sum()) for name, measured in measures.items()}
    undefined_null = {name: int(np.isnan(measured.null_mean).sum()) for name, measured in measures.items()}
    logger.info("%d questions, %d pairs; undefined: %s", len(plan), sum(len(p.texts) for p in plan), undefined)
    return Measurements(
        ids=reader.ids,
        measures=measures,
        T_s=T_s,
        T_t=T_t,
        attributes=inherited(reader.attributes)
        | {
            "null_draws": draws if len(plan) > 1 else 0,
            "seed": seed,
            "distinct_null_pairs": sum(len(partners.texts) - 1 for partners in plan),
            "undefined": undefined,
            "undefined_null": undefined_null,
            "zero_norms": zero_norms,
            "provenance": provenance({"draws": draws, "seed": seed, "examples": examples}),
        },
        paths={metric: [one.i_star[metric][:, own.text(0)] for own, one in zip(plan, aligned)] for metric in METRICS},
        scores={metric: [one.own_score[metric] for one in aligned] for metric in METRICS},
        examples={
            reader.ids[number]: {metric: np.stack(layers) for metric, layers in matrices[number].items()}
            for number in shown
        },
        example_tokens={reader.ids[number]: reader.tokens(number) for number in shown},
    )


def _prepared(reader: StateReader, form: str, layer: int) -> list[Prepared]:
    """One layer of one form, question by question, each (1, T, d)."""
    block, offsets = reader.layer(form, layer), reader.offsets(form)
    found = []
    for name, start, end in zip(reader.ids, offsets[:-1], offsets[1:]):
        try:
            found.append(prepare(block[None, start:end], f"{form} states"))
        except InvalidStates as error:
            raise ArtifactError(f"{reader.path}: question {name!r}, layer {layer}: {error}") from error
    return found


def _empty(partners: Partners, depth: int) -> _Aligned:
    shape, tokens = (depth, len(partners.rows)), int(partners.starts[1])
    return _Aligned(
        i_star={metric: np.zeros(shape, dtype=np.int32) for metric in METRICS},
        mean_score={metric: np.full((len(partners.texts), depth), np.nan) for metric in METRICS},
        own_score={metric: np.full((depth, tokens), np.nan, dtype=np.float32) for metric in METRICS},
    )


def _align_layer(
    layer: int, plan: list[Partners], speech: list[Prepared], text: list[Prepared], aligned: list[_Aligned]
) -> None:
    """Align every spoken question with its texts at one layer; fills `aligned`."""
    block = np.concatenate([one.states[0] for one in text])
    norms = np.concatenate([one.norms[0] for one in text])
    for partners, spoken, kept in zip(plan, speech, aligned):
        found = align_stacked(spoken, block[partners.rows], norms[partners.rows])
        for metric in METRICS:
            score = found.path_score[metric]
            kept.i_star[metric][layer] = found.i_star[metric]
            sums = np.add.reduceat(score, partners.starts[:-1])
            kept.mean_score[metric][:, layer] = sums / np.diff(partners.starts)
            kept.own_score[metric][layer] = score[partners.text(0)]


def _statistics(partners: Partners, aligned: _Aligned, T_s: int) -> dict[str, np.ndarray]:
    """Every measure of one spoken question against its P texts, (P, L+1) each."""
    paths = [
        {metric: aligned.i_star[metric][:, partners.text(number)] for metric in METRICS}
        for number in range(len(partners.texts))
    ]
    found = {f"path_score_{metric}": aligned.mean_score[metric] for metric in METRICS}
    for metric in METRICS:
        found[f"monotonicity_{metric}"] = np.stack([monotonicity(path[metric], T_s) for path in paths])
    found["consistency"] = np.stack([consistency(path["cosine"], path["euclidean"]) for path in paths])
    return found


def _with_null(plan: list[Partners], values: list[dict[str, np.ndarray]]) -> dict[str, Measured]:
    """Raw values (N, L+1) and their null from the values of each question's pairs."""
    measures = {}
    for name, kind in KINDS.items():
        raw = np.stack([one[name][0] for one in values])
        drawn = np.stack([one[name][partners.drawn] for one, partners in zip(values, plan)], axis=1)
        if len(drawn) == 0:
            nothing = np.full_like(raw, np.nan)
            measures[name] = Measured(raw, nothing, nothing, nothing)
        else:
            measures[name] = Measured(raw, *null_per_sample(drawn), p_value(raw, drawn, kind))
    return measures


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: align_tokens(
            Path(s.input.states),
            Path(s.output.alignment),
            draws=s.params.draws,
            seed=s.params.seed,
            examples=s.params.examples,
        ),
    )
