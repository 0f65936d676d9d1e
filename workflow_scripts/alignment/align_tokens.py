"""Alignment paths between spoken and written questions, by layer, with their shuffled-pair null (paper, section 5).

For every question, layer l = 0..L and metric f (cosine, Euclidean distance), with A_l[i, j] = f(h^s_{l,i}, h^t_{l,j}):
the path i*_{l,j} = argmax_i A_l[i, j] (argmin for the distance), one speech frame per text token; the path score
A_l[i*_j, j], whose mean over text tokens averages to the APS over layers 1..L and questions; and all other measures of
level `token` (`measures.registry`).

The null gives the same statistics for the speech of question i and the text of question pi(i), over B derangements pi
among questions of like length. One layer is in memory at a time; all pairs of a length bin are compared once, whatever
B is.
"""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from workflow_scripts.alignment.word_truth import read_truth
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.inherited import inherited
from workflow_scripts.artifacts.logs import progress
from workflow_scripts.artifacts.measurements import ALIGNMENT, Measurements, measured, write_measurements
from workflow_scripts.artifacts.provenance import provenance
from workflow_scripts.artifacts.states import StateReader
from workflow_scripts.measures.centring import halves
from workflow_scripts.measures.pair_alignment import METRICS, OwnPath, align_pairs, chunks, stack_texts
from workflow_scripts.measures.pair_null import Bin, PairMeasurements, plan_pairs
from workflow_scripts.measures.registry import of_level
from workflow_scripts.measures.states import InvalidStates, Prepared, prepare
from workflow_scripts.measures.time_truth import TimedQuestion
from workflow_scripts.measures.token_alignment import token_similarity

logger = logging.getLogger(__name__)

FLOAT16_MAX = float(np.finfo(np.float16).max)


def align_tokens(
    states: Path, alignment: Path, *, draws: int, seed: int, examples: int, words: Path | None = None
) -> None:
    """Write the alignment file of a state file.

    Args:
        states: activation file of one shard.
        alignment: output.
        words: word_times.jsonl of the subset; without it, what depends on times is undefined.
        draws: B, derangements of the null; 0 for none.
        seed: of the derangements and of the halves that centre each other.
        examples: questions, from the first on, whose token matrices are kept for figures.

    Raises:
        ArtifactError: the state file cannot be read or holds states that no measure can use, or the word times belong
            to other questions.
    """
    with StateReader(states) as reader:
        content = measure_alignment(reader, draws=draws, seed=seed, examples=examples, words=words)
    write_measurements(alignment, ALIGNMENT, content)


