"""Overall, GAP and decline on planted scores."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.scoring.overall import decline, gap, knowledge_only, overall

SCORE = st.floats(0, 100)


def same(value):
    """The same score on two subsets."""
    return {"obqa": value, "ifeval": value}


def test_overall_is_unweighted():
    assert overall({"obqa": 90.0, "mmsu": 30.0, "ifeval": 60.0}) == 60.0


def test_knowledge_only_ignores_refusals_and_instructions():
    assert knowledge_only({"obqa": 50.0, "nq": 20.0, "advbench": 99.0, "ifeval": 1.0}) == 35.0
    assert knowledge_only({"advbench": 99.0}) is None
    assert gap({"advbench": 99.0}, {"advbench": 9.0}).knowledge is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -0.1, 100.1])
def test_overall_refuses_a_score_off_the_scale_and_names_it(bad):
    with pytest.raises(ValueError, match="mmsu"):
        overall({"obqa": 1.0, "mmsu": bad})


def test_overall_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="at least one subset"):
        overall({})


def test_gap_is_text_minus_speech():
    found = gap({"obqa": 80.0, "ifeval": 40.0}, {"obqa": 50.0, "ifeval": 45.0})
    assert found.by_subset == {"obqa": 30.0, "ifeval": -5.0}
    assert (found.overall, found.knowledge) == (12.5, 30.0)


def test_gap_refuses_different_subsets_and_names_them():
    with pytest.raises(ValueError, match="nq"):
        gap({"obqa": 80.0, "nq": 1.0}, {"obqa": 50.0})


def test_decline_does_not_confuse_its_five_references():
    # Distinct differences between every pair of references: swapping any two would change a field.
    found = decline(
        base_text=same(97.0), base_asr=same(81.0), tuned_text=same(65.0), tuned_asr=same(60.0), tuned_speech=same(31.0)
    )
    assert found.total == 66.0
    assert found.erosion == 32.0
    assert found.asr_loss == 5.0
    assert found.modality_loss == 29.0
    assert found.gap == 34.0
    assert found.asr_loss_base == 16.0
    assert found.erosion_asr == 21.0
    assert found.paper_damage == 16.0
    assert found.paper_total == 50.0


def test_tuned_text_and_base_asr_take_their_arguments_by_name_only():
    with pytest.raises(TypeError):
        decline(same(1.0), same(2.0))


def test_missing_references_leave_their_parts_open():
    found = decline(tuned_text=same(65.0), tuned_speech=same(31.0), base_text=same(97.0))
    assert (found.erosion, found.total, found.gap) == (32.0, 66.0, 34.0)
    assert found.asr_loss is found.modality_loss is found.paper_damage is found.erosion_asr is None


def test_decline_refuses_references_over_other_subsets():
    with pytest.raises(ValueError, match="base_asr"):
        decline(tuned_text=same(1.0), tuned_speech=same(1.0), base_asr={"obqa": 1.0})


@given(SCORE, SCORE, SCORE, SCORE, SCORE)
def test_the_parts_of_the_decline_add_up(base_text, base_asr, tuned_text, tuned_asr, tuned_speech):
    found = decline(
        base_text=same(base_text),
        base_asr=same(base_asr),
        tuned_text=same(tuned_text),
        tuned_asr=same(tuned_asr),
        tuned_speech=same(tuned_speech),
    )
    assert found.erosion + found.asr_loss + found.modality_loss == pytest.approx(found.total, abs=1e-9)
    assert found.paper_damage + found.gap == pytest.approx(found.paper_total, abs=1e-9)
    assert found.asr_loss_base + found.paper_damage == pytest.approx(found.erosion, abs=1e-9)
