"""A tiny random Whisper with tokenizer and generation config, as the assets stage writes them."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

from workflow_scripts.artifacts.files import sha256_file
from workflow_scripts.artifacts.questions import QUESTIONS, Question
from workflow_scripts.artifacts.utterances import SYNTHESIS, Utterance
from workflow_scripts.speech.audio import write_flac

torch.set_num_threads(1)

SPECIALS = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>"]
END, START, ENGLISH, TRANSCRIBE, NO_TIMESTAMPS = range(256, 261)
SUPPRESSED, SUPPRESSED_FIRST = [0, 5, 9], [1, 256]


@pytest.fixture(scope="session")
def tiny_whisper(tmp_path_factory: pytest.TempPathFactory):
    """Folder of a random Whisper: 2 + 2 layers, d = 32, byte tokens plus five special ones."""
    folder = tmp_path_factory.mktemp("whisper")
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=261,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        num_mel_bins=80,
        max_source_positions=1500,
        max_target_positions=300,
        init_std=0.35,  # large enough for transcripts that differ
        pad_token_id=END,
        bos_token_id=END,
        eos_token_id=END,
        decoder_start_token_id=START,
    )
    model = WhisperForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        eos_token_id=END,
        pad_token_id=END,
        decoder_start_token_id=START,
        is_multilingual=True,
        lang_to_id={"<|en|>": ENGLISH},
        task_to_id={"transcribe": TRANSCRIBE},
        no_timestamps_token_id=NO_TIMESTAMPS,
        suppress_tokens=SUPPRESSED,
        begin_suppress_tokens=SUPPRESSED_FIRST,
    )
    model.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(folder)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIALS)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=SPECIALS[0]).save_pretrained(folder)
    (folder / "asset.json").write_text("{}")
    return folder


@pytest.fixture
def spoken_subset(tmp_path):
    """questions.jsonl, synthesis.jsonl and noise audio of 0.3 to 6.2 s; the second utterance was dropped."""
    random = np.random.default_rng(0)
    questions, utterances = [], []
    for i, seconds in enumerate([0.7, 1.0, 6.2, 0.3, 2.0]):
        name = f"made-{i}"
        facts = {"subset": "made", "reference": [], "scorer": "short_answer", "source": {}}
        questions.append(Question(id=name, prompt="five little words are here", spoken="Five little words.", **facts))
        kept = i != 1
        if kept:
            samples = random.normal(size=round(16_000 * seconds)).astype(np.float32) * 0.1
            write_flac(tmp_path / "audio" / f"{name}.flac", samples)
        utterances.append(
            Utterance(
                id=name,
                audio=f"audio/{name}.flac" if kept else None,
                sha256=sha256_file(tmp_path / "audio" / f"{name}.flac") if kept else None,
                seconds=seconds if kept else 0,
                sample_rate=16_000,
                kept=kept,
                reason="" if kept else "the audio is silent",
                attempts=1,
            )
        )
    QUESTIONS.write(tmp_path / "questions.jsonl", questions, {})
    SYNTHESIS.write(tmp_path / "synthesis.jsonl", utterances, {})
    return tmp_path
