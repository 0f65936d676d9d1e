"""cascade.csv: agreement of the spoken answers with those to recognised text."""

import numpy as np
import pytest

from tests.evaluation.score_files import build, choices, pick, study, write
from workflow_scripts.artifacts.scores import ScoreFile
from workflow_scripts.artifacts.tables import read_table


def cascade_of(folder, files, **changes):
    build(folder, files, **changes)
    return read_table(folder / "cascade.csv")


def test_cascades_are_the_tuned_model_and_its_backbone_on_recognised_text(tmp_path):
    rows = cascade_of(tmp_path, study(tmp_path))
    assert [(row["subset"], row["cascade"]) for row in rows] == [
        (subset, name) for name in ("tuned_asr", "base_asr") for subset in ("all", "a", "b")
    ]
    row = pick(rows, subset="a", cascade="tuned_asr")  # speech 1100, tuned ASR 1110
    assert (row["n"], row["success_speech"], row["success_cascade"]) == (4, 50, 75)
    assert (row["agreement"], row["kappa"], row["n_both_wrong"]) == (0.75, 0.5, 1)
    assert (row["error_overlap"], row["error_overlap_chance"]) == (0.5, 0.2)
    assert row["kappa_low"] <= 0.5 <= row["kappa_high"]
    assert pick(rows, subset="all", cascade="tuned_asr")["n"] == 8


def test_a_model_that_hears_what_the_recogniser_hears_has_kappa_1(tmp_path):
    outcomes = [1, 0, 1, 1, 0, 0]
    files = [write(tmp_path, "a", form, outcomes) for form in ("speech", "asr")]
    (row,) = cascade_of(tmp_path, files, overall=["a"], knowledge=[], backbones={})
    assert (row["kappa"], row["kappa_low"], row["kappa_high"], row["error_overlap"]) == (1, 1, 1, 1)
    assert row["same_wrong"] is None


def test_independent_failures_have_kappa_near_0_and_the_overlap_of_chance(tmp_path):
    rng = np.random.default_rng(4)
    files = [write(tmp_path, "a", form, rng.integers(0, 2, 1500).tolist()) for form in ("speech", "asr")]
    (row,) = cascade_of(tmp_path, files, overall=["a"], knowledge=[], backbones={})
    assert row["kappa_low"] < 0 < row["kappa_high"]
    assert row["error_overlap"] == pytest.approx(row["error_overlap_chance"], abs=0.04)


def test_same_wrong_letters_are_counted_among_errors_with_a_letter(tmp_path):
    files = [choices(tmp_path, form, [1, 0, 0, 0], [None] * 4) for form in ("speech", "asr")]
    speech = ScoreFile.read(files[0])
    other = [row.model_copy(update={"parsed": p}) for row, p in zip(speech.questions, ("A", "C", None, "B"))]
    speech.model_copy(update={"questions": other}).write(files[0])
    (row,) = cascade_of(tmp_path, files, overall=["a"], knowledge=[], backbones={})
    assert (row["n_both_wrong"], row["n_both_wrong_letters"], row["same_wrong"]) == (3, 2, 0.5)


def test_graded_scores_count_as_success_when_complete(tmp_path):
    files = [write(tmp_path, "a", form, [1.0, 0.99, 0.5]) for form in ("speech", "asr")]
    (row,) = cascade_of(tmp_path, files, overall=["a"], knowledge=[], backbones={})
    assert row["success_speech"] == pytest.approx(100 / 3, abs=1e-3)
