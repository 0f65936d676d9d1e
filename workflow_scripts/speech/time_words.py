"""When each word of a subset's questions is spoken: the truth that alignment paths are measured against.

A voice that sets the durations of its phonemes (hibari) is asked for them; for any other audio (recordings, external
programs) the recogniser's cross-attention gives the times of the words it heard. Which is more exact, and by how much:
docs/measures.md and `benchmarks/word_times.py`. No model under study takes part, so one file serves all of them.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.kept import check_ids
from workflow_scripts.artifacts.logs import progress
from workflow_scripts.artifacts.provenance import provenance
from workflow_scripts.artifacts.questions import QUESTIONS, Question
from workflow_scripts.artifacts.utterances import UTTERANCES, Utterance
from workflow_scripts.artifacts.word_times import WORD_TIMES, WordTimes
from workflow_scripts.settings.speech import HibariVoice, Voice
from workflow_scripts.speech.audio import SAMPLE_RATE, read_flac
from workflow_scripts.speech.padding import WINDOW_SECONDS, padded_length
from workflow_scripts.speech.sound import cut_to_sound
from workflow_scripts.speech.voice_times import HibariTimes
from workflow_scripts.speech.word_matching import SpokenWord, match_words

logger = logging.getLogger(__name__)

VOICE, RECOGNISER = "durations of the voice", "cross-attention of the recogniser"
TOLERANCE = 1e-3
"""Seconds by which the voice's durations may differ from the audio's length: resampling rounds to whole samples."""
BATCH = 16
"""Utterances whose encoder output is held at once."""

Timed = Iterator[tuple[str, list[SpokenWord]]]


def time_words(
    questions: Path, manifest: Path, asr: Path, times: Path, *, voice: Mapping[str, Any], device: str = "auto"
) -> None:
    """Write word_times.jsonl: the words of every kept question, in the order of questions.jsonl.

    Args:
        questions: questions.jsonl; words are those of its prompts.
        manifest: manifest.jsonl, with the audio beside it.
        asr: asset.json of a Whisper model, used for voices without durations of their own.
        times: output.
        voice: settings of the voice, as a mapping with `engine`.
        device: see speech_lm.device.

    Raises:
        ArtifactError: questions and utterances differ, an audio file is damaged, or the voice's durations are not those
            of the audio.
    """
    chosen = TypeAdapter(Voice).validate_python(dict(voice))
    asked = {question.id: question for question in QUESTIONS.read(Path(questions))}
    utterances = UTTERANCES.read(Path(manifest))
    check_ids(questions, asked, manifest, {row.id for row in utterances})
    check_ids(manifest, [row.id for row in utterances], questions, asked)
    kept = [row for row in utterances if row.kept]
    source, times_of = TIMERS[chosen.engine]
    timed = times_of(chosen, asked, kept, Path(manifest), Path(asr).parent, device)
    spoken = dict(progress(timed, len(kept), "utterances timed"))
    found = [WordTimes(id=row.id, words=match_words(asked[row.id].prompt, spoken[row.id])) for row in kept]
    words = sum(len(one.words) for one in found)
    untimed = sum(word.seconds is None for one in found for word in one.words)
    logger.info("%d of %d words of %d questions have no time; by the %s", untimed, words, len(found), source)
    facts = {"source": source, "words": words, "untimed_words": untimed}
    if source == RECOGNISER:
        facts["asr"] = Path(asr).parent.name
    WORD_TIMES.write(Path(times), found, provenance(chosen.model_dump(mode="json"), **facts))


def _voice_times(
    voice: HibariVoice, asked: Mapping[str, Question], kept: Sequence[Utterance], manifest: Path, *_: Any
) -> Timed:
    durations = HibariTimes(voice)
    for row in kept:
        try:
            said = durations.of(asked[row.id].spoken)
        except ValueError as error:  # one text that cannot be traced must not stop a study: its words have no time
            logger.warning("%s: no word times, as %s", row.id, error)
            yield row.id, []
            continue
        if abs(said.seconds - row.seconds) > TOLERANCE:
            raise ArtifactError(
                f"{manifest}: utterance {row.id!r} lasts {row.seconds:.3f} s, but the voice says its text in "
                f"{said.seconds:.3f} s; the audio is older than the text or the voice: delete synthesis.jsonl and "
                "run again"
            )
        yield row.id, cut_to_sound(said.words, read_flac(row.audio_file(manifest.parent), row.seconds), SAMPLE_RATE)


def _recogniser_times(
    _: Voice, __: Mapping[str, Question], kept: Sequence[Utterance], manifest: Path, model: Path, device: str
) -> Timed:
    """In order of length, so that batches of the encoder have little padding."""
    # Here, as loading them takes longer than all a voice with durations has to do.
    from workflow_scripts.speech.attention_times import AttentionTimes
    from workflow_scripts.speech_lm.trainable.encoder import WhisperFeatures, frame_count

    encoder = WhisperFeatures(model, device=device, window_seconds=WINDOW_SECONDS, batch_size=BATCH)
    attention = AttentionTimes(model, device=device)
    rows = sorted(kept, key=lambda row: (row.seconds, row.id))
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        samples = [read_flac(row.audio_file(manifest.parent), row.seconds) for row in batch]
        padded = [np.pad(one, (0, padded_length(len(one)) - len(one))) for one in samples]
        for row, one, frames in zip(batch, samples, encoder.encode(padded)):
            real = frame_count(len(one))
            words = attention.of(row.transcript or "", frames, real)
            yield row.id, cut_to_sound(words, one, SAMPLE_RATE)


TIMERS: Mapping[str, tuple[str, Callable[..., Timed]]] = {
    "hibari": (VOICE, _voice_times),
    "command": (RECOGNISER, _recogniser_times),
    "recorded": (RECOGNISER, _recogniser_times),
    "altered": (RECOGNISER, _recogniser_times),
}
"""By the engine of a voice: what its words are timed by."""


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: time_words(s.input.questions, s.input.manifest, s.input.asr, s.output.times, voice=s.params.voice),
    )
