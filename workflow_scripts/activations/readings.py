"""APS and Sim under readings of the paper that need other positions or states than those stored (ours).

The paper leaves open whether padding and template positions belong to the two forms, and whether the last state is
taken before or after the final norm. A few questions answer what that does to its scores: their states are computed
once more, at all positions of the prompt and with the padding of the encoder's window, and reduced at once to one
number per layer.

Readings (suffix of a measure; without suffix: ours, for comparison on the same questions):

    padded            speech span with the frames behind the audio, up to the end of the encoder's window
    text_template     text span = the whole written prompt: begin of text, system prompt, turn marks
    speech_template   speech span = the whole spoken prompt, begin and end tokens of the audio among it
    both_template     both
    normed            state L after the final norm; other layers as they are
"""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.artifacts.hdf5 import bfloat16_to_float32
from workflow_scripts.artifacts.measurements import Measured, Measurements
from workflow_scripts.measures.pooled_pairs import sequence_means
from workflow_scripts.measures.reading import path_score
from workflow_scripts.measures.states import prepare_pair
from workflow_scripts.measures.token_alignment import token_similarity
from workflow_scripts.measures.vectors import cosine_rows
from workflow_scripts.speech_lm.protocol import Query, SpeechLM, SpeechLMError
from workflow_scripts.speech_lm.shard_queries import SpokenShard

logger = logging.getLogger(__name__)

SCORES = ("path_score_cosine", "path_score_euclidean", "cosine", "euclidean")
VARIANTS = ("padded", "text_template", "speech_template", "both_template", "normed")


def measure_readings(
    lm: SpeechLM,
    asked: SpokenShard,
    numbers: Sequence[int],
    attributes: dict[str, Any],
    layers: Sequence[int] | None = None,
) -> Measurements:
    """Every score under every reading for kept questions `numbers`: arrays (len(numbers), L+1).

    NaN where a reading does not exist for the model: `padded` where it never sees padding, or where its positions do
    not reach that far. The attribute `undefined` counts these questions by measure. With `layers`
    (`activations.layers`) all is NaN at the others.
    """
    depth = lm.n_layers + 1
    kept = list(range(depth)) if layers is None else sorted(layers)
    names = [*SCORES, *(f"{score}_{variant}" for variant in VARIANTS for score in SCORES)]
    found = {name: np.full((len(numbers), depth), np.nan) for name in names}
    lengths = np.zeros((2, len(numbers)), dtype=np.int64)
    for row, number in enumerate(numbers):
        spoken, written = asked.spoken(lm, number), asked.written(lm, number)
        lengths[:, row] = len(spoken.tokens), len(written.tokens)
        for name, values in _question(lm, spoken, written, asked.padded(lm, number), kept).items():
            found[name][row, kept] = values
    undefined = {name: int(np.isnan(values[:, kept]).any(axis=1).sum()) for name, values in found.items()}
    nothing = np.full((len(numbers), depth), np.nan)
    return Measurements(
        ids=[asked.ids[number] for number in numbers],
        measures={name: Measured(values, nothing, nothing, nothing) for name, values in found.items()},
        T_s=lengths[0],
        T_t=lengths[1],
        attributes=attributes | {"undefined": undefined},
    )


def scores(speech: np.ndarray, text: np.ndarray) -> dict[str, np.ndarray]:
    """Path score and Sim, by cosine and Euclidean distance, of (L+1, T_s, d) and (L+1, T_t, d): (L+1,) each."""
    prepared = prepare_pair(speech, text)
    token, (mean_s, mean_t) = token_similarity(*prepared), (sequence_means(form) for form in prepared)
    return {
        "path_score_cosine": path_score(token.cosine),
        "path_score_euclidean": -path_score(-token.euclidean),
        "cosine": cosine_rows(mean_s, mean_t),
        "euclidean": np.linalg.norm(mean_s - mean_t, axis=1),
    }


def _question(
    lm: SpeechLM, spoken: Query, written: Query, padded: Query | None, layers: list[int]
) -> dict[str, np.ndarray]:
    chosen: dict[str, Any] = {} if len(layers) == lm.n_layers + 1 else {"layers": layers}
    [whole_speech], [whole_text] = (lm.states([query.whole()], **chosen) for query in (spoken, written))
    speech, text = whole_speech[:, slice(*spoken.span)], whole_text[:, slice(*written.span)]
    pairs = {
        "": (speech, text),
        "_text_template": (speech, whole_text),
        "_speech_template": (whole_speech, text),
        "_both_template": (whole_speech, whole_text),
        "_normed": (speech, text),
    }
    if layers[-1] == lm.n_layers:
        pairs["_normed"] = (_normed(lm, speech), _normed(lm, text))
    if padded is not None:
        try:
            pairs["_padded"] = (lm.states([padded], **chosen)[0], text)
        except SpeechLMError as error:  # the model was never meant for a whole window: that is no reason to stop
            logger.warning("no padded speech span: %s", error)
    return {
        name + suffix: values
        for suffix, (one, other) in pairs.items()
        for name, values in scores(_stored(one), _stored(other)).items()
    }


def _normed(lm: SpeechLM, states: Tensor) -> Tensor:
    with torch.no_grad():
        last = lm.final_norm(states[-1:].to(lm.device, lm.dtype)).to("cpu", states.dtype)
    return torch.cat([states[:-1], last])


def _stored(states: Tensor) -> np.ndarray:
    """float32 values as a state file gives them back: rounded to bfloat16."""
    return bfloat16_to_float32(states.to(torch.bfloat16).contiguous().view(torch.uint16).numpy())
