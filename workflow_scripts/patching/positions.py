"""Position classes: which states are exchanged between the spoken and the written run of one question (ours).

    last       the last position of the prompt, which predicts the answer
    template   the positions between the query and the last one, counted from the end of the prompt
    query      all positions along the alignment path: each speech frame of it and its text token
    content    of these, the tokens of words of five letters or more
    answer     the first answer token, forced: the last position of a prompt that ends with it

Into speech, a frame takes the best of its tokens; into text, every token takes its frame.
"""

import re
from dataclasses import dataclass

import numpy as np

from workflow_scripts.measures.edit_targets import all_entries
from workflow_scripts.speech_lm.protocol import Query

CONTENT_WORD = re.compile(r"[^\W\d_]{5,}")
NO_TEMPLATE = "nothing between the query and the last position"
NO_CONTENT = "no word of five letters"
ONE_TOKEN = "the outcome is read at the first answer token"


@dataclass(frozen=True)
class Exchange:
    """(n,) int64 positions that are written, and those in the other form's prompt whose states they take."""

    into: np.ndarray
    source: np.ndarray


@dataclass(frozen=True)
class Path:
    """frames (T_t,) of each text token, scores (T_t,), higher is better; content (T_t,) bool."""

    frames: np.ndarray
    scores: np.ndarray
    content: np.ndarray


def content_tokens(written: Query, prompt: str) -> np.ndarray:
    """(T_t,) bool: the token shares a character with a word of five letters or more."""
    words = [match.span() for match in CONTENT_WORD.finditer(prompt)]
    spans = written.char_spans or ((0, 0),) * len(written.tokens)
    return np.array([any(start < last and first < end for first, last in words) for start, end in spans], dtype=bool)


def exchange(name: str, into: Query, source: Query, path: Path) -> Exchange | str:
    """The positions of a class, or why it has none. The queries are one spoken and one written."""
    if name in ("last", "answer"):
        return Exchange(np.array([into.length - 1]), np.array([source.length - 1]))
    if name == "template":
        n = min(query.length - query.span[1] for query in (into, source)) - 1
        behind = np.arange(n, 0, -1) + 1
        return Exchange(into.length - behind, source.length - behind) if n > 0 else NO_TEMPLATE
    tokens = np.flatnonzero(path.content) if name == "content" else np.arange(len(path.frames))
    if not len(tokens):
        return NO_CONTENT
    if into.form == "text":
        return Exchange(into.span[0] + tokens, source.span[0] + path.frames[tokens])
    chosen = all_entries(path.frames[tokens], path.scores[tokens])
    return Exchange(into.span[0] + chosen.frames, source.span[0] + tokens[chosen.tokens])


def elsewhere(positions: np.ndarray, query: Query, other: Query) -> np.ndarray:
    """The same places in another question's prompt: of the query by their share of its length, others from the end."""
    start, end = query.span
    share = (positions - start) / max(end - start - 1, 1)
    inside = other.span[0] + np.rint(share * (other.span[1] - other.span[0] - 1)).astype(np.int64)
    return np.where(positions < end, inside, other.length - (query.length - positions))
