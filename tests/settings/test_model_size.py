"""Sizes counted from config.json, and memory estimated from them, against published counts and measured peaks."""

from pathlib import Path

import pytest
import yaml

from workflow_scripts.settings.model_size import (
    answering_bytes,
    converting_bytes,
    encoding_bytes,
    model_size,
    reading_bytes,
    training_bytes,
    transcribing_bytes,
    warm_up_bytes,
)

ROOT = Path(__file__).parents[2]
PARAMETERS = {
    "smollm2-135m-instruct": 134.5e6,
    "qwen2.5-coder-0.5b-instruct": 630e6,  # untied: the output matrix is stored apart
    "qwen2.5-coder-1.5b-instruct": 1777e6,
    "whisper-base": 72.6e6,
    "llama-3.2-3b-instruct": 3213e6,
    "llama-3.1-8b-instruct": 8030e6,
    "qwen2.5-1.5b-instruct": 1544e6,
    "qwen2.5-7b-instruct": 7616e6,
    "whisper-large-v3": 1543e6,
}


def recorded(name):
    for file in ("assets.yaml", "studies/paper.yaml"):
        assets = yaml.safe_load((ROOT / file).read_text())["assets"]
        if name in assets:
            return model_size(assets[name]["config"])
    raise KeyError(name)


@pytest.mark.parametrize("name", PARAMETERS)
def test_recorded_sizes_give_the_published_number_of_parameters(name):
    assert recorded(name).parameters == pytest.approx(PARAMETERS[name], rel=0.02)


def test_a_random_model_has_the_parameters_that_its_config_says():
    import transformers

    shape = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4}
    for more in (
        {"num_key_value_heads": 2, "tie_word_embeddings": False},
        {"head_dim": 8, "tie_word_embeddings": True},
    ):
        config = transformers.LlamaConfig(vocab_size=500, **shape, **more)
        model = transformers.LlamaForCausalLM(config)
        matrices = {id(one): one.numel() for one in model.parameters() if one.ndim == 2}
        assert model_size(config.to_dict()).parameters == sum(matrices.values())


@pytest.mark.parametrize(
    ("job", "peak_mb"),
    [
        # Measured by Snakemake: the quick study of 0.8.0, SmolLM2-135M and Whisper base in bfloat16.
        (lambda llm, asr: answering_bytes(llm, 24 * (100 + 24), 2), 1100),
        (lambda llm, asr: reading_bytes(llm, 16 * 100, 2), 800),
        (lambda llm, asr: training_bytes(llm, 16, 100, 20, 2, full=False), 3443),
        (lambda llm, asr: warm_up_bytes(llm, 16 * 52, 2), 950),
        (lambda llm, asr: encoding_bytes(asr, 16 * 100, 2), 633),
    ],
    ids=["answers", "states", "training", "warm-up", "features"],
)
def test_memory_is_estimated_within_a_quarter_of_what_a_study_took(job, peak_mb):
    found = job(recorded("smollm2-135m-instruct"), recorded("whisper-base")) / 1e6
    assert found == pytest.approx(peak_mb, rel=0.25)


@pytest.mark.parametrize(("samples", "peak_gb"), [(8, 13), (16, 22)])
def test_memory_of_lora_on_a_larger_model_is_estimated_within_a_quarter_of_its_peak(samples, peak_gb):
    size = recorded("qwen2.5-coder-1.5b-instruct")
    assert training_bytes(size, samples, 250, 60, 2, full=False) / 1e9 == pytest.approx(peak_gb, rel=0.25)
    assert converting_bytes(size) / 1e9 == pytest.approx(4.83, rel=0.05), "from GGUF, in the default study"
    transcribed = transcribing_bytes(recorded("whisper-base"), 32 * 1500, 2)
    assert transcribed / 1e9 == pytest.approx(2.0, rel=0.05), "32 clips of up to 30 s, in the default study"
    assert answering_bytes(size, 40 * (80 + 24), 2) / 1e9 == pytest.approx(7.4, rel=0.25), "measured in the same study"


def test_full_training_keeps_sixteen_bytes_a_parameter_and_a_share_of_them_when_split():
    size = recorded("llama-3.1-8b-instruct")
    whole, split = (training_bytes(size, 1, 1, 1, 2, full=True, share=share) for share in (1, 2))
    assert whole - split == pytest.approx(8 * size.parameters, rel=1e-6)
    frozen = training_bytes(size, 1, 1, 1, 2, full=False)
    assert whole - frozen == pytest.approx(14 * size.parameters, rel=1e-6)


@pytest.mark.parametrize("config", [{}, {"model_type": "mamba"}, {"hidden_size": "wide"}, {"n_embd": 768}])
def test_a_config_of_another_kind_has_no_known_size(config):
    assert model_size(config) is None


def test_a_speech_tower_adds_to_its_language_model():
    shape = yaml.safe_load((ROOT / "assets.yaml").read_text())["assets"]["smollm2-135m-instruct"]["config"]
    assert model_size({"text_config": shape}).parameters == int(1.15 * model_size(shape).parameters)
