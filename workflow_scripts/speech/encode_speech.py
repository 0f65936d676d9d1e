"""Encoder features of a subset's audio, computed once: training, evaluation and activations read them.

Frames of the real audio only, 50 a second. How far audio is padded before the encoder is `window_seconds`.
Of the first utterances the frames behind the audio are kept too, as the paper's encoder gives them for its window of
30 s: what a speech span with padding is made of (sensitivity.csv).
"""

import logging
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from workflow_scripts.artifacts.features import write_features
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.logs import progress
from workflow_scripts.artifacts.provenance import provenance
from workflow_scripts.artifacts.utterances import SYNTHESIS
from workflow_scripts.speech.audio import SAMPLE_RATE, check_flac, read_flac
from workflow_scripts.speech_lm.trainable.encoder import WhisperFeatures, frame_count

logger = logging.getLogger(__name__)


def encode_speech(
    manifest: Path, encoder: Path, features: Path, *, window_seconds: float, padded: int = 0, device: str = "auto"
) -> None:
    """Write the features of every utterance that was kept.

    Args:
        manifest: synthesis.jsonl, with the audio beside it.
        encoder: asset.json of a Whisper model.
        features: HDF5 file to write.
        window_seconds: audio is padded with silence to a multiple of this; 30 is what Whisper was trained on.
        padded: first utterances whose frames behind the audio are kept, up to the encoder's limit.
        device: see speech_lm.device.

    Raises:
        ArtifactError: no utterance was kept, or an audio file is missing, damaged, of another length than the manifest
            says or longer than the encoder's window.
    """
    spoken = SYNTHESIS.read(Path(manifest))
    utterances = [utterance for utterance in spoken if utterance.kept]
    if not utterances:
        raise ArtifactError(f"{manifest}: no utterance was kept, nothing to encode; see the reasons in the file")
    paths = [utterance.audio_file(Path(manifest).parent) for utterance in utterances]
    samples = [check_flac(path, utterance.seconds) for path, utterance in zip(paths, utterances)]
    model = WhisperFeatures(Path(encoder).parent, device=device, window_seconds=window_seconds)
    first = {utterance.id for utterance in spoken[:padded]}
    longest = max(range(len(paths)), key=samples.__getitem__)
    if samples[longest] > model.limit_seconds * SAMPLE_RATE:
        raise ArtifactError(
            f"{paths[longest]}: {samples[longest] / SAMPLE_RATE:.2f} s, longer than the {model.limit_seconds:g} s of "
            f"encoder {Path(encoder).parent.name}; set speech.max_seconds to at most that"
        )
    write_features(
        Path(features),
        [utterance.id for utterance in utterances],
        [count / SAMPLE_RATE for count in samples],
        [frame_count(count) for count in samples],
        model.width,
        progress(_encoded(model, paths, samples), len(paths), f"features of {Path(features).parent.name}"),
        {
            "provenance": provenance(window_seconds=window_seconds),
            "window_seconds": window_seconds,
            "encoder": Path(encoder).parent.name,
            "encoder_dtype": str(model.dtype).removeprefix("torch."),
        },
        _padding(model, [(n, path) for n, path in enumerate(paths) if utterances[n].id in first]),
    )


def batches_by_window(samples: Sequence[int], window: int, size: int) -> list[list[int]]:
    """Indices in batches of up to `size` of equal padded length (multiples of `window` samples), shortest first."""
    order = sorted(range(len(samples)), key=lambda index: (samples[index], index))
    found: list[list[int]] = []
    for _, group in groupby(order, key=lambda index: -(-samples[index] // window)):
        members = list(group)
        found += [members[start : start + size] for start in range(0, len(members), size)]
    return found


def _encoded(model: WhisperFeatures, paths: Sequence[Path], samples: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    for batch in batches_by_window(samples, model.window, model.batch_size):
        blocks = model.encode([read_flac(paths[index]) for index in batch])
        yield from ((index, block.float().numpy()) for index, block in zip(batch, blocks))


def _padding(model: WhisperFeatures, chosen: Sequence[tuple[int, Path]]) -> Iterator[tuple[int, np.ndarray]]:
    for index, path in chosen:
        yield index, model.encode_padding([read_flac(path)])[0].float().numpy()


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: encode_speech(
            s.input.manifest,
            s.input.encoder,
            s.output.features,
            window_seconds=s.params.window_seconds,
            padded=s.params.padded,
        ),
    )
