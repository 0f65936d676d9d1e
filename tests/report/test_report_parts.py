"""Tables, claims, choice of samples and manifest: planted values land where they belong."""

import json

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.made_results import write_made_tables
from tests.made_samples import write_made_samples
from tests.report.conftest import build_tables_of
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.tables import TABLES as STORED
from workflow_scripts.artifacts.tables import read_columns, read_table, select, typed
from workflow_scripts.report.build_manifest import speech_facts, wall_seconds
from workflow_scripts.report.build_tables import (
    alignment_table,
    case_table,
    control_table,
    erasure_table,
    gap_table,
    intervention_table,
    pipeline_table,
    time_table,
)
from workflow_scripts.report.headline import headlines
from workflow_scripts.report.latex import ROWS_PER_PAGE, cell, escape, write_latex
from workflow_scripts.report.numbers import fixed, plain_interval, types, with_interval
from workflow_scripts.report.samples import build_samples, choose_ids, spread
from workflow_scripts.report.shown_tables import read_judgements, read_shown_table
from workflow_scripts.report.table import JUDGEMENTS, TABLES, Column, Table


def gap_rows(model="m", checkpoint="step-000010", step=10, subset="overall", scores=(50.0, 30.0, 40.0), ends=(10, 31)):
    """Rows of gap.csv of one cell, text, speech and ASR."""
    key = {"model": model, "checkpoint": checkpoint, "step": step, "subset": subset, "measure": "score", "n": 7}
    rows = [key | {"form": form, "value": score} for form, score in zip(("text", "speech", "asr"), scores)]
    low, high = ends
    return [*rows, key | {"form": "gap", "value": scores[0] - scores[1], "low": low, "high": high}]


def gap_of(*cells):
    return typed(pd.DataFrame([row for cell in cells for row in cell]), STORED["gap"])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_made_tables(tmp_path_factory.mktemp("made"), ["m"])


def read(made, name):
    return read_table(made.table(name), name)


def test_gap_table_puts_gap_and_interval_on_the_text_row():
    cells = gap_rows(), gap_rows(subset="nq", scores=(55.0, 33.0, 44.0)), gap_rows("smol", "base", None)
    speech, text = gap_table(gap_of(*cells)).to_dict("records")
    assert (speech["modality"], speech["nq"], speech["overall"], speech["step"]) == ("speech", 33.0, 30.0, 10)
    assert (text["modality"], text["nq"], text["overall"], text["gap"]) == ("text", 55.0, 50.0, 20.0)
    assert text["gap_interval"] == "[10.0, 31.0]"
    assert pd.isna(speech["gap"]) and pd.isna(speech["gap_interval"])


def test_gap_table_without_an_interval_leaves_the_cell_empty():
    assert gap_table(gap_of(gap_rows(ends=(None, None))))["gap_interval"].iloc[-1] == ""


def test_pipeline_table_holds_the_untuned_backbones_only():
    base = (gap_rows("smol", "base", None, subset, (50.0, 0.0, 12.5)) for subset in ("overall", "nq"))
    table = pipeline_table(gap_of(gap_rows(), *base))
    assert table[["input", "overall", "nq"]].to_numpy().tolist() == [
        ["ASR + LLM", 12.5, 12.5],
        ["LLM on text", 50.0, 50.0],
    ]


def test_alignment_table_takes_the_last_checkpoint_whatever_the_order(made):
    [row] = alignment_table(read(made, "checkpoints")[::-1]).to_dict("records")
    assert row["monotonicity_cosine"] == pytest.approx(0.7)
    assert row["monotonicity_cosine_null"] == pytest.approx(0.12)


def test_time_table_has_the_last_checkpoint_beside_the_paths_without_a_model(made):
    [row] = time_table(read(made, "checkpoints")).to_dict("records")
    assert (row["time_error_ms_cosine"], row["time_error_ms_uniform"]) == (600, 1100)
    assert (row["time_error_ms_proportional"], row["n"]) == (250, 156)


def test_intervention_table_keeps_counts_and_verdicts(made):
    tests = read(made, "tests")
    unedited = select(tests, against="none")
    columns = ["edit", "b", "c", "verdict"]
    assert intervention_table(tests)[columns].equals(unedited[unedited["kind"] != "control"][columns])
    beside = control_table(tests)
    assert (beside["edit"] == "angle_all").sum() == 1 + 4 and set(beside["kind"]) == {"edit"}


def test_erasures_and_their_controls_have_what_a_reader_tells_before_and_after_and_other_edits_no_row(made):
    tests = read_table(made.table("tests"), "tests")
    assert erasure_table(tests).empty
    chosen = tests["edit"].isin(["angle_all", "angle_all_random_direction"])
    for name, value in (("before", 0.4), ("after", 0.1)):
        for end, shift in (("", 0.0), ("_low", -0.05), ("_high", 0.05)):
            tests.loc[chosen, f"r2_{name}{end}"] = value + shift
    table = erasure_table(tests)
    assert [*table["edit"]] == ["angle_all", "angle_all_random_direction"] * len(made.models)
    assert (table.iloc[0].before, table.iloc[0].after) == ("0.40 [0.35, 0.45]", "0.10 [0.05, 0.15]")


