"""Shares and knockout find the layer in which a planted answer reads its query; the control does not."""

import numpy as np
import pytest
import torch

from tests.patching.test_sweep import GATE, planted, spoken  # noqa: F401 (a fixture)
from tests.speech_lm.conftest import make_lm
from tests.speech_lm.tiny_models import FAMILIES, speech_lm
from workflow_scripts.artifacts.attention import AFTER, ANSWER, BEFORE, FIRST, LOOKED_AT, QUERY, SPEECH, TEXT
from workflow_scripts.artifacts.patches import TEXT_ONLY
from workflow_scripts.patching.attention import NO_CONTROL, Asked, FormBatch, classes, hideable, windows_of
from workflow_scripts.patching.outcomes import LOG_PROB, MARGIN, Outcome
from workflow_scripts.settings.patching import AttentionSettings
from workflow_scripts.speech_lm.anatomy import causal_lm
from workflow_scripts.speech_lm.hooks import hook_count
from workflow_scripts.speech_lm.opening.model_checks import clip
from workflow_scripts.speech_lm.probing import attention as probing
from workflow_scripts.speech_lm.probing.attention import NO_MASK, NO_WEIGHTS, eager_attention, hidden_positions
from workflow_scripts.speech_lm.probing.edited_prompts import SharedPrompts
from workflow_scripts.speech_lm.protocol import Query

SINGLE = AttentionSettings(window=1, stride=1)
PROMPTS = ["what is the water", "river in the water", "the user"]


def forced(lm, text):
    return Outcome(LOG_PROB, [lm.token_ids(text)], [])


def written(lm, prompts=PROMPTS, answers=("the river", "water", "in")):
    return [
        Asked(f"q{number}", TEXT_ONLY, lm.encode_text(prompt), forced(lm, answer))
        for number, (prompt, answer) in enumerate(zip(prompts, answers))
    ]


def heard(lm, answers=("the river", "water", "in")):
    return [
        Asked(f"q{number}", TEXT_ONLY, spoken(lm, 20 + 9 * number, number), forced(lm, answer))
        for number, answer in enumerate(answers)
    ]


def whole_prompt(lm, one):
    """(T, d) embeddings of the prompt and of the answer's tokens but the last."""
    ids = torch.tensor(one.outcome.answer[:-1], dtype=torch.long)
    return torch.cat([lm.embed(one.query), causal_lm(lm.model).get_input_embeddings()(ids)])


@pytest.fixture(scope="module")
def llama():
    return make_lm("llama")


@pytest.fixture
def silent(planted):  # noqa: F811
    """The planted model with a template that says nothing: what is mixed from it is nothing."""
    table = causal_lm(planted.model).get_input_embeddings().weight
    kept = table.detach().clone()
    query = planted.encode_text("e" * 8)
    ids = query.inputs["input_ids"][0]
    with torch.no_grad():
        table[torch.cat([ids[: query.span[0]], ids[query.span[1] :]])] = 0
    yield planted
    with torch.no_grad():
        table.copy_(kept)


def test_the_knockout_finds_the_layer_in_which_the_query_is_read_and_the_control_does_not(silent):
    letters = ("e", "h", "w", "n")
    for form, asked in (
        (TEXT, written(silent, [8 * letter for letter in letters], letters)),
        (SPEECH, heard(silent, letters)),
    ):
        found = FormBatch(silent, form, asked, SINGLE, 1).knockout()
        assert found[0].windows == [(layer, 1) for layer in range(5)] + [(0, 5)]
        change = np.array([np.array(one.values) - one.base for one in found])
        control = np.array([np.mean(one.controls, axis=0) - one.base for one in found])
        reading = [GATE, 5]  # the layer, and all at once
        assert np.delete(change, reading, axis=1) == pytest.approx(0, abs=1e-4)
        assert np.abs(change[:, reading]).min() > 0.05
        assert change[:, GATE] == pytest.approx(change[:, 5], abs=1e-4)
        assert control == pytest.approx(0, abs=1e-4)


