"""Base-model answers: what is generated, what is taken over, and that a killed run ends with the same file."""

import pytest

from workflow_scripts.artifacts.answers import ANSWERS
from workflow_scripts.artifacts.files import ArtifactError, sha256_text
from workflow_scripts.artifacts.questions import QUESTIONS
from workflow_scripts.speech_lm.families.composite import CompositeSpeechLM, load_composite
from workflow_scripts.training.answer_instructions import answer_instructions, given_answer


def run(instructions, output):
    answer_instructions(
        instructions.questions, instructions.backbone, output, max_new_tokens=5, batch_size=3, system_prompt=None
    )
    return [answer.model_dump(exclude={"seconds"}) for answer in ANSWERS.read(output)]


def test_answers_are_greedy_answers_to_each_prompt_in_order(instructions, tmp_path):
    found = run(instructions, tmp_path / "a.jsonl")
    questions = QUESTIONS.read(instructions.questions)
    model = load_composite(backbone=instructions.backbone, checkpoint=None, encoder=None)
    assert [answer["id"] for answer in found] == [question.id for question in questions]
    for question, answer in zip(questions, found):
        assert answer["prompt_hash"] == sha256_text(question.prompt)[:16]
        if question.scorer == "repeat":
            assert answer["answer"] == question.reference[0]
            assert model.tokenizer.decode(answer["token_ids"]) == question.reference[0]
            assert answer["finish_reason"] == "stop"
        else:
            alone = model.generate([model.encode_text(question.prompt)], max_new_tokens=5)[0]
            assert tuple(answer["token_ids"]) == alone.token_ids


def test_a_killed_run_goes_on_and_ends_with_the_same_answers(instructions, tmp_path, monkeypatch):
    whole = run(instructions, tmp_path / "whole.jsonl")
    calls = []
    generate = CompositeSpeechLM.generate

    def killed_at_the_third_batch(self, queries, **options):
        calls.append(len(queries))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return generate(self, queries, **options)

    monkeypatch.setattr(CompositeSpeechLM, "generate", killed_at_the_third_batch)
    with pytest.raises(KeyboardInterrupt):
        run(instructions, tmp_path / "a.jsonl")
    partial = tmp_path / ".a.jsonl.partial"
    with open(partial, "a", encoding="utf-8") as file:
        file.write('{"batch": 2, "answ')  # a line cut off by the kill
    assert run(instructions, tmp_path / "a.jsonl") == whole
    assert calls == [3, 3, 2, 2]  # 8 prompts to answer: the two finished batches are not computed again
    assert not partial.exists()


def test_a_partial_file_of_other_settings_is_not_used(instructions, tmp_path):
    whole = run(instructions, tmp_path / "whole.jsonl")
    (tmp_path / ".a.jsonl.partial").write_text('{"fingerprint": "other"}\n{"batch": 0, "answers": []}\n')
    assert run(instructions, tmp_path / "a.jsonl") == whole


def test_answers_that_come_with_the_data_are_taken_and_no_model_is_loaded(instructions, tmp_path, monkeypatch):
    changes = [
        {"scorer": "short_answer", "reference": ["Paris", "the city"]},
        {"scorer": "multiple_choice", "reference": ["C"], "options": ["mud", "ice", "tundra", "sea"]},
    ]
    asked = [q.model_copy(update=c) for q, c in zip(QUESTIONS.read(instructions.questions), changes)]
    QUESTIONS.write(tmp_path / "q.jsonl", asked, {})
    monkeypatch.setattr("workflow_scripts.training.answer_instructions.load_composite", None)
    output = tmp_path / "a.jsonl"
    answer_instructions(
        tmp_path / "q.jsonl", instructions.backbone, output, max_new_tokens=1, batch_size=3, system_prompt=None
    )
    found = ANSWERS.read(output)
    assert [answer.answer for answer in found] == ["Paris", "C. tundra"]
    assert {answer.finish_reason for answer in found} == {"stop"}
    assert len(found[1].token_ids) > 1, "what comes with the data is not cut"


def test_a_prompt_without_answer_is_named(instructions):
    question = QUESTIONS.read(instructions.questions)[0].model_copy(update={"reference": []})
    with pytest.raises(ArtifactError, match="'train-00000' has no reference answer"):
        given_answer(None, question)
