"""Checks of a loaded speech model of any family: what every measurement relies on, each with what was expected.

`run_checks` gives all results for a table; `check_model` stops at the first failure. They use short synthetic
clips: whether a model understands them does not matter here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.speech_lm.anatomy import causal_lm
from workflow_scripts.speech_lm.families.base import DecoderSpeechLM
from workflow_scripts.speech_lm.families.placeholder import PlaceholderSpeechLM
from workflow_scripts.speech_lm.hooks import captured_states, hook_count
from workflow_scripts.speech_lm.opening.check_decoder import check_decoder
from workflow_scripts.speech_lm.opening.prompt_frames import heard_until, shared_ends, template_confounds
from workflow_scripts.speech_lm.protocol import SAMPLE_RATE, Edit, Query, Speech, SpeechLM, SpeechLMError

logger = logging.getLogger(__name__)

TEXT = "What is the capital of France?"
SECONDS, LEAST_SECONDS = 1.2, 0.1
ULPS = 64


@dataclass(frozen=True)
class CheckResult:
    """One line of the table: the check, whether it holds, and what was found (or expected and found, if it fails)."""

    check: str
    passed: bool
    detail: str


class CheckFailed(SpeechLMError):
    """A check does not hold; the message says what was expected and found."""


def check_model(lm: SpeechLM) -> None:
    """Run every check; log the results and the confounds of the template.

    Raises:
        SpeechLMError: names the model, the first check that fails, and what was expected.
    """
    for result in _results(lm):
        logger.info("%s: %s: %s", lm.name, result.check, result.detail)
        if not result.passed:
            raise SpeechLMError(
                f"{lm.name} ({type(lm).__name__}) fails the self-check «{result.check}»: {result.detail}. Its states "
                "cannot be trusted; write an adapter class for this architecture"
            )
    for confound in confounds(lm):
        logger.warning("%s: template confound: %s", lm.name, confound)


def run_checks(lm: SpeechLM) -> list[CheckResult]:
    """Results of every check, failures included."""
    return list(_results(lm))


def confounds(lm: SpeechLM) -> list[str]:
    """In what the prompts of the two forms differ beside the query."""
    return template_confounds(lm, TEXT, clip())


def clip(seconds: float = SECONDS, seed: int = 0) -> Speech:
    """Seeded noise with a slow envelope: not silent, not speech."""
    n = round(seconds * SAMPLE_RATE)
    envelope = 0.05 + 0.05 * np.sin(np.arange(n) * 2 * np.pi * 3 / SAMPLE_RATE)
    noise = np.random.default_rng(seed).standard_normal(n)
    return Speech((envelope * noise).astype(np.float32), SAMPLE_RATE, n / SAMPLE_RATE)


def hum(seconds: float = SECONDS, volume: float = 0.005) -> Speech:
    """220 Hz: another sound than `clip` from the first sample to the last."""
    n = round(seconds * SAMPLE_RATE)
    wave = volume * np.sin(np.arange(n) * 2 * np.pi * 220 / SAMPLE_RATE)
    return Speech(wave.astype(np.float32), SAMPLE_RATE, n / SAMPLE_RATE)


def _results(lm: SpeechLM) -> Iterator[CheckResult]:
    for name, check in CHECKS.items():
        try:
            detail = check(lm)
        except CheckFailed as failure:
            yield CheckResult(name, False, str(failure))
        except Exception as failure:  # a model's own code may raise anything; every check gets its line
            yield CheckResult(name, False, f"{type(failure).__name__}: {failure}")
        else:
            if detail is not None:
                yield CheckResult(name, True, detail)


# --- the checks ------------------------------------------------------------------------------------------------


def _hook_points(lm: SpeechLM) -> str:
    states = lm.states([_spoken(lm)])[0]
    expected = (lm.n_layers + 1, len(_spoken(lm).tokens), lm.hidden_size)
    if tuple(states.shape) != expected:
        raise CheckFailed(f"expected states of shape {expected}, found {tuple(states.shape)}")
    if not bool(states.isfinite().all()):
        raise CheckFailed("expected finite states, found NaN or infinity")
    return f"{lm.n_layers} layers of width {lm.hidden_size}"


def _decoder_alone(lm: SpeechLM) -> str | None:
    if not isinstance(lm, DecoderSpeechLM):
        return None
    check_decoder(lm)
    return "hooks, layer convention, no-op edit, logits and cache on a written query"


def _own_states(lm: SpeechLM) -> str | None:
    if not isinstance(lm, PlaceholderSpeechLM):
        return None
    largest = 0.0
    for query in (_spoken(lm), lm.encode_text(TEXT)):
        states = lm.states([query])[0]
        lm.use_lora(query.form)
        with torch.no_grad():
            own = lm.model(**lm.model_inputs(query), use_cache=False, output_hidden_states=True).hidden_states
        if len(own) != lm.n_layers + 1:
            raise CheckFailed(f"expected {lm.n_layers + 1} hidden states of the model, found {len(own)}")
        # Where layers carry several streams, the final norm takes their mean, and the model's last entry is raw.
        streams = own[0].ndim == 4
        last = states[-1] if streams else lm.final_norm(states[-1].to(lm.device)).cpu()
        for index, found in enumerate([*states[:-1], last]):
            what = f"{query.form}: {'norm(states[L])' if index == lm.n_layers else f'states[{index}]'}"
            expected = own[index][0] if streams else own[index]
            largest = max(largest, _near(what, found, expected[0, slice(*query.span)].cpu(), lm))
    return f"largest relative difference {largest:.1g}"


def _no_op(lm: SpeechLM) -> str:
    query = _spoken(lm)
    states = lm.states([query])[0]
    everywhere = torch.arange(*query.span)
    edits = [Edit(layer, everywhere, states[layer]) for layer in range(lm.n_layers)]
    plain, edited = _logits(lm, query, []), _logits(lm, query, edits)
    if not torch.equal(plain, edited):
        raise CheckFailed(f"expected bit-equal logits, found a difference of {float((plain - edited).abs().max()):.3g}")
    if not torch.equal(lm.states([query], edits=[edits])[0], states):
        raise CheckFailed("expected bit-equal states under the edit")
    return "every layer at every speech position written back: bit-equal"


def _logits(lm: SpeechLM, query: Query, edits: list[Edit]) -> Tensor:
    """Logits under edits; for a model that gives none, losses of a few words."""
    found = lm.logits(query, edits)
    if found is not None:
        return found
    return torch.tensor([lm.answer_loss([query], [word], edits=[edits])[0].nll for word in TEXT.split()])


def _edit_matters(lm: SpeechLM) -> str:
    query = _spoken(lm)
    positions = torch.arange(*query.span)
    state = lm.states([query])[0]
    middle = lm.n_layers // 2
    edit = Edit(middle, positions, -state[middle])
    after = lm.states([query], edits=[[edit]])[0]
    if not torch.equal(after[:middle], state[:middle]) or torch.equal(after[middle + 1], state[middle + 1]):
        raise CheckFailed(f"expected an edit of layer {middle} to change layers {middle + 1} and later only")
    return f"an edit at layer {middle} shows from there on"


def _span_grows(lm: SpeechLM) -> str:
    short, long = (lm.encode_speech(clip(seconds)) for seconds in (SECONDS, 2 * SECONDS))
    T_short, T_long = len(short.tokens), len(long.tokens)
    if abs(T_long - 2 * T_short) > 3 + 0.1 * T_long:
        raise CheckFailed(
            f"expected about twice the positions for twice the audio, found {T_short} and {T_long}: padding is "
            "counted as speech; set positions_per_second"
        )
    T_least, expected = len(lm.encode_speech(clip(LEAST_SECONDS)).tokens), T_long * LEAST_SECONDS / (2 * SECONDS)
    if T_least > expected + 2:
        raise CheckFailed(
            f"expected about {expected:.1f} positions for {LEAST_SECONDS} s of audio, found {T_least}: short clips are "
            "padded, and the padding is counted as speech"
        )
    return f"{T_long / (2 * SECONDS):.1f} positions per second, padding trimmed"


def _span_is_what_is_heard(lm: SpeechLM) -> str:
    """Of clips that have nothing in common, the positions of the span differ, and no others.

    A model that always fills its window may hear the padding, too.
    """
    queries = [lm.encode_speech(one) for one in (clip(), clip(seed=1), hum())]
    before, behind = shared_ends(lm, queries)
    for query in queries:
        (start, end), differ = query.span, (before, query.length - behind)
        if start != differ[0] or not end <= differ[1] <= heard_until(lm, query):
            raise CheckFailed(
                f"expected clips that differ to give other embeddings at exactly the speech positions {start} .. "
                f"{end - 1}, found them at {differ[0]} .. {differ[1] - 1}: the span is not where the audio is"
            )
    return "of different clips, these positions and no others have different embeddings"


def _placeholders(lm: SpeechLM) -> str | None:
    if not isinstance(lm, PlaceholderSpeechLM):
        return None
    query = _spoken(lm)
    lm.use_lora("speech")
    lm.embed(query)
    n = int((query.inputs["input_ids"] == lm.placeholder).sum())
    return f"{n} placeholders, {n} audio embeddings, {len(query.tokens)} of them real audio"


def _text_span(lm: SpeechLM) -> str:
    query = lm.encode_text(TEXT)
    decoded = lm.tokenizer.decode(list(query.token_ids or ()), skip_special_tokens=False).strip()
    if decoded != TEXT:
        raise CheckFailed(f"expected the span to decode to {TEXT!r}, found {decoded!r}")
    return f"{len(query.tokens)} tokens decode to the prompt"


def _prefill(lm: SpeechLM) -> str:
    """What `generate` computes on the prompt equals what `states` reads: also the state of a LoRA."""
    largest = 0.0
    for query in (_spoken(lm), lm.encode_text(TEXT)):
        places = torch.arange(*query.span)
        with captured_states(lm.decoder_layers, torch.zeros_like(places), places) as found:
            lm.generate([query], max_new_tokens=1)
        read = lm.states([query])[0]
        if missing := [index for index, state in enumerate(found) if state is None]:
            raise CheckFailed(f"expected every layer to run in generate, found nothing at {missing}")
        for index, state in enumerate(found):
            what = f"{query.form}: layer {index} in generate"
            largest = max(largest, _near(what, state, read[index], lm))
        if isinstance(lm, PlaceholderSpeechLM) and lm.lora in ("speech", "always"):
            largest = max(largest, _own_generate(lm, query, places, read))
    return f"largest relative difference {largest:.1g}"


def _own_generate(lm: PlaceholderSpeechLM, query: Query, places: Tensor, read: Tensor) -> float:
    lm.use_lora(query.form)
    with torch.no_grad(), captured_states(lm.decoder_layers, torch.zeros_like(places), places) as own:
        lm.model.generate(**lm.model_inputs(query), max_new_tokens=1, do_sample=False, pad_token_id=0)
    largest = 0.0
    for index, state in enumerate(own):
        what = f"{query.form}: layer {index} in the model's own generate"
        largest = max(largest, _near(what, state, read[index], lm))
    return largest


def _batch(lm: SpeechLM) -> str:
    queries = [lm.encode_speech(clip(seconds, seed)) for seed, seconds in enumerate((SECONDS, 0.7))]
    together = lm.generate(queries, max_new_tokens=4)
    single = [lm.generate([query], max_new_tokens=4)[0] for query in queries]
    if lm.dtype != torch.float32:
        return "not compared: ties break differently outside float32"
    if [a.token_ids for a in together] != [a.token_ids for a in single]:
        raise CheckFailed(
            f"expected the same ids in a batch as alone, found {[a.token_ids for a in together]} and "
            f"{[a.token_ids for a in single]}"
        )
    return "the same ids in a batch of two as alone"


def _no_hooks_left(lm: SpeechLM) -> str:
    standing = hook_count(lm.decoder_layers)
    lm.states([_spoken(lm)])
    lm.generate([_spoken(lm)], max_new_tokens=1)
    if (found := hook_count(lm.decoder_layers)) != standing:
        raise CheckFailed(f"expected {standing} hooks after measuring, found {found}")
    return "none"


CHECKS: dict[str, Callable[[Any], str | None]] = {
    "hook points": _hook_points,
    "decoder on its own": _decoder_alone,
    "states equal the model's own": _own_states,
    "a no-op edit changes nothing": _no_op,
    "an edit acts from its layer on": _edit_matters,
    "placeholders and audio embeddings": _placeholders,
    "speech span and padding": _span_grows,
    "speech span is what differs between clips": _span_is_what_is_heard,
    "text span": _text_span,
    "generate sees what is read": _prefill,
    "batched and single answers": _batch,
    "hooks left behind": _no_hooks_left,
}


def _spoken(lm: SpeechLM) -> Query:
    return lm.encode_speech(clip())


def _near(what: str, found: Tensor, expected: Tensor, lm: SpeechLM) -> float:
    """Relative difference ||a - b|| / ||b||; CheckFailed above what rounding explains."""
    if found.shape != expected.shape:
        raise CheckFailed(f"{what}: expected shape {tuple(expected.shape)}, found {tuple(found.shape)}")
    difference = float((found.float() - expected.float()).norm() / expected.float().norm().clamp_min(1e-12))
    allowed = ULPS * torch.finfo(lm.dtype).eps
    if not difference <= allowed:
        raise CheckFailed(f"{what}: expected a relative difference of at most {allowed:.1g}, found {difference:.3g}")
    return difference


def architecture(lm: SpeechLM) -> str:
    """Class of the transformers model behind it, for reports."""
    return type(causal_lm(lm.model)).__name__ if hasattr(lm, "model") else type(lm).__name__