def test_an_answer_that_repeats_what_is_written_is_lost_when_it_cannot_look(silent):
    letters = ("e", "h", "w", "n")
    found = FormBatch(silent, TEXT, written(silent, [8 * one for one in letters], letters), SINGLE, 1).knockout()
    assert max(one.values[GATE] - one.base for one in found) < -1


def test_a_layer_that_mixes_evenly_gives_the_uniform_share(planted):  # noqa: F811
    for form, asked in ((TEXT, written(planted)), (SPEECH, heard(planted))):
        for one in FormBatch(planted, form, asked, SINGLE, 1).attention():
            for name in LOOKED_AT:
                assert one.shares[name][GATE] == pytest.approx(one.uniform[name], abs=1e-5)
                assert one.highest[name][GATE] == pytest.approx(one.uniform[name], abs=1e-5)
            sums = np.sum([one.shares[name] for name in LOOKED_AT], axis=0)
            assert sums == pytest.approx(1, abs=1e-5) and sum(one.uniform.values()) == pytest.approx(1)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gemma2"])
def test_shares_are_those_of_the_weights_of_one_whole_pass(kind):
    lm = make_lm(kind)
    asked = heard(lm)
    for one, record in zip(asked, FormBatch(lm, SPEECH, asked, SINGLE, 1).attention()):
        ids = one.outcome.answer
        embeds = torch.cat(
            [lm.embed(one.query), causal_lm(lm.model).get_input_embeddings()(torch.tensor(ids[:-1], dtype=torch.long))]
        )
        with eager_attention(lm.decoder), torch.no_grad():
            whole = lm.decoder(inputs_embeds=embeds[None], use_cache=False, output_attentions=True).attentions
        rows = torch.stack(whole)[:, 0, :, one.query.length - 1 :]
        assert record.n_rows == len(ids) == rows.shape[2]
        start, end = one.query.span
        share = rows[..., start:end].sum(-1).mean(2)
        assert record.shares[QUERY] == pytest.approx(share.mean(1).tolist(), abs=1e-4)
        assert record.highest[QUERY] == pytest.approx(share.amax(1).tolist(), abs=1e-4)
        assert record.shares[FIRST] == pytest.approx(rows[..., 0].mean((1, 2)).tolist(), abs=1e-4)
        assert record.shares[ANSWER] == pytest.approx(rows[..., one.query.length :].sum(-1).mean((1, 2)), abs=1e-4)


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_a_knockout_equals_a_whole_pass_under_a_mask_of_its_own(kind):
    lm = make_lm(kind)
    asked = heard(lm)
    found = FormBatch(lm, SPEECH, asked, AttentionSettings(window=2, stride=1), 1).knockout()
    for one, record in zip(asked, found):
        ids, (start, end) = one.outcome.answer, one.query.span
        embeds = torch.cat(
            [lm.embed(one.query), causal_lm(lm.model).get_input_embeddings()(torch.tensor(ids[:-1], dtype=torch.long))]
        )
        n = len(embeds)
        mask = torch.full((n, n), float("-inf")).triu(1)
        hidden = mask.clone()
        hidden[one.query.length - 1 :, start:end] = float("-inf")
        for (first, size), value in zip(record.windows, record.values):

            def masked(layer, first=first, size=size, mask=mask, hidden=hidden):
                return (hidden if first <= layer < first + size else mask)[None, None]

            handles = [
                layer.register_forward_pre_hook(
                    lambda _m, args, kwargs, index=index, masked=masked: (
                        args, kwargs | {"attention_mask": masked(index)}
                    ),
                    with_kwargs=True,
                )
                for index, layer in enumerate(lm.decoder_layers)
            ]  # fmt: skip
            with torch.no_grad():
                out = lm.decoder(inputs_embeds=embeds[None], attention_mask=mask[None, None], use_cache=False)
            for handle in handles:
                handle.remove()
            logits = lm.lm_head(out.last_hidden_state[0, one.query.length - 1 :]).log_softmax(-1)
            assert value == pytest.approx(float(logits[range(len(ids)), ids].mean()), abs=1e-4)
    assert max(abs(value - record.base) for record in found for value in record.values) > 0.05


