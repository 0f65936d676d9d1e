"""The trainable model: adapter, placement of speech, loss, LoRA."""

import pytest
import torch
from torch import nn

from workflow_scripts.speech_lm.trainable.adapters import (
    AdapterShape,
    PosteriorAdapter,
    PosteriorAdapterShape,
    SpeechAdapter,
)
from workflow_scripts.speech_lm.trainable.lora import LoraSettings, attach_lora, merge_lora
from workflow_scripts.speech_lm.trainable.lslm import LSLM

SHAPE = AdapterShape(d_encoder=16, d_hidden=24, d_model=32)
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def make_lslm(backbone, seed=1):
    torch.manual_seed(seed)
    return LSLM(backbone, SpeechAdapter(SHAPE))


def rows():
    """Two spoken rows around a written one: prefix, placeholders (7 and 2), suffix, answer; right-padded."""
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(0, 300, (3, 20), generator=generator)
    mask = torch.zeros(3, 20, dtype=torch.bool)
    mask[0, 3:10] = True
    mask[2, 3:5] = True
    labels = torch.full((3, 20), -100)
    for row, (start, end) in enumerate([(14, 20), (8, 12), (9, 10)]):
        labels[row, start:end] = ids[row, start:end]
    features = torch.randn(2, 33, 16, generator=generator)
    return {
        "input_ids": ids,
        "labels": labels,
        "features": features,
        "feature_lengths": torch.tensor([33, 8]),
        "speech_mask": mask,
    }


def test_the_adapter_stacks_neighbouring_frames_in_order_and_pads_the_tail_with_zeros():
    adapter = SpeechAdapter(AdapterShape(d_encoder=1, d_hidden=5, d_model=5))
    with torch.no_grad():
        for layer in (adapter.down, adapter.up):
            layer.weight.copy_(torch.eye(5))
            layer.bias.zero_()
    output, lengths = adapter(torch.arange(1.0, 8.0).view(1, 7, 1), torch.tensor([7]))
    assert output[0].tolist() == [[1, 2, 3, 4, 5], [6, 7, 0, 0, 0]]
    assert lengths.tolist() == [2]


def test_the_adapter_ignores_what_lies_beyond_a_rows_length():
    adapter, features = SpeechAdapter(SHAPE), torch.randn(1, 12, 16)
    alone, _ = adapter(features, torch.tensor([12]))
    longer = torch.cat([features, torch.full((1, 9, 16), 7.0)], dim=1)
    padded, lengths = adapter(longer, torch.tensor([12]))
    assert lengths.tolist() == [3] and padded.shape[1] == 5
    torch.testing.assert_close(padded[:, :3], alone)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_the_adapters_activation_is_the_configured_one(activation):
    adapter = SpeechAdapter(AdapterShape(16, 24, 32, activation=activation))
    features = torch.randn(1, 5, 16)
    hidden = getattr(nn.functional, activation)(adapter.down(features.reshape(1, 1, 80)))
    torch.testing.assert_close(adapter(features, torch.tensor([5]))[0], adapter.up(hidden))


def test_impossible_adapters_are_refused(new_backbone):
    with pytest.raises(ValueError, match="'tanh' is unknown"):
        AdapterShape(16, 24, 32, activation="tanh")
    with pytest.raises(ValueError, match="stack is 0"):
        AdapterShape(16, 24, 32, stack=0)
    with pytest.raises(ValueError, match="gives vectors of 31"):
        LSLM(new_backbone(), SpeechAdapter(AdapterShape(16, 24, 31)))
    with pytest.raises(ValueError, match="17 numbers per frame"):
        SpeechAdapter(SHAPE)(torch.zeros(1, 5, 17), torch.tensor([5]))


