"""Which states, exchanged between the written and the spoken run of a question, turn one answer into the other? (ours)

Activation patching between forms: for questions of a shard that a checkpoint answers rightly in one form only, the
states of one run are put into the other at one class of positions and at one layer or several in a row, and the outcome
is read again. Beside each patch stand the same positions of another question of like length, and a shift as long in a
random direction. docs/patching.md has the method, its limits and its sources.
"""

import logging
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.logs import progress
from workflow_scripts.artifacts.measurements import ALIGNMENT, Measurements, check_alignment, read_measurements
from workflow_scripts.artifacts.partial import PartialBatches
from workflow_scripts.artifacts.patches import ALL, PATCHES, SPEECH_ONLY, TEXT_ONLY, PatchRecord
from workflow_scripts.artifacts.provenance import provenance
from workflow_scripts.artifacts.scores import QuestionScore, ScoreFile
from workflow_scripts.artifacts.states import kept_layers
from workflow_scripts.measures.edit_targets import vote_path
from workflow_scripts.patching import positions
from workflow_scripts.patching.outcomes import Outcome, outcome_of
from workflow_scripts.patching.sweep import Item, sweep_batch
from workflow_scripts.settings.patching import PatchingSettings
from workflow_scripts.speech_lm.decoding.batching import batches
from workflow_scripts.speech_lm.families.base import DecoderSpeechLM
from workflow_scripts.speech_lm.opening.open_model import ModelSource, open_model, optional_path
from workflow_scripts.speech_lm.shard_queries import SpokenShard, read_spoken_shard

logger = logging.getLogger(__name__)

INPUTS = ("questions", "manifest", "features", "alignment", "text", "speech")
LEFT_OUT = "it only runs as a whole"
NO_OUTCOME = "neither options nor a reference answer"


def patch_states(
    questions: Path,
    manifest: Path,
    features: Path | None,
    alignment: Path,
    text: Path,
    speech: Path,
    model: ModelSource,
    patches: Path,
    partial: PartialBatches,
    *,
    shard: str,
    patching: Mapping[str, Any],
    seed: int,
) -> None:
    """Write the patches of one shard; one without fitting questions gives a file without records.

    Args:
        alignment: alignment file of the same model, checkpoint and shard. text, speech: scores of both forms.
        patches: output. partial: finished batches of an earlier, killed run.
        seed: of the split into shards and of random directions.

    Raises:
        ArtifactError: inputs do not belong together.
        SpeechLMError: writing back the model's own states changed what follows, or a layer does not exist.
    """
    settings = PatchingSettings.model_validate(patching)
    asked = read_spoken_shard(questions, manifest, features, shard, seed)
    kinds = question_kinds(asked.ids, text, speech, settings)
    aligned = read_measurements(alignment, ALIGNMENT)
    loaded = open_model(model)
    if not loaded.lm.shares_prompts:
        logger.warning("%s: no states exchanged: %s", model.entry["name"], LEFT_OUT)
        facts = {**loaded.facts, "shard": shard, "kept": len(asked.ids), "left_out": LEFT_OUT}
        PATCHES.write(patches, [], provenance({}, **facts))
        return
    check_alignment(alignment, aligned, asked.ids, loaded.facts)
    records, outcomes = patch_shard(loaded.lm, asked, kinds, aligned, settings, seed, partial)
    facts = {
        **loaded.facts,
        "shard": shard,
        "seed": seed,
        "kept": len(asked.ids),
        "outcomes": outcomes,
        "n_layers": loaded.lm.n_layers,
    }
    used = {"patching": settings.model_dump(), "system_prompt": model.system_prompt}
    PATCHES.write(patches, records, provenance(used, **facts))
    partial.remove()


