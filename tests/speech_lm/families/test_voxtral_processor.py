"""Voxtral from files as they are published: tokenizer, prompt and windows, without mistral-common."""

import base64
import json

import numpy as np
import pytest
import torch
import transformers as hf

from tests.speech_lm.tiny_sizes import TEXT
from workflow_scripts.settings.families.hf import HfModel
from workflow_scripts.speech_lm.converters.tiktoken_file import SPLIT
from workflow_scripts.speech_lm.families.hf import open_hf
from workflow_scripts.speech_lm.families.hf_folder import check_hf_folder
from workflow_scripts.speech_lm.families.voxtral_processor import tekken_tokenizer
from workflow_scripts.speech_lm.opening.folder_checks import FolderFacts
from workflow_scripts.speech_lm.opening.model_checks import clip, confounds, run_checks
from workflow_scripts.speech_lm.protocol import ModelFolders, SpeechLMError

N_SPECIAL, WINDOW = 30, 50
WORDS = ("th", "the", " w", " wa", "te", "ter", " water", "beyond the size")
SPECIAL = {0: "<unk>", 1: "<s>", 2: "</s>", 3: "[INST]", 4: "[/INST]", 11: "<pad>", 24: "[AUDIO]", 25: "[BEGIN_AUDIO]"}
SPECIAL |= {17: "[SYSTEM_PROMPT]", 18: "[/SYSTEM_PROMPT]"}


def write_tekken(path, special=SPECIAL):
    tokens = [bytes([byte]) for byte in range(256)] + [word.encode() for word in WORDS]
    content = {
        "config": {
            "pattern": SPLIT,
            "num_vocab_tokens": len(tokens),
            "default_vocab_size": N_SPECIAL + len(tokens) - 1,  # the last word is left out
            "default_num_special_tokens": N_SPECIAL,
            "version": "v11",
        },
        "vocab": [{"rank": n, "token_bytes": base64.b64encode(t).decode()} for n, t in enumerate(tokens)],
        "special_tokens": [{"rank": n, "token_str": text, "is_control": True} for n, text in special.items()],
    }
    path.write_text(json.dumps(content))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny random Voxtral with windows of 4 s and the files of the published one."""
    path = tmp_path_factory.mktemp("voxtral")
    audio = {"num_mel_bins": 16, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    audio |= {"intermediate_size": 64, "max_source_positions": 200}
    text = {"model_type": "llama", **TEXT, "head_dim": 8, "eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 11}
    torch.manual_seed(0)
    config = hf.VoxtralConfig(audio_config=audio, text_config=text, audio_token_id=24)
    hf.VoxtralForConditionalGeneration(config).eval().save_pretrained(path)
    hf.WhisperFeatureExtractor(feature_size=16, chunk_length=4).save_pretrained(path)
    write_tekken(path / "tekken.json")
    return path


@pytest.fixture(scope="module")
def entry():
    settings = HfModel.model_validate({"family": "hf", "path": "x"})
    return {"name": "voxtral", **settings.model_dump()}


@pytest.fixture(scope="module")
def lm(folder, entry):
    return open_hf(ModelFolders(folder), entry, device=torch.device("cpu"), dtype=torch.float32, system_prompt=None)


def test_numbers_of_tokens_are_those_of_the_file(tmp_path):
    tokenizer = tekken_tokenizer(write_tekken(tmp_path / "tekken.json"))
    encoded = tokenizer("the water", add_special_tokens=False, return_offsets_mapping=True)
    place = {word: N_SPECIAL + 256 + n for n, word in enumerate(WORDS)}
    assert encoded["input_ids"] == [place["the"], place[" water"]]
    assert encoded["offset_mapping"] == [(0, 3), (3, 9)]
    assert tokenizer("[INST]é", add_special_tokens=False)["input_ids"] == [3, N_SPECIAL + 0xC3, N_SPECIAL + 0xA9]
    assert tokenizer.convert_ids_to_tokens(29) == "<SPECIAL_29>"
    assert tokenizer.decode(encoded["input_ids"]) == "the water"
    assert len(tokenizer) == N_SPECIAL + 256 + len(WORDS) - 1


def test_prompts_of_both_forms_are_the_originals(lm):
    spoken, written = lm.encode_speech(clip(1.2)), lm.encode_text("the water")
    ids = spoken.inputs["input_ids"][0].tolist()
    assert ids == [1, 3, 25, *[24] * WINDOW, 4], "one window, whatever the clip's length"
    assert spoken.span == (3, 3 + 15), "12.5 positions a second of real audio"
    text = written.inputs["input_ids"][0].tolist()
    assert text[:2] == [1, 3] and text[-1] == 4 and written.span == (2, 4)
    assert spoken.inputs["input_features"].shape == (1, 16, 400)
    assert any("[BEGIN_AUDIO]" in line for line in confounds(lm))


def test_a_clip_of_two_windows_gets_two(lm):
    waveform = np.random.default_rng(0).standard_normal(5 * 16_000).astype(np.float32)
    inputs = lm.processor(text=[lm.template.spoken], audio=[waveform])
    assert inputs["input_features"].shape == (2, 16, 400)
    assert (inputs["input_ids"] == 24).sum() == 2 * WINDOW
    alone = lm.processor(text=[lm.template.spoken], audio=[waveform[4 * 16_000 :]])["input_features"][0]
    assert inputs["input_features"][1].shape == alone.shape


def test_every_check_passes_on_the_folder(lm, folder, entry):
    assert check_hf_folder(folder, entry) == FolderFacts(max_seconds=4.0, editable=True)
    failed = [result for result in run_checks(lm) if not result.passed]
    assert not failed, failed


def test_a_system_prompt_has_its_own_place(folder, entry):
    lm = open_hf(ModelFolders(folder), entry, device=torch.device("cpu"), dtype=torch.float32, system_prompt="th")
    ids = lm.encode_speech(clip(1.0)).inputs["input_ids"][0].tolist()
    assert ids[:6] == [1, 17, N_SPECIAL + 256, 18, 3, 25]


def test_another_tokenizer_file_is_named(tmp_path):
    with pytest.raises(SpeechLMError, match=r"no special token \[AUDIO\]; it is not Voxtral's"):
        tekken_tokenizer(write_tekken(tmp_path / "tekken.json", {n: t for n, t in SPECIAL.items() if n < 20}))
    (tmp_path / "tekken.json").write_text("{}")
    with pytest.raises(SpeechLMError, match=r"is no tokenizer file of Mistral \(KeyError"):
        tekken_tokenizer(tmp_path / "tekken.json")
