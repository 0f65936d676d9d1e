"""Training samples: each kept instruction once as speech and once as text, with the same answer."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from workflow_scripts.artifacts.answers import ANSWERS
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.kept import check_ids
from workflow_scripts.artifacts.questions import QUESTIONS, Question
from workflow_scripts.artifacts.utterances import UTTERANCES
from workflow_scripts.speech_lm.families.chat import ChatTemplate
from workflow_scripts.training.online import Features

logger = logging.getLogger(__name__)
TRAIN, HELDOUT = "train", "heldout"
SPLITS = (TRAIN, HELDOUT)
"""Prefixes of the prompts' ids; `heldout` prompts are for the learning curve and never trained on."""


@dataclass(frozen=True)
class Instruction:
    """One instruction with its answer.

    Attributes:
        prompt_ids: the written prompt inside the chat template.
        answer_ids: what the model is trained to say, without end token.
        ended: whether the answer ends there; the end token is then trained too.
        frames: encoder frames of the speech.
    """

    id: str
    prompt_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]
    ended: bool
    frames: int


@dataclass(frozen=True, eq=False)
class Sample:
    """One training sample; `features` (frames, d_enc) float32 for the spoken form, None for the written one."""

    instruction: Instruction
    features: np.ndarray | None


def split_of(question: Question) -> str:
    """`train` or `heldout`: the part of the id before the dash.

    Raises:
        ArtifactError: the id has neither; it is no training prompt.
    """
    split = question.id.partition("-")[0]
    if split not in SPLITS:
        raise ArtifactError(
            f"question {question.id!r}: ids of training prompts start with one of {[f'{name}-' for name in SPLITS]}; "
            "give training the questions.jsonl of the instructions"
        )
    return split


def kept_questions(questions: Path, manifest: Path, features: Features) -> dict[str, list[Question]]:
    """Prompts per split whose audio was kept and encoded.

    Raises:
        ArtifactError: questions and manifest do not have the same ids, a kept utterance has no features, or no training
            prompt is left.
    """
    asked, utterances = QUESTIONS.read(questions), {row.id: row.kept for row in UTTERANCES.read(manifest)}
    check_ids(questions, [question.id for question in asked], manifest, utterances)
    check_ids(manifest, utterances, questions, [question.id for question in asked])
    by_split: dict[str, list[Question]] = {split: [] for split in SPLITS}
    for question in asked:
        if not utterances[question.id]:
            continue
        if question.id not in features:
            raise ArtifactError(f"{manifest}: {question.id!r} is kept but has no features; encode the speech again")
        by_split[split_of(question)].append(question)
    for split, found in by_split.items():
        logger.info("%d %s prompts with speech", len(found), split)
        if not found:
            raise ArtifactError(f"{manifest}: no {split} prompt was kept; raise speech.training_wer_limit")
    return by_split


def load_instructions(
    questions: Sequence[Question], answers: Path, features: Features, template: ChatTemplate
) -> list[Instruction]:
    """Instructions with the base model's answers; prompts with an empty answer are left out and counted in the log.

    Raises:
        ArtifactError: a question has no answer, as the answers are older than the questions; or all answers are empty.
    """
    by_id = {answer.id: answer for answer in ANSWERS.read(answers)}
    loaded = []
    for question in questions:
        if question.id not in by_id:
            raise ArtifactError(f"{answers}: no answer to {question.id!r}; delete it and run again")
        answer = by_id[question.id]
        if answer.token_ids:
            loaded.append(
                Instruction(
                    id=question.id,
                    prompt_ids=template.write(question.prompt).input_ids,
                    answer_ids=tuple(answer.token_ids),
                    ended=answer.finish_reason == "stop",
                    frames=features.frames(question.id),
                )
            )
    if len(loaded) < len(questions):
        logger.info("%d prompts left out: the base model's answer is empty", len(questions) - len(loaded))
    if not loaded:
        raise ArtifactError(
            f"{answers}: the answers to all {len(questions)} {split_of(questions[0])} prompts are empty; ask more "
            "prompts (training.instructions.prompts and heldout), change backbone or system_prompt, or take answers "
            "that come with the data (response in training.instructions.sources)"
        )
    return loaded


class InstructionDataset(Dataset[Sample]):
    """N instructions as 2N samples: index i < N is instruction i spoken, N + i the same instruction written."""

    def __init__(self, instructions: Iterable[Instruction], features: Features) -> None:
        self.instructions = list(instructions)
        self._features = features

    def __len__(self) -> int:
        return 2 * len(self.instructions)

    def __getitem__(self, index: int) -> Sample:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Sample]:
        """The samples of a batch (torch's loader asks so), their features together."""
        n = len(self.instructions)
        chosen = [self.instructions[index % n] for index in indices]
        features = iter(self._features.several([one.id for one, index in zip(chosen, indices) if index < n]))
        return [Sample(one, next(features) if index < n else None) for one, index in zip(chosen, indices)]
