"""A study of a few spoken questions with a tiny random Qwen2-Audio: files as the earlier stages would leave them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from tests.speech_lm.tiny_models import build
from tests.speech_lm.tiny_sizes import TEXT
from workflow_scripts.artifacts.questions import QUESTIONS, Question
from workflow_scripts.artifacts.utterances import UTTERANCES, Utterance
from workflow_scripts.settings.families.hf import HfModel

RATE = 16_000


@dataclass(frozen=True)
class PublicStudy:
    """Questions, manifest with FLAC files beside it, and the folder of the model's weights."""

    questions: Path
    manifest: Path
    model: Path


def save_tiny(folder: Path, name: str = "qwen2_audio") -> Path:
    """Model and processor of an architecture in transformers' layout."""
    tiny = build(name)
    tiny.model.save_pretrained(folder)
    tiny.processor.save_pretrained(folder)
    return folder


def entry(**changes: Any) -> dict[str, Any]:
    """Name and settings of the model, as `Plan.public` gives them; float32 for exact comparisons."""
    settings = HfModel.model_validate({"family": "hf", "path": "weights", "dtype": "float32", **changes})
    return {"name": "tiny-public", **settings.model_dump(mode="json")}


def write_public_study(folder: Path, n: int = 4) -> PublicStudy:
    """`n` questions of noise as speech; one of them was dropped."""
    assert TEXT["hidden_size"] == 32
    study = PublicStudy(folder / "questions.jsonl", folder / "speech" / "manifest.jsonl", folder / "weights")
    (folder / "speech" / "audio").mkdir(parents=True)
    asked, heard = [], []
    rng = np.random.default_rng(1)
    for number in range(n):
        prompt = "what is the water in the river " + "and " * (number % 3) + str(number)
        asked.append(
            Question(
                id=f"q{number}",
                subset="tiny",
                prompt=prompt,
                spoken=prompt,
                reference=["the river"] if number % 2 == 0 else [],
                scorer="short_answer",
                source={},
            )
        )
        seconds = 0.6 + 0.2 * number
        samples = (0.1 * rng.standard_normal(int(seconds * RATE))).astype(np.float32)
        audio = f"audio/q{number}.flac"
        soundfile.write(study.manifest.parent / audio, samples, RATE)
        heard.append(
            Utterance(
                id=f"q{number}",
                audio=audio,
                sha256=None,
                seconds=seconds,
                sample_rate=RATE,
                transcript=prompt,
                wer=0.0,
                kept=number != 1,
                reason="" if number != 1 else "word error rate",
                attempts=1,
            )
        )
    QUESTIONS.write(study.questions, asked, {})
    UTTERANCES.write(study.manifest, heard, {})
    save_tiny(study.model)
    return study
