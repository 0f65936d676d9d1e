"""Option log-probabilities: against a plain forward pass per option, alone and batched, planted, and bad input."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.speech_lm.decoding.option_tokens import log_sum, option_branches
from workflow_scripts.speech_lm.protocol import Edit, SpeechLMError

OPTIONS = [
    ["the river", "a desert", "water", "the user and the assistant"],
    ["water", "ice"],
    ["in", "the", "river", "what", "is"],
]


def plain_log_prob(lm, query, text):
    """ln p of a text as the beginning of the answer, by the model's own forward on one unpadded row, float64 sums."""
    ids = lm.tokenizer(text, add_special_tokens=False)["input_ids"]
    table = lm.model.get_input_embeddings()
    embeds = torch.cat([lm.embed(query), table(torch.tensor(ids))])[None]
    with torch.no_grad():
        log_probs = lm.model(inputs_embeds=embeds).logits[0].double().log_softmax(-1)
    return sum(float(log_probs[query.length - 1 + place, token]) for place, token in enumerate(ids)), ids


def asked(lm, queries_of):
    queries = queries_of(lm)
    return queries, [OPTIONS[number % len(OPTIONS)] for number in range(len(queries))]


def test_letters_and_texts_equal_a_plain_forward_pass_of_each_option(lm, queries_of):
    queries, options = asked(lm, queries_of)
    found = lm.option_log_probs(queries, options)
    for query, texts, one in zip(queries, options, found):
        for place, text in enumerate(texts):
            expected, ids = plain_log_prob(lm, query, text)
            assert one.texts[place] == pytest.approx(expected, abs=1e-4)
            assert one.text_tokens[place] == len(ids)
            letter = "ABCDE"[place]
            spellings = [plain_log_prob(lm, query, spelled)[0] for spelled in (letter, f" {letter}")]
            assert one.letters[place] == pytest.approx(math.log(sum(map(math.exp, spellings))), abs=1e-4)
    assert len({one.letters for one in found}) == len(found), "all alike, the comparison shows nothing"


def test_a_question_gets_the_same_values_alone_and_in_a_batch(lm, queries_of):
    queries, options = asked(lm, queries_of)
    together = lm.option_log_probs(queries, options)
    for query, texts, batched in zip(queries, options, together):
        (alone,) = lm.option_log_probs([query], [texts])
        assert alone.letters == pytest.approx(batched.letters, abs=1e-5)
        assert alone.texts == pytest.approx(batched.texts, abs=1e-5)


def test_the_reference_answer_costs_what_answer_loss_says(lm, queries_of):
    queries, options = asked(lm, queries_of)
    references = [f"A. {texts[0]}" for texts in options]
    references[1] = None
    found = lm.option_log_probs(queries, options, references=references)
    assert found[1].reference is None
    rest = [number for number in range(len(queries)) if number != 1]
    expected = lm.answer_loss([queries[n] for n in rest], [references[n] for n in rest])
    for number, cost in zip(rest, expected):
        assert found[number].reference.nll == pytest.approx(cost.nll, abs=1e-3)
        assert found[number].reference.n_tokens == cost.n_tokens
    (without,) = lm.option_log_probs(queries[:1], options[:1])
    assert without.letters == pytest.approx(found[0].letters, abs=1e-5)


def test_values_that_are_not_finite_name_the_model(new_lm):
    lm = new_lm("llama")
    query = lm.encode_text("river")
    lm.decoder_layers[2].mlp.down_proj.weight.data[0, 0] = float("nan")
    with pytest.raises(SpeechLMError, match="tiny-llama: an option or reference answer has NaN"):
        lm.option_log_probs([query], [["water", "ice"]])


def test_the_order_of_options_changes_nothing_but_the_order(llama, queries_of):
    query, texts = queries_of(llama)[0], OPTIONS[0]
    (first,) = llama.option_log_probs([query], [texts])
    (turned,) = llama.option_log_probs([query], [texts[::-1]])
    assert turned.texts[::-1] == pytest.approx(first.texts, abs=1e-5)
    assert turned.letters == pytest.approx(first.letters, abs=1e-5)