def test_the_loss_is_the_mean_over_label_positions_of_each_row_computed_alone(new_backbone):
    lslm, batch = make_lslm(new_backbone()), rows()
    output = lslm(**batch)
    by_hand = []
    for row, speech in enumerate((0, None, 1)):
        embeds = lslm.embed_tokens(batch["input_ids"][row])
        if speech is not None:
            n_frames = batch["feature_lengths"][speech]
            spoken, _ = lslm.adapter(batch["features"][speech, None, :n_frames], n_frames[None])
            start = int(batch["speech_mask"][row].nonzero()[0])
            embeds = torch.cat([embeds[:start], spoken[0], embeds[start + spoken.shape[1] :]])
        log_p = torch.log_softmax(lslm.language_model(inputs_embeds=embeds[None]).logits[0], dim=-1)
        labels = batch["labels"][row]
        by_hand += [-log_p[t - 1, labels[t]] for t in range(20) if labels[t] != -100]
    torch.testing.assert_close(output.token_nll, torch.stack(by_hand), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(output.loss, torch.stack(by_hand).mean(), rtol=1e-4, atol=1e-4)
    assert output.rows.tolist() == [0] * 6 + [1] * 4 + [2]


def test_rows_are_closed_up_where_a_collapsing_adapter_hears_fewer_tokens_than_there_are_positions(new_backbone):
    torch.manual_seed(3)
    shape = PosteriorAdapterShape(16, 24, 32, n_tokens=9, collapse=True)
    lslm, batch = LSLM(new_backbone(), PosteriorAdapter(shape)), rows()
    nn.init.normal_(lslm.adapter.head.directions)
    lslm.adapter.head.bias.data.fill_(0.5)
    output = lslm(**batch)
    by_hand, heard = [], []
    for row, speech in enumerate((0, None, 1)):
        embeds, labels = lslm.embed_tokens(batch["input_ids"][row]), batch["labels"][row]
        if speech is not None:
            n_frames = batch["feature_lengths"][speech]
            spoken, _ = lslm.adapter(batch["features"][speech, None, :n_frames], n_frames[None])
            marked = batch["speech_mask"][row]
            start, end = int(marked.nonzero()[0]), int(marked.nonzero()[-1]) + 1
            embeds = torch.cat([embeds[:start], spoken[0], embeds[end:]])
            labels = torch.cat([labels[:start], labels[start : start + len(spoken[0])], labels[end:]])
            heard.append((len(spoken[0]), end - start))
        log_p = torch.log_softmax(lslm.language_model(inputs_embeds=embeds[None]).logits[0], dim=-1)
        places = (labels != -100).nonzero()[:, 0]
        by_hand.append(-log_p[places - 1, labels[places]])
    assert all(1 <= few <= many for few, many in heard) and heard[0][0] < heard[0][1]
    torch.testing.assert_close(output.token_nll, torch.cat(by_hand), rtol=1e-4, atol=1e-5)
    assert output.speech_mask.sum(dim=1).tolist() == [heard[0][0], 0, heard[1][0]]
    output.loss.backward()
    assert lslm.adapter.down.weight.grad.abs().sum() > 0


def test_the_loss_does_not_depend_on_placeholder_ids_or_right_padding(new_backbone):
    lslm, batch = make_lslm(new_backbone()), rows()
    changed = {**batch, "input_ids": batch["input_ids"].masked_fill(batch["speech_mask"], 7)}
    changed["input_ids"] = nn.functional.pad(changed["input_ids"], (0, 9), value=3)
    changed["labels"] = nn.functional.pad(batch["labels"], (0, 9), value=-100)
    changed["speech_mask"] = nn.functional.pad(batch["speech_mask"], (0, 9))
    changed["features"] = nn.functional.pad(batch["features"], (0, 0, 0, 4), value=9.0)
    torch.testing.assert_close(lslm(**changed).token_nll, lslm(**batch).token_nll, rtol=1e-4, atol=1e-4)


def test_the_loss_reaches_the_adapter_through_the_speech_positions(new_backbone):
    lslm = make_lslm(new_backbone())
    lslm(**rows()).loss.backward()
    assert all(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in lslm.adapter.parameters())


def test_inputs_that_do_not_fit_each_other_are_refused(new_backbone):
    lslm, batch = make_lslm(new_backbone()), rows()
    with pytest.raises(ValueError, match=r"\[7, 2\] positions .*gives \[6, 2\]"):
        lslm(**{**batch, "feature_lengths": torch.tensor([30, 8])})
    with pytest.raises(ValueError, match="no features"):
        lslm(**{**batch, "features": None})
    with pytest.raises(ValueError, match="need feature_lengths"):
        lslm(**{**batch, "speech_mask": None})
    with pytest.raises(ValueError, match="no position to predict"):
        lslm(**{**batch, "labels": torch.full((3, 20), -100)})
    with pytest.raises(ValueError, match=r"labels\[:, 0\]"):
        lslm(**{**batch, "labels": batch["input_ids"]})


def test_lora_starts_as_the_untouched_model_and_its_seed_fixes_it(new_backbone):
    plain = make_lslm(new_backbone())(**rows()).token_nll
    backbones = [new_backbone() for _ in range(3)]
    state = torch.random.get_rng_state()
    wrapped = [attach_lora(b, LoraSettings(targets=TARGETS), seed=seed) for b, seed in zip(backbones, (4, 4, 5))]
    assert torch.equal(torch.random.get_rng_state(), state), "the global generator must be left alone"
    torch.testing.assert_close(make_lslm(wrapped[0])(**rows()).token_nll, plain)
    a, b, c = ([p for n, p in w.named_parameters() if "lora_A" in n] for w in wrapped)
    assert all(torch.equal(x, y) for x, y in zip(a, b))
    assert not any(torch.equal(x, y) for x, y in zip(a, c))
    trainable = {n for n, p in wrapped[0].named_parameters() if p.requires_grad}
    assert trainable and all("lora_" in n for n in trainable)


def test_lora_and_adapter_learn_under_bfloat16_autocast(new_backbone):
    lslm = make_lslm(attach_lora(new_backbone(), LoraSettings(r=4, dropout=0.1), seed=0)).train()
    optimizer = torch.optim.AdamW([p for p in lslm.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(20):
        with torch.autocast("cpu", torch.bfloat16):
            loss = lslm(**rows()).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]
    assert all(p.dtype == torch.float32 for p in lslm.parameters() if p.requires_grad)


def randomise_lora(wrapped, scale=0.1):
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_" in name:
                parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    return wrapped


def test_merging_lora_changes_no_logit_in_float32(new_backbone):
    lslm = make_lslm(randomise_lora(attach_lora(new_backbone(), LoraSettings(), seed=0)))
    with torch.no_grad():
        plain, unmerged = make_lslm(new_backbone())(**rows()), lslm(**rows())
    lslm.language_model = merge_lora(lslm.language_model)
    assert not any("lora" in name for name, _ in lslm.named_modules())
    assert float((unmerged.logits - plain.logits).abs().max()) > 0.1
    torch.testing.assert_close(lslm(**rows()).logits, unmerged.logits, rtol=1e-4, atol=1e-4)


def test_merging_lora_into_bfloat16_weights_rounds_once(new_backbone):
    wrapped = randomise_lora(attach_lora(new_backbone().to(torch.bfloat16), LoraSettings(), seed=0))
    layer = wrapped.base_model.model.model.layers[0].self_attn.q_proj
    exact = layer.base_layer.weight.double() + 2 * (
        layer.lora_B["default"].weight.double() @ layer.lora_A["default"].weight.double()
    )
    merged = merge_lora(wrapped).model.layers[0].self_attn.q_proj.weight
    assert merged.dtype == torch.bfloat16
    assert float(((merged.double() - exact).abs() / exact.abs()).max().detach()) <= 2**-8
