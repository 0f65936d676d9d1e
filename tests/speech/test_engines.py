"""Voices: external programs get their arguments unharmed, recordings are found by id, hibari repeats itself."""

import sys
import tempfile

import numpy as np
import pytest
import soundfile

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.questions import Question
from workflow_scripts.settings.speech import CommandVoice, HibariVoice, RecordedVoice
from workflow_scripts.speech.engines import MissingRecordingError, make_engine

# A voice that writes as many samples as its text has characters, after checking the other arguments.
PROGRAM = (
    "import sys, wave\n"
    "w = wave.open(sys.argv[2], 'wb'); w.setnchannels(1); w.setsampwidth(2); w.setframerate(8000)\n"
    "w.writeframes(b'\\x00\\x10' * len(sys.argv[1])); w.close()\n"
)


def question(spoken: str, name: str = "made-0001") -> Question:
    return Question(id=name, subset="made", prompt=spoken, spoken=spoken, reference=[], scorer="refusal", source={})


def command(*parts: str, timeout: float = 20) -> CommandVoice:
    return CommandVoice(engine="command", command=[sys.executable, *parts], timeout_seconds=timeout)


@pytest.mark.parametrize(
    "text", ["plain words", "a; rm -rf {out} $(date) `x` \"q\" 'p' > y", "{text}{out}", "line\nbreak"]
)
def test_text_reaches_the_program_as_one_argument(text: str) -> None:
    samples, rate = make_engine(command("-c", PROGRAM, "{text}", "{out}"), "made").say(question(text))
    assert (len(samples), rate) == (len(text), 8000)


def test_a_leading_dash_is_no_option_and_braces_work_inside_arguments() -> None:
    program = PROGRAM.replace("sys.argv[1]", "sys.argv[1].removeprefix('--text=')")
    samples, _ = make_engine(command("-c", program, "--text={text}", "{out}"), "made").say(question("abc"))
    assert len(samples) == 3
    samples, _ = make_engine(command("-c", PROGRAM, "{text}", "{out}"), "made").say(question("-abc"))
    assert len(samples) == len(" -abc")


def test_failures_of_the_program_are_reported() -> None:
    with pytest.raises(RuntimeError, match="status 3: no voice"):
        make_engine(command("-c", "import sys; sys.stderr.write('no voice'); sys.exit(3)", "{text}{out}"), "m").say(
            question("a")
        )
    with pytest.raises(RuntimeError, match="wrote no file"):
        make_engine(command("-c", "pass", "{text}{out}"), "m").say(question("a"))
    with pytest.raises(Exception, match="timed out"):
        make_engine(command("-c", "import time; time.sleep(9)", "{text}{out}", timeout=0.3), "m").say(question("a"))


def test_a_file_cut_off_by_the_program_is_its_failure() -> None:
    program = PROGRAM + "import os; os.truncate(sys.argv[2], 50)\n"
    with pytest.raises(RuntimeError, match=r"ended normally but .*out\.wav is cut off"):
        make_engine(command("-c", program, "{text}", "{out}"), "made").say(question("abcdefgh"))


def test_a_full_disk_for_temporary_files_is_no_fault_of_the_question() -> None:
    program = "import sys; sys.exit('cannot write: No space left on device')"
    engine = make_engine(command("-c", program, "{text}{out}"), "made")
    with pytest.raises(ArtifactError, match=rf"{tempfile.gettempdir()}: the disk is full"):
        engine.say(question("a"))


def test_recordings_are_found_by_subset_and_id(tmp_path) -> None:
    (tmp_path / "made").mkdir()
    soundfile.write(tmp_path / "made" / "made-0001.wav", np.full(100, 0.25), 44_100)
    engine = make_engine(RecordedVoice(engine="recorded", folder=str(tmp_path)), "made")
    samples, rate = engine.say(question("a"))
    assert (len(samples), rate) == (100, 44_100)
    with pytest.raises(MissingRecordingError, match="made-0002"):
        engine.say(question("a", "made-0002"))


def test_hibari_repeats_itself_in_any_order() -> None:
    voice = HibariVoice(engine="hibari", seed=3)
    one, two = question("Hello there.", "a-1"), question("Good day.", "a-2")
    first, other = make_engine(voice, "made"), make_engine(voice, "made")
    forward = [first.say(one)[0], first.say(two)[0]]
    backward = [other.say(two)[0], other.say(one)[0]]
    np.testing.assert_array_equal(forward[0], backward[1])
    np.testing.assert_array_equal(forward[1], backward[0])
    reseeded = make_engine(HibariVoice(engine="hibari", seed=4), "made").say(one)[0]
    assert not np.array_equal(forward[0], reseeded)
