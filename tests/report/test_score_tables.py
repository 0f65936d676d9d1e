"""Tables of scores beyond the paper's: last checkpoints, intervals beside numbers, absent forms left out."""

from tests.made_results import BACKBONE, STEPS, write_made_tables
from workflow_scripts.artifacts.tables import read_table
from workflow_scripts.report.score_tables import cascade_table, choice_table, interval, last_rows, references_table


def label(key):
    return f"<{key}>"


def test_last_checkpoints_only_and_never_the_untuned_backbone(tmp_path):
    made = write_made_tables(tmp_path)
    rows = last_rows(read_table(made.table("gap")))
    assert {row["step"] for row in rows} == {STEPS[-1]}
    assert BACKBONE not in {row["model"] for row in rows}
    assert last_rows([{"model": "p", "checkpoint": "final", "step": None}])[0]["model"] == "p"


def test_an_interval_stands_behind_its_value_and_may_be_unknown():
    assert interval({"a": 1.25, "a_low": -0.5, "a_high": 3}, "a") == "1.2 [-0.5, 3.0]"
    assert interval({"a": 1.25, "a_low": None, "a_high": None}, "a", 2) == "1.25"
    assert interval({"a": None}, "a") is None


def test_references_name_all_five_with_intervals(tmp_path):
    made = write_made_tables(tmp_path)
    rows, columns = references_table(read_table(made.table("decline")), label)
    assert [row["model"] for row in rows] == ["<lora>", "<full>"]
    assert set(rows[0]) == set(columns)
    assert all(
        "[" in rows[0][name] for name in ("base_text", "base_asr", "tuned_text", "tuned_asr", "tuned_speech", "erosion")
    )
    assert rows[0]["modality_loss"] is not None


def test_multiple_choice_has_a_row_per_form_of_the_subsets_with_a_chance_level(tmp_path):
    made = write_made_tables(tmp_path)
    rows, columns = choice_table(read_table(made.table("gap")), label, label)
    assert [(row["subset"], row["form"]) for row in rows if row["model"] == "<lora>"] == [
        (f"<{subset}>", form) for subset in ("mmlu", "obqa") for form in ("text", "speech", "ASR text")
    ]
    assert set(rows[0]) == set(columns)
    assert (rows[0]["unparsed"], rows[0]["letter_margin"], rows[0]["corrected"]) == (
        2,
        "0.50 [0.25, 0.75]",
        "30.0 [25.0, 35.0]",
    )


def test_cascades_are_pooled_and_both_named(tmp_path):
    made = write_made_tables(tmp_path)
    rows, columns = cascade_table(read_table(made.table("cascade")), label)
    assert [row["cascade"] for row in rows] == ["tuned on ASR text", "base on ASR text"] * 2
    assert set(rows[0]) == set(columns)
    assert rows[0]["kappa"] == "0.40 [0.30, 0.50]"
