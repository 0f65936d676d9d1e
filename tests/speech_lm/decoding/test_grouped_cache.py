"""Rows in groups of like length: the same keys, values and answers as in one rectangle."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.speech_lm.decoding import greedy as generation
from workflow_scripts.speech_lm.decoding import grouped_cache
from workflow_scripts.speech_lm.decoding.batching import consecutive, longest_first, put_back
from workflow_scripts.speech_lm.decoding.grouped_cache import (
    GroupedCache,
    GroupedStates,
    can_group,
    grouped_attention,
    grouped_sdpa,
    row_groups,
)
from workflow_scripts.speech_lm.decoding.ragged_cache import RaggedCache, zeros
from workflow_scripts.speech_lm.protocol import ScoringRequest

N_NEW = 20
CPU = torch.device("cpu")


@pytest.fixture
def groups_of(monkeypatch):
    """Sets the rows of a group, and tells how many groups the caches made meanwhile have."""

    def set_rows(rows):
        made = []
        monkeypatch.setattr(grouped_cache, "GROUP_ROWS", rows)
        monkeypatch.setattr(generation, "GroupedCache", lambda caches: made.append(len(caches)) or GroupedCache(caches))
        return made

    return set_rows


def test_answers_costs_and_options_do_not_depend_on_groups_nor_on_the_order_of_rows(lm, queries_of, groups_of):
    queries = queries_of(lm) * 2
    wanted = [
        [ScoringRequest("the river", ("water", "a river")), ScoringRequest("water")] if index % 2 else []
        for index in range(len(queries))
    ]
    whole = groups_of(1000)
    expected = lm.generate_and_score(queries, wanted, max_new_tokens=N_NEW)
    assert whole == []
    for rows in (1, 3):
        made = groups_of(rows)
        found = lm.generate_and_score(queries, wanted, max_new_tokens=N_NEW)
        assert made == ([] if lm.name == "tiny-gemma2" else [-(-len(queries) // rows)]), "gemma2 has its own attention"
        for (answer, weighed), (other, others) in zip(found, expected, strict=True):
            assert answer.token_ids == other.token_ids
            assert len(weighed) == len(others)
            for one, two in zip(weighed, others):
                assert one.letters == pytest.approx(two.letters, abs=1e-4)
                assert one.texts == pytest.approx(two.texts, abs=1e-4)
                assert one.reference.nll == pytest.approx(two.reference.nll, abs=1e-4)
    backwards = lm.generate_and_score(queries[::-1], wanted[::-1], max_new_tokens=N_NEW)
    assert [answer.token_ids for answer, _ in backwards[::-1]] == [answer.token_ids for answer, _ in expected]


def test_rows_that_stop_leave_their_groups_and_a_group_without_rows_is_dropped(llama, queries_of, groups_of):
    queries = queries_of(llama) * 3
    free = llama.generate(queries, max_new_tokens=N_NEW, stop_ids=[])
    stop = {free[0].token_ids[2], free[1].token_ids[9], free[3].token_ids[4]}
    expected = llama.generate(queries, max_new_tokens=N_NEW, stop_ids=stop)
    made = groups_of(2)
    again = llama.generate(queries, max_new_tokens=N_NEW, stop_ids=stop)
    assert made == [-(-len(queries) // 2)]
    assert [(a.token_ids, a.finish_reason) for a in again] == [(a.token_ids, a.finish_reason) for a in expected]


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=5).flatmap(
        lambda sizes: st.tuples(st.just(sizes), st.sets(st.integers(0, sum(sizes) - 1), min_size=1))
    )
)
def test_what_is_stored_dropped_and_placed_is_that_of_one_cache(case):
    sizes, kept = case
    n, room = sum(sizes), 8
    prompt = torch.arange(float(n * 3)).view(n, 1, 3, 1)
    slots = torch.arange(n) % 3 + 1
    whole = RaggedCache(1, room)
    whole.update(prompt, prompt, 0)
    parts = []
    for rows in prompt.split(sizes):
        parts.append(RaggedCache(1, room, n_rows=len(rows)))
        parts[-1].update(rows, rows, 0)
    grouped = GroupedCache(parts)
    keep = torch.tensor(sorted(kept))
    copied = grouped.copy(keep)
    assert torch.equal(torch.cat([cache.layers[0].keys for cache in copied.groups]), whole.layers[0].keys[keep])
    assert sum(copied.sizes) == len(keep) and all(copied.sizes) and grouped.sizes == sizes
    for cache in (whole, grouped):
        cache.keep(keep)
    new = 100 + torch.arange(float(len(keep))).view(-1, 1, 1, 1)
    mask = whole.place(slots[keep], torch.float32)
    assert grouped.place(slots[keep], torch.float32).shape == (len(keep), 1, 1, 0)
    (keys, values), (expected, _) = grouped.update(new, -new, 0), whole.update(new, -new, 0)
    assert isinstance(keys, GroupedStates) and len(keys.parts) == len(grouped.masks) == len(grouped.sizes)
    assert torch.equal(torch.cat(keys.parts), expected)
    assert torch.equal(torch.cat(grouped.masks), mask)
    assert (torch.cat(values.parts) == -new).any(dim=2).all()
    assert grouped.get_seq_length() == whole.get_seq_length()


def test_attention_by_groups_is_attention_with_padding_hidden():
    generator = torch.Generator().manual_seed(0)
    query, states = (torch.randn(5, heads, n, 8, generator=generator) for heads, n in ((4, 1), (2, 6)))
    module = torch.nn.Module()
    module.num_key_value_groups = 2
    lengths = torch.tensor([6, 5, 5, 2, 1])
    whole, parts = RaggedCache(1, 6), [RaggedCache(1, 6, n_rows=3), RaggedCache(1, 3, n_rows=2)]
    mask = whole.place(lengths - 1, torch.float32)
    grouped = GroupedCache(parts)
    grouped.place(lengths - 1, torch.float32)
    own = GroupedStates((states[:3, :, :6], states[3:, :, :3]), grouped)
    found, _ = grouped_sdpa(module, query, own, own, None, scaling=0.3)
    expected, _ = grouped_sdpa(module, query, states, states, mask, scaling=0.3)
    torch.testing.assert_close(found, expected)


def test_the_models_attention_is_its_own_again_afterwards_whatever_happened(llama):
    config = llama.decoder.config
    assert config._attn_implementation == "sdpa"
    with pytest.raises(ZeroDivisionError), grouped_attention(llama.decoder):
        assert config._attn_implementation == "grouped_sdpa"
        raise ZeroDivisionError
    assert config._attn_implementation == "sdpa"


def test_only_torchs_attention_on_a_cpu_is_grouped(new_lm):
    assert can_group(new_lm("llama").decoder, CPU)
    assert not can_group(new_lm("llama").decoder, torch.device("meta"))
    assert not can_group(new_lm("gemma2").decoder, CPU), "its soft caps need its own attention"


@pytest.mark.parametrize("kind", ["deepseek_v3", "minicpm3", "diffllama", "glm4_moe_lite"])
def test_a_model_with_another_kind_of_attention_answers_any_number_of_rows(kind, new_lm, queries_of):
    lm = new_lm(kind)
    queries = queries_of(lm)[:3] * 6
    assert len(queries) > grouped_cache.GROUP_ROWS
    found = lm.generate(queries, max_new_tokens=4, stop_ids=[])
    alone = [lm.generate([query], max_new_tokens=4, stop_ids=[])[0] for query in queries[:3]]
    assert [answer.token_ids for answer in found] == [answer.token_ids for answer in alone] * 6


@given(st.lists(st.integers(1, 9), min_size=1, max_size=70))
def test_groups_are_even_cover_all_rows_in_order_and_need_the_longest_first(lengths):
    groups = row_groups(sorted(lengths, reverse=True))
    assert [row for group in groups for row in range(len(lengths))[group]] == list(range(len(lengths)))
    sizes = [group.stop - group.start for group in groups]
    assert max(sizes) <= grouped_cache.GROUP_ROWS and max(sizes) - min(sizes) <= 1
    if lengths != sorted(lengths, reverse=True):
        assert row_groups(lengths) == [slice(0, len(lengths))]


@given(st.lists(st.integers(1, 300), max_size=60), st.integers(1, 900))
def test_runs_keep_the_order_and_are_as_long_as_the_positions_allow(lengths, most):
    runs = consecutive(lengths, most)
    assert [length for run in runs for length in lengths[run]] == lengths
    for run, following in zip(runs, [*runs[1:], None]):
        own = lengths[run]
        assert own and (len(own) == 1 or len(own) * max(own) <= most)
        if following is not None:
            assert (len(own) + 1) * max([*own, lengths[following][0]]) > most


@given(st.lists(st.integers(1, 9), max_size=20))
def test_values_put_back_stand_where_they_stood(lengths):
    order = longest_first(lengths)
    sorted_lengths = [lengths[index] for index in order]
    assert sorted_lengths == sorted(lengths, reverse=True)
    assert put_back(sorted_lengths, order) == lengths


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(2, 3), (5, 3, 1000, 64)])
def test_zeros_are_zeros_that_can_be_written(shape, dtype):
    found = zeros(shape, torch.empty(1, dtype=dtype))
    assert found.shape == shape and found.dtype == dtype and not found.any()
    found[-1] += 3
    assert (found[-1] == 3).all() and not found[:-1].any()


def test_large_zeros_take_memory_when_written_and_give_it_back_when_gone():
    def resident():
        try:
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * 4096 / 2**20
        except OSError:
            pytest.skip("no /proc here")

    before = resident()
    block = zeros((64, 2**18), torch.empty(1))
    assert resident() - before < 32
    block.fill_(1)
    assert resident() - before > 48
    del block
    assert resident() - before < 32
