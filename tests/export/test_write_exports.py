"""What we export is what others read: each format against its own reader or schema, and the same numbers in all."""

import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import jsonschema
import pandas as pd
import pytest
import yaml
from huggingface_hub import parse_eval_result_entries

from tests.scoring.mini_voicebench import write_checkout
from workflow_scripts.artifacts.answers import ANSWERS, AnswerRecord
from workflow_scripts.artifacts.asset_record import AssetRecord, SourceRecord, write_asset_record
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.questions import QUESTIONS, Question
from workflow_scripts.audit.run import Options, audit
from workflow_scripts.evaluation.score_answers import score_form
from workflow_scripts.export.collected import Scored
from workflow_scripts.export.voicebench_files import write_voicebench
from workflow_scripts.export.write_exports import write_exports
from workflow_scripts.scoring.official import OfficialAnswer, official_score

PACKAGE = "every-eval-ever==0.3.0"
WHEEL_SHA256 = "564b8bc624c1f822f749a769dc69dc058a736e83d920cbeb147c3a30d3152317"
ANSWERED = {
    "obqa": {"text": ["A", "B", "who knows"], "speech": ["A", "hm", "C"]},
    "ifeval": {"text": ["one two", "three", ""], "speech": ["one", "two three", "x"]},
    "advbench": {"text": ["sorry", "sure", "no"], "speech": ["sure", "sure", "I am sorry"]},
}


def question(subset, number):
    fields = {
        "obqa": {"scorer": "multiple_choice", "reference": ["ABC"[number]], "options": ["sand", "mud", "ash", "clay"]},
        "ifeval": {"scorer": "instruction_following", "reference": []},
        "advbench": {"scorer": "refusal", "reference": []},
    }[subset]
    if subset == "ifeval":
        fields["instructions"] = [{"id": "punctuation:no_comma", "kwargs": {}}]
    prompt = f"{subset} question {number}"
    source = {"asset": "raw", "file": f"{subset}/test-*.parquet", "row": number + 1, "skill": "facts"}
    # The same ids in every subset: own data may have them.
    return Question(id=f"q-{number}", subset=subset, prompt=prompt, spoken=prompt, source=source, **fields)


@pytest.fixture
def study(tmp_path):
    """Answers and scores of one checkpoint on three subsets in two forms."""
    source = SourceRecord(kind="hub", hub="hlt-lab/voicebench", revision="main", commit="c" * 40, format="files")
    record = AssetRecord(name="raw", format="files", licence="x", source=source, files={})
    write_asset_record(tmp_path / "raw", record)
    paths = {"questions": [], "answers": [], "scores": [], "assets": [tmp_path / "raw" / "asset.json"]}
    for subset, forms in ANSWERED.items():
        asked = [question(subset, number) for number in range(3)]
        paths["questions"].append(tmp_path / "benchmark" / subset / "questions.jsonl")
        QUESTIONS.write(paths["questions"][-1], asked, {})
        folder = tmp_path / "evaluation" / "mine" / "final" / subset
        for form, texts in forms.items():
            records = [
                AnswerRecord(
                    **{"id": one.id, "form": form, "prompt_hash": "0" * 16, "answer": text, "token_ids": [1]},
                    **{"finish_reason": "stop", "seconds": 0.1},
                )
                for one, text in zip(asked, texts)
            ]
            paths["answers"].append(folder / f"{form}.00-of-01.answers.jsonl")
            ANSWERS.write(paths["answers"][-1], records, {"form": form, "shard": "00-of-01"})
            names = {"model": "mine", "checkpoint": "final", "subset": subset, "form": form}
            by_id = {record.id: record for record in records}
            paths["scores"].append(folder / f"{form}.scores.json")
            score_form(asked, by_id, asked[0].scorer, None, names).write(paths["scores"][-1])
    return paths


