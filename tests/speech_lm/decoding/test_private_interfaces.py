"""What is used of torch and transformers beyond their documented interfaces: each in one file, checked here."""

import pytest
import torch
from torch import nn
from transformers.cache_utils import DynamicCache

from tests.speech_lm.decoding.packed_dtypes import PACKED_DTYPES
from workflow_scripts.speech_lm.decoding import packed_linears
from workflow_scripts.speech_lm.decoding.cache_argument import with_cache


@pytest.mark.parametrize("dtype", PACKED_DTYPES)
def test_onednns_packing_operators_exist_in_this_torch_and_are_right(dtype):
    """`packed_linears` goes on without them, several times slower."""
    for name in ("_reorder_linear_weight", "_linear_pointwise"):
        assert hasattr(torch.ops.mkldnn, name), f"torch {torch.__version__} has no mkldnn.{name}: see packed_linears"
    packed_linears._operators_work.cache_clear()
    assert packed_linears._operators_work(dtype), f"torch {torch.__version__} packs {dtype} otherwise: packed_linears"


def test_the_name_of_a_models_attention_can_be_read_and_set(llama):
    decoder = llama.decoder
    assert decoder.config._attn_implementation == "sdpa", "transformers names it otherwise: see grouped_cache"
    try:
        decoder.set_attn_implementation("eager")
        assert {layer.self_attn.config._attn_implementation for layer in decoder.layers} == {"eager"}
    finally:
        decoder.set_attn_implementation("sdpa")


class New(nn.Module):
    def forward(self, inputs_embeds, cache=None, use_cache=None): ...


class Old(nn.Module):
    def forward(self, inputs_embeds, past_key_values=None, use_cache=None): ...


class Open(nn.Module):
    def forward(self, inputs_embeds, **kwargs): ...


@pytest.mark.parametrize(("kind", "name"), [(New, "cache"), (Old, "past_key_values"), (Open, "past_key_values")])
def test_a_decoder_gets_its_cache_by_the_name_that_its_forward_has(kind, name):
    kept = DynamicCache()
    assert with_cache(kind(), kept) == {name: kept, "use_cache": True}
