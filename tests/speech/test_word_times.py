"""Word times from the voice and from the recogniser: planted attention, known sound, counts, inputs that do not fit."""

import json

import numpy as np
import pytest
import torch

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.questions import QUESTIONS, Question
from workflow_scripts.artifacts.utterances import UTTERANCES, Utterance
from workflow_scripts.artifacts.word_times import WORD_TIMES, TimedWord
from workflow_scripts.settings.speech import HibariVoice
from workflow_scripts.speech import voice_times
from workflow_scripts.speech.attention_times import AttentionTimes, token_starts
from workflow_scripts.speech.audio import prepare, write_flac
from workflow_scripts.speech.sound import cut_to_sound
from workflow_scripts.speech.time_words import RECOGNISER, VOICE, time_words
from workflow_scripts.speech.voice_times import HibariTimes
from workflow_scripts.speech.word_matching import SpokenWord

HEART = HibariVoice(engine="hibari")
TEXT = "Where is the river? In 1905, Dr. Smith saw it."


@pytest.fixture(scope="module")
def hibari():
    from hibari import Hibari

    return Hibari(threads=1)


@pytest.fixture(scope="module")
def durations():
    return HibariTimes(HEART)


def test_the_voice_times_every_word_of_its_audio_in_order(hibari, durations):
    found = durations.of(TEXT)
    assert found.seconds == pytest.approx(len(hibari(TEXT, seed=0)) / hibari.sample_rate, abs=1e-9)
    assert [word.text.strip(".,?") for word in found.words] == [
        *("Where", "is", "the", "river", "In", "1905", "Dr", "Smith", "saw", "it")
    ]
    edges = [edge for word in found.words for edge in (word.start, word.end)]
    assert edges == sorted(edges) and edges[0] > 0 and edges[-1] < found.seconds


def test_the_first_and_last_word_of_each_sentence_lie_where_its_sound_is(hibari, durations):
    """Sentences are made one by one, so the truth is known: within 40 ms at either end, once silence is cut away."""
    audio, begin = hibari(TEXT, seed=0), 0.0
    words = cut_to_sound(durations.of(TEXT).words, audio, hibari.sample_rate)
    for part, (first, last) in zip(hibari.stream(TEXT, seed=0), ((0, 3), (4, 9)), strict=True):
        loud = np.flatnonzero(np.abs(part) > 0.01 * np.abs(part).max()) / hibari.sample_rate
        assert words[first].start == pytest.approx(begin + loud[0], abs=0.04)
        assert words[last].end == pytest.approx(begin + loud[-1], abs=0.04)
        begin += len(part) / hibari.sample_rate


def test_a_slower_voice_has_later_words(durations):
    slow = HibariTimes(HibariVoice(engine="hibari", speed=0.5)).of("one two three")
    fast = durations.of("one two three")
    assert slow.seconds == pytest.approx(2 * fast.seconds, rel=0.1)
    assert slow.words[2].start > 1.7 * fast.words[2].start


def test_a_long_sentence_that_the_voice_says_in_parts_is_timed_to_its_end(hibari, durations):
    text = ", ".join(["the quick brown fox jumps over the lazy dog again and again"] * 9) + "."
    assert len(hibari.phonemize(text)) > 1
    found = durations.of(text)
    assert len(found.words) == 9 * 12
    assert found.seconds == pytest.approx(len(hibari(text, seed=0)) / hibari.sample_rate, abs=1e-9)


def test_a_text_without_any_sound_has_no_words(durations):
    assert durations.of("").words == []


def test_another_network_is_refused_with_the_remedy(monkeypatch):
    monkeypatch.setattr(voice_times, "DURATIONS", "/Cast_9999_output_0")
    with pytest.raises(ArtifactError, match=r"(?s)no durations '/Cast_9999_output_0' inside .*requirements\.txt"):
        HibariTimes(HEART)


