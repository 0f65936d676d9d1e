"""Speaks every question of a subset: one 16 kHz FLAC file each, and a manifest that says what was dropped and why.

Questions are spread over processes. Each finished utterance is noted at once in `synthesis.partial.jsonl`: a run that
was killed goes on where it stopped; notes count only for the same text and voice and an unchanged file.
"""

import json
import logging
import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from workflow_scripts.artifacts.files import ArtifactError, disk_full_named, remove_abandoned, sha256_file, sha256_text
from workflow_scripts.artifacts.logs import progress
from workflow_scripts.artifacts.processes import end_once_closed
from workflow_scripts.artifacts.provenance import provenance
from workflow_scripts.artifacts.questions import QUESTIONS, Question
from workflow_scripts.artifacts.utterances import SYNTHESIS, Utterance
from workflow_scripts.settings.speech import Voice
from workflow_scripts.speech.audio import SAMPLE_RATE, BadAudioError, prepare, write_flac
from workflow_scripts.speech.engines import Engine, MissingRecordingError, find_recordings, make_engine

logger = logging.getLogger(__name__)

AUDIO_FOLDER, PARTIAL_NAME = "audio", "synthesis.partial.jsonl"
MAX_DROPPED_SHARE = 0.2
"""If more than this share of a subset cannot be spoken, the voice or the subset is wrong, and the step stops."""
TASKS_PER_CALL = 8
"""Questions handed to a process at a time."""


@dataclass(frozen=True)
class Job:
    """What a worker needs besides the question."""

    voice: Voice
    subset: str
    folder: Path
    max_seconds: float
    retries: int
    recordings: Path | None = None

    def key(self, question: Question) -> str:
        """Identifies the wanted audio: equal keys, equal audio."""
        wanted = [self.voice.model_dump(mode="json"), self.subset, self.max_seconds, question.id, question.spoken]
        wanted += [question.source.get("audio"), question.source.get("transcript")]
        return sha256_text(json.dumps(wanted, sort_keys=True))


def synthesize_speech(
    questions: Path,
    manifest: Path,
    *,
    voice: dict[str, Any],
    subset: str,
    max_seconds: float,
    retries: int,
    threads: int = 1,
    recordings: Path | None = None,
) -> None:
    """Write the audio of all questions beside the manifest, then the manifest.

    Args:
        questions: questions.jsonl.
        manifest: synthesis.jsonl to write, one line per question in their order; audio/{id}.flac lies beside it.
        voice: settings of the voice, as a mapping with `engine`.
        subset: key of the subset.
        max_seconds: longer audio is refused.
        retries: further attempts after an engine's failure.
        threads: processes.
        recordings: asset.json of a voice that is recorded in an asset; else None.

    Raises:
        ArtifactError: no questions, more than MAX_DROPPED_SHARE of them could not be spoken, or a collection of
            recordings that cannot be used (`match_recordings`).
    """
    chosen = TypeAdapter(Voice).validate_python(voice)
    asked = QUESTIONS.read(Path(questions))
    if not asked:
        raise ArtifactError(f"{questions}: no questions to speak; check the filters of subset {subset!r}")
    folder = Path(manifest).parent
    (folder / AUDIO_FOLDER).mkdir(parents=True, exist_ok=True)
    remove_abandoned(folder / AUDIO_FOLDER)
    job = Job(chosen, subset, folder, max_seconds, retries, Path(recordings).parent if recordings else None)
    asked = find_recordings(asked, chosen, job.recordings)
    partial = folder / PARTIAL_NAME
    done = _finished_before(partial, job, asked)
    # In the order in which the recordings lie in their files, which are read by whole groups of rows.
    missing = sorted((question for question in asked if question.id not in done), key=_place)
    if done:
        logger.info("%s: %d of %d utterances are there already", subset, len(done), len(asked))
    with disk_full_named(partial), open(partial, "a", encoding="utf-8") as notes:
        # A kill may have cut the last line off: the next note begins one of its own.
        notes.write("\n" if notes.tell() else "")
        spoken = _speak_all(missing, job, threads)
        keys = {question.id: job.key(question) for question in missing}
        for utterance in progress(spoken, len(missing), f"speech of {subset}"):
            done[utterance.id] = utterance
            notes.write(json.dumps({"key": keys[utterance.id], "utterance": utterance.model_dump()}) + "\n")
            notes.flush()
    utterances = [done[question.id] for question in asked]
    _check_dropped(utterances, manifest)
    given = sum(utterance.transcript_given for utterance in utterances)
    facts = provenance(
        chosen.model_dump(mode="json"),
        **{"subset": subset, "max_seconds": max_seconds, "retries": retries, "transcripts_given": given},
    )
    SYNTHESIS.write(Path(manifest), utterances, facts)
    partial.unlink()


