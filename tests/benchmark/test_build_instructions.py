"""Training prompts: disjoint from the benchmark, in the given shares, the same for the same seed."""

import json
import math
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.questions import QUESTIONS, Question
from workflow_scripts.artifacts.tables import read_table
from workflow_scripts.benchmark.build_instructions import build_instructions, source_quotas
from workflow_scripts.benchmark.layouts import CHOICE_QUESTION
from workflow_scripts.benchmark.near_duplicates import NearDuplicates
from workflow_scripts.scoring.question_formats import reference_answer
from workflow_scripts.settings.training import PromptSource

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def rows(field: str, count: int, prefix: str) -> list[dict[str, str]]:
    return [{field: f"{prefix} {LETTERS[i % 26]}{LETTERS[i // 26]}x thing here"} for i in range(count)]


def question(prompt: str, scorer: str = "short_answer", reference: list[str] | None = None) -> Question:
    number = zlib.crc32(prompt.encode())
    return Question(
        id=f"b-{number}", subset="b", prompt=prompt, spoken=prompt, reference=reference or [], scorer=scorer, source={}
    )


@pytest.fixture
def study(tmp_path: Path):
    folder = tmp_path / "made"
    folder.mkdir()

    def write(name: str, content: list[Any]) -> None:
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")

    write("questions.jsonl", rows("question", 120, "who has the"))
    write("sentences.jsonl", rows("text", 120, "They saw the"))
    shared = [{"question": row["text"]} for row in rows("text", 60, "They saw the")]
    write("shared.jsonl", shared)
    write("taken.jsonl", rows("question", 30, "Who has the"))

    def build(benchmark: list[Question], *, seed: int = 0, name: str = "out", **changes: Any):
        QUESTIONS.write(tmp_path / "benchmark.jsonl", benchmark, {})
        sources = [
            {"asset": "made", "file": "questions.jsonl", "layout": "question", "field": "question", "share": 1},
            {"asset": "made", "file": "sentences.jsonl", "layout": "sentence", "field": "text", "share": 3},
        ]
        for file, content in changes.pop("files", {}).items():
            (folder / file).write_text(content) if isinstance(content, str) else write(file, content)
        sources[0] |= changes.pop("first_source", {})
        settings = {"prompts": 36, "heldout": 8, "sources": sources, **changes}
        out = tmp_path / f"{name}.jsonl"
        build_instructions(
            [folder / "asset.json"],
            [tmp_path / "benchmark.jsonl"],
            out,
            tmp_path / "f.csv",
            settings=settings,
            seed=seed,
        )
        return QUESTIONS.read(out), read_table(tmp_path / "f.csv", "filters").to_dict("records")

    return build


def test_benchmark_texts_never_occur_whatever_their_form(study) -> None:
    taken = [f"who has the {LETTERS[i % 26]}{LETTERS[i // 26]}x thing here" for i in range(100)]
    sentences = [f"They saw the {LETTERS[i % 26]}{LETTERS[i // 26]}x thing here" for i in range(80)]
    benchmark = [question(text.upper() + "?") for text in taken[:50]]
    benchmark += [question(f"{text}\nA. x\nB. y\nC. z\nD. w\nWhat?", "multiple_choice", ["A"]) for text in taken[50:]]
    benchmark += [question(f"Repeat after me: {text}!", "repeat", [text]) for text in sentences]
    found, filters = study(benchmark)
    cores = {prompt.prompt.removeprefix("Repeat after me: ") for prompt in found}
    assert not cores & {*taken, *sentences}
    assert {"filter": "in the benchmark", "dropped": 180, "kept_after": 60} in filters


