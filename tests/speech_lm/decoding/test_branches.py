"""Continuations of several prompts behind their cache: little padding, each state multiplied once, the same values."""

import pytest
import torch

from workflow_scripts.speech_lm.decoding import branches as branching
from workflow_scripts.speech_lm.decoding import grouped_cache
from workflow_scripts.speech_lm.decoding.branches import branch_log_probs, cached_branch_log_probs, n_columns
from workflow_scripts.speech_lm.decoding.greedy import prefill
from workflow_scripts.speech_lm.decoding.grouped_cache import GroupedCache
from workflow_scripts.speech_lm.decoding.ragged_cache import RaggedCache

BRANCHES = [
    [[5], [6], [7, 8, 9, 10, 11, 12, 13, 14, 15]],
    [[5], [6], [7, 8]],
    [[5], [6]],
    [],
    [[9, 8, 7, 6], [5, 4, 3, 2, 1], [5]],
    [[4, 4]],
]


@pytest.fixture
def prompts(llama, queries_of):
    """Embeddings of as many prompts as there are rows of branches, the longest first."""
    queries = (queries_of(llama) * len(BRANCHES))[: len(BRANCHES)]
    return sorted((llama.embed(query) for query in queries), key=len, reverse=True)


def cached(llama, prompts, rows_of_a_group, monkeypatch):
    monkeypatch.setattr(grouped_cache, "GROUP_ROWS", rows_of_a_group)
    embeds = torch.nn.utils.rnn.pad_sequence(prompts, batch_first=True)
    return prefill(llama.model, embeds, [len(p) for p in prompts], following=max(map(n_columns, BRANCHES)))


@pytest.mark.parametrize(("rows_of_a_group", "kind"), [(100, RaggedCache), (2, GroupedCache)])
@pytest.mark.parametrize("most", [1, 4, 8, 1000])
def test_rows_of_like_width_pass_together_with_the_values_of_a_pass_without_cache(
    llama, prompts, monkeypatch, rows_of_a_group, kind, most
):
    expected = branch_log_probs(llama.model, prompts, BRANCHES)
    cache, last, slots = cached(llama, prompts, rows_of_a_group, monkeypatch)
    assert isinstance(cache, kind)
    passed = []
    monkeypatch.setattr(branching, "_PASS_COLUMNS", most)
    hook = llama.decoder_layers[0].register_forward_pre_hook(
        lambda _, args, kwargs: passed.append(kwargs.get("hidden_states", args[0] if args else None).shape[:2].numel()),
        with_kwargs=True,
    )
    found = cached_branch_log_probs(llama.model, cache, last, slots, BRANCHES)
    hook.remove()
    assert [len(row) for row in found] == [len(row) for row in BRANCHES]
    for row, others in zip(found, expected, strict=True):
        for one, other in zip(row, others, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-4)
    widths = list(map(n_columns, BRANCHES))
    if most == 1:
        assert sum(passed) == sum(widths), "alone, no row is padded"
    elif most == 1000:
        assert passed == [len(BRANCHES) * max(widths)]
    else:
        assert sum(widths) <= sum(passed) < len(BRANCHES) * max(widths)


def test_a_cache_that_was_read_for_branches_still_holds_its_prompts(llama, prompts, monkeypatch):
    cache, last, slots = cached(llama, prompts, 2, monkeypatch)
    monkeypatch.setattr(branching, "_PASS_COLUMNS", 8)
    first = cached_branch_log_probs(llama.model, cache, last, slots, BRANCHES)
    again = cached_branch_log_probs(llama.model, cache, last, slots, BRANCHES)
    assert all(torch.equal(one, other) for row, rest in zip(first, again) for one, other in zip(row, rest))


@pytest.mark.parametrize("rows_at_once", [1, 3, 256])
def test_a_state_that_predicts_several_tokens_is_multiplied_with_the_vocabulary_once(
    llama, prompts, monkeypatch, rows_at_once
):
    expected = branch_log_probs(llama.model, prompts, BRANCHES)
    multiplied = []

    def counted(model, states):
        multiplied.append(len(states))
        return precise(model, states)

    precise = branching.precise_logits
    monkeypatch.setattr(branching, "precise_logits", counted)
    monkeypatch.setattr(branching, "_LOGIT_ROWS", rows_at_once)
    found = branch_log_probs(llama.model, prompts, BRANCHES)
    assert sum(multiplied) == sum(n_columns(row) + 1 for row in BRANCHES if row) and max(multiplied) <= rows_at_once
    assert sum(multiplied) < sum(len(branch) for row in BRANCHES for branch in row)
    for row, others in zip(found, expected, strict=True):
        for one, other in zip(row, others, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("rows_of_a_group", [1000, 16])
def test_copies_hold_only_what_is_read(llama, monkeypatch, rows_of_a_group):
    monkeypatch.setattr(grouped_cache, "GROUP_ROWS", rows_of_a_group)
    cache, last, slots = prefill(llama.model, torch.randn(32, 40, 32), [40] * 32, following=160)
    whole = sum(layer.keys.nbytes for group in getattr(cache, "groups", [cache]) for layer in group.layers)
    copied, copy = [], RaggedCache.copy

    def counted(self, *args, **kwargs):
        new = copy(self, *args, **kwargs)
        copied.append(sum(layer.keys.nbytes for layer in new.layers))
        return new

    monkeypatch.setattr(RaggedCache, "copy", counted)
    one_long = [[[5] * 151], *[[[5] * 9]] * 31]
    cached_branch_log_probs(llama.model, cache, last, slots, one_long)
    assert copied and sum(copied) < whole / 2


@pytest.mark.parametrize("rows_of_a_group", [100, 2])
def test_together_all_rows_pass_at_once_with_the_same_values(llama, prompts, monkeypatch, rows_of_a_group):
    cache, last, lengths = cached(llama, prompts, rows_of_a_group, monkeypatch)
    monkeypatch.setattr(branching, "_PASS_COLUMNS", 4)
    apart = cached_branch_log_probs(llama.model, cache, last, lengths, BRANCHES)
    monkeypatch.setattr(RaggedCache, "copy", None)
    monkeypatch.setattr(GroupedCache, "copy", None)
    at_once = cached_branch_log_probs(llama.model, cache, last, lengths, BRANCHES, together=True)
    for one, other in zip(apart, at_once):
        for values, same in zip(one, other):
            assert torch.allclose(values, same, atol=1e-4)
