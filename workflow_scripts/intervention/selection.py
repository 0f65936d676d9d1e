"""Which speech frames of a question are edited, and the text token each takes its partner from.

One path per question (`path_of`), entries chosen from it (`select_targets`). The paper leaves both open;
`measures.edit_targets` and docs/interventions.md state the readings.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from workflow_scripts.measures.edit_targets import (
    EditTargets,
    all_entries,
    bottom_k,
    path_entry_scores,
    random_k,
    top_k,
    vote_path,
)
from workflow_scripts.measures.monotone_paths import dtw, frame_per_token
from workflow_scripts.measures.reading import mean_over_layers
from workflow_scripts.measures.token_alignment import token_similarity
from workflow_scripts.settings.intervention import EVERYWHERE, InterventionOperation

NOWHERE = -1
"""In a path, the frame of a token that has none."""


@dataclass(frozen=True)
class MeasuredPaths:
    """Paths of one question under one metric.

    Attributes:
        i_star, scores: (L+1, T_t) frames, and path scores turned so that higher is better.
        layers: those of 0 .. L whose paths were measured (`activations.layers`).
        best_layer: layer of the highest calibrated path score over the shard's questions.
        states: gives speech (L+1, T_s, d) and text (L+1, T_t, d) states; called for `dtw` and `forced_alignment` only.
        T_s: frames of the question.
        spoken: (T_t,) frame at which each text token is spoken, negative where that is unknown; None if the alignment
            file has no word times.
    """

    i_star: np.ndarray
    scores: np.ndarray
    layers: list[int]
    best_layer: int
    T_s: int
    states: Callable[[], tuple[np.ndarray, np.ndarray]]
    spoken: np.ndarray | None = None


def path_of(entry: InterventionOperation, measured: MeasuredPaths) -> tuple[np.ndarray, np.ndarray]:
    """Frames (T_t,) and scores (T_t,), higher is better, of the entry's path source.

    A forced alignment has NOWHERE, and no score, for tokens that are no part of a timed word.

    Raises ValueError if the layer of the path was not measured, the alignment has no word times, or a frame lies
    outside the question's span.
    """
    if entry.path == "vote":
        voted = vote_path(measured.i_star, measured.scores, measured.layers)
        frames, scores = voted.frames, voted.scores
    elif entry.path == "dtw":
        frames, scores = _warped(entry.metric, *measured.states())
    elif entry.path == "forced_alignment":
        if measured.spoken is None:
            raise ValueError("path forced_alignment: the alignment file has no word times; delete it and run again")
        frames, scores = _forced(entry.metric, measured)
    else:
        layer = measured.best_layer if entry.path == "best" else int(entry.path)
        if layer not in measured.layers:
            raise ValueError(f"path {layer}: the paths are of layers {measured.layers}")
        frames, scores = measured.i_star[layer], measured.scores[layer]
    least = NOWHERE if entry.path == "forced_alignment" else 0
    if len(frames) and not (int(frames.min()) >= least and int(frames.max()) < measured.T_s):
        raise ValueError(f"the path has frames {int(frames.min())} .. {int(frames.max())} of {measured.T_s}")
    return frames, scores


def select_targets(
    entry: InterventionOperation,
    frames: np.ndarray,
    scores: np.ndarray,
    *,
    control: str | None = None,
    T_s: int | None = None,
    seed: int = 0,
) -> EditTargets:
    """Targets from a path (T_t,) and its scores, higher is better.

    `all`: every distinct frame of the path. `everywhere`: all T_s frames, each with the token of the path's nearest
    frame (the earlier one of two). `bottom`, `top`, `random`: k distinct frames of lowest or highest score, or drawn.
    The controls random_selection and top_selection choose in place of `bottom`; random_frames keeps the tokens and
    draws as many frames of the question's T_s, those that the path does not use first. Tokens that are NOWHERE take no
    part; if all are, there are no targets.
    """
    placed = np.flatnonzero(np.asarray(frames) >= 0)
    if not len(placed):
        none = np.empty(0, dtype=np.int32)
        return EditTargets(none, none, np.empty(0), exhausted=entry.k is not None)
    frames, scores = np.asarray(frames)[placed], np.asarray(scores)[placed]
    how = {"random_selection": "random", "top_selection": "top"}.get(control or "", entry.selection)
    if how in ("all", EVERYWHERE):
        chosen = all_entries(frames, scores)
        chosen = _spread(chosen, T_s) if how == EVERYWHERE else chosen
    elif entry.k is None:
        raise ValueError(f"selection {how!r} needs k, the number of frames to edit; set it in intervention.operations")
    elif how == "random":
        chosen = random_k(frames, scores, entry.k, seed)
    else:
        chosen = (bottom_k if how == "bottom" else top_k)(frames, scores, entry.k)
    chosen = replace(chosen, tokens=placed[chosen.tokens].astype(np.int32))
    if control != "random_frames":
        return chosen
    if T_s is None:
        raise ValueError("control random_frames needs T_s, the number of speech frames")
    # Frames that no token's path uses come first; only where they are too few, others of the path fill up.
    rng = np.random.default_rng(seed)
    everything = np.arange(T_s)
    unused, others = np.setdiff1d(everything, frames), np.setdiff1d(frames, chosen.frames)
    order = [rng.permutation(part) for part in (unused, others, chosen.frames)]
    drawn = np.concatenate(order)[: len(chosen.frames)].astype(np.int32)
    return replace(chosen, frames=drawn)


def _spread(path: EditTargets, T_s: int | None) -> EditTargets:
    """All frames, each with the token and score of the nearest frame of the path."""
    if T_s is None:
        raise ValueError("selection everywhere needs T_s, the number of speech frames")
    order = np.argsort(path.frames, kind="stable")
    frames = np.arange(T_s, dtype=np.int32)
    nearest = order[np.abs(frames[:, None] - path.frames[order]).argmin(axis=1)]
    return EditTargets(frames, path.tokens[nearest], path.scores[nearest], exhausted=False)


def _forced(metric: str, measured: MeasuredPaths) -> tuple[np.ndarray, np.ndarray]:
    """The frame at which each token is spoken, and the mean similarity over layers 1..L there."""
    frames = np.where(measured.spoken >= 0, measured.spoken, NOWHERE).astype(np.int32)
    scores, placed = np.full(len(frames), np.nan), np.flatnonzero(frames >= 0)
    if len(placed):
        speech, text = measured.states()
        similarity = token_similarity(speech, text[:, placed])
        matrices = similarity.cosine if metric == "cosine" else -similarity.euclidean
        scores[placed] = path_entry_scores(matrices, frames[placed])
    return frames, scores


def _warped(metric: str, speech: np.ndarray, text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One frame per token on the warping path through the mean matrix of layers 1..L, and its scores."""
    similarity = token_similarity(speech, text)
    matrices = similarity.cosine if metric == "cosine" else -similarity.euclidean
    best = 1.0 if metric == "cosine" else 0.0
    cost = best - mean_over_layers(matrices)[None]
    frames = frame_per_token(dtw(cost).pairs[0], cost[0])
    return frames, path_entry_scores(matrices, frames)
