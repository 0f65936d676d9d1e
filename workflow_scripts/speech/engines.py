"""Voices: each engine turns one question into samples. Same question and settings, same samples, in any order."""

import subprocess
import tempfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from workflow_scripts.artifacts.dataset_rows import audio_cell
from workflow_scripts.artifacts.files import disk_full_named
from workflow_scripts.artifacts.questions import Question
from workflow_scripts.settings.speech import AlteredVoice, CommandVoice, HibariVoice, RecordedVoice, Voice
from workflow_scripts.speech.audio import BadAudioError, read_source
from workflow_scripts.speech.conditions import add_noise, babble, change_speed, telephone_band, white_noise
from workflow_scripts.speech.match_recordings import match_recordings
from workflow_scripts.speech.recordings import SUFFIXES, decode_audio, find_recording

BABBLE = (
    "The bus was late again this morning, so we walked along the river instead.",
    "She keeps the old letters in a box below the stairs, tied with a blue ribbon.",
    "Nobody told me that the shop would be closed on the first Monday of the month.",
    "We should plant the beans before the rain comes, and water them every evening.",
    "He asked for a table near the window, but all of them had been taken.",
    "My brother plays the piano badly and the trumpet worse, as the neighbours know.",
)
"""What the talkers of a babble say; none of it is a question of a benchmark."""


class MissingRecordingError(ValueError):
    """A recorded voice has no file for a question; trying again cannot help."""


class Engine(Protocol):
    """What a voice must do."""

    def say(self, question: Question) -> tuple[np.ndarray, int]:
        """Samples, (n,) or (n, channels), and their rate in Hz. Raises any exception if it fails."""
        ...


class HibariEngine:
    """hibari on one core; its noise component is seeded per question, so a pool's order does not matter."""

    def __init__(self, voice: HibariVoice, *_: Any) -> None:
        from hibari import Hibari

        self._voice = voice
        self._hibari = Hibari(threads=1)

    def say(self, question: Question) -> tuple[np.ndarray, int]:
        """24 kHz audio of `question.spoken`."""
        seed = zlib.crc32(f"{self._voice.seed}/{question.id}".encode())
        samples = self._hibari(question.spoken, speed=self._voice.speed, seed=seed)
        return samples, self._hibari.sample_rate


class CommandEngine:
    """An external program, started once per question without a shell.

    `{text}` and `{out}` are replaced inside each argument. A text that begins with `-` gets a leading space, so that it
    cannot become an option of the program.
    """

    def __init__(self, voice: CommandVoice, *_: Any) -> None:
        self._voice = voice

    def say(self, question: Question) -> tuple[np.ndarray, int]:
        """Audio of the .wav file the program wrote.

        Raises:
            OSError, RuntimeError: the program failed, or wrote no file or a damaged one.
            ArtifactError: the disk with the temporary files is full.
        """
        text = f" {question.spoken}" if question.spoken.startswith("-") else question.spoken
        temporary = Path(tempfile.gettempdir())
        with disk_full_named(temporary), tempfile.TemporaryDirectory(prefix="voice-") as folder:
            out = Path(folder) / "out.wav"
            # Split instead of two replacements: the text may itself contain "{out}".
            arguments = [
                text.join(piece.replace("{out}", str(out)) for piece in part.split("{text}"))
                for part in self._voice.command
            ]
            run = subprocess.run(
                arguments,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=self._voice.timeout_seconds,
                check=False,
            )
            if run.returncode != 0:
                last = run.stderr.decode("utf-8", "replace").strip()[-200:]
                raise RuntimeError(f"{arguments[0]} ended with status {run.returncode}: {last}")
            if not out.exists():
                raise RuntimeError(f"{arguments[0]} ended normally but wrote no file at {{out}}")
            try:
                return read_source(out)
            except BadAudioError as error:  # the program may do better next time
                raise RuntimeError(f"{arguments[0]} ended normally but {error}") from None


