"""Hidden states of a shard's questions at every layer, spoken and written, in one file (paper, section 5).

For each kept question, H^s (L+1, T_s, d) at the speech positions of the spoken query and H^t (L+1, T_t, d) at the text
positions of the written one, template and padding left out. States are written batch by batch: memory does not grow
with the number of questions, and a killed job goes on behind its last batch. They are stored as bfloat16, whatever
format the model computes in.

Of the first questions of the subset, a second file holds APS and Sim under readings that need other positions or states
(`readings`).
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from workflow_scripts.activations.readings import measure_readings
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.logs import progress
from workflow_scripts.artifacts.measurements import READINGS, write_measurements
from workflow_scripts.artifacts.partial import PartialArrays
from workflow_scripts.artifacts.provenance import provenance
from workflow_scripts.artifacts.questions import QUESTIONS
from workflow_scripts.artifacts.states import SampleStates, write_states
from workflow_scripts.settings.analysis import ActivationSettings
from workflow_scripts.speech_lm.decoding.batching import batches
from workflow_scripts.speech_lm.opening.open_model import ModelSource, open_model, optional_path
from workflow_scripts.speech_lm.protocol import SpeechLM
from workflow_scripts.speech_lm.shard_queries import SpokenShard, read_spoken_shard

logger = logging.getLogger(__name__)

INPUTS = ("questions", "manifest", "features")
MAX_POSITIONS = 4096
"""Rows times longest query of a batch: states of all layers are held for one batch (4 x 31 x 4096 x 576 bytes = 290 MB
for a model of 30 layers of width 576 in float32)."""


@dataclass(frozen=True)
class QueryShapes:
    """What the state file announces before any state is computed; entry n is kept question n.

    Attributes:
        T_s: speech positions.
        seconds: audio length.
        lengths: positions of the longer of the two queries, template included.
        tokens, char_spans: label and character range in the prompt of each text position.
        starts: seconds at which each speech position begins; None where the model does not know.
    """

    T_s: list[int]
    seconds: list[float]
    lengths: list[int]
    tokens: list[tuple[str, ...]]
    char_spans: list[tuple[tuple[int, int], ...]]
    starts: list[tuple[float, ...] | None]


def dump_states(
    questions: Path,
    manifest: Path,
    features: Path | None,
    model: ModelSource,
    states: Path,
    *,
    shard: str,
    activations: Mapping[str, Any],
    seed: int,
    readings: Path | None = None,
    partial: PartialArrays | None = None,
) -> None:
    """Write the states of one checkpoint for the kept questions of a shard.

    Args:
        states: output.
        seed: of the split into shards.
        readings: output for the first `reading_questions` of the subset that are in this shard; None for none.
        partial: what an earlier, killed run of this step has finished; None keeps nothing.

    Raises:
        ArtifactError: inputs do not hold the same questions (checked before the model is loaded), or states are not
            finite.
    """
    settings = ActivationSettings.model_validate(activations)
    asked = read_spoken_shard(questions, manifest, features, shard, seed)
    loaded = open_model(model)
    facts = {
        **loaded.facts,
        "subset": asked.questions[0].subset,
        "shard": shard,
        "seed": seed,
        "dropped": asked.dropped,
        "provenance": provenance(settings.model_dump() | {"system_prompt": model.system_prompt}),
    }
    write_shard_states(states, loaded.lm, asked, settings, facts, partial)
    if readings is not None:
        first = {question.id for question in QUESTIONS.read(questions)[: settings.reading_questions]}
        chosen = [number for number, name in enumerate(asked.ids) if name in first]
        found = measure_readings(loaded.lm, asked, chosen, facts, settings.layers)
        write_measurements(readings, READINGS, found)
    if partial is not None:
        partial.remove()


def write_shard_states(
    path: Path,
    lm: SpeechLM,
    asked: SpokenShard,
    settings: ActivationSettings,
    facts: Mapping[str, Any],
    partial: PartialArrays | None = None,
) -> None:
    """Write the state file of `asked` under a loaded model; `facts` become its attributes."""
    if settings.layers is not None and max(settings.layers) > lm.n_layers:
        raise ArtifactError(
            f"activations.layers: {max(settings.layers)}, but {lm.name} has layers 0 .. {lm.n_layers}; use these"
        )
    shapes = query_shapes(lm, asked)
    write_states(
        path,
        asked.ids,
        shapes.seconds,
        shapes.T_s,
        shapes.tokens,
        shapes.char_spans,
        lm.n_layers,
        lm.hidden_size,
        stream_states(lm, asked, shapes.lengths, settings.batch_size, settings.layers, partial),
        settings.compression,
        facts,
        settings.layers,
        shapes.starts,
    )
    T_t = sum(len(labels) for labels in shapes.tokens)
    logger.info("%d questions, %d speech and %d text positions", len(asked.ids), sum(shapes.T_s), T_t)


def query_shapes(lm: SpeechLM, asked: SpokenShard) -> QueryShapes:
    """Shapes of all queries. Spoken inputs are encoded here and again in their batch: keeping them would make memory
    grow with the number of questions, and the adapter costs little beside the language model."""
    shapes = QueryShapes([], [], [], [], [], [])
    for number, name in enumerate(asked.ids):
        spoken, written = asked.spoken(lm, number), asked.written(lm, number)
        shapes.T_s.append(len(spoken.tokens))
        shapes.seconds.append(asked.source.seconds[name])
        shapes.lengths.append(max(spoken.length, written.length))
        shapes.tokens.append(written.tokens)
        shapes.char_spans.append(written.char_spans or ())
        shapes.starts.append(spoken.starts)
    return shapes


def stream_states(
    lm: SpeechLM,
    asked: SpokenShard,
    lengths: list[int],
    batch_size: int,
    layers: list[int] | None = None,
    partial: PartialArrays | None = None,
) -> Iterator[tuple[int, SampleStates]]:
    """Pairs (question number, states), one batch of similar length at a time as they are asked for: taken from
    `partial` if it is there, else computed."""
    chosen = {} if layers is None else {"layers": layers}
    grouped = batches(lengths, batch_size, MAX_POSITIONS)
    for group in progress(grouped, len(grouped), "batches of states"):
        key = f"questions {group}"
        kept = None if partial is None else partial.get(key)
        found = kept
        if found is None:
            speech = lm.states([asked.spoken(lm, number) for number in group], **chosen)
            text = lm.states([asked.written(lm, number) for number in group], **chosen)
            found = {f"speech{place}": _bits(one) for place, one in enumerate(speech)}
            found |= {f"text{place}": _bits(one) for place, one in enumerate(text)}
        for place, number in enumerate(group):
            yield number, SampleStates(speech=found[f"speech{place}"], text=found[f"text{place}"])
        # Only now: the reader stops at states that are not finite, which the next run is to compute again.
        if partial is not None and kept is None:
            partial.add(key, found)


def _bits(states: torch.Tensor) -> np.ndarray:
    """bfloat16 bit patterns as uint16, rounded to nearest even."""
    return states.to(torch.bfloat16).contiguous().view(torch.uint16).numpy()


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: dump_states(
            *(optional_path(s.input[name]) for name in INPUTS),
            ModelSource.of_step(s),
            Path(s.output.states),
            **{name: s.params[name] for name in ("shard", "activations", "seed")},
            readings=Path(s.output.readings),
            partial=PartialArrays.of_step(s),
        ),
    )
