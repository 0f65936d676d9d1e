"""What stands around the query in the prompts of both forms, read off the positions that the model really gets.

The template's text is not enough: processors add tokens (begin and end of audio), and a class of the user's may put
anything there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from torch import Tensor

from workflow_scripts.speech_lm.protocol import Query, Speech, SpeechLM


def shared_ends(lm: SpeechLM, queries: Sequence[Query]) -> tuple[int, int]:
    """How many first and how many last positions of some queries have the same embeddings in all of them."""
    pairs = list(combinations([_embeddings(lm, query) for query in queries], 2))
    return min(_shared(a, b) for a, b in pairs), min(_shared(a[::-1], b[::-1]) for a, b in pairs)


def template_confounds(lm: SpeechLM, text: str, clip: Speech) -> list[str]:
    """In what the prompts of the two forms differ beside the query, and what the template adds unasked.

    Tokens are compared by their ids; where the model is given embeddings, by those.
    """
    written, spoken = lm.encode_text(text), lm.encode_speech(clip)
    found = []
    ids = _ids(written)
    system = getattr(getattr(lm, "template", None), "system_prompt", None)
    if ids and system is None and (added := _system_turn(_decoded(lm, ids[: written.span[0]]))):
        found.append(f"the template adds a system prompt of its own: {added!r}")
    positions_of = [_ids(query) for query in (spoken, written)]
    if embedded := not all(positions_of):
        positions_of = [_embeddings(lm, query) for query in (spoken, written)]
    for where, step in (("before", 1), ("after", -1)):
        parts = [
            positions[: query.span[0]] if step == 1 else positions[heard_until(lm, query) :]
            for query, positions in zip((spoken, written), positions_of)
        ]
        n = _shared(*(part[::step] for part in parts))
        for form, part in zip(("speech", "text"), parts):
            if rest := part[n:] if step == 1 else part[: len(part) - n]:
                shown = f"{len(rest)} position(s)" if embedded else repr(_decoded(lm, rest))
                found.append(f"only {where} {form}: {shown}")
    return found


def _embeddings(lm: SpeechLM, query: Query) -> list[Any]:
    """The input of the first layer at every position, the frame around the span included: comparable objects."""
    return [tuple(row) for row in lm.states([query.whole()], layers=[0])[0][0].float().tolist()]


def _ids(query: Query) -> list[int]:
    """The ids of all positions; none for a query of embeddings."""
    ids: Tensor | None = query.inputs.get("input_ids")
    return [] if ids is None else ids[0].tolist()


def heard_until(lm: SpeechLM, query: Query) -> int:
    """Where the audio's positions end: those of silence included, where a placeholder model always fills its window."""
    ids, end = _ids(query), query.span[1]
    if query.form == "speech" and getattr(lm, "rate", None) is not None:
        while end < len(ids) and ids[end] == getattr(lm, "placeholder", None):
            end += 1
    return end


def _decoded(lm: SpeechLM, ids: Sequence[int]) -> str:
    return lm.tokenizer.decode(list(ids), skip_special_tokens=False)


def _shared(one: Sequence[Any], other: Sequence[Any]) -> int:
    """Length of the longest common beginning."""
    return next((n for n, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))


def _system_turn(prefix: str) -> str | None:
    """What stands in a system turn before the user's, if the prompt has one."""
    found = re.search(r"system\W*\s(.*?)(?:<\||<end|</|\[/)", prefix, flags=re.DOTALL)
    return found[1].strip() if found else None
