"""Twelve spoken instructions with random features and a tiny random llama, as files of the stages before training."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tiny_study import write_tiny_study
from workflow_scripts.artifacts.answers import ANSWERS, AnswerRecord
from workflow_scripts.artifacts.checkpoints import CheckpointIndex
from workflow_scripts.artifacts.features import FeatureReader, write_features
from workflow_scripts.artifacts.questions import QUESTIONS, Question
from workflow_scripts.artifacts.utterances import UTTERANCES, Utterance
from workflow_scripts.settings.families.composite import TrainedModel
from workflow_scripts.settings.training import RecipeSettings
from workflow_scripts.training.initial_model import new_lslm
from workflow_scripts.training.train_model import train_model

torch.set_num_threads(1)
D_ENCODER = 16
SENTENCES = ("the red house", "a small dog", "we like rain", "open the door", "birds can fly", "tea is hot")


@dataclass(frozen=True)
class Instructions:
    """Inputs of the training steps; `backbone` is a model folder."""

    questions: Path
    manifest: Path
    features: Path
    answers: Path
    backbone: Path

    def paths(self) -> tuple[Path, ...]:
        """In the order of the steps' arguments."""
        return self.questions, self.manifest, self.features, self.answers, self.backbone


def write_instructions(folder: Path, n_train: int = 10, n_heldout: int = 2, ended=lambda n: n % 2 == 0) -> Instructions:
    """Every third prompt is to be repeated; frames grow with the prompt's number."""
    study = write_tiny_study(folder / "study", n=2, dropped=(), n_layers=2)
    paths = Instructions(*(folder / name for name in ("q.jsonl", "m.jsonl", "f.h5", "a.jsonl")), study.backbone.parent)
    ids = [f"train-{n:05d}" for n in range(n_train)] + [f"heldout-{n:05d}" for n in range(n_heldout)]
    asked = [_question(name, number) for number, name in enumerate(ids)]
    QUESTIONS.write(paths.questions, asked, {})
    # Long enough for CTC with one token per byte.
    frames = [5 * (3 * len(question.spoken) + number) for number, question in enumerate(asked)]
    UTTERANCES.write(
        paths.manifest,
        [
            Utterance(
                id=name, audio=None, sha256=None, seconds=n / 50, sample_rate=16000, kept=True, attempts=1, wer=0.0
            )
            for name, n in zip(ids, frames)
        ],
        {},
    )
    rng = np.random.default_rng(0)
    blocks = ((k, rng.standard_normal((n, D_ENCODER), dtype=np.float32)) for k, n in enumerate(frames))
    write_features(paths.features, ids, [n / 50 for n in frames], frames, D_ENCODER, blocks, {})
    ANSWERS.write(paths.answers, [_answer(question, n, ended(n)) for n, question in enumerate(asked)], {})
    return paths


def _question(name: str, number: int) -> Question:
    sentence = SENTENCES[number % len(SENTENCES)] + " " + "abcdefghijklmnop"[number]
    repeat = number % 3 == 0
    return Question(
        id=name,
        subset="instructions",
        prompt=("say " if repeat else "") + sentence,
        spoken=("say " if repeat else "") + sentence,
        reference=[sentence] if repeat else [],
        scorer="repeat" if repeat else "short_answer",
        source={},
    )


def _answer(question: Question, number: int, ended: bool) -> AnswerRecord:
    return AnswerRecord(
        id=question.id,
        form="text",
        prompt_hash="0" * 16,
        answer="",
        token_ids=[10 + number, 40 + number, 80 + number],
        finish_reason="stop" if ended else "length",
        seconds=0.0,
    )


def recipe_values(**changes) -> dict:
    """A recipe for the tiny model as a step gets it."""
    return {
        "warmup": "none",
        "adapter": {"hidden_size": 24},
        "learning_rate": {"lora": 1e-2, "full": 1e-2},
        "batch_size": 4,
        "written_share": 0.25,
        "checkpoint_steps": [0, 2, 4, 6],
        "warmup_ratio": 0.1,
        **changes,
    }


def model_values(**changes) -> dict:
    """A model entry as a step gets it."""
    return {
        "backbone": "tiny-llama",
        "encoder": "tiny-whisper",
        "strategy": "lora",
        "recipe": "tiny",
        "seed": 3,
    } | changes


@pytest.fixture(scope="session")
def instructions(tmp_path_factory) -> Instructions:
    return write_instructions(tmp_path_factory.mktemp("instructions"))


@pytest.fixture(scope="session")
def make_instructions():
    return write_instructions


@pytest.fixture(scope="session")
def recipe():
    return recipe_values


@pytest.fixture(scope="session")
def model_entry():
    return model_values


@pytest.fixture
def train_distilled(instructions, recipe, model_entry):
    """Trains the tiny model with a loss beside the answers; gives the checksums of its checkpoints."""

    def run(folder, distill=None, entry=None, **changes):
        train_model(
            *instructions.paths(),
            None,
            folder / "checkpoints.json",
            folder / "log.csv",
            name="tiny",
            model=model_entry(**({} if distill is None else {"distill": distill}), **(entry or {})),
            recipe=recipe(**changes),
            system_prompt=None,
        )
        index = CheckpointIndex.read(folder / "checkpoints.json")
        return {made.name: made.sha256 for made in index.checkpoints}

    return run


@pytest.fixture
def tiny_lslm(instructions, recipe, model_entry):
    reader = FeatureReader(instructions.features)
    settings = RecipeSettings.model_validate(recipe())
    model = new_lslm(instructions.backbone, reader.width, TrainedModel.model_validate(model_entry()), settings, None)
    return model.float()
