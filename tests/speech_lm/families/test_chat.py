"""The template around a query: what both forms share, and where the query is."""

import string

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from workflow_scripts.speech_lm.families.chat import ChatTemplate
from workflow_scripts.speech_lm.protocol import Speech, SpeechLMError


def test_written_and_spoken_queries_share_every_token_around_the_query(llama):
    written = llama.encode_text("what is the water")
    spoken = llama.encode_speech(Speech(None, 16_000, 0.66, torch.randn(33, 16)))
    assert spoken.span[0] == written.span[0]
    assert spoken.span[1] - spoken.span[0] == 7
    text_embeds, speech_embeds = llama.embed(written), llama.embed(spoken)
    assert torch.equal(text_embeds[: written.span[0]], speech_embeds[: spoken.span[0]])
    assert torch.equal(text_embeds[written.span[1] :], speech_embeds[spoken.span[1] :])


def test_speech_positions_hold_the_adapter_outputs_and_are_labelled_with_their_start(llama):
    features = torch.randn(33, 16)
    query = llama.encode_speech(Speech(None, 16_000, 0.66, features.numpy()))
    with torch.no_grad():
        expected, _ = llama.lslm.adapter(features[None], torch.tensor([33]))
    assert torch.equal(llama.embed(query)[slice(*query.span)], expected[0])
    assert query.tokens == ("0.00s", "0.10s", "0.20s", "0.30s", "0.40s", "0.50s", "0.60s")
    assert (query.form, query.seconds, query.token_ids, query.char_spans) == ("speech", 0.66, None, None)


TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_categories=("Cs", "Cc")), min_size=1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TEXT, min_size=1, max_size=6))
def test_the_span_holds_exactly_the_query(tokenizer, words):
    text = " ".join(words)
    template = ChatTemplate(tokenizer)
    if text.strip() != text:
        text = text.strip() or "x"
    written = template.write(text)
    start, end = written.span
    assert tokenizer.decode(written.input_ids[start:end]) == text
    assert tokenizer.decode(written.input_ids) == template.render(text)
    covered = {i for first, last in written.char_spans for i in range(first, last)}
    assert covered == set(range(len(text)))


def test_char_spans_point_into_the_query(llama):
    query = llama.encode_text("  what is the river? ")
    text = "what is the river?"
    assert "".join(text[first:last] for first, last in query.char_spans) == text
    assert query.tokens == tuple(text[first:last] for first, last in query.char_spans)


def test_a_query_that_contains_another_query_or_the_template_is_taken_literally(llama):
    query = llama.encode_text("user user user\nassistant what is user")
    assert llama.tokenizer.decode(query.token_ids) == "user user user\nassistant what is user"


def test_the_system_prompt_comes_before_both_forms(tokenizer):
    plain, with_system = ChatTemplate(tokenizer), ChatTemplate(tokenizer, system_prompt="the river")
    prefix = tokenizer.decode(with_system.ids[0])
    assert prefix == "<|start|>system\nthe river<|end|>\n<|start|>user\n"
    assert with_system.ids[1] == plain.ids[1]
    start, end = with_system.write("water").span
    assert start == len(with_system.ids[0]) and end > start


def test_a_tokenizer_without_template_is_named_with_the_remedy(new_tokenizer):
    tokenizer = new_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(SpeechLMError, match=r"my-model: .*no chat template.*instruction-tuned"):
        ChatTemplate(tokenizer, model_name="my-model")


def test_a_template_whose_tokens_merge_with_the_query_is_refused(new_tokenizer):
    tokenizer = new_tokenizer()
    tokenizer.chat_template = "{{ 'what is t' + messages[-1]['content'] }}"
    with pytest.raises(SpeechLMError, match="tokenised differently"):
        ChatTemplate(tokenizer).write("he water")


