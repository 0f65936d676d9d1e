"""scores.json from stored answers: planted scores, joined shards, refused incomplete inputs, no model needed."""

import subprocess
import sys

import pytest

from workflow_scripts.artifacts.answers import ANSWERS, AnswerRecord, OptionRecord
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


def test_option_probabilities_are_read_from_the_answers_with_n_and_interval(tmp_path):
    path = tmp_path / "questions.jsonl"
    asked = [
        Question(
            id=f"q{number}",
            subset="s",
            prompt="?",
            spoken="?",
            reference=["B"],
            options=["a lake", "a desert"],
            scorer="multiple_choice",
            source={},
        )
        for number in range(3)
    ]
    QUESTIONS.write(path, asked, {})
    heard = [OptionRecord(letters=[-3.0, -1.0], texts=[-6.0, -4.0], text_tokens=[2, 2]), None]
    heard.append(OptionRecord(letters=[-1.0, -2.0], texts=[-6.0, -16.0], text_tokens=[2, 2]))
    answers = tmp_path / "text.jsonl"
    records = [record(f"q{n}", "text", "B").model_copy(update={"options": one}) for n, one in enumerate(heard)]
    ANSWERS.write(answers, records, {"form": "text", "shard": "00-of-01", "dropped": []})
    found = score(path, [answers], forms=("text",), scorer="multiple_choice")["text"]
    assert (found.mean, found.n) == (100, 3)
    assert (found.estimates["letter_accuracy"].value, found.estimates["letter_accuracy"].n) == (50, 2)
    assert found.estimates["letter_margin"].value == 0.5
    assert found.estimates["option_accuracy"].value == 50
    assert found.estimates["corrected"].value == 100
    assert found.estimates["corrected"].low < 100
    assert found.estimates["unparsed_rate"].high > 0
    assert found.questions[1].options is None
    assert (found.questions[2].options.letter, found.questions[2].options.letter_correct) == ("A", False)
    assert found.provenance["option_probabilities"] == "1"


def test_option_probabilities_that_fit_no_question_name_it(tmp_path, asked):
    bad = record("q0", "text", "x").model_copy(
        update={"options": OptionRecord(letters=[-1.0], texts=[-1.0], text_tokens=[1])}
    )
    rest = [record(name, "text", "x") for name in ("q1", "q2", "q3")]
    ANSWERS.write(tmp_path / "text.jsonl", [bad, *rest], {"form": "text", "shard": "00-of-01", "dropped": []})
    with pytest.raises(ArtifactError, match=r"question 'q0' of s: the right option 'Paris' is none of ''"):
        score(asked, [tmp_path / "text.jsonl"], forms=("text",))


@pytest.mark.parametrize(
    "answer",
    [
        "\x00\x07Paris\x1b[0m\x00",
        "x" * 100_000,
        "word " * 20_000,
        " \t\n\u2028\u200b ",
        "Это Париж",
        "这是巴黎",
        "\u2028Paris\u2029",
        "<script>Paris</script>",
    ],
    ids=["control", "one long word", "100k", "spaces", "cyrillic", "chinese", "line separators", "html"],
)
def test_odd_answers_pass_through_files_and_get_a_score(asked, tmp_path, answer):
    found = score(asked, [write(tmp_path, form, RIGHT | {"q0": answer}) for form in ("text", "speech")])["text"]
    assert found.n == 4
    assert found.questions[0].score == ("Paris" in answer)
    assert found.questions[0].unparsed == (not answer.strip(" \t\n\u2028\u200b"))


def test_answers_of_another_form_in_the_place_of_a_forms_file_are_refused_by_name(asked, tmp_path):
    text, speech = (write(tmp_path, form, RIGHT) for form in ("text", "speech"))
    speech.write_bytes(text.read_bytes())
    with pytest.raises(ArtifactError, match=r"speech\.00-of-01\.answers\.jsonl: holds answers of form 'text'"):
        score(asked, [text, speech])


def test_an_id_that_is_answered_twice_is_refused(asked, tmp_path):
    with pytest.raises(ArtifactError, match="id 'q0' appears twice; ids must be unique"):
        ANSWERS.write(tmp_path / "x.jsonl", [record("q0", "text", "a"), record("q0", "text", "b")], {})
    path = write(tmp_path, "text", RIGHT)
    path.write_text(path.read_text().replace('"id":"q1"', '"id":"q0"'))
    with pytest.raises(ArtifactError, match=r"text\.00-of-01.*id 'q0' appears twice"):
        score(asked, [path], forms=("text",))


def test_an_unknown_scorer_is_refused_with_the_nearest_one(asked, tmp_path):
    with pytest.raises(ArtifactError, match=r"unknown scorer 'short_anser'; did you mean 'short_answer'"):
        score(asked, [write(tmp_path, "text", RIGHT)], forms=("text",), scorer="short_anser")


def test_an_unknown_scorer_far_from_all_is_not_guessed_at(asked, tmp_path):
    with pytest.raises(ArtifactError, match=r"unknown scorer 'xq'; known are multiple_choice, "):
        score(asked, [write(tmp_path, "text", RIGHT)], forms=("text",), scorer="xq")


def test_answers_of_an_older_format_say_what_to_do(asked, tmp_path):
    path = write(tmp_path, "text", RIGHT)
    path.write_text(path.read_text().replace("answers/2", "answers/1"))
    with pytest.raises(ArtifactError, match="schema 'answers/1', expected 'answers/2'; delete it and run again"):
        score(asked, [path], forms=("text",))


def test_scoring_needs_no_deep_learning_library():
    code = "import sys, workflow_scripts.evaluation.score_answers; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
