"""Transcribing in shards gives the manifest of one job, and shards that do not fit are named."""

import numpy as np
import pytest

from workflow_scripts.artifacts.files import ArtifactError, sha256_file
from workflow_scripts.artifacts.questions import QUESTIONS, Question
from workflow_scripts.artifacts.shards import shard_names
from workflow_scripts.artifacts.utterances import SYNTHESIS, UTTERANCES, Utterance
from workflow_scripts.shards.join_shards import join_shards
from workflow_scripts.shards.split_prompts import split_prompts
from workflow_scripts.speech.audio import write_flac
from workflow_scripts.speech.transcribe_speech import transcribe_speech

N = 11
FACTS = {"subset": "instructions", "reference": [], "scorer": "short_answer"}


def utterance(folder, question, number):
    """Noise of 0.3 to 4 s; one clip was dropped, one came with its transcript."""
    if number == 3:
        return Utterance(id=question.id, audio=None, sha256=None, seconds=0, sample_rate=16_000, kept=False, attempts=1)
    samples = np.random.default_rng(number).normal(size=4800 + 5333 * number).astype(np.float32) * 0.1
    path = f"audio/{question.id}.flac"
    write_flac(folder / path, samples)
    given = {"transcript": "given words", "transcript_given": True} if number == 5 else {}
    return Utterance(
        **{"id": question.id, "audio": path, "sha256": sha256_file(folder / path), "seconds": len(samples) / 16_000},
        **{"sample_rate": 16_000, "kept": True, "attempts": 1},
        **given,
    )


def transcribed(questions, folder, numbers, model, batch_size):
    """The manifest of the clips of some questions, all in `folder`."""
    asked = QUESTIONS.read(questions)
    SYNTHESIS.write(folder / "synthesis.jsonl", [utterance(folder, one, numbers[one.id]) for one in asked], {})
    arguments = questions, folder / "synthesis.jsonl", model / "asset.json", folder / "manifest.jsonl"
    settings = {"settings": {"asset": "tiny", "batch_size": batch_size}, "wer_limit": None, "device": "cpu"}
    transcribe_speech(*arguments, **settings)
    return folder / "manifest.jsonl"


def without_places(path):
    return [row.model_copy(update={"audio": None}) for row in UTTERANCES.read(path)]


@pytest.fixture
def prompts(tmp_path):
    asked = [
        Question(
            id=f"train-{n:05d}",
            prompt="five little words are here",
            spoken="five little words",
            source={"wer_filter": n != 7},
            **FACTS,
        )
        for n in range(N)
    ]
    QUESTIONS.write(tmp_path / "questions.jsonl", asked, {})
    return tmp_path / "questions.jsonl", {one.id: n for n, one in enumerate(asked)}


def shards_of(questions, folder, n_shards, seed=1):
    paths = [folder / f"{name}.jsonl" for name in shard_names(N, -(-N // n_shards))]
    split_prompts(questions, paths, seed=seed)
    return paths


@pytest.mark.parametrize("n_shards", [2, 4])
def test_transcripts_in_shards_are_the_same_bit_for_bit_in_float32(
    prompts, tiny_whisper, tmp_path, monkeypatch, n_shards
):
    monkeypatch.setattr("workflow_scripts.speech_lm.device.multiplies_bfloat16", lambda _: False)
    questions, numbers = prompts
    whole = transcribed(questions, tmp_path / "whole", numbers, tiny_whisper, batch_size=3)
    parts = [
        transcribed(shard, tmp_path / "parts" / "shards" / shard.stem, numbers, tiny_whisper, batch_size=3)
        for shard in shards_of(questions, tmp_path / "split", n_shards)
    ]
    assert len(parts) == n_shards
    joined = tmp_path / "parts" / "manifest.jsonl"
    join_shards(questions, parts, joined, kind="utterances")
    assert without_places(joined) == without_places(whole)
    heard = {row.transcript for row in UTTERANCES.read(joined) if row.transcript}
    assert len(heard) > N // 2, "clips that sound alike would prove nothing"
    for row in UTTERANCES.read(joined):
        assert row.audio is None or row.audio_file(joined.parent).is_file()


def test_a_shard_that_is_missing_or_of_another_seed_is_named_and_nothing_written(prompts, tmp_path):
    questions, numbers = prompts

    def spoken(shard, name):
        folder = tmp_path / name / shard.stem
        SYNTHESIS.write(
            folder / "synthesis.jsonl",
            [utterance(folder, one, numbers[one.id]) for one in QUESTIONS.read(shard)],
            {"settings": "same"},
        )
        return folder / "synthesis.jsonl"

    first, second = (spoken(shard, "a") for shard in shards_of(questions, tmp_path / "split", 2))
    other = spoken(shards_of(questions, tmp_path / "other", 2, seed=2)[1], "b")
    joined = tmp_path / "synthesis.jsonl"
    with pytest.raises(
        ArtifactError, match=r"5 prompts, first 'train-\d+', are in none of the 1 shards.*one is missing"
    ):
        join_shards(questions, [first], joined, kind="synthesis")
    with pytest.raises(
        ArtifactError, match=r"b/01-of-02/synthesis\.jsonl: .train-\d+. stands in .*a/00-of-02.*another seed"
    ):
        join_shards(questions, [first, other], joined, kind="synthesis")
    second.unlink()
    with pytest.raises(ArtifactError, match=r"a/01-of-02/synthesis\.jsonl: not found"):
        join_shards(questions, [first, second], joined, kind="synthesis")
    assert not joined.exists()
