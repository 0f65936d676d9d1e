"""Rows of cascade.csv: does a tuned model on speech fail on the same questions as a recogniser and a text model do?

Two matched cascades per checkpoint: the same tuned model on the recogniser's transcript, and its untuned backbone on
it. If speech is understood by way of words, outcomes agree beyond chance. Success is a score of 1 (graded scorers: all
instructions met, a sentence repeated exactly). Row `all` pools the questions of all subsets. Kappa and error overlap:
`statistics.agreement`, with their intervals.

`same_wrong` (scorers with closed answers): among questions both get wrong with a readable letter, the share with the
same letter; two independent guessers among the wrong letters of k options agree at 1 / (k - 1). Its `n` counts these
questions. `success_*` and `both_wrong` are percentages; `null` of `error_overlap` is its value for independent errors.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from workflow_scripts.artifacts.checkpoints import checkpoint_step
from workflow_scripts.evaluation.score_index import BASE, FormScores, Subsets
from workflow_scripts.scoring.registry import find_scorer
from workflow_scripts.statistics.agreement import agreement_intervals, outcome_agreement
from workflow_scripts.statistics.means import share_interval

ALL = "all"


def cascade_rows(
    order: Sequence[tuple[str, str]],
    index: Mapping[tuple[str, str], Subsets],
    backbones: Mapping[str, str],
) -> Iterator[dict[str, Any]]:
    """Rows of every checkpoint that was asked in speech, for each cascade that was scored."""
    for model, checkpoint in order:
        cascades = {"tuned_asr": (model, checkpoint), "base_asr": (backbones.get(model), BASE)}
        for name, key in cascades.items():
            pairs = {
                subset: (forms["speech"], index[key][subset]["asr"])
                for subset, forms in sorted(index[model, checkpoint].items())
                if "speech" in forms and "asr" in index.get(key, {}).get(subset, {})
            }
            keys = {"model": model, "checkpoint": checkpoint, "step": checkpoint_step(checkpoint)}
            for subset, chosen in _groups(pairs):
                for row in _compared(chosen):
                    yield keys | {"subset": subset, "cascade": name} | row


def _groups(
    pairs: Mapping[str, tuple[FormScores, FormScores]],
) -> Iterator[tuple[str, dict[str, tuple[FormScores, FormScores]]]]:
    if len(pairs) > 1:
        yield ALL, dict(pairs)
    for subset, pair in pairs.items():
        yield subset, {subset: pair}


def _compared(pairs: Mapping[str, tuple[FormScores, FormScores]]) -> Iterator[dict[str, Any]]:
    speech = np.concatenate([_success(one) for one, _ in pairs.values()])
    cascade = np.concatenate([_success(other) for _, other in pairs.values()])
    found, ends = outcome_agreement(speech, cascade), agreement_intervals(speech, cascade)
    shares = {"success_speech": speech, "success_cascade": cascade, "both_wrong": (1 - speech) * (1 - cascade)}
    for name, values in shares.items():
        yield {"measure": name, "value": 100 * values.mean(), "n": len(values)}
    for name, (low, high) in ends.items():
        null = found.error_overlap_chance if name == "error_overlap" else np.nan
        row = {"measure": name, "value": getattr(found, name), "low": low, "high": high, "null": null}
        yield row | {"n": len(speech)}
    letters = np.concatenate([_letters_of_errors(*pair) for pair in pairs.values()])
    same = letters[~np.isnan(letters)]
    if len(same):
        low, high = share_interval(same)
        yield {"measure": "same_wrong", "value": float(same.mean()), "low": low, "high": high, "n": len(same)}


def _success(one: FormScores) -> np.ndarray:
    return (one.scores >= 100 - 1e-9).astype(np.float64)


def _letters_of_errors(speech: FormScores, cascade: FormScores) -> np.ndarray:
    """(n,) 1 if both chose the same wrong letter, 0 for different ones, NaN for questions that are no such pair."""
    found = np.full(len(speech.ids), np.nan)
    if not find_scorer(speech.scorer).closed_answers:
        return found
    for place, (one, other) in enumerate(zip(speech.parsed, cascade.parsed)):
        if one is not None and other is not None and not speech.scores[place] and not cascade.scores[place]:
            found[place] = one == other
    return found