class RecordedEngine:
    """Audio that exists already, at any rate: in a folder, one file per id, or where the question's source says.

    Args:
        recordings: folder of the voice's asset; None for a voice with a folder.
    """

    match = staticmethod(match_recordings)

    def __init__(self, voice: RecordedVoice, subset: str, recordings: Path | None = None) -> None:
        self._folder = Path(voice.folder) / subset if voice.folder else None
        self._recordings = recordings
        self._listed = voice.file

    def say(self, question: Question) -> tuple[np.ndarray, int]:
        """The recording; MissingRecordingError if there is none, BadAudioError if it is damaged."""
        if self._folder is not None:
            if (path := find_recording(self._folder, question.id)) is None:
                raise MissingRecordingError(f"no recording {self._folder / question.id}{', '.join(SUFFIXES)}")
            return read_source(path)
        audio = question.source.get("audio")
        if audio is None:
            place = f"row {question.source.get('row')} of {question.source.get('file')} has no audio"
            raise MissingRecordingError(
                place if self._listed is None else f"{self._listed} has no recording with its id or its words"
            )
        folder = (self._recordings / question.source["file"]).parent
        value = audio_cell(folder, audio) if isinstance(audio, dict) else audio
        return decode_audio(value, folder, question.id)


class AlteredEngine:
    """Another engine under a condition of `speech.conditions`; noise is seeded by the question."""

    def __init__(self, voice: AlteredVoice, subset: str, recordings: Path | None = None) -> None:
        self._voice = voice
        self._base = ENGINES[voice.base.engine](voice.base, subset, recordings)
        self._talkers: list[np.ndarray] = []

    def say(self, question: Question) -> tuple[np.ndarray, int]:
        """The base engine's audio, altered, at its rate."""
        said, rate = self._base.say(question)
        samples = np.asarray(said, dtype=np.float64)
        samples = samples.mean(axis=1) if samples.ndim == 2 else samples
        if self._voice.speed != 1:
            samples = change_speed(samples, self._voice.speed)
        if self._voice.band == "telephone":
            samples = telephone_band(samples, rate)
        if self._voice.noise != "none":
            rng = np.random.default_rng(zlib.crc32(question.id.encode()))
            white = self._voice.noise == "white"
            noise = white_noise(len(samples), rng) if white else babble(len(samples), self._babblers(), rng)
            samples = add_noise(samples, noise, self._voice.snr_db)
        return samples, rate

    def _babblers(self) -> list[np.ndarray]:
        """`BABBLE` in the base voice, spoken once."""
        if not self._talkers:
            spoken = [
                Question(
                    id=f"babble-{k}", subset="babble", prompt=text, spoken=text, reference=[], scorer="", source={}
                )
                for k, text in enumerate(BABBLE)
            ]
            self._talkers = [np.asarray(self._base.say(one)[0], dtype=np.float64).reshape(-1) for one in spoken]
        return self._talkers


ENGINES: Mapping[str, Callable[[Any, str, Path | None], Engine]] = {
    "hibari": HibariEngine,
    "command": CommandEngine,
    "recorded": RecordedEngine,
    "altered": AlteredEngine,
}
"""Engines by name; each is made of the settings of its voice, the key of the subset, and the folder of its asset."""


def find_recordings(questions: list[Question], voice: Voice, recordings: Path | None) -> list[Question]:
    """The questions, with their recordings if the voice has a collection of them (`match_recordings`)."""
    recorded = getattr(voice, "base", voice)
    if getattr(recorded, "file", None) is None:
        return questions
    return ENGINES[recorded.engine].match(questions, recordings, recorded)  # other voices do not depend on this code


def make_engine(voice: Voice, subset: str, recordings: Path | None = None) -> Engine:
    """The engine of a voice's settings; `recordings` is the folder of its asset, if it has one."""
    return ENGINES[voice.engine](voice, subset, recordings)
