"""gap.csv, decline.csv, cascade.csv and twins.csv: scores by form, the modality gap, and what it consists of.

Paper (sections 4, 5 and 8): GAP = M_text - M_speech in points of 0 to 100; Overall is the unweighted mean of subsets.
Ours: the knowledge-only mean, chance-corrected accuracy and option probabilities of multiple choice, ASR text as third
form, the reference-answer loss gap, the untuned backbone on written and on recognised text, and intervals everywhere.
`unparsed_*` are shares; `wer_*`, in percent, belong to the scorer `repeat` only.

Intervals: those of a score or a measure in one subset are the scorer's own closed form (scores.json); every other
interval is a paired bootstrap over questions within subsets (`resampling`). The loss gap is nll_speech - nll_text in
nats per token of the reference answer, sums over the `n_loss` questions that have both. In `overall`, losses and
measures are means over the subsets that have them; `n_loss` and `n_options` count their questions there.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.tables import write_table
from workflow_scripts.evaluation.cascade import CASCADE_COLUMNS, cascade_rows
from workflow_scripts.evaluation.score_index import BASE, FORMS, MEASURES, FormScores, Subsets, read_scores, step_of
from workflow_scripts.evaluation.twins import TWIN_COLUMNS, twin_rows
from workflow_scripts.scoring.overall import overall as overall_score
from workflow_scripts.statistics.resampling import Resampled, Resampler, mean_of, mean_over_subsets

logger = logging.getLogger(__name__)

OVERALL, KNOWLEDGE = "overall", "knowledge"
MEASURES = tuple(name for name in MEASURES if name != "word_error_rate")


def _with_interval(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}{end}" for name in names for end in ("", "_low", "_high"))


GAP_COLUMNS = (
    *("model", "checkpoint", "step", "subset", "n"),
    *_with_interval(*FORMS, "gap"),
    *(f"{name}_{form}" for name in ("unparsed", "nll") for form in FORMS),
    *_with_interval("loss_gap"),
    "n_loss",
    *(f"wer_{form}" for form in FORMS),
    *("chance", "n_options"),
    *_with_interval(*(f"{name}_{of}" for name in MEASURES for of in (*FORMS, "gap"))),
)
DIFFERENCES = {
    "erosion": ("base_text", "tuned_text"),
    "asr_loss": ("base_text", "base_asr"),
    "tuned_asr_loss": ("tuned_text", "tuned_asr"),
    "modality_loss": ("tuned_asr", "tuned_speech"),
    "modality_gap": ("tuned_text", "tuned_speech"),
    "decline": ("base_text", "tuned_speech"),
}
"""Columns of decline.csv that are differences of two reference scores.