def test_shares_splits_and_ids(study) -> None:
    found, filters = study([])
    assert Counter(prompt.source["file"] for prompt in found) == {"questions.jsonl": 11, "sentences.jsonl": 33}
    ids = [prompt.id for prompt in found]
    assert ids == [f"train-{i:05d}" for i in range(1, 37)] + [f"heldout-{i:05d}" for i in range(1, 9)]
    assert {prompt.subset for prompt in found} == {"instructions"}
    assert filters[-1]["kept_after"] == 44
    # Both splits mix the sources.
    assert len({prompt.source["file"] for prompt in found[:36]}) == 2


def test_layouts_decide_scorer_and_reference(study) -> None:
    found, _ = study([])
    for prompt in found:
        if prompt.source["file"] == "sentences.jsonl":
            assert prompt.scorer == "repeat"
            assert prompt.prompt == f"Repeat after me: {prompt.reference[0]}"
        else:
            assert (prompt.scorer, prompt.reference) == ("short_answer", [])


def test_same_seed_same_prompts(study) -> None:
    first, again, other = (study([], seed=seed, name=name)[0] for seed, name in ((1, "a"), (1, "b"), (2, "c")))
    assert first == again
    assert [p.prompt for p in first] != [p.prompt for p in other]


def test_excluded_file_and_word_bounds_apply(study) -> None:
    found, filters = study([], first_source={"exclude_file": "taken.jsonl"})
    excluded = {f"who has the {LETTERS[i % 26]}{LETTERS[i // 26]}x thing here" for i in range(30)}
    assert not excluded & {prompt.prompt for prompt in found}
    assert any(row["filter"] == "in the excluded file" and row["dropped"] == 30 for row in filters)
    with pytest.raises(ArtifactError, match="120 too few words"):
        study([], min_words=7)


def test_a_text_of_two_sources_is_used_once(study) -> None:
    found, filters = study([], first_source={"file": "shared.jsonl"})
    cores = [prompt.prompt.removeprefix("Repeat after me: ") for prompt in found]
    assert len(set(cores)) == len(cores)
    assert any(row["filter"] == "in an earlier source" and row["dropped"] == 60 for row in filters)


def test_too_few_prompts_names_file_and_numbers(study) -> None:
    with pytest.raises(ArtifactError, match=r"sentences\.jsonl: 120 prompts can be used, its share needs 306"):
        study([], prompts=400)


def test_unknown_asset_is_named(study) -> None:
    with pytest.raises(ArtifactError, match=r"asset 'other' is not among \['made'\]"):
        study([], first_source={"asset": "other"})


CHOICE = {"layout": "multiple_choice", "field": "question", "response": "answer"}


def choices(count: int = 40, **changes: Any) -> list[dict[str, Any]]:
    """Questions of five options, the right one at every place in turn, as a text of lines or as a list."""
    made = []
    for number in range(count):
        texts = [f"thing {LETTERS[number % 26]}{LETTERS[number // 26]}{place}" for place in "vwxyz"]
        lines = "\n" + "\n".join(f"{letter}. {text}" for letter, text in zip("ABCDE", texts))
        right = number % 5
        row = {"question": f"Who saw {LETTERS[number % 26]}{LETTERS[number // 26]}q?", "answer": "ABCDE"[right]}
        if number % 2:
            row["answer"] = texts[right]
        made.append(row | {"options": texts if number % 3 else lines} | changes)
    return made


def test_multiple_choice_is_asked_in_voicebench_wording_with_the_right_answer(study) -> None:
    found, _ = study([], files={"mc.jsonl": choices()}, first_source={"file": "mc.jsonl", **CHOICE, "max_words": 60})
    asked = [prompt for prompt in found if prompt.source["file"] == "mc.jsonl"]
    right = {f"Who saw {LETTERS[n % 26]}{LETTERS[n // 26]}q?": choices()[n] for n in range(40)}
    for prompt in asked:
        question, *lines, closing = prompt.prompt.split("\n")
        assert lines == [f"{letter}. {text}" for letter, text in zip("ABCD", prompt.options)]
        assert closing == CHOICE_QUESTION
        chosen = prompt.options["ABCD".index(prompt.reference[0])]
        row = right[question]
        assert chosen[-1] == row["answer"][-1] or chosen[-1] == "vwxyz"["ABCDE".index(row["answer"])]
    assert {prompt.reference[0] for prompt in asked} == set("ABCD")
    assert (
        reference_answer(asked[0])
        == f"{asked[0].reference[0]}. " + asked[0].options["ABCD".index(asked[0].reference[0])]
    )


