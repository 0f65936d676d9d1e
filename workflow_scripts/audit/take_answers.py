"""answers.jsonl of a model of family `answers`: what another program recorded, joined to the study's questions.

Answers of a subset and form are joined by the first of these that gives every kept question one answer: the question's
id, its prompt, the number of its row in the raw data (harnesses count samples from 0). Answers to other questions are
left out.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from workflow_scripts.artifacts.answers import ANSWERS, AnswerRecord
from workflow_scripts.artifacts.files import sha256_text
from workflow_scripts.artifacts.kept import read_shard
from workflow_scripts.artifacts.provenance import provenance
from workflow_scripts.artifacts.questions import Question
from workflow_scripts.audit.given import AuditError, GivenAnswer
from workflow_scripts.audit.harnesses import read_answers

logger = logging.getLogger(__name__)

KEYS: Mapping[str, tuple[str, Callable[[Question], str]]] = {
    "id": ("id", lambda question: question.id),
    "prompt": ("text", lambda question: " ".join(question.prompt.split())),
    "row": ("id", lambda question: str(question.source.get("row"))),
}
"""What an answer can be joined by: the key of the answer, and the value that the question has for it."""


def take_answers(
    questions: Path,
    manifest: Path,
    files: Sequence[Path],
    answers: Path,
    *,
    model: str,
    harness: str,
    form: str,
    shard: str,
    seed: int,
) -> None:
    """Write the answers of one form to the kept questions of a shard.

    Args:
        files: what the harness wrote for the subset in this form.
        seed: of the split into shards.

    Raises:
        AuditError: a file cannot be read, a kept question has no answer or two, or the harness failed on one.
    """
    asked = read_shard(Path(questions), Path(manifest), shard, seed)
    given = [one for path in files for one in read_answers(Path(path), harness)]
    key, found = _joined([question for question, _ in asked.kept], given, files)
    if failed := [one for one in found.values() if one.failed]:
        raise AuditError(
            f"{failed[0].place}: {failed[0].failed}, and so for {len(failed)} of {len(found)} questions; a failure is "
            "no wrong answer: let the other program answer them again, or take them out of the study's questions"
        )
    carried = {
        question.id: {"text": question.prompt, "speech": question.spoken, "asr": utterance.transcript or ""}[form]
        for question, utterance in asked.kept
    }
    records = [
        AnswerRecord(
            id=question.id,
            form=form,
            prompt_hash=sha256_text(carried[question.id])[:16],
            answer=found[question.id].answer,
            token_ids=[],
            finish_reason=found[question.id].finish_reason,
            seconds=0.0,
        )
        for question, _ in asked.kept
    ]
    facts = {"model": model, "checkpoint": "final", "joined_by": key, "shard": shard, "seed": seed}
    settings = {"harness": harness, "files": [str(path) for path in files]}
    ANSWERS.write(Path(answers), records, provenance(settings, **facts, form=form, dropped=asked.dropped))
    logger.info("%s: %d answers joined by %s, %d others left out", form, len(found), key, len(given) - len(found))


def _joined(
    asked: Sequence[Question], given: Sequence[GivenAnswer], files: Sequence[Path]
) -> tuple[str, dict[str, GivenAnswer]]:
    """The key that joins, and the answer of each question by its id."""
    problems = []
    for name, (key, value_of) in KEYS.items():
        by_value: dict[str, list[GivenAnswer]] = {}
        for one in given:
            by_value.setdefault(one.keys.get(key, ""), []).append(one)
        found = {question.id: by_value.get(value_of(question), []) for question in asked}
        if all(len(some) == 1 for some in found.values()):
            return name, {question: some[0] for question, some in found.items()}
        lacking = [question for question, some in found.items() if not some]
        if len(lacking) == len(asked):
            problems.append(f"by {name}: none")
        elif lacking:
            problems.append(f"by {name}: {len(lacking)} of {len(asked)} lack one, such as {lacking[0]!r}")
        else:
            first, second = next(some for some in found.values() if len(some) > 1)[:2]
            problems.append(f"by {name}: {second.place} answers the question of {first.place} again")
    raise AuditError(
        f"{', '.join(map(str, files))}: not one answer to each of the {len(asked)} questions; joined "
        f"{'; '.join(problems)}. Give the answers to all questions of this subset, and of no other"
    )


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: take_answers(
            s.input.questions,
            s.input.manifest,
            s.input.answers,
            s.output.answers,
            **{name: s.params[name] for name in ("model", "harness", "form", "shard", "seed")},
        ),
    )
