"""Questions and recordings of your own: every format gives the same questions, and each problem has row and field."""

import csv
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.questions import QUESTIONS
from workflow_scripts.artifacts.utterances import SYNTHESIS
from workflow_scripts.benchmark.build_questions import build_questions
from workflow_scripts.benchmark.check_questions import main, problems
from workflow_scripts.speech.synthesize_speech import synthesize_speech

ROWS = [
    {"id": "q-1", "prompt": "Which animal barks?", "options": ["a cat", "a dog", "a fish"], "reference": "a dog"},
    {"id": "q-2", "prompt": "Which one flies?", "options": ["a bird", "a brick"], "reference": "A", "skill": "birds"},
    {"id": "q-3", "prompt": "Which is red?\nA. blood\nB. snow\nWhat is the answer?", "reference": "(B)"},
]


def write(folder, suffix, rows):
    path = folder / f"questions.{suffix}"
    if suffix == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif suffix == "csv":
        fields = list(dict.fromkeys(name for row in rows for name in row))
        flat = [{name: "|".join(v) if isinstance(v, list) else v for name, v in row.items()} for row in rows]
        with open(path, "w", newline="") as out:
            writer = csv.DictWriter(out, fields)
            writer.writeheader()
            writer.writerows(flat)
    else:
        pd.DataFrame(rows).to_parquet(path)
    return path


def build(path, n, scorer="multiple_choice", **more):
    settings = {"asset": "mine", "file": path.name, "layout": "questions", "scorer": scorer, "max_new_tokens": 8} | more
    out = path.parent / "out" / "questions.jsonl", path.parent / "out" / "filters.csv"
    build_questions(path.parent / "asset.json", *out, subset="mine", settings=settings, n=n, seed=0)
    return QUESTIONS.read(out[0])


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_every_format_gives_the_same_questions(tmp_path, suffix):
    found = build(write(tmp_path, suffix, ROWS), 3)
    assert [one.id for one in found] == ["q-1", "q-2", "q-3"]
    assert [one.reference for one in found] == [["B"], ["A"], ["B"]]
    assert [one.options for one in found] == [["a cat", "a dog", "a fish"], ["a bird", "a brick"], ["blood", "snow"]]
    assert found[0].prompt == (
        "Which animal barks?\nA. a cat\nB. a dog\nC. a fish\n"
        "What is the answer to the above multiple choice question? Select one of the following: A, B, or C."
    )
    assert found[2].prompt == ROWS[2]["prompt"], "a prompt that lists its options is asked as it stands"
    assert found[1].source["skill"] == "birds"


def record(path, frequency, rate=44_100):
    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(rate) / rate
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * frequency * times), rate)


def speak(folder, voice):
    manifest = folder / "speech" / "synthesis.jsonl"
    synthesize_speech(
        folder / "out" / "questions.jsonl",
        manifest,
        voice=voice,
        subset="mine",
        max_seconds=30,
        retries=0,
        recordings=folder / "asset.json" if "asset" in voice else None,
    )
    return SYNTHESIS.read(manifest)


def test_numbers_beside_missing_ones_are_whole_and_a_missing_one_is_named(tmp_path):
    path, prompts = tmp_path / "questions.parquet", ["how many legs has a dog", "how many eyes has a bat"]
    table = pa.table({"id": [0.0, 1.0], "prompt": prompts, "reference": [4.0, float("nan")]})
    pq.write_table(table, path)
    with pytest.raises(ArtifactError, match="row 2: references must be a non-empty list"):
        build(path, 2, "short_answer")
    pq.write_table(table.slice(0, 1), tmp_path / "first.parquet")
    (found,) = build(tmp_path / "first.parquet", 1, "short_answer")
    assert (found.id, found.reference) == ("0", ["4"])


def test_recordings_named_in_the_rows_are_heard(tmp_path):
    rows = [
        {
            "id": f"r{n}",
            "prompt": f"who is number {n}",
            "reference": "Ada",
            "audio": f"clips/{n}.{kind}",
            "speaker": "me",
        }
        for n, kind in enumerate(("wav", "flac", "ogg"))
    ]
    for row in rows:
        record(tmp_path / row["audio"], 300)
    found = build(write(tmp_path, "csv", rows), 3, "short_answer")
    assert [one.source["speaker"] for one in found] == ["me"] * 3
    assert all(
        one.kept and one.source_rate == 44_100 for one in speak(tmp_path, {"engine": "recorded", "asset": "mine"})
    )


