"""From questions to tables with a real tiny checkpoint: answers, scores and gap fit together; re-scoring is free."""

import pytest
import torch

from tests.evaluation.score_files import row
from tests.tiny_study import CHECKPOINT, write_tiny_study
from workflow_scripts.artifacts.answers import ANSWERS
from workflow_scripts.artifacts.partial import PartialBatches
from workflow_scripts.artifacts.questions import QUESTIONS
from workflow_scripts.artifacts.scores import ScoreFile
from workflow_scripts.artifacts.tables import read_table
from workflow_scripts.evaluation.answer_questions import answer_questions
from workflow_scripts.evaluation.build_gap_table import build_gap_table
from workflow_scripts.evaluation.score_answers import score_answers
from workflow_scripts.scoring.question_formats import reference_answer
from workflow_scripts.speech_lm.opening import open_model

FORMS = ("text", "speech", "asr")
OPTIONS = ["the river", "water", "what is it", "and"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A tiny study whose questions are multiple choice, answered by its checkpoint; gives the study and its folder."""
    folder = tmp_path_factory.mktemp("steps")
    study = write_tiny_study(folder)
    asked = [
        question.model_copy(
            update={
                "scorer": "multiple_choice",
                "options": OPTIONS,
                "reference": ["ABCD"[number % 4]],
                "subset": "tiny",
            }
        )
        for number, question in enumerate(QUESTIONS.read(study.questions))
    ]
    QUESTIONS.write(study.questions, asked, {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(open_model, "resolve_dtype", lambda *_: torch.float32)  # as `study.load`, on any machine
        answer_questions(
            **study.inputs(),
            **{form: folder / f"{form}.answers.jsonl" for form in FORMS},
            partial=PartialBatches(folder / "text.answers.jsonl", "of this run"),
            shard="00-of-01",
            max_new_tokens=4,
            evaluation={"batch_size": 3, "max_positions": 4000},
            seed=0,
        )
    return study, folder


def test_without_written_outputs_only_the_spoken_form_is_asked(study, tmp_path, monkeypatch):
    study, folder = study
    monkeypatch.setattr(open_model, "resolve_dtype", lambda *_: torch.float32)
    answer_questions(
        **study.inputs(),
        **dict.fromkeys(("text", "asr")),
        speech=tmp_path / "speech.answers.jsonl",
        partial=PartialBatches(tmp_path / "speech.answers.jsonl", "of this run"),
        shard="00-of-01",
        max_new_tokens=4,
        evaluation={"batch_size": 3, "max_positions": 4000},
        seed=0,
    )
    assert [path.name for path in tmp_path.iterdir()] == ["speech.answers.jsonl"]
    alone, beside = (ANSWERS.read(path / "speech.answers.jsonl") for path in (tmp_path, folder))
    assert [row.model_dump(exclude={"seconds"}) for row in alone] == [
        row.model_dump(exclude={"seconds"}) for row in beside
    ]


def score(study, folder):
    score_answers(
        study.questions,
        [folder / f"{form}.answers.jsonl" for form in FORMS],
        folder / "punkt" / "asset.json",
        [folder / f"{form}.scores.json" for form in FORMS],
        model="m",
        checkpoint=CHECKPOINT,
        subset="tiny",
        forms=FORMS,
        scorer="multiple_choice",
    )
    return {form: ScoreFile.read(folder / f"{form}.scores.json") for form in FORMS}


def test_stored_option_probabilities_are_the_models_own(study):
    study, folder = study
    lm = study.load()
    questions = {question.id: question for question in QUESTIONS.read(study.questions)}
    for record in ANSWERS.read(folder / "text.answers.jsonl"):
        question = questions[record.id]
        query = lm.encode_text(question.prompt)
        (alone,) = lm.option_log_probs([query], [OPTIONS])
        (cost,) = lm.answer_loss([query], [reference_answer(question)])
        assert record.options.letters == pytest.approx(alone.letters, abs=1e-3)
        assert record.options.texts == pytest.approx(alone.texts, abs=1e-3)
        assert record.reference_nll == pytest.approx(cost.nll, abs=1e-3)
        assert record.reference_tokens == cost.n_tokens


def test_speech_and_text_differ_and_an_exact_transcript_is_the_text(study):
    study, folder = study
    found = {form: ANSWERS.read(folder / f"{form}.answers.jsonl") for form in FORMS}
    for text, speech, asr in zip(found["text"], found["speech"], found["asr"]):
        assert text.options == asr.options
        assert text.options != speech.options


def test_scores_and_tables_follow_without_a_model_and_repeat(study, tmp_path):
    study, folder = study
    first = score(study, folder)
    assert score(study, folder) == first
    assert first["speech"].estimates["letter_accuracy"].n == first["speech"].n == 4
    paths = [folder / f"{form}.scores.json" for form in FORMS]
    tables = [tmp_path / name for name in ("gap.csv", "decline.csv", "cascade.csv", "twins.csv")]
    build_gap_table(paths, *tables, overall=["tiny"], knowledge=[], backbones={}, twins={}, repeats={})
    margin = row(read_table(tables[0], "gap"), subset="tiny", measure="letter_margin", form="gap")
    by_form = {form: first[form].estimates["letter_margin"].value for form in FORMS}
    assert margin["value"] == pytest.approx(by_form["text"] - by_form["speech"], abs=1e-4)
    assert margin["n"] == 4
    cascade = read_table(tables[2], "cascade")
    assert (set(cascade["cascade"]), set(cascade["n"])) == ({"tuned_asr"}, {4})
