"""Answers that another program recorded become those of a model of the study."""

import pytest

from tests.audit.answer_files import lines
from workflow_scripts.artifacts.answers import ANSWERS
from workflow_scripts.artifacts.questions import QUESTIONS, Question
from workflow_scripts.artifacts.utterances import UTTERANCES, Utterance
from workflow_scripts.audit.given import AuditError
from workflow_scripts.audit.take_answers import take_answers

PROMPTS = ("Who wrote Hamlet?", "What is dry?", "Where is Vienna?", "Too long to be heard?")


@pytest.fixture
def asked(tmp_path):
    """Four questions, rows 10 to 13 of their data; the last was dropped by the speech stage."""
    questions, heard = [], []
    for number, prompt in enumerate(PROMPTS):
        facts = {"subset": "mine", "reference": ["x"], "scorer": "short_answer"}
        name = f"mine-{number}"
        questions.append(Question(id=name, prompt=prompt, spoken=prompt, source={"row": 10 + number}, **facts))
        kept = number < 3
        heard.append(
            Utterance(
                **{"id": name, "audio": f"audio/{name}.flac", "sha256": None, "seconds": 1, "sample_rate": 16_000},
                **{"transcript": prompt, "wer": 0, "kept": kept, "reason": "" if kept else "long", "attempts": 1},
            )
        )
    QUESTIONS.write(tmp_path / "questions.jsonl", questions, {})
    UTTERANCES.write(tmp_path / "manifest.jsonl", heard, {})
    return tmp_path


def take(folder, rows, harness="jsonl", form="speech"):
    file = lines(folder / "given.jsonl", rows)
    options = {"model": "closed", "harness": harness, "form": form, "shard": "00-of-01", "seed": 1}
    take_answers(folder / "questions.jsonl", folder / "manifest.jsonl", [file], folder / "answers.jsonl", **options)
    return ANSWERS.read_with_header(folder / "answers.jsonl")


@pytest.mark.parametrize(
    "joined, row",
    [
        ("id", lambda number: {"id": f"mine-{number}", "answer": f"a{number}"}),
        ("prompt", lambda number: {"prompt": f" {PROMPTS[number]}\n", "answer": f"a{number}"}),
        ("row", lambda number: {"id": 10 + number, "answer": f"a{number}"}),
    ],
)
def test_answers_are_joined_by_id_else_prompt_else_row_in_any_order(asked, joined, row):
    records, header = take(asked, [row(number) for number in (3, 2, 0, 1)])
    assert [(one.id, one.answer) for one in records] == [(f"mine-{number}", f"a{number}") for number in range(3)]
    assert header["provenance"]["joined_by"] == joined and header["provenance"]["dropped"] == ["mine-3"]


def test_a_recorded_finish_reason_is_kept(asked):
    rows = [{"id": f"mine-{number}", "answer": "a", "finish_reason": "length"} for number in range(3)]
    assert {one.finish_reason for one in take(asked, rows)[0]} == {"length"}


def test_a_question_without_an_answer_is_named(asked):
    with pytest.raises(AuditError, match=r"given.jsonl: not one answer to each of the 3 .* by id: 1 of 3 .* 'mine-1'"):
        take(asked, [{"id": f"mine-{number}", "answer": "a"} for number in (0, 2)])


def test_answers_of_another_subset_are_none(asked):
    with pytest.raises(AuditError, match="joined by id: none; by prompt: none; by row: none"):
        take(asked, [{"id": f"other-{number}", "prompt": "What else?", "answer": "a"} for number in range(3)])


def test_two_answers_to_one_question_are_named_by_line(asked):
    rows = [{"id": f"mine-{number}", "answer": "a"} for number in (0, 1, 2, 1)]
    with pytest.raises(AuditError, match=r"given.jsonl, line 4 answers the question of .*given.jsonl, line 2 again"):
        take(asked, rows)


def test_a_failure_that_the_harness_recorded_is_no_wrong_answer(asked):
    rows = [{"index": f"mine-{number}", "prediction": "null" if number == 1 else "a"} for number in range(3)]
    with pytest.raises(AuditError, match="line 2: the harness recorded 'null', and so for 1 of 3 questions"):
        take(asked, rows, harness="kimi-evalkit")
