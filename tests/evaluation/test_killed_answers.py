"""A killed answering step goes on behind its last finished batch, with the answers of an uninterrupted run."""

import os
from types import SimpleNamespace

import pytest

from tests.evaluation.test_answer_questions import SETTINGS, FakeLM, source, write_files
from workflow_scripts.artifacts.answers import ANSWERS
from workflow_scripts.artifacts.partial import PartialBatches
from workflow_scripts.artifacts.questions import QUESTIONS
from workflow_scripts.evaluation import answer_questions as tuned
from workflow_scripts.speech_lm.opening.open_model import LoadedModel


@pytest.fixture
def files(tmp_path):
    return write_files(tmp_path)


class KilledLM(FakeLM):
    """Answers so many batches; the process is gone in the next one."""

    def __init__(self, batches):
        super().__init__()
        self.left = batches

    def generate_and_score(self, queries, requests, *, max_new_tokens):
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return super().generate_and_score(queries, requests, max_new_tokens=max_new_tokens)


def answer(lm, files, folder, monkeypatch, fingerprint="of this run"):
    """Run the tuned step on multiple-choice questions; gives the records by form."""
    asked = [q.model_copy(update={"options": ["a", "b c"], "scorer": "multiple_choice", "reference": ["A"]})
             for q in QUESTIONS.read(files["questions"])]  # fmt: skip
    QUESTIONS.write(folder / "choice", asked, {})
    monkeypatch.setattr(tuned, "open_model", lambda *_, **__: LoadedModel(lm, {"model": "m"}))
    outputs = {form: folder / f"{form}.jsonl" for form in ("text", "speech", "asr")}
    tuned.answer_questions(
        *(folder / "choice", files["manifest"], files["features"], source(folder / "x", files["asset"])),
        *outputs.values(),
        PartialBatches(outputs["text"], fingerprint),
        **{"shard": "00-of-01", "max_new_tokens": 99, "evaluation": SETTINGS, "seed": 0},
    )
    return {form: ANSWERS.read(path) for form, path in outputs.items()}


@pytest.mark.parametrize("done", [1, 2, 4])
def test_a_killed_step_goes_on_behind_its_last_batch_and_ends_with_the_same_answers(files, tmp_path, monkeypatch, done):
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole = KilledLM(99)
    expected = answer(whole, files, tmp_path / "whole", monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        answer(KilledLM(done), files, tmp_path / "killed", monkeypatch)
    partial = tmp_path / "killed" / ".text.jsonl.partial"
    with open(partial, "a", encoding="utf-8") as file:
        file.write('["written prompts 9", [')  # cut off by the kill
    rest = KilledLM(99)
    assert answer(rest, files, tmp_path / "killed", monkeypatch) == expected
    assert rest.batches == whole.batches[done:], "the others only"
    assert not partial.exists()


def test_batches_of_other_inputs_settings_or_code_are_computed_again(files, tmp_path, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        answer(KilledLM(2), files, tmp_path, monkeypatch)
    again = KilledLM(99)
    answer(again, files, tmp_path, monkeypatch, fingerprint="of another run")
    assert len(again.batches) == 5


def test_a_steps_batches_hang_on_its_params_and_on_when_its_inputs_were_written(tmp_path):
    given = tmp_path / "in"
    given.write_text("x")

    def of(code="1", output="out"):
        params = {"code": code, "entry": {"name": "m"}}
        return PartialBatches.of_step(SimpleNamespace(input=[given], params=params, output=[tmp_path / output]))

    first = of()
    first.add("a", 1)
    assert of().get("a") == 1 and of(code="2").get("a") is None
    of().add("a", 1)
    os.utime(given, (1, 1))
    assert of().get("a") is None