def test_words_lose_the_silence_at_their_ends_only_and_never_reach_beyond_the_audio():
    samples = np.zeros(1000)
    samples[[200, 300, 500, 899]] = [1, -0.5, 0.2, 0.02]
    samples[[100, 950]] = 0.005  # below 1 % of the peak
    words = [SpokenWord(*word) for word in (("a", 0.0, 0.4), ("b", 0.4, 2.0), ("c", 0.6, 0.8), ("d", 1.5, 2.0))]
    found = cut_to_sound(words, samples, 1000)
    assert [(word.text, word.start, word.end) for word in found] == [
        ("a", 0.2, 0.301),
        ("b", 0.5, 0.9),
        ("c", 0.6, 0.8),
        ("d", 1.0, 1.0),
    ]
    assert cut_to_sound(words[:1], np.zeros(0), 1000) == [SpokenWord("a", 0.0, 0.0)]
    assert cut_to_sound(words[2:3], np.zeros(1000), 1000) == words[2:3]


@pytest.mark.parametrize("silent", [False, True], ids=["all positions look", "one position looks nowhere"])
def test_planted_attention_gives_the_first_frame_of_each_token(silent):
    planted = [0, 9, 20, 34]  # three tokens and the end of the text
    attention = np.full((2, 3 + 4 + 1, 50), 0.01)
    for k, (start, end) in enumerate(zip(planted, [*planted[1:], 50])):
        attention[:, 3 + k, start:end] = 1
    if silent:
        attention[:, 0] = 0
    assert token_starts(attention, 3) == pytest.approx(planted, abs=1)


def test_starts_never_run_back_and_lie_within_the_audio():
    attention = np.random.default_rng(0).uniform(size=(4, 12, 30))
    starts = token_starts(attention, 3)
    assert len(starts) == 8 and (np.diff(starts) >= 0).all() and starts[0] == 0 and starts[-1] < 30


def test_the_recogniser_gives_every_word_of_the_transcript_a_time_within_the_audio(tiny_whisper):
    frames = torch.from_numpy(np.random.default_rng(1).standard_normal((100, 32)).astype(np.float32))
    attention = AttentionTimes(tiny_whisper, device="cpu")
    words = attention.of("five little words", frames, real=60)
    assert [word.text for word in words] == ["five", "little", "words"]
    edges = [edge for word in words for edge in (word.start, word.end)]
    assert edges == sorted(edges) and edges[0] >= 0 and edges[-1] <= 60 / 50
    assert attention.of("", frames, real=60) == []


def test_frames_behind_the_audio_are_not_looked_at(tiny_whisper):
    """Attention is cut to the real frames: it is the same words' times, whatever room there is behind them."""
    frames = torch.from_numpy(np.random.default_rng(2).standard_normal((100, 32)).astype(np.float32))
    words = AttentionTimes(tiny_whisper, device="cpu").of("a b c d e f g h", frames, real=5)
    assert max(word.end for word in words) <= 5 / 50


def test_a_transcript_longer_than_the_decoder_takes_is_timed_up_to_there(tiny_whisper):
    frames = torch.zeros(20, 32)
    words = AttentionTimes(tiny_whisper, device="cpu").of("word " * 100, frames, real=20)
    assert 50 < len(words) < 100


def write_study(folder, hibari, prompts, voice_rate=24_000):
    questions, utterances = [], []
    for number, prompt in enumerate(prompts):
        name = f"q{number}"
        facts = {"subset": "made", "reference": [], "scorer": "short_answer", "source": {}}
        questions.append(Question(id=name, prompt=prompt, spoken=prompt, **facts))
        samples = prepare(hibari(prompt, seed=0), voice_rate, max_seconds=30)
        write_flac(folder / "audio" / f"{name}.flac", samples)
        utterances.append(
            Utterance(
                id=name,
                audio=f"audio/{name}.flac",
                sha256=None,
                seconds=len(samples) / 16_000,
                sample_rate=16_000,
                transcript=prompt,
                wer=0.0,
                kept=number != 1,
                reason="" if number != 1 else "word error rate",
                attempts=1,
            )
        )
    QUESTIONS.write(folder / "questions.jsonl", questions, {})
    UTTERANCES.write(folder / "manifest.jsonl", utterances, {})
    return folder / "questions.jsonl", folder / "manifest.jsonl"


PROMPTS = ["Where is it?", "This one was dropped.", "The river - the sea."]