def question_kinds(ids: Sequence[str], text: Path, speech: Path, settings: PatchingSettings) -> dict[str, str]:
    """The kind of each question to patch, by id, at most `settings.questions` of a kind, in the order of the shard.

    Right: the most likely letter where option probabilities were measured, else a score of 1.

    Raises:
        ArtifactError: a question has no score.
    """
    if settings.select == ALL:
        return dict.fromkeys(list(ids)[: settings.questions], ALL)
    right = [{one.id: _right(one) for one in ScoreFile.read(path).questions} for path in (text, speech)]
    for path, known in zip((text, speech), right):
        if missing := sorted(set(ids) - set(known)):
            raise ArtifactError(f"{path}: no score of question(s) {missing[:5]}; delete it and run again")
    chosen: dict[str, str] = {}
    for name in ids:
        kind = {(True, False): TEXT_ONLY, (False, True): SPEECH_ONLY}.get((right[0][name], right[1][name]))
        if kind is not None and list(chosen.values()).count(kind) < settings.questions:
            chosen[name] = kind
    return chosen


def patch_shard(
    lm: DecoderSpeechLM,
    asked: SpokenShard,
    kinds: Mapping[str, str],
    aligned: Measurements,
    settings: PatchingSettings,
    seed: int,
    partial: PartialBatches,
) -> tuple[list[PatchRecord], dict[str, str]]:
    """Records of the questions named in `kinds`, and the outcome that is read of each.

    Batches that are in `partial` are not run again.

    Raises:
        ArtifactError: the alignment was made from other positions.
    """
    numbers = [number for number, name in enumerate(asked.ids) if name in kinds]
    outcomes = {number: outcome_of(lm, asked.questions[number]) for number in numbers}
    records = [
        PatchRecord(id=asked.ids[number], kind=kinds[asked.ids[number]], direction="", positions="", skipped=NO_OUTCOME)
        for number, outcome in outcomes.items()
        if outcome is None
    ]
    numbers = [number for number in numbers if outcomes[number] is not None]
    lengths = [len(asked.written(lm, number).tokens) for number in range(len(asked.ids))] if numbers else []
    partners = like_length(lengths)
    sizes = [asked.spoken(lm, number).length for number in numbers]
    grouped = batches(sizes, settings.batch_size, sum(sizes) + 1)
    for group in progress(grouped, len(grouped), f"batches of {len(numbers)} patched questions"):
        chosen = [numbers[place] for place in group]
        key = " ".join(asked.ids[number] for number in chosen)
        found = partial.get(key)
        if found is None:
            items = [
                _item(lm, asked, number, kinds[asked.ids[number]], aligned, outcomes[number], partners)
                for number in chosen
            ]
            found = [record.model_dump() for record in sweep_batch(lm, items, settings, seed)]
            partial.add(key, found)
        records += [PatchRecord.model_validate(one) for one in found]
    return records, {asked.ids[number]: outcomes[number].name for number in numbers}


def like_length(lengths: Sequence[int]) -> list[int] | None:
    """For each question the next one in the order of length, the last takes the one before; None for fewer than 2."""
    if len(lengths) < 2:
        return None
    order = sorted(range(len(lengths)), key=lambda number: (lengths[number], number))
    partner = dict(pairwise(order))
    partner[order[-1]] = order[-2]
    return [partner[number] for number in range(len(lengths))]


def _item(
    lm: DecoderSpeechLM,
    asked: SpokenShard,
    number: int,
    kind: str,
    aligned: Measurements,
    outcome: Outcome,
    partners: Sequence[int] | None,
) -> Item:
    spoken, written = asked.spoken(lm, number), asked.written(lm, number)
    name = asked.ids[number]
    place = aligned.row(name, len(spoken.tokens), len(written.tokens))
    frames, scores = aligned.paths["cosine"][place], aligned.scores["cosine"][place]
    voted = vote_path(frames, scores, kept_layers(aligned.attributes, len(frames) - 1))
    content = positions.content_tokens(written, asked.questions[number].prompt)
    path = positions.Path(voted.frames.astype(int), voted.scores, content)
    partner = None
    if partners is not None:
        partner = asked.spoken(lm, partners[number]), asked.written(lm, partners[number])
    return Item(name, kind, spoken, written, path, outcome, partner)


def _right(score: QuestionScore) -> bool:
    return score.options.letter_correct if score.options is not None else score.score == 1


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: patch_states(
            *(optional_path(s.input[name]) for name in INPUTS),
            ModelSource.of_step(s),
            Path(s.output.patches),
            PartialBatches.of_step(s),
            **{name: s.params[name] for name in ("shard", "patching", "seed")},
        ),
    )
