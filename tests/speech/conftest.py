"""A tiny random Whisper, and a few utterances of noise."""

import numpy as np
import pytest
import torch

from tests.speech.tiny_whisper import write_tiny_whisper
from workflow_scripts.artifacts.files import sha256_file
from workflow_scripts.artifacts.questions import QUESTIONS, Question
from workflow_scripts.artifacts.utterances import SYNTHESIS, Utterance
from workflow_scripts.speech.audio import write_flac

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_whisper(tmp_path_factory: pytest.TempPathFactory):
    """The folder of the tiny Whisper, as a fetched asset."""
    folder = write_tiny_whisper(tmp_path_factory.mktemp("whisper"))
    (folder / "asset.json").write_text("{}")
    return folder


@pytest.fixture
def spoken_subset(tmp_path):
    """questions.jsonl, synthesis.jsonl and noise audio of 0.3 to 6.2 s; the second utterance was dropped."""
    random = np.random.default_rng(0)
    questions, utterances = [], []
    for i, seconds in enumerate([0.7, 1.0, 6.2, 0.3, 2.0]):
        name = f"made-{i}"
        facts = {"subset": "made", "reference": [], "scorer": "short_answer", "source": {}}
        questions.append(Question(id=name, prompt="five little words are here", spoken="Five little words.", **facts))
        kept = i != 1
        if kept:
            samples = random.normal(size=round(16_000 * seconds)).astype(np.float32) * 0.1
            write_flac(tmp_path / "audio" / f"{name}.flac", samples)
        utterances.append(
            Utterance(
                id=name,
                audio=f"audio/{name}.flac" if kept else None,
                sha256=sha256_file(tmp_path / "audio" / f"{name}.flac") if kept else None,
                seconds=seconds if kept else 0,
                sample_rate=16_000,
                kept=kept,
                reason="" if kept else "the audio is silent",
                attempts=1,
            )
        )
    QUESTIONS.write(tmp_path / "questions.jsonl", questions, {})
    SYNTHESIS.write(tmp_path / "synthesis.jsonl", utterances, {})
    return tmp_path
