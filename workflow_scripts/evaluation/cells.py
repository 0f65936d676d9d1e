"""All numbers of one model and checkpoint on one subset, or on a mean of subsets.

A cell is a mapping (measure, form) -> `Entry`. Measures: `score`, 0 to 100; `unparsed`, a share; `loss`, nats per token
of the reference; and those of scorer, options and traits (`score_index`). Form `gap` compares speech with text on
the questions that have the measure in both: text - speech, for the loss speech - text, so that a gap above 0 means that
speech is worse.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from workflow_scripts.artifacts.answers import FORMS
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.evaluation.score_index import FormScores, Subsets, measure_mean, score_mean
from workflow_scripts.scoring.overall import overall
from workflow_scripts.statistics.means import UNKNOWN, Mean, mean_of, of_ratios

OVERALL, KNOWLEDGE = "overall", "knowledge"
SCORE, UNPARSED, LOSS, GAP = "score", "unparsed", "loss", "gap"


@dataclass(frozen=True)
class Entry:
    """One number over `n` questions; `null` is the chance level, NaN where there is none."""

    number: Mean
    n: int
    null: float = np.nan


Cell = dict[tuple[str, str], Entry]
"""By measure and form."""


def cells_of(
    key: tuple[str, str], subsets: Subsets, overall: Sequence[str], knowledge: Sequence[str]
) -> dict[str, Cell]:
    """Cells of one (model, checkpoint): overall, knowledge, then subsets by name.

    Args:
        overall, knowledge: subsets of the two means; without any the mean is left out.

    Raises:
        ArtifactError: a subset of a mean has no scores.
    """
    if missing := [name for name in (*overall, *knowledge) if name not in subsets]:
        raise ArtifactError(
            f"{'/'.join(key)}: no scores on subset(s) {missing}, which count in a mean; score them first"
        )
    single = {subset: subset_cell(subsets[subset]) for subset in sorted(subsets)}
    means = {OVERALL: overall, KNOWLEDGE: knowledge}
    return {name: mean_cell(single, members) for name, members in means.items() if members} | single


def subset_cell(forms: Mapping[str, FormScores]) -> Cell:
    """The cell of one subset; forms that were not asked are absent, and so are measures that no question has."""
    forms = {form: forms[form] for form in FORMS if form in forms}
    cell: Cell = {}
    for form, one in forms.items():
        cell[SCORE, form] = Entry(score_mean(one), len(one.ids), one.chance)
        cell[UNPARSED, form] = Entry(Mean(one.unparsed, np.empty(0), own=UNKNOWN), len(one.ids))
    if "text" in forms and "speech" in forms:
        cell[SCORE, GAP] = replace(
            cell[SCORE, "text"], number=cell[SCORE, "text"].number - cell[SCORE, "speech"].number, null=np.nan
        )
    cell |= _losses(forms)
    for name in dict.fromkeys(name for one in forms.values() for name in one.measures):
        cell |= _measure(name, forms)
    return cell


def mean_cell(cells: Mapping[str, Cell], subsets: Sequence[str]) -> Cell:
    """The unweighted mean of `subsets`, for each measure over those that have it, in the forms that all these have."""
    mean: Cell = {}
    for measure in dict.fromkeys(measure for subset in subsets for measure, _ in cells[subset]):
        having = {subset: cells[subset] for subset in subsets if any(name == measure for name, _ in cells[subset])}
        for form in (*FORMS, GAP):
            if all((measure, form) in cell for cell in having.values()):
                entries = {subset: cell[measure, form] for subset, cell in having.items()}
                number = mean_of([entry.number for entry in entries.values()])
                if measure == SCORE and form != GAP:
                    overall({subset: entry.number.value for subset, entry in entries.items()})  # checks the scale
                mean[measure, form] = Entry(number, sum(entry.n for entry in entries.values()))
    return mean


def _losses(forms: Mapping[str, FormScores]) -> Cell:
    """Nats per token of the reference answer, sums over questions that have one; `gap` over those that have both."""

    def per_token(one: FormScores, places: np.ndarray) -> Mean:
        return of_ratios([(one.nll[places], one.tokens[places])], None)

    having = {form: np.flatnonzero((one.tokens > 0) & ~np.isnan(one.nll)) for form, one in forms.items()}
    cell = {
        (LOSS, form): Entry(per_token(forms[form], places), len(places))
        for form, places in having.items()
        if len(places)
    }
    if len(both := _both(having)):
        cell[LOSS, GAP] = Entry(per_token(forms["speech"], both) - per_token(forms["text"], both), len(both))
    return cell


def _measure(name: str, forms: Mapping[str, FormScores]) -> Cell:
    """Mean of a measure by form over the questions that have it, and `gap` over those that have it in both."""
    having = {
        form: np.flatnonzero(~np.isnan(one.measures[name])) for form, one in forms.items() if name in one.measures
    }
    cell = {
        (name, form): Entry(measure_mean(forms[form], name, places, forms[form].intervals.get(name)), len(places))
        for form, places in having.items()
        if len(places)
    }
    if len(both := _both(having)):
        text, speech = (measure_mean(forms[form], name, both) for form in ("text", "speech"))
        cell[name, GAP] = Entry(text - speech, len(both))
    return cell


def _both(having: Mapping[str, np.ndarray]) -> np.ndarray:
    none = np.empty(0, dtype=int)
    return np.intersect1d(having.get("text", none), having.get("speech", none))
