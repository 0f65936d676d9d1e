"""Does a model do what the measurements rely on? Run once after loading, on one short written query."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from workflow_scripts.speech_lm.anatomy import causal_lm, vocabulary_logits
from workflow_scripts.speech_lm.architectures import missing_divisor
from workflow_scripts.speech_lm.decoding.batching import padded_width
from workflow_scripts.speech_lm.decoding.greedy import greedy
from workflow_scripts.speech_lm.families.base import DecoderSpeechLM
from workflow_scripts.speech_lm.hooks import captured_states, edited_inputs, hook_count
from workflow_scripts.speech_lm.protocol import Edit, SpeechLMError


@torch.no_grad()
def check_decoder(lm: DecoderSpeechLM, text: str = "What is the capital of France?") -> None:
    """Check hooks, layer convention, vocabulary product and cache of a loaded model.

    - every decoder layer's input and the last one's output are captured;
    - `states[l]` equals the model's own `hidden_states[l]` for l < L, and the final norm of `states[L]` its last entry;
    - our logits equal the model's; an edit that writes back what is there leaves them bit-equal;
    - decoding with the cache chooses the token that a pass without cache finds most likely (or ties with, to rounding);
    - no hook is left behind.

    Raises SpeechLMError naming the model, the check and what was expected.
    """
    before = hook_count(lm.decoder_layers)
    query = lm.encode_text(text)
    # One padded shape for all passes, as in measurements: kernels are prepared once per shape.
    embeds = torch.zeros((1, padded_width(query.length), lm.hidden_size), device=lm.device, dtype=lm.dtype)
    embeds[0, : query.length] = lm.embed(query)
    everywhere = torch.arange(embeds.shape[1])
    own = causal_lm(lm.model)(inputs_embeds=embeds, use_cache=False, output_hidden_states=True)
    # transformers keeps its own recording hooks on the layers after the first call with output_hidden_states.
    standing = hook_count(lm.decoder_layers)

    rows = torch.zeros_like(everywhere)
    with captured_states(lm.decoder_layers, rows, everywhere) as states:
        plain = lm.decoder(inputs_embeds=embeds, use_cache=False).last_hidden_state
    missing = [index for index, state in enumerate(states) if state is None]
    if missing or len(states) != lm.n_layers + 1:
        raise _failed(lm, "hook count", f"{lm.n_layers + 1} captured states", f"nothing at {missing}")
    for index in range(lm.n_layers):
        _same(lm, f"states[{index}] is the input of layer {index}", states[index], own.hidden_states[index][0].cpu())
    normed = lm.final_norm(states[-1].to(lm.device)).cpu()
    _same(lm, "norm(states[L]) is hidden_states[L]", normed, own.hidden_states[-1][0].cpu())

    logits = vocabulary_logits(lm.model, plain)
    _close(
        lm, "vocabulary logits equal the model's own", logits, own.logits / missing_divisor(causal_lm(lm.model).config)
    )
    edits = [[Edit(index, everywhere, states[index]) for index in range(lm.n_layers)]]
    with edited_inputs(lm.decoder_layers, edits):
        edited = lm.decoder(inputs_embeds=embeds, use_cache=False).last_hidden_state
    _same(lm, "a no-op edit at every layer leaves the logits bit-equal", vocabulary_logits(lm.model, edited), logits)

    _check_cache(lm, embeds, query.length)
    if hook_count(lm.decoder_layers) != standing:
        raise _failed(
            lm, "no hooks left behind", f"{standing} hooks ({before} at start)", str(hook_count(lm.decoder_layers))
        )


def _check_cache(lm: DecoderSpeechLM, embeds: Tensor, length: int) -> None:
    """Two cached steps of two rows of different length against one pass over prompt and answer."""
    starts, n_new = (length, length - 1), 3
    decoded = greedy(lm.model, embeds.repeat(2, 1, 1), starts, max_new_tokens=n_new, stop_ids=())
    ids = torch.tensor([row.token_ids for row in decoded], device=lm.device)
    whole = nn.functional.pad(embeds, (0, 0, 0, 16)).repeat(2, 1, 1)
    for row, start in enumerate(starts):
        whole[row, start : start + n_new] = causal_lm(lm.model).get_input_embeddings()(ids[row])
    hidden = lm.decoder(inputs_embeds=whole, use_cache=False).last_hidden_state
    hidden = torch.stack([hidden[row, start - 1 : start - 1 + n_new] for row, start in enumerate(starts)])
    logits = vocabulary_logits(lm.model, hidden).float()
    shortfall = float((logits.max(dim=-1).values - logits.gather(2, ids[..., None])[..., 0]).max())
    allowed = _tolerance(logits, lm.dtype)
    if shortfall > allowed:
        raise _failed(
            lm,
            "cached decoding chooses the most likely token",
            f"logits within {allowed:.2g} of the largest",
            f"{shortfall:.2g} below",
        )


def _tolerance(logits: Tensor, dtype: torch.dtype) -> float:
    """Rounding that may build up through the layers: 16 units in the last place of the largest logit."""
    return 16 * torch.finfo(dtype).eps * max(1.0, float(logits.abs().max()))


def _same(lm: DecoderSpeechLM, check: str, found: Tensor, expected: Tensor) -> None:
    if not torch.equal(found, expected):
        gap = float((found.float() - expected.float()).abs().max()) if found.shape == expected.shape else float("nan")
        raise _failed(lm, check, "bit-equal tensors", f"largest difference {gap:.3g}")


def _close(lm: DecoderSpeechLM, check: str, found: Tensor, expected: Tensor) -> None:
    allowed = _tolerance(expected.float(), lm.dtype)
    gap = float((found.float() - expected.float()).abs().max())
    if not gap <= allowed:
        raise _failed(lm, check, f"a difference of at most {allowed:.2g}", f"{gap:.3g}")


def _failed(lm: DecoderSpeechLM, check: str, expected: str, found: str) -> SpeechLMError:
    return SpeechLMError(
        f"{lm.name} ({type(causal_lm(lm.model)).__name__}) fails the self-check «{check}»: expected {expected}, found "
        f"{found}. Its states cannot be trusted; write an adapter class for this architecture"
    )