decline = erosion + modality_gap, and modality_gap = tuned_asr_loss + modality_loss.
"""
REFERENCES = ("base_text", "base_asr", "tuned_text", "tuned_asr", "tuned_speech")
DECLINE_COLUMNS = (
    *("model", "checkpoint", "step", "subset"),
    *_with_interval(*REFERENCES),
    *_with_interval(*DIFFERENCES),
    "n",
)


@dataclass(frozen=True)
class Cell:
    """Everything about one model and checkpoint on one subset, or on a mean of subsets; absent forms are left out."""

    n: int
    scores: dict[str, Resampled]
    unparsed: dict[str, float]
    nll: dict[str, float]
    losses: dict[str, Resampled]
    wer: dict[str, float] = field(default_factory=dict)
    chance: float | None = None
    n_loss: int = 0
    n_options: int = 0
    measures: dict[str, dict[str, Resampled]] = field(default_factory=dict)
    """By name of `MEASURES`, then by form and `gap`."""

    @property
    def loss_gap(self) -> Resampled | None:
        """nll_speech - nll_text, nats per reference token; None without questions that have both."""
        return self.losses["speech"] - self.losses["text"] if self.losses else None


def build_gap_table(
    scores: Sequence[Path],
    gap: Path,
    decline: Path,
    cascade: Path,
    twin_table: Path,
    *,
    overall: Sequence[str],
    knowledge: Sequence[str],
    backbones: Mapping[str, str],
    twins: Mapping[str, str],
    draws: int,
    seed: int,
) -> None:
    """Write gap.csv, decline.csv, cascade.csv and twins.csv.

    Args:
        scores: score files of all models, checkpoints, subsets and forms, in any order.
        overall, knowledge: subsets of the two means; an empty `knowledge` gives no knowledge rows.
        backbones: model -> key of its untuned backbone; models without one, and public models
            whose backbone was not scored, are not in decline.csv.
        twins: model trained with an alignment loss -> the same without it.
        draws, seed: of the bootstrap.

    Raises:
        ArtifactError: questions differ between files of a subset, or a subset or a backbone's scores are missing.
    """
    index, resampler = read_scores(scores), Resampler(draws, seed)
    cells = {key: _cells(key, index[key], overall, knowledge, resampler) for key in index}
    order = sorted(index, key=lambda key: (key[0], -1 if (step := step_of(key[1])) is None else step, key[1]))
    gap_rows = [_gap_row(key, subset, cell) for key in order for subset, cell in cells[key].items()]
    decline_rows = []
    for model, checkpoint in order:
        if checkpoint == BASE or backbones.get(model) is None:
            continue
        base = cells.get((backbones[model], BASE))
        if base is None and step_of(checkpoint) is None:
            continue
        if base is None:
            raise ArtifactError(f"no scores of the untuned backbone {backbones[model]!r} of {model!r}; score it first")
        for subset, cell in cells[model, checkpoint].items():
            if subset not in base:
                raise ArtifactError(f"the untuned backbone {backbones[model]!r} has no scores on {subset!r}")
            decline_rows.append(_decline_row((model, checkpoint), subset, base[subset], cell))
    write_table(gap, gap_rows, GAP_COLUMNS)
    write_table(decline, decline_rows, DECLINE_COLUMNS)
    write_table(cascade, cascade_rows(order, index, backbones, resampler), CASCADE_COLUMNS)
    write_table(twin_table, twin_rows(order, cells, twins), TWIN_COLUMNS)
    logger.info("%d gap rows, %d decline rows from %d score files", len(gap_rows), len(decline_rows), len(scores))


def subset_cell(subset: str, forms: Mapping[str, FormScores], resampler: Resampler) -> Cell:
    """The cell of one subset."""
    return Cell(
        n=len(next(iter(forms.values())).ids),
        scores={
            form: Resampled(one.mean, resampler.means(subset, one.scores, one.mean), (one.low, one.high))
            for form, one in forms.items()
        },
        unparsed={form: one.unparsed for form, one in forms.items()},
        nll={form: one.nll_per_token for form, one in forms.items() if one.nll_per_token is not None},
        losses=reference_losses(subset, forms, resampler),
        n_loss=len(_with_losses(forms)),
        wer={form: found.value for form, found in measure("word_error_rate", subset, forms, resampler).items()},
        chance=None if np.isnan(chance := next(iter(forms.values())).chance) else chance,
        n_options=len(_with_options(forms)),
        measures={name: found for name in MEASURES if (found := measure(name, subset, forms, resampler))},
    )


def measure(name: str, subset: str, forms: Mapping[str, FormScores], resampler: Resampler) -> dict[str, Resampled]:
    """Mean of a measure by form over the questions that have it, and `gap`, text - speech over those with both."""

    def mean(one: FormScores, questions: np.ndarray, own: tuple[float, float] | None) -> Resampled:
        values = one.measures[name][questions]
        draws = resampler.ratios(subset, len(one.ids), questions, values, np.ones(len(values)))
        return Resampled(float(values.mean()), draws, own)

    having = {
        form: np.flatnonzero(~np.isnan(one.measures[name])) for form, one in forms.items() if name in one.measures
    }
    found = {form: mean(forms[form], questions, forms[form].intervals.get(name)) for form, questions in having.items()}
    if "text" in having and "speech" in having and len(both := np.intersect1d(having["text"], having["speech"])):
        found["gap"] = mean(forms["text"], both, None) - mean(forms["speech"], both, None)
    return found


def _with_options(forms: Mapping[str, FormScores]) -> np.ndarray:
    """Places of the questions that have option probabilities in every form."""
    missing = np.full(len(next(iter(forms.values())).ids), np.nan)
    return np.flatnonzero(
        np.all([~np.isnan(one.measures.get("letter_accuracy", missing)) for one in forms.values()], axis=0)
    )


def _with_losses(forms: Mapping[str, FormScores]) -> np.ndarray:
    """Places of the questions whose reference answer has a loss after text and after speech."""
    if "speech" not in forms or "text" not in forms:
        return np.empty(0, dtype=int)
    text, speech = forms["text"], forms["speech"]
    return np.flatnonzero((text.tokens > 0) & (speech.tokens > 0) & ~np.isnan(text.nll) & ~np.isnan(speech.nll))


def reference_losses(subset: str, forms: Mapping[str, FormScores], resampler: Resampler) -> dict[str, Resampled]:
    """Nats per token of the reference answer after text and speech, over the questions that have both; else none."""
    both = _with_losses(forms)
    if not len(both):
        return {}
    text, speech = forms["text"], forms["speech"]

    def per_token(one: FormScores) -> Resampled:
        above, below = one.nll[both], one.tokens[both]
        return Resampled(above.sum() / below.sum(), resampler.ratios(subset, len(one.ids), both, above, below))

    return {"text": per_token(text), "speech": per_token(speech)}


def mean_cell(cells: Mapping[str, Cell], subsets: Sequence[str]) -> Cell:
    """The unweighted mean of `subsets`; n is the sum. Losses are means over the subsets that have one."""
    members = [cells[subset] for subset in subsets]
    forms = [form for form in FORMS if all(form in cell.scores for cell in members)]
    scores = {
        form: Resampled(
            overall_score({subset: cells[subset].scores[form].value for subset in subsets}),
            mean_over_subsets({subset: cells[subset].scores[form].draws for subset in subsets}, subsets),
        )
        for form in forms
    }
    having = [cell.losses for cell in members if cell.losses]
    losses = {form: [cell.nll[form] for cell in members if form in cell.nll] for form in forms}
    return Cell(
        n=sum(cell.n for cell in members),
        scores=scores,
        unparsed={form: float(np.mean([cell.unparsed[form] for cell in members])) for form in forms},
        nll={form: float(np.mean(values)) for form, values in losses.items() if values},
        losses={form: mean_of([found[form] for found in having]) for form in ("text", "speech")} if having else {},
        n_loss=sum(cell.n_loss for cell in members),
        n_options=sum(cell.n_options for cell in members),
        measures=_mean_measures(members),
    )


def _mean_measures(members: Sequence[Cell]) -> dict[str, dict[str, Resampled]]:
    """Means over the subsets that have a measure."""
    means: dict[str, dict[str, Resampled]] = {}
    for name in MEASURES:
        having = [cell.measures[name] for cell in members if name in cell.measures]
        if having:
            shared = [of for of in (*FORMS, "gap") if all(of in found for found in having)]
            means[name] = {of: mean_of([found[of] for found in having]) for of in shared}
    return means


def _cells(
    key: tuple[str, str],
    subsets: Subsets,
    overall: Sequence[str],
    knowledge: Sequence[str],
    resampler: Resampler,
) -> dict[str, Cell]:
    """Cells of one model and checkpoint: overall, knowledge, then subsets by name."""
    if missing := [name for name in (*overall, *knowledge) if name not in subsets]:
        raise ArtifactError(
            f"{'/'.join(key)}: no scores on subset(s) {missing}, which count in a mean; score them first"
        )
    single = {subset: subset_cell(subset, subsets[subset], resampler) for subset in sorted(subsets)}
    means = {OVERALL: mean_cell(single, overall)} if overall else {}
    if knowledge:
        means[KNOWLEDGE] = mean_cell(single, knowledge)
    return means | single


def _gap_row(key: tuple[str, str], subset: str, cell: Cell) -> dict[str, Any]:
    row: dict[str, Any] = _key_columns(key, subset) | {"n": cell.n}
    for form, score in cell.scores.items():
        row |= score.columns(form)
    if "text" in cell.scores and "speech" in cell.scores:
        row |= (cell.scores["text"] - cell.scores["speech"]).columns("gap")
    if cell.loss_gap is not None:
        row |= cell.loss_gap.columns("loss_gap") | {"n_loss": cell.n_loss}
    for name, values in (("unparsed", cell.unparsed), ("nll", cell.nll), ("wer", cell.wer)):
        row |= {f"{name}_{form}": value for form, value in values.items() if form in FORMS}
    row |= {"chance": cell.chance, "n_options": cell.n_options or None}
    for name, found in cell.measures.items():
        for of, value in found.items():
            row |= value.columns(f"{name}_{of}")
    return row


def _decline_row(key: tuple[str, str], subset: str, base: Cell, tuned: Cell) -> dict[str, Any]:
    known = {f"base_{form}": score for form, score in base.scores.items()}
    known |= {f"tuned_{form}": score for form, score in tuned.scores.items()}
    row: dict[str, Any] = _key_columns(key, subset) | {"n": tuned.n}
    for name in REFERENCES:
        if name in known:
            row |= known[name].columns(name)
    for name, (higher, lower) in DIFFERENCES.items():
        if higher in known and lower in known:
            row |= (known[higher] - known[lower]).columns(name)
    return row


def _key_columns(key: tuple[str, str], subset: str) -> dict[str, Any]:
    return {"model": key[0], "checkpoint": key[1], "step": step_of(key[1]), "subset": subset}


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: build_gap_table(
            [Path(path) for path in s.input.scores],
            Path(s.output.gap),
            Path(s.output.decline),
            Path(s.output.cascade),
            Path(s.output.twins),
            overall=s.params.overall,
            knowledge=s.params.knowledge,
            backbones=s.params.backbones,
            twins=s.params.twins,
            draws=s.params.draws,
            seed=s.params.seed,
        ),
    )
