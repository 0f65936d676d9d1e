"""gap.csv, decline.csv, cascade.csv and twins.csv: scores by form, the modality gap, and what it consists of.

Paper (sections 4, 5 and 8): GAP = M_text - M_speech in points of 0 to 100; Overall is the unweighted mean of subsets.
Ours: the knowledge-only mean, chance-corrected accuracy and option probabilities of multiple choice, ASR text as third
form, the loss gap of the reference answer, the untuned backbone on written and on recognised text, and intervals.

gap.csv has one row per measure and form (`cells`), with `null`, the score of a guesser, where there is one. Of every
checkpoint after a run's first trained one it also has by how much the gap has fallen since (`FALLS`). decline.csv has
the five reference scores and their differences. Intervals: those of a score or a measure in one subset are the scorer's
own (scores.json), all others are of `statistics.means`: paired over questions, in closed form, never of zero width.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.checkpoints import checkpoint_step
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.tables import write_table
from workflow_scripts.evaluation.cascade import cascade_rows
from workflow_scripts.evaluation.cells import GAP, LOSS, SCORE, Cell, Entry, cells_of
from workflow_scripts.evaluation.score_index import BASE, read_scores
from workflow_scripts.evaluation.twins import twin_rows

logger = logging.getLogger(__name__)

DIFFERENCES = {
    "erosion": ("base_text", "tuned_text"),
    "asr_loss": ("base_text", "base_asr"),
    "tuned_asr_loss": ("tuned_text", "tuned_asr"),
    "modality_loss": ("tuned_asr", "tuned_speech"),
    "modality_gap": ("tuned_text", "tuned_speech"),
    "decline": ("base_text", "tuned_speech"),
}
"""Measures of decline.csv that are differences of two reference scores.

decline = erosion + modality_gap, and modality_gap = tuned_asr_loss + modality_loss.
"""
FALLS = {SCORE: "score_fall", LOSS: "loss_fall"}
"""Measures, of form `gap`: the gap of the run's first trained checkpoint minus this one's, paired over questions."""
REFERENCES = ("base_text", "base_asr", "tuned_text", "tuned_asr", "tuned_speech")


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
    repeats: Mapping[str, str],
    frozen: Sequence[str] = (),
) -> None:
    """Write gap.csv, decline.csv, cascade.csv and twins.csv.

    Args:
        scores: score files of all models, checkpoints, subsets and forms, in any order.
        overall, knowledge: subsets of the two means; an empty `knowledge` gives no knowledge rows.
        backbones: model -> key of its untuned backbone; models without one, and public models
            whose backbone was not scored, are not in decline.csv.
        twins: distilled model -> the same training without it.
        repeats: trained model -> the first that differs from it in nothing but the seed.
        frozen: models whose written answers are their backbone's: their erosion is 0, without interval.

    Raises:
        ArtifactError: questions differ between files of a subset, or a subset or a backbone's scores are missing.
    """
    index = read_scores(scores)
    cells = {key: cells_of(key, index[key], overall, knowledge) for key in index}
    order = sorted(index, key=lambda key: (key[0], -1 if (step := checkpoint_step(key[1])) is None else step, key[1]))
    starts = first_trained(order)
    gap_rows = [
        named(key, subset) | row
        for key in order
        for subset, cell in cells[key].items()
        for row in _gap_rows(cell | _falls(cell, cells[starts[key]][subset] if key in starts else {}))
    ]
    decline_rows = list(_decline_rows(order, cells, backbones, frozen))
    write_table(gap, gap_rows, "gap")
    write_table(decline, decline_rows, "decline")
    write_table(cascade, cascade_rows(order, index, backbones), "cascade")
    write_table(twin_table, twin_rows(order, cells, twins, repeats), "twins")
    logger.info("%d gap rows, %d decline rows from %d score files", len(gap_rows), len(decline_rows), len(scores))


def named(key: tuple[str, str], subset: str) -> dict[str, Any]:
    """The columns that every row of these tables begins with."""
    return {"model": key[0], "checkpoint": key[1], "step": checkpoint_step(key[1]), "subset": subset}


def first_trained(order: Sequence[tuple[str, str]]) -> dict[tuple[str, str], tuple[str, str]]:
    """(model, checkpoint) of later steps -> that of the model's first step above 0; `order` is by step in a model."""
    first: dict[str, tuple[str, str]] = {}
    for key in order:
        if checkpoint_step(key[1]):
            first.setdefault(key[0], key)
    return {key: first[key[0]] for key in order if checkpoint_step(key[1]) and key != first[key[0]]}


def _falls(cell: Cell, first: Cell) -> Cell:
    """How much smaller the gaps of `cell` are than those of `first`."""
    return {
        (name, GAP): Entry(first[measure, GAP].number - cell[measure, GAP].number, cell[measure, GAP].n)
        for measure, name in FALLS.items()
        if (measure, GAP) in first and (measure, GAP) in cell
    }


def _gap_rows(cell: Cell) -> Iterator[dict[str, Any]]:
    for (measure, form), entry in cell.items():
        low, high = entry.number.interval
        row = {"form": form, "measure": measure, "value": entry.number.value, "low": low, "high": high}
        yield row | {"null": entry.null, "n": entry.n}


def _decline_rows(
    order: Sequence[tuple[str, str]],
    cells: Mapping[tuple[str, str], Mapping[str, Cell]],
    backbones: Mapping[str, str],
    frozen: Sequence[str],
) -> Iterator[dict[str, Any]]:
    for model, checkpoint in order:
        if checkpoint == BASE or backbones.get(model) is None:
            continue
        base = cells.get((backbones[model], BASE))
        if base is None and checkpoint_step(checkpoint) is None:
            continue
        if base is None:
            raise ArtifactError(f"no scores of the untuned backbone {backbones[model]!r} of {model!r}; score it first")
        for subset, tuned in cells[model, checkpoint].items():
            if subset not in base:
                raise ArtifactError(f"the untuned backbone {backbones[model]!r} has no scores on {subset!r}")
            for row in _references(base[subset], tuned):
                exact = {"low": None, "high": None} if model in frozen and row["measure"] == "erosion" else {}
                yield named((model, checkpoint), subset) | row | exact


def _references(base: Cell, tuned: Cell) -> Iterator[dict[str, Any]]:
    """Rows of the reference scores, then of their differences."""
    entries = {
        f"{whose}_{form}": entry
        for whose, cell in (("base", base), ("tuned", tuned))
        for (measure, form), entry in cell.items()
        if measure == SCORE
    }
    numbers = {name: entries[name].number for name in REFERENCES if name in entries}
    numbers |= {
        name: numbers[higher] - numbers[lower]
        for name, (higher, lower) in DIFFERENCES.items()
        if higher in numbers and lower in numbers
    }
    n = next(entry.n for (measure, _), entry in tuned.items() if measure == SCORE)
    for name, number in numbers.items():
        low, high = number.interval
        yield {"measure": name, "value": number.value, "low": low, "high": high, "n": n}


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
            repeats=s.params.repeats,
            frozen=s.params.frozen,
        ),
    )
