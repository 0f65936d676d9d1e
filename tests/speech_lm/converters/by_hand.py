"""Forward passes written from the architectures' descriptions, in plain torch functions on published tensor names.

Nothing here comes from transformers: converters are compared with it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear, scaled_dot_product_attention, silu


@dataclass(frozen=True)
class Sizes:
    """Of a Llama or a ChatGLM."""

    width: int = 32
    heads: int = 4
    key_heads: int = 2
    layers: int = 2
    inner: int = 48
    vocabulary: int = 320
    theta: float = 10_000.0
    eps: float = 1e-5

    @property
    def head(self) -> int:
        return self.width // self.heads


def llama_weights(sizes: Sizes, seed: int = 5) -> dict[str, Tensor]:
    """Random tensors by the names of a Llama."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {name: (sizes.vocabulary, sizes.width) for name in ("model.embed_tokens.weight", "lm_head.weight")}
    for layer in range(sizes.layers):
        at = f"model.layers.{layer}"
        shapes |= {
            f"{at}.self_attn.q_proj.weight": (sizes.width, sizes.width),
            f"{at}.self_attn.k_proj.weight": (sizes.key_heads * sizes.head, sizes.width),
            f"{at}.self_attn.v_proj.weight": (sizes.key_heads * sizes.head, sizes.width),
            f"{at}.self_attn.o_proj.weight": (sizes.width, sizes.width),
            f"{at}.mlp.gate_proj.weight": (sizes.inner, sizes.width),
            f"{at}.mlp.up_proj.weight": (sizes.inner, sizes.width),
            f"{at}.mlp.down_proj.weight": (sizes.width, sizes.inner),
        }
    tensors = {name: 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    norms = [
        f"model.layers.{k}.{name}.weight"
        for k in range(sizes.layers)
        for name in ("input_layernorm", "post_attention_layernorm")
    ]
    return tensors | {
        name: 1 + 0.1 * torch.randn(sizes.width, generator=generator) for name in (*norms, "model.norm.weight")
    }


def llama_config(sizes: Sizes) -> dict[str, object]:
    """What its config.json says."""
    return {
        "vocab_size": sizes.vocabulary,
        "hidden_size": sizes.width,
        "intermediate_size": sizes.inner,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.key_heads,
        "max_position_embeddings": 256,
        "rms_norm_eps": sizes.eps,
        "rope_theta": sizes.theta,
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    }


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return weight * x * (x.pow(2).mean(dim=-1, keepdim=True) + eps).rsqrt()


def angles(positions: int, pairs: int, theta: float) -> Tensor:
    """(T, pairs) rotation of each position and pair of coordinates."""
    return torch.arange(positions)[:, None] / theta ** (torch.arange(pairs) / pairs)


def rotate_halves(x: Tensor, theta: float) -> Tensor:
    """Llama's rotary embedding of (heads, T, head): the two halves of a head are the coordinates of its pairs."""
    half = x.shape[-1] // 2
    angle = angles(x.shape[1], half, theta)
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()], -1)


