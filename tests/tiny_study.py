"""A study of a few questions on disk, with a tiny random model: all inputs of the steps that run a checkpoint."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from workflow_scripts.artifacts.asset_record import AssetRecord, FileRecord, SourceRecord, write_asset_record
from workflow_scripts.artifacts.checkpoints import CheckpointEntry, CheckpointIndex
from workflow_scripts.artifacts.features import write_features
from workflow_scripts.artifacts.files import sha256_file
from workflow_scripts.artifacts.questions import QUESTIONS, Question
from workflow_scripts.artifacts.utterances import UTTERANCES, Utterance
from workflow_scripts.speech_lm.families.composite import load_composite
from workflow_scripts.speech_lm.opening.open_model import ModelSource
from workflow_scripts.speech_lm.protocol import SpeechLM
from workflow_scripts.speech_lm.trainable.adapters import AdapterShape, SpeechAdapter
from workflow_scripts.speech_lm.trainable.checkpoint import save_lslm
from workflow_scripts.speech_lm.trainable.lslm import LSLM

CHECKPOINT = "step-000003"
TEMPLATE = "{% for m in messages %}<|start|>{{ m['content'] }}<|end|>\n{% endfor %}<|start|>"
D_ENCODER, FRAMES_PER_SECOND = 16, 50


@dataclass(frozen=True)
class TinyStudy:
    """Files of the study; the attributes have the names that the steps' inputs have."""

    questions: Path
    manifest: Path
    features: Path
    model: Path
    backbone: Path
    encoder: Path

    @property
    def source(self) -> ModelSource:
        """The checkpoint as steps open it."""
        entry = {"name": "tiny-lora", "family": "composite"}
        return ModelSource(self.model, CHECKPOINT, entry, backbone=self.backbone, encoder=self.encoder)

    def inputs(self) -> dict[str, Any]:
        """Questions and speech by name, and the model."""
        files = {name: getattr(self, name) for name in ("questions", "manifest", "features")}
        return files | {"model": self.source}

    def load(self) -> SpeechLM:
        """The checkpoint in float32, loaded without the helpers under test."""
        folder = self.model.parent / CHECKPOINT
        return load_composite(
            backbone=self.backbone.parent, checkpoint=folder, encoder=None, device="cpu", dtype="float32"
        )


def write_tiny_study(folder: Path, n: int = 5, dropped: tuple[int, ...] = (1,), n_layers: int = 3) -> TinyStudy:
    """Write `n` questions of which those in `dropped` were not kept; a llama of `n_layers` layers of width 32."""
    study = TinyStudy(
        folder / "questions.jsonl",
        folder / "manifest.jsonl",
        folder / "features.h5",
        folder / "model" / "checkpoints.json",
        folder / "backbone" / "asset.json",
        folder / "encoder" / "asset.json",
    )
    asked = [_question(number) for number in range(n)]
    QUESTIONS.write(study.questions, asked, {})
    rng = np.random.default_rng(5)
    frames = [24 + 11 * number for number in range(n)]
    UTTERANCES.write(
        study.manifest,
        [
            Utterance(
                id=question.id,
                audio=f"audio/{question.id}.flac",
                sha256=None,
                seconds=length / FRAMES_PER_SECOND,
                sample_rate=16_000,
                transcript=question.prompt,
                wer=0.0,
                kept=number not in dropped,
                reason="word error rate" if number in dropped else "",
                attempts=1,
            )
            for number, (question, length) in enumerate(zip(asked, frames))
        ],
        {},
    )
    write_features(
        study.features,
        [question.id for question in asked],
        [length / FRAMES_PER_SECOND for length in frames],
        frames,
        D_ENCODER,
        ((k, rng.standard_normal((length, D_ENCODER), dtype=np.float32)) for k, length in enumerate(frames)),
        {},
    )
    _write_model(study, n_layers)
    return study


def _question(number: int) -> Question:
    prompt = "what is the water in the river " + "and " * (number % 4) + str(number)
    return Question(
        id=f"q{number}",
        subset="tiny",
        prompt=prompt,
        spoken=prompt,
        reference=["the river"] if number % 2 == 0 else [],
        scorer="short_answer",
        source={"asset": "tiny", "row": number},
    )


def _write_model(study: TinyStudy, n_layers: int) -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=n_layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.4,  # large enough for answers that depend on the query
        tie_word_embeddings=True,
        eos_token_id=None,
        bos_token_id=None,
        pad_token_id=None,
    )
    backbone = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval()
    backbone.save_pretrained(study.backbone.parent)
    _tokenizer().save_pretrained(study.backbone.parent)
    lslm = LSLM(backbone, SpeechAdapter(AdapterShape(d_encoder=D_ENCODER, d_hidden=24, d_model=32)))
    save_lslm(study.model.parent / CHECKPOINT, lslm, step=3, seed=0, facts={})
    entry = CheckpointEntry.of(study.model.parent / CHECKPOINT, 3)
    CheckpointIndex(schema="checkpoints/1", model="tiny-lora", checkpoints=[entry], provenance={}).write(study.model)
    for path, name in ((study.backbone, "tiny-llama"), (study.encoder, "tiny-whisper")):
        path.parent.mkdir(exist_ok=True)
        files = {
            file.name: FileRecord(sha256=sha256_file(file), size=file.stat().st_size)
            for file in sorted(path.parent.iterdir())
            if file.is_file()
        }
        source = SourceRecord(kind="package", packages=[f"{name}==1.0"], format="transformers")
        record = AssetRecord(name=name, format="transformers", licence="test", source=source, files=files)
        write_asset_record(path.parent, record)


def _tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte, and the template's two special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate(["<|start|>", "<|end|>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|start|>", "<|end|>"])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>")
    fast.chat_template = TEMPLATE
    return fast