def test_a_tokenizer_that_marks_the_start_of_a_text_gives_the_frame_no_second_start():
    """SentencePiece, as Llama 2 has it: a text on its own begins with a mark, also the part behind the query."""
    letters = {letter: number for number, letter in enumerate(["▁", *string.ascii_letters, *"#[]:\n"])}
    tokenizer = Tokenizer(models.BPE(vocab=letters, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    fast.chat_template = "{% for m in messages %}#[human]:{{ m['content'] }}\n#[assistant]:{% endfor %}"
    template = ChatTemplate(fast)
    before, after = (fast.convert_ids_to_tokens(list(ids)) for ids in template.ids)
    assert ("".join(before), "".join(after)) == ("▁#[human]:", "\n#[assistant]:")
    written = template.write("is it")
    assert fast.convert_ids_to_tokens(list(written.input_ids[slice(*written.span)])) == list("is▁it")
    assert written.char_spans == tuple((place, place + 1) for place in range(5))


def test_a_template_that_changes_or_repeats_the_query_is_refused(new_tokenizer):
    tokenizer = new_tokenizer()
    tokenizer.chat_template = "<|start|>{{ messages[-1]['content'] | replace('e', 'E') }}<|end|>"
    with pytest.raises(SpeechLMError, match="changes the query 'water'"):
        ChatTemplate(tokenizer).write("water")
    tokenizer.chat_template = "{{ messages[-1]['content'] + '<|end|>' + messages[-1]['content'] }}"
    with pytest.raises(SpeechLMError, match="2 times"):
        ChatTemplate(tokenizer).write("water")


def test_a_token_without_embedding_is_named_in_template_and_query(new_tokenizer):
    tokenizer, query = new_tokenizer(), "what is the water in the river"
    in_template = max(i for part in ChatTemplate(tokenizer).ids for i in part)
    highest = max(tokenizer(query)["input_ids"])
    assert highest > in_template
    ChatTemplate(tokenizer, n_embeddings=highest + 1).write(query)
    with pytest.raises(SpeechLMError, match=rf"my-model: the query 'what is .* id {highest}, but the model has"):
        ChatTemplate(tokenizer, model_name="my-model", n_embeddings=highest).write(query)
    with pytest.raises(SpeechLMError, match=rf"chat template's .* id {in_template}, but the model has {in_template}"):
        ChatTemplate(tokenizer, n_embeddings=in_template).write(query)


def test_models_check_their_own_vocabulary(new_lm):
    lm = new_lm("llama", vocab_size=250, adapter=False)
    with pytest.raises(SpeechLMError, match=r"tiny-llama: .* but the model has 250 embeddings"):
        lm.encode_text("what is the water in the river")


def unknowing(words, template):
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(["<unk>", *words])}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")
    fast.chat_template = template
    return fast


def test_a_template_with_words_outside_the_vocabulary_is_refused():
    tokenizer = unknowing(["user", "river"], "user : {{ messages[0]['content'] }} user")
    with pytest.raises(SpeechLMError, match=r"m: the vocabulary lacks a token of the chat template's 'user : '"):
        ChatTemplate(tokenizer, model_name="m").write("river")


def test_a_query_with_words_outside_the_vocabulary_is_reported(caplog):
    template = ChatTemplate(unknowing(["user", "river"], "user {{ messages[0]['content'] }} user"), model_name="m")
    template.write("river")
    assert not caplog.records
    template.write("river Rhône")
    assert "m: the vocabulary lacks a part of the query 'river Rhône'" in caplog.text


def test_a_template_without_system_turn_says_so(new_tokenizer):
    tokenizer = new_tokenizer()
    tokenizer.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        "<|start|>{{ messages[-1]['content'] }}<|end|>"
    )
    assert ChatTemplate(tokenizer).write("water")
    with pytest.raises(SpeechLMError, match=r"with system_prompt 'be kind' \(System role not .*remove system_prompt"):
        ChatTemplate(tokenizer, system_prompt="be kind").write("water")


def test_an_empty_query_is_an_error(llama):
    with pytest.raises(ValueError, match="must not be empty"):
        llama.encode_text(" \n")


def test_the_backbone_answers_text_and_refuses_speech_by_name(new_lm):
    lm = new_lm("llama", adapter=False)
    assert len(lm.generate([lm.encode_text("river")], max_new_tokens=3, stop_ids=[])[0].token_ids) == 3
    with pytest.raises(SpeechLMError, match=r"tiny-llama: this is the untuned backbone"):
        lm.encode_speech(Speech(None, 16_000, 0.2, torch.randn(10, 16)))


def test_features_that_do_not_fit_the_audio_are_refused(llama):
    with pytest.raises(ValueError, match=r"features of shape \(1500, 16\) do not fit 0.200 s"):
        llama.encode_speech(Speech(None, 16_000, 0.2, torch.randn(1500, 16)))
    with pytest.raises(SpeechLMError, match="loaded without encoder"):
        llama.encode_speech(Speech(None, 16_000, 0.2))