def test_words_of_kept_questions_are_timed_by_the_voice_and_counted(tmp_path, hibari, tiny_whisper):
    inputs = write_study(tmp_path, hibari, PROMPTS)
    time_words(*inputs, tiny_whisper / "asset.json", tmp_path / "times.jsonl", voice=HEART.model_dump())
    records, header = WORD_TIMES.read_with_header(tmp_path / "times.jsonl")
    assert header["schema"] == "word_times/1" and header["n"] == 2
    assert {name: header["provenance"][name] for name in ("source", "words", "untimed_words")} == {
        "source": VOICE,
        "words": 7,
        "untimed_words": 0,
    }
    assert [one.id for one in records] == ["q0", "q2"]
    assert [word.text for word in records[1].words] == ["The", "river", "the", "sea"]
    assert all(word.seconds is not None for word in records[1].words)


def test_a_text_whose_phonemes_cannot_be_traced_has_no_times_and_is_counted(
    tmp_path, hibari, tiny_whisper, monkeypatch
):
    inputs = write_study(tmp_path, hibari, PROMPTS)
    phonemize = type(hibari).phonemize
    monkeypatch.setattr(
        type(hibari), "phonemize", lambda self, text: ["x" if "sea" in text else one for one in phonemize(self, text)]
    )
    time_words(*inputs, tiny_whisper / "asset.json", tmp_path / "times.jsonl", voice=HEART.model_dump())
    records, header = WORD_TIMES.read_with_header(tmp_path / "times.jsonl")
    assert header["provenance"]["untimed_words"] == 4
    assert [[word.seconds is None for word in one.words] for one in records] == [[False] * 3, [True] * 4]


def test_a_recording_is_timed_by_the_recogniser_and_what_it_did_not_hear_is_counted(tmp_path, hibari, tiny_whisper):
    inputs = write_study(tmp_path, hibari, PROMPTS)
    rows = [
        row.model_copy(update={"transcript": "where it"}) if row.id == "q0" else row
        for row in UTTERANCES.read(inputs[1])
    ]
    UTTERANCES.write(inputs[1], rows, {})
    recorded = {"engine": "recorded", "folder": str(tmp_path)}
    time_words(*inputs, tiny_whisper / "asset.json", tmp_path / "times.jsonl", voice=recorded, device="cpu")
    records, header = WORD_TIMES.read_with_header(tmp_path / "times.jsonl")
    assert header["provenance"]["source"] == RECOGNISER and header["provenance"]["untimed_words"] == 1
    assert [word.seconds is None for word in records[0].words] == [False, True, False]
    for one, row in zip(records, (rows[0], rows[2]), strict=True):
        assert all(word.seconds[1] <= row.seconds for word in one.words if word.seconds)


def test_audio_that_the_voice_would_not_make_is_refused(tmp_path, hibari, tiny_whisper):
    inputs = write_study(tmp_path, hibari, PROMPTS)
    faster = {"engine": "hibari", "speed": 1.5}
    with pytest.raises(ArtifactError, match=r"'q0' lasts .* s, but the voice says its text in .*synthesis\.jsonl"):
        time_words(*inputs, tiny_whisper / "asset.json", tmp_path / "times.jsonl", voice=faster)
    assert not (tmp_path / "times.jsonl").exists()


def test_questions_and_utterances_must_be_the_same(tmp_path, hibari, tiny_whisper):
    questions, manifest = write_study(tmp_path, hibari, PROMPTS)
    QUESTIONS.write(questions, QUESTIONS.read(questions)[:2], {})
    with pytest.raises(ArtifactError, match=r"questions\.jsonl: 1 id\(s\) of .*manifest\.jsonl are missing"):
        time_words(questions, manifest, tiny_whisper / "asset.json", tmp_path / "t.jsonl", voice=HEART.model_dump())


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [("seconds", [1.0, 0.5], "spoken from 1.0 to 0.5"), ("span", [3, 3], "characters")],
)
def test_a_record_that_runs_back_is_refused_with_file_and_line(tmp_path, field, value, message):
    word = json.loads(TimedWord(text="it", span=(0, 2), seconds=(0.1, 0.2)).model_dump_json())
    path = tmp_path / "times.jsonl"
    header = {"schema": "word_times/1", "n": 1, "provenance": {}}
    path.write_text(json.dumps(header) + "\n" + json.dumps({"id": "q0", "words": [word | {field: value}]}) + "\n")
    with pytest.raises(ArtifactError, match=f"line 2, field words.0: .*{message}"):
        WORD_TIMES.read(path)