def test_hiding_nothing_changes_no_bit(llama):
    asked = heard(llama)
    shared = SharedPrompts(llama, [one.query for one in asked], [None] * 3, max_new_tokens=4, layers=[0])
    arguments = [0, 1, 2], [[], [], []], [one.outcome.branches for one in asked]
    plain = shared.probe(*arguments)
    with hidden_positions(llama.decoder_layers, torch.zeros((3, shared.cache.capacity), dtype=torch.bool)):
        same = shared.probe(*arguments)
    for one, other in zip(plain, same):
        assert torch.equal(one.first, other.first)
        assert all(torch.equal(*pair) for pair in zip(one.log_probs, other.log_probs))


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_a_question_alone_has_the_values_that_it_has_in_a_batch(kind):
    lm = make_lm(kind)
    asked = heard(lm)
    together = FormBatch(lm, SPEECH, asked, SINGLE, 1)
    pairs = list(zip(together.attention(), together.knockout()))
    for one, (looked, knocked) in zip(asked, pairs):
        alone = FormBatch(lm, SPEECH, [one], SINGLE, 1)
        [own], [hidden] = alone.attention(), alone.knockout()
        for name in LOOKED_AT:
            assert own.shares[name] == pytest.approx(looked.shares[name], abs=1e-4)
        assert own.uniform == looked.uniform
        assert hidden.values == pytest.approx(knocked.values, rel=1e-3, abs=1e-3)
        assert np.array(hidden.controls) == pytest.approx(np.array(knocked.controls), rel=1e-3, abs=1e-3)


