"""What training reads of its prompts: samples over cached features, their order, and batches."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import scale_prompts
from benchmarks.scale_prompts import SECONDS, SEED
from workflow_scripts.artifacts.answers import ANSWERS, AnswerRecord
from workflow_scripts.artifacts.features import FeatureReader, write_features
from workflow_scripts.training.collator import Collator
from workflow_scripts.training.dataset import TRAIN, InstructionDataset, kept_questions, load_instructions
from workflow_scripts.training.sampler import MixedBatchSampler

FRAMES, WIDTH = round(50 * SECONDS), 256
"""Encoder frames of every prompt, and their width."""
BATCH, WRITTEN_SHARE = 16, 0.25


@dataclass(frozen=True)
class Written:
    """What training takes of `ChatTemplate.write`."""

    input_ids: tuple[int, ...]


class Words:
    """In the place of a chat template: one token per word."""

    def write(self, prompt: str) -> Written:
        """A prompt's ids."""
        return Written(tuple(range(len(prompt.split()))))


def prepare(folder: Path, n: int) -> None:
    """Prompts, their answers and features."""
    ids = scale_prompts.prepare(folder, n)
    facts = {"form": "text", "prompt_hash": "0" * 16, "answer": "the river", "finish_reason": "stop", "seconds": 0.1}
    answers = [AnswerRecord(id=name, token_ids=[1 + k % 7] * 12, **facts) for k, name in enumerate(ids)]
    ANSWERS.write(folder / "answers.jsonl", answers, {})
    rng = np.random.default_rng(SEED)
    frames = ((k, rng.standard_normal((FRAMES, WIDTH), dtype=np.float32)) for k in range(n))
    write_features(folder / "features.h5", ids, [SECONDS] * n, [FRAMES] * n, WIDTH, frames, {})


def samples(folder: Path, _: int) -> InstructionDataset:
    """What training reads before its first step."""
    features = FeatureReader(folder / "features.h5")
    asked = kept_questions(folder / "questions.jsonl", folder / "manifest.jsonl", features)[TRAIN]
    return InstructionDataset(load_instructions(asked, folder / "answers.jsonl", features, Words()), features)


def sampler(_: Path, n: int) -> MixedBatchSampler:
    """The order of an epoch of n samples."""
    lengths = [20 + k % 7 for k in range(n)]
    steps = round(n / (BATCH * (1 - WRITTEN_SHARE)))
    order = MixedBatchSampler(lengths, batch_size=BATCH, written_share=WRITTEN_SHARE, steps=steps, seed=SEED)
    for step in range(steps):
        order.batch(step)
    return order


def batches(folder: Path, n: int) -> None:
    """`samples`, and an epoch of them as the model gets it."""
    dataset = samples(folder, n)
    order = sampler(folder, len(dataset.instructions))
    collator = Collator(prefix=(1, 2), suffix=(3,), end_id=0, stack=5)
    for step in range(order.steps):
        collator(dataset.__getitems__(order.batch(step)))


STEPS = {"samples": samples, "sampler": sampler, "batches": batches}
