"""The sweep finds the layer and position through which a planted answer runs, and gives what full passes give."""

import numpy as np
import pytest
import torch

from tests.speech_lm.conftest import make_lm
from workflow_scripts.artifacts.patches import OTHER, PATCH, RANDOM, TEXT_ONLY, TO_SPEECH, TO_TEXT
from workflow_scripts.patching.outcomes import LOG_PROB, Outcome
from workflow_scripts.patching.positions import ONE_TOKEN, Path
from workflow_scripts.patching.sweep import Item, sweep_batch
from workflow_scripts.settings.patching import PatchingSettings
from workflow_scripts.speech_lm.hooks import captured_states, hook_count
from workflow_scripts.speech_lm.probing.edited_prompts import SharedPrompts
from workflow_scripts.speech_lm.protocol import Edit, Query, Speech, SpeechLMError

GATE = 2
"""The layer of the planted model in which every position takes the mean of what is before it."""
LETTERS = ("a", "e", "h", "n")
EVERY = PatchingSettings(windows=[1, 2])


@pytest.fixture(scope="module")
def planted():
    """A llama of five layers that pass their input on, but for one: there the query reaches the answer."""
    lm = make_lm("llama", num_hidden_layers=5, num_key_value_heads=4)
    with torch.no_grad():
        for index, layer in enumerate(lm.decoder_layers):
            layer.mlp.down_proj.weight.zero_()
            layer.self_attn.o_proj.weight.zero_()
            if index == GATE:
                for part in (layer.self_attn.q_proj, layer.self_attn.k_proj):
                    part.weight.zero_()
                layer.self_attn.v_proj.weight.copy_(torch.eye(32))
                layer.self_attn.o_proj.weight.copy_(20 * torch.eye(32))
    return lm


def spoken(lm, frames, seed):
    return lm.encode_speech(
        Speech(None, 16_000, frames / 50, torch.randn(frames, 16, generator=torch.Generator().manual_seed(seed)))
    )


def items_of(lm, prompts, references):
    """Questions with an even path; the partner is the next one."""
    texts = [lm.encode_text(prompt) for prompt in prompts]
    clips = [spoken(lm, 20 + 9 * number, number) for number in range(len(prompts))]
    found = []
    for number, (clip, text) in enumerate(zip(clips, texts)):
        frames = np.linspace(0, len(clip.tokens) - 1, len(text.tokens)).astype(int)
        path = Path(frames, np.ones(len(frames)), np.arange(len(frames)) < 2)
        other = (number + 1) % len(prompts)
        partner = None if len(prompts) == 1 else (clips[other], texts[other])
        outcome = Outcome(LOG_PROB, [lm.token_ids(references[number])], [])
        found.append(Item(f"q{number}", TEXT_ONLY, clip, text, path, outcome, partner))
    return found


def share(records, source, positions, window=1, direction=TO_SPEECH):
    own = [
        one for one in records if (one.source, one.positions, one.window, one.direction)
        == (source, positions, window, direction)
    ]  # fmt: skip
    gap = np.mean([one.target - one.base for one in own])
    return np.mean([np.array(one.values) - one.base for one in own], axis=0) / gap


def test_the_sweep_finds_the_planted_layer_and_position_and_its_nulls_do_not(planted):
    items = items_of(planted, [8 * letter for letter in LETTERS], LETTERS)
    records = sweep_batch(planted, items, EVERY, seed=1)
    before, after = slice(0, GATE + 1), slice(GATE + 1, None)
    last = share(records, PATCH, "last")
    assert last[before] == pytest.approx(0, abs=1e-4) and last[after] == pytest.approx(1, abs=1e-4)
    assert share(records, OTHER, "last").max() < 0.5 and share(records, RANDOM, "last").max() < 0.5
    assert share(records, PATCH, "template") == pytest.approx(0, abs=1e-4), "nothing is read there"
    query = share(records, PATCH, "query")
    assert query[before].min() > 0.3 and query[after] == pytest.approx(0, abs=1e-4)
    assert share(records, OTHER, "query").max() < 0.1
    # A window reaches its effect as soon as one of its layers does.
    assert share(records, PATCH, "last", window=2) == pytest.approx(last[1:], abs=1e-4)
    back = share(records, PATCH, "last", direction=TO_TEXT)
    assert back[before] == pytest.approx(0, abs=1e-4) and back[after] == pytest.approx(1, abs=1e-4)
    assert {one.skipped for one in records if one.positions == "answer"} == {ONE_TOKEN}
    assert {one.n_positions for one in records if one.positions == "last" and one.source} == {1}