def test_nothing_of_the_model_is_left_changed_also_after_an_error(monkeypatch):
    lm = make_lm("llama")
    standing, before = hook_count(lm.decoder_layers), lm.decoder.config._attn_implementation
    parts = sum(len(part._forward_hooks) for layer in lm.decoder_layers for part in layer.children())
    run = FormBatch(lm, SPEECH, heard(lm), SINGLE, 1)
    run.attention(), run.knockout()

    def broken(*_arguments, **_options):
        assert lm.decoder.config._attn_implementation == "eager"
        raise RuntimeError("out of memory")

    monkeypatch.setattr(SharedPrompts, "probe", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        run.attention()
    assert lm.decoder.config._attn_implementation == before == "sdpa"
    assert hook_count(lm.decoder_layers) == standing
    assert parts == sum(len(part._forward_hooks) for layer in lm.decoder_layers for part in layer.children())


def test_attention_without_weights_and_layers_without_mask_are_skips_that_say_so(monkeypatch):
    lm = make_lm("llama")
    run = FormBatch(lm, SPEECH, heard(lm), SINGLE, 1)
    monkeypatch.setattr(probing, "EAGER", "sdpa")
    assert {one.skipped for one in run.attention()} == {NO_WEIGHTS}
    hook = torch.nn.Module.register_forward_pre_hook

    def without_mask(layer, function, **options):
        def called(module, args, kwargs):
            return function(module, args, {**kwargs, "attention_mask": None})

        return hook(layer, called, **options)

    monkeypatch.setattr(torch.nn.Module, "register_forward_pre_hook", without_mask)
    assert {one.skipped for one in run.knockout()} == {NO_MASK}


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_that_shares_prompts_shows_where_it_looks_and_can_be_kept_from_looking(name):
    lm = speech_lm(name)
    if not lm.shares_prompts:
        pytest.skip("it only runs as a whole: left out by the step")
    before = lm.decoder.config._attn_implementation
    for form, queries in (
        (SPEECH, [lm.encode_speech(clip(seconds, seed)) for seed, seconds in enumerate((0.5, 1.0))]),
        (TEXT, [lm.encode_text(text) for text in PROMPTS[:2]]),
    ):
        asked = [Asked(f"q{n}", TEXT_ONLY, query, forced(lm, "the river")) for n, query in enumerate(queries)]
        run = FormBatch(lm, form, asked, SINGLE, 1)
        for one in run.attention():
            assert not one.skipped
            assert np.sum([one.shares[name] for name in LOOKED_AT], axis=0) == pytest.approx(1, abs=1e-4)
        for one in run.knockout():
            assert not one.skipped and np.abs(np.array(one.values) - one.base).max() > 1e-4
    assert lm.decoder.config._attn_implementation == before


def query(start, tokens, behind):
    end = start + tokens
    return Query({}, end + behind, (start, end), ("",) * tokens, None, None, None, SPEECH)


def test_every_position_belongs_to_one_class_at_the_edges_too():
    def counts(one, n):
        found = classes(one, n)
        assert (found.sum(axis=0) == 1).all()
        return dict(zip(LOOKED_AT, found.sum(axis=1).tolist()))

    assert counts(query(4, 10, 3), 20) == {FIRST: 1, BEFORE: 3, QUERY: 10, AFTER: 3, ANSWER: 3}
    assert counts(query(0, 10, 1), 11) == {FIRST: 0, BEFORE: 0, QUERY: 10, AFTER: 1, ANSWER: 0}
    assert counts(query(1, 2, 0), 3) == {FIRST: 1, BEFORE: 0, QUERY: 2, AFTER: 0, ANSWER: 0}


def test_the_last_position_and_the_first_are_never_hidden_by_the_control():
    own, others = hideable(query(4, 10, 3))
    assert own.tolist() == list(range(4, 14)) and others.tolist() == [1, 2, 3, 14, 15]
    own, others = hideable(query(1, 3, 0))
    assert own.tolist() == [1, 2] and others.tolist() == []


def test_a_prompt_without_other_positions_is_a_skip_and_its_neighbours_are_not(llama):
    asked = heard(llama)
    bare = asked[0].query
    start, end = bare.span
    embeds = llama.embed(bare)[start - 1 : end + 1]
    alone = Query(
        {"inputs_embeds": embeds[None]}, len(embeds), (1, len(embeds) - 1), bare.tokens, None, None, 1.0, SPEECH
    )
    found = FormBatch(
        llama, SPEECH, [Asked("bare", TEXT_ONLY, alone, asked[0].outcome), asked[1]], SINGLE, 1
    ).knockout()
    assert [one.skipped for one in found] == [NO_CONTROL, ""]


def test_the_control_hides_as_many_positions_or_all_that_there_are_and_then_once(llama):
    few, many = FormBatch(llama, TEXT, written(llama, ["in", 12 * "water "], ("in", "in")), SINGLE, 1).knockout()
    assert few.n_control == few.n_positions and len(few.controls) == SINGLE.draws
    assert len({tuple(draw) for draw in few.controls}) > 1
    assert many.n_control < many.n_positions and len(many.controls) == 1


def test_windows_reach_the_last_layer_and_all_layers_come_once():
    assert windows_of(8, 3, 2) == [(0, 3), (2, 3), (4, 3), (5, 3), (0, 8)]
    assert windows_of(3, 5, 3) == [(0, 3)] and windows_of(4, 2, 2) == [(0, 2), (2, 2), (0, 4)]


def test_the_answer_of_a_choice_is_its_right_letter():
    outcome = Outcome(MARGIN, [[5], [6, 7], [8]], [[0], [1, 2]], right=1)
    assert outcome.answer == [6, 7] and Outcome(LOG_PROB, [[3, 4]], []).answer == [3, 4]


@pytest.fixture(scope="module")
def roomy():
    return make_lm("llama", max_position_embeddings=512)


def test_one_long_answer_does_not_lose_the_knockout_of_its_batch(roomy):
    asked = written(roomy, (PROMPTS * 3)[:8], ["the " * 10, *["the river"] * 7])
    found = FormBatch(roomy, TEXT, asked, SINGLE, 1).knockout()
    assert not any(one.skipped for one in found)
    for one, question in zip(found, asked):
        (alone,) = FormBatch(roomy, TEXT, [question], SINGLE, 1).knockout()
        assert one.values == pytest.approx(alone.values, abs=1e-4)


@pytest.mark.parametrize("others", ["the river", "the"])
def test_one_long_answer_does_not_break_the_shares_of_its_batch(roomy, others):
    asked = written(roomy, (PROMPTS * 3)[:8], ["the " * 36, *[others] * 7])
    assert not any(one.skipped for one in FormBatch(roomy, TEXT, asked, SINGLE, 1).attention())
