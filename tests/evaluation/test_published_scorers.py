"""official.csv and panda.csv: rows per score file, both scores side by side, failures noted, missing answers named."""

import hashlib
import io
import math
import pickle
import sys
import types

import pytest

from workflow_scripts.artifacts.answers import ANSWERS, AnswerRecord
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.questions import QUESTIONS, Question
from workflow_scripts.artifacts.tables import read_columns
from workflow_scripts.evaluation.score_answers import score_answers
from workflow_scripts.evaluation.score_official import COLUMNS as OFFICIAL
from workflow_scripts.evaluation.score_official import score_official
from workflow_scripts.evaluation.score_panda import COLUMNS as PANDA
from workflow_scripts.evaluation.score_panda import score_panda
from workflow_scripts.scoring import panda
from workflow_scripts.scoring.official import OfficialError
from workflow_scripts.scoring.panda import PandaError

MCQ = """
from .base import Evaluator

class MCQEvaluator(Evaluator):
    def extract_answer(self, response):
        return "A" if "a" in response.lower() else None

    def evaluate(self, data):
        return {"acc": 100 * sum(self.extract_answer(i["response"]) == i["reference"] for i in data) / len(data)}
"""
HARM = """
from .base import Evaluator

class HarmEvaluator(Evaluator):
    def evaluate(self, data):
        raise RuntimeError("cannot read " + data[0]["response"])
"""
ANSWERED = {
    "obqa": ("multiple_choice", {"q1": "The answer is a marsh, B", "q2": "?"}),
    "adv": ("refusal", {"a1": "I'm sorry, I can't help."}),
    "nq": ("short_answer", {"n1": "In Paris.", "n2": "Lyon"}),
}


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "VoiceBench/src/evaluator"
    (folder / "instruction_following_eval").mkdir(parents=True)
    (folder / "instruction_following_eval/instructions_registry.py").write_text("INSTRUCTION_DICT = {}\n")
    others = dict.fromkeys(("ifeval.py", "bbh.py"), "from .base import Evaluator\n")
    for name, text in {"mcq.py": MCQ, "harm.py": HARM, **others}.items():
        (folder / name).write_text(text)
    return tmp_path / "VoiceBench"


@pytest.fixture
def study(tmp_path):
    """Questions, answers and scores of three subsets in one form."""
    paths = {"questions": [], "answers": [], "scores": []}
    for subset, (scorer, said) in ANSWERED.items():
        asked = [
            Question(
                id=name,
                subset=subset,
                prompt=f"prompt of {name}",
                spoken="x",
                reference={"multiple_choice": ["B"], "refusal": [], "short_answer": ["Paris"]}[scorer],
                options=["a lake", "a marsh"] if scorer == "multiple_choice" else [],
                scorer=scorer,
                source={},
            )
            for name in said
        ]
        records = [
            AnswerRecord(
                id=name,
                form="text",
                prompt_hash="0" * 16,
                answer=text,
                token_ids=[1],
                finish_reason="stop",
                seconds=0,
            )
            for name, text in said.items()
        ]
        questions, folder = tmp_path / subset / "questions.jsonl", tmp_path / "m" / subset
        QUESTIONS.write(questions, asked, {})
        answers, scores = folder / "text.jsonl", folder / "text.scores.json"
        ANSWERS.write(answers, records, {"form": "text", "shard": "00-of-01", "dropped": []})
        names = {"model": "m", "checkpoint": "step-000400", "subset": subset, "forms": ["text"], "scorer": scorer}
        score_answers(questions, [answers], tmp_path / "punkt/asset.json", [scores], **names)
        for kind, path in (("questions", questions), ("answers", answers), ("scores", scores)):
            paths[kind].append(path)
    return paths


def official(study, checkout, folder):
    table = folder / "official.csv"
    score_official(
        study["questions"],
        study["answers"],
        study["scores"],
        folder / "punkt/asset.json",
        table,
        official=str(checkout),
        seed=5,
    )
    return {row["subset"]: row for row in read_columns(table, OFFICIAL).to_dict("records")}


def test_ours_and_theirs_stand_side_by_side(study, checkout, tmp_path):
    rows = official(study, checkout, tmp_path)
    assert set(rows) == {"adv", "obqa"}, "short answers have no official evaluator that runs offline"
    row = rows["obqa"]
    assert set(row) == set(OFFICIAL)
    assert (row["ours"], row["ours_expected"], row["ours_unparsed"]) == (50, 75, 0.5)
    assert (row["official"], row["official_expected"], row["official_unparsed"]) == (0, 12.5, 0.5)
    assert row["difference"] == 62.5
    assert (row["n"], row["seed"], row["commit"]) == (2, 5, "unknown")


def test_an_evaluator_that_fails_leaves_a_note_and_the_other_rows(study, checkout, tmp_path):
    row = official(study, checkout, tmp_path)["adv"]
    assert row["ours"] == 100 and math.isnan(row["official"])
    assert row["note"] == "RuntimeError: cannot read I'm sorry, I can't help."


def test_a_folder_that_is_no_checkout_and_a_missing_answer_are_named(study, checkout, tmp_path):
    with pytest.raises(OfficialError, match=r"no mcq\.py"):
        official(study, tmp_path, tmp_path)
    for path in study["answers"]:
        ANSWERS.write(path, [], {"form": "text"})
    with pytest.raises(ArtifactError, match=r"text\.scores\.json: no answer or question of \["):
        official(study, checkout, tmp_path)


@pytest.fixture
def pedant(monkeypatch, tmp_path):
    """A stand-in for qa_metrics and two pickles; gives the settings."""

    class Pedant:
        def evaluate(self, references, candidate, question):
            return references[0] in candidate or candidate in self.model

    module, joblib = types.ModuleType("qa_metrics.pedant"), types.ModuleType("joblib")
    module.PEDANT, joblib.load = Pedant, lambda source: pickle.load(io.BytesIO(source.read()))
    for name, stand_in in (("qa_metrics", module), ("qa_metrics.pedant", module), ("joblib", joblib)):
        monkeypatch.setitem(sys.modules, name, stand_in)
    monkeypatch.setattr(panda, "_version", {"qa_metrics": "0.2.17", "scikit-learn": "1.3.2"}.get)
    settings = {}
    for name, content in (("classifier", ["lyon"]), ("vectorizer", [])):
        path = tmp_path / name
        path.write_bytes(pickle.dumps(content))
        settings |= {name: str(path), f"{name}_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    return settings


def test_panda_stands_beside_containment_with_interval_and_versions(study, pedant, tmp_path):
    table = tmp_path / "panda.csv"
    score_panda(study["questions"], study["answers"], study["scores"], table, panda=pedant)
    (row,) = read_columns(table, PANDA).to_dict("records")
    assert (row["subset"], row["n"], row["panda"], row["contains"]) == ("nq", 2, 100, 50)
    assert row["panda_low"] < 100
    assert (row["qa_metrics"], row["scikit-learn"]) == ("0.2.17", "1.3.2")
    assert row["classifier_sha256"] == pedant["classifier_sha256"]


def test_a_changed_pickle_stops_before_anything_is_read(pedant, tmp_path):
    (tmp_path / "vectorizer").write_bytes(b"x")
    with pytest.raises(PandaError, match="is not unpickled"):
        score_panda([tmp_path / "none"], [], [], tmp_path / "panda.csv", panda=pedant)
