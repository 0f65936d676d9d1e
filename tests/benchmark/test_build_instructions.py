"""Training prompts: disjoint from the benchmark, in the given shares, the same for the same seed."""

import json
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.questions import QUESTIONS, Question
from workflow_scripts.artifacts.tables import read_table
from workflow_scripts.benchmark.build_instructions import build_instructions, source_quotas

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
        return QUESTIONS.read(out), read_table(tmp_path / "f.csv")

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


def test_quotas_add_up_and_follow_shares() -> None:
    assert source_quotas([1, 1, 1], 10) == [4, 3, 3]
    assert source_quotas([0.5, 1.5], 8) == [2, 6]
    assert sum(source_quotas([0.3, 0.3, 0.1, 7], 4999)) == 4999
