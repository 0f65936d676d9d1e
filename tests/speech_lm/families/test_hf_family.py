"""What is particular to placeholder models: templates, spans, counts, padding, LoRA, windows."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model

from tests.speech_lm.tiny_models import build, speech_lm
from tests.speech_lm.tiny_processor import AUDIO_TOKEN, TEMPLATE, make_tokenizer
from workflow_scripts.speech_lm.families.audio_prompts import AudioPrompts
from workflow_scripts.speech_lm.families.hf import HfSpeechLM
from workflow_scripts.speech_lm.families.units import run_starts
from workflow_scripts.speech_lm.families.whole_model import WholeModelSpeechLM
from workflow_scripts.speech_lm.opening.model_checks import check_model, clip, confounds, run_checks
from workflow_scripts.speech_lm.protocol import Speech, SpeechLMError

torch.set_num_threads(1)
PLAIN = "{% for m in messages %}{{ '<|im_start|>' + m['content'] + '<|im_end|>\n' }}{% endfor %}{{ '<|im_start|>' }}"


class OnlyTokenizer:
    """A processor as far as prompts need one."""

    audio_token = AUDIO_TOKEN

    def __init__(self, template=TEMPLATE):
        self.tokenizer = make_tokenizer(template=template)


def failures(lm):
    return {result.check: result.detail for result in run_checks(lm) if not result.passed}


# --- templates and spans ---------------------------------------------------------------------------------------


def test_native_template_of_qwen2_audio_lists_its_confounds_and_matched_leaves_only_the_audio_ends():
    native, matched = speech_lm("qwen2_audio"), speech_lm("qwen2_audio", template="matched")
    assert confounds(native) == [
        "the template adds a system prompt of its own: 'You are a helpful assistant.'",
        "only before speech: 'Audio 1: <|audio_bos|>'",
        "only after speech: '<|audio_eos|>\\n'",
    ]
    assert confounds(matched)[1:] == [
        "only before speech: '<|audio_bos|>'",
        "only after speech: '<|audio_eos|>'",
    ]
    prefix, suffix = matched.template.frame
    assert matched.template.spoken == f"{prefix}<|audio_bos|>{AUDIO_TOKEN}<|audio_eos|>{suffix}"
    written, spoken = matched.encode_text("river"), matched.encode_speech(clip(0.5))
    assert written.span[0] + 1 == spoken.span[0], "the same frame, one begin token more"


def test_a_template_with_plain_strings_has_the_placeholder_in_its_text():
    prompts = AudioPrompts(OnlyTokenizer(PLAIN))
    assert prompts.spoken == f"<|im_start|>{AUDIO_TOKEN}<|im_end|>\n<|im_start|>"
    assert AudioPrompts(OnlyTokenizer(PLAIN), template="matched").spoken == prompts.spoken


@pytest.mark.parametrize("query", ["what is the water", "river?", "Q9 and zx%", " 12,5 % – naïve? "])
def test_without_offsets_the_span_is_found_by_comparison(query, monkeypatch):
    fast = AudioPrompts(OnlyTokenizer())
    slow = AudioPrompts(OnlyTokenizer())
    monkeypatch.setattr(type(slow.tokenizer), "is_fast", False)
    by_comparison = slow.write(query)
    monkeypatch.undo()
    by_offsets = fast.write(query)
    assert by_comparison.input_ids == by_offsets.input_ids
    assert by_comparison.span == by_offsets.span
    assert fast.tokenizer.decode(list(by_offsets.input_ids[slice(*by_offsets.span)])).strip() == query.strip()
    assert by_offsets.char_spans[0][0] == 0 and by_offsets.char_spans[-1][1] == len(query.strip())


def test_what_a_template_cannot_do_is_said_with_the_remedy():
    with pytest.raises(SpeechLMError, match="neither processor nor tokenizer has a chat template"):
        AudioPrompts(OnlyTokenizer(None))
    with pytest.raises(SpeechLMError, match=r"template 'mached' is unknown; choose native or matched"):
        AudioPrompts(OnlyTokenizer(), template="mached")
    with pytest.raises(SpeechLMError, match="contains the audio placeholder"):
        AudioPrompts(OnlyTokenizer()).write(f"what {AUDIO_TOKEN}?")
    twice = PLAIN.replace("m['content']", "m['content'] + m['content']")
    with pytest.raises(SpeechLMError, match=r"placeholder .* 2 times, not once"):
        _ = AudioPrompts(OnlyTokenizer(twice)).spoken
    with pytest.raises(ValueError, match="must not be empty"):
        AudioPrompts(OnlyTokenizer()).write("  ")


# --- placeholders and audio embeddings -------------------------------------------------------------------------


@pytest.mark.parametrize("change", [-1, 1])
@pytest.mark.parametrize(
    "name", ["voxtral", "audioflamingo3", "granite_speech", "phi4_multimodal", "gemma4", "gemma3n"]
)
def test_a_wrong_number_of_placeholders_is_found_before_the_language_model_runs(name, change, monkeypatch):
    lm = speech_lm(name)
    query = lm.encode_speech(clip(0.7))
    ids = query.inputs["input_ids"][0]
    at = query.span[0]
    ids = torch.cat([ids[:at], ids[at + 1 :]]) if change < 0 else torch.cat([ids[: at + 1], ids[at:]])
    inputs = {**query.inputs, "input_ids": ids[None], "attention_mask": torch.ones_like(ids)[None]}
    if "mm_token_type_ids" in inputs:
        inputs["mm_token_type_ids"] = 3 * (ids == lm.placeholder).long()[None]
    span = (query.span[0], query.span[1] + min(change, 0))
    wrong = replace(query, inputs=inputs, length=len(ids), span=span, tokens=query.tokens[: span[1] - span[0]])

    def unreachable(*_args, **_kwargs):
        raise AssertionError("the language model ran")

    monkeypatch.setattr(lm.decoder_layers[0], "forward", unreachable)
    with pytest.raises(SpeechLMError, match=r"clip of 0\.70 s.*placeholders"):
        lm.states([wrong])


def test_a_processor_that_forgets_the_audio_is_found():
    lm = speech_lm("audioflamingo3")
    query = lm.encode_speech(clip(0.7))
    deaf = replace(query, inputs={name: query.inputs[name] for name in ("input_ids", "attention_mask")})
    with pytest.raises(SpeechLMError, match=r"placeholders were not replaced by audio embeddings"):
        lm.states([deaf])


def test_placeholders_that_are_not_one_block_are_refused():
    tiny = build("voxtral")
    tiny.processor.features = lambda frames: ({"input_features": torch.randn(1, 16, 320)}, 40)
    lm = HfSpeechLM(tiny.model, tiny.processor, name="tiny")
    lm.template.__dict__["spoken"] = f"{AUDIO_TOKEN}<|audio_bos|>{AUDIO_TOKEN}"
    with pytest.raises(SpeechLMError, match="80 placeholders that are not one block"):
        lm.encode_speech(clip(0.5))
    lm.template.__dict__["spoken"] = "<|audio_bos|>"
    with pytest.raises(SpeechLMError, match="no placeholder"):
        lm.encode_speech(clip(0.5))


def test_a_padded_span_is_the_whole_block_where_the_window_is_always_filled_and_absent_elsewhere():
    lm = speech_lm("voxtral")
    plain, padded = lm.encode_speech(clip(0.5)), lm.encode_padded(clip(0.5))
    assert padded.span[0] == plain.span[0] and padded.span[1] > plain.span[1]
    assert padded.span[1] - padded.span[0] == int((padded.inputs["input_ids"] == lm.placeholder).sum())
    [one], [other] = lm.states([plain]), lm.states([padded])
    torch.testing.assert_close(other[:, : one.shape[1]], one)
    assert speech_lm("audioflamingo3").encode_padded(clip(0.5)) is None


def test_an_extractor_for_another_rate_is_given_the_same_sound_at_that_rate():
    tiny, heard = build("voxtral"), []
    tiny.processor.feature_extractor = SimpleNamespace(sampling_rate=24_000)
    features = tiny.processor.__call__
    lm = HfSpeechLM(tiny.model, tiny.processor, name="tiny")
    lm.processor = lambda audio, sampling_rate, **rest: (
        heard.append((audio[0], sampling_rate)) or features(audio=audio, sampling_rate=sampling_rate, **rest)
    )
    tone = np.sin(2 * np.pi * 440 * np.arange(8000) / 16_000).astype(np.float32)
    query = lm.encode_speech(Speech(tone, 16_000, 0.5))
    [(wave, rate)] = heard
    assert (rate, len(wave), query.seconds) == (24_000, 12_000, 0.5)
    expected = np.sin(2 * np.pi * 440 * np.arange(12_000) / 24_000)
    assert np.abs(wave - expected)[100:-100].max() < 0.01


def test_padding_that_is_counted_as_speech_fails_the_check_decoder():
    tiny = build("voxtral")
    lm = HfSpeechLM(tiny.model, tiny.processor, name="tiny-padded")
    lm.rate = None
    assert "set positions_per_second" in failures(lm)["speech span and padding"]
    with pytest.raises(SpeechLMError, match=r"tiny-padded .*fails the self-check «speech span and padding».*expected"):
        check_model(lm)


def test_a_clip_longer_than_the_window_is_refused_with_the_remedy():
    lm = speech_lm("qwen2_audio")
    with pytest.raises(
        ValueError, match=r"lasts 4\.50 s, the model's window is 4 s; set speech\.max_seconds to at most 4"
    ):
        lm.encode_speech(clip(4.5))


def test_processor_and_weights_of_different_models_are_refused():
    tiny = build("voxtral")
    tiny.model.config.audio_token_id = 7
    with pytest.raises(SpeechLMError, match=r"has id 2, the model's config says 7; processor and weights"):
        HfSpeechLM(tiny.model, tiny.processor, name="tiny")


# --- LoRA ------------------------------------------------------------------------------------------------------


def with_lora(lora):
    tiny = build("granite_speech")
    config = LoraConfig(r=2, target_modules=r".*language_model.*(q_proj|v_proj)", init_lora_weights=False)
    torch.manual_seed(3)
    inject_adapter_in_model(config, tiny.model)
    return HfSpeechLM(tiny.model.eval(), tiny.processor, name="tiny-granite", lora=lora)


def test_granites_lora_is_on_for_speech_and_off_for_text_in_states_and_in_answers():
    plain, lm = speech_lm("granite_speech"), with_lora("auto")
    assert lm.lora == "speech"
    assert failures(lm) == {}
    text, speech = lm.encode_text("what is the water"), lm.encode_speech(clip(0.7))
    assert torch.allclose(lm.states([text])[0], plain.states([text])[0], atol=1e-5)
    assert not torch.allclose(lm.states([speech])[0][-1], plain.states([speech])[0][-1], atol=1e-2)
    never = with_lora("never")
    assert torch.allclose(never.states([speech])[0], plain.states([speech])[0], atol=1e-5)
    with pytest.raises(SpeechLMError, match="run written and spoken queries apart"):
        lm.states([text, speech])


def test_a_lora_that_is_always_on_acts_on_text_in_states_and_in_answers_alike():
    auto, lm = with_lora("auto"), with_lora("always")
    assert failures(lm) == {}
    text, speech = lm.encode_text("what is the water"), lm.encode_speech(clip(0.7))
    assert torch.equal(lm.states([speech])[0], auto.states([speech])[0])
    assert not torch.allclose(lm.states([text])[0][-1], auto.states([text])[0][-1], atol=1e-2)


def test_a_lora_that_answers_and_states_do_not_share_fails_the_check_decoder(monkeypatch):
    lm = with_lora("auto")
    answer = lm.generate

    def with_the_lora_off(queries, **options):
        with monkeypatch.context() as patched:
            patched.setattr(lm, "lora", "never")
            return answer(queries, **options)

    monkeypatch.setattr(lm, "generate", with_the_lora_off)
    assert "speech: layer 1 in generate" in failures(lm)["generate sees what is read"]


# --- whole models and units ------------------------------------------------------------------------------------


def test_a_model_that_only_runs_whole_shares_no_prompts_between_edits():
    lm = speech_lm("gemma4")
    assert isinstance(lm, WholeModelSpeechLM) and not lm.shares_prompts
    assert speech_lm("qwen2_audio").shares_prompts


def test_a_model_that_only_runs_whole_does_not_count_ties():
    lm = speech_lm("gemma4")
    (answer,) = lm.generate([lm.encode_text("river")], max_new_tokens=2)
    assert answer.ties is None  # unknown is not zero


def test_units_of_an_answer_are_not_in_its_text():
    lm = speech_lm("units")
    query = lm.encode_text("river")
    answer = lm.generate([query], max_new_tokens=12, stop_ids=[])[0]
    planted = (next(iter(lm.unit_ids.values())), *answer.token_ids)
    assert "<|audio_" in lm.tokenizer.decode(planted)
    assert "<|audio_" not in lm.decode_answer(planted)
    assert lm.decode_answer(planted) == lm.decode_answer(answer.token_ids) == answer.text


def test_runs_of_equal_units_are_merged_and_labelled_by_their_start():
    import numpy as np

    assert run_starts(np.array([3, 3, 1, 1, 1, 3])).tolist() == [0, 2, 5]
    lm = speech_lm("units")
    lm.merge_repeats = True
    units = lm.quantizer(clip(1.0).waveform)
    query = lm.encode_speech(clip(1.0))
    assert len(query.tokens) == len(run_starts(units)) < len(units)
    assert query.tokens[1] == f"{run_starts(units)[1] / 50:.2f}s"


def test_units_the_vocabulary_lacks_are_named():
    lm = speech_lm("units")
    lm.unit_ids.pop(int(lm.quantizer(clip(1.0).waveform)[0]))
    with pytest.raises(SpeechLMError, match="no token for units"):
        lm.encode_speech(clip(1.0))
