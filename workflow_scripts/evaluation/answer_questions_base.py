"""Answers of an untuned backbone to the kept questions of one shard, in the forms text and asr.

They are the references of the decline decomposition (paper, section 8): what the language model knew before it was
tuned, on the written question and behind a recogniser (the pipeline of the paper's table 3).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.asset_record import read_asset_record
from workflow_scripts.artifacts.kept import read_shard
from workflow_scripts.artifacts.partial import PartialBatches
from workflow_scripts.evaluation.answering import write_answers, written_records
from workflow_scripts.settings.analysis import EvaluationSettings
from workflow_scripts.speech_lm.families.composite import load_composite


def answer_questions_base(
    questions: Path,
    manifest: Path,
    backbone: Path,
    text: Path,
    asr: Path,
    partial: PartialBatches,
    *,
    checkpoint: str,
    shard: str,
    max_new_tokens: int,
    evaluation: Mapping[str, Any],
    system_prompt: str | None,
    seed: int,
) -> None:
    """Ask an untuned backbone every kept question of a shard, as prompt and as transcript.

    Args:
        backbone: asset.json of the language model.
        text, asr: the outputs, one per form. partial: finished batches of an earlier, killed run.
        checkpoint: recorded in the files (`base`).
        seed: of the split into shards; decoding draws nothing.

    Raises:
        ArtifactError: the inputs do not hold the same questions (checked before the model is loaded).
    """
    settings = EvaluationSettings.model_validate(evaluation)
    asked = read_shard(questions, manifest, shard, seed)
    asset = read_asset_record(backbone)
    speech_lm = load_composite(
        backbone=backbone.parent, checkpoint=None, encoder=None, system_prompt=system_prompt, name=asset.name
    )
    records = written_records(speech_lm, asked, settings, max_new_tokens, partial)
    write_answers(
        {"text": text, "asr": asr},
        records,
        asked,
        dict(evaluation) | {"max_new_tokens": max_new_tokens, "system_prompt": system_prompt},
        model=asset.name,
        checkpoint=checkpoint,
        weights_sha256={name: file.sha256 for name, file in asset.files.items() if name.endswith(".safetensors")},
        shard=shard,
        seed=seed,
        decoding="greedy",
        device=speech_lm.device.type,
        dtype=str(speech_lm.dtype),
    )
    partial.remove()


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: answer_questions_base(
            *(Path(s.input[name]) for name in ("questions", "manifest", "backbone")),
            *(Path(s.output[name]) for name in ("text", "asr")),
            PartialBatches.of_step(s),
            **{name: s.params[name] for name in ("checkpoint", "shard", "max_new_tokens", "evaluation")},
            system_prompt=s.params.system_prompt,
            seed=s.params.seed,
        ),
    )