def test_without_response_the_backbone_is_left_to_answer_multiple_choice(study) -> None:
    source = {"file": "mc.jsonl", **CHOICE, "response": None, "max_words": 60}
    found, _ = study([], files={"mc.jsonl": choices()}, first_source=source)
    asked = [prompt for prompt in found if prompt.source["file"] == "mc.jsonl"]
    assert asked and all(reference_answer(prompt) is None and len(prompt.options) == 4 for prompt in asked)


def test_responses_come_with_the_data_also_from_csv_and_are_renamed(study) -> None:
    table = "question,said\n" + "".join(f"is {a}{b}x a thing,{b == 'a'}\n" for a in LETTERS for b in "ab")
    source = {"file": "own.csv", "response": "said", "response_map": {"True": "Yes", "False": "No"}}
    found, _ = study([], files={"own.csv": table}, first_source=source | {"wer_filter": False})
    asked = [prompt for prompt in found if prompt.source["file"] == "own.csv"]
    for prompt in asked:
        assert reference_answer(prompt) == ("Yes" if "ax a thing" in prompt.prompt else "No")
        assert prompt.source["wer_filter"] is False


@pytest.mark.parametrize(
    ("rows", "source", "match"),
    [
        ([{"question": "a b c"}] * 3, {"response": "answer"}, r"3 of 3 rows .*row 1: no text in response field"),
        ([{"question": "a b c", "answer": " "}], {"response": "answer"}, "no text in response field"),
        ([{"question": "a b c", "answer": "x\ud83d"}], {"response": "answer"}, r"response 'x\\ud83d' holds half"),
        (choices(2, options=["x", "y", "z"]), CHOICE, r"2 of 2 .*row 1: 3 options in field 'options', 4 are needed"),
        (choices(1, answer="F"), CHOICE, "response 'F' is neither a letter nor the text of one of"),
        (choices(1, options=["O", "A", "B", "AB"], answer="A"), CHOICE, "row 1: response 'A' can be 'A. O' or 'B. A'"),
        (choices(1, options=["x", "y", "z", "w"], answer="B. other"), CHOICE, "row 1: response 'B. other' is neither"),
        (choices(1, options=["x", None, "z", "w"]), CHOICE, r"option 2 of .*None.* in field 'options' has no text"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_used_are_counted_and_the_first_are_named(study, rows, source, match) -> None:
    with pytest.raises(ArtifactError, match=match):
        study([], files={"bad.jsonl": rows}, first_source={"file": "bad.jsonl", **source})


@pytest.mark.parametrize("missing", [math.nan, math.inf, [math.nan], [None, "x"], {"a": 1}, [["x"]]])
def test_what_holds_no_text_is_no_response(study, missing) -> None:
    rows = [{"question": "a b c", "answer": missing}]
    with pytest.raises(ArtifactError, match=r"1 of 1 rows .*row 1: no text in response field 'answer'"):
        study([], files={"bad.jsonl": rows}, first_source={"file": "bad.jsonl", "response": "answer"})


def test_numbers_are_trained_as_they_are_said(study) -> None:
    source = {"file": "sums.jsonl", "response": "answer"}
    sums = [{"question": f"what is {a} and {b}", "answer": 4.0 if a < "m" else 0.5} for a in LETTERS for b in "ab"]
    found, _ = study([], files={"sums.jsonl": sums}, first_source=source)
    said = {prompt.reference[0] for prompt in found if prompt.source["file"] == "sums.jsonl"}
    assert said == {"4", "0.5"}, "a column with missing values makes 4 a 4.0"


def test_a_few_unusable_rows_are_left_out_counted_and_named_in_the_log(study, caplog) -> None:
    content = [{"question": f"who {a}{b} q", "answer": "x"} for a in LETTERS for b in "ab"]
    content[7].pop("answer")
    _, filters = study([], files={"few.jsonl": content}, first_source={"file": "few.jsonl", "response": "answer"})
    assert any(row["filter"] == "unusable row" and row["dropped"] == 1 for row in filters)
    assert "1 of 52 rows cannot become training prompts (row 8: no text in response field 'answer')" in caplog.text


def test_rows_whose_options_repeat_are_dropped_and_counted(study) -> None:
    rows = choices() + choices(1, question="Who then?", options=["x", "y", "z", "X"], answer="A")
    found, filters = study([], files={"mc.jsonl": rows}, first_source={"file": "mc.jsonl", **CHOICE, "max_words": 60})
    assert any(row["filter"] == "options repeat" and row["dropped"] == 1 for row in filters)
    assert not any("Who then?" in prompt.prompt for prompt in found)


def test_a_csv_row_with_too_few_cells_is_named(study) -> None:
    with pytest.raises(ArtifactError, match=r"own\.csv, line 2: 1 cells under 2 headings"):
        study([], files={"own.csv": "question,said\nonly one\n"}, first_source={"file": "own.csv"})


def test_a_sentence_has_no_other_response() -> None:
    with pytest.raises(ValidationError, match="what is repeated is answered with itself"):
        PromptSource(asset="a", file="f.jsonl", layout="sentence", field="text", response="said", share=1)


def test_benchmark_questions_in_other_words_are_left_out(study) -> None:
    benchmark = [question("What is the big aax thing over here?"), question("aax")]
    reworded = [{"question": "is the thing here a big aax over there"}, *rows("question", 60, "who has the")]
    found, filters = study(benchmark, files={"more.jsonl": reworded}, first_source={"file": "more.jsonl"})
    assert not any("big aax" in prompt.prompt for prompt in found)
    assert any(row["filter"] == "in the benchmark in other words" and row["dropped"] == 1 for row in filters)


def test_nearly_the_same_means_most_content_words_of_both() -> None:
    near = NearDuplicates(["What is the capital of France?", "Plants make sugar from light and water."])
    assert "france capital is what" in near
    assert "The plants made sugar from water and light" not in near
    assert "Plants: make sugar from light, water!" in near
    assert "What is the capital of Spain?" not in near
    assert "the of and" not in near


def test_quotas_add_up_and_follow_shares() -> None:
    assert source_quotas([1, 1, 1], 10) == [4, 3, 3]
    assert source_quotas([0.5, 1.5], 8) == [2, 6]
    assert sum(source_quotas([0.3, 0.3, 0.1, 7], 4999)) == 4999


def test_words_are_dealt_once_each_and_only_those_that_occur_often_enough(study):
    passages = [{"passage": f"Tundra, marsh; the U.S. BBC x-ray {'fern' if i else 'moss'} 12 it's"} for i in range(3)]
    words = {
        "asset": "made", "file": "passages.jsonl", "layout": "words", "field": "passage", "share": 1, "word_count": 2,
        "words_per_prompt": 2,
    }  # fmt: skip
    prompts, _ = study(
        [], prompts=1, heldout=1, min_words=1, sources=[words], files={"passages.jsonl": passages}, first_source={}
    )
    said = sorted(word for prompt in prompts for word in prompt.reference[0].split())
    assert said == ["fern", "marsh", "the", "tundra"]
    assert all(prompt.prompt == f"Repeat after me: {prompt.reference[0]}" for prompt in prompts)
    assert {prompt.scorer for prompt in prompts} == {"repeat"}
