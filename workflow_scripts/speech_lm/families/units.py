"""Language models whose vocabulary holds speech: audio becomes unit tokens in the place of the written query."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from workflow_scripts.speech_lm.families.base import DecoderSpeechLM
from workflow_scripts.speech_lm.families.chat import ChatTemplate, PlainPrompt
from workflow_scripts.speech_lm.families.speech_units import load_quantizer
from workflow_scripts.speech_lm.opening.folder_checks import import_class
from workflow_scripts.speech_lm.protocol import SAMPLE_RATE, ModelFolders, Query, Speech, SpeechLMError
from workflow_scripts.speech_lm.trainable.checkpoint import load_backbone
from workflow_scripts.speech_lm.transformers_folder import load_tokenizer


class Quantizer(Protocol):
    """Waveform -> units. `rate`: units per second of audio, before repeats are merged."""

    rate: float

    def __call__(self, waveform: np.ndarray) -> np.ndarray:
        """(samples,) float32 at 16 kHz -> (n,) int64 units in order of time."""
        ...


class UnitsSpeechLM(DecoderSpeechLM):
    """A causal LM with unit tokens as a `SpeechLM`.

    Args:
        quantizer: gives the units of a waveform.
        unit_token: text of a unit's token with {} for its number. begin, end: text around the units.
        prompt: prompt with {query}; None for the tokenizer's chat template.
        merge_repeats: one token for a run of equal units; its label is the start of the run.

    The span of a spoken query is its units; answers are decoded without units (GLM-4-Voice mixes them in).
    Raises SpeechLMError if a unit, `begin` or `end` is no single known token.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        quantizer: Quantizer,
        *,
        unit_token: str,
        begin: str = "",
        end: str = "",
        prompt: str | None = None,
        system_prompt: str | None = None,
        merge_repeats: bool = True,
        max_seconds: float | None = None,
        name: str = "model",
    ) -> None:
        super().__init__(name, model, tokenizer)
        self.quantizer, self.unit_token, self.merge_repeats = quantizer, unit_token, merge_repeats
        self.max_seconds = max_seconds
        if prompt is not None and system_prompt is not None:
            raise SpeechLMError(f"{name}: system_prompt does not go with a prompt of one's own; write it into `prompt`")
        if prompt is not None:
            self.template: Any = PlainPrompt(tokenizer, prompt, name)
        else:
            self.template = ChatTemplate(tokenizer, system_prompt=system_prompt, model_name=name)
        self.begin, self.end = ([self._known(text)] if text else [] for text in (begin, end))
        pattern = re.compile(re.escape(unit_token).replace(r"\{\}", r"(\d+)"))
        vocabulary = tokenizer.get_vocab()
        self.unit_ids = {int(m[1]): i for token, i in vocabulary.items() if (m := pattern.fullmatch(token))}
        if not self.unit_ids:
            raise SpeechLMError(
                f"{name}: the vocabulary has no token like {unit_token.format(0)!r}; correct unit_token"
            )

    def encode_speech(self, speech: Speech) -> Query:
        """The same prompt with begin, units and end in the query's place; the span is the units."""
        if speech.waveform is None:
            raise ValueError(f"{self.name}: this model encodes audio itself; give Speech.waveform, not features")
        if speech.rate != SAMPLE_RATE:
            raise ValueError(
                f"{self.name}: the clip has {speech.rate} samples per second, the model takes {SAMPLE_RATE}; "
                "resample it"
            )
        if self.max_seconds is not None and speech.seconds > self.max_seconds:
            raise ValueError(
                f"{self.name}: a clip lasts {speech.seconds:.2f} s, the model's window is {self.max_seconds:g} s; set "
                f"speech.max_seconds to at most {self.max_seconds:g} (audio is never cut silently)"
            )
        units = np.asarray(self.quantizer(speech.waveform))
        if len(units) == 0:
            raise SpeechLMError(f"{self.name}: the quantizer gave no units for {speech.seconds:.2f} s of audio")
        if unknown := sorted({int(unit) for unit in units} - self.unit_ids.keys()):
            raise SpeechLMError(
                f"{self.name}: the vocabulary has no token for units {unknown[:5]}; quantizer and model must fit "
                "together"
            )
        starts = run_starts(units) if self.merge_repeats else np.arange(len(units))
        before, after = self.template.ids
        ids = [*before, *self.begin, *(self.unit_ids[int(unit)] for unit in units[starts]), *self.end, *after]
        first = len(before) + len(self.begin)
        seconds = tuple((starts / self.quantizer.rate).tolist())
        return Query(
            inputs={"input_ids": torch.tensor([ids])},
            length=len(ids),
            span=(first, first + len(starts)),
            tokens=tuple(f"{start:.2f}s" for start in seconds),
            token_ids=None,
            char_spans=None,
            seconds=speech.seconds,
            form="speech",
            starts=seconds,
        )

    def decode_answer(self, token_ids: Sequence[int]) -> str:
        """As in the base class; units in an answer are left out of its text."""
        spoken = set(self.unit_ids.values()) | {*self.begin, *self.end}
        return super().decode_answer([i for i in token_ids if i not in spoken])

    def _known(self, text: str) -> int:
        found = self.tokenizer.convert_tokens_to_ids(text)
        if found is None or (found == self.tokenizer.unk_token_id and text != self.tokenizer.unk_token):
            raise SpeechLMError(f"{self.name}: {text!r} is no single token of the vocabulary; correct begin or end")
        return int(found)


def run_starts(units: np.ndarray) -> np.ndarray:
    """(n,) units -> (m,) places where a run of equal units begins."""
    return np.flatnonzero(np.concatenate([[True], units[1:] != units[:-1]]))


def open_units(
    folders: ModelFolders,
    entry: Mapping[str, Any],
    *,
    device: torch.device,
    dtype: torch.dtype,
    system_prompt: str | None,
) -> UnitsSpeechLM:
    """A language model of transformers with its quantizer, an asset or a user-defined class (an `Opener`)."""
    if folders.quantizer is not None:
        quantizer = load_quantizer(folders.quantizer, entry["quantizer_layer"], device)
    else:
        quantizer = import_class(entry["quantizer"], f"models.{entry['name']}.quantizer")(device=device)
    names = ("unit_token", "begin", "end", "prompt", "merge_repeats", "max_seconds")
    return UnitsSpeechLM(
        load_backbone(folders.weights, dtype=dtype, allowed=entry["allowed_tensors"]).to(device).requires_grad_(False),
        load_tokenizer(folders.weights),
        quantizer,
        name=entry["name"],
        system_prompt=system_prompt,
        **{name: entry[name] for name in names},
    )
