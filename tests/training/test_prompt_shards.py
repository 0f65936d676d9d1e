"""Training prompts in shards give what one job gives, bit for bit, and shards that do not fit are named."""

import sys

import pytest
import torch

from workflow_scripts.artifacts.answers import ANSWERS
from workflow_scripts.artifacts.files import ArtifactError, sha256_file
from workflow_scripts.artifacts.questions import QUESTIONS
from workflow_scripts.artifacts.shards import shard_names
from workflow_scripts.artifacts.utterances import SYNTHESIS
from workflow_scripts.shards.join_shards import join_shards
from workflow_scripts.shards.split_prompts import split_prompts
from workflow_scripts.speech.synthesize_speech import synthesize_speech
from workflow_scripts.training.answer_instructions import answer_instructions

SAY = """
import sys, wave
text, out = sys.argv[1:]
with wave.open(out, "wb") as file:
    file.setparams((1, 2, 16000, 0, "NONE", ""))
    file.writeframes(b"".join(((ord(c) * 97) % 9000).to_bytes(2, "little") * 400 for c in text))
"""
SETTINGS = {"max_new_tokens": 4, "batch_size": 3, "system_prompt": None}


def split(questions, folder, n_shards, seed=1):
    n = len(QUESTIONS.read(questions))
    shards = [folder / f"{name}.jsonl" for name in shard_names(n, -(-n // n_shards))]
    split_prompts(questions, shards, seed=seed)
    return shards


@pytest.fixture
def voice(tmp_path):
    (tmp_path / "say.py").write_text(SAY)
    return {"engine": "command", "command": [sys.executable, str(tmp_path / "say.py"), "{text}", "{out}"]}


def speak(questions, manifest, voice):
    synthesize_speech(questions, manifest, voice=voice, subset="instructions", max_seconds=30, retries=0)
    return manifest


@pytest.mark.parametrize("n_shards", [2, 5])
def test_speech_in_shards_is_the_same_bit_for_bit(instructions, voice, tmp_path, n_shards):
    whole = speak(instructions.questions, tmp_path / "whole" / "synthesis.jsonl", voice)
    folder = tmp_path / "parts"
    parts = [
        speak(shard, folder / "shards" / shard.stem / "synthesis.jsonl", voice)
        for shard in split(instructions.questions, tmp_path / "split", n_shards)
    ]
    joined = folder / "synthesis.jsonl"
    join_shards(instructions.questions, parts, joined, kind="synthesis")
    ours, theirs = SYNTHESIS.read(joined), SYNTHESIS.read(whole)
    assert [row.model_copy(update={"audio": None}) for row in ours] == [
        row.model_copy(update={"audio": None}) for row in theirs
    ]
    assert len({row.sha256 for row in ours}) > 1
    for one, other in zip(ours, theirs):
        assert sha256_file(one.audio_file(folder)) == sha256_file(other.audio_file(whole.parent))
    assert not (folder / "audio").exists(), "audio stays where its shard wrote it"


def test_answers_in_shards_are_the_same_bit_for_bit_in_float32(instructions, tmp_path, monkeypatch):
    monkeypatch.setattr("workflow_scripts.speech_lm.device.multiplies_bfloat16", lambda _: False)
    assert torch.get_num_threads() == 1
    whole = tmp_path / "whole.jsonl"
    answer_instructions(instructions.questions, instructions.backbone, whole, **SETTINGS)
    parts = []
    for shard in split(instructions.questions, tmp_path / "split", 3):
        parts.append(tmp_path / "answers" / shard.name)
        answer_instructions(shard, instructions.backbone, parts[-1], **SETTINGS)
    joined = tmp_path / "answers.jsonl"
    join_shards(instructions.questions, parts, joined, kind="answers")
    untimed = [[row.model_copy(update={"seconds": 0.0}) for row in ANSWERS.read(path)] for path in (joined, whole)]
    assert untimed[0] == untimed[1]


def test_shards_that_are_missing_or_of_another_split_or_settings_are_named(instructions, tmp_path):
    rows = {row.id: row for row in ANSWERS.read(instructions.answers)}

    def answered(shard, name, settings):
        path = tmp_path / name / shard.name
        ANSWERS.write(path, [rows[one.id] for one in QUESTIONS.read(shard)], {"settings": settings})
        return path

    shards = split(instructions.questions, tmp_path / "split", 3)
    parts = [answered(shard, "a", {"x": 1}) for shard in shards]
    joined = tmp_path / "joined.jsonl"
    with pytest.raises(ArtifactError, match="are in none of the 2 shards"):
        join_shards(instructions.questions, parts[:2], joined, kind="answers")
    other = answered(split(instructions.questions, tmp_path / "other", 3, seed=2)[2], "b", {"x": 1})
    with pytest.raises(ArtifactError, match=r"stands in .* too: shards of different splits"):
        join_shards(instructions.questions, [*parts[:2], other], joined, kind="answers")
    with pytest.raises(ArtifactError, match=r"c/02-of-03\.jsonl: made with other settings"):
        join_shards(instructions.questions, [*parts[:2], answered(shards[2], "c", {"x": 2})], joined, kind="answers")
    with pytest.raises(ArtifactError, match=r"is no prompt of .*00-of-03\.jsonl"):
        join_shards(shards[0], parts, joined, kind="answers")
    assert not joined.exists()
