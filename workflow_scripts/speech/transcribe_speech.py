"""What a recogniser hears in each utterance: the asr form of the questions, and the word error rate of the voice.

The rate compares the transcript with the text that was spoken, both normalised (scoring.word_errors), so that
digits, symbols and option letters count by how they sound. Questions above `wer_limit` are dropped (paper section 3:
0.1 for training data). The features of encode_speech cannot be used here: Whisper's decoder needs the frames of the
trailing silence, which they leave out.
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.logs import progress
from workflow_scripts.artifacts.provenance import provenance
from workflow_scripts.artifacts.questions import QUESTIONS
from workflow_scripts.artifacts.utterances import SYNTHESIS, UTTERANCES, Utterance
from workflow_scripts.scoring.word_errors import word_error_rate
from workflow_scripts.settings.speech import AsrSettings
from workflow_scripts.speech.audio import read_flac
from workflow_scripts.speech.padding import WINDOW_SECONDS, padded_length
from workflow_scripts.speech.whisper_decoder import Transcript, WhisperDecoder
from workflow_scripts.speech_lm.trainable.encoder import WhisperFeatures

logger = logging.getLogger(__name__)


def transcribe_speech(
    questions: Path,
    synthesis: Path,
    asr: Path,
    manifest: Path,
    *,
    settings: dict[str, Any],
    wer_limit: float | None,
    device: str = "auto",
) -> None:
    """Write manifest.jsonl: the lines of synthesis.jsonl with transcript, word error rate and the final `kept`.

    Args:
        questions: questions.jsonl; its `spoken` texts are the references.
        synthesis: synthesis.jsonl, with the audio beside it.
        asr: asset.json of a Whisper model.
        manifest: file to write, in the folder of `synthesis` (audio paths are relative to it).
        settings: AsrSettings as a mapping.
        wer_limit: greatest word error rate that is kept; None keeps all.
        device: see speech_lm.device.

    Training prompts of sources without `wer_filter` are kept as they are: they are not transcribed. Transcripts that
    came with recordings take the place of the recogniser's, and are judged in the same way.

    Raises:
        ArtifactError: questions and utterances differ, an audio file is damaged, or nothing is kept.
    """
    chosen = AsrSettings.model_validate(settings)
    asked = QUESTIONS.read(Path(questions))
    spoken = {question.id: question.spoken for question in asked}
    unfiltered = {question.id for question in asked if not question.source.get("wer_filter", True)}
    utterances = SYNTHESIS.read(Path(synthesis))
    if list(spoken) != [utterance.id for utterance in utterances]:
        raise ArtifactError(
            f"{synthesis}: {len(utterances)} utterances do not belong to the {len(spoken)} questions of {questions}; "
            "delete it and run again"
        )
    filtered = [utterance for utterance in utterances if utterance.id not in unfiltered]
    given = {u.id: Transcript(u.transcript, "given") for u in filtered if u.transcript_given}
    unheard = [utterance for utterance in filtered if utterance.id not in given]
    heard = given | _hear(unheard, Path(synthesis).parent, Path(asr).parent, chosen, device)
    judged = [judge(utterance, spoken[utterance.id], heard.get(utterance.id), wer_limit) for utterance in utterances]
    kept = sum(utterance.kept for utterance in judged)
    if not kept:
        raise ArtifactError(
            f"{synthesis}: none of {len(judged)} utterances is kept at a word error rate of at most {wer_limit}; "
            "listen to the voice, or raise speech.training_wer_limit or speech.benchmark_wer_limit"
        )
    rates = [utterance.wer for utterance in judged if utterance.wer is not None]
    loops = sum(transcript.finish_reason == "length" for transcript in heard.values())
    logger.info(
        "%d of %d utterances kept, %d with a transcript, %d of them given; word error rate mean %.3f, median %.3f; "
        "%d transcripts reached the token limit",
        kept,
        len(judged),
        len(rates),
        len(given),
        float(np.mean(rates or np.nan)),
        float(np.median(rates or np.nan)),
        loops,
    )
    facts = provenance(
        chosen.model_dump(mode="json"),
        **{"wer_limit": wer_limit, "window_seconds": WINDOW_SECONDS},
        **{"transcripts_cut": loops, "transcripts_given": len(given)},
    )
    UTTERANCES.write(Path(manifest), judged, facts)


def judge(utterance: Utterance, spoken: str, transcript: Transcript | None, wer_limit: float | None) -> Utterance:
    """The utterance with its transcript, its rate and whether it is kept; one without audio stays as it is.

    Without a limit all are kept, those in which the recogniser hears nothing too: leaving them out of the other forms
    would select the questions that are easy to hear.
    """
    if transcript is None:
        return utterance
    rate = word_error_rate(spoken, transcript.text)
    facts: dict[str, Any] = {"transcript": transcript.text, "wer": rate}
    if wer_limit is not None and not transcript.text:
        facts |= {"kept": False, "reason": "the recogniser heard nothing"}
    elif wer_limit is not None and rate > wer_limit:
        facts |= {"kept": False, "reason": f"word error rate {rate:.3f}, above the limit of {wer_limit:g}"}
    return utterance.model_copy(update=facts)


def _hear(
    utterances: Sequence[Utterance], audio: Path, model: Path, settings: AsrSettings, device: str
) -> dict[str, Transcript]:
    """Transcripts by id of all utterances that were kept so far, longest first."""
    spoken = sorted((u for u in utterances if u.kept), key=lambda u: (-u.seconds, u.id))
    if not spoken:
        return {}
    encoder = WhisperFeatures(model, device=device, window_seconds=WINDOW_SECONDS, batch_size=settings.batch_size)
    decoder = WhisperDecoder(model, device=device, batch_size=settings.batch_size)
    found = _transcripts(spoken, audio, encoder, decoder, settings.batch_size)
    return dict(progress(found, len(spoken), "transcripts"))


def _transcripts(
    spoken: Sequence[Utterance], audio: Path, encoder: WhisperFeatures, decoder: WhisperDecoder, batch_size: int
) -> Iterator[tuple[str, Transcript]]:
    batch: list[tuple[str, np.ndarray]] = []
    for utterance in spoken:
        samples = read_flac(utterance.audio_file(audio), utterance.seconds)
        padded = np.pad(samples, (0, padded_length(len(samples)) - len(samples)))
        if batch and (len(batch) == batch_size or len(padded) != len(batch[0][1])):
            yield from _batch_transcripts(batch, encoder, decoder)
            batch = []
        batch.append((utterance.id, padded))
    if batch:
        yield from _batch_transcripts(batch, encoder, decoder)


def _batch_transcripts(
    batch: Sequence[tuple[str, np.ndarray]], encoder: WhisperFeatures, decoder: WhisperDecoder
) -> Iterator[tuple[str, Transcript]]:
    features = encoder.encode([samples for _, samples in batch])
    yield from zip([name for name, _ in batch], decoder.transcribe(features))


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: transcribe_speech(
            s.input.questions,
            s.input.synthesis,
            s.input.asr,
            s.output.manifest,
            settings=s.params.asr,
            wer_limit=s.params.wer_limit,
        ),
    )
