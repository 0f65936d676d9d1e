"""What the sample browser shows: a few spoken questions of each subset with every model's three answers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.answers import ANSWERS, FORMS, AnswerRecord
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.questions import QUESTIONS, Question
from workflow_scripts.artifacts.scores import QuestionScore, ScoreFile
from workflow_scripts.artifacts.utterances import UTTERANCES, Utterance
from workflow_scripts.report.audio import mp3_uri
from workflow_scripts.scoring.question_formats import reference_answer

RIGHT = 0.5
"""A score from here on counts as right, for choosing samples and for their marks."""

MAX_AUDIO = 4_000_000
"""Characters of all recordings on the page, shared evenly among the subsets: the page stays small enough to open."""
MAX_TEXT = 2_000
"""Characters shown of a text; the whole text is in its file."""

Answered = dict[str, dict[str, tuple[AnswerRecord, QuestionScore]]]
"""form -> question id -> answer and score, of one model on one subset"""


def build_samples(
    subsets: Sequence[str],
    questions: Sequence[Path],
    utterances: Sequence[Path],
    answers: Sequence[Path],
    scores: Sequence[Path],
    n: int,
) -> list[dict[str, Any]]:
    """Samples of each subset, in JSON types.

    Args:
        questions, utterances: one file per subset, in the order of `subsets`; audio lies below the utterances' folder.
        answers, scores: files of any models, shards and forms. An answer file belongs to the score files in its folder.
        n: samples per subset.

    Raises:
        ArtifactError: an answer file has no scores beside it, or a question chosen has no answer, score or audio.
    """
    answered = read_answers(answers, scores)
    content = []
    for subset, question_file, utterance_file in zip(subsets, questions, utterances, strict=True):
        asked = {question.id: question for question in QUESTIONS.read(question_file)}
        heard = {row.id: row for row in UTTERANCES.read(utterance_file) if row.kept}
        by_model = {model: forms for (model, own), forms in answered.items() if own == subset}
        chosen = choose_ids({name: _was_right(name, by_model) for name in asked if name in heard}, n)
        samples = [_sample(asked[name], heard[name], by_model, Path(utterance_file).parent) for name in chosen]
        left = MAX_AUDIO // len(subsets)
        for sample in samples:
            left -= len(sample["audio"])
            if left < 0:
                sample["audio"] = None
        content.append({"subset": subset, "n": len(heard), "samples": samples})
    return content


def read_answers(answers: Sequence[Path], scores: Sequence[Path]) -> dict[tuple[str, str], Answered]:
    """Answers with their scores by (model, subset); shards are joined."""
    files = {(Path(path).parent, (file := ScoreFile.read(path)).form): file for path in scores}
    records: dict[tuple[Path, str], dict[str, AnswerRecord]] = {key: {} for key in files}
    for path in sorted(map(Path, answers)):
        for record in ANSWERS.read(path):
            if (path.parent, record.form) not in files:
                raise ArtifactError(f"{path}: no {record.form}.scores.json beside it; run the scoring step first")
            records[path.parent, record.form][record.id] = record
    found: dict[tuple[str, str], Answered] = {}
    for (folder, form), file in files.items():
        answered, scored = records[folder, form], {row.id: row for row in file.questions}
        if odd := sorted(answered.keys() ^ scored.keys()):
            raise ArtifactError(
                f"{folder}: answers and scores of form {form} cover other questions, such as {odd[:5]}; score again"
            )
        forms = found.setdefault((file.model, file.subset), {})
        forms[form] = {name: (answered[name], row) for name, row in scored.items()}
    return found


def choose_ids(right: Mapping[str, bool], n: int) -> list[str]:
    """At most `n` ids, half of them right if there are as many, evenly spaced over the sorted ids of either kind."""
    kinds = [sorted(name for name in right if right[name] == kind) for kind in (True, False)]
    wanted = min(n, len(right))
    from_right = min(len(kinds[0]), max(wanted // 2, wanted - len(kinds[1])))
    return sorted(spread(kinds[0], from_right) + spread(kinds[1], wanted - from_right))


def spread(items: Sequence[str], n: int) -> list[str]:
    """`n` of the items, evenly spaced from the first to the last."""
    if n <= 1:
        return list(items[:n])
    return [items[round(k * (len(items) - 1) / (n - 1))] for k in range(n)]


def _was_right(name: str, by_model: Mapping[str, Answered]) -> bool:
    """Whether any model's spoken answer is right."""
    speech = [forms["speech"][name][1].score for forms in by_model.values() if name in forms.get("speech", {})]
    return max(speech, default=0.0) >= RIGHT


def _sample(question: Question, heard: Utterance, by_model: Mapping[str, Answered], folder: Path) -> dict[str, Any]:
    if heard.audio is None:
        raise ArtifactError(f"{folder / 'manifest.jsonl'}: {question.id!r} is kept but has no audio; make it again")
    return {
        "id": question.id,
        "prompt": _short(question.prompt),
        "spoken": _short(question.spoken),
        "reference": _short(reference_answer(question) or "; ".join(question.reference)),
        "scorer": question.scorer,
        "audio": mp3_uri(heard.audio_file(folder)),
        "seconds": round(heard.seconds, 2),
        "transcript": _short(heard.transcript or ""),
        "wer": None if heard.wer is None else round(100 * heard.wer, 1),
        "models": {
            model: {form: _answer(forms[form].get(question.id)) for form in FORMS if form in forms}
            for model, forms in by_model.items()
        },
    }


def _answer(found: tuple[AnswerRecord, QuestionScore] | None) -> dict[str, Any] | None:
    if found is None:
        return None
    record, score = found
    return {
        "answer": _short(record.answer),
        "score": round(100 * score.score, 1),
        "right": score.score >= RIGHT,
        "outcome": score.outcome,
        "cut": record.finish_reason == "length",
    }


def _short(text: str) -> str:
    """The beginning of a long text, and how much is left out."""
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]} [... {len(text) - MAX_TEXT} characters more]"
