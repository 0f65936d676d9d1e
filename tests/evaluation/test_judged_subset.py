"""An open-ended subset with a declared judge, from answers made elsewhere to gap.csv and Table 2, on a local server."""

import json

import pytest

from tests.evaluation.score_files import OPTIONS, build
from tests.evaluation.test_answer_questions import QUESTION
from tests.scoring.judge_server import Server
from workflow_scripts.artifacts.questions import QUESTIONS
from workflow_scripts.artifacts.tables import select
from workflow_scripts.artifacts.utterances import UTTERANCES, Utterance
from workflow_scripts.audit.take_answers import take_answers
from workflow_scripts.evaluation.score_answers import score_answers
from workflow_scripts.report.build_tables import gap_table
from workflow_scripts.settings.scoring import JudgeSettings

N = 5
ANSWERS = {"text": "Go to the sea.", "speech": "I did not hear it."}


def rate(request):
    """5 points for the sea, 2 for anything else."""
    return "5" if "the sea" in request["messages"][-1]["content"] else "2"


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = Server()
    made.replies = [rate]
    yield made
    made.http.shutdown()
    made.http.server_close()


def utterance(name):
    facts = {"audio": f"audio/{name}.flac", "sha256": None, "seconds": 1.5, "sample_rate": 24_000}
    return Utterance(id=name, transcript="x", wer=0.0, kept=True, reason="", attempts=1, **facts)


def test_an_open_subset_is_rated_once_and_reaches_gap_and_table(tmp_path, monkeypatch, server):
    monkeypatch.chdir(tmp_path)
    asked = {"scorer": "judge", "subset": "a", "reference": [], "options": []}
    questions = [
        QUESTION.model_copy(update=asked | {"id": f"a{k}", "prompt": f"Where to go on day {k}?"}) for k in range(N)
    ]
    QUESTIONS.write(tmp_path / "questions.jsonl", questions, {})
    UTTERANCES.write(tmp_path / "manifest.jsonl", [utterance(one.id) for one in questions], {})
    judge = JudgeSettings.model_validate({"address": server.address, "model": "judge-1", "votes": 2})
    told = {"model": "closed", "checkpoint": "final", "subset": "a", "forms": list(ANSWERS), "scorer": "judge"}

    def scored():
        files = []
        for form, answer in ANSWERS.items():
            given = tmp_path / f"m-alpacaeval-{form}.jsonl"
            given.write_text("".join(json.dumps({"prompt": q.prompt, "response": answer}) + "\n" for q in questions))
            files.append(tmp_path / f"{form}.answers.jsonl")
            facts = {"model": "closed", "harness": "voicebench", "form": form, "shard": "00-of-01", "seed": 0}
            take_answers(tmp_path / "questions.jsonl", tmp_path / "manifest.jsonl", [given], files[-1], **facts)
        scores = [tmp_path / f"{form}.scores.json" for form in ANSWERS]
        score_answers(
            tmp_path / "questions.jsonl", files, tmp_path, scores, judge=judge.model_dump(mode="json"), **told
        )
        return scores

    options = OPTIONS | {"overall": [], "knowledge": [], "backbones": {}}
    gap, _ = build(tmp_path, scored(), **options)
    rows = select(gap, subset="a", measure="score").set_index("form")
    assert rows["value"].to_dict() == {"text": 100, "speech": 40, "gap": 60} and rows["n"].eq(N).all()
    assert rows["low"]["gap"] < 60 <= rows["high"]["gap"]
    table = gap_table(gap.assign(subset=gap["subset"].replace("a", "overall"))).set_index("modality")
    assert table["overall"].to_dict() == {"text": 100, "speech": 40} and table["gap"]["text"] == 60
    asked_for = len(server.requests)
    scored()
    assert asked_for == 2 * 2 * N == len(server.requests), "kept replies are never asked for again"
