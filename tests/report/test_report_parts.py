"""Tables, claims, choice of samples and manifest: planted values land where they belong."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.made_results import write_made_tables
from tests.made_samples import write_made_samples
from tests.report.conftest import build_tables_of
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.tables import read_table, write_table
from workflow_scripts.report.build_manifest import speech_facts, wall_seconds
from workflow_scripts.report.build_tables import (
    Labels,
    alignment_table,
    case_table,
    control_table,
    gap_table,
    intervention_table,
    pipeline_table,
    time_table,
)
from workflow_scripts.report.claims import regression_claims, verdict
from workflow_scripts.report.headline import headlines
from workflow_scripts.report.html_tables import fixed, is_numeric, shown_table, with_interval
from workflow_scripts.report.latex import ROWS_PER_PAGE, cell, escape, write_latex
from workflow_scripts.report.samples import build_samples, choose_ids, spread

LABELS = Labels({"models": {"m": {"label": "My model"}}, "subsets": {"nq": "NQ"}})


def gap_row(model="m", checkpoint="step-000010", step=10, subset="overall", **changes):
    row = {"model": model, "checkpoint": checkpoint, "step": step, "subset": subset, "n": 7}
    row |= {"text": 50.0, "speech": 30.0, "asr": 40.0, "gap": 20.0, "gap_low": 10.0, "gap_high": 31.0}
    return row | changes


def test_gap_table_puts_gap_and_interval_on_the_text_row():
    rows = [gap_row(), gap_row(subset="nq", text=55.0, speech=33.0), gap_row("smol", "base", None)]
    table, columns = gap_table(rows, LABELS)
    speech, text = table
    assert (speech["modality"], speech["nq"], speech["overall"]) == ("speech", 33.0, 30.0)
    assert (text["modality"], text["nq"], text["overall"], text["gap"]) == ("text", 55.0, 50.0, 20.0)
    assert text["gap_interval"] == "[10.0, 31.0]"
    assert "gap" not in speech
    assert columns["nq"] == "NQ"
    assert text["model"] == "My model"


def test_gap_table_without_an_interval_leaves_the_cell_empty():
    table, _ = gap_table([gap_row(gap_low=None, gap_high=None)], LABELS)
    assert table[1]["gap_interval"] is None


def test_pipeline_table_holds_the_untuned_backbones_only():
    rows = [gap_row(), *(gap_row("smol", "base", None, subset, asr=12.5) for subset in ("overall", "nq"))]
    table, _ = pipeline_table(rows, LABELS)
    assert [(row["input"], row["overall"], row["nq"]) for row in table] == [
        ("ASR + LLM", 12.5, 12.5),
        ("LLM on text", 50.0, 50.0),
    ]


def test_alignment_table_takes_the_last_checkpoint_whatever_the_order(tmp_path):
    rows = read_table(write_made_tables(tmp_path, ["m"]).table("checkpoints"))
    table, columns = alignment_table(rows[::-1], LABELS)
    assert len(table) == 1
    assert table[0]["monotonicity_cosine"] == pytest.approx(0.7)
    assert table[0]["monotonicity_cosine_null"] == pytest.approx(0.12)
    assert list(table[0]) == list(columns)


def test_time_table_has_the_last_checkpoint_beside_the_paths_without_a_model(tmp_path):
    rows = read_table(write_made_tables(tmp_path, ["m"]).table("checkpoints"))
    [row], columns = time_table(rows, LABELS)
    assert list(row) == list(columns)
    assert (row["time_error_ms_cosine"], row["time_error_ms_uniform"]) == (600, 1100)
    assert (row["time_error_ms_proportional"], row["timed_n"]) == (250, 156)


def test_intervention_table_keeps_counts_and_verdicts(tmp_path):
    rows = read_table(write_made_tables(tmp_path, ["m"]).table("tests"))
    table, _ = intervention_table(rows, LABELS)
    own = [row for row in rows if row["against"] == "none" and row["kind"] != "control"]
    assert [(row["edit"], row["b"], row["c"], row["verdict"]) for row in table] == [
        (row["edit"], row["b"], row["c"], row["verdict"]) for row in own
    ]
    beside, _ = control_table(rows, LABELS)
    assert {(row["edit"], row["against"]) for row in beside} == {
        (row["edit"], row["against"]) for row in rows if row["kind"] == "edit"
    }
    assert sum(row["edit"] == "angle_all" for row in beside) == 5


def test_case_table_prints_each_question_once_above_its_answers(tmp_path):
    rows = read_table(write_made_tables(tmp_path, ["m"]).table("cases"))
    table, columns = case_table(rows, LABELS)
    assert len(table) == len(rows) == 12 and list(table[0]) == list(columns)
    assert [bool(row["question"]) for row in table] == [True, *[False] * 5] * 2
    assert [row["change"] for row in table if row["change"]] == ["gained", "lost"]
    assert [row["input"] for row in table[:3]] == ["text", "speech", "angle_all"]


def test_tables_are_written_as_csv_and_latex(tmp_path):
    outputs = build_tables_of(write_made_tables(tmp_path))
    table = outputs["table2_gap_tex"].read_text()
    assert table.count(r"\begin{tabular}{") == 1
    assert "First model" in table
    assert len(read_table(outputs["table2_gap_csv"])) == 24  # 2 models, 6 checkpoints, 2 forms


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
    assert (cell(None), cell(4), cell(-3.14159), cell(7, 0)) == ("--", "4.00", "$-$3.14", "7")
    path = tmp_path / "t.tex"
    write_latex(path, [{"model": "a_b", "gap": 4, "n": 12}], {"model": "Model", "gap": "GAP", "n": "n"}, "95 %")
    text = path.read_text()
    assert r"a\_b & 4.00 & 12 \\" in text
    assert r"\begin{tabular}{lrr}" in text
    assert r"\caption{95 \%}" in text


def test_intervals_in_texts_have_true_minus_signs_and_answers_stay_as_they_are():
    assert cell("-1.2 [-3.0, 0.5]") == "$-$1.2 {[}$-$3.0, 0.5{]}"
    assert [is_numeric(text) for text in ("[-1, 2.5]", "-3", "1914-1918", "", "-", "A", "2 - 1")] == [
        *(True, True),
        *(False,) * 5,
    ]


def test_a_wide_latex_table_is_scaled_to_the_line_and_its_headings_are_broken(tmp_path):
    write_latex(tmp_path / "t.tex", [{"a": 1.0}], {"a": "Letter probability, accuracy"}, "c")
    text = (tmp_path / "t.tex").read_text()
    assert r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%" in text
    assert r"\shortstack{Letter \\ probability, \\ accuracy}" in text
    assert text.count("{") == text.count("}")


def test_a_long_latex_table_goes_on_in_a_second_one_and_an_empty_one_says_so(tmp_path):
    rows = [{"a": f"row{number}"} for number in range(ROWS_PER_PAGE + 1)]
    write_latex(tmp_path / "long.tex", rows, {"a": "A"}, "First sentence. Second.")
    text = (tmp_path / "long.tex").read_text()
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 2
    assert all(text.count(f"row{number} ") == 1 for number in range(ROWS_PER_PAGE + 1))
    assert r"\caption{First sentence (continued).}" in text
    write_latex(tmp_path / "none.tex", [], {"a": "A", "b": "B"}, "c")
    assert r"\multicolumn{2}{l}{none} \\" in (tmp_path / "none.tex").read_text()


def test_the_verdict_of_a_claim_stands_beside_it(tmp_path):
    write_table(tmp_path / "claims.csv", [{"claim": "c", "n": 1, "verdict": "supported"}], ("claim", "n", "verdict"))
    assert shown_table(tmp_path / "claims.csv", {}).rows == [["c", "supported", "1"]]


def test_shown_numbers_have_fixed_decimals_a_minus_sign_and_a_dash_for_nothing():
    assert (fixed(4), fixed(-1.005, 1), fixed(None), fixed(12, 0)) == ("4.00", "\u22121.0", "\u2013", "12")
    assert fixed(-0.004) == "0.00"
    assert with_interval({"a": 1, "a_low": -2.0, "a_high": 3.0}, "a") == "1.0 [\u22122.0, 3.0]"
    assert with_interval({"a": None}, "a") == "\u2013"


def fit(**changes):
    row = {"outcome": "gap", "predictor": "aps_cosine", "pool": "pooled", "n_runs": 4, "n_checkpoints": 20}
    row |= {"slope": -3.0, "r2": 0.9, "q2": 0.8, "r2_runs_low": 0.7, "r2_runs_high": 0.95, "partial_r2": 0.5}
    return row | changes


BASELINE = fit(predictor="log_step", q2=0.5, r2=0.6)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "supported"),
        ({"n_runs": 2}, "underpowered"),
        ({"q2": None}, "underpowered"),
        ({"slope": 3.0}, "not supported"),
        ({"q2": 0.4}, "not supported"),
        ({"r2_runs_low": 0.55}, "not supported"),
    ],
)
def test_the_verdict_follows_its_rule(changes, expected):
    assert verdict(fit(**changes), BASELINE, "aps_cosine") == expected


def test_distances_are_expected_to_grow_with_the_gap():
    assert verdict(fit(slope=3.0), BASELINE, "aps_euclidean") == "supported"
    assert verdict(fit(slope=-3.0), BASELINE, "aps_euclidean_calibrated") == "not supported"


def test_with_two_runs_every_claim_is_underpowered_whatever_the_r2(tmp_path):
    claims = regression_claims(read_table(write_made_tables(tmp_path).table("regression")))
    assert len(claims) == 12
    assert {claim.verdict for claim in claims} == {"underpowered"}
    assert max(claim.row["r2"] for claim in claims) > 0.9


def test_claims_use_the_pooled_fit_and_leave_out_what_was_not_fitted():
    rows = [fit(), BASELINE, fit(pool="model:a", predictor="sim_cosine"), fit(outcome="loss_gap")]
    claims = regression_claims(rows)
    assert [(claim.outcome, claim.predictor) for claim in claims] == [("GAP", "APS, cosine")]


def test_headlines_of_a_public_model_have_dashes_where_nothing_was_measured():
    lines = headlines(["m"], [gap_row(checkpoint="final", step=None, loss_gap=None)], [], [])
    shown = {line.name: line.values[0] for line in lines}
    assert shown["GAP, Overall"] == "20.0 [10.0, 31.0], n = 7"
    assert shown["Scores, Overall"] == "50.0 / 30.0 / 40.0"
    assert {shown[name] for name in ("Erosion", "Loss gap", "WER of repeating", "APS, cosine")} == {"\u2013"}


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


def test_a_table_of_verdicts_shows_whole_counts_words_for_truth_values_and_no_latex(tmp_path):
    columns = ("score", "default", "value", "n_runs")
    write_table(tmp_path / "sensitivity.csv", [{"score": "APS", "default": True, "value": 0.5, "n_runs": 2}], columns)
    shown = shown_table(tmp_path / "sensitivity.csv", {})
    assert shown.rows == [["APS", "yes", "0.50", "2"]]
    assert shown.numeric == [False, False, True, True]
    assert not shown.latex
