"""Tables of scores beyond the paper's: last checkpoints, intervals beside numbers, absent forms left out."""

import pandas as pd
import pytest

from tests.made_results import write_made_tables
from workflow_scripts.artifacts.tables import read_table
from workflow_scripts.report.score_tables import (
    answer_table,
    cascade_table,
    choice_table,
    floor_table,
    references_table,
    tag_table,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_made_tables(tmp_path_factory.mktemp("made"))


def test_references_name_all_five_with_intervals(made):
    table = references_table(read_table(made.table("decline"), "decline"))
    assert [*table["model"]] == ["full", "lora"]
    for name in ("base_text", "base_asr", "tuned_text", "tuned_asr", "tuned_speech", "erosion", "modality_loss"):
        assert table[name].str.contains("[", regex=False).all()


def test_multiple_choice_has_a_row_per_form_of_the_subsets_with_a_chance_level(made):
    table = choice_table(read_table(made.table("gap"), "gap"))
    rows = table[table["model"] == "lora"]
    assert [*zip(rows["subset"], rows["form"])] == [
        (subset, form) for subset in ("mmlu", "obqa") for form in ("text", "speech", "ASR text")
    ]
    first = table.iloc[0]
    assert (first.unparsed, first.letter_margin, first.corrected) == (2, "0.50 [0.25, 0.75]", "30.0 [25.0, 35.0]")


def test_floors_stand_beside_speech_with_the_differences_and_are_empty_where_none_were_asked(made):
    table = floor_table(read_table(made.table("floors"), "floors"))
    assert [*table["measure"]] == ["score", "letter probability, accuracy"] * 2 and set(table["n"]) == {24}
    first, second = table.iloc[0], table.iloc[1]
    assert (first.model, first.subset, first.speech) == ("full", "obqa", "60.0 [55.0, 65.0]")
    assert (first.silence, first.above_other) == ("25.0 [20.0, 30.0]", "40.0 [35.0, 45.0]")
    assert (second.other, second.above_silence) == ("30.0 [25.0, 35.0]", "35.0 [30.0, 40.0]")
    assert floor_table(None).empty


def test_truncation_and_language_stand_by_form_with_overall_first(made):
    table = answer_table(read_table(made.table("gap"), "gap"))
    assert [*table["subset"][:4]] == ["Overall"] * 3 + ["advbench"] and set(table["model"]) == {"full", "lora"}
    first = table.iloc[:3].set_index("form")["truncated"]
    assert first.to_dict() == {"text": "5.0 [4.0, 6.0]", "speech": "20.0 [19.0, 21.0]", "ASR text": "5.0 [4.0, 6.0]"}
    assert table["other_language"].eq("2.0 [1.0, 3.0]").all() and set(table["n"]) == {156, 24}


def test_kinds_of_questions_have_both_gaps_and_how_they_differ_from_the_rest(made):
    table = tag_table(read_table(made.table("tags"), "tags"))
    assert [*zip(table["subset"], table["tag"])][:3] == [("nq", "negation"), ("nq", "number"), ("repeat", "negation")]
    tested, rare, no_loss = (table.iloc[k] for k in range(3))
    assert (tested.score_gap, tested.score_difference, tested.n) == ("20.0 [19.8, 20.2]", "10.0 [5.0, 20.0]", 12)
    assert (tested.loss_difference, tested.loss_p_holm, tested.loss_n) == ("0.25 [0.12, 0.50]", 0.02, 12)
    assert rare.score_difference == "" and pd.isna(rare.score_p_holm) and rare.score_gap
    assert pd.isna(no_loss.loss_n), "a subset without losses"


def test_cascades_are_pooled_and_both_named(made):
    table = cascade_table(read_table(made.table("cascade"), "cascade"))
    assert [*table["cascade"]] == ["tuned on ASR text", "base on ASR text"] * 2
    first = table.iloc[0]
    assert (first.kappa, first.success_speech, first.error_overlap_null) == ("0.40 [0.30, 0.50]", 20, 0.6)
