"""What edits take from the alignment file and the shard as a whole: paths, best layers, partners, lengths, erasers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.artifacts.measurements import Measurements
from workflow_scripts.artifacts.states import kept_layers
from workflow_scripts.intervention.erasure import ShardErasure, Words, fit_erasure
from workflow_scripts.intervention.grid import Cell
from workflow_scripts.intervention.selection import MeasuredPaths, path_of, select_targets
from workflow_scripts.measures.reading import averaged_layers, nan_mean
from workflow_scripts.measures.registry import MEASURES
from workflow_scripts.measures.shuffle_null import calibrate
from workflow_scripts.settings.intervention import ERASE, InterventionOperation
from workflow_scripts.speech_lm.families.base import DecoderSpeechLM
from workflow_scripts.speech_lm.protocol import Query
from workflow_scripts.speech_lm.shard_queries import SpokenShard

METRICS = ("cosine", "euclidean")
_ROWS = 32  # queries of one pass for the mean lengths and the erasers


@dataclass(frozen=True)
class ShardContext:
    """What the edits of a shard's questions share.

    Attributes:
        aligned: the alignment file's contents. seed: of the study.
        best_layer: by metric, the layer of the highest calibrated path score over the shard.
        partner: number of another question, per question; None if there is only one.
        mean_lengths: (L+1,) mean length of text vectors by layer; None where no cell needs it.
        erasures: by the key of each edit that erases.
    """

    aligned: Measurements
    seed: int
    best_layer: dict[str, int]
    partner: list[int] | None
    mean_lengths: Tensor | None
    erasures: Mapping[str, ShardErasure] = field(default_factory=dict)


def shard_context(
    lm: DecoderSpeechLM, asked: SpokenShard, aligned: Measurements, cells: Sequence[Cell], seed: int
) -> ShardContext:
    """Gather it; states of the whole shard are computed only if a cell is `mean_length` or erases."""
    needed = any(cell.entry.operation == "mean_length" for cell in cells)
    context = ShardContext(
        aligned=aligned,
        seed=seed,
        best_layer={metric: best_path_layer(aligned, metric) for metric in METRICS},
        partner=partners(len(asked.ids), seed),
        mean_lengths=_mean_lengths(lm, asked) if needed else None,
    )
    return replace(context, erasures=_erasures(lm, asked, context, cells))


def partners(n: int, seed: int) -> list[int] | None:
    """Another of n questions for each: one random cycle through all of them; None for n < 2."""
    if n < 2:
        return None
    order = np.random.default_rng([seed, n]).permutation(n)
    partner = np.empty(n, dtype=np.int64)
    partner[order] = np.roll(order, -1)
    return partner.tolist()


def best_path_layer(aligned: Measurements, metric: str) -> int:
    """Layer 1..L whose path score is best beside its null, averaged over the file's questions.

    The calibrated score (`shuffle_null.calibrate`) is highest for cosines, lowest for distances.
    """
    measured = aligned.measures[f"path_score_{metric}"]
    better = bool(MEASURES[f"path_score_{metric}"].higher_is_better)
    calibrated = calibrate(measured.raw, measured.null_mean, better)
    means = nan_mean(calibrated if better else -calibrated)
    layers = averaged_layers(len(means))
    return layers[int(np.argmax(np.where(np.isnan(means), -np.inf, means)[layers]))]


def paths_of(
    context: ShardContext,
    name: str,
    spoken: Query,
    written: Query,
    states: Callable[[], tuple[np.ndarray, np.ndarray]],
) -> dict[str, MeasuredPaths]:
    """Paths of a question by metric, checked against the positions of its queries.

    Raises:
        ArtifactError: the alignment file was made from other positions.
    """
    aligned = context.aligned
    T_s = len(spoken.tokens)
    number = aligned.row(name, T_s, len(written.tokens))
    signs = {"cosine": 1.0, "euclidean": -1.0}
    return {
        metric: MeasuredPaths(
            aligned.paths[metric][number],
            signs[metric] * aligned.scores[metric][number],
            kept_layers(aligned.attributes, len(aligned.paths[metric][number]) - 1),
            context.best_layer[metric],
            T_s,
            states,
            aligned.words["frame"][number] if aligned.words else None,
        )
        for metric in METRICS
        if metric in aligned.paths
    }


def _mean_lengths(lm: DecoderSpeechLM, asked: SpokenShard) -> Tensor:
    total, count = torch.zeros(lm.n_layers + 1, dtype=torch.float64), 0
    for start in range(0, len(asked.ids), _ROWS):
        numbers = range(start, min(start + _ROWS, len(asked.ids)))
        for states in lm.states([asked.written(lm, number) for number in numbers]):
            total += states.double().norm(dim=2).sum(dim=1)
            count += states.shape[1]
    return total / count


def _erasures(
    lm: DecoderSpeechLM, asked: SpokenShard, context: ShardContext, cells: Sequence[Cell]
) -> dict[str, ShardErasure]:
    """Erasers by edit, one layer after the other; edits that differ in the selection alone share theirs."""
    fitted: dict[tuple, ShardErasure] = {}
    found: dict[str, ShardErasure] = {}
    for cell in cells:
        if cell.entry.operation != ERASE or cell.edit in found:
            continue
        entry, layer = cell.entry, int(cell.layer or 0)
        key = (layer, entry.erased, entry.metric, entry.path, entry.rank)
        if key not in fitted:
            words = words_at_layer(lm, asked, context, entry, layer)
            fitted[key] = fit_erasure(words, entry.rank, context.seed)
        found[cell.edit] = fitted[key]
    return found


def words_at_layer(
    lm: DecoderSpeechLM, asked: SpokenShard, context: ShardContext, entry: InterventionOperation, layer: int
) -> dict[str, Words]:
    """By question, the speech vectors at all frames of the entry's path and the vectors of the words given to them."""
    whole = entry.model_copy(update={"selection": "all", "k": None})
    source = layer if entry.erased == "state" else 0
    found = {}
    for start in range(0, len(asked.ids), _ROWS):
        numbers = range(start, min(start + _ROWS, len(asked.ids)))
        spoken = [asked.spoken(lm, number) for number in numbers]
        written = [asked.written(lm, number) for number in numbers]
        heard, read = lm.states(spoken, layers=[layer]), lm.states(written, layers=[source])
        for number, speech, text, s, t in zip(numbers, spoken, written, heard, read):

            def states(speech: Query = speech, text: Query = text) -> tuple[np.ndarray, np.ndarray]:
                return tuple(lm.states([query])[0].float().numpy() for query in (speech, text))

            measured = paths_of(context, asked.ids[number], speech, text, states)[entry.metric]
            targets = select_targets(whole, *path_of(whole, measured))
            pairs = ((s[0], targets.frames), (t[0], targets.tokens))
            found[asked.ids[number]] = Words(*(one[torch.from_numpy(at).long()].double().numpy() for one, at in pairs))
    return found
