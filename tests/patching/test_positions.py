"""Which positions of the two forms belong together, at the edges too."""

import numpy as np
import pytest

from workflow_scripts.patching.positions import (
    NO_CONTENT,
    NO_TEMPLATE,
    Path,
    content_tokens,
    elsewhere,
    exchange,
)
from workflow_scripts.speech_lm.protocol import Query


def query(form, start, tokens, behind, spans=None):
    end = start + tokens
    return Query({}, end + behind, (start, end), ("",) * tokens, None, spans, None, form)


SPOKEN, WRITTEN = query("speech", 4, 10, 3), query("text", 4, 3, 3)
PATH = Path(np.array([2, 2, 9]), np.array([0.1, 0.5, 0.3]), np.array([True, False, True]))


def pairs(name, into, source, path=PATH):
    made = exchange(name, into, source, path)
    return list(zip(made.into.tolist(), made.source.tolist()))


def test_the_last_position_and_the_template_are_counted_from_the_end():
    assert pairs("last", SPOKEN, WRITTEN) == pairs("answer", SPOKEN, WRITTEN) == [(16, 9)]
    assert pairs("template", SPOKEN, WRITTEN) == [(14, 7), (15, 8)]
    more = query("text", 4, 3, 2)
    assert pairs("template", SPOKEN, more) == [(15, 7)]
    assert exchange("template", SPOKEN, query("text", 4, 3, 1), PATH) == NO_TEMPLATE


def test_a_frame_takes_its_best_token_and_a_token_its_frame():
    assert pairs("query", SPOKEN, WRITTEN) == [(6, 5), (13, 6)]
    assert pairs("query", WRITTEN, SPOKEN) == [(4, 6), (5, 6), (6, 13)]


def test_content_positions_are_those_of_long_words():
    assert pairs("content", SPOKEN, WRITTEN) == [(6, 4), (13, 6)]
    nothing = Path(PATH.frames, PATH.scores, np.zeros(3, dtype=bool))
    assert exchange("content", SPOKEN, WRITTEN, nothing) == NO_CONTENT
    written = query("text", 0, 4, 1, ((0, 3), (3, 6), (6, 12), (12, 14)))
    assert content_tokens(written, "who wrote this").tolist() == [False, True, True, False]


def test_one_text_token_is_enough_for_every_class_that_needs_the_query():
    one = query("text", 2, 1, 3)
    path = Path(np.array([5]), np.array([0.2]), np.array([True]))
    assert pairs("query", SPOKEN, one, path) == [(9, 2)] and pairs("query", one, SPOKEN, path) == [(2, 9)]
    assert elsewhere(np.array([2, 3, 5]), one, WRITTEN).tolist() == [4, 7, 9]


@pytest.mark.parametrize("other", [query("speech", 1, 4, 3), query("speech", 6, 31, 3)])
def test_the_places_of_another_question_keep_their_share_of_the_query_and_their_distance_from_the_end(other):
    found = elsewhere(np.array([4, 13, 14, 16]), SPOKEN, other)
    start, end = other.span
    assert found.tolist() == [start, end - 1, end, other.length - 1]
