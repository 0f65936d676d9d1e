"""What is read of the vocabulary is a float32 product, also of a model in bfloat16."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from workflow_scripts.speech_lm.decoding.vocabulary import most_likely, precise_logits


class Model(nn.Module):
    """A head, and a config without scaling unless given."""

    def __init__(self, weight, bias=None, **config):
        super().__init__()
        self.head = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, dtype=weight.dtype)
        self.head.weight.data = weight
        if bias is not None:
            self.head.bias.data = bias
        text = SimpleNamespace(**config)
        self.config = SimpleNamespace(get_text_config=lambda: text)

    def get_output_embeddings(self):
        return self.head


def drawn(rows, width, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(rows, width, generator=generator) * scale).bfloat16()


@torch.no_grad()
def exact(model, hidden):
    product = hidden.double() @ model.head.weight.double().T
    return product if model.head.bias is None else product + model.head.bias.double()


@torch.no_grad()
def test_a_difference_that_bfloat16_rounds_away_decides():
    weight = torch.zeros(5, 2).bfloat16()
    weight[1], weight[3] = torch.tensor([32.0, 0.0]), torch.tensor([32.0, 1.0])
    hidden = torch.tensor([[1.0, 2**-4]]).bfloat16()
    model = Model(weight)
    assert model.head(hidden).argmax() == 1, "32 and 32.0625 are the same in bfloat16"
    chosen, finite, tied = most_likely(model, hidden)
    assert (chosen.tolist(), finite.tolist(), tied.tolist()) == ([3], [True], [False])


@pytest.mark.parametrize("size", [20, 5000])
@pytest.mark.parametrize("bias", [False, True])
@torch.no_grad()
def test_the_ids_are_those_of_the_exact_product(size, bias):
    model = Model(drawn(size, 48), drawn(1, size, seed=2)[0] if bias else None)
    hidden = drawn(40, 48, seed=1, scale=4)
    chosen, finite, tied = most_likely(model, hidden)
    assert torch.equal(chosen, exact(model, hidden).argmax(dim=1))
    assert finite.all() and not tied.any()


@torch.no_grad()
def test_many_tokens_within_rounding_of_the_largest_are_all_compared():
    weight = torch.ones(400, 8).bfloat16()
    weight[:, 0] = (torch.arange(400) % 350 / 8192).bfloat16()
    model, hidden = Model(weight), torch.full((2, 8), 4.0).bfloat16()
    expected = exact(model, hidden)
    assert (model.head(hidden)[0] == model.head(hidden)[0].max()).sum() > 32
    chosen, _, tied = most_likely(model, hidden)
    assert torch.equal(chosen, expected.argmax(dim=1))
    assert torch.equal(tied, (expected == expected.max(dim=1, keepdim=True).values).sum(dim=1) > 1)


@torch.no_grad()
def test_equal_logits_are_a_tie_of_which_the_lowest_id_wins():
    weight = drawn(50, 8)
    weight[[31, 7, 40]] = 9 * torch.ones(8).bfloat16()
    chosen, _, tied = most_likely(Model(weight), torch.ones(1, 8).bfloat16())
    assert (chosen.tolist(), tied.tolist()) == ([7], [True])
    chosen, _, tied = most_likely(Model(weight.float()), torch.ones(1, 8))
    assert (chosen.tolist(), tied.tolist()) == ([7], [True])


@torch.no_grad()
def test_a_state_that_is_not_finite_is_told():
    hidden = torch.ones(3, 8).bfloat16()
    hidden[1, 2] = torch.nan
    assert most_likely(Model(drawn(50, 8)), hidden)[1].tolist() == [True, False, True]


@torch.no_grad()
def test_logits_are_float32_products_with_the_models_scaling():
    model, hidden = Model(drawn(3000, 32), logits_scaling=4.0, final_logit_softcapping=5.0), drawn(3, 32, seed=1)
    expected = 5 * (exact(model, hidden) / 4 / 5).tanh()
    found = precise_logits(model, hidden)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
