"""Our decoding loop against transformers' own, the cache's bookkeeping, and batching."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.speech_lm.decoding import greedy as generation
from workflow_scripts.speech_lm.decoding.batching import batches
from workflow_scripts.speech_lm.decoding.greedy import _shrink, common_beginning, greedy
from workflow_scripts.speech_lm.decoding.ragged_cache import RaggedCache
from workflow_scripts.speech_lm.protocol import SpeechLMError

N_NEW = 20


def own_generate(lm, query):
    """transformers' greedy generation of one query, without stop token."""
    ids = lm.model.generate(
        inputs_embeds=lm.embed(query)[None],
        attention_mask=torch.ones(1, query.length, dtype=torch.long),
        max_new_tokens=N_NEW,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    return tuple(ids[0].tolist())


def test_batched_answers_equal_transformers_generate_row_by_row(lm, queries_of):
    queries = queries_of(lm)
    answers = lm.generate(queries, max_new_tokens=N_NEW, stop_ids=[])
    assert [a.token_ids for a in answers] == [own_generate(lm, query) for query in queries]
    assert len({a.token_ids for a in answers}) > 3, "answers must differ, or the comparison shows nothing"
    assert max(len(set(a.token_ids)) for a in answers) > 5


def test_a_query_gets_the_same_answer_alone_and_in_a_batch(lm, queries_of):
    queries = queries_of(lm)
    together = lm.generate(queries, max_new_tokens=N_NEW, stop_ids=[])
    alone = [lm.generate([query], max_new_tokens=N_NEW, stop_ids=[])[0] for query in queries]
    assert [a.token_ids for a in together] == [a.token_ids for a in alone]


@pytest.mark.parametrize(
    ("first_difference", "lengths", "expected"), [(3, [8, 6], 3), (0, [8, 6], 0), (7, [8, 8], 7), (7, [8, 6], 5)]
)
def test_the_common_beginning_ends_at_the_first_difference_and_before_the_shortest_rows_last_position(
    first_difference, lengths, expected
):
    embeds = torch.randn(1, 8, 4, generator=torch.Generator().manual_seed(3)).repeat(2, 1, 1)
    embeds[1, first_difference, 2] += 1e-6
    assert common_beginning(embeds, lengths) == expected


def test_a_common_beginning_passes_the_layers_once_and_an_edit_brings_every_row_back(llama, queries_of, monkeypatch):
    queries = queries_of(llama)[:3]
    embeds, lengths = llama.pad_queries(queries, None)
    shared = common_beginning(embeds, lengths)
    assert shared > 0, "queries without a common beginning show nothing"
    monkeypatch.setattr(generation, "MIN_SAVED", 2 * shared)
    seen = []
    hook = llama.decoder_layers[0].register_forward_pre_hook(
        lambda _module, args, kwargs: seen.append(tuple((args[0] if args else kwargs["hidden_states"]).shape[:2])),
        with_kwargs=True,
    )
    for edits in (None, [[], [], []]):
        generation.prefill(llama.model, embeds, lengths, following=1, edits=edits)
    hook.remove()
    width = embeds.shape[1]
    assert seen == [(1, shared), (3, width - shared), (3, width)]


def test_rows_of_like_length_pass_together_and_come_back_in_their_own_order(llama, queries_of, monkeypatch):
    queries = [query for query in queries_of(llama) for _ in range(2)]
    embeds, lengths = llama.pad_queries(queries, None)
    whole_cache, whole_last, _ = generation.prefill(llama.model, embeds, lengths, following=3)
    monkeypatch.setattr(generation, "PASS_POSITIONS", 2 * max(lengths))
    cache, last, slots = generation.prefill(llama.model, embeds, lengths, following=3)
    assert slots.tolist() == lengths and len(set(lengths)) > 2
    torch.testing.assert_close(last, whole_last, rtol=1e-4, atol=1e-4)
    for layer, whole in zip(cache.layers, whole_cache.layers):
        for row, n in enumerate(lengths):
            torch.testing.assert_close(layer.keys[row, :, :n], whole.keys[row, :, :n], rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(layer.values[row, :, :n], whole.values[row, :, :n], rtol=1e-4, atol=1e-4)


def test_rows_that_stop_are_cut_at_the_stop_token_and_do_not_disturb_the_others(llama, queries_of):
    queries = queries_of(llama) * 3  # more than one allowed batch size, so finished rows are dropped on the way
    free = llama.generate(queries, max_new_tokens=N_NEW, stop_ids=[])
    stop = {free[0].token_ids[2], free[1].token_ids[9], free[3].token_ids[4]}
    for answer, unstopped in zip(llama.generate(queries, max_new_tokens=N_NEW, stop_ids=stop), free):
        cut = next((i for i, token in enumerate(unstopped.token_ids) if token in stop), None)
        assert answer.token_ids == unstopped.token_ids[:cut]
        assert answer.finish_reason == ("length" if cut is None else "stop")


def test_stop_ids_default_to_the_end_tokens_of_model_and_tokenizer(new_lm, queries_of):
    lm = new_lm("llama")
    query = queries_of(lm)[0]
    free = lm.generate([query], max_new_tokens=N_NEW, stop_ids=[])[0].token_ids
    lm.model.generation_config.eos_token_id = [free[5], 299]
    assert lm.stop_ids == {free[5], 299, lm.tokenizer.eos_token_id}
    assert lm.generate([query], max_new_tokens=N_NEW)[0].token_ids == free[: free.index(free[5])]


def test_one_new_token_needs_no_decode_step(llama, queries_of):
    queries = queries_of(llama)
    assert [len(a.token_ids) for a in llama.generate(queries, max_new_tokens=1, stop_ids=[])] == [1] * len(queries)


def test_sequences_beyond_a_sliding_window_are_refused(new_lm):
    lm = new_lm("gemma2", sliding_window=16)
    with pytest.raises(SpeechLMError, match="sliding window of 16"):
        lm.generate([lm.encode_text("what is the water in the river")], max_new_tokens=4)


def test_sequences_beyond_the_models_positions_are_refused(new_lm):
    lm = new_lm("llama", max_position_embeddings=64)
    with pytest.raises(SpeechLMError, match="more than the model's 64"):
        lm.generate([lm.encode_text("river")], max_new_tokens=60)


def test_layers_that_bypass_the_cache_are_named(new_lm):
    lm = new_lm("llama")
    layer = lm.decoder_layers[2]
    attend = layer.self_attn.forward
    layer.self_attn.forward = lambda *args, past_key_values=None, cache=None, **kwargs: attend(*args, **kwargs)
    with pytest.raises(SpeechLMError, match=r"layers \[2\] keep their state outside"):
        lm.generate([lm.encode_text("river")], max_new_tokens=4)


def test_no_room_for_an_answer_is_an_error(llama):
    with pytest.raises(ValueError, match="max_new_tokens is 0"):
        greedy(llama.model, torch.zeros(1, 4, 32), [4], max_new_tokens=0, stop_ids=())


def test_the_cache_writes_each_row_at_its_own_position():
    cache = RaggedCache(1, 32)
    prompt = torch.arange(8.0).view(2, 1, 4, 1)
    cache.update(prompt, prompt, 0)
    mask = cache.place(torch.tensor([2, 4]), torch.float32)
    keys, _ = cache.update(torch.tensor([90.0, 91.0]).view(2, 1, 1, 1), prompt[:, :, :1], 0)
    assert keys[:, 0, :5, 0].tolist() == [[0, 1, 90, 3, 0], [4, 5, 6, 7, 91]]
    assert (mask[:, 0, 0] == 0).sum(dim=1).tolist() == [3, 5]
    cache.keep(torch.tensor([1]))
    cache.place(torch.tensor([5]), torch.float32)
    keys, _ = cache.update(torch.full((1, 1, 1, 1), 92.0), prompt[:1, :, :1], 0)
    assert keys[0, 0, :6, 0].tolist() == [4, 5, 6, 7, 91, 92]


@given(st.integers(1, 40).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1), min_size=1))))
def test_shrinking_keeps_every_active_row_and_makes_the_batch_smaller(case):
    n_rows, active = case
    kept = _shrink(n_rows, sorted(active))
    if kept is None:
        assert n_rows < 2 * len(active)
    else:
        assert active <= set(kept) and len(active) <= len(kept) < n_rows and kept == sorted(set(kept))


@given(st.lists(st.integers(1, 300), max_size=60), st.integers(1, 9), st.integers(1, 900))
def test_batches_cover_every_query_once_within_both_limits(lengths, max_rows, max_positions):
    groups = batches(lengths, max_rows, max_positions)
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        longest = max(lengths[i] for i in group)
        assert len(group) <= max_rows and (len(group) * longest <= max_positions or len(group) == 1)
    order = [lengths[i] for group in groups for i in group]
    assert order == sorted(order, reverse=True)


def test_batches_refuse_limits_that_allow_nothing():
    with pytest.raises(ValueError, match="max_rows=0"):
        batches([3], 0, 10)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_name_model_and_query(new_lm, bad):
    lm = new_lm("llama")
    queries = [lm.encode_text("what is the river"), lm.encode_text("water")]
    assert lm.generate(queries, max_new_tokens=3)
    lm.decoder_layers[2].mlp.down_proj.weight.data[0, 0] = bad
    with pytest.raises(SpeechLMError, match=r"tiny-llama: the answer to 'what is the river' has NaN or infinite"):
        lm.generate(queries, max_new_tokens=3)
