"""The chat template around a query, the same for written and spoken queries.

The user turn holds the query and nothing else. The template is rendered once with a slot and split there; a written
query fills the slot with text, a spoken one with audio positions, so both forms share every other token.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jinja2 import TemplateError

from workflow_scripts.speech_lm.protocol import SpeechLMError

logger = logging.getLogger(__name__)

# Letters only, so that no tokenizer or template treats it specially; templates may trim, hence no spaces.
SLOT = "QUERYSLOTQUERYSLOT"


@dataclass(frozen=True)
class WrittenQuery:
    """A rendered written query: all ids, (start, end) of the query, and its tokens' character ranges in the query."""

    input_ids: tuple[int, ...]
    span: tuple[int, int]
    char_spans: tuple[tuple[int, int], ...]


def query_of(text: str) -> str:
    """A written query without white space at its ends. Raises ValueError if nothing is left."""
    if not (query := text.strip()):
        raise ValueError("a written query must not be empty")
    return query


def render_chat(renderer: Any, content: Any, system_prompt: str | None, model_name: str) -> str:
    """The prompt around one user turn, by a tokenizer's or processor's chat template.

    content: text, or a list of parts (then the system prompt is one too). Raises SpeechLMError naming the model.
    """
    messages = [{"role": "user", "content": content}]
    if system_prompt is not None:
        system = system_prompt if isinstance(content, str) else [{"type": "text", "text": system_prompt}]
        messages.insert(0, {"role": "system", "content": system})
    try:
        return renderer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    except (TemplateError, TypeError) as error:
        with_system = "" if system_prompt is None else f" with system_prompt {system_prompt[:60]!r}"
        raise SpeechLMError(
            f"{model_name}: the chat template cannot be rendered{with_system} ({error}); remove system_prompt if the "
            "model knows none, else correct the template"
        ) from error


def around_slot(rendered: str, model_name: str) -> tuple[str, str]:
    """What a prompt rendered with `SLOT` has before and after it. Raises SpeechLMError if it is not there once."""
    pieces = rendered.split(SLOT)
    if len(pieces) != 2:
        raise SpeechLMError(f"{model_name}: the chat template shows the user's turn {len(pieces) - 1} times, not once")
    return pieces[0], pieces[1]