def test_behind_a_first_answer_token_the_path_runs_through_that_token(planted):
    items = items_of(planted, [8 * letter for letter in LETTERS], [2 * letter for letter in LETTERS])
    assert all(len(item.outcome.branches[0]) == 2 for item in items)
    records = sweep_batch(planted, items, PatchingSettings(positions=["answer"], windows=[1]), seed=1)
    found = share(records, PATCH, "answer")
    assert found[: GATE + 1] == pytest.approx(0, abs=1e-4) and found[GATE + 1 :] == pytest.approx(1, abs=1e-4)


def states_everywhere(lm, query: Query):
    """(L+1, T, d) inputs of all layers at all positions."""
    positions = torch.arange(query.length)
    with captured_states(lm.decoder_layers, torch.zeros_like(positions), positions) as states:
        lm.decoder(inputs_embeds=lm.embed(query)[None], use_cache=False)
    return torch.stack(states)


@pytest.fixture(scope="module", params=["llama", "gemma2"])
def swept(request):
    lm = make_lm(request.param)
    items = items_of(lm, ["what is the water", "river in the water", "the user"], ["the river", "water", "in"])
    return lm, items, sweep_batch(lm, items, EVERY, seed=1)


def test_every_patch_equals_a_whole_pass_without_cache(swept):
    lm, items, records = swept
    by_id = {item.id: item for item in items}
    compared, changed = 0, 0
    for one in records:
        if one.source != PATCH or one.positions not in ("last", "template") or one.window != 2:
            continue
        item = by_id[one.id]
        into, source = item.spoken, item.written
        if one.direction == TO_TEXT:
            into, source = source, into
        behind = {"last": np.array([1]), "template": np.arange(source.length - source.span[1], 1, -1)}[one.positions]
        states = states_everywhere(lm, source)
        for layer, value in zip(one.layers, one.values):
            edits = [
                Edit(at, torch.from_numpy(into.length - behind), states[at][source.length - behind])
                for at in (layer, layer + 1)
            ]
            text = lm.tokenizer.decode(item.outcome.branches[0])
            [loss] = lm.answer_loss([into], [text], edits=[edits])
            assert value == pytest.approx(-loss.nll / loss.n_tokens, rel=1e-3, abs=1e-3)
            compared, changed = compared + 1, changed + (abs(value - one.base) > 1e-3)
    assert compared == 3 * 2 * 2 * 3 and changed > compared / 3


def test_a_question_alone_has_the_values_that_it_has_in_a_batch(swept):
    lm, items, records = swept
    together = {(r.id, r.direction, r.positions, r.source, r.window): r for r in records if r.source}
    alone = [one for item in items for one in sweep_batch(lm, [item], EVERY, seed=1) if one.source]
    assert len(alone) == len(together)
    for one in alone:
        other = together[one.id, one.direction, one.positions, one.source, one.window]
        assert one.values == pytest.approx(other.values, rel=1e-3, abs=1e-3)
        assert one.kl == pytest.approx(other.kl, rel=1e-2, abs=1e-3)


def test_hooks_are_gone_and_a_question_without_a_partner_has_no_other_null(swept):
    lm, _, _ = swept
    [item] = items_of(lm, ["the"], ["water"])
    standing = hook_count(lm.decoder_layers)
    records = sweep_batch(lm, [item], PatchingSettings(layers=[1], windows=[1]), seed=1)
    assert {one.source for one in records if one.source} == {PATCH, RANDOM}
    assert hook_count(lm.decoder_layers) == standing


def test_a_run_that_its_own_states_change_stops_the_sweep(planted, monkeypatch):
    plain = SharedPrompts.probe

    def unsteady(self, rows, edits, *options):
        found = plain(self, rows, edits, *options)
        if any(edits):
            found[0].first.add_(1e-3)
        return found

    monkeypatch.setattr(SharedPrompts, "probe", unsteady)
    items = items_of(planted, ["aaaa"], ["a"])
    with pytest.raises(SpeechLMError, match="writing back the states of question 'q0' at layer 0"):
        sweep_batch(planted, items, EVERY, seed=1)


def test_a_window_that_fits_nowhere_is_named(planted):
    settings = PatchingSettings(layers=[3, 4], windows=[1, 3])
    with pytest.raises(SpeechLMError, match=r"patching.windows \[1, 3\]: .* layers 0 to 4 .* first .* is 3"):
        sweep_batch(planted, items_of(planted, ["aa"], ["a"]), settings, seed=1)


def test_a_layer_that_is_not_there_is_named(planted):
    with pytest.raises(SpeechLMError, match=r"editable layers 0 \.\. 4, asked for \[7\]"):
        sweep_batch(planted, items_of(planted, ["aa"], ["a"]), PatchingSettings(layers=[7]), seed=1)
