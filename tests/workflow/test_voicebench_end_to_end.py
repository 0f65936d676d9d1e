"""VoiceBench from a folder in the hub's layout, through every stage to the page, without a hub."""

import itertools
import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from tests.public_study import save_tiny
from tests.scoring.judge_server import Server
from tests.small_study import small_values
from tests.speech.tiny_whisper import write_tiny_whisper
from tests.voicebench_folder import write_voicebench
from tests.workflow.workflow_copy import Workflow
from workflow_scripts.artifacts.questions import QUESTIONS
from workflow_scripts.artifacts.tables import read_columns, read_table, select
from workflow_scripts.artifacts.utterances import UTTERANCES
from workflow_scripts.speech.compare_transcripts import RECORDINGS

pytestmark = pytest.mark.xdist_group("voicebench")
PUBLISHED = {"asset": "voicebench", "layout": "voicebench", "voice": "published", "max_new_tokens": 6}
SUBSETS = {
    "openbookqa": {"file": "openbookqa/test-*.parquet", "scorer": "multiple_choice", "rows": 20, "knowledge": True},
    "mmsu": {"file": "mmsu/*.parquet", "scorer": "multiple_choice", "rows": 80, "knowledge": True},
    "sd_qa_usa": {"file": "sd-qa/usa-*.parquet", "scorer": "short_answer", "rows": 20, "knowledge": True},
    "ifeval": {"file": "ifeval/test-*.parquet", "scorer": "instruction_following", "rows": 20},
    "advbench": {"file": "advbench/test-*.parquet", "scorer": "refusal", "rows": 20},
    "alpacaeval": {
        **{"file": "alpacaeval/test-*.parquet", "scorer": "judge", "overall": False},
        **{"rows": 5, "questions": 5},
    },
}
OPERATIONS = small_values()["intervention"]["operations"]
REPLACED = dict.fromkeys(("obqa", "mmlu", "nq", "ifeval541", "repeat"))


def made(path: str, format: str) -> dict:
    return {"format": format, "licence": "none: made up", "sources": [{"path": path}]}


def write_given(folder: Path, subset: str, form: str) -> None:
    """Answers as VoiceBench's main.py writes them, to every row of a subset: right in writing, lost in speech."""
    rows = [row for path in sorted(folder.glob(SUBSETS[subset]["file"])) for row in pq.read_table(path).to_pylist()]
    lines = []
    for row in rows:
        asked = {
            key: value for key, value in row.items() if key in ("prompt", "reference", "instruction_id_list", "kwargs")
        }
        answer = str(row.get("reference", "Sorry, I cannot help")) if form == "text" else "I did not hear it"
        lines.append(json.dumps(asked | {"response": answer}))
    path = folder.parent / CLOSED["files"][subset][form][0]
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines))


CLOSED = {
    "family": "answers",
    "harness": "voicebench",
    "files": {
        subset: {form: [f"given/closed-{subset}-{form}.jsonl"] for form in ("text", "speech")} for subset in SUBSETS
    },
}
OVERLAY = {
    "assets": {"voicebench": made("voicebench", "files"), "tiny-whisper": made("whisper", "transformers")},
    "models": {"smollm2-lora": None, "smollm2-full": None, "tiny": {"family": "hf", "path": "model"}, "closed": CLOSED},
    "benchmark": {
        "questions_per_subset": 20,
        "subsets": {**REPLACED, **{name: PUBLISHED | entry for name, entry in SUBSETS.items()}},
    },
    "speech": {
        "voices": {"published": {"engine": "recorded", "asset": "voicebench"}},
        "asr": {"asset": "tiny-whisper"},
        "max_seconds": 4,
    },
    "activations": {"subsets": ["sd_qa_usa"]},
    "intervention": {
        "subset": "sd_qa_usa",
        "operations": {name: None for name in OPERATIONS if name not in ("none", "no_op", "angle_all")},
    },
    "chance": {"draws": 5},
    "display": {"subsets": {**REPLACED, "sd_qa_usa": "SD-QA (usa)"}},
}


def rate(request: dict) -> str:
    """A judge that likes apologies: 4 points for the written answers of `closed`, 2 for all others."""
    return "4" if "]: Sorry, I cannot help" in request["messages"][-1]["content"] else "2"


