"""VoiceBench from a folder in the hub's layout, through every stage to the page, without a hub."""

import json
import os
from pathlib import Path

import pytest
import yaml

from tests.voicebench_folder import write_voicebench
from tests.workflow.workflow_copy import Workflow
from workflow_scripts.artifacts.questions import QUESTIONS
from workflow_scripts.artifacts.tables import read_columns, read_table, select
from workflow_scripts.artifacts.utterances import UTTERANCES
from workflow_scripts.speech.compare_transcripts import RECORDINGS

LONG = "MODGAP_LONG_TESTS"
"""A second whole study beside tests/workflow/test_end_to_end.py: run where this is set, to keep `make test` short."""
pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(3600),
    pytest.mark.xdist_group("real"),
    pytest.mark.skipif(LONG not in os.environ, reason=f"a second whole study; set {LONG}=1"),
]
STUDY = ("--configfile", "tiny.yaml", "voicebench.yaml", "--cores", "2")
PUBLISHED = {"asset": "voicebench", "layout": "voicebench", "voice": "published", "max_new_tokens": 6}
SUBSETS = {
    "openbookqa": {"file": "openbookqa/test-*.parquet", "scorer": "multiple_choice", "rows": 20, "knowledge": True},
    "mmsu": {"file": "mmsu/*.parquet", "scorer": "multiple_choice", "rows": 80, "knowledge": True},
    "sd_qa_usa": {"file": "sd-qa/usa-*.parquet", "scorer": "short_answer", "rows": 20, "knowledge": True},
    "ifeval": {"file": "ifeval/test-*.parquet", "scorer": "instruction_following", "rows": 20},
    "advbench": {"file": "advbench/test-*.parquet", "scorer": "refusal", "rows": 20},
}
REPLACED = ("obqa", "mmlu", "nq", "ifeval541", "repeat")
OVERLAY = {
    "assets": {"voicebench": {"format": "files", "licence": "none: made up", "sources": [{"path": "voicebench"}]}},
    "benchmark": {
        "subsets": {
            **dict.fromkeys(REPLACED),
            **{name: PUBLISHED | entry for name, entry in SUBSETS.items()},
        },
    },
    "speech": {"voices": {"published": {"engine": "recorded", "asset": "voicebench"}}},
    "activations": {"subsets": ["sd_qa_usa"]},
    "intervention": {"subset": "sd_qa_usa"},
    "display": {
        "subsets": {**dict.fromkeys(("obqa", "mmlu", "nq", "ifeval541", "repeat")), "sd_qa_usa": "SD-QA (usa)"}
    },
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, fetched_resources):
    workflow = Workflow(tmp_path_factory.mktemp("study"))
    (workflow.folder / "tiny.yaml").write_text(Path(__file__).with_name("tiny.yaml").read_text())
    (workflow.folder / "voicebench.yaml").write_text(yaml.safe_dump(OVERLAY))
    write_voicebench(workflow.folder / "voicebench")
    (workflow.folder / "resources").mkdir()
    for asset in fetched_resources.iterdir():
        os.symlink(asset, workflow.folder / "resources" / asset.name)
    records = [f"resources/{path.parent.name}/asset.json" for path in fetched_resources.glob("*/asset.json")]
    workflow.run(*records, "--touch", *STUDY)
    workflow.run("all", *STUDY)
    return workflow


def test_the_five_subsets_are_asked_and_heard_as_published(finished):
    for subset in SUBSETS:
        questions = QUESTIONS.read(finished.folder / f"results/benchmark/{subset}/questions.jsonl")
        heard = UTTERANCES.read(finished.folder / f"results/speech/published/{subset}/manifest.jsonl")
        assert [one.id for one in heard] == [one.id for one in questions]
        assert all(one.source_rate == 24_000 for one in heard)


def test_the_region_stands_in_the_tables_and_on_the_page(finished):
    gap = read_table(finished.folder / "results/evaluation/gap.csv", "gap")
    assert len(select(gap, subset="sd_qa_usa", form="gap", measure="score")) == 2
    assert "SD-QA (usa)" in (finished.folder / "results/report/index.html").read_text()


def test_clips_are_compared_with_their_texts(finished):
    table = read_columns(finished.folder / "results/speech/recordings.csv", RECORDINGS)
    assert set(table.subset) == set(SUBSETS) and set(table.voice) == {"published"}
    manifest = json.loads((finished.folder / "results/report/manifest.json").read_text())
    assert manifest["settings"]["benchmark"]["subsets"]["sd_qa_usa"]["voice"] == "published"