def test_case_table_prints_each_question_once_above_its_answers(made):
    table = case_table(read(made, "cases"))
    assert len(table) == 12
    assert [bool(question) for question in table["question"]] == [True, *[False] * 5] * 2
    assert [change for change in table["change"] if change] == ["gained", "lost"]
    assert [*table["input"][:3]] == ["text", "speech", "angle_all"]


def test_tables_are_written_as_csv_and_latex(made):
    outputs = build_tables_of(made)
    table = outputs["table2_gap_tex"].read_text()
    assert table.count(r"\begin{tabular}{") == 1
    assert "First model" in table
    columns = types(TABLES["table2_gap"].with_subsets(dict.fromkeys(made.subsets, "")))
    assert len(read_columns(outputs["table2_gap_csv"], columns)) == 12  # 6 checkpoints, 2 forms


VERBATIM = ("007", "1e5", "1987", "-3", "true", "nan", "=1+1", "[1, 2]")


@pytest.mark.parametrize("text", VERBATIM)
def test_a_text_that_looks_like_something_else_stays_as_it_is_from_table_to_page(text, tmp_path):
    made = write_made_tables(tmp_path, [text.strip("=[] ").replace(", ", "")], texts={"answer": text, "prompt": text})
    outputs = build_tables_of(made)
    page = read_shown_table(outputs["table4_cases_csv"], {})
    headings = [column.heading for column in page.columns]
    assert {row[headings.index("Answer")] for row in page.rows} == {text}
    assert page.rows[0][headings.index("Question")] == text
    assert escape(text) in outputs["table4_cases_tex"].read_text()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50 % & more_less", r"50 \% \& more\_less"),
        (r"a\b", r"a\textbackslash{}b"),
        ("{x} #1 $y^2~", r"\{x\} \#1 \$y\textasciicircum{}2\textasciitilde{}"),
        ("[0.1, 2]", "{[}0.1, 2{]}"),
        ("a<b>|", r"a\textless{}b\textgreater{}\textbar{}"),
    ],
)
def test_latex_prints_special_characters(text, expected):
    assert escape(text) == expected


@given(st.text(alphabet="\\&%$#_{}~^ab"))
def test_no_special_character_stays_bare_in_latex(text):
    bare = escape(text)
    for command in (r"\textbackslash{}", r"\textasciitilde{}", r"\textasciicircum{}"):
        bare = bare.replace(command, "")
    for character in "&%$#_{}":
        bare = bare.replace(f"\\{character}", "")
    assert set(bare) <= set("ab")


def test_latex_cells_have_the_same_decimals_whole_or_not(tmp_path):
    number, count, interval = Column("x"), Column("n", "count"), Column("95 %", "interval")
    assert (cell(None, number), cell(4, number), cell(-3.14159, number)) == ("--", "4.00", "$-$3.14")
    assert (cell(7, count), cell("", Column("", "text"))) == ("7", "--")
    assert cell("-1.2 [-3.0, 0.5]", interval) == "$-$1.2 {[}$-$3.0, 0.5{]}"
    table = Table("t", "95 %", {"model": Column("Model", "text"), "gap": Column("GAP"), "n": count})
    write_latex(tmp_path / "t.tex", pd.DataFrame([{"model": "a_b", "gap": 4, "n": 12}]), table)
    text = (tmp_path / "t.tex").read_text()
    assert r"a\_b & 4.00 & 12 \\" in text
    assert r"\begin{tabular}{lrr}" in text
    assert r"\caption{95 \%}" in text


def test_a_wide_latex_table_is_scaled_to_the_line_and_its_headings_are_broken(tmp_path):
    table = Table("t", "c", {"a": Column("Letter probability, accuracy")})
    write_latex(tmp_path / "t.tex", pd.DataFrame([{"a": 1.0}]), table)
    text = (tmp_path / "t.tex").read_text()
    assert r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%" in text
    assert r"\shortstack{Letter \\ probability, \\ accuracy}" in text
    assert text.count("{") == text.count("}")


def test_a_long_latex_table_goes_on_in_a_second_one_and_an_empty_one_says_so(tmp_path):
    table = Table("t", "First sentence. Second.", {"a": Column("A", "text"), "b": Column("B", "text")})
    frame = pd.DataFrame([{"a": f"row{number}", "b": ""} for number in range(ROWS_PER_PAGE + 1)])
    write_latex(tmp_path / "long.tex", frame, table)
    text = (tmp_path / "long.tex").read_text()
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 2
    assert all(text.count(f"row{number} ") == 1 for number in range(ROWS_PER_PAGE + 1))
    assert r"\caption{First sentence (continued).}" in text
    write_latex(tmp_path / "none.tex", frame[:0], table)
    assert r"\multicolumn{2}{l}{none} \\" in (tmp_path / "none.tex").read_text()


