"""Encoder features of digital silence as long as each utterance: what a model is given that must not listen.

Silence of n samples is encoded like a recording of n samples. Its features depend on the length alone, so that one clip
for each padded length is encoded and cut to the frames of the others.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from workflow_scripts.artifacts.features import write_features
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.logs import progress
from workflow_scripts.artifacts.provenance import provenance
from workflow_scripts.artifacts.utterances import SYNTHESIS
from workflow_scripts.speech.audio import SAMPLE_RATE
from workflow_scripts.speech_lm.trainable.encoder import WhisperFeatures, frame_count


def encode_silence(
    manifest: Path, encoder: Path, features: Path, *, window_seconds: float, device: str = "auto"
) -> None:
    """Write the features of silence for every utterance that was kept.

    Args:
        manifest: synthesis.jsonl; only lengths are read.
        encoder: asset.json of a Whisper model.
        features: HDF5 file to write.
        window_seconds: as for the recordings.
        device: see speech_lm.device.

    Raises:
        ArtifactError: no utterance was kept.
    """
    kept = [utterance for utterance in SYNTHESIS.read(Path(manifest)) if utterance.kept]
    if not kept:
        raise ArtifactError(f"{manifest}: no utterance was kept, nothing to encode; see the reasons in the file")
    samples = [round(utterance.seconds * SAMPLE_RATE) for utterance in kept]
    model = WhisperFeatures(Path(encoder).parent, device=device, window_seconds=window_seconds)
    write_features(
        Path(features),
        [utterance.id for utterance in kept],
        [utterance.seconds for utterance in kept],
        [frame_count(count) for count in samples],
        model.width,
        progress(_silent(model, samples), len(kept), f"silence of {Path(features).parent.name}"),
        {
            "provenance": provenance(window_seconds=window_seconds, audio="silence"),
            "window_seconds": window_seconds,
            "encoder": Path(encoder).parent.name,
            "encoder_dtype": str(model.dtype).removeprefix("torch."),
        },
    )


def _silent(model: WhisperFeatures, samples: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    longest: dict[int, int] = {}
    for count in samples:
        windows = -(-count // model.window)
        longest[windows] = max(count, longest.get(windows, 0))
    encoded = {
        windows: model.encode([np.zeros(count, dtype=np.float32)])[0].float().numpy()
        for windows, count in longest.items()
    }
    for index, count in enumerate(samples):
        yield index, encoded[-(-count // model.window)][: frame_count(count)]


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: encode_silence(
            s.input.manifest, s.input.encoder, s.output.features, window_seconds=s.params.window_seconds
        ),
    )