@pytest.fixture(scope="module")
def judge():
    made = Server()
    made.replies = [rate]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("no_proxy", "127.0.0.1")
        yield made
    made.http.shutdown()
    made.http.server_close()


@pytest.fixture(scope="module")
def finished(tmp_path_factory, fetched_resources, judge):
    workflow = Workflow(tmp_path_factory.mktemp("study"))
    folder = workflow.folder
    judged = {"scoring": {"judge": {"address": judge.address, "model": "judge-1", "votes": 2}}}
    (folder / "voicebench.yaml").write_text(yaml.safe_dump(OVERLAY | judged))
    write_voicebench(folder / "voicebench")
    for subset, form in itertools.product(SUBSETS, ("text", "speech")):
        write_given(folder / "voicebench", subset, form)
    write_tiny_whisper(folder / "whisper")
    save_tiny(folder / "model")
    (folder / "resources").mkdir()
    os.symlink(fetched_resources / "punkt-english", folder / "resources" / "punkt-english")
    workflow.run_in_process("voicebench.yaml")
    return workflow


def test_all_subsets_are_asked_and_heard_as_published(finished):
    for subset in SUBSETS:
        questions = QUESTIONS.read(finished.folder / f"results/benchmark/{subset}/questions.jsonl")
        heard = UTTERANCES.read(finished.folder / f"results/speech/published/{subset}/manifest.jsonl")
        assert [one.id for one in heard] == [one.id for one in questions]
        assert all(one.source_rate == 24_000 for one in heard)


def test_the_region_stands_in_the_tables_and_on_the_page(finished):
    gap = read_table(finished.folder / "results/evaluation/gap.csv", "gap")
    assert len(select(gap, model="tiny", subset="sd_qa_usa", form="gap", measure="score")) == 1
    page = (finished.folder / "results/report/index.html").read_text()
    assert page.count("SD-QA (usa)") > 1


def test_answers_made_elsewhere_stand_beside_the_model_that_was_run(finished):
    """20 questions a subset: right in writing where a reference or a refusal is right, never in speech."""
    gap = read_table(finished.folder / "results/evaluation/gap.csv", "gap")
    for subset in ("openbookqa", "mmsu", "sd_qa_usa", "advbench"):
        rows = select(gap, model="closed", subset=subset, measure="score").set_index("form")
        assert rows["value"][["text", "speech", "gap"]].tolist() == [100, 0, 100] and rows["n"].eq(20).all()
        assert "asr" not in rows.index
    floors = read_table(finished.folder / "results/evaluation/floors.csv", "floors")
    assert set(floors["model"]) == {"tiny"}
    page = (finished.folder / "results/report/index.html").read_text()
    assert page.count("closed") > 3


def test_open_answers_are_rated_by_the_declared_judge_up_to_the_page(finished, judge):
    gap = read_table(finished.folder / "results/evaluation/gap.csv", "gap")
    rows = select(gap, model="closed", subset="alpacaeval", measure="score").set_index("form")
    assert rows["value"].to_dict() == {"text": 80, "speech": 40, "gap": 40} and rows["n"].eq(5).all()
    assert rows["low"]["gap"] < 40 < rows["high"]["gap"]
    kept = list((finished.folder / "results/evaluation/judgements").rglob("*.json"))
    assert len(kept) == len(judge.requests) and {one["seed"] for one in judge.requests} == {0, 1}
    table = (finished.folder / "results/tables/table2_gap.csv").read_text().splitlines()
    assert "alpacaeval" in table[0].split(",")
    page = (finished.folder / "results/report/index.html").read_text()
    assert "<th" in page and page.count("alpacaeval") > 3


def test_clips_are_compared_with_their_texts(finished):
    table = read_columns(finished.folder / "results/speech/recordings.csv", RECORDINGS)
    assert set(table.subset) == set(SUBSETS) and set(table.voice) == {"published"}
    manifest = json.loads((finished.folder / "results/report/manifest.json").read_text())
    assert manifest["settings"]["benchmark"]["subsets"]["sd_qa_usa"]["voice"] == "published"
