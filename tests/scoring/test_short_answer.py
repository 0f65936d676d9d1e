"""Short answers match whole words of any reference, whatever the spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.scoring.short_answer import check_references, compare_short_answer

CONTAINED = [
    ("It is Paris, the capital.", ["Paris"]),
    ("the 2nd of May", ["second"]),
    ("There were 20 people.", ["twenty"]),
    ("It happened in nineteen forty-five.", ["1945"]),
    ("An Eiffel Tower!", ["the eiffel tower"]),
    ("u.s.", ["US"]),
    ("I think Barack Obama", ["George Bush", "Barack Obama"]),
    ("首都是巴黎。", ["巴黎"]),
    ("it’s O’Brien", ["O'Brien"]),
]
NOT_CONTAINED = [
    ("That is often the case.", ["ten"]),
    ("It is 10.5 metres", ["10"]),
    ("Eiffel and Tower", ["Eiffel Tower"]),
    ("Parisian", ["Paris"]),
    ("", ["Paris"]),
]


@pytest.mark.parametrize(("answer", "references"), CONTAINED)
def test_contained(answer, references):
    assert compare_short_answer(answer, references).contains


@pytest.mark.parametrize(("answer", "references"), NOT_CONTAINED)
def test_not_contained(answer, references):
    assert not compare_short_answer(answer, references).contains


def test_f1_and_recall_of_planted_overlaps():
    found = compare_short_answer("big red car", ["red bus"])
    assert found.token_f1 == pytest.approx(2 * 1 / 5)
    assert found.token_recall == 0.5
    assert not found.contains
    best = compare_short_answer("big red car", ["red bus", "red car"])
    assert (best.token_f1, best.token_recall, best.matched) == (pytest.approx(0.8), 1.0, "red car")


def test_f1_punishes_long_answers_and_recall_does_not():
    short, long = (compare_short_answer(answer, ["Paris"]) for answer in ("Paris", "Paris " + "and so on " * 30))
    assert (short.token_f1, short.token_recall, long.token_recall) == (1, 1, 1)
    assert long.token_f1 < 0.05


@pytest.mark.parametrize("reference", ["A", "The", "?!", "", " "])
def test_a_reference_without_words_is_an_error_at_load_time_and_never_matches(reference):
    with pytest.raises(ValueError, match="no tokens after normalisation"):
        check_references(["Paris", reference])
    assert not compare_short_answer("A the of everything", ["Paris", reference]).contains
    with pytest.raises(ValueError, match="no tokens after normalisation"):
        compare_short_answer("anything", [reference])


@pytest.mark.parametrize("references", [[], "Paris"])
def test_references_are_a_list(references):
    with pytest.raises(ValueError, match="non-empty list"):
        compare_short_answer("Paris", references)


@given(st.text(alphabet="abcde ", min_size=1), st.text(alphabet="xyz ", max_size=20))
def test_surrounding_words_never_remove_a_match(reference, noise):
    try:
        check_references([reference])
    except ValueError:
        return
    assert compare_short_answer(f"{noise} {reference} {noise}", [reference]).contains
