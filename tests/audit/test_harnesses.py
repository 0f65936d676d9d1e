"""Each harness's files are read as they are written, and what is wrong with one is said with file, line and field."""

import pytest

from tests.audit.answer_files import GOLD, SPEECH, TEXT, WRITERS, lines, prompt, questions
from workflow_scripts.audit.given import AuditError
from workflow_scripts.audit.harnesses import HARNESSES, read_answers, subset_of
from workflow_scripts.audit.questions import completed


@pytest.mark.parametrize("harness", WRITERS)
@pytest.mark.parametrize("form, answers", [("text", TEXT), ("speech", SPEECH)])
def test_answers_references_and_prompts_of_every_format_are_read(tmp_path, harness, form, answers):
    read = read_answers(WRITERS[harness](tmp_path, form, answers), harness)
    read = sorted(completed(read, questions(tmp_path)), key=lambda one: one.keys.get("id", one.prompt))
    assert [one.answer for one in read] == answers
    assert [one.reference for one in read] == [(gold,) for gold in GOLD]
    assert [one.prompt.split() for one in read] == [prompt(number).split() for number in range(6)]
    assert not any(one.failed for one in read)


@pytest.mark.parametrize("harness", [name for name in WRITERS if name != "jsonl"])
def test_the_subset_is_read_from_the_name_of_the_file_its_folder_or_its_rows(tmp_path, harness):
    read = read_answers(WRITERS[harness](tmp_path, "speech", SPEECH), harness)
    assert {one.subset for one in read} == {"openbookqa"}


def test_every_harness_has_a_fixture():
    assert set(WRITERS) == set(HARNESSES)


@pytest.mark.parametrize(
    "name, subset",
    [
        ("qwen2-sd-qa-usa-audio", "sd-qa-usa"),
        ("qwen2-sd-qa-ind_n-text", "sd-qa-ind_n"),
        ("glm-mmsu-law-audio", "mmsu"),
        ("20261101_samples_voicebench_sd-qa_nzl", "sd-qa-nzl"),
        ("naive-alpacaeval_full-test-audio", "alpacaeval_full"),
        ("answers", ""),
    ],
)
def test_subsets_and_regions_are_told_from_names(name, subset):
    assert subset_of(name) == subset


def test_scores_that_the_harness_wrote_are_kept(tmp_path):
    for harness, name in (("lmms-eval", "accuracy"), ("ultraeval-audio", "match"), ("au-harness", "score")):
        read = read_answers(WRITERS[harness](tmp_path, "text", TEXT), harness)
        assert all(name in one.recorded for one in read), harness


def test_judge_votes_of_voicebench_count_by_majority_and_ratings_as_shares(tmp_path):
    rows = [
        {"prompt": "p", "reference": "x", "response": "r", "score": ["Yes", "no", "Yes."]},
        {"prompt": "q", "response": "r", "score": ["5", "4", "[[3]]"]},
    ]
    path = lines(tmp_path / "result-m-sd-qa-usa-audio.jsonl", rows)
    assert [one.recorded for one in read_answers(path, "voicebench")] == [{"judge": 1.0}, {"judge": pytest.approx(0.8)}]


def test_failures_are_no_answers(tmp_path):
    kimi = lines(
        tmp_path / "kimi_openbookqa.jsonl", [{"index": 1, "audio_content": "p", "answer": "A", "prediction": "null"}]
    )
    assert read_answers(kimi, "kimi-evalkit")[0].failed
    events = [
        {"type": "prompt", "id": 0, "data": {"content": "p"}},
        {"type": "error", "id": 0, "data": {"info": "Traceback"}},
    ]
    assert read_answers(lines(tmp_path / "events.jsonl", events), "ultraeval-audio")[0].failed
    path = WRITERS["au-harness"](tmp_path, "text", TEXT)
    path.write_text(path.read_text().replace('"200"', '"500"', 1))
    assert [bool(one.failed) for one in read_answers(path, "au-harness")] == [True] + [False] * 5


