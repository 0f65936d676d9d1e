"""Settings of the speech stage: voices, ASR and what is kept."""

from collections.abc import Mapping
from typing import Annotated, Literal, Union

from pydantic import Field, model_validator

from workflow_scripts.settings.base import FileName, Seed, Settings


class HibariVoice(Settings):
    """The hibari TTS engine: pure Python, one American female voice, bit-equal output for one seed."""

    engine: Literal["hibari"] = Field(description="Engine name.")
    speed: float = Field(default=1.0, gt=0.25, lt=4, description="Speaking rate, 1 is normal.")
    seed: Seed = Field(default=0, description="Seed of the voice.")


class CommandVoice(Settings):
    """Any external TTS program, called once per utterance without a shell."""

    engine: Literal["command"] = Field(description="Engine name.")
    command: list[str] = Field(
        min_length=1, description="Program and arguments; {text} and {out} (a .wav path) are replaced."
    )
    timeout_seconds: float = Field(default=120, gt=0, description="Longest run for one utterance.")

    @model_validator(mode="after")
    def _has_out(self) -> "CommandVoice":
        if not any("{out}" in part for part in self.command):
            raise ValueError(f"command {self.command} has no {{out}}: the program must be told where to write")
        if not any("{text}" in part for part in self.command):
            raise ValueError(f"command {self.command} has no {{text}}: the program must be told what to say")
        return self


class RecordedVoice(Settings):
    """Recordings that exist: a file per question id, the audio in the questions' own rows, or a collection."""

    engine: Literal["recorded"] = Field(description="Engine name.")
    folder: str | None = Field(
        default=None, description="Folder with {subset}/{id}.flac, or .wav, .ogg, .mp3 and other formats of libsndfile."
    )
    asset: str | None = Field(
        default=None,
        description="Key of `assets` whose rows carry the audio of their questions (voicebench, questions), or that "
        "holds `file`.",
    )
    file: FileName | None = Field(
        default=None,
        description="File or pattern in the asset that lists recordings of any questions, found by id, else by the "
        "same words: `train-*.parquet`, `metadata.csv` of an audio folder, `clips-*.tar` (WebDataset), a manifest.",
    )
    fields: dict[Literal["id", "text", "audio", "transcript"], str] = Field(
        default={},
        description="Names of the columns of `file` where they are others, such as {text: sentence}. A transcript "
        "takes the place of the recogniser's. Audio inside parquet is always `audio`.",
    )

    @model_validator(mode="after")
    def _has_one_place(self) -> "RecordedVoice":
        if (self.folder is None) == (self.asset is None):
            raise ValueError("a recorded voice needs either `folder` or `asset`, where its audio is")
        if (self.file is None and self.fields) or (self.file is not None and self.asset is None):
            raise ValueError("`file` names what lists the recordings in an `asset`, `fields` its columns")
        return self

    def column(self, field: str) -> str:
        """Name of a column of `file`."""
        return self.fields.get(field, field)


class AlteredVoice(Settings):
    """Another voice under a condition: played at another speed, over a telephone line, in noise; in this order."""

    engine: Literal["altered"] = Field(description="Engine name.")
    base: Annotated[HibariVoice | CommandVoice | RecordedVoice, Field(discriminator="engine")] = Field(
        description="The voice that speaks."
    )
    speed: float = Field(default=1.0, ge=0.5, le=2, description="Playback speed; pitch rises with it.")
    band: Literal["full", "telephone"] = Field(default="full", description="telephone: 300 to 3,400 Hz.")
    noise: Literal["none", "white", "babble"] = Field(
        default="none", description="babble: several sentences of the base voice at once."
    )
    snr_db: float | None = Field(
        default=None, ge=-30, le=60, description="Mean power of speech over that of noise, decibels; goes with `noise`."
    )

    @model_validator(mode="after")
    def _is_a_condition(self) -> "AlteredVoice":
        if (self.noise == "none") != (self.snr_db is None):
            raise ValueError("`noise` and `snr_db` go together")
        if self.speed == 1 and self.band == "full" and self.noise == "none":
            raise ValueError("nothing is altered: set speed, band or noise, or use the base voice itself")
        if self.noise == "babble" and isinstance(self.base, RecordedVoice):
            raise ValueError("babble is spoken by the base voice, and a recorded voice cannot speak; use white noise")
        return self


VOICES: Mapping[str, type[Settings]] = {
    "hibari": HibariVoice,
    "command": CommandVoice,
    "recorded": RecordedVoice,
    "altered": AlteredVoice,
}
"""Settings of a voice by its engine; `speech.engines.ENGINES` makes them speak."""

Voice = Annotated[Union[tuple(VOICES.values())], Field(discriminator="engine")]  # noqa: UP007 (of a table)


def recordings_of(voice: Settings) -> RecordedVoice | None:
    """The recorded voice behind a voice, if there is one."""
    voice = getattr(voice, "base", voice)
    return voice if isinstance(voice, RecordedVoice) else None


class AsrSettings(Settings):
    """The recogniser that writes the asr form and measures WER."""

    asset: str = Field(description="Key of `assets`: a Whisper model folder.")
    batch_size: int = Field(default=16, gt=0, description="Utterances per batch.")


class SpeechSettings(Settings):
    """Voices, ASR and filters."""

    voices: dict[str, Voice] = Field(description="The voices by name.", min_length=1)
    voice: str = Field(description="The voice that reads the benchmark and the training prompts.")
    training_voice: str | None = Field(
        default=None, description="The voice that reads the training prompts; default: `voice`."
    )
    asr: AsrSettings = Field(description="The recogniser.")
    window_seconds: float = Field(
        default=30,
        gt=0,
        le=30,
        description="Audio is padded with silence to a multiple of this before the encoder; 30 is Whisper's own. A "
        "short window is faster; with 2 the encoder's outputs differ from those with 30 by 24 to 25 % (relative norm), "
        "which cost a trained adapter nothing in one comparison (CTC word error rate 11.9 against 11.8 %).",
    )
    training_wer_limit: float | None = Field(
        default=0.1, ge=0, description="Training utterances above this WER are dropped (paper: 0.1)."
    )
    benchmark_wer_limit: float | None = Field(
        default=None,
        ge=0,
        description="The same for benchmark questions; off by default, WER is always recorded.",
    )
    max_seconds: float = Field(default=30, gt=0, le=30, description="Longer audio is refused with a reason, never cut.")
    retries: int = Field(default=2, ge=0, description="Further attempts after a failed utterance.")
