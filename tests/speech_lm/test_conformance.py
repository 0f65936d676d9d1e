"""The same promises for every family and architecture: tiny random models, offline."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.speech_lm.tiny_models import FAMILIES, POSITIONS, speech_lm
from workflow_scripts.speech_lm.architectures import UNSCALED_LOGITS
from workflow_scripts.speech_lm.decoding import greedy as generation
from workflow_scripts.speech_lm.decoding import grouped_cache
from workflow_scripts.speech_lm.decoding.greedy import common_beginning
from workflow_scripts.speech_lm.decoding.grouped_cache import GroupedCache, can_group
from workflow_scripts.speech_lm.decoding.packed_linears import MIN_STEPS
from workflow_scripts.speech_lm.families.placeholder import PlaceholderSpeechLM
from workflow_scripts.speech_lm.families.whole_model import WholeModelSpeechLM
from workflow_scripts.speech_lm.hooks import edited_inputs, hook_count
from workflow_scripts.speech_lm.opening.model_checks import CHECKS, clip, run_checks
from workflow_scripts.speech_lm.probing.edited_prompts import SharedPrompts
from workflow_scripts.speech_lm.protocol import Edit, ScoringRequest

torch.set_num_threads(1)
TEXTS = ["what is the water", "river?", "the user and the assistant in the river"]


@pytest.fixture(scope="module", params=FAMILIES)
def lm(request):
    return speech_lm(request.param)


@pytest.fixture(scope="module")
def kind(lm):
    return lm.name.removeprefix("tiny-")


def spoken(lm, *seconds):
    return [lm.encode_speech(clip(length, seed)) for seed, length in enumerate(seconds)]


def test_every_self_check_passes(lm):
    results = run_checks(lm)
    assert [result for result in results if not result.passed] == []
    assert {result.check for result in results} >= set(CHECKS) - {
        "decoder on its own",
        "states equal the model's own",
        "placeholders and audio embeddings",
    }


def test_a_second_of_speech_has_the_positions_that_the_architecture_gives_it(lm, kind):
    (query,) = spoken(lm, 1.0)
    assert len(query.tokens) == POSITIONS[kind]
    assert query.tokens[0] == "0.00s" and query.form == "speech" and query.token_ids is None


@pytest.mark.parametrize("seconds", [0.1, 0.25, 0.45])
def test_a_short_clip_has_positions_for_its_own_length_only(lm, kind, seconds):
    step = 3 if kind.startswith("granite_speech") else 1  # it hears windows of three positions
    assert len(spoken(lm, seconds)[0].tokens) <= math.ceil(POSITIONS[kind] * seconds) + step


def test_states_do_not_depend_on_what_else_is_in_the_batch(lm):
    queries = spoken(lm, 1.0, 0.6, 0.4)
    for query, together in zip(queries, lm.states(queries)):
        alone = lm.states([query])[0]
        assert together.shape == (lm.n_layers + 1, len(query.tokens), lm.hidden_size)
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", ["speech", "text"])
def test_batched_and_single_answers_have_the_same_ids(lm, form):
    queries = spoken(lm, 1.0, 0.6, 0.4) if form == "speech" else [lm.encode_text(text) for text in TEXTS]
    together = lm.generate(queries, max_new_tokens=MIN_STEPS + 2, stop_ids=[])
    single = [lm.generate([query], max_new_tokens=MIN_STEPS + 2, stop_ids=[])[0] for query in queries]
    assert [answer.token_ids for answer in together] == [answer.token_ids for answer in single]
    assert {len(answer.token_ids) for answer in together} == {MIN_STEPS + 2}


@pytest.mark.parametrize("form", ["speech", "text"])
def test_a_beginning_run_once_and_rows_run_apart_leave_states_cache_and_answers_as_they_are(lm, form, monkeypatch):
    if isinstance(lm, WholeModelSpeechLM):
        pytest.skip("one query at a time")
    queries = spoken(lm, 1.0, 0.6, 0.4) if form == "speech" else [lm.encode_text(text) for text in TEXTS]
    embeds, lengths = lm.pad_queries(queries, None)
    if not common_beginning(embeds, lengths):
        pytest.skip("the template puts nothing before the query")
    found = {}
    for least in (10**9, 1):
        monkeypatch.setattr(generation, "MIN_SAVED", least)
        monkeypatch.setattr(generation, "PASS_POSITIONS", max(1000 * (least > 1), max(lengths)))
        cache, last, _ = generation.prefill(lm.model, embeds, lengths, following=4)
        kept = [(layer.keys[row, :, :n], layer.values[row, :, :n]) for layer in cache.layers
                for row, n in enumerate(lengths)]  # fmt: skip
        found[least] = (last, kept, lm.generate(queries, max_new_tokens=6, stop_ids=[]))
    (last, kept, answers), (whole_last, whole_kept, whole_answers) = found[1], found[10**9]
    torch.testing.assert_close(last, whole_last, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(kept, whole_kept, rtol=1e-4, atol=1e-4)
    assert [one.token_ids for one in answers] == [one.token_ids for one in whole_answers]


@pytest.mark.parametrize("form", ["speech", "text"])
def test_rows_kept_in_groups_give_the_answers_costs_and_options_of_one_rectangle(lm, form, monkeypatch):
    if isinstance(lm, WholeModelSpeechLM):
        pytest.skip("one query at a time")
    queries = spoken(lm, 0.6, 1.0, 0.4) if form == "speech" else [lm.encode_text(text) for text in TEXTS]
    wanted = [[ScoringRequest("the water", ("river", "the user"))], [], [ScoringRequest("river")]]
    found, made = {}, []
    monkeypatch.setattr(generation, "GroupedCache", lambda caches: made.append(len(caches)) or GroupedCache(caches))
    for rows in (1000, 1):
        monkeypatch.setattr(grouped_cache, "GROUP_ROWS", rows)
        found[rows] = lm.generate_and_score(queries, wanted, max_new_tokens=MIN_STEPS + 2)
    assert made == ([3] if can_group(lm.decoder, lm.device) else [])
    for (answer, weighed), (other, others) in zip(found[1], found[1000], strict=True):
        assert answer.token_ids == other.token_ids
        for one, two in zip(weighed, others, strict=True):
            assert (*one.letters, *one.texts) == pytest.approx((*two.letters, *two.texts), abs=1e-3)
            assert one.reference.nll == pytest.approx(two.reference.nll, abs=1e-3)


def test_answers_equal_the_models_own_generate(lm):
    """An independent path: transformers' generate on the processor's inputs, no code of ours in between."""
    if not isinstance(lm, PlaceholderSpeechLM):
        pytest.skip("no inputs of its own")
    for query in [*spoken(lm, 0.9), lm.encode_text(TEXTS[0])]:
        own = lm.model.generate(**lm.model_inputs(query), max_new_tokens=6, do_sample=False, pad_token_id=0)
        ours = lm.generate([query], max_new_tokens=6, stop_ids=[])[0]
        assert list(ours.token_ids) == own[0, query.length :].tolist()


def test_an_edit_before_decoding_is_seen_through_the_cache(lm):
    """Edited prefill + cached steps choose what full passes without cache choose under the same edit."""
    (query,) = spoken(lm, 0.6)
    middle = lm.states([query])[0][1]
    edit = Edit(1, torch.arange(*query.span), -2 * middle)
    answer = lm.generate([query], max_new_tokens=4, stop_ids=[], edits=[[edit]])[0]
    words = [lm.tokenizer.convert_ids_to_tokens(i) for i in answer.token_ids]
    assert len(words) == 4
    ids = []
    for _ in range(4):
        logits = _next_logits(lm, query, ids, edit)
        ids.append(int(logits.argmax()))
    assert tuple(ids) == answer.token_ids


def _next_logits(lm, query, ids, edit):
    if isinstance(lm, PlaceholderSpeechLM):
        inputs = lm.model_inputs(query)
        behind = torch.tensor([ids], dtype=torch.long)
        for name, filling in (("input_ids", behind), ("attention_mask", torch.ones_like(behind))):
            inputs[name] = torch.cat([inputs[name], filling], dim=1)
        if "mm_token_type_ids" in inputs:
            inputs["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(behind)], dim=1)
    else:
        table = lm.model.get_input_embeddings()
        inputs = {"inputs_embeds": torch.cat([lm.embed(query), table(torch.tensor(ids, dtype=torch.long))])[None]}
    with torch.no_grad(), edited_inputs(lm.decoder_layers, [[edit]]):
        return lm.model(**inputs, use_cache=False).logits[0, -1]


def test_the_cost_of_an_answer_is_minus_its_log_probability(lm):
    """Against the whole model's own logits; Granite Speech's lack the division that its language model has."""
    answer = "the river"
    ids = lm.tokenizer(answer, add_special_tokens=False)["input_ids"]
    for query in [*spoken(lm, 0.5), lm.encode_text(TEXTS[0])]:
        total, no_edit = 0.0, Edit(0, torch.arange(0), torch.zeros(0, lm.hidden_size))
        for place, token in enumerate(ids):
            logits = _next_logits(lm, query, ids[:place], no_edit).double()
            if lm.model.config.model_type in UNSCALED_LOGITS:
                logits = logits / lm.model.config.text_config.logits_scaling
            total -= float(torch.log_softmax(logits, dim=-1)[token])
        loss = lm.answer_loss([query], [answer])[0]
        assert loss.n_tokens == len(ids)
        assert loss.nll == pytest.approx(total, rel=1e-4)


def test_an_edit_changes_its_layer_and_later_ones_only(lm):
    (query,) = spoken(lm, 0.6)
    start = query.span[0]
    values = torch.randn(1, lm.hidden_size, generator=torch.Generator().manual_seed(1))
    before, after = lm.states([query])[0], lm.states([query], edits=[[Edit(1, torch.tensor([start + 2]), values)]])[0]
    assert torch.equal(before[0], after[0])
    assert torch.equal(after[1, 2], values[0]) and torch.equal(before[1, :2], after[1, :2])
    assert not torch.equal(before[2, 2], after[2, 2])


def test_chosen_layers_equal_those_of_a_whole_pass_which_ends_early(lm, monkeypatch):
    queries = spoken(lm, 0.6) if lm.name.startswith("tiny-gemma") else spoken(lm, 0.6, 0.4)
    standing = hook_count(lm.decoder_layers)
    whole = lm.states(queries)
    monkeypatch.setattr(lm.decoder_layers[1], "forward", lambda *_, **__: pytest.fail("layer 1 ran"))
    for query_states, chosen in zip(whole, lm.states(queries, layers=[1, 0])):
        assert torch.equal(chosen, query_states[:2])
    monkeypatch.undo()
    assert torch.equal(lm.states(queries, layers=[lm.n_layers])[0], whole[0][-1:])
    with pytest.raises(ValueError, match="choose some of 0"):
        lm.states(queries, layers=[lm.n_layers + 1])
    assert hook_count(lm.decoder_layers) == standing


def test_hooks_are_gone_after_an_error(lm):
    (query,) = spoken(lm, 0.5)
    standing = hook_count(lm.decoder_layers)
    with pytest.raises(ValueError, match=f"layer={lm.n_layers}"):
        lm.states([query], edits=[[Edit(lm.n_layers, torch.tensor([query.span[0]]), torch.zeros(1, lm.hidden_size))]])
    with pytest.raises(ValueError, match="one per query"):
        lm.generate([query], max_new_tokens=1, edits=[[], []])
    assert hook_count(lm.decoder_layers) == standing


def test_wrong_rate_features_and_empty_audio_are_refused(lm, kind):
    speech = clip(0.5)
    if kind != "composite":  # its encoder checks the rate itself (test_speech_lm_encoder)
        with pytest.raises(ValueError, match="8000 samples per second"):
            lm.encode_speech(replace(speech, rate=8000))
        with pytest.raises(ValueError, match=r"encodes audio itself; give Speech\.waveform"):
            lm.encode_speech(replace(speech, waveform=None, features=np.zeros((5, 16))))
    if isinstance(lm, PlaceholderSpeechLM):
        with pytest.raises(ValueError, match="mono, finite and not empty"):
            lm.encode_speech(replace(speech, waveform=np.array([], dtype=np.float32)))


@pytest.mark.parametrize("form", ["speech", "text"])
def test_an_options_probability_is_the_loss_of_its_text_as_answer(lm, form):
    queries = spoken(lm, 1.0, 0.6) if form == "speech" else [lm.encode_text(text) for text in TEXTS[:2]]
    options = [["water", "the river"], ["user", "assistant"]]
    found = lm.option_log_probs(queries, options)
    for place in range(2):
        losses = lm.answer_loss(queries, [texts[place] for texts in options])
        for one, loss in zip(found, losses):
            assert one.texts[place] == pytest.approx(-loss.nll, abs=1e-3)
            assert one.text_tokens[place] == loss.n_tokens


@pytest.mark.parametrize("form", ["speech", "text"])
def test_answers_and_what_is_weighed_from_one_prefill_are_those_of_passes_apart(lm, form):
    queries = spoken(lm, 1.0, 0.6) if form == "speech" else [lm.encode_text(text) for text in TEXTS[:2]]
    alone, choice = (
        ScoringRequest("the river water"),
        ScoringRequest("user", ("water", "the river", "assistant user water")),
    )
    found = lm.generate_and_score(queries, [[alone, choice], [choice]], max_new_tokens=5)
    plain = lm.generate(queries, max_new_tokens=5)
    assert [answer.token_ids for answer, _ in found] == [answer.token_ids for answer in plain]
    assert [answer.text for answer, _ in found] == [answer.text for answer in plain]
    (cost,) = lm.answer_loss(queries[:1], [alone.reference])
    weighed = found[0][1][0]
    assert (weighed.letters, weighed.texts, weighed.reference.n_tokens) == ((), (), cost.n_tokens)
    assert weighed.reference.nll == pytest.approx(cost.nll, abs=1e-3)
    apart = lm.option_log_probs(queries, [choice.options] * 2, references=[choice.reference] * 2)
    for one, expected in zip((found[0][1][1], found[1][1][0]), apart):
        assert one.letters == pytest.approx(expected.letters, abs=1e-3)
        assert one.texts == pytest.approx(expected.texts, abs=1e-3)
        assert one.reference.nll == pytest.approx(expected.reference.nll, abs=1e-3)


@pytest.mark.parametrize("form", ["speech", "text"])
def test_what_follows_under_an_edit_from_a_shared_prefill_is_that_of_a_whole_pass(lm, form):
    if not lm.shares_prompts:
        pytest.skip("edits cannot start from a shared prefill")
    queries = spoken(lm, 1.0, 0.4) if form == "speech" else [lm.encode_text(text) for text in TEXTS[:2]]
    answer = [lm.token_ids("the river"), lm.token_ids("water")[:1]]
    layers = [0, lm.n_layers - 1]
    shared = SharedPrompts(lm, queries, [None, None], max_new_tokens=sum(map(len, answer)), layers=layers)
    generator = torch.Generator().manual_seed(1)
    for layer in layers:
        edits = [
            [Edit(layer, torch.tensor([at]), torch.randn(1, lm.hidden_size, generator=generator))]
            for at in (queries[0].span[0], queries[1].length - 1)
        ]
        for branches in (answer, answer[1:]):
            found = shared.probe([0, 1], edits, [branches, branches])
            whole = lm._branch_log_probs(queries, [branches, branches], edits)
            for one, other in zip(found, whole):
                for mine, theirs in zip(one.log_probs, other):
                    torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3)
