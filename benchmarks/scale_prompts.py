"""Training prompts: spoken, split into shards, and joined to an index. Nothing here imports torch."""

import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.artifacts.questions import QUESTIONS, Question
from workflow_scripts.artifacts.shards import select_shard, shard_names
from workflow_scripts.artifacts.utterances import SYNTHESIS, UTTERANCES, Utterance
from workflow_scripts.shards.join_shards import join_shards
from workflow_scripts.shards.split_prompts import split_prompts
from workflow_scripts.speech import engines
from workflow_scripts.speech.synthesize_speech import synthesize_speech

SEED = 2510
SHARD = 500
"""Prompts per shard."""
RATE, SECONDS = 16_000, 0.4
TEXT = "what is the name of the river that runs through town"


class Tones:
    """An `Engine`: a tone in a pitch of the prompt's own."""

    def __init__(self, *_: Any) -> None:
        pass

    def say(self, question: Question) -> tuple[np.ndarray, int]:
        """The samples and their rate."""
        pitch = 120 + zlib.crc32(question.spoken.encode()) % 400
        return 0.3 * np.sin(2 * np.pi * pitch / RATE * np.arange(int(RATE * SECONDS))), RATE


def prepare(folder: Path, n: int) -> list[str]:
    """Prompts, one in ten of them held out, and their manifest, whole and in shards; gives the ids."""
    ids = [f"{'heldout' if k % 10 == 0 else 'train'}-{k:06d}" for k in range(n)]
    asked = [
        Question(
            id=name,
            subset="instructions",
            prompt=f"{TEXT} {k:06d}",
            spoken=f"{TEXT} {k:06d}",
            reference=[],
            scorer="short_answer",
            source={"asset": "made", "file": "prompts.csv", "row": k},
        )
        for k, name in enumerate(ids)
    ]
    QUESTIONS.write(folder / "questions.jsonl", asked, {})
    facts = {"sha256": "0" * 64, "seconds": SECONDS, "sample_rate": RATE, "kept": True, "attempts": 1}
    spoken = [Utterance(id=name, audio=f"audio/{name}.flac", **facts) for name in ids]
    UTTERANCES.write(folder / "manifest.jsonl", spoken, {})
    for shard in shard_names(n, SHARD):
        SYNTHESIS.write(folder / "parts" / shard / "synthesis.jsonl", select_shard(spoken, shard, SEED), {})
    return ids


def speech(folder: Path, _: int) -> None:
    """All prompts as one job; with `--threads` above 1 in processes of its own."""
    engines.ENGINES["hibari"] = Tones  # in this process, which ends with the step
    synthesize_speech(
        folder / "questions.jsonl",
        folder / "speech" / "synthesis.jsonl",
        voice={"engine": "hibari"},
        subset="instructions",
        max_seconds=30,
        retries=0,
        threads=int(os.environ["OMP_NUM_THREADS"]),
    )


def split(folder: Path, n: int) -> None:
    """Into shards of `SHARD` prompts."""
    paths = [folder / "split" / f"{shard}.jsonl" for shard in shard_names(n, SHARD)]
    split_prompts(folder / "questions.jsonl", paths, seed=SEED)


def join(folder: Path, n: int) -> None:
    """The index over what the shards' jobs wrote."""
    parts = [folder / "parts" / shard / "synthesis.jsonl" for shard in shard_names(n, SHARD)]
    join_shards(folder / "questions.jsonl", parts, folder / "joined.jsonl", kind="synthesis")


STEPS = {"speech": speech, "split": split, "join": join}
