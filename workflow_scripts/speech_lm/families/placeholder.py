"""Models with a processor: audio embeddings take the place of placeholder ids inside the model.

Prompts, placeholders and the state of a LoRA; how passes are run is left to `hf.HfSpeechLM` and
`whole_model.WholeModelSpeechLM`.
"""

from __future__ import annotations

import math
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from scipy.signal import resample_poly
from torch import Tensor, nn

from workflow_scripts.speech_lm.architectures import ALWAYS_PADDED, SPEECH_LORA, active_stream, audio_token_id
from workflow_scripts.speech_lm.families.audio_prompts import AudioPrompts
from workflow_scripts.speech_lm.families.hf_folder import window_seconds
from workflow_scripts.speech_lm.families.merging import merged_embeddings
from workflow_scripts.speech_lm.families.transformers_lm import TransformersSpeechLM, end_ids
from workflow_scripts.speech_lm.protocol import SAMPLE_RATE, Query, Speech, SpeechLMError

LORA_USES = ("auto", "always", "speech", "never")


class PlaceholderSpeechLM(TransformersSpeechLM):
    """A transformers model with a processor.

    Args:
        template, system_prompt: see `AudioPrompts`.
        audio_token: text of one placeholder, where the processor does not name it.
        positions_per_second: for models that always fill the whole window: only the positions of the real audio are
            the query's. Known for Voxtral and Gemma 3n; otherwise None, every placeholder is real.
        max_seconds: longest clip; default: the feature extractor's window.
        lora: when a LoRA of the model is on: `auto` as the model was trained (Granite and Phi: for spoken queries
            only), `always`, `speech` or `never`. Reading, editing and answering then see the same state.
    """

    def __init__(
        self,
        model: nn.Module,
        processor: Any,
        *,
        name: str = "model",
        template: str = "native",
        system_prompt: str | None = None,
        audio_token: str | None = None,
        positions_per_second: float | None = None,
        max_seconds: float | None = None,
        lora: str = "auto",
    ) -> None:
        super().__init__(name, model, processor.tokenizer)
        self.processor = processor
        self.template = AudioPrompts(
            processor, template=template, system_prompt=system_prompt, audio_token=audio_token, model_name=name
        )
        kind = model.config.model_type
        if active_stream(model.config) != 0:
            raise SpeechLMError(
                f"{name}: its layers read stream {active_stream(model.config)} of several, only 0 is supported; write "
                "an adapter class"
            )
        placeholder = audio_token_id(model.config)
        named = self.tokenizer.convert_tokens_to_ids(self.template.audio_token)
        self.placeholder = int(named if placeholder is None else placeholder)
        if named != self.placeholder:
            raise SpeechLMError(
                f"{name}: the processor's placeholder {self.template.audio_token!r} has id {named}, the model's config "
                f"says {self.placeholder}; processor and weights must be of the same model and revision"
            )
        extractor = getattr(processor, "feature_extractor", None)
        self.sampling_rate = int(getattr(extractor, "sampling_rate", SAMPLE_RATE))
        self.rate = positions_per_second or ALWAYS_PADDED.get(kind)
        self.max_seconds = max_seconds or window_seconds(processor)
        if lora not in LORA_USES:
            raise SpeechLMError(f"{name}: lora is {lora!r}; choose one of {', '.join(LORA_USES)}")
        self.lora = ("speech" if kind in SPEECH_LORA else "always") if lora == "auto" else lora
        self._merged: WeakKeyDictionary[Query, Tensor] = WeakKeyDictionary()

    # --- queries -----------------------------------------------------------------------------------------------

    def encode_speech(self, speech: Speech) -> Query:
        """The template with the audio's placeholders; the span is the placeholders of the real audio.

        The audio is resampled to what the model's feature extractor takes (24 kHz for Apertus 1.5).
        Raises ValueError for another sample rate and audio that is missing, longer than the window or not finite;
        SpeechLMError if the placeholders are not one block.
        """
        return self._spoken(speech, padded=False)

    def encode_padded(self, speech: Speech) -> Query | None:
        """The same query with all placeholders as its span, for models that always fill the window; else None."""
        return None if self.rate is None else self._spoken(speech, padded=True)

    def _spoken(self, speech: Speech, padded: bool) -> Query:
        waveform = self._checked(speech)
        common = math.gcd(self.sampling_rate, SAMPLE_RATE)
        waveform = resample_poly(waveform, self.sampling_rate // common, SAMPLE_RATE // common)
        inputs = self.processor(
            text=[self.template.spoken],
            audio=[waveform],
            sampling_rate=self.sampling_rate,
            return_tensors="pt",
            add_special_tokens=False,
        )
        inputs = {name: value for name, value in dict(inputs).items() if isinstance(value, Tensor)}
        start, n = self._block(inputs["input_ids"][0], speech)
        rate = self._rate(n, waveform.size)
        real = n if rate is None or padded else min(n, math.ceil(round(rate * speech.seconds, 6)))
        step = speech.seconds / n if rate is None else 1 / rate
        return Query(
            inputs=inputs,
            length=inputs["input_ids"].shape[1],
            span=(start, start + real),
            tokens=tuple(f"{position * step:.2f}s" for position in range(real)),
            token_ids=None,
            char_spans=None,
            seconds=speech.seconds,
            form="speech",
        )

    def _rate(self, n: int, samples: int) -> float | None:
        """Positions per second where padding gets some of the n positions, else None.

        Qwen3-ASR pads clips of less than half a second to it (`min_length` samples).
        """
        least = getattr(getattr(self.processor, "feature_extractor", None), "min_length", None) or 0
        return n * self.sampling_rate / least if self.rate is None and samples < least else self.rate

    def _checked(self, speech: Speech) -> np.ndarray:
        if speech.waveform is None:
            raise ValueError(f"{self.name}: this model encodes audio itself; give Speech.waveform, not features")
        if speech.rate != SAMPLE_RATE:
            raise ValueError(
                f"{self.name}: the clip has {speech.rate} samples per second, the model takes {SAMPLE_RATE}; resample "
                "it first"
            )
        waveform = np.asarray(speech.waveform, dtype=np.float32)
        if waveform.ndim != 1 or waveform.size == 0 or not np.isfinite(waveform).all():
            raise ValueError(f"{self.name}: a clip must be mono, finite and not empty, found {waveform.shape}")
        seconds = waveform.size / SAMPLE_RATE
        if self.max_seconds is not None and seconds > self.max_seconds:
            raise ValueError(
                f"{self.name}: a clip lasts {seconds:.2f} s, the model's window is {self.max_seconds:g} s; set "
                f"speech.max_seconds to at most {self.max_seconds:g} (audio is never cut silently)"
            )
        return waveform

    def _block(self, ids: Tensor, speech: Speech) -> tuple[int, int]:
        """Start and number of the placeholders, which must be one block."""
        places = (ids == self.placeholder).nonzero()[:, 0]
        clip = f"{self.name}: the clip of {speech.seconds:.2f} s"
        if len(places) == 0:
            raise SpeechLMError(
                f"{clip} has no placeholder {self.template.audio_token!r} in its prompt; check template"
            )
        if int(places[-1] - places[0]) + 1 != len(places):
            raise SpeechLMError(f"{clip} has {len(places)} placeholders that are not one block; write an adapter class")
        return int(places[0]), len(places)

    # --- passes ------------------------------------------------------------------------------------------------

    @property
    def stop_ids(self) -> frozenset[int]:
        """Ids that end an answer; a whole-model config may name them in its text part only."""
        return super().stop_ids | frozenset(end_ids(self.model.config.get_text_config()))

    def model_inputs(self, query: Query) -> dict[str, Tensor]:
        """A query's inputs on the model's device, floating point in its number format."""
        inputs = dict(query.inputs)
        if query.form == "text":
            # `generate` would take template tokens that equal the pad token for padding.
            inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        return {
            name: value.to(self.device, self.dtype if value.is_floating_point() else None)
            for name, value in inputs.items()
        }

    def embed(self, query: Query) -> Tensor:
        """(T, d) input embeddings on the model's device; a spoken query's are kept as long as the query is."""
        if query.form == "text":
            return super().embed(query)
        if query not in self._merged:
            what = f"{self.name}: the clip of {query.seconds:.2f} s"
            self._merged[query] = merged_embeddings(
                self.model, self.decoder, self.model_inputs(query), self.placeholder, what
            ).to(self.dtype)
        return self._merged[query]

    @property
    def has_lora(self) -> bool:
        """Whether a LoRA is loaded into the model."""
        return any(isinstance(module, BaseTunerLayer) for module in self.model.modules())

    def use_lora(self, form: str) -> None:
        """Switch a LoRA of the model on or off for queries of this form; without LoRA nothing happens."""
        enabled = self.lora == "always" or (self.lora == "speech" and form == "speech")
        for module in self.model.modules():
            if isinstance(module, BaseTunerLayer):
                module.enable_adapters(enabled)
