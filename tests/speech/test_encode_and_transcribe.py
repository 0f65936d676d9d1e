"""Features and transcripts of a subset: what is left out, what is written, and the filters."""

import numpy as np
import pytest

from workflow_scripts.artifacts.features import FeatureReader
from workflow_scripts.artifacts.files import ArtifactError, sha256_file
from workflow_scripts.artifacts.questions import QUESTIONS
from workflow_scripts.artifacts.utterances import SYNTHESIS, UTTERANCES, Utterance
from workflow_scripts.speech.audio import read_flac, write_flac
from workflow_scripts.speech.encode_speech import batches_by_window, encode_speech
from workflow_scripts.speech.padding import padded_length
from workflow_scripts.speech.transcribe_speech import judge, transcribe_speech
from workflow_scripts.speech.whisper_decoder import Transcript
from workflow_scripts.speech_lm.trainable.encoder import WhisperFeatures

ASR = {"asset": "tiny", "batch_size": 2}


def spoken(**changes) -> Utterance:
    facts = {"id": "a", "audio": "audio/a.flac", "sha256": "0" * 64, "seconds": 1.0, "sample_rate": 16_000}
    return Utterance(**facts | {"kept": True, "attempts": 1} | changes)


def test_features_cover_the_kept_utterances_frame_by_frame(spoken_subset, tiny_whisper) -> None:
    out = spoken_subset / f"{tiny_whisper.name}.features.h5"
    encode_speech(spoken_subset / "synthesis.jsonl", tiny_whisper / "asset.json", out, window_seconds=2, device="cpu")
    reader = FeatureReader(out)
    assert reader.ids == ["made-0", "made-2", "made-3", "made-4"]
    assert [reader.frames(name) for name in reader.ids] == [35, 310, 15, 100]
    assert reader.seconds["made-2"] == pytest.approx(6.2)
    encoder = WhisperFeatures(tiny_whisper, device="cpu", window_seconds=2)
    for name in reader.ids:
        alone = encoder.encode([read_flac(spoken_subset / "audio" / f"{name}.flac")])[0].float().numpy()
        np.testing.assert_allclose(reader[name], alone, rtol=2e-2, atol=2e-2)  # stored as bfloat16


def test_frames_behind_the_audio_are_those_of_a_whole_window_and_change_nothing_else(
    spoken_subset, tiny_whisper
) -> None:
    found = {}
    for padded in (0, 3):
        path = spoken_subset / f"{padded}.h5"
        source = spoken_subset / "synthesis.jsonl", tiny_whisper / "asset.json"
        encode_speech(*source, path, window_seconds=2, padded=padded, device="cpu")
        found[padded] = FeatureReader(path)
    # The first three utterances, of which the second was dropped.
    assert [name for name in found[3].ids if found[3].padding(name) is not None] == ["made-0", "made-2"]
    assert all(found[0].padding(name) is None for name in found[0].ids)
    for name in found[0].ids:
        np.testing.assert_array_equal(found[0][name], found[3][name])
    audio = read_flac(spoken_subset / "audio" / "made-0.flac")
    silence = np.zeros(30 * 16_000 - len(audio), np.float32)
    whole = WhisperFeatures(tiny_whisper, device="cpu", window_seconds=30).encode([np.concatenate([audio, silence])])[0]
    assert len(found[3].padding("made-0")) == 1500 - 35
    np.testing.assert_allclose(found[3].padding("made-0"), whole[35:].float().numpy(), rtol=2e-2, atol=2e-2)


