"""Synthesis: one file and one line per question, drops with reasons, and nothing lost when a run is killed."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from workflow_scripts.artifacts.files import ArtifactError, sha256_file
from workflow_scripts.artifacts.questions import QUESTIONS, Question
from workflow_scripts.artifacts.utterances import SYNTHESIS
from workflow_scripts.settings.speech import RecordedVoice
from workflow_scripts.speech import synthesize_speech as step
from workflow_scripts.speech.audio import SAMPLE_RATE

HIBARI = {"engine": "hibari"}


def questions(count: int) -> list[Question]:
    words = ["who wrote it", "where is rome", "when did it end", "what is tea", "why not"]
    return [
        Question(
            id=f"made-{i:04d}",
            subset="made",
            prompt=f"{words[i % 5]} {'so ' * (i // 5)}",
            spoken=f"{words[i % 5]} {'so ' * (i // 5)}?",
            reference=[],
            scorer="short_answer",
            source={},
        )
        for i in range(count)
    ]


def run(folder: Path, count: int, voice: dict = HIBARI, **changes):
    QUESTIONS.write(folder / "questions.jsonl", questions(count), {})
    settings = {"max_seconds": 30, "retries": 1, "threads": 1} | changes
    step.synthesize_speech(
        folder / "questions.jsonl", folder / "out" / "synthesis.jsonl", voice=voice, subset="made", **settings
    )
    return SYNTHESIS.read(folder / "out" / "synthesis.jsonl")


def record(folder: Path, count: int, seconds: dict[int, float] | None = None, silent: tuple[int, ...] = ()) -> dict:
    """A recorded voice of `count` tones."""
    (folder / "made").mkdir(parents=True)
    for i in range(count):
        length = round((seconds or {}).get(i, 0.5) * SAMPLE_RATE)
        samples = np.zeros(length) if i in silent else 0.3 * np.sin(0.1 * (i + 1) * np.arange(length))
        soundfile.write(folder / "made" / f"made-{i:04d}.wav", samples, SAMPLE_RATE)
    return {"engine": "recorded", "folder": str(folder)}


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in sorted((folder / "out" / "audio").iterdir())}


def test_every_question_has_its_file_and_line(tmp_path: Path) -> None:
    found = run(tmp_path, 3)
    assert [utterance.id for utterance in found] == ["made-0000", "made-0001", "made-0002"]
    for utterance in found:
        info = soundfile.info(tmp_path / "out" / utterance.audio)
        assert (info.samplerate, info.channels, info.format, info.subtype) == (16_000, 1, "FLAC", "PCM_16")
        assert utterance.seconds == info.frames / 16_000 > 0.5
        assert utterance.sha256 == sha256_file(tmp_path / "out" / utterance.audio)
        assert utterance.kept
    assert not (tmp_path / "out" / step.PARTIAL_NAME).exists()


def test_result_does_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    one, two = (run(tmp_path / name, 18, threads=threads) for name, threads in (("a", 1), ("b", 2)))
    assert one == two
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")


def test_long_silent_and_missing_ones_are_dropped_with_reasons(tmp_path: Path) -> None:
    voice = record(tmp_path / "voice", 20, seconds={1: 2.5}, silent=(2,))
    (tmp_path / "voice" / "made" / "made-0003.wav").unlink()
    found = run(tmp_path, 20, voice, max_seconds=2)
    reasons = {utterance.id: utterance.reason for utterance in found if not utterance.kept}
    assert list(reasons) == ["made-0001", "made-0002", "made-0003"]
    assert "2.50 s, longer than speech.max_seconds = 2 s" in reasons["made-0001"]
    assert "silent" in reasons["made-0002"]
    assert "no recording" in reasons["made-0003"]
    assert all(utterance.audio is None for utterance in found if not utterance.kept)


def test_recordings_at_another_rate_are_resampled_and_the_rate_is_recorded(tmp_path: Path) -> None:
    voice = record(tmp_path / "voice", 6)
    soundfile.write(tmp_path / "voice" / "made" / "made-0002.wav", 0.3 * np.sin(0.1 * np.arange(8000)), 8_000)
    found = run(tmp_path, 6, voice)
    assert [utterance.source_rate for utterance in found] == [16_000, 16_000, 8_000, 16_000, 16_000, 16_000]
    assert (found[2].sample_rate, found[2].seconds) == (16_000, 1.0)
    assert soundfile.info(tmp_path / "out" / found[2].audio).frames == 16_000


def test_a_damaged_recording_is_dropped_by_name_at_the_first_attempt(tmp_path: Path) -> None:
    voice = record(tmp_path / "voice", 10)
    for name, size in (("made-0001.wav", 0), ("made-0004.wav", 9000)):
        path = tmp_path / "voice" / "made" / name
        path.write_bytes(path.read_bytes()[:size])
    dropped = {utterance.id: utterance for utterance in run(tmp_path, 10, voice) if not utterance.kept}
    assert list(dropped) == ["made-0001", "made-0004"]
    assert "made-0001.wav cannot be read" in dropped["made-0001"].reason
    assert "made-0004.wav is cut off: 8956 of 16000 bytes" in dropped["made-0004"].reason
    assert {utterance.attempts for utterance in dropped.values()} == {1}


def test_a_full_disk_stops_the_step_instead_of_dropping_questions(tmp_path: Path) -> None:
    class Full:
        def say(self, question: Question) -> tuple[np.ndarray, int]:
            raise ArtifactError("/tmp: the disk is full")

    job = step.Job(RecordedVoice(engine="recorded", folder="x"), "made", tmp_path, max_seconds=30, retries=2)
    with pytest.raises(ArtifactError, match="the disk is full"):
        step.speak(questions(1)[0], Full(), job)


def test_too_many_drops_stop_the_step_with_the_first_reasons(tmp_path: Path) -> None:
    voice = record(tmp_path / "voice", 10, silent=(0, 4, 7))
    with pytest.raises(ArtifactError, match=r"3 of 10 questions could not be spoken.*made-0000: the audio is silent"):
        run(tmp_path, 10, voice)
    assert not (tmp_path / "out" / "synthesis.jsonl").exists()


class Flaky:
    """Fails a given number of times, then gives a tone."""

    def __init__(self, failures: int) -> None:
        self.failures, self.calls = failures, 0

    def say(self, question: Question) -> tuple[np.ndarray, int]:
        self.calls += 1
        if self.calls <= self.failures:
            raise OSError("device busy")
        return 0.2 * np.sin(np.arange(8000)), 16_000


@pytest.mark.parametrize(("failures", "kept", "attempts"), [(0, True, 1), (2, True, 3), (3, False, 3)])
def test_failures_are_tried_again_and_then_recorded(tmp_path, failures: int, kept: bool, attempts: int) -> None:
    job = step.Job(RecordedVoice(engine="recorded", folder="x"), "made", tmp_path, max_seconds=30, retries=2)
    found = step.speak(questions(1)[0], Flaky(failures), job)
    assert (found.kept, found.attempts) == (kept, attempts)
    assert ("device busy" in found.reason) is not kept


def killed_after(count: int, monkeypatch: pytest.MonkeyPatch):
    """Make the step die while it handles utterance `count`."""
    real, calls = step.speak, []

    def speak(*arguments):
        if len(calls) == count:
            raise KeyboardInterrupt
        calls.append(1)
        return real(*arguments)

    monkeypatch.setattr(step, "speak", speak)


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    voice = record(tmp_path / "voice", 8)
    whole = run(tmp_path / "whole", 8, voice)
    with monkeypatch.context() as patch:
        killed_after(5, patch)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "killed", 8, voice)
    spoken: list[str] = []
    real = step.speak
    monkeypatch.setattr(step, "speak", lambda q, *rest: spoken.append(q.id) or real(q, *rest))
    resumed = run(tmp_path / "killed", 8, voice)
    assert spoken == ["made-0005", "made-0006", "made-0007"]
    assert resumed == whole
    assert hashes(tmp_path / "killed") == hashes(tmp_path / "whole")


def test_notes_of_another_voice_changed_files_and_cut_lines_do_not_count(tmp_path: Path, monkeypatch) -> None:
    voice = record(tmp_path / "voice", 6)
    with monkeypatch.context() as patch:
        killed_after(4, patch)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, 6, voice)
    partial = tmp_path / "out" / step.PARTIAL_NAME
    lines = partial.read_text().splitlines()
    changed = json.loads(lines[1])
    partial.write_text("\n".join([lines[0], json.dumps(changed | {"key": "0" * 64}), lines[2], lines[3][:40]]))
    (tmp_path / "out" / "audio" / "made-0002.flac").write_bytes(b"other")
    spoken: list[str] = []
    real = step.speak
    monkeypatch.setattr(step, "speak", lambda q, *rest: spoken.append(q.id) or real(q, *rest))
    found = run(tmp_path, 6, voice)
    assert spoken == ["made-0001", "made-0002", "made-0003", "made-0004", "made-0005"]
    assert all(utterance.kept for utterance in found)


def test_a_note_behind_a_cut_line_counts(tmp_path: Path, monkeypatch) -> None:
    voice = record(tmp_path / "voice", 6)
    partial = tmp_path / "out" / step.PARTIAL_NAME
    for done in (4, 2):
        with monkeypatch.context() as patch:
            killed_after(done, patch)
            with pytest.raises(KeyboardInterrupt):
                run(tmp_path, 6, voice)
        partial.write_text(partial.read_text()[:-40])
    spoken: list[str] = []
    real = step.speak
    monkeypatch.setattr(step, "speak", lambda q, *rest: spoken.append(q.id) or real(q, *rest))
    run(tmp_path, 6, voice)
    assert spoken == ["made-0004", "made-0005"], "made-0003 was noted behind the first cut line"
