"""Every scored answer of a study with its question: what all export formats are made from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from workflow_scripts.artifacts.answers import ANSWERS, AnswerRecord
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.questions import Question, by_subset
from workflow_scripts.artifacts.scores import QuestionScore, ScoreFile


@dataclass(frozen=True)
class Scored:
    """One form of one subset, answered by one checkpoint: questions, answers and scores in one order."""

    file: ScoreFile
    voice: str
    questions: list[Question]
    answers: list[AnswerRecord]

    @property
    def name(self) -> str:
        """`model.checkpoint`: a name without a path separator."""
        return f"{self.file.model}.{self.file.checkpoint}"

    def rows(self) -> Iterator[tuple[Question, AnswerRecord, QuestionScore]]:
        """Question, answer and score of each question."""
        return zip(self.questions, self.answers, self.file.questions, strict=True)


def collect(
    questions: Sequence[Path], answers: Sequence[Path], scores: Sequence[Path], voices: Mapping[str, str]
) -> list[Scored]:
    """One entry per score file, in the order of their paths.

    Args:
        questions: questions.jsonl of every subset. answers: answers.jsonl files, in the folders of their scores.
        voices: voice by subset.

    Raises:
        ArtifactError: a score has no answer or no question; names the score file and the first ids.
    """
    subsets = by_subset(questions)
    given: dict[tuple[Path, str], dict[str, AnswerRecord]] = {}
    for path in sorted(map(Path, answers)):
        for record in ANSWERS.read(path):
            given.setdefault((path.parent, record.form), {})[record.id] = record
    found = []
    for path in sorted(map(Path, scores)):
        file = ScoreFile.read(path)
        asked, of_form = subsets[file.subset], given.get((path.parent, file.form), {})
        if missing := [row.id for row in file.questions if row.id not in of_form or row.id not in asked]:
            raise ArtifactError(f"{path}: no answer or question of {missing[:5]}; delete it and run again")
        ids = [row.id for row in file.questions]
        found.append(Scored(file, voices[file.subset], [asked[name] for name in ids], [of_form[name] for name in ids]))
    return found
