"""States, edits, answer losses: the layer convention and everything that follows from it."""

import pytest
import torch

from workflow_scripts.speech_lm.anatomy import decoder_of
from workflow_scripts.speech_lm.hooks import captured_states, edited_inputs, hook_count
from workflow_scripts.speech_lm.opening.check_decoder import check_decoder
from workflow_scripts.speech_lm.protocol import Edit, SpeechLMError


def at(*positions):
    return torch.tensor(positions)


def noise(n, seed=0):
    return torch.randn(n, 32, generator=torch.Generator().manual_seed(seed))


def test_states_are_layer_inputs_and_the_last_raw_output(lm, queries_of):
    for query in queries_of(lm):
        (states,) = lm.states([query])
        start, end = query.span
        own = lm.model(inputs_embeds=lm.embed(query)[None], output_hidden_states=True, use_cache=False).hidden_states
        assert states.shape == (lm.n_layers + 1, end - start, lm.hidden_size)
        for layer in range(lm.n_layers):
            torch.testing.assert_close(states[layer], own[layer][0, start:end], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(lm.final_norm(states[-1]), own[-1][0, start:end], rtol=1e-4, atol=1e-4)


def test_layer_0_states_of_a_written_query_are_its_token_embeddings(llama):
    query = llama.encode_text("what is the water")
    table = llama.model.get_input_embeddings().weight
    assert torch.equal(llama.states([query])[0][0], table[list(query.token_ids)])


def test_states_do_not_depend_on_the_batch(lm, queries_of):
    queries = queries_of(lm)
    for query, together in zip(queries, lm.states(queries)):
        torch.testing.assert_close(together, lm.states([query])[0], rtol=1e-4, atol=1e-4)


def test_self_check_passes_and_leaves_nothing_behind(lm):
    before = hook_count(lm.decoder_layers)
    check_decoder(lm)
    check_decoder(lm)
    # transformers' own recording hooks stay after the first output_hidden_states; ours do not.
    assert hook_count(lm.decoder_layers) - before in (0, lm.n_layers)


def test_self_check_names_model_and_check_when_the_convention_does_not_hold(new_lm):
    lm = new_lm("llama")
    lm.decoder_layers[1:3] = lm.decoder_layers[2:0:-1]
    with pytest.raises(SpeechLMError, match=r"tiny-llama .*states\[1\] is the input of layer 1.*expected bit-equal"):
        check_decoder(lm)


def test_self_check_finds_a_model_whose_logits_are_scaled_in_an_unknown_way(new_lm):
    lm = new_lm("llama")
    head = lm.model.forward
    lm.model.forward = lambda *args, **kwargs: _scaled(head(*args, **kwargs))
    with pytest.raises(SpeechLMError, match="vocabulary logits"):
        check_decoder(lm)


def _scaled(output):
    output.logits = output.logits * 2
    return output


def test_self_check_finds_a_cache_that_forgets(new_lm):
    lm = new_lm("llama")
    attention = lm.decoder_layers[0].self_attn
    attend = attention.forward

    def forgetful(*args, **kwargs):
        output = attend(*args, **kwargs)
        if (kept := kwargs.get("cache", kwargs.get("past_key_values"))) is not None:
            kept.layers[0].keys.neg_()
        return output

    attention.forward = forgetful
    with pytest.raises(SpeechLMError, match="cached decoding"):
        check_decoder(lm)


@pytest.mark.parametrize("layer", [0, 2])
def test_an_edit_shows_at_its_layer_and_changes_only_later_layers_at_its_and_later_positions(lm, queries_of, layer):
    queries = queries_of(lm)
    query = queries[2]
    start = query.span[0]
    values = noise(2)
    edits = [[] for _ in queries]
    edits[2] = [Edit(layer, at(start + 3, start + 5), values)]
    plain, edited = lm.states(queries), lm.states(queries, edits=edits)
    for other in (0, 1, 3, 4, 5):
        assert torch.equal(plain[other], edited[other]), "other rows must not change"
    before, after = plain[2], edited[2]
    assert torch.equal(before[:layer], after[:layer])
    assert torch.equal(after[layer, [3, 5]], values)
    untouched = [i for i in range(before.shape[1]) if i not in (3, 5)]
    assert torch.equal(before[layer, untouched], after[layer, untouched])
    assert torch.equal(before[:, :3], after[:, :3]), "causal: earlier positions see nothing"
    changed = (before[layer + 1 :, 3:] - after[layer + 1 :, 3:]).abs().amax(dim=-1)
    assert (changed > 0).all()


def test_a_noop_edit_is_bit_equal_to_no_edit(lm, queries_of):
    queries = queries_of(lm)
    states = lm.states(queries)
    edits = [
        [Edit(layer, torch.arange(*q.span), s[layer]) for layer in range(lm.n_layers)] for q, s in zip(queries, states)
    ]
    assert all(torch.equal(a, b) for a, b in zip(states, lm.states(queries, edits=edits)))
    answers = ["the river"] * len(queries)
    assert lm.answer_loss(queries, answers, edits=edits) == lm.answer_loss(queries, answers)


def test_an_edited_prefill_with_cache_decodes_like_edited_passes_without_cache(lm, queries_of):
    queries = queries_of(lm)
    edits = [[Edit(1, at(q.span[0], q.span[1] - 1), 3 * noise(2, seed=i))] for i, q in enumerate(queries)]
    edited = lm.generate(queries, max_new_tokens=8, stop_ids=[], edits=edits)
    plain = lm.generate(queries, max_new_tokens=8, stop_ids=[])
    assert sum(a.token_ids != b.token_ids for a, b in zip(edited, plain)) >= 3, "the edits must matter"
    table = lm.model.get_input_embeddings()
    for query, query_edits, answer in zip(queries, edits, edited):
        ids = []
        for _ in range(8):
            embeds = torch.cat([lm.embed(query), table(torch.tensor(ids, dtype=torch.long))])[None]
            with torch.no_grad(), edited_inputs(lm.decoder_layers, [query_edits]):
                logits = lm.model(inputs_embeds=embeds, use_cache=False).logits
            ids.append(int(logits[0, -1].argmax()))
        assert tuple(ids) == answer.token_ids


def test_a_layer_0_edit_equals_editing_the_embeddings(llama, queries_of):
    query = queries_of(llama)[0]
    position, value = query.span[0] + 1, noise(1)
    embeds = llama.embed(query)[None].clone()
    embeds[0, position] = value
    changed = type(query)(**{**vars(query), "inputs": {"inputs_embeds": embeds}})
    edited = llama.states([query], edits=[[Edit(0, at(position), value)]])
    assert torch.equal(edited[0], llama.states([changed])[0])


def test_hooks_are_removed_after_an_exception(llama, queries_of):
    query = queries_of(llama)[0]
    before = hook_count(llama.decoder_layers)
    everywhere = torch.arange(query.length)
    with (
        pytest.raises(RuntimeError, match="planted"),
        edited_inputs(llama.decoder_layers, [[Edit(1, at(0), noise(1))]]),
        captured_states(llama.decoder_layers, torch.zeros_like(everywhere), everywhere),
    ):
        assert hook_count(llama.decoder_layers) == before + 1 + llama.n_layers + 1
        raise RuntimeError("planted")
    with pytest.raises(ValueError, match="layer=4"):
        llama.states([query], edits=[[Edit(1, at(0), noise(1)), Edit(4, at(0), noise(1))]])
    with pytest.raises(ValueError, match="width 31"):
        llama.states([query], edits=[[Edit(1, at(0), noise(1)[:, :31])]])
    assert hook_count(llama.decoder_layers) == before


def test_edits_outside_the_query_are_refused(llama, queries_of):
    query = queries_of(llama)[0]
    with pytest.raises(ValueError, match=f"position {query.length} of a query of {query.length}"):
        llama.states([query], edits=[[Edit(0, at(query.length), noise(1))]])
    with pytest.raises(ValueError, match="give one per query"):
        llama.states([query], edits=[[], []])
    with pytest.raises(ValueError, match="negative"):
        llama.states([query], edits=[[Edit(0, at(-1), noise(1))]])
    with pytest.raises(ValueError, match="must be"):
        Edit(0, at(1, 2), noise(1))


def test_an_edit_does_not_reach_a_cached_step(llama):
    with (
        pytest.raises(IndexError, match="position 5, but the layer got 1 positions"),
        edited_inputs(llama.decoder_layers, [[Edit(2, at(5), noise(1))]]),
    ):
        llama.decoder(inputs_embeds=torch.zeros(1, 1, 32))


def test_answer_loss_equals_minus_log_softmax_by_hand(lm, queries_of):
    queries = queries_of(lm)
    answers = ["the river", "a", "water and water and water", "is", "what is it?", "in the river"]
    for query, answer, loss in zip(queries, answers, lm.answer_loss(queries, answers)):
        ids = lm.tokenizer(answer, add_special_tokens=False)["input_ids"]
        tokens = lm.model.get_input_embeddings()(torch.tensor(ids))
        with torch.no_grad():
            logits = lm.model(inputs_embeds=torch.cat([lm.embed(query), tokens])[None]).logits[0].double()
        log_p = torch.log_softmax(logits, dim=-1)
        by_hand = -sum(float(log_p[query.length - 1 + i, token]) for i, token in enumerate(ids))
        assert loss.n_tokens == len(ids)
        assert loss.nll == pytest.approx(by_hand, rel=1e-4)


def test_answer_loss_refuses_an_empty_answer_and_a_wrong_number(llama, queries_of):
    queries = queries_of(llama)[:2]
    with pytest.raises(ValueError, match="'' has no tokens"):
        llama.answer_loss(queries, ["a", ""])
    with pytest.raises(ValueError, match="1 answers for 2 queries"):
        llama.answer_loss(queries, ["a"])


def test_a_decoder_one_get_decoder_deeper_is_found(new_lm):
    """A whole model whose get_decoder() gives its language model, not that model's stack of layers."""
    lm = new_lm("llama")

    class Whole(torch.nn.Module):
        def get_decoder(self):
            return lm.model

    assert decoder_of(Whole()) is lm.decoder
