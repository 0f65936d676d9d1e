"""Sequence-level similarity of spoken and written questions by layer, with its shuffled-pair null (paper, section 5).

For every question and layer l = 0..L: all measures of level `pair` (`measures.registry`), from the sequence vectors of
both forms; their means over layers 1..L and questions are Sim. For the shard as a whole: those of level `shard`.

The null pairs the speech of question i with the text of question pi(i), over B derangements pi among questions of like
length. One layer is in memory at a time, and questions against questions (at most `MAX_UTTERANCES`) at all layers.
"""

import logging
from pathlib import Path

import numpy as np

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.inherited import inherited
from workflow_scripts.artifacts.logs import progress
from workflow_scripts.artifacts.measurements import SIMILARITY, Measurements, measured, write_measurements
from workflow_scripts.artifacts.provenance import provenance
from workflow_scripts.artifacts.states import StateReader
from workflow_scripts.measures.centring import halves
from workflow_scripts.measures.cka import ShardQuestions, reduced
from workflow_scripts.measures.neighbours import nearest_questions, neighbours_used
from workflow_scripts.measures.pair_null import Bin, PairMeasurements, plan_pairs
from workflow_scripts.measures.pooled_pairs import PooledForm, PooledLayer, PooledPairs, pool_states
from workflow_scripts.measures.registry import of_level
from workflow_scripts.measures.states import InvalidStates, prepare

logger = logging.getLogger(__name__)

MAX_UTTERANCES = 400
"""Questions of a shard that retrieval and measures of level `shard` use, a seeded choice: they compare all with all."""


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
    half = halves(reader.ids, seed)
    plan, plan_of_halves = (plan_pairs(T_s, T_t, draws, seed, groups) for groups in (None, half))
    drawn = len(plan[0].partners)
    found = PairMeasurements(of_level("pair"), n, depth, drawn)
    chosen = np.sort(np.random.default_rng(seed).permutation(n)[:MAX_UTTERANCES])
    means: dict[int, np.ndarray] = {}
    near = np.full((2, depth, len(chosen), neighbours_used(len(chosen))), -1)
    by_plan = [
        (bins, {name: one for name, one in found.measures.items() if one.within_halves == inside})
        for bins, inside in ((plan, False), (plan_of_halves, True))
    ]
    zero_norms = 0
    for layer in progress(reader.layers, len(reader.layers), "layers compared"):
        pooled = PooledLayer(_pool(reader, "speech", layer), _pool(reader, "text", layer), half, massive, chosen)
        zero_norms += pooled.zero_norms
        for bins, measures_of in by_plan:
            for one in bins:
                pairs = PooledPairs(pooled, one.members)
                found.add(layer, one, {name: measure.function(pairs) for name, measure in measures_of.items()})
        for number, form in enumerate((pooled.speech, pooled.text)):
            near[number, layer] = nearest_questions(form.mean[chosen])
        means[layer] = np.stack([reduced(form.mean[chosen]) for form in (pooled.speech, pooled.text)])
    unknown = np.full_like(means[reader.layers[0]], np.nan)
    vectors = np.stack([means.get(layer, unknown) for layer in range(depth)], axis=1)
    questions = ShardQuestions(*vectors, *near, _permutations(plan, chosen, n))
    shard = {name: measure.function(questions) for name, measure in of_level("shard").items()}
    measures = measured(found)
    return Measurements(
        ids=reader.ids,
        measures=measures,
        T_s=T_s,
        T_t=T_t,
        attributes=inherited(reader.attributes)
        | {
            "null_draws": drawn,
            "seed": seed,
            "undefined": {name: int(np.isnan(values.raw).sum()) for name, values in measures.items()}
            | {name: int(np.isnan(values).sum()) for name, (values, _) in shard.items()},
            "undefined_null": {name: int(np.isnan(found.mean[name]).sum()) for name in found.mean},
            "zero_norms": zero_norms,
            "neighbours": neighbours_used(len(chosen)),
            "utterances": len(chosen),
            "massive_dimensions": massive,
            "provenance": provenance({"draws": draws, "seed": seed, "massive": massive}),
        },
        draws={name: (found.draw_sum[name], found.draw_count[name]) for name in found.draw_sum},
        shard=shard,
    )


def _pool(reader: StateReader, form: str, layer: int) -> PooledForm:
    """Every question's vectors of one layer and form."""
    block, offsets = reader.layer(form, layer), reader.offsets(form)
    states = []
    for name, start, end in zip(reader.ids, offsets[:-1], offsets[1:]):
        try:
            states.append(prepare(block[None, start:end], f"{form} states"))
        except InvalidStates as error:
            raise ArtifactError(f"{reader.path}: question {name!r}, layer {layer}: {error}") from error
    return pool_states(states)


def _permutations(plan: list[Bin], chosen: np.ndarray, n: int) -> np.ndarray:
    """The text that each chosen question's speech is drawn with, (B, chosen), as places among the chosen.

    Where not all are chosen, length bins are left aside.
    """
    draws = len(plan[0].partners)
    if len(chosen) < n:
        return np.random.default_rng(n).permuted(np.tile(np.arange(len(chosen)), (draws, 1)), axis=1)
    permutations = np.tile(np.arange(n), (draws, 1))
    if draws:
        for one in plan:
            permutations[:, one.members] = one.members[one.permutations]
    return permutations


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
