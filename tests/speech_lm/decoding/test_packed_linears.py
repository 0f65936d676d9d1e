"""Packed products: the same results, only where they pay, and never with old weights."""

import logging

import pytest
import torch
from torch import nn

from tests.speech_lm.decoding.packed_dtypes import PACKED_DTYPES
from workflow_scripts.speech_lm.decoding import packed_linears as packed
from workflow_scripts.speech_lm.decoding.packed_linears import packed_linears


@pytest.fixture
def model():
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(48, 96), nn.GELU(), nn.Linear(96, 48, bias=False), nn.Linear(48, 300))
    return layers.eval().requires_grad_(False)


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.no_grad():
        yield


@pytest.mark.parametrize("dtype", PACKED_DTYPES)
@pytest.mark.parametrize("rows", [(2, 48), (33, 48), (5, 1, 48)])
def test_packed_products_equal_plain_ones(model, dtype, rows):
    tolerance = 1e-6 if dtype is torch.float32 else 1e-2
    model.to(dtype)
    inputs = torch.randn(rows).to(dtype)
    expected = model(inputs)
    with packed_linears(model, n_steps=20, n_rows=8) as n_packed:
        assert n_packed == 3
        torch.testing.assert_close(model(inputs), expected, rtol=tolerance, atol=tolerance)
    assert torch.equal(model(inputs), expected), "as before once the block is left"


def test_weights_changed_between_blocks_are_never_seen_stale(model):
    inputs = torch.randn(4, 48)
    with packed_linears(model, 20, 4):
        before = model(inputs)
    model[0].weight.mul_(-2)
    model.load_state_dict({name: tensor + 0.1 for name, tensor in model.state_dict().items()})
    with packed_linears(model, 20, 4):
        torch.testing.assert_close(model(inputs), nn.Sequential(*model)(inputs))
        after = model(inputs)
    torch.testing.assert_close(after, model(inputs), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(after, before)


def test_hooks_and_names_stay_as_they_are(model):
    seen = []
    handle = model[2].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape))
    names = list(model.state_dict())
    with packed_linears(model, 20, 4):
        model(torch.randn(4, 48))
        assert list(model.state_dict()) == names
    handle.remove()
    assert seen == [(4, 96)]


def test_an_error_inside_leaves_plain_layers_and_an_inner_block_packs_nothing(model):
    with pytest.raises(ZeroDivisionError), packed_linears(model, 20, 4):
        with packed_linears(model, 20, 4) as inner:
            assert inner == 0
        assert "forward" in model[0].__dict__, "the inner block leaves the outer one's layers alone"
        raise ZeroDivisionError
    assert not any("forward" in layer.__dict__ for layer in model)


@pytest.mark.parametrize("dtype", PACKED_DTYPES)
@pytest.mark.parametrize("shape", [(48, 96), (47, 33), (300, 1)])
def test_plain_weights_are_not_there_twice_and_come_back_bit_for_bit(dtype, shape):
    layer = nn.Linear(*shape).to(dtype).requires_grad_(False)
    model, parameter, before = nn.Sequential(layer), layer.weight, layer.weight.clone()
    with pytest.raises(ZeroDivisionError), packed_linears(model, 20, 4) as n_packed:
        assert n_packed == 1 and layer.weight is parameter
        assert parameter.shape == before.shape and parameter.dtype == dtype and parameter.isnan().all()
        assert parameter.untyped_storage().nbytes() == dtype.itemsize
        raise ZeroDivisionError
    assert layer.weight is parameter and parameter.is_contiguous() and torch.equal(parameter, before)


def test_a_weight_that_an_embedding_shares_can_be_read_meanwhile():
    table, head = nn.Embedding(300, 48), nn.Linear(48, 300, bias=False)
    head.weight = table.weight
    model = nn.ModuleList([table, head]).requires_grad_(False)
    expected = head(table.weight[:5])
    with packed_linears(model, 20, 4) as n_packed:
        assert n_packed == 1
        torch.testing.assert_close(head(table(torch.arange(5))), expected)
    assert head.weight is table.weight


def test_nothing_is_packed_where_it_does_not_pay_or_would_break_something(model):
    def n_packed(steps=20, rows=4):
        with packed_linears(model, steps, rows) as found:
            return found

    assert n_packed() == 3
    assert n_packed(steps=packed.MIN_STEPS - 1) == 0
    assert n_packed(rows=1) == 0
    with torch.enable_grad():
        assert n_packed() == 0
    with torch.inference_mode():
        assert n_packed() == 0
    assert not model[0].weight.is_inference()
    model[0].forward = lambda inputs: inputs  # somebody else's
    assert n_packed() == 2
    del model[0].forward
    assert n_packed() == 3
    model.to(torch.float64)
    assert n_packed() == 0
    model.to("meta")
    assert n_packed() == 0


def test_where_torch_lacks_the_operators_plain_products_run_and_the_log_says_so(model, monkeypatch, caplog):
    def missing(linear, weight):
        raise AttributeError("no operator _linear_pointwise")

    monkeypatch.setattr(packed, "_packed_forward", missing)
    packed._operators_work.cache_clear()
    with caplog.at_level(logging.INFO), packed_linears(model, 20, 4) as n_packed:
        assert n_packed == 0
    packed._operators_work.cache_clear()
    assert "weights are not packed for decoding in torch.float32" in caplog.text