def test_ifeval_instructions_lose_their_padding(tmp_path):
    row = {"key": 7, "prompt": "Write.", "response": "r", "instruction_id_list": ["punctuation:no_comma"]}
    path = lines(tmp_path / "m-ifeval-test-text.jsonl", [row | {"kwargs": [{"num_words": None, "relation": None}]}])
    assert read_answers(path, "voicebench")[0].instructions == ({"id": "punctuation:no_comma", "kwargs": {}},)


BAD = {
    "cut off in the middle": (
        "voicebench",
        '{"prompt": "p", "response": "r"}\n{"prompt": "q", "resp',
        ["line 2", "cut off"],
    ),
    "not JSON at all": ("voicebench", "prompt,response\na,b\n", ["line 1", "not JSON"]),
    "a field is missing": ("voicebench", '{"prompt": "p", "response": "r"}\n{"prompt": "q"}', ["line 2", "'response'"]),
    "a field of another type": (
        "voicebench",
        '{"prompt": "p", "response": 3}',
        ["line 1", "'response'", "expected text"],
    ),
    "no object": ("jsonl", "[1, 2]\n", ["line 1", "list"]),
    "an unknown event": ("ultraeval-audio", '{"type": "score", "id": 1, "data": {}}', ["line 1", "'type'", "score"]),
    "two events of one kind": (
        "ultraeval-audio",
        '{"type": "inference", "id": 1, "data": {"content": "a"}}\n' * 2,
        ["line 2", "second event", "line 1"],
    ),
    "several requests a sample": (
        "lmms-eval",
        '{"doc_id": 1, "filtered_resps": [["a"], ["b"]]}',
        ["line 1", "'filtered_resps'"],
    ),
    "a votes field that is no vote": (
        "voicebench",
        '{"prompt": "p", "response": "r", "score": "good"}',
        ["'score'", "good"],
    ),
    "a column is missing": ("au-harness", '"instruction","candidate"\n"p","r"\n', ["line 1", "'reference'"]),
    "a short row": ("au-harness", '"instruction","reference","candidate"\n"p","r"\n', ["line 2", "2 cells"]),
    "kwargs of another length": (
        "voicebench",
        '{"prompt": "p", "response": "r", "instruction_id_list": ["a", "b"], "kwargs": [{}]}',
        ["line 1", "'instruction_id_list'", "kwargs"],
    ),
    "an empty file": ("jsonl", "", ["empty"]),
    "a record count that does not fit": (
        "jsonl",
        '{"schema": "answers/2", "n": 3}\n{"id": "a", "answer": "b"}\n',
        ["'n'", "cut off"],
    ),
}


@pytest.mark.parametrize("problem", BAD)
def test_a_broken_file_is_named_with_line_and_field(tmp_path, problem):
    harness, text, parts = BAD[problem]
    path = tmp_path / "answers.jsonl"
    path.write_text(text)
    with pytest.raises(AuditError) as raised:
        read_answers(path, harness)
    assert all(part in str(raised.value) for part in [str(path), *parts]), str(raised.value)


def test_a_file_of_another_harness_is_recognised(tmp_path):
    path = WRITERS["lmms-eval"](tmp_path, "text", TEXT)
    with pytest.raises(AuditError, match="looks like a file of --harness lmms-eval"):
        read_answers(path, "kimi-evalkit")


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(AuditError, match="not found"):
        read_answers(tmp_path / "no.jsonl", "voicebench")
    with pytest.raises(AuditError, match="a folder"):
        read_answers(tmp_path, "voicebench")


def test_questions_that_answer_none_of_the_answers_are_refused(tmp_path):
    read = read_answers(WRITERS["jsonl"](tmp_path, "text", TEXT), "jsonl")
    other = lines(tmp_path / "other.jsonl", [{"id": "z1", "prompt": "something else", "reference": "A"}])
    with pytest.raises(AuditError, match="none of the 6 answers is in"):
        completed(read, other)