class ChatTemplate:
    """A tokenizer's chat template with one user turn, an optional system prompt and the generation prompt.

    n_embeddings: rows of the model's token embeddings, if known; every token must have one.

    Raises SpeechLMError if the tokenizer has no template or no character offsets, naming `model_name`.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        system_prompt: str | None = None,
        model_name: str = "model",
        n_embeddings: int | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.n_embeddings = n_embeddings
        self.system_prompt = system_prompt
        self.model_name = model_name
        if not getattr(tokenizer, "chat_template", None):
            raise SpeechLMError(
                f"{model_name}: the tokenizer has no chat template; use an instruction-tuned model, or put a "
                "chat_template.jinja into the model's folder"
            )
        if not getattr(tokenizer, "is_fast", False):
            raise SpeechLMError(
                f"{model_name}: the tokenizer gives no character offsets; convert it to a tokenizer.json"
            )

    def render(self, text: str) -> str:
        """The whole prompt with `text` as the user's turn."""
        return render_chat(self.tokenizer, text, self.system_prompt, self.model_name)

    @cached_property
    def parts(self) -> tuple[str, str]:
        """What the template puts before and after the query."""
        return around_slot(self.render(SLOT), self.model_name)

    @cached_property
    def ids(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Token ids before and after the query; SpeechLMError if the vocabulary lacks one."""
        found = []
        for text, ids in zip(self.parts, self._frame()):
            self._check_embedded(ids, f"the chat template's {text[:80]!r}")
            if self._has_unknown(ids, text):
                raise SpeechLMError(
                    f"{self.model_name}: the vocabulary lacks a token of the chat template's {text[:80]!r}; template "
                    "and tokenizer are not of the same model: correct the asset's sources"
                )
            found.append(ids)
        return found[0], found[1]

    def _frame(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Ids of both parts on their own; those in place where a text on its own gets a start (SentencePiece)."""
        before, after = (tuple(self._tokenize(part)["input_ids"]) for part in self.parts)
        whole = self._tokenize(SLOT.join(self.parts), return_offsets_mapping=True)
        ids, start = tuple(whole["input_ids"]), len(self.parts[0])
        if ids[: len(before)] == before and ids[len(ids) - len(after) :] == after:
            return before, after
        places, end = list(zip(ids, whole["offset_mapping"])), start + len(SLOT)
        if any(first < edge < last for _, (first, last) in places for edge in (start, end)):
            return before, after  # frame and query melt together: `write` refuses that
        return (
            tuple(number for number, (_, last) in places if last <= start),
            tuple(number for number, (first, _) in places if first >= end),
        )

    def write(self, text: str) -> WrittenQuery:
        """Tokenise a written query inside its template.

        White space at the ends of the query is dropped (most templates do so themselves). Raises ValueError for an
        empty query and SpeechLMError if the template's tokens merge with the query's, for then the two forms would
        not share the same frame.
        """
        query = query_of(text)
        (prefix, suffix), (prefix_ids, suffix_ids) = self.parts, self.ids
        if self.render(query) != prefix + query + suffix:
            raise SpeechLMError(f"{self.model_name}: the chat template changes the query {query[:80]!r}")
        encoded = self._tokenize(prefix + query + suffix, return_offsets_mapping=True)
        ids = tuple(encoded["input_ids"])
        self._check_embedded(ids, f"the query {query[:80]!r}")
        if self._has_unknown(ids, prefix + query + suffix):
            logger.warning("%s: the vocabulary lacks a part of the query %r, which is lost", self.model_name, query)
        start, end = len(prefix_ids), len(ids) - len(suffix_ids)
        if ids[:start] != prefix_ids or ids[end:] != suffix_ids or start >= end:
            raise SpeechLMError(
                f"{self.model_name}: around the query {query[:80]!r} the template is tokenised differently than on its "
                "own, so written and spoken queries would not share it; end the template's text before the query "
                "with a special token or a line break"
            )
        shift = len(prefix)
        spans = tuple((first - shift, last - shift) for first, last in encoded["offset_mapping"][start:end])
        return WrittenQuery(ids, (start, end), spans)

    def _check_embedded(self, ids: Sequence[int], what: str) -> None:
        beyond = [i for i in ids if self.n_embeddings is not None and i >= self.n_embeddings]
        if beyond:
            raise SpeechLMError(
                f"{self.model_name}: {what} needs token {self.tokenizer.convert_ids_to_tokens(beyond[0])!r}, id "
                f"{beyond[0]}, but the model has {self.n_embeddings} embeddings; tokenizer and weights are not of the "
                "same model: correct the asset's sources"
            )

    def _has_unknown(self, ids: Sequence[int], text: str) -> bool:
        # Some models use a token of their template as the unknown one.
        unknown = self.tokenizer.unk_token
        return unknown is not None and self.tokenizer.unk_token_id in ids and unknown not in text

    def _tokenize(self, text: str, **options: Any) -> Any:
        # The template writes the special tokens itself.
        return self.tokenizer(text, add_special_tokens=False, **options)


class PlainPrompt:
    """A prompt that is no chat template, such as SpeechGPT's; the same interface as `ChatTemplate` as far as needed."""

    def __init__(self, tokenizer: Any, prompt: str, model_name: str) -> None:
        self.tokenizer, self.model_name = tokenizer, model_name
        self.parts = tuple(prompt.split("{query}"))
        bos = tokenizer.bos_token_id
        self.ids = (
            (*(() if bos is None else (bos,)), *self._tokenize(self.parts[0])),
            tuple(self._tokenize(self.parts[1])),
        )

    def write(self, text: str) -> WrittenQuery:
        """Ids of a written query; the query is tokenised on its own, so that the frame is the same around speech."""
        query = query_of(text)
        encoded = self.tokenizer(query, add_special_tokens=False, return_offsets_mapping=True)
        (before, after), ids = self.ids, tuple(encoded["input_ids"])
        return WrittenQuery(
            (*before, *ids, *after), (len(before), len(before) + len(ids)), tuple(map(tuple, encoded["offset_mapping"]))
        )

    def _tokenize(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
