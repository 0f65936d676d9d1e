"""JSON-lines artifacts: round trip, and every kind of damage is named with file, place and remedy."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.questions import QUESTIONS, Question


def question(name: str = "nq-0001", **changes) -> Question:
    fields = {
        "id": name,
        "subset": "nq",
        "prompt": "who wrote hamlet",
        "spoken": "who wrote hamlet",
        "reference": ["Shakespeare", "William Shakespeare"],
        "scorer": "short_answer",
        "source": {"row": 1},
    }
    return Question(**(fields | changes))


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "questions.jsonl"
    QUESTIONS.write(path, [question("nq-0001"), question("nq-0002")], {"seed": 1})
    return path


def test_round_trip_keeps_records_and_provenance(path):
    records, header = QUESTIONS.read_with_header(path)
    assert records == [question("nq-0001"), question("nq-0002")]
    assert header == {"schema": "questions/1", "n": 2, "provenance": {"seed": 1}}


@given(text=st.text(min_size=1).filter(lambda text: text.isprintable() and text.strip()))
def test_any_printable_prompt_survives_the_round_trip(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("records") / "q.jsonl"
    QUESTIONS.write(path, [question(prompt=text)], {})
    assert QUESTIONS.read(path)[0].prompt == text


def test_line_separators_inside_a_prompt_do_not_split_a_record(tmp_path):
    text = "one\u2028two\u0085three\x0bfour\nfive"
    QUESTIONS.write(tmp_path / "q.jsonl", [question(prompt=text)], {})
    assert QUESTIONS.read(tmp_path / "q.jsonl")[0].prompt == text


def test_missing_lines_are_noticed_by_the_count(path):
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(ArtifactError, match=r"questions\.jsonl: 1 records but the header says 2: truncated"):
        QUESTIONS.read(path)


def test_a_byte_that_is_not_utf8_names_the_file_and_the_byte(path):
    path.write_bytes(path.read_bytes().replace(b"hamlet", b"haml\xe9t", 1))
    with pytest.raises(ArtifactError, match=r"questions\.jsonl: damaged, byte \d+ is not UTF-8"):
        QUESTIONS.read(path)


def test_half_a_line_names_the_line(path):
    path.write_text(path.read_text()[:-20])
    with pytest.raises(ArtifactError, match="line 3"):
        QUESTIONS.read(path)


def test_wrong_version_says_which_was_expected(path):
    path.write_text(path.read_text().replace("questions/1", "questions/9", 1))
    with pytest.raises(ArtifactError, match="'questions/9', expected 'questions/1'"):
        QUESTIONS.read(path)


def test_missing_field_is_named(path):
    header, first, second = path.read_text().splitlines()
    record = json.loads(second)
    del record["prompt"]
    path.write_text("\n".join([header, first, json.dumps(record)]) + "\n")
    with pytest.raises(ArtifactError, match="line 3, field prompt"):
        QUESTIONS.read(path)


def test_missing_file_says_what_to_run(tmp_path):
    with pytest.raises(ArtifactError, match="not found"):
        QUESTIONS.read(tmp_path / "none.jsonl")


def test_duplicate_ids_are_refused_on_writing(tmp_path):
    with pytest.raises(ArtifactError, match="'nq-0001' appears twice"):
        QUESTIONS.write(tmp_path / "q.jsonl", [question(), question()], {})
    assert not list(tmp_path.iterdir())


def test_duplicate_ids_in_a_file_are_refused_on_reading(path):
    path.write_text(path.read_text().replace("nq-0002", "nq-0001"))
    with pytest.raises(ArtifactError, match=r"questions\.jsonl: id 'nq-0001' appears twice"):
        QUESTIONS.read(path)


@pytest.mark.parametrize("field", ["prompt", "spoken"])
@pytest.mark.parametrize("text", ["", "  ", "\\n"])
def test_empty_text_is_named_with_file_line_and_field(path, field, text):
    lines = path.read_text().splitlines()
    lines[2] = lines[2].replace(f'"{field}":"who wrote hamlet"', f'"{field}":"{text}"')
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ArtifactError, match=rf"questions\.jsonl, line 3, field {field}: "):
        QUESTIONS.read(path)


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".x", "a b", "x" * 81])
def test_ids_that_are_no_file_names_are_refused(name):
    with pytest.raises(ValueError, match="id"):
        question(name)


def test_failed_writing_keeps_the_old_file(path):
    before = path.read_bytes()

    def broken():
        yield question("nq-0009")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        QUESTIONS.write(path, broken(), {})
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
