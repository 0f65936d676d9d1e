"""Edits that start from a shared prefill give what a full run with hooks gives, and touch nothing else."""

import pytest
import torch

from workflow_scripts.speech_lm.hooks import hook_count
from workflow_scripts.speech_lm.probing.edited_prompts import SharedPrompts
from workflow_scripts.speech_lm.protocol import Edit, SpeechLMError

REFERENCES = ["the river", None, "water", "the user and the assistant", "in", None]


def noise(n, seed, scale=3.0):
    return scale * torch.randn(n, 32, generator=torch.Generator().manual_seed(seed))


def some_edits(queries, layer, seed=0):
    """Two positions of every query, the last one among them every other time."""
    edits = []
    for number, query in enumerate(queries):
        start, end = query.span
        positions = torch.tensor([start + (number % max(end - start - 1, 1)), end - 1]).unique()
        edits.append([Edit(layer, positions, noise(len(positions), seed + number))])
    return edits


@pytest.mark.parametrize("layer", [0, 2, 3])
def test_answers_and_losses_equal_those_of_full_runs(lm, queries_of, layer):
    queries = queries_of(lm)
    edits = some_edits(queries, layer)
    shared = SharedPrompts(lm, queries, REFERENCES, max_new_tokens=8, layers=[layer])
    rows = [3, 0, 5, 1, 4, 2]
    found = shared.answer(rows, [edits[row] for row in rows])
    plain = lm.generate(queries, max_new_tokens=8)
    different = 0
    for row, one in zip(rows, found):
        [alone] = lm.generate([queries[row]], max_new_tokens=8, edits=[edits[row]])
        assert one.answer.token_ids == alone.token_ids
        different += alone.token_ids != plain[row].token_ids
        if REFERENCES[row] is None:
            assert one.loss is None
        else:
            [cost] = lm.answer_loss([queries[row]], [REFERENCES[row]], edits=[edits[row]])
            assert one.loss.n_tokens == cost.n_tokens
            assert one.loss.nll == pytest.approx(cost.nll, rel=1e-4)
    assert different >= 3, "the edits must matter"


def test_rows_may_repeat_and_one_alone_answers_as_in_company(lm, queries_of):
    queries = queries_of(lm)
    shared = SharedPrompts(lm, queries, REFERENCES, max_new_tokens=6, layers=[1])
    edits = [some_edits(queries, 1, seed)[4] for seed in (0, 10, 20)]
    together = shared.answer([4, 4, 4], edits)
    alone = [shared.answer([4], [one])[0] for one in edits]
    assert [one.answer.token_ids for one in together] == [one.answer.token_ids for one in alone]
    assert [one.loss.nll for one in together] == pytest.approx([one.loss.nll for one in alone], rel=1e-4)


def test_without_edits_the_answers_are_the_plain_ones_and_the_first_distribution_is_normal(lm, queries_of):
    queries = queries_of(lm)
    found = SharedPrompts(lm, queries, REFERENCES, max_new_tokens=8).answer(range(6), [[]] * 6)
    plain = lm.generate(queries, max_new_tokens=8, stop_ids=lm.stop_ids)
    assert [one.answer.token_ids for one in found] == [one.token_ids for one in plain]
    for one in found:
        assert float(one.first.exp().sum()) == pytest.approx(1, abs=1e-4)
        if one.answer.token_ids:
            assert int(one.first.argmax()) == one.answer.token_ids[0]


@pytest.mark.parametrize("layer", [0, 2])
def test_writing_back_what_is_there_is_bit_equal_with_equal_starts(lm, queries_of, layer):
    queries = queries_of(lm)
    shared = SharedPrompts(lm, queries, REFERENCES, max_new_tokens=8, layers=[layer])
    frames = torch.tensor([0, 1])
    edits = [
        [Edit(layer, query.span[0] + frames, shared.states(row, layer)[frames])] for row, query in enumerate(queries)
    ]
    starts = [query.span[0] for query in queries]
    edited, plain = shared.answer(range(6), edits), shared.answer(range(6), [[]] * 6, starts)
    for one, other in zip(edited, plain):
        assert one.answer.token_ids == other.answer.token_ids and one.loss == other.loss
        assert torch.equal(one.first, other.first)


