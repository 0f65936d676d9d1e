"""Answers to spoken questions while speech vectors are edited along the alignment path (paper, interventions).

For each kept question of a shard and each cell of the grid, the input of one decoder layer (or of every layer) is
replaced at chosen speech positions during prefill, and the model answers greedily. Values come from the model's own
states: of the spoken query (s) and of the same question written (t). All cells start from one unedited prefill; the
no-op edit, run on the same shapes as the unedited answers, proves that what is read is what is edited, and stops the
step if it fails.

A model that only runs as a whole has no such prefill: its file holds no answers, and its header says so.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.answers import EDITED_ANSWERS, EditedAnswerRecord
from workflow_scripts.artifacts.files import sha256_text
from workflow_scripts.artifacts.logs import progress
from workflow_scripts.artifacts.measurements import ALIGNMENT, Measurements, check_alignment, read_measurements
from workflow_scripts.artifacts.partial import PartialBatches
from workflow_scripts.artifacts.provenance import provenance
from workflow_scripts.artifacts.questions import Question
from workflow_scripts.intervention.answer_grid import GridAnswer, answer_batch, even_batches
from workflow_scripts.intervention.grid import Cell, grid_cells
from workflow_scripts.intervention.measured_paths import shard_context
from workflow_scripts.intervention.question_edits import CellEdits, EditTally
from workflow_scripts.settings.analysis import EvaluationSettings
from workflow_scripts.settings.families.base import FINAL
from workflow_scripts.settings.intervention import ORACLE, TEXT, InterventionSettings
from workflow_scripts.speech_lm.decoding.batching import batches
from workflow_scripts.speech_lm.families.base import DecoderSpeechLM
from workflow_scripts.speech_lm.opening.folder_checks import folder_facts
from workflow_scripts.speech_lm.opening.open_model import ModelSource, open_model, optional_path
from workflow_scripts.speech_lm.shard_queries import SpokenShard, read_spoken_shard

logger = logging.getLogger(__name__)

LEFT_OUT = "it only runs as a whole"
"""Why a model is not edited, as the header of its file and the tables say."""
READINGS = ("words_spread", "words_error_before", "words_error_after")
INPUTS = ("questions", "manifest", "features", "alignment")


def edit_answers(
    questions: Path,
    manifest: Path,
    features: Path | None,
    alignment: Path,
    model: ModelSource,
    answers: Path,
    partial: PartialBatches,
    *,
    shard: str,
    max_new_tokens: int,
    intervention: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    seed: int,
) -> None:
    """Write one answer per kept question and cell, the unedited one and that to the written question included.

    Args:
        alignment: alignment file of the same model, checkpoint and shard.
        answers: output.
        partial: what an earlier, killed run of this step has finished.
        seed: of the split into shards, of random choices and random directions; decoding draws nothing.

    Raises:
        ArtifactError: inputs do not belong together.
        SpeechLMError: the no-op edit changed an answer, or a layer cannot be edited.
    """
    settings = InterventionSettings.model_validate(intervention)
    batching = EvaluationSettings.model_validate(evaluation)
    asked = read_spoken_shard(questions, manifest, features, shard, seed)
    aligned = read_measurements(alignment, ALIGNMENT)
    if model.checkpoint == FINAL and not folder_facts(model.weights.parent, model.entry).editable:
        _write_left_out(answers, model, shard)
        return
    loaded = open_model(model)
    if not loaded.lm.shares_prompts:  # a class of the user's that gives objects of another one
        _write_left_out(answers, model, shard)
        return
    check_alignment(alignment, aligned, asked.ids, loaded.facts)
    given = (settings, batching, max_new_tokens, seed, partial)
    records, described = answer_under_edits(loaded.lm, asked, aligned, *given)
    facts = {
        **loaded.facts,
        "shard": shard,
        "seed": seed,
        "dropped": asked.dropped,
        "decoding": settings.decoding,
        "cells": described,
    }
    used = {"intervention": settings.model_dump(), "evaluation": batching.model_dump()}
    used |= {"max_new_tokens": max_new_tokens, "system_prompt": model.system_prompt}
    EDITED_ANSWERS.write(answers, records, provenance(used, **facts))
    partial.remove()


def _write_left_out(answers: Path, model: ModelSource, shard: str) -> None:
    name = model.entry["name"]
    logger.warning("%s: not edited: %s", name, LEFT_OUT)
    facts = {"model": name, "checkpoint": model.checkpoint, "shard": shard, "left_out": LEFT_OUT}
    EDITED_ANSWERS.write(answers, [], provenance({}, **facts))


def answer_under_edits(
    lm: DecoderSpeechLM,
    asked: SpokenShard,
    aligned: Measurements,
    settings: InterventionSettings,
    batching: EvaluationSettings,
    max_new_tokens: int,
    seed: int,
    partial: PartialBatches,
) -> tuple[list[EditedAnswerRecord], dict[str, dict[str, Any]]]:
    """Records and the facts and counts of each cell; batches that `partial` holds are taken from there.

    Records go question by question: unedited, written, then the cells in the order configured, then the ceilings.

    Raises:
        SpeechLMError: a layer does not exist, or a no-op edit changed a token.
    """
    cells = grid_cells(settings, lm.n_layers, lm.name)
    oracles = [name for name, entry in settings.operations.items() if entry.operation == ORACLE]
    context = shard_context(lm, asked, aligned, cells, seed)
    tallies = {cell.key: EditTally() for cell in cells}
    rows: dict[int, list[EditedAnswerRecord]] = {}
    lengths = [asked.spoken(lm, number).length for number in range(len(asked.ids))]
    grouped = batches(lengths, *even_batches(len(lengths), batching))
    for group in progress(grouped, len(grouped), f"batches under {len(cells)} edits"):
        key = f"questions {group}"
        if (kept := partial.get(key)) is None:
            found = answer_batch(lm, asked, group, context, cells, oracles, batching, max_new_tokens)
            kept = _batch_values(asked, group, cells, found)
            partial.add(key, kept)
        for number, lines in zip(group, kept["records"], strict=True):
            rows[number] = [EditedAnswerRecord.model_validate(line) for line in lines]
        for cell in cells:
            for counted in kept["made"][cell.key]:
                tallies[cell.key].add(CellEdits(**counted))
    described = {cell.key: cell.facts() | tallies[cell.key].summary() for cell in cells}
    for cell in cells:
        if cell.edit in context.erasures:
            described[cell.key] |= context.erasures[cell.edit].facts()
    described |= {name: {"name": name, "operation": ORACLE} for name in oracles}
    return [row for number in range(len(asked.ids)) for row in rows[number]], described


def _batch_values(
    asked: SpokenShard, group: Sequence[int], cells: Sequence[Cell], found: Mapping[str, list[GridAnswer]]
) -> dict[str, Any]:
    """A batch as JSON values: the records of each question, and what the tally of each cell counts."""
    return {
        "records": [
            [_record(asked.questions[number], key, one[place]).model_dump() for key, one in found.items()]
            for place, number in enumerate(group)
        ],
        "made": {cell.key: [one.made.counted() for one in found[cell.key]] for cell in cells},
    }


def _record(question: Question, key: str, found: GridAnswer) -> EditedAnswerRecord:
    answer, loss, made = found.answer, found.loss, found.made
    form = "text" if key == TEXT else "speech"
    return EditedAnswerRecord(
        id=question.id,
        form=form,
        edit=key,
        prompt_hash=sha256_text(question.prompt if form == "text" else question.spoken)[:16],
        answer=answer.text,
        token_ids=list(answer.token_ids),
        finish_reason=answer.finish_reason,
        seconds=answer.seconds,
        reference_nll=None if loss is None else loss.nll,
        reference_tokens=0 if loss is None else loss.n_tokens,
        n_edited=len(made.frames),
        kl_first=found.kl_first,
        frames=made.frames,
        tokens=made.tokens,
        shifts=[float(f"{shift:.6g}") for shift in made.shifts],
        skipped=made.skipped,
        **dict(zip(READINGS, made.readings or ())),
    )


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: edit_answers(
            *(optional_path(s.input[name]) for name in INPUTS),
            ModelSource.of_step(s),
            Path(s.output.answers),
            PartialBatches.of_step(s),
            **{name: s.params[name] for name in ("shard", "max_new_tokens", "intervention", "evaluation", "seed")},
        ),
    )