@pytest.fixture
def exported(study, tmp_path):
    voices = dict.fromkeys(ANSWERED, "published")
    write_exports(*study.values(), tmp_path / "export", voices=voices, models={"mine": "org/mine"})
    return tmp_path / "export"


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_voicebench_files_have_one_line_a_question_and_both_modalities(exported):
    names = {path.name for path in (exported / "voicebench").iterdir()}
    assert names == {f"mine.final-{subset}-test-{kind}.jsonl" for subset in ANSWERED for kind in ("text", "audio")}
    found = rows(exported / "voicebench/mine.final-ifeval-test-audio.jsonl")[0]
    assert found["instruction_id_list"] == ["punctuation:no_comma"] and found["kwargs"] == [{}] and found["key"] == 0
    assert [row["response"] for row in rows(exported / "voicebench/mine.final-obqa-test-audio.jsonl")] == [
        "A",
        "hm",
        "C",
    ]


@pytest.mark.parametrize("subset, scorer", [("obqa", "multiple_choice"), ("advbench", "refusal")])
@pytest.mark.parametrize("form, kind", [("text", "text"), ("speech", "audio")])
def test_the_official_evaluator_gives_the_exported_file_our_official_number(
    exported, tmp_path, subset, scorer, form, kind
):
    checkout = write_checkout(tmp_path)
    ours = official_score(
        checkout,
        scorer,
        [
            OfficialAnswer(n, f"{subset} question {n}", text, "ABC"[n] if subset == "obqa" else "")
            for n, text in enumerate(ANSWERED[subset][form])
        ],
        seed=4,
    )
    path = exported / f"voicebench/mine.final-{subset}-test-{kind}.jsonl"
    # As evaluate.py of the checkout does, in a process of its own: read the lines, hand them to the evaluator.
    name, cls, key = {
        "multiple_choice": ("mcq", "MCQEvaluator", "acc"),
        "refusal": ("harm", "HarmEvaluator", "refusal_rate"),
    }[scorer]
    program = f"""
import json, random, sys, types
package = types.ModuleType("e"); package.__path__ = [{str(checkout / "src/evaluator")!r}]
base = types.ModuleType("e.base"); base.Evaluator = type("Evaluator", (), {{}})
sys.modules |= {{"e": package, "e.base": base}}
import importlib
random.seed(4)
data = [json.loads(line) for line in open({str(path)!r})]
print(importlib.import_module("e.{name}").{cls}().evaluate(data)[{key!r}])
"""
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert float(printed) * (1 if scorer == "multiple_choice" else 100) == pytest.approx(ours.score)


def test_rows_of_bbh_are_what_its_evaluator_reads(tmp_path):
    """The task stands in the id, by which phrases are chosen, and a letter in brackets."""
    common = {"subset": "bbh", "spoken": "q", "scorer": "yes_no", "options": ["sand", "mud"]}
    skills = ("sports_understanding", "hyperbaton")
    asked = [
        Question(id=f"bbh-{n}", prompt=f"q{n}", reference=[gold], source={"skill": skill}, **common)
        for n, (gold, skill) in enumerate(zip(("yes", "B"), skills))
    ]
    answers = [
        AnswerRecord(
            **{"id": one.id, "form": "text", "prompt_hash": "0" * 16, "answer": text, "token_ids": []},
            **{"finish_reason": "stop", "seconds": 0},
        )
        for one, text in zip(asked, ("yes", "a"))
    ]
    names = {"model": "mine", "checkpoint": "final", "subset": "bbh", "form": "text"}
    file = score_form(asked, {one.id: one for one in answers}, "yes_no", None, names)
    found = rows(write_voicebench(Scored(file, "published", asked, answers), tmp_path))
    assert [row["id"] for row in found] == ["sports_understanding_bbh-0", "hyperbaton_bbh-1"]
    assert [row["reference"] for row in found] == ["yes", "(B)"]


def test_the_exported_files_audited_give_the_gap_of_the_scores(exported, study):
    scores = {path.name: json.loads(path.read_text())["mean"] for path in study["scores"] if "obqa" in str(path)}
    forms = {
        form: [str(exported / f"voicebench/mine.final-obqa-test-{kind}.jsonl")]
        for form, kind in (("text", "text"), ("speech", "audio"))
    }
    found = audit(forms, Options("voicebench"))
    gap = [row for row in found.tables["gap"] if row["form"] == "gap" and row["scorer"] == "multiple_choice"]
    assert gap[0]["value"] == pytest.approx(scores["text.scores.json"] - scores["speech.scores.json"])


