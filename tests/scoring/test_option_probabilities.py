"""Reading of option probabilities: planted winners, ties, normalisation by length, invariances, bad numbers."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.scoring.option_probabilities import option_estimates, read_options

OPTIONS = ("a marsh", "a lake", "a desert", "a jungle")


def read(letters=(-1.0, -2.0, -0.5, -3.0), texts=(-9.0, -9.0, -9.0, -9.0), options=OPTIONS, reference="C"):
    return read_options(letters, texts, options, reference)


def test_a_planted_letter_wins_by_its_margin():
    found = read()
    assert (found.letter, found.letter_correct, found.letter_margin) == ("C", True, 0.5)
    total = sum(map(math.exp, (-1, -2, -0.5, -3)))
    assert found.letter_log_prob == pytest.approx(-0.5 - math.log(total))
    assert read(reference="A").letter_margin == -0.5
    assert read(reference="A").letter_correct is False


def test_the_mass_outside_the_letters_is_what_they_leave():
    half = [math.log(0.125)] * 4
    assert read(letters=half).outside_mass == pytest.approx(0.5)
    assert read(letters=[math.log(0.25)] * 4).outside_mass == pytest.approx(0, abs=1e-9)


def test_a_long_text_is_not_punished_for_its_length():
    options = ("no", "a very long description of a desert")
    texts = [-1.0 * len("no"), -0.9 * len(options[1])]
    found = read_options([-1.0, -1.0], texts, options, "B")
    assert (found.option, found.option_correct) == ("B", True)
    assert found.option_margin == pytest.approx(0.1)
    assert found.option_log_prob == pytest.approx(-0.9 - math.log(math.exp(-0.9) + math.exp(-1.0)))


def test_a_tie_is_no_choice_and_not_right():
    found = read(letters=(-1.0, -2.0, -1.0, -3.0))
    assert (found.letter, found.letter_correct, found.letter_margin) == (None, False, 0)


@given(st.permutations(range(4)), st.lists(st.floats(-50, -1e-6), min_size=4, max_size=4, unique=True))
def test_turning_the_options_turns_the_reading(order, values):
    first = read(letters=values, texts=[10 * value for value in values], reference="A")
    turned = read(
        letters=[values[k] for k in order],
        texts=[10 * values[k] for k in order],
        options=[OPTIONS[k] for k in order],
        reference="ABCD"[order.index(0)],
    )
    for name in ("letter_correct", "option_correct"):
        assert getattr(first, name) == getattr(turned, name)
    for name in ("letter_margin", "letter_log_prob", "option_margin", "option_log_prob"):
        assert getattr(first, name) == pytest.approx(getattr(turned, name), abs=1e-9)


def test_estimates_carry_n_and_intervals_and_nothing_comes_of_nothing():
    found = option_estimates([read(), read(reference="A"), read(reference="C")])
    assert (found["letter_accuracy"].value, found["letter_accuracy"].n) == (pytest.approx(200 / 3), 3)
    assert found["letter_accuracy"].method == "clopper-pearson"
    assert found["letter_margin"].value == pytest.approx(0.5 / 3)
    assert found["letter_margin"].low < found["letter_margin"].value < found["letter_margin"].high
    assert option_estimates([]) == {}
    assert option_estimates([read()])["letter_margin"].low is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"letters": (-1.0, -2.0)}, "2 letters for 4 options"),
        ({"texts": (-1.0,) * 5}, "5 texts for 4 options"),
        ({"letters": (-1.0, -2.0, float("nan"), -1.0)}, "no logarithms of probabilities"),
        ({"letters": (-1.0, -2.0, 0.5, -1.0)}, "no logarithms of probabilities"),
        ({"reference": "E"}, "right option 'E' is none of 'ABCD'"),
        ({"reference": ""}, "none of 'ABCD'"),
    ],
)
def test_numbers_that_fit_no_question_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        read(**changes)
