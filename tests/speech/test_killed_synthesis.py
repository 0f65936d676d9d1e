"""A synthesis that is killed, for real: its workers end, and the next run speaks only what was not finished."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from workflow_scripts.artifacts.files import HOST
from workflow_scripts.artifacts.questions import QUESTIONS, Question
from workflow_scripts.artifacts.utterances import SYNTHESIS
from workflow_scripts.speech import synthesize_speech as step

ROOT = Path(__file__).parents[2]
COUNT = 120
# A voice that notes worker and text of each call, and writes a square wave.
VOICE = """
import os, struct, sys, time
with open(sys.argv[3], "a") as calls:
    calls.write(f"{os.getppid()} {sys.argv[1]}\\n")
time.sleep(0.03)
data = b"\\x00\\x10\\x00\\xf0" * 2000
head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 1, 1, 16000, 32000, 2, 16,
                   b"data", len(data))
open(sys.argv[2], "wb").write(head + data)
"""
RUN = """
import json, sys
from workflow_scripts.speech.synthesize_speech import synthesize_speech
questions, manifest, voice = sys.argv[1:]
synthesize_speech(questions, manifest, voice=json.loads(voice), subset="made", max_seconds=9, retries=0, threads=2)
"""


def wait_for(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def runs(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except OSError:
        return False


def test_a_killed_run_leaves_no_workers_and_its_finished_utterances_are_not_spoken_again(tmp_path: Path) -> None:
    facts = {"subset": "made", "reference": [], "scorer": "refusal", "source": {}}
    made = [Question(id=f"made-{i}", prompt=f"q{i}", spoken=f"q{i}", **facts) for i in range(COUNT)]
    QUESTIONS.write(tmp_path / "questions.jsonl", made, {})
    (tmp_path / "voice.py").write_text(VOICE)
    calls, manifest = tmp_path / "calls", tmp_path / "out" / "synthesis.jsonl"
    program = [sys.executable, "-S", "-E", str(tmp_path / "voice.py"), "{text}", "{out}", str(calls)]
    voice = json.dumps({"engine": "command", "command": program})
    command = [sys.executable, "-c", RUN, str(tmp_path / "questions.jsonl"), str(manifest), voice]
    partial = manifest.with_name(step.PARTIAL_NAME)

    first = subprocess.Popen(command, cwd=ROOT)
    wait_for(lambda: partial.exists() and partial.read_text().count("\n") >= step.TASKS_PER_CALL)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    # The kill may have cut the last line.
    whole = partial.read_text().rpartition("\n")[0].splitlines()
    noted = {json.loads(line)["utterance"]["id"] for line in whole}
    # A call whose worker has just ended has process 1 as its parent.
    workers = {int(line.split()[0]) for line in calls.read_text().splitlines()} - {first.pid, 1}
    assert 1 <= len(workers) <= 2 and step.TASKS_PER_CALL <= len(noted) < COUNT
    wait_for(lambda: not any(runs(pid) for pid in workers))
    assert not manifest.exists()
    left = manifest.parent / step.AUDIO_FOLDER / f".made-0.flac.{HOST}.{first.pid}.part"
    left.write_bytes(b"half")

    subprocess.run(command, cwd=ROOT, check=True)
    assert not left.exists()
    spoken = Counter(line.split()[1] for line in calls.read_text().splitlines())
    assert all(spoken[name.replace("made-", "q")] == 1 for name in noted)
    # Lost are at most the parts that the two workers had in hand.
    assert sum(spoken.values()) <= COUNT + 2 * step.TASKS_PER_CALL
    found = SYNTHESIS.read(manifest)
    assert [utterance.id for utterance in found] == [question.id for question in made]
    assert all(utterance.kept for utterance in found) and not partial.exists()
