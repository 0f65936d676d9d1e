"""Answers to spoken questions while speech vectors are edited along the alignment path (paper, interventions).

For each kept question of a shard and each configured operation, the input of one decoder layer is replaced at chosen
speech positions during prefill, and the model answers greedily. Values come from the model's own states at that layer:
of the spoken query (s) and of the same question written (t). All operations run on the same batches, so that a
difference from the unedited answer has no other cause; the no-op edit proves it and stops the step if it fails.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.answers import EDITED_ANSWERS, AnswerRecord
from workflow_scripts.artifacts.files import ArtifactError, sha256_text
from workflow_scripts.artifacts.logs import progress
from workflow_scripts.artifacts.measurements import ALIGNMENT, Measurements, read_measurements
from workflow_scripts.artifacts.provenance import provenance
from workflow_scripts.artifacts.questions import Question, reference_answer
from workflow_scripts.intervention.question_edits import EditTally, build_edits
from workflow_scripts.intervention.selection import select_targets
from workflow_scripts.settings.analysis import EvaluationSettings, InterventionSettings
from workflow_scripts.speech_lm.batching import batches
from workflow_scripts.speech_lm.opened import open_model, optional_path
from workflow_scripts.speech_lm.protocol import Answer, AnswerLoss, Edit, Query, SpeechLM, SpeechLMError
from workflow_scripts.speech_lm.spoken_shard import SpokenShard, read_spoken_shard

logger = logging.getLogger(__name__)

BASELINE = "none"
INPUTS = ("questions", "manifest", "features", "alignment", "model", "backbone", "encoder")


@dataclass(frozen=True)
class EditedBatch:
    """Answers of one batch under one operation.

    Attributes:
        answers: per query.
        losses: of the reference answer, per query; None where there is no reference.
        n_edited: positions replaced, per query.
    """

    answers: list[Answer]
    losses: list[AnswerLoss | None]
    n_edited: list[int]


def edit_answers(
    questions: Path,
    manifest: Path,
    features: Path | None,
    alignment: Path,
    model: Path,
    backbone: Path | None,
    encoder: Path | None,
    answers: Path,
    *,
    checkpoint: str,
    shard: str,
    max_new_tokens: int,
    intervention: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    system_prompt: str | None,
    seed: int,
    public: Mapping[str, Any] | None = None,
    quantizer: Path | None = None,
) -> None:
    """Write one answer per kept question and operation, the unedited one included.

    Args:
        alignment: alignment file of the same model, checkpoint and shard.
        model: checkpoints.json of the training run, or asset.json of a public model.
        backbone, encoder: asset.json of the language model and of the speech encoder.
        answers: output.
        seed: of the split into shards; decoding draws nothing.

    Raises:
        ArtifactError: inputs do not belong together.
        SpeechLMError: the no-op edit changed an answer, or the layer cannot be edited.
    """
    settings = InterventionSettings.model_validate(intervention)
    batching = EvaluationSettings.model_validate(evaluation)
    asked = read_spoken_shard(questions, manifest, features, shard, seed)
    aligned = read_measurements(alignment, ALIGNMENT)
    trained = open_model(
        model,
        checkpoint,
        backbone=backbone,
        encoder=encoder,
        system_prompt=system_prompt,
        public=public,
        quantizer=quantizer,
    )
    check_alignment(alignment, aligned, asked.ids, trained.facts)
    records, tallies = answer_under_edits(trained.lm, asked, aligned, settings, batching, max_new_tokens)
    facts = {
        **trained.facts,
        "shard": shard,
        "seed": seed,
        "dropped": asked.dropped,
        "decoding": "greedy",
        "edits": {name: tally.summary() for name, tally in tallies.items()},
    }
    used = {"intervention": settings.model_dump(), "evaluation": batching.model_dump()}
    used |= {"max_new_tokens": max_new_tokens, "system_prompt": system_prompt}
    EDITED_ANSWERS.write(answers, records, provenance(used, **facts))


def check_alignment(path: Path, aligned: Measurements, ids: Sequence[str], facts: Mapping[str, str]) -> None:
    """Check that an alignment file holds these questions, measured on this very checkpoint.

    Raises:
        ArtifactError: names what differs and the remedy.
    """
    for name in ("model", "checkpoint", "weights_sha256"):
        if (found := aligned.attributes.get(name)) != facts[name]:
            raise ArtifactError(f"{path}: {name} is {found!r}, expected {facts[name]!r}; delete it and run again")
    if missing := sorted(set(ids) - set(aligned.ids)):
        raise ArtifactError(
            f"{path}: no path of question(s) {missing[:5]}; it is older than them: delete it and run again"
        )


def answer_under_edits(
    lm: SpeechLM,
    asked: SpokenShard,
    aligned: Measurements,
    settings: InterventionSettings,
    batching: EvaluationSettings,
    max_new_tokens: int,
) -> tuple[list[AnswerRecord], dict[str, EditTally]]:
    """Records (question by question, operations in the order configured, the unedited answer first) and tallies.

    Raises:
        SpeechLMError: the layer does not exist, or a no-op edit changed a token.
    """
    if settings.layer >= lm.n_layers:
        raise SpeechLMError(
            f"intervention.layer is {settings.layer}, but {lm.name} has editable layers 0 .. {lm.n_layers - 1}"
        )
    operations = {name: one for name, one in settings.operations.items() if one.operation != "none"}
    tallies = {name: EditTally() for name in operations}
    lengths = [asked.spoken(lm, number).length for number in range(len(asked.ids))]
    rows: dict[int, list[AnswerRecord]] = {}
    grouped = batches(lengths, batching.batch_size, batching.max_positions)
    for group in progress(grouped, len(grouped), "batches under all edits"):
        spoken = [asked.spoken(lm, number) for number in group]
        written = [asked.written(lm, number) for number in group]
        paths = [_path(aligned, asked.ids[number], *pair) for number, *pair in zip(group, spoken, written)]
        speech = [states[settings.layer] for states in lm.states(spoken)]
        text = [states[settings.layer] for states in lm.states(written)]
        references = [reference_answer(asked.questions[number]) for number in group]
        unedited = _answer(lm, spoken, references, None, max_new_tokens)
        found = {BASELINE: unedited}
        for name, operation in operations.items():
            targets = [select_targets(operation, *path) for path in paths]
            edits = build_edits(operation, settings.layer, spoken, targets, speech, text, tallies[name])
            found[name] = _answer(lm, spoken, references, edits, max_new_tokens)
            if operation.operation == "no_op":
                check_unchanged(name, [asked.ids[number] for number in group], unedited, found[name])
        for place, number in enumerate(group):
            rows[number] = [_record(asked.questions[number], name, batch, place) for name, batch in found.items()]
    return [row for number in range(len(asked.ids)) for row in rows[number]], tallies


def check_unchanged(name: str, ids: Sequence[str], unedited: EditedBatch, no_op: EditedBatch) -> None:
    """Check that writing back the values that were there changes no token.

    Raises:
        SpeechLMError: it does; then no difference under the other edits could be trusted.
    """
    for question, before, after in zip(ids, unedited.answers, no_op.answers):
        if (before.token_ids, before.finish_reason) != (after.token_ids, after.finish_reason):
            raise SpeechLMError(
                f"edit {name!r} writes back the values it finds, yet the answer to question {question!r} changed from "
                f"{before.text!r} to {after.text!r}: what is read at this layer is not what is edited, or the device "
                "is not deterministic; check the model with speech_lm.self_check"
            )


def _path(aligned: Measurements, name: str, spoken: Query, written: Query) -> tuple[Any, Any]:
    """Cosine path and scores (L+1, T_t) of a question, checked against the positions of its queries."""
    number = aligned.ids.index(name)
    expected = len(spoken.tokens), len(written.tokens)
    if (found := (int(aligned.T_s[number]), int(aligned.T_t[number]))) != expected:
        raise ArtifactError(
            f"alignment of question {name!r} has (T_s, T_t) = {found}, its queries have {expected}; it was made from "
            "other audio or with another tokenizer: delete it and run again"
        )
    return aligned.paths["cosine"][number], aligned.scores["cosine"][number]


def _answer(
    lm: SpeechLM,
    queries: list[Query],
    references: list[str | None],
    edits: list[list[Edit]] | None,
    max_new_tokens: int,
) -> EditedBatch:
    answers = lm.generate(queries, max_new_tokens=max_new_tokens, edits=edits)
    losses: list[AnswerLoss | None] = [None] * len(queries)
    if with_reference := [place for place, text in enumerate(references) if text is not None]:
        costs = lm.answer_loss(
            [queries[place] for place in with_reference],
            [references[place] or "" for place in with_reference],
            edits=None if edits is None else [edits[place] for place in with_reference],
        )
        for place, cost in zip(with_reference, costs):
            losses[place] = cost
    n_edited = [0] * len(queries) if edits is None else [sum(len(e.positions) for e in one) for one in edits]
    return EditedBatch(answers, losses, n_edited)


def _record(question: Question, edit: str, batch: EditedBatch, place: int) -> AnswerRecord:
    answer, loss = batch.answers[place], batch.losses[place]
    return AnswerRecord(
        id=question.id,
        form="speech",
        edit=edit,
        prompt_hash=sha256_text(question.spoken)[:16],
        answer=answer.text,
        token_ids=list(answer.token_ids),
        finish_reason=answer.finish_reason,
        seconds=answer.seconds,
        reference_nll=None if loss is None else loss.nll,
        reference_tokens=0 if loss is None else loss.n_tokens,
        n_edited=batch.n_edited[place],
    )


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: edit_answers(
            *(optional_path(s.input[name]) for name in INPUTS),
            Path(s.output.answers),
            **{name: s.params[name] for name in ("checkpoint", "shard", "max_new_tokens")},
            **{name: s.params[name] for name in ("intervention", "evaluation", "system_prompt", "seed", "public")},
            quantizer=optional_path(s.input.quantizer),
        ),
    )