def speak(question: Question, engine: Engine, job: Job) -> Utterance:
    """One question spoken and written, or its reason for being dropped; engines are tried `job.retries` times more."""
    reason = ""
    for attempt in range(1, job.retries + 2):
        try:
            said, rate = engine.say(question)
            samples = prepare(said, rate, max_seconds=job.max_seconds)
        except (BadAudioError, MissingRecordingError) as error:  # the same again: no further attempt
            return _dropped(question, str(error), attempt)
        except ArtifactError:  # a full disk is no fault of the question
            raise
        except Exception as error:  # engines are foreign code: whatever they raise becomes the recorded reason
            reason = f"{type(error).__name__}: {error}"
            continue
        path = f"{AUDIO_FOLDER}/{question.id}.flac"
        write_flac(job.folder / path, samples)
        # What somebody wrote down of a recording is no transcript of it in noise.
        transcript = question.source.get("transcript") if job.voice.engine == "recorded" else None
        return Utterance(
            id=question.id,
            audio=path,
            sha256=sha256_file(job.folder / path),
            seconds=len(samples) / SAMPLE_RATE,
            sample_rate=SAMPLE_RATE,
            source_rate=rate,
            transcript=transcript,
            transcript_given=transcript is not None,
            kept=True,
            attempts=attempt,
        )
    return _dropped(question, f"synthesis failed {job.retries + 1} times, last: {reason}", job.retries + 1)


def _place(question: Question) -> tuple[str, int]:
    """File of the question's recording and place in it; equal for questions that have none inside a file."""
    audio = question.source.get("audio")
    return (audio["file"], audio.get("row", audio.get("offset", 0))) if isinstance(audio, dict) else ("", 0)


def _dropped(question: Question, reason: str, attempts: int) -> Utterance:
    return Utterance(
        id=question.id,
        audio=None,
        sha256=None,
        seconds=0,
        sample_rate=SAMPLE_RATE,
        kept=False,
        reason=reason,
        attempts=attempts,
    )


_worker: tuple[Engine, Job] | None = None
"""Engine and job of a worker process, set once when it starts: loading a voice takes longer than an utterance."""


def _start_worker(job: Job) -> None:
    global _worker
    _worker = (make_engine(job.voice, job.subset, job.recordings), job)
    end_once_closed(multiprocessing.parent_process().sentinel)


def _speak_in_worker(questions: Sequence[Question]) -> list[Utterance]:
    engine, job = _worker
    return [speak(question, engine, job) for question in questions]


def _speak_all(questions: Sequence[Question], job: Job, threads: int) -> Iterator[Utterance]:
    """Utterances as they are finished, in any order: a slow one does not keep others from being noted."""
    parts = [questions[start : start + TASKS_PER_CALL] for start in range(0, len(questions), TASKS_PER_CALL)]
    if min(threads, len(parts)) <= 1:
        engine = make_engine(job.voice, job.subset, job.recordings) if questions else None
        yield from (speak(question, engine, job) for question in questions)
        return
    # fork starts at once and does not import the main script again; this process holds no threads yet.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    with ProcessPoolExecutor(
        min(threads, len(parts)), mp_context=context, initializer=_start_worker, initargs=(job,)
    ) as pool:
        try:
            for spoken in as_completed([pool.submit(_speak_in_worker, part) for part in parts]):
                yield from spoken.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _finished_before(partial: Path, job: Job, questions: Sequence[Question]) -> dict[str, Utterance]:
    """Utterances of an interrupted run that are still valid, by question id."""
    if not partial.exists():
        return {}
    keys = {question.id: job.key(question) for question in questions}
    found: dict[str, Utterance] = {}
    for line in filter(None, partial.read_text(encoding="utf-8").splitlines()):
        try:
            note = json.loads(line)
            utterance = Utterance.model_validate(note["utterance"])
        except (json.JSONDecodeError, KeyError, TypeError, ValidationError):
            logger.info("%s: an unfinished line of the interrupted run is ignored", partial)
            continue
        if keys.get(utterance.id) == note["key"] and utterance.audio and _unchanged(job.folder, utterance):
            found[utterance.id] = utterance
    return found


def _unchanged(folder: Path, utterance: Utterance) -> bool:
    path = folder / utterance.audio
    return path.exists() and sha256_file(path) == utterance.sha256


def _check_dropped(utterances: Sequence[Utterance], manifest: Path) -> None:
    dropped = [utterance for utterance in utterances if not utterance.kept]
    for utterance in dropped[:20]:
        logger.info("%s dropped: %s", utterance.id, utterance.reason)
    if len(dropped) > MAX_DROPPED_SHARE * len(utterances):
        reasons = "; ".join(f"{utterance.id}: {utterance.reason}" for utterance in dropped[:3])
        raise ArtifactError(
            f"{manifest}: {len(dropped)} of {len(utterances)} questions could not be spoken, more than "
            f"{MAX_DROPPED_SHARE:.0%}; check the voice's settings or lower the subset's max_words. First: {reasons}"
        )


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: synthesize_speech(
            s.input.questions,
            s.output.manifest,
            voice=s.params.voice,
            subset=s.params.subset,
            max_seconds=s.params.max_seconds,
            retries=s.params.retries,
            threads=s.threads,
            recordings=s.input.get("recordings"),
        ),
    )