def test_shown_numbers_have_fixed_decimals_a_minus_sign_and_a_dash_for_nothing():
    assert (fixed(4), fixed(-1.005, 1), fixed(None), fixed(12, 0)) == ("4.00", "\u22121.0", "\u2013", "12")
    assert fixed(-0.004) == "0.00"
    assert with_interval(1, -2.0, 3.0) == "1.0 [\u22122.0, 3.0]"
    assert with_interval(1.25, None, None, 2) == "1.25"
    assert with_interval(None, 0, 1) == "\u2013" and plain_interval(None, 0, 1) == ""
    assert plain_interval(1.25, -0.5, 3) == "1.2 [-0.5, 3.0]"


def test_the_page_prints_the_verdicts_of_claims_csv_and_no_other(made):
    claims = read(made, "claims")
    table = read_judgements(made.table("claims"))
    kinds = [column.kind for column in table.columns]
    assert [row[kinds.index("verdict")] for row in table.rows] == [*claims["verdict"]]
    assert set(claims["verdict"]) == {"underpowered"}, "one run decides nothing"
    regressions = read_judgements(made.table("regression"))
    assert "verdict" not in [column.kind for column in regressions.columns]
    assert len(regressions.rows) == len(select(read(made, "regression"), pool="pooled"))


def test_truth_values_are_words_and_counts_whole(made):
    table = read_judgements(made.table("sensitivity"))
    row = dict(zip((column.heading for column in table.columns), table.rows[0]))
    assert (row["Default"], row["Value"], row["Runs"], row["R2"]) == ("yes", "0.50", "2", "\u2013")


@pytest.mark.parametrize("name", [*TABLES, *JUDGEMENTS])
def test_captions_and_headings_say_something(name):
    table = (TABLES | JUDGEMENTS)[name]
    assert table.title and table.caption.endswith(".")
    assert all(column.heading or key == "*" for key, column in table.columns.items())


def test_headlines_of_a_public_model_have_dashes_where_nothing_was_measured():
    empty = [typed(pd.DataFrame(), STORED[name]) for name in ("decline", "checkpoints")]
    lines = headlines(["m"], gap_of(gap_rows(checkpoint="final", step=None)), *empty)
    found = {line.name: line.values[0] for line in lines}
    assert found["GAP, Overall"] == "20.0 [10.0, 31.0], n = 7"
    assert found["Scores, Overall"] == "50.0 / 30.0 / 40.0"
    assert {found[name] for name in ("Erosion", "Loss gap", "WER of repeating", "APS, cosine")} == {"\u2013"}


@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=4), st.booleans(), max_size=30), st.integers(0, 12))
def test_chosen_ids_are_unique_enough_and_of_both_kinds(right, n):
    chosen = choose_ids(right, n)
    assert len(chosen) == len(set(chosen)) == min(n, len(right))
    assert set(chosen) <= set(right)
    both = min(sum(right.values()), sum(not kind for kind in right.values()))
    if len(chosen) >= 2 and both:
        assert {right[name] for name in chosen} == {True, False}


def test_chosen_ids_are_half_right_and_reach_from_first_to_last():
    right = {f"q{number:02d}": number < 10 for number in range(40)}
    chosen = choose_ids(right, 8)
    assert sum(right[name] for name in chosen) == 4
    assert (chosen[0], chosen[3], chosen[4], chosen[-1]) == ("q00", "q09", "q10", "q39")
    assert spread(["a", "b", "c"], 1) == ["a"]


def test_answers_without_scores_name_the_file(tmp_path):
    made = write_made_tables(tmp_path, ["m"])
    files = write_made_samples(made, n=4)
    with pytest.raises(ArtifactError, match=r"text\.00-of-02\.answers\.jsonl: no text\.scores\.json beside it"):
        build_samples(
            made.subsets,
            files.questions,
            files.utterances,
            files.answers,
            [p for p in files.scores if "text" not in p.name],
            2,
        )


def test_manifest_sums_job_times_by_stage_and_counts_dropped_utterances(tmp_path):
    for name, seconds in (("training/a.tsv", "10.5"), ("training/b.tsv", "2"), ("report/c.tsv", "1")):
        path = tmp_path / "times" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\th:m:s\n{seconds}\t0:00:01\n")
    assert wall_seconds(tmp_path / "times") == {"report": 1.0, "training": 12.5}
    made = write_made_tables(tmp_path, ["m"])
    facts = speech_facts(write_made_samples(made, n=5).utterances[0])
    assert (facts["spoken"], facts["kept"], facts["mean_wer"], facts["reasons_dropped"]) == (5, 4, 0.125, ["too long"])
    json.dumps(facts)
