"""Questions, shard by shard, through answers and hidden states of a random model."""

from pathlib import Path

import numpy as np
from transformers.utils.logging import disable_progress_bar

from benchmarks.scale_measures import FORMS, SEED, SHARD, SUBSET, answers_of, measured
from tests.tiny_study import D_ENCODER, FRAMES_PER_SECOND, TinyStudy, write_tiny_study
from workflow_scripts.activations.dump_states import dump_states
from workflow_scripts.artifacts.features import write_features
from workflow_scripts.artifacts.partial import PartialBatches
from workflow_scripts.artifacts.questions import QUESTIONS, Question
from workflow_scripts.artifacts.shards import shard_names
from workflow_scripts.artifacts.utterances import UTTERANCES, Utterance
from workflow_scripts.evaluation.answer_questions import answer_questions

ANSWER_TOKENS = 4
disable_progress_bar()
EVALUATION = {"batch_size": 64, "max_positions": 24576, "option_log_probs": True}


def study_in(folder: Path) -> TinyStudy:
    """Paths of the study that `prepare` wrote."""
    files = {"questions": "questions.jsonl", "manifest": "manifest.jsonl", "features": "features.h5"}
    files |= {"model": "model/checkpoints.json", "backbone": "backbone/asset.json", "encoder": "encoder/asset.json"}
    return TinyStudy(**{name: folder / path for name, path in files.items()})


def prepare(folder: Path, n: int) -> None:
    """A random model of three layers of width 32, and n questions of like lengths."""
    study = write_tiny_study(folder, n=1, dropped=())
    asked = []
    for k in range(n):
        prompt = "what is the water in the river " + "and " * (k % 4) + f"{k:05d}"
        asked.append(
            Question(
                id=f"q{k:05d}",
                subset=SUBSET,
                prompt=prompt,
                spoken=prompt,
                reference=["the river"],
                scorer="short_answer",
                source={"asset": "made", "row": k},
            )
        )
    QUESTIONS.write(study.questions, asked, {})
    frames = [60 + 11 * (k % 5) for k in range(n)]
    seconds = [length / FRAMES_PER_SECOND for length in frames]
    facts = {"audio": None, "sha256": None, "sample_rate": 16_000, "wer": 0.0, "kept": True, "attempts": 1}
    heard = [
        Utterance(id=one.id, seconds=length, transcript=one.prompt.replace("river", "liver"), **facts)
        for one, length in zip(asked, seconds)
    ]
    UTTERANCES.write(study.manifest, heard, {})
    rng = np.random.default_rng(SEED)
    blocks = ((k, rng.standard_normal((length, D_ENCODER), dtype=np.float32)) for k, length in enumerate(frames))
    write_features(study.features, [one.id for one in asked], seconds, frames, D_ENCODER, blocks, {})


def answers(folder: Path, n: int) -> None:
    """In all forms, with the loss of the reference."""
    study = study_in(folder)
    for shard in shard_names(n, SHARD):
        answer_questions(
            study.questions,
            study.manifest,
            study.features,
            study.source,
            *(answers_of(folder, form, shard) for form in FORMS),
            PartialBatches(answers_of(folder, FORMS[0], shard), "of this run"),
            shard=shard,
            max_new_tokens=ANSWER_TOKENS,
            evaluation=EVALUATION,
            seed=SEED,
        )


def states(folder: Path, n: int) -> None:
    """Of both forms at every layer."""
    study = study_in(folder)
    for shard in shard_names(n, SHARD):
        dump_states(
            study.questions,
            study.manifest,
            study.features,
            study.source,
            measured(folder, "states", shard),
            shard=shard,
            activations={},
            seed=SEED,
        )


STEPS = {"answers": answers, "states": states}