def measure_alignment(
    reader: StateReader, *, draws: int, seed: int, examples: int, words: Path | None = None
) -> Measurements:
    """Contents of the alignment file for an open state file; arguments as in `align_tokens`.

    A shard of one question has no derangement: its null is NaN, and `null_draws` is 0. Layers that the state file does
    not hold are undefined: NaN, paths and token matrices 0; the attribute `layers` names those it holds.
    """
    T_s, T_t = np.diff(reader.offsets("speech")), np.diff(reader.offsets("text"))
    n, depth = len(reader.ids), reader.n_layers + 1
    plan, half = plan_pairs(T_s, T_t, draws, seed), halves(reader.ids, seed)
    drawn = len(plan[0].partners)
    truth = None if words is None else read_truth(reader, words)
    found = PairMeasurements(of_level("token"), n, depth, drawn)
    # Metric -> question -> one (T_t,) array per layer.
    i_star, scores = ({metric: [[] for _ in range(n)] for metric in METRICS} for _ in range(2))
    shown = range(min(examples, n))
    matrices: list[dict[str, list[np.ndarray]]] = [{metric: [] for metric in METRICS} for _ in shown]
    zero_norms = 0
    for layer in progress(reader.layers, len(reader.layers), "layers aligned"):
        speech, text = (_prepared(reader, form, layer) for form in ("speech", "text"))
        zero_norms += sum(one.zero_norms for one in speech + text)
        centred = tuple(_centred(form, half) for form in (speech, text)) if n > 1 else None
        for one in plan:
            for number, own in _align_bin(layer, one, (speech, text), centred, truth and truth.questions, found):
                for metric in METRICS:
                    i_star[metric][number].append(own.i_star[metric])
                    scores[metric][number].append(own.scores[metric].astype(np.float32))
        for number in shown:
            similarity = token_similarity(speech[number], text[number])
            for metric in METRICS:
                # Drawings need no distance beyond float16; clipping keeps the file free of infinities.
                matrix = np.clip(getattr(similarity, metric)[0], -FLOAT16_MAX, FLOAT16_MAX)
                matrices[number][metric].append(matrix.astype(np.float16))
    measures = measured(found)
    undefined = {name: int(np.isnan(found.raw[name]).sum()) for name in found.mean}
    logger.info("%d questions in %d length bins; undefined: %s", n, len(plan), undefined)
    return Measurements(
        ids=reader.ids,
        measures=measures,
        T_s=T_s,
        T_t=T_t,
        attributes=inherited(reader.attributes)
        | {
            "null_draws": drawn,
            "seed": seed,
            "distinct_null_pairs": sum(int((one.counts > 0).sum()) for one in plan),
            "undefined": undefined,
            "undefined_null": {name: int(np.isnan(null).sum()) for name, null in found.mean.items()},
            "zero_norms": zero_norms,
            **({} if truth is None else truth.facts()),
            "provenance": provenance({"draws": draws, "seed": seed, "examples": examples}),
        },
        draws={name: (found.draw_sum[name], found.draw_count[name]) for name in found.draw_sum},
        paths={metric: [_placed(one, reader.layers, depth, 0) for one in i_star[metric]] for metric in METRICS},
        scores={metric: [_placed(one, reader.layers, depth, np.nan) for one in scores[metric]] for metric in METRICS},
        examples={
            reader.ids[number]: {m: _placed(one, reader.layers, depth, 0) for m, one in matrices[number].items()}
            for number in shown
        },
        example_tokens={reader.ids[number]: reader.tokens(number) for number in shown},
        words={} if truth is None else truth.arrays(),
        position_bounds=[] if truth is None else truth.bounds,
    )


def _placed(found: list[np.ndarray], layers: list[int], depth: int, absent: float) -> np.ndarray:
    """One array per layer of `layers` as (depth, ...), filled with `absent` where the state file holds no layer."""
    placed = np.full((depth, *found[0].shape), absent, dtype=found[0].dtype)
    placed[layers] = found
    return placed


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


def _align_bin(
    layer: int,
    one: Bin,
    forms: tuple[list[Prepared], list[Prepared]],
    centred: tuple[list[Prepared], list[Prepared]] | None,
    times: list[TimedQuestion] | None,
    found: PairMeasurements,
) -> list[tuple[int, OwnPath]]:
    """Every measure of all pairs of a bin at one layer; gives the questions with the paths along their own texts."""
    speech, texts = [forms[0][number] for number in one.members], stack_texts([forms[1][k] for k in one.members])
    centred_texts = None if centred is None else stack_texts([centred[1][number] for number in one.members])
    parts: dict[str, list[np.ndarray]] = {name: [] for name in found.measures}
    paths: list[tuple[int, OwnPath]] = []
    for chunk in chunks(np.array([each.positions for each in speech]), texts.lengths):
        own = np.arange(len(speech))[chunk]
        members = one.members[own]
        pairs = align_pairs(
            speech[chunk],
            texts,
            own,
            None if centred is None else ([centred[0][number] for number in members], centred_texts),
            None if times is None else [times[number] for number in members],
        )
        for name, measure in found.measures.items():
            parts[name].append(measure.function(pairs))
        paths += zip(members, pairs.own)
    found.add(layer, one, {name: np.concatenate(values) for name, values in parts.items()})
    return paths


def _centred(form: list[Prepared], half: np.ndarray) -> list[Prepared]:
    """States without the mean over all positions of the other half's questions."""
    total = np.stack([one.states[0].sum(axis=0, dtype=np.float64) for one in form])
    positions = np.array([one.positions for one in form])
    centred = []
    for one, side in zip(form, half):
        others = half != side
        mean = total[others].sum(axis=0) / positions[others].sum()
        states = one.states - mean.astype(np.float32)
        norms = np.sqrt(np.einsum("ltd,ltd->lt", states, states, dtype=np.float64))
        centred.append(replace(one, states=states, norms=norms))
    return centred


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
            words=Path(s.input.words),
        ),
    )
