"""scores.json from stored answers: planted scores, joined shards, refused incomplete inputs, no model needed."""

import subprocess
import sys

import pytest

from workflow_scripts.artifacts.answers import ANSWERS, AnswerRecord
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.questions import QUESTIONS, Question
from workflow_scripts.artifacts.scores import ScoreFile
from workflow_scripts.evaluation.score_answers import nll_per_token, score_answers

RIGHT = {"q0": "It is Paris.", "q1": "Rome", "q2": "I think Oslo", "q3": "Bern"}


def record(name, form, answer, nll=None, tokens=0):
    return AnswerRecord(
        id=name,
        form=form,
        prompt_hash="0" * 16,
        answer=answer,
        token_ids=[1],
        finish_reason="stop",
        seconds=0.1,
        reference_nll=nll,
        reference_tokens=tokens,
    )


@pytest.fixture
def asked(tmp_path):
    path = tmp_path / "questions.jsonl"
    references = {"q0": ["Paris"], "q1": ["Rome", "Roma"], "q2": ["Oslo"], "q3": ["Bern"]}
    questions = [
        Question(id=name, subset="s", prompt="?", spoken="?", reference=right, scorer="short_answer", source={})
        for name, right in references.items()
    ]
    QUESTIONS.write(path, questions, {})
    return path


def write(folder, form, answers, shard="00-of-01", dropped=(), nll=None, **facts):
    path = folder / f"{form}.{shard}.answers.jsonl"
    records = [record(name, form, text, *(nll or {}).get(name, ())) for name, text in answers.items()]
    ANSWERS.write(path, records, {"form": form, "shard": shard, "dropped": list(dropped)} | facts)
    return path


def score(asked, answers, forms=("text", "speech"), scorer="short_answer"):
    outputs = [asked.parent / f"{form}.scores.json" for form in forms]
    names = {"model": "m", "checkpoint": "step-000400", "subset": "s", "forms": forms, "scorer": scorer}
    score_answers(asked, answers, asked.parent / "punkt" / "asset.json", outputs, **names)
    return {form: ScoreFile.read(path) for form, path in zip(forms, outputs)}


def test_planted_answers_get_their_scores_and_the_aggregate_is_their_mean(asked, tmp_path):
    wrong = RIGHT | {"q1": "Milan", "q3": ""}
    found = score(asked, [write(tmp_path, "text", RIGHT), write(tmp_path, "speech", wrong)])
    assert found["text"].mean == 100
    assert found["speech"].mean == 50
    assert [(row.id, row.score, row.outcome, row.unparsed) for row in found["speech"].questions] == [
        ("q0", 1, "contained", False),
        ("q1", 0, "not_contained", False),
        ("q2", 1, "contained", False),
        ("q3", 0, "empty", True),
    ]
    assert found["speech"].unparsed_rate == 0.25
    assert found["speech"].interval_low < 50 < found["speech"].interval_high
    assert (found["speech"].model, found["speech"].form, found["speech"].n) == ("m", "speech", 4)


def test_reference_loss_pools_nats_over_tokens(asked, tmp_path):
    nll = {"q0": (6.0, 2), "q1": (1.0, 4)}
    found = score(asked, [write(tmp_path, "text", RIGHT, nll=nll), write(tmp_path, "speech", RIGHT)])
    assert found["text"].nll_per_token == pytest.approx(7 / 6)
    assert found["speech"].nll_per_token is None
    assert found["text"].questions[0].reference_nll == 6.0


def test_loss_is_undefined_without_reference_answers():
    assert nll_per_token([record("q0", "text", "x")]) is None


def test_shards_in_any_order_score_like_one_file(asked, tmp_path):
    one = score(asked, [write(tmp_path, form, RIGHT) for form in ("text", "speech")])
    parts = [{name: RIGHT[name] for name in names} for names in (("q3", "q1"), ("q0", "q2"))]
    shards = [
        write(tmp_path, form, part, shard=f"0{number}-of-02")
        for form in ("speech", "text")
        for number, part in enumerate(parts)
    ]
    assert score(asked, shards[::-1]) == one


def test_dropped_questions_are_not_missed(asked, tmp_path):
    kept = {name: text for name, text in RIGHT.items() if name != "q2"}
    found = score(asked, [write(tmp_path, form, kept, dropped=["q2"]) for form in ("text", "speech")])
    assert [row.id for row in found["text"].questions] == ["q0", "q1", "q3"]


def test_a_question_without_answer_is_named_with_the_file(asked, tmp_path):
    kept = {name: text for name, text in RIGHT.items() if name != "q2"}
    answers = [write(tmp_path, "text", RIGHT), write(tmp_path, "speech", kept)]
    with pytest.raises(ArtifactError, match=r"speech\.00-of-01.*: 1 question.*no speech answer.*\['q2'\]"):
        score(asked, answers)


def test_forms_with_other_questions_are_refused(asked, tmp_path):
    kept = {name: text for name, text in RIGHT.items() if name != "q2"}
    answers = [write(tmp_path, "text", RIGHT), write(tmp_path, "speech", kept, dropped=["q2"])]
    with pytest.raises(ArtifactError, match=r"text and speech were asked other questions, such as \['q2'\]"):
        score(asked, answers)


def test_answers_to_unknown_questions_are_refused(asked, tmp_path):
    answers = [write(tmp_path, form, RIGHT | {"q9": "x"}) for form in ("text", "speech")]
    with pytest.raises(ArtifactError, match=r"answers to 1 question\(s\) that are not in .*questions.*'q9'"):
        score(asked, answers)


def test_a_missing_shard_is_noticed(asked, tmp_path):
    answers = [write(tmp_path, form, RIGHT, shard="00-of-02") for form in ("text", "speech")]
    with pytest.raises(ArtifactError, match="not a complete split"):
        score(asked, answers)


def test_a_missing_form_is_noticed(asked, tmp_path):
    with pytest.raises(ArtifactError, match="no answers of form 'speech'"):
        score(asked, [write(tmp_path, "text", RIGHT)])


def test_a_question_the_scorer_cannot_use_is_named(asked, tmp_path):
    answers = [write(tmp_path, form, RIGHT) for form in ("text", "speech")]
    with pytest.raises(ArtifactError, match=r"question 'q0' of s: a multiple-choice reference is one letter"):
        score(asked, answers, scorer="multiple_choice")


def test_scoring_needs_no_deep_learning_library():
    code = "import sys, workflow_scripts.evaluation.score_answers; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