def test_a_folder_of_recordings_is_heard_by_id(tmp_path):
    rows = [{"id": f"r{n}", "prompt": f"who is number {n}", "reference": "Ada"} for n in range(3)]
    build(write(tmp_path, "jsonl", rows), 3, "short_answer")
    for n, kind in enumerate(("wav", "ogg", "aiff")):
        record(tmp_path / "voice" / "mine" / f"r{n}.{kind}", 300)
    assert all(one.kept for one in speak(tmp_path, {"engine": "recorded", "folder": str(tmp_path / "voice")}))


def test_transcripts_beside_the_questions_are_taken_by_a_voice_that_reads_the_same_file(tmp_path):
    rows = [
        {
            "id": f"r{n}",
            "prompt": f"who is number {n}",
            "reference": "Ada",
            "audio": f"{n}.wav",
            "transcript": f"who {n}",
        }
        for n in range(3)
    ]
    for row in rows:
        record(tmp_path / row["audio"], 300)
    path = write(tmp_path, "csv", rows)
    assert not list(problems(path, "short_answer"))
    build(path, 3, "short_answer")
    found = speak(tmp_path, {"engine": "recorded", "asset": "mine", "file": "questions.csv"})
    assert [(one.transcript, one.transcript_given) for one in found] == [(f"who {n}", True) for n in range(3)]


def test_a_split_is_chosen_and_one_that_does_not_exist_is_named(tmp_path):
    rows = [
        {"id": f"r{n}", "prompt": f"who is {n}", "reference": "Ada", "split": "dev" if n else "test"} for n in range(4)
    ]
    path = write(tmp_path, "jsonl", rows)
    assert [one.id for one in build(path, 3, "short_answer", split="dev", rows=3)] == ["r1", "r2", "r3"]
    with pytest.raises(ArtifactError, match=r"split 'train' .*there are \['dev', 'test'\]"):
        build(path, 1, "short_answer", split="train")