def test_batches_share_a_padded_length_and_hold_every_index_once() -> None:
    samples = [10, 25, 9, 31, 20, 11, 5]
    found = batches_by_window(samples, window=10, size=2)
    assert sorted(index for batch in found for index in batch) == list(range(7))
    for batch in found:
        assert len(batch) <= 2
        assert len({-(-samples[index] // 10) for index in batch}) == 1


def test_nothing_kept_and_lost_audio_are_named(spoken_subset, tiny_whisper) -> None:
    def encode():
        encode_speech(
            spoken_subset / "synthesis.jsonl", tiny_whisper / "asset.json", spoken_subset / "f.h5", window_seconds=2
        )

    (spoken_subset / "audio" / "made-3.flac").unlink()
    with pytest.raises(ArtifactError, match=r"made-3\.flac"):
        encode()
    dropped = [u.model_copy(update={"kept": False}) for u in SYNTHESIS.read(spoken_subset / "synthesis.jsonl")]
    SYNTHESIS.write(spoken_subset / "synthesis.jsonl", dropped, {})
    with pytest.raises(ArtifactError, match="no utterance was kept"):
        encode()


def test_audio_that_changed_after_synthesis_is_named_before_the_model_is_loaded(spoken_subset) -> None:
    for seconds in (0.2, 0.3, 31.0):
        write_flac(spoken_subset / "audio" / "made-3.flac", np.full(round(seconds * 16_000), 0.1, np.float32))
        with pytest.raises(ArtifactError, match=r"made-3\.flac: not the audio that the manifest lists"):
            encode_speech(
                spoken_subset / "synthesis.jsonl", spoken_subset / "no.json", spoken_subset / "f.h5", window_seconds=2
            )


def test_audio_beyond_the_encoders_window_is_refused_by_name_never_cut(spoken_subset, tiny_whisper) -> None:
    write_flac(spoken_subset / "audio" / "made-3.flac", np.full(31 * 16_000, 0.1, np.float32))
    lines = SYNTHESIS.read(spoken_subset / "synthesis.jsonl")
    facts = {"seconds": 31.0, "sha256": sha256_file(spoken_subset / "audio" / "made-3.flac")}
    longer = [u.model_copy(update=facts) if u.id == "made-3" else u for u in lines]
    SYNTHESIS.write(spoken_subset / "synthesis.jsonl", longer, {})
    with pytest.raises(ArtifactError, match=r"made-3\.flac: 31\.00 s, longer than the 30 s of encoder .*max_seconds"):
        encode_speech(
            spoken_subset / "synthesis.jsonl", tiny_whisper / "asset.json", spoken_subset / "f.h5", window_seconds=2
        )
    assert not (spoken_subset / "f.h5").exists()


def test_a_file_that_changed_after_synthesis_is_not_transcribed(spoken_subset, tiny_whisper) -> None:
    write_flac(spoken_subset / "audio" / "made-0.flac", np.full(8_000, 0.1, np.float32))
    with pytest.raises(ArtifactError, match=r"made-0\.flac: not the audio that the manifest lists"):
        transcribe(spoken_subset, tiny_whisper)


def transcribe(folder, model, **changes):
    options = {"settings": ASR, "wer_limit": None, "device": "cpu"} | changes
    transcribe_speech(
        folder / "questions.jsonl",
        folder / "synthesis.jsonl",
        model / "asset.json",
        folder / "manifest.jsonl",
        **options,
    )
    return UTTERANCES.read(folder / "manifest.jsonl")


def test_manifest_has_all_lines_in_order_and_keeps_earlier_reasons(spoken_subset, tiny_whisper) -> None:
    found = transcribe(spoken_subset, tiny_whisper)
    assert [utterance.id for utterance in found] == [f"made-{i}" for i in range(5)]
    assert (found[1].kept, found[1].reason, found[1].transcript) == (False, "the audio is silent", None)
    assert all(u.transcript is not None and u.wer is not None for u in found if u.id != "made-1")
    again = transcribe(spoken_subset, tiny_whisper, settings={"asset": "tiny", "batch_size": 4})
    assert [u.transcript for u in again] == [u.transcript for u in found]


def test_a_limit_nobody_meets_is_an_error(spoken_subset, tiny_whisper) -> None:
    with pytest.raises(ArtifactError, match="none of 5 utterances is kept"):
        transcribe(spoken_subset, tiny_whisper, wer_limit=0.0)


def test_prompts_of_a_source_without_filter_are_kept_and_not_transcribed(spoken_subset, tiny_whisper) -> None:
    asked = QUESTIONS.read(spoken_subset / "questions.jsonl")
    asked = [q.model_copy(update={"source": {"wer_filter": n == 0}}) for n, q in enumerate(asked)]
    QUESTIONS.write(spoken_subset / "questions.jsonl", asked, {})
    found = transcribe(spoken_subset, tiny_whisper, wer_limit=0.0)
    assert [(u.kept, u.transcript is None) for u in found] == [
        (False, False),  # an untrained recogniser hears something else
        (False, True),  # silent
        *[(True, True)] * 3,
    ]


def test_questions_and_audio_must_belong_together(spoken_subset, tiny_whisper) -> None:
    QUESTIONS.write(spoken_subset / "questions.jsonl", QUESTIONS.read(spoken_subset / "questions.jsonl")[:3], {})
    with pytest.raises(ArtifactError, match="5 utterances do not belong to the 3 questions"):
        transcribe(spoken_subset, tiny_whisper)


@pytest.mark.parametrize(
    ("heard", "limit", "rate", "kept", "reason"),
    [
        ("it costs 5 dollars", 0.1, 0.0, True, ""),
        ("It costs $5.", 0.0, 0.0, True, ""),
        ("it costs six dollars", 0.34, 1 / 3, True, ""),  # three words: it costs $5
        ("it costs six dollars", 0.33, 1 / 3, False, "word error rate 0.333, above the limit of 0.33"),
        ("entirely other words", None, 1.0, True, ""),
        ("", None, 1.0, True, ""),
        ("", 1.0, 1.0, False, "the recogniser heard nothing"),
    ],
)
def test_rate_and_filter(heard: str, limit: float | None, rate: float, kept: bool, reason: str) -> None:
    found = judge(spoken(), "It costs five dollars.", Transcript(heard, "stop"), limit)
    assert (found.wer, found.kept, found.reason, found.transcript) == (rate, kept, reason, heard)


def test_option_letters_count_by_how_they_sound() -> None:
    text = "Predators eat, A: lions. B: humans. Select one of the following: A, B, C, or D."
    heard = "Predators eat. A. Lions. B. Humans. Select one of the following. A, B, C, or D."
    assert judge(spoken(), text, Transcript(heard, "stop"), 0.0).kept


def test_padding_leaves_a_second_of_silence_up_to_the_window_of_the_model() -> None:
    rate = 16_000
    assert padded_length(rate) == 5 * rate
    assert padded_length(4 * rate) == 5 * rate
    assert padded_length(4 * rate + 1) == 10 * rate
    assert padded_length(round(29.5 * rate)) == 30 * rate
    assert padded_length(30 * rate) == 30 * rate
