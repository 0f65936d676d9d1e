"""A cell of a data file as text: what is missing is no text, whatever a format writes in its place."""

import math

import pytest

from workflow_scripts.artifacts.dataset_rows import cell_text


@pytest.mark.parametrize("missing", [None, math.nan, math.inf, " ", ["x"], {"a": 1}, b"x"])
def test_what_is_missing_or_no_text_is_empty(missing):
    assert cell_text(missing) == ""


@pytest.mark.parametrize(
    ("cell", "text"), [(" nan ", "nan"), (4.0, "4"), (-0.0, "0"), (0.5, "0.5"), (0, "0"), (True, "True")]
)
def test_texts_numbers_and_truth_values_are_as_they_would_be_written(cell, text):
    assert cell_text(cell) == text
