"""The questions of one shard whose utterance was kept: what every form of a comparison is made of."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.questions import QUESTIONS, Question
from workflow_scripts.artifacts.shards import select_shard
from workflow_scripts.artifacts.utterances import UTTERANCES, Utterance


@dataclass(frozen=True)
class ShardQuestions:
    """The questions of one shard.

    Attributes:
        kept: question and utterance, in the order of questions.jsonl.
        dropped: ids of the shard's questions that the speech stage dropped.
    """

    kept: list[tuple[Question, Utterance]]
    dropped: list[str]

    @property
    def ids(self) -> list[str]:
        """Ids of the kept questions."""
        return [question.id for question, _ in self.kept]


def read_shard(questions: Path, manifest: Path, shard: str, seed: int) -> ShardQuestions:
    """The questions of a shard with their utterances.

    Raises:
        ArtifactError: questions and manifest do not have the same ids (names the first ones and the file they are
            missing from), the shard holds questions of several subsets, a kept utterance has no transcript, or none
            was kept.
    """
    asked, utterances = QUESTIONS.read(questions), {row.id: row for row in UTTERANCES.read(manifest)}
    check_ids(questions, [question.id for question in asked], manifest, utterances)
    check_ids(manifest, utterances, questions, {question.id for question in asked})
    mine = select_shard(asked, shard, seed)
    if len(subsets := sorted({question.subset for question in mine})) > 1:
        raise ArtifactError(f"{questions}: questions of several subsets, {subsets}; one file holds one subset")
    kept = [(question, utterances[question.id]) for question in mine if utterances[question.id].kept]
    if not kept:
        raise ArtifactError(
            f"{manifest}: none of the {len(mine)} question(s) of shard {shard} was kept; see `reason` there, "
            "relax the filters of the speech stage or make shards larger"
        )
    if silent := [question.id for question, utterance in kept if utterance.transcript is None]:
        raise ArtifactError(f"{manifest}: kept question(s) {silent[:5]} have no transcript; run the ASR step again")
    return ShardQuestions(kept, [question.id for question in mine if not utterances[question.id].kept])


def check_ids(source: Path, wanted: Iterable[str], target: Path, found: Iterable[str] | Mapping[str, Any]) -> None:
    """Check that every id of `source` is also in `target`.

    Raises:
        ArtifactError: names the first five missing ids and the file they are missing from.
    """
    found = set(found)
    if missing := [name for name in wanted if name not in found]:
        raise ArtifactError(
            f"{target}: {len(missing)} id(s) of {source} are missing, the first are {missing[:5]}; "
            f"one of the two files is older than the other: delete {target} and run again"
        )