def test_the_shared_prefill_is_not_changed_by_answers(llama, queries_of):
    queries = queries_of(llama)
    shared = SharedPrompts(llama, queries, REFERENCES, max_new_tokens=8, layers=[0, 2])
    before = [(layer.keys.clone(), layer.values.clone()) for layer in shared.cache.layers]
    inputs = {layer: states.clone() for layer, states in shared.inputs.items()}
    first = shared.answer(range(6), some_edits(queries, 0))
    shared.answer(range(6), some_edits(queries, 2))
    assert all(
        torch.equal(layer.keys, keys) and torch.equal(layer.values, values)
        for layer, (keys, values) in zip(shared.cache.layers, before)
    )
    assert all(torch.equal(shared.inputs[layer], states) for layer, states in inputs.items())
    again = shared.answer(range(6), some_edits(queries, 0))
    assert [one.answer.token_ids for one in again] == [one.answer.token_ids for one in first]
    assert all(torch.equal(one.first, other.first) for one, other in zip(again, first))


def test_skipped_layers_and_hooks_are_restored_also_after_an_error(llama, queries_of):
    queries = queries_of(llama)
    shared = SharedPrompts(llama, queries, REFERENCES, max_new_tokens=4, layers=[3])
    standing = hook_count(llama.decoder_layers)
    with pytest.raises(ValueError, match="width 31"):
        shared.answer([0], [[Edit(3, torch.tensor([5]), noise(1, 0)[:, :31])]])
    assert all("forward" not in layer.__dict__ for layer in llama.decoder_layers)
    assert hook_count(llama.decoder_layers) == standing


def test_edits_made_layer_by_layer_are_what_each_layer_then_gets(lm, queries_of):
    """Doubling frame 1 at every layer: the recorded values are twice what arrived, after the edits below."""
    queries = queries_of(lm)[3:]
    shared = SharedPrompts(lm, queries, [None] * 3, max_new_tokens=6)
    seen = {}

    def double(row, layer, states):
        seen[row, layer] = states[1]
        return torch.tensor([1]), 2 * states[1:2]

    edits = shared.resolve([2, 0, 1], double)
    for place, row in enumerate([2, 0, 1]):
        assert [edit.layer for edit in edits[place]] == list(range(lm.n_layers))
        states = lm.states([queries[row]], edits=[edits[place]])[0]
        for edit in edits[place]:
            assert edit.positions.tolist() == [queries[row].span[0] + 1]
            torch.testing.assert_close(edit.values[0], 2 * seen[place, edit.layer])
            torch.testing.assert_close(states[edit.layer, 1], edit.values[0])
    [alone] = lm.generate([queries[0]], max_new_tokens=6, edits=[edits[1]])
    assert shared.answer([0], [edits[1]])[0].answer.token_ids == alone.token_ids


def test_bad_requests_name_what_is_wrong(llama, queries_of):
    queries = queries_of(llama)
    with pytest.raises(SpeechLMError, match=r"editable layers 0 \.\. 3, asked for \[4\]"):
        SharedPrompts(llama, queries, REFERENCES, max_new_tokens=4, layers=[0, 4])
    with pytest.raises(ValueError, match="has no tokens"):
        SharedPrompts(llama, queries, [""] * 6, max_new_tokens=4)
    shared = SharedPrompts(llama, queries, REFERENCES, max_new_tokens=4, layers=[0, 1])
    with pytest.raises(ValueError, match=r"start at layers \[0, 1\]"):
        shared.answer([0, 1], [some_edits(queries, 0)[0], some_edits(queries, 1)[1]])
    with pytest.raises(ValueError, match="only the inputs of"):
        shared.answer([0], [some_edits(queries, 2)[0]])
    with pytest.raises(ValueError, match="of a query of"):
        shared.answer([0], [[Edit(0, torch.tensor([queries[0].length]), noise(1, 0))]])
    with pytest.raises(ValueError, match="computed from"):
        shared.answer([0], [some_edits(queries, 0)[0]], [queries[0].length - 1])


def test_rows_run_in_the_state_of_their_form_though_the_other_form_was_prepared_last(lm, queries_of, monkeypatch):
    """A LoRA for speech only is switched off by written prompts."""
    by_form = {query.form: query for query in queries_of(lm)}
    forms = []
    monkeypatch.setattr(lm, "prepare", lambda queries, edits: forms.extend({query.form for query in queries}))
    made = {name: SharedPrompts(lm, [query], [None], max_new_tokens=1) for name, query in by_form.items()}
    order = ["speech", "text", "speech"]
    for name in order:
        made[name].probe([0], [[]], [[[5]]])
    assert forms == [*made, *order]
