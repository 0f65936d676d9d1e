"""cascade.csv: agreement of the spoken answers with those to recognised text."""

import numpy as np
import pytest

from tests.evaluation.score_files import build, choices, ends, row, study, values, write
from workflow_scripts.artifacts.scores import ScoreFile
from workflow_scripts.artifacts.tables import read_table, select

ALONE = {"overall": ["a"], "knowledge": [], "backbones": {}}


def cascade_of(folder, files, **changes):
    build(folder, files, **changes)
    return read_table(folder / "cascade.csv", "cascade")


def test_cascades_are_the_tuned_model_and_its_backbone_on_recognised_text(tmp_path):
    table = cascade_of(tmp_path, study(tmp_path))
    assert list(table[["subset", "cascade"]].drop_duplicates().itertuples(index=False, name=None)) == [
        (subset, name) for name in ("tuned_asr", "base_asr") for subset in ("all", "a", "b")
    ]
    a = select(table, subset="a", cascade="tuned_asr")  # speech 1100, tuned ASR 1110
    assert values(a, "success_speech", "success_cascade", "both_wrong") == [50, 75, 25]
    assert values(a, "agreement", "kappa", "error_overlap") == [0.75, 0.5, 0.5]
    assert row(a, measure="error_overlap")["null"] == 0.2
    value, low, high = ends(a, measure="kappa")
    assert low <= value <= high
    assert set(a["n"]) == {4}
    assert set(select(table, subset="all", cascade="tuned_asr")["n"]) == {8}


def test_a_model_that_hears_what_the_recogniser_hears_has_kappa_1(tmp_path):
    outcomes = [1, 0, 1, 1, 0, 0]
    files = [write(tmp_path, "a", form, outcomes) for form in ("speech", "asr")]
    table = cascade_of(tmp_path, files, **ALONE)
    value, low, high = ends(table, measure="kappa")
    assert value == high == 1 and 0 < low < 0.7, "six questions do not show that they always agree"
    assert values(table, "error_overlap", "same_wrong") == [1, None]


def test_independent_failures_have_kappa_near_0_and_the_overlap_of_chance(tmp_path):
    rng = np.random.default_rng(4)
    files = [write(tmp_path, "a", form, rng.integers(0, 2, 1500).tolist()) for form in ("speech", "asr")]
    table = cascade_of(tmp_path, files, **ALONE)
    _, low, high = ends(table, measure="kappa")
    assert low < 0 < high
    overlap = row(table, measure="error_overlap")
    assert overlap["value"] == pytest.approx(overlap["null"], abs=0.04)


def test_same_wrong_letters_are_counted_among_errors_with_a_letter(tmp_path):
    files = [choices(tmp_path, form, [1, 0, 0, 0], [None] * 4) for form in ("speech", "asr")]
    speech = ScoreFile.read(files[0])
    other = [one.model_copy(update={"parsed": p}) for one, p in zip(speech.questions, ("A", "C", None, "B"))]
    speech.model_copy(update={"questions": other}).write(files[0])
    table = cascade_of(tmp_path, files, **ALONE)
    same = row(table, measure="same_wrong")
    assert (values(table, "both_wrong"), same["n"], same["value"]) == ([75], 2, 0.5)


def test_graded_scores_count_as_success_when_complete(tmp_path):
    files = [write(tmp_path, "a", form, [1.0, 0.99, 0.5]) for form in ("speech", "asr")]
    assert values(cascade_of(tmp_path, files, **ALONE), "success_speech") == pytest.approx([100 / 3], abs=1e-3)