def rotate_neighbours(x: Tensor, theta: float) -> Tensor:
    """ChatGLM's, on the first half of a head: neighbouring numbers are a pair; the second half stays as it is."""
    turned, rest = x.chunk(2, dim=-1)
    angle = angles(x.shape[1], turned.shape[-1] // 2, theta)
    first, second = turned[..., 0::2], turned[..., 1::2]
    pairs = torch.stack(
        [first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()], dim=-1
    )
    return torch.cat([pairs.flatten(-2), rest], dim=-1)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of (heads, T, head) with fewer keys than queries -> (T, heads * head)."""
    groups = q.shape[0] // k.shape[0]
    k, v = (part.repeat_interleave(groups, dim=0) for part in (k, v))
    attended = scaled_dot_product_attention(q, k, v, is_causal=True)
    return attended.transpose(0, 1).flatten(1)


def llama(w: Mapping[str, Tensor], x: Tensor, sizes: Sizes) -> tuple[list[Tensor], Tensor]:
    """(T, d) embeddings -> layer inputs and the last output, logits."""
    states = [x]
    for layer in range(sizes.layers):
        at = f"model.layers.{layer}"
        h = rms_norm(x, w[f"{at}.input_layernorm.weight"], sizes.eps)
        q, k, v = (linear(h, w[f"{at}.self_attn.{name}_proj.weight"]) for name in "qkv")
        q, k, v = (part.view(len(x), -1, sizes.head).transpose(0, 1) for part in (q, k, v))
        attended = attend(rotate_halves(q, sizes.theta), rotate_halves(k, sizes.theta), v)
        x = x + linear(attended, w[f"{at}.self_attn.o_proj.weight"])
        h = rms_norm(x, w[f"{at}.post_attention_layernorm.weight"], sizes.eps)
        gate, up = (linear(h, w[f"{at}.mlp.{name}_proj.weight"]) for name in ("gate", "up"))
        x = x + linear(silu(gate) * up, w[f"{at}.mlp.down_proj.weight"])
        states.append(x)
    return states, linear(rms_norm(x, w["model.norm.weight"], sizes.eps), w["lm_head.weight"])


def chatglm(w: Mapping[str, Tensor], x: Tensor, sizes: Sizes) -> tuple[list[Tensor], Tensor]:
    """The same for a ChatGLM: one matrix for queries, keys and values, one for gate and input of the MLP."""
    states = [x]
    for layer in range(sizes.layers):
        at = f"transformer.encoder.layers.{layer}"
        h = rms_norm(x, w[f"{at}.input_layernorm.weight"], sizes.eps)
        stacked = linear(
            h, w[f"{at}.self_attention.query_key_value.weight"], w[f"{at}.self_attention.query_key_value.bias"]
        )
        cut = [sizes.heads * sizes.head, *[sizes.key_heads * sizes.head] * 2]
        q, k, v = (part.reshape(len(x), -1, sizes.head).transpose(0, 1) for part in stacked.split(cut, dim=-1))
        attended = attend(rotate_neighbours(q, sizes.theta), rotate_neighbours(k, sizes.theta), v)
        x = x + linear(attended, w[f"{at}.self_attention.dense.weight"])
        h = rms_norm(x, w[f"{at}.post_attention_layernorm.weight"], sizes.eps)
        gate, up = linear(h, w[f"{at}.mlp.dense_h_to_4h.weight"]).chunk(2, dim=-1)
        x = x + linear(silu(gate) * up, w[f"{at}.mlp.dense_4h_to_h.weight"])
        states.append(x)
    final = rms_norm(x, w["transformer.encoder.final_layernorm.weight"], sizes.eps)
    return states, linear(final, w["transformer.output_layer.weight"])


def bidirectional(w: Mapping[str, Tensor], at: str, x: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """Self-attention of (T, d) with the maps `at`.{q,k,v,out}_proj; a bias that is not there is zero."""
    q, k, v = (linear(x, w[f"{at}.{name}_proj.weight"], w.get(f"{at}.{name}_proj.bias")) for name in "qkv")
    q, k, v = (part.view(len(x), heads, -1).transpose(0, 1) for part in (q, k, v))
    scores = q @ k.transpose(1, 2) / q.shape[-1] ** 0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    mixed = (scores.softmax(dim=-1) @ v).transpose(0, 1).flatten(1)
    return linear(mixed, w[f"{at}.out_proj.weight"], w[f"{at}.out_proj.bias"])


def norm_of(w: Mapping[str, Tensor], at: str, x: Tensor) -> Tensor:
    return layer_norm(x, (x.shape[-1],), w[f"{at}.weight"], w[f"{at}.bias"])


def feed_forward(w: Mapping[str, Tensor], at: str, x: Tensor) -> Tensor:
    """fc2(gelu(fc1 x))."""
    hidden = gelu(linear(x, w[f"{at}.fc1.weight"], w[f"{at}.fc1.bias"]))
    return linear(hidden, w[f"{at}.fc2.weight"], w[f"{at}.fc2.bias"])


def assert_computes(lm: Any, query: Any, states: Sequence[Tensor], logits: Tensor) -> None:
    """The model's states of every layer on the query's span and its first answer token are those found by hand.

    states: (T, d) per layer 0..L; logits: (T, vocabulary).
    """
    (found,) = lm.states([query])
    assert len(found) == len(states)
    for layer, expected in enumerate(states):
        torch.testing.assert_close(found[layer], expected[slice(*query.span)], rtol=1e-4, atol=1e-4)
    assert lm.generate([query], max_new_tokens=1, stop_ids=[])[0].token_ids == (int(logits[-1].argmax()),)
