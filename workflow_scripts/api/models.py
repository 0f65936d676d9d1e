"""Models of a study or of a folder, and the hidden states of a text or a clip."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.api.arrays import States
from workflow_scripts.check_model import open_entry
from workflow_scripts.settings import read_study
from workflow_scripts.settings.families.public import PublicModel
from workflow_scripts.settings.models import FAMILIES
from workflow_scripts.speech.audio import SAMPLE_RATE, prepare, read_source
from workflow_scripts.speech_lm.device import resolve_device, resolve_dtype
from workflow_scripts.speech_lm.opening.open_model import load_model
from workflow_scripts.speech_lm.protocol import ModelFolders, Speech, SpeechLM

MAX_SECONDS = 30.0


def open_model(
    entry: str, *, checkpoint: str | None = None, configfiles: Sequence[str | Path] = (), root: str | Path = "."
) -> SpeechLM:
    """A model of the config, as a step opens it.

    Args:
        entry: key of `models`.
        checkpoint: such as `step-000400`; default: the last one.
        configfiles: studies on top of the default config, as with Snakemake's --configfile.
        root: the checkout, in which the model's files lie.

    Raises:
        SpeechLMError: no such entry, or its files are not there; names the command that makes them.
    """
    return open_entry(read_study(Path(root), [Path(file) for file in configfiles]), Path(root), entry, checkpoint)


def open_folder(
    folder: str | Path,
    family: str = "hf",
    *,
    backbone: str | Path | None = None,
    encoder: str | Path | None = None,
    quantizer: str | Path | None = None,
    system_prompt: str | None = None,
    **settings: Any,
) -> SpeechLM:
    """A model from a folder of weights, without an entry in the config.

    Args:
        folder: a transformers folder, or one checkpoint of a training run (`.../step-000400`).
        family: of docs/models.md; `checkpoints` for a checkpoint of a training run.
        backbone, encoder, quantizer: folders of the parts that the family needs beside the weights.
        settings: further keys of the family's entry (docs/config.md), such as `dtype`.

    Raises:
        ValueError: no such family; SpeechLMError or ValueError: the folder does not hold what the family needs.
    """
    if family not in FAMILIES:
        raise ValueError(f"no family {family!r}; there are {', '.join(FAMILIES)}")
    entry, kind = {"family": family, **settings}, FAMILIES[family].settings
    if issubclass(kind, PublicModel):
        entry = kind.model_validate(entry | {"path": str(folder)}).opening(Path(folder).name)
    entry = {"name": Path(folder).name} | entry
    device = resolve_device("auto")
    parts = {"backbone": backbone, "encoder": encoder, "quantizer": quantizer}
    folders = ModelFolders(Path(folder), **{role: Path(part) for role, part in parts.items() if part is not None})
    dtype = resolve_dtype(entry.get("dtype", "auto"), device)
    return load_model(folders, entry, device=device, dtype=dtype, system_prompt=system_prompt)


def states(
    lm: SpeechLM,
    *,
    text: str | None = None,
    speech: str | Path | np.ndarray | None = None,
    rate: int = SAMPLE_RATE,
) -> States:
    """Hidden states of a written or of a spoken query.

    Args:
        text: the prompt, without template; or
        speech: an audio file, or samples (n,) or (n, channels) at `rate` samples per second.

    Raises:
        ValueError: not exactly one of both, or audio that cannot be used (BadAudioError).
    """
    if (text is None) == (speech is None):
        raise ValueError("give either text or speech")
    query = lm.encode_text(text) if text is not None else lm.encode_speech(read_audio(speech, rate))
    return States(lm.states([query])[0].float().cpu().numpy(), query.tokens)


def read_audio(speech: str | Path | np.ndarray, rate: int = SAMPLE_RATE) -> Speech:
    """Audio as models take it, 16 kHz mono: from a file in any format of libsndfile, or from samples at `rate`."""
    if isinstance(speech, str | Path):
        speech, rate = read_source(Path(speech))
    samples = prepare(speech, rate, max_seconds=MAX_SECONDS)
    return Speech(samples, SAMPLE_RATE, len(samples) / SAMPLE_RATE)