@pytest.mark.parametrize("spelled", ["C", " C"])
def test_a_planted_letter_gets_all_the_mass_in_either_spelling(new_lm, queries_of, spelled):
    lm = new_lm("qwen2")  # its vocabulary product is not tied to the embeddings
    query = queries_of(lm)[3]
    embeds = lm.embed(query)[None]
    state = lm.decoder(inputs_embeds=embeds, use_cache=False).last_hidden_state[0, -1]
    ids = lm.tokenizer(spelled, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        lm.lm_head.weight[ids[0]] = 100 * state / state.norm() ** 2
        for place, token in enumerate(ids[1:]):  # " C" is two tokens here: the second one is planted after the first
            follow = torch.cat([embeds, lm.model.get_input_embeddings()(torch.tensor([ids[: place + 1]]))], dim=1)
            state = lm.decoder(inputs_embeds=follow, use_cache=False).last_hidden_state[0, -1]
            lm.lm_head.weight[token] = 200 * state / state.norm() ** 2
    (found,) = lm.option_log_probs([query], [OPTIONS[0]])
    assert max(range(4), key=lambda place: found.letters[place]) == 2
    assert sum(map(math.exp, found.letters)) <= 1 + 1e-6
    if len(ids) == 1:
        assert found.letters[2] == pytest.approx(0, abs=1e-3)


def test_an_edit_reaches_the_options_and_an_edit_to_the_same_values_changes_nothing(llama, queries_of):
    query = queries_of(llama)[4]
    states = llama.states([query])[0]
    same = Edit(layer=1, positions=torch.arange(*query.span), values=states[1])
    other = Edit(layer=1, positions=torch.arange(*query.span), values=states[1].flip(0))
    (plain,) = llama.option_log_probs([query], [OPTIONS[0]])
    (unchanged,) = llama.option_log_probs([query], [OPTIONS[0]], edits=[[same]])
    (changed,) = llama.option_log_probs([query], [OPTIONS[0]], edits=[[other]])
    assert unchanged.letters == pytest.approx(plain.letters, abs=1e-5)
    assert changed.letters != pytest.approx(plain.letters, abs=1e-3)


def test_bad_input_is_named(llama, queries_of, new_lm):
    queries = queries_of(llama)[:2]
    with pytest.raises(ValueError, match="1 lists of options and 2 references for 2 queries"):
        llama.option_log_probs(queries, [["a", "b"]])
    with pytest.raises(ValueError, match="option '  ' has no tokens"):
        llama.option_log_probs(queries[:1], [["a", "  "]])
    with pytest.raises(ValueError, match="a query without options has no option prob"):
        llama.option_log_probs(queries[:1], [[]])
    short = new_lm("llama", max_position_embeddings=32)
    with pytest.raises(SpeechLMError, match="more than the model's 32"):
        short.option_log_probs([short.encode_text("river")], [["the water " * 20, "b"]])


def tokens_by(table):
    return lambda text, add_special_tokens: {"input_ids": table[text]}


def test_spellings_that_coincide_are_counted_once_and_a_longer_one_is_part_of_the_shorter():
    table = {"A": [1], " A": [1], "B": [2], " B": [2, 7], "x": [1], "y": [9, 9]}
    found = option_branches(tokens_by(table), ["x", "y"], None, "m")
    assert [[found.branches[number] for number in numbers] for numbers in found.letters] == [[[1]], [[2]]]
    assert [found.branches[number] for number in found.texts] == [[1], [9, 9]]


def test_letters_the_vocabulary_cannot_tell_apart_are_refused():
    table = {"A": [0], " A": [5], "B": [0], " B": [6], "x": [1], "y": [2]}
    with pytest.raises(SpeechLMError, match="letters A and B with the same tokens"):
        option_branches(tokens_by(table), ["x", "y"], None, "m")


@given(st.lists(st.floats(-700, 0), min_size=1, max_size=4))
def test_log_sums_are_sums_of_probabilities(values):
    assert log_sum(values) == pytest.approx(math.log(math.fsum(map(math.exp, values))), abs=1e-9)
    assert log_sum([-math.inf, -math.inf]) == -math.inf
    assert log_sum([value - 5000 for value in values]) == pytest.approx(log_sum(values) - 5000, abs=1e-6)
