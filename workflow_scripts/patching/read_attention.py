"""Do answers read the speech themselves, and in which layers? (ours)

For the questions that `patch_states` patches, in both forms: the share of attention that the answer's positions give to
the query, to the template and to the answer, by layer, and the outcome when they cannot attend to the query in a window
of layers, beside as many random other positions. docs/patching.md has the method and its limits.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.attention import ATTENTION, KNOCKOUT, SPEECH, TEXT, AttentionRecord, KnockoutRecord
from workflow_scripts.artifacts.logs import progress
from workflow_scripts.artifacts.provenance import provenance
from workflow_scripts.patching.attention import Asked, FormBatch
from workflow_scripts.patching.outcomes import outcome_of
from workflow_scripts.patching.patch_states import LEFT_OUT, NO_OUTCOME, question_kinds
from workflow_scripts.settings.patching import AttentionSettings, PatchingSettings
from workflow_scripts.speech_lm.decoding.batching import batches
from workflow_scripts.speech_lm.families.base import DecoderSpeechLM
from workflow_scripts.speech_lm.opening.open_model import ModelSource, open_model, optional_path
from workflow_scripts.speech_lm.shard_queries import SpokenShard, read_spoken_shard

logger = logging.getLogger(__name__)

INPUTS = ("questions", "manifest", "features", "text", "speech")


def read_attention(
    questions: Path,
    manifest: Path,
    features: Path | None,
    text: Path,
    speech: Path,
    model: ModelSource,
    attention: Path,
    knockout: Path,
    *,
    shard: str,
    patching: Mapping[str, Any],
    seed: int,
) -> None:
    """Write both files of one shard; one without fitting questions gives files without records.

    Args:
        text, speech: scores of both forms.
        attention, knockout: outputs. patching: `select`, `questions`, `batch_size` and `attention` of the section.
        seed: of the split into shards and of the positions of the control.

    Raises:
        ArtifactError: inputs do not belong together.
        SpeechLMError: logits are not finite.
    """
    settings = PatchingSettings.model_validate(patching)
    asked = read_spoken_shard(questions, manifest, features, shard, seed)
    kinds = question_kinds(asked.ids, text, speech, settings)
    loaded = open_model(model)
    facts = {**loaded.facts, "shard": shard, "seed": seed, "kept": len(asked.ids)}
    looked: list[AttentionRecord] = []
    knocked: list[KnockoutRecord] = []
    if loaded.lm.shares_prompts:
        looked, knocked = attend_shard(loaded.lm, asked, kinds, settings, seed)
        facts["n_layers"] = loaded.lm.n_layers
    else:
        logger.warning("%s: attention not read: %s", model.entry["name"], LEFT_OUT)
        facts["left_out"] = LEFT_OUT
    used = {"patching": settings.model_dump(), "system_prompt": model.system_prompt}
    ATTENTION.write(attention, looked, provenance(used, **facts))
    KNOCKOUT.write(knockout, knocked, provenance(used, **facts))


def attend_shard(
    lm: DecoderSpeechLM, asked: SpokenShard, kinds: Mapping[str, str], settings: PatchingSettings, seed: int
) -> tuple[list[AttentionRecord], list[KnockoutRecord]]:
    """Records of the questions named in `kinds`, in both forms."""
    numbers = [number for number, name in enumerate(asked.ids) if name in kinds]
    outcomes = {number: outcome_of(lm, asked.questions[number]) for number in numbers}
    looked: list[AttentionRecord] = []
    knocked: list[KnockoutRecord] = []
    for number in (number for number in numbers if outcomes[number] is None):
        for form in (SPEECH, TEXT):
            skip = {"id": asked.ids[number], "kind": kinds[asked.ids[number]], "form": form, "skipped": NO_OUTCOME}
            looked.append(AttentionRecord(**skip))
            knocked.append(KnockoutRecord(**skip))
    numbers = [number for number in numbers if outcomes[number] is not None]
    # One form after the other: a model may have to be brought into the state that a form needs.
    for form, query_of in ((SPEECH, asked.spoken), (TEXT, asked.written)):
        sizes = [query_of(lm, number).length for number in numbers]
        grouped = batches(sizes, settings.batch_size, sum(sizes) + 1)
        for group in progress(grouped, len(grouped), f"batches of {len(numbers)} questions, {form}"):
            batch = [
                Asked(asked.ids[number], kinds[asked.ids[number]], query_of(lm, number), outcomes[number])
                for number in (numbers[place] for place in group)
            ]
            run = FormBatch(lm, form, batch, settings.attention or AttentionSettings(), seed)
            looked += run.attention()
            knocked += run.knockout()
    return looked, knocked


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: read_attention(
            *(optional_path(s.input[name]) for name in INPUTS),
            ModelSource.of_step(s),
            Path(s.output.attention),
            Path(s.output.knockout),
            **{name: s.params[name] for name in ("shard", "patching", "seed")},
        ),
    )