def test_every_eval_ever_pairs_the_forms_and_refers_to_its_results(exported):
    aggregate, samples = sorted((exported / "every_eval_ever").rglob("*.json*"), key=lambda path: path.suffix)
    record, found = json.loads(aggregate.read_text()), rows(samples)
    assert aggregate.parent.relative_to(exported / "every_eval_ever") == Path("data/modgap/org/mine")
    details = record["detailed_evaluation_results"]
    assert (exported / "every_eval_ever" / details["file_path"]) == samples
    assert details["checksum"] == hashlib.sha256(samples.read_bytes()).hexdigest() and details["total_rows"] == 18
    assert {row["evaluation_result_id"] for row in found} == {
        result["evaluation_result_id"] for result in record["evaluation_results"]
    }
    pair = [row for row in found if row["metadata"]["pair"] == "obqa/q-0"]
    assert [row["metadata"]["form"] for row in pair] == ["speech", "text"]
    assert pair[0]["sample_hash"] == pair[1]["sample_hash"] and pair[0]["metadata"]["voice"] == "published"


@pytest.mark.real
def test_every_eval_ever_files_are_valid_under_the_published_schemas(exported, tmp_path):
    """The schemas come out of the package at test time; nothing of it is installed or imported."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--python-version", "3.12"]
    command += ["--only-binary=:all:", "--dest", str(tmp_path), PACKAGE]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("every_eval_ever-*.whl")
    assert hashlib.sha256(wheel.read_bytes()).hexdigest() == WHEEL_SHA256
    with zipfile.ZipFile(wheel) as archive:
        schemas = {
            name: json.loads(archive.read(f"every_eval_ever/schemas/{name}.schema.json"))
            for name in ("eval", "instance_level_eval")
        }
    aggregate, samples = sorted((exported / "every_eval_ever").rglob("*.json*"), key=lambda path: path.suffix)
    jsonschema.Draft7Validator(schemas["eval"]).validate(json.loads(aggregate.read_text()))
    validator = jsonschema.Draft7Validator(schemas["instance_level_eval"])
    for row in rows(samples):
        validator.validate(row)


def test_eval_results_are_read_by_the_hub_s_own_reader(exported):
    path = exported / "eval_results/mine.final/obqa_speech.yaml"
    (entry,) = parse_eval_result_entries(yaml.safe_load(path.read_text()))
    assert (entry.dataset_id, entry.task_id, entry.dataset_revision) == ("hlt-lab/voicebench", "obqa", "c" * 40)
    assert entry.value == pytest.approx(200 / 3, abs=1e-3) and "form speech, voice published" in entry.notes


def test_the_parquet_table_has_every_answer_with_its_score(exported):
    table = pd.read_parquet(exported / "questions.parquet")
    assert len(table) == 18 and set(table.form) == {"text", "speech"} and set(table.skill) == {"facts"}
    assert table[(table.subset == "obqa") & (table.form == "speech")].score.tolist() == [1.0, 0.0, 1.0]


def test_the_same_results_have_the_same_files(study, exported, tmp_path):
    before = {path: path.read_bytes() for path in exported.rglob("*") if path.is_file()}
    voices = dict.fromkeys(ANSWERED, "published")
    write_exports(*study.values(), exported, voices=voices, models={"mine": "org/mine"})
    assert {path: path.read_bytes() for path in exported.rglob("*") if path.is_file()} == before


def test_a_score_without_an_answer_is_named(study, tmp_path):
    with pytest.raises(ArtifactError, match=r"advbench/speech.scores\.json: no answer or question of \['q-0'"):
        write_exports(
            study["questions"],
            study["answers"][:-1],
            study["scores"],
            study["assets"],
            tmp_path / "export",
            voices=dict.fromkeys(ANSWERED, "v"),
            models={"mine": "mine"},
        )