PROBLEMS = {
    "an empty prompt": ({"prompt": " "}, "field 'prompt': missing or empty"),
    "an id that is a path": ({"id": "../up"}, "field 'id': '../up' becomes a file name"),
    "an unknown field": ({"answr": "x"}, "field 'answr': unknown field"),
    "one option": ({"options": ["only"]}, "field 'options': one option only"),
    "options given twice": (
        {"prompt": "Which?\nA. x\nB. y", "options": ["x", "z"]},
        "field 'options': the prompt lists",
    ),
    "options that repeat": (
        {"options": ["x", "y", "X"], "reference": "B"},
        "field 'options': options repeat: ['x', 'y', 'X']",
    ),
    "options that repeat in the prompt": (
        {"prompt": "Which?\nA. x\nB. x", "reference": "B"},
        "field 'prompt': options repeat: ['x', 'x']",
    ),
    "an option of several lines": (
        {"options": ["x\nB. z", "y"], "reference": "A"},
        "field 'options': option of several lines: ",
    ),
    "a reference that is no option": ({"options": ["x", "y"], "reference": "z"}, "field 'reference': 'z' is neither"),
    "a letter that is another option's text": (
        {"options": ["O", "A", "B", "AB"], "reference": "A"},
        "field 'reference': 'A' can be 'A. O' or 'B. A', by its letter or by its text",
    ),
    "two right options": ({"options": ["x", "y"], "reference": ["A", "B"]}, "field 'reference': ['A', 'B'] are 2"),
    "no reference": ({"reference": None}, "field 'reference'"),
    "gold without a word": ({"reference": "?!"}, "field 'reference': the reference '?!' has no tokens"),
    "a recording that is not there": ({"audio": "no.wav"}, "no.wav does not exist"),
    "options that were not recorded": (
        {"audio": "a.wav", "options": ["x", "y"], "reference": "A"},
        "field 'prompt': has audio",
    ),
    "a prompt no voice can read": ({"prompt": "Solve $\\int x^2$ for me"}, "field 'prompt': a voice cannot read it"),
    "a missing reference among others": (
        {"reference": [None, "x"]},
        "field 'reference': [None, 'x'] has an entry without",
    ),
    "a missing option": (
        {"options": ["x", None], "reference": "A"},
        "field 'options': ['x', None] has an entry without",
    ),
    "a reference that is NaN": ({"reference": float("nan")}, "field 'reference': references must be a non-empty list"),
    "a reference that is an object": (
        {"reference": {"a": 1}},
        "field 'reference': {'a': 1} is a dict, expected a text",
    ),
    "half a character in the prompt": (
        {"prompt": "what \ud83d is", "spoken": "what is"},
        r"field 'prompt': 'what \ud83d is' holds half a character",
    ),
    "half a character in a list": ({"reference": ["x", "\ud83d"]}, r"field 'reference': ['x', '\ud83d'] holds half"),
    "half a character in the reading": ({"spoken": "\ud83d"}, r"field 'spoken': '\ud83d' holds half a character"),
    "a reading without text": ({"spoken": "  "}, "field 'spoken': '  ' has no text"),
    "a reading that is NaN": ({"prompt": "3 | 4", "spoken": float("nan")}, "field 'prompt': a voice cannot read it"),
    "instructions of another form": ({"instructions": "be brief"}, "field 'instructions': expected a list"),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_checker_names_row_and_field(tmp_path, problem):
    changed, message = PROBLEMS[problem]
    record(tmp_path / "a.wav", 300)
    row = {"id": "bad", "prompt": "who is it", "reference": "Ada"} | changed
    path = write(tmp_path, "jsonl", [{"id": "good", "prompt": "who is it", "reference": "Ada"}, row])
    scorer = "multiple_choice" if "options" in changed else "short_answer"
    found = [line for line in problems(path, scorer) if "row 2" in line]
    assert any(message in line for line in found), found


def test_two_rows_with_one_id_are_named_by_checker_and_build(tmp_path):
    path = write(tmp_path, "jsonl", [{"id": "same", "prompt": f"who is {n}", "reference": "Ada"} for n in range(2)])
    assert list(problems(path, "short_answer")) == [f"{path}, row 2, field 'id': 'same' is the id of row 1 too"]
    with pytest.raises(ArtifactError, match="id 'same' is that of row 1 too"):
        build(path, 2, "short_answer")


def test_an_id_that_another_row_is_given_is_named_with_both_rows(tmp_path):
    rows = [
        {"id": "mine-0002", "prompt": "who is it", "reference": "Ada"},
        {"prompt": "who was it", "reference": "Ada"},
    ]
    with pytest.raises(ArtifactError, match=r"questions\.jsonl, row 2: id 'mine-0002' is that of row 1 too; give each"):
        build(write(tmp_path, "jsonl", rows), 2, "short_answer")


def test_a_file_without_rows_is_named_as_such(tmp_path):
    with pytest.raises(ArtifactError, match=r"questions\.csv: has no rows"):
        build(write(tmp_path, "csv", []), 1)


def test_the_checker_finds_ids_without_a_recording(tmp_path):
    path = write(tmp_path, "jsonl", [{"id": f"r{n}", "prompt": f"who is {n}", "reference": "Ada"} for n in range(2)])
    record(tmp_path / "voice" / "r0.wav", 300)
    found = list(problems(path, "short_answer", tmp_path / "voice"))
    assert len(found) == 1 and "row 2, field 'id': no recording" in found[0]


def test_the_checker_s_exit_status_and_summary(tmp_path, capsys):
    path = write(tmp_path, "csv", ROWS)
    assert main([str(path), "--scorer", "multiple_choice"]) == 0
    assert capsys.readouterr().out == "3 questions, 0 problems\n"
    assert main([str(path), "--scorer", "instruction_following"]) == 1
    assert main([str(tmp_path / "none.csv"), "--scorer", "repeat"]) == 2
    path.write_text("prompt,reference\nwho\n")
    assert main([str(path), "--scorer", "repeat"]) == 2
    assert "line 2: 1 cells under 2 headings" in capsys.readouterr().err
