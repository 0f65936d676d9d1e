"""Prompts of a model with a processor: the chat template around a written query and around an audio placeholder.

Native templates differ between the two forms (system prompts, 'Audio 1: ', begin and end tokens of the audio), which
confounds their comparison (`opening.prompt_frames` lists how). `native` keeps what the model was trained with;
`matched` puts the audio, between its begin and end tokens, where the text of the written query stands.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

from workflow_scripts.speech_lm.families.chat import SLOT, WrittenQuery, around_slot, query_of, render_chat
from workflow_scripts.speech_lm.protocol import SpeechLMError

TEMPLATES = ("native", "matched")
_OTHERS = ("Q9 q", "zx%")
"""Queries that are compared with a query where the tokenizer gives no offsets: different first and last characters."""


class AudioPrompts:
    """Renders prompts of one processor.

    audio_token: the placeholder's text; default: the processor's `audio_token`.

    Raises:
        SpeechLMError: there is no chat template, or it shows the query or the audio not exactly once.
    """

    def __init__(
        self,
        processor: Any,
        *,
        template: str = "native",
        system_prompt: str | None = None,
        audio_token: str | None = None,
        model_name: str = "model",
    ) -> None:
        if template not in TEMPLATES:
            raise SpeechLMError(f"{model_name}: template {template!r} is unknown; choose {' or '.join(TEMPLATES)}")
        self.processor, self.tokenizer = processor, processor.tokenizer
        self.template, self.system_prompt, self.model_name = template, system_prompt, model_name
        self.audio_token = audio_token or getattr(processor, "audio_token", None)
        if self.audio_token is None:
            raise SpeechLMError(
                f"{model_name}: {type(processor).__name__} names no audio token; set audio_token to the text "
                "of one placeholder"
            )
        if self._renderer is None:
            raise SpeechLMError(
                f"{model_name}: neither processor nor tokenizer has a chat template; use an instruction-tuned model, "
                "or put a chat_template.jinja into the model's folder"
            )

    # --- rendering ---------------------------------------------------------------------------------------------

    @property
    def _renderer(self) -> Any:
        return next((one for one in (self.processor, self.tokenizer) if getattr(one, "chat_template", None)), None)

    def _render(self, content: Any) -> str:
        return render_chat(self._renderer, content, self.system_prompt, self.model_name)

    @cached_property
    def _in_parts(self) -> bool:
        """Whether the template takes content in parts; else (Granite, Phi) the placeholder stands in plain text."""
        try:
            rendered = self._render([{"type": "audio", "audio": "clip"}])
        except SpeechLMError:
            return False
        return rendered.count(self.audio_token) == 1 and "'type'" not in rendered

    def _content(self, text: str | None) -> Any:
        """Message content with a text, or with the audio for None."""
        if not self._in_parts:
            return self.audio_token if text is None else text
        return [{"type": "audio", "audio": "clip"} if text is None else {"type": "text", "text": text}]

    @cached_property
    def frame(self) -> tuple[str, str]:
        """What the template puts before and after a written query."""
        return around_slot(self._render(self._content(SLOT)), self.model_name)

    @cached_property
    def _native_spoken(self) -> str:
        rendered = self._render(self._content(None))
        if (n := rendered.count(self.audio_token)) != 1:
            raise SpeechLMError(
                f"{self.model_name}: the chat template shows the audio placeholder {self.audio_token!r} {n} times, not "
                "once; is this the template of a speech model? Set audio_token if the placeholder is another"
            )
        return rendered

    @cached_property
    def _audio_ends(self) -> tuple[str, str]:
        """Special tokens directly around the placeholder that the written query's frame does not have."""
        before, after = self._native_spoken.split(self.audio_token)
        special = sorted(map(re.escape, _special_tokens(self.tokenizer)), key=len, reverse=True)
        if not special:
            return "", ""
        run = f"(?:{'|'.join(special)})"
        prefix, suffix = self.frame
        begin, frame_begin = (self._pieces(re.search(f"({run}*)$", text)[1]) for text in (before, prefix))
        end, frame_end = (self._pieces(re.match(f"({run}*)", text)[1]) for text in (after, suffix))
        # What the written frame has at the same place belongs to the frame.
        n_end = len(end) - _shared(end[::-1], frame_end[::-1])
        return "".join(begin[_shared(begin, frame_begin) :]), "".join(end[:n_end])

    @cached_property
    def spoken(self) -> str:
        """The prompt of a spoken query with one placeholder."""
        if self.template == "native":
            return self._native_spoken
        (prefix, suffix), (begin, end) = self.frame, self._audio_ends
        return prefix + begin + self.audio_token + end + suffix

    # --- written queries ---------------------------------------------------------------------------------------

    def write(self, text: str) -> WrittenQuery:
        """Ids of a written query in its frame, and the span of every token that overlaps the query.

        Raises:
            ValueError: the query is empty. SpeechLMError: the template changes it, or it holds a placeholder.
        """
        query = query_of(text)
        if self.audio_token in query:
            raise SpeechLMError(f"{self.model_name}: the query {query[:80]!r} contains the audio placeholder")
        prefix, suffix = self.frame
        if self._render(self._content(query)) != prefix + query + suffix:
            raise SpeechLMError(f"{self.model_name}: the chat template changes the query {query[:80]!r}")
        if getattr(self.tokenizer, "is_fast", False):
            return self._by_offsets(prefix, query, suffix)
        return self._by_comparison(prefix, query, suffix)

    def _by_offsets(self, prefix: str, query: str, suffix: str) -> WrittenQuery:
        encoded = self.tokenizer(prefix + query + suffix, add_special_tokens=False, return_offsets_mapping=True)
        first, last = len(prefix), len(prefix) + len(query)
        offsets = encoded["offset_mapping"]
        inside = [place for place, (start, end) in enumerate(offsets) if start < last and end > first and start < end]
        if not inside:
            raise SpeechLMError(f"{self.model_name}: no token covers the query {query[:80]!r}; check the tokenizer")
        span = inside[0], inside[-1] + 1
        spans = tuple((max(start - first, 0), min(end, last) - first) for start, end in offsets[slice(*span)])
        return WrittenQuery(tuple(encoded["input_ids"]), span, spans)

    def _by_comparison(self, prefix: str, query: str, suffix: str) -> WrittenQuery:
        """Without offsets: what the ids do not share, at either end, with the same frame around other queries."""
        ids = self._ids(prefix + query + suffix)
        others = [self._ids(prefix + other + suffix) for other in _OTHERS]
        start = min(_shared(ids, other) for other in others)
        behind = min(_shared(ids[::-1], other[::-1]) for other in others)
        end = max(len(ids) - behind, start + 1)
        ends = [len(self.tokenizer.decode(ids[start:stop])) for stop in range(start, end + 1)]
        spans = tuple((min(a, len(query)), min(b, len(query))) for a, b in pairwise(ends))
        return WrittenQuery(tuple(ids), (start, end), spans)

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _pieces(self, text: str) -> list[str]:
        """Special tokens whole, everything else character by character."""
        special = sorted(map(re.escape, _special_tokens(self.tokenizer)), key=len, reverse=True)
        return re.findall("|".join([*special, "."]), text, flags=re.DOTALL)


def _special_tokens(tokenizer: Any) -> Sequence[str]:
    added = getattr(tokenizer, "added_tokens_decoder", None) or {}
    return [str(token) for token in added.values()] or list(tokenizer.all_special_tokens)


def _shared(one: Sequence[Any], other: Sequence[Any]) -> int:
    """Length of the longest common prefix."""
    return next((n for n, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))
