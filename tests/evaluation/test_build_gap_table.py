"""gap.csv and decline.csv: planted scores, golden text, pairing, missing forms, and the paper's identities."""

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.evaluation.score_files import build, choices, pick, study, write
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.evaluation.build_gap_table import DECLINE_COLUMNS, DIFFERENCES, GAP_COLUMNS, MEASURES, REFERENCES
from workflow_scripts.evaluation.score_index import FORMS
from workflow_scripts.statistics.resampling import Resampler, interval

LAST = (
    *("chance", "n_options"),
    *(f"{name}_{of}{end}" for name in MEASURES for of in (*FORMS, "gap") for end in ("", "_low", "_high")),
)


def test_overall_is_the_unweighted_mean_and_gap_is_text_minus_speech(tmp_path):
    gap, _ = build(tmp_path, study(tmp_path))
    row = pick(gap, model="m", subset="overall")
    assert (row["text"], row["speech"], row["asr"], row["gap"], row["n"]) == (75, 50, 62.5, 25, 8)
    assert row["gap_low"] < 25 < row["gap_high"]
    assert row["text_low"] < 75 < row["text_high"]
    assert (row["step"], row["unparsed_speech"]) == (400, 0.25)
    assert pick(gap, model="m", subset="knowledge")["gap"] == pick(gap, model="m", subset="b")["gap"] == 25


def test_subsets_of_other_size_weigh_the_same_and_those_outside_overall_do_not_count(tmp_path):
    files = [write(tmp_path, "a", form, [1] * 9) for form in ("text", "speech")]
    files += [write(tmp_path, "b", form, [0, 0]) for form in ("text", "speech")]
    files += [write(tmp_path, "c", form, [1]) for form in ("text", "speech")]
    gap, _ = build(tmp_path, files, backbones={})
    assert pick(gap, subset="overall")["text"] == 50
    assert pick(gap, subset="overall")["n"] == 11
    assert pick(gap, subset="c")["text"] == 100


def test_a_subsets_score_keeps_the_scorers_interval(tmp_path):
    gap, _ = build(tmp_path, study(tmp_path))
    row = pick(gap, model="m", subset="a")
    assert (row["speech_low"], row["speech_high"]) == (10, 90)


def test_base_rows_have_neither_speech_nor_gap(tmp_path):
    gap, _ = build(tmp_path, study(tmp_path))
    row = pick(gap, model="lm", subset="overall")
    assert (row["checkpoint"], row["step"], row["speech"], row["gap"], row["loss_gap"]) == (
        "base",
        None,
        None,
        None,
        None,
    )
    assert (row["text"], row["asr"]) == (100, 75)


def test_decline_parts_add_up(tmp_path):
    _, decline = build(tmp_path, study(tmp_path))
    row = pick(decline, subset="overall")
    assert (row["erosion"], row["modality_gap"], row["decline"]) == (25, 25, 50)
    assert (row["asr_loss"], row["tuned_asr_loss"], row["modality_loss"]) == (25, 12.5, 12.5)
    for name in REFERENCES:
        assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
    assert {row["subset"] for row in decline} == {"overall", "knowledge", "a", "b"}
    for name in DIFFERENCES:
        assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]


def test_loss_gap_is_pooled_over_questions_and_averaged_over_subsets_that_have_one(tmp_path):
    gap, _ = build(tmp_path, study(tmp_path))
    assert pick(gap, model="m", subset="a")["loss_gap"] is None
    row = pick(gap, model="m", subset="overall")
    assert row["loss_gap"] == row["loss_gap_low"] == row["loss_gap_high"] == 1  # 4/2 - 2/2 for every question
    assert row["nll_speech"] == 2


def test_loss_gap_uses_only_questions_with_both_costs_and_weighs_tokens(tmp_path):
    text = [(1.0, 1), (9.0, 3), (50.0, 1), None]
    speech = [(2.0, 1), (15.0, 3), None, (70.0, 1)]
    files = [write(tmp_path, "a", form, [1] * 4, nll=nll) for form, nll in (("text", text), ("speech", speech))]
    gap, _ = build(tmp_path, files, overall=["a"], knowledge=[], backbones={})
    row = pick(gap, subset="a")
    assert row["loss_gap"] == pytest.approx(17 / 4 - 10 / 4)
    assert 1 <= row["loss_gap_low"] <= row["loss_gap"] <= row["loss_gap_high"] <= 2


def test_pairing_removes_what_both_forms_share(tmp_path):
    """Speech fails on exactly the questions text fails on, plus none: a paired gap of 0 has no width at all."""
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 2, 50).tolist()
    files = [write(tmp_path, "a", form, scores) for form in ("text", "speech")]
    gap, _ = build(tmp_path, files, overall=["a"], knowledge=[], backbones={})
    row = pick(gap, subset="overall")
    assert (row["gap"], row["gap_low"], row["gap_high"]) == (0, 0, 0)
    assert row["text_high"] - row["text_low"] > 10


def test_interval_covers_the_true_gap_about_as_often_as_it_says():
    rng = np.random.default_rng(5)
    covered = 0
    for trial in range(200):
        difference = rng.normal(3.0, 1.0, 60)
        low, high = interval(Resampler(300, trial).means("a", difference, difference.mean()))
        covered += low <= 3.0 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_rounding_of_the_aggregate_does_not_push_ends_off_the_scale():
    scores = 100 * np.array([1.0, 0.0, 0.0])
    draws = Resampler(200, 0).means("a", scores, scores.mean() - 7e-15)
    assert (draws.min(), draws.max()) == (0, 100)


def test_an_aggregate_that_is_no_mean_of_scores_keeps_its_value_inside_the_interval(tmp_path):
    changes = {"scorer": "instruction_following", "mean": 62.0}
    files = [write(tmp_path, "a", "text", [1, 0, 1, 0] * 5, **changes)]
    files.append(write(tmp_path, "a", "speech", [0, 0, 1, 0] * 5, **(changes | {"mean": 30.0})))
    gap, _ = build(tmp_path, files, overall=["a"], knowledge=[], backbones={})
    row = pick(gap, subset="a")
    assert row["gap"] == 32
    assert row["gap_low"] < 32 < row["gap_high"]


def test_word_errors_appear_for_repeat_only(tmp_path):
    details = [{"word_error_rate": 0.25}, {"word_error_rate": 0}]
    files = [
        write(tmp_path, "a", form, [0.75, 1], scorer="repeat", details=details, model="m")
        for form in ("text", "speech")
    ]
    files += [write(tmp_path, "b", form, [1, 1]) for form in ("text", "speech")]
    gap, _ = build(tmp_path, files, overall=["b"], knowledge=[], backbones={})
    assert pick(gap, subset="a")["wer_speech"] == 12.5
    assert pick(gap, subset="b")["wer_speech"] is None
    assert pick(gap, subset="overall")["wer_text"] is None


def test_tables_do_not_depend_on_input_order_and_repeat_with_the_seed(tmp_path):
    files = study(tmp_path)
    build(tmp_path, files)
    first = [(tmp_path / name).read_bytes() for name in ("gap.csv", "decline.csv")]
    build(tmp_path, files[::-1])
    assert [(tmp_path / name).read_bytes() for name in ("gap.csv", "decline.csv")] == first
    build(tmp_path, files, seed=2, draws=50)
    assert (tmp_path / "gap.csv").read_bytes() != first[0]


def test_adding_a_model_leaves_the_rows_of_others_as_they_are(tmp_path):
    files = study(tmp_path)
    before, _ = build(tmp_path, files)
    more = [write(tmp_path, s, form, [0, 1, 0, 1], model="z") for s in "ab" for form in ("text", "speech")]
    after, _ = build(tmp_path, files + more)
    assert [row for row in after if row["model"] != "z"] == before


def test_questions_with_a_loss_are_counted_apart_from_those_with_a_score(tmp_path):
    files = [
        write(tmp_path, "a", form, [1, 0, 1], nll=[(1.0, 2), (3.0, 1), None if form == "text" else (2.0, 1)])
        for form in ("text", "speech")
    ]
    files += [write(tmp_path, "b", form, [1, 0], nll=[None, None]) for form in ("text", "speech")]
    gap, _ = build(tmp_path, files, backbones={})
    found = {row["subset"]: (row["n"], row["n_loss"], row["loss_gap"]) for row in gap}
    assert found == {"overall": (5, 2, 0), "knowledge": (2, None, None), "a": (3, 2, 0), "b": (2, None, None)}


def test_steps_are_sorted_by_number(tmp_path):
    files = [
        write(tmp_path, "a", form, [1, 0], checkpoint=f"step-{step:06d}")
        for form in ("text", "speech")
        for step in (0, 20, 1000)
    ]
    gap, _ = build(tmp_path, files, overall=["a"], knowledge=[], backbones={})
    assert [row["step"] for row in gap if row["subset"] == "overall"] == [0, 20, 1000]


def test_golden_table(tmp_path):
    files = [
        write(tmp_path, "a", "text", [1, 1], nll=[(1.0, 1), (1.0, 1)]),
        write(tmp_path, "a", "speech", [0, 0], nll=[(2.5, 1), (2.5, 1)]),
        write(tmp_path, "a", "asr", [1, 1], nll=[(1.25, 1), (1.25, 1)]),
        write(tmp_path, "a", "text", [1, 1], model="lm", checkpoint="base"),
        write(tmp_path, "a", "asr", [0, 0], model="lm", checkpoint="base"),
    ]
    build(tmp_path, files, overall=["a"], knowledge=[])
    gap = list(csv.reader((tmp_path / "gap.csv").open()))
    assert tuple(gap[0]) == GAP_COLUMNS
    assert GAP_COLUMNS[-len(LAST) :] == LAST
    assert {cell for row in gap[1:] for cell in row[-len(LAST) :]} == {""}, "measures of multiple choice only"
    assert [",".join(row[: -len(LAST)]) for row in gap[1:]] == [
        "lm,base,,overall,2,100,100,100,,,,0,0,0,,,,0.25,,0.25,,,,,,,,,,",
        "lm,base,,a,2,100,10,90,,,,0,10,90,,,,0.25,,0.25,,,,,,,,,,",
        "m,step-000400,400,overall,2,100,100,100,0,0,0,100,100,100,100,100,100,"
        "0.25,0.25,0.25,1,2.5,1.25,1.5,1.5,1.5,2,,,",
        "m,step-000400,400,a,2,100,10,90,0,10,90,100,10,90,100,100,100,0.25,0.25,0.25,1,2.5,1.25,1.5,1.5,1.5,2,,,",
    ]
    decline = (tmp_path / "decline.csv").read_text().splitlines()
    assert decline[0] == ",".join(DECLINE_COLUMNS)
    zero, hundred = "0,0,0", "100,100,100"
    references = ",".join([hundred, zero, hundred, hundred, zero])
    differences = ",".join([zero, hundred, zero, hundred, hundred, hundred])
    assert decline[1] == f"m,step-000400,400,overall,{references},{differences},2"


def test_chance_corrected_accuracy_and_option_measures_stand_beside_the_score(tmp_path):
    files = [
        choices(tmp_path, "text", [1, 1, 1, 0], [2.0, 1.0, 1.0, -1.0]),
        choices(tmp_path, "speech", [1, 0, 0, 0], [1.0, -1.0, -1.0, -2.0]),
    ]
    gap, _ = build(tmp_path, files, overall=["a"], knowledge=[], backbones={})
    row = pick(gap, subset="a")
    assert (row["chance"], row["n_options"]) == (25, 4)
    assert (row["corrected_text"], row["corrected_speech"]) == pytest.approx((100 * 2 / 3, 0), abs=1e-4)
    assert row["corrected_gap"] == pytest.approx(50 / 0.75, abs=1e-3)
    assert (row["corrected_text_low"], row["corrected_text_high"]) == (-7, 9), "the score file's own interval"
    assert (row["letter_accuracy_text"], row["letter_accuracy_speech"], row["letter_accuracy_gap"]) == (75, 25, 50)
    assert (row["letter_margin_text"], row["letter_margin_speech"], row["letter_margin_gap"]) == (0.75, -0.75, 1.5)
    assert 1 <= row["letter_margin_gap_low"] < 1.5 < row["letter_margin_gap_high"] <= 2
    assert (row["option_accuracy_text"], row["option_margin_gap"], row["outside_mass_speech"]) == (0, -1.5, 0.25)
    overall = pick(gap, subset="overall")
    assert overall["letter_margin_gap"] == 1.5
    assert overall["corrected_gap_low"] < overall["corrected_gap"] < overall["corrected_gap_high"]


def test_option_measures_leave_out_questions_that_were_not_asked_in_a_form(tmp_path):
    files = [
        choices(tmp_path, "text", [1, 1, 0], [3.0, 1.0, -1.0]),
        choices(tmp_path, "speech", [1, 1, 0], [1.0, 0.5, -2.0]),
        choices(tmp_path, "asr", [1, 0, 0], [2.0, None, -1.0]),
    ]
    gap, _ = build(tmp_path, files, overall=["a"], knowledge=[], backbones={})
    row = pick(gap, subset="a")
    assert (row["n"], row["n_options"]) == (3, 2)
    assert row["letter_margin_asr"] == 0.5
    assert row["letter_margin_text"] == 1


def test_means_take_option_measures_from_the_subsets_that_have_them(tmp_path):
    files = [choices(tmp_path, form, [1, 0], [1.0, -1.0]) for form in ("text", "speech")]
    files += [write(tmp_path, "b", form, [1, 1]) for form in ("text", "speech")]
    gap, _ = build(tmp_path, files, backbones={})
    assert pick(gap, subset="overall")["letter_accuracy_text"] == 50
    assert pick(gap, subset="overall")["n_options"] == 2
    assert pick(gap, subset="knowledge")["letter_accuracy_text"] is None


def test_a_single_question_has_no_interval(tmp_path):
    files = [write(tmp_path, "a", form, [1.0], nll=[(1.0, 2)]) for form in ("text", "speech")]
    gap, _ = build(tmp_path, files, overall=["a"], knowledge=[], backbones={})
    row = pick(gap, subset="a")
    assert (row["gap"], row["gap_low"], row["loss_gap_high"]) == (0, None, None)


def test_a_missing_subset_is_named(tmp_path):
    with pytest.raises(ArtifactError, match=r"m/step-000400: no scores on subset\(s\) \['b'"):
        build(tmp_path, [write(tmp_path, "a", form, [1, 0]) for form in ("text", "speech")])


def test_a_missing_backbone_is_named_unless_the_model_is_public(tmp_path):
    files = [write(tmp_path, s, form, [1, 0]) for s in "ab" for form in ("text", "speech")]
    with pytest.raises(ArtifactError, match="no scores of the untuned backbone 'lm' of 'm'"):
        build(tmp_path, files)
    public = [write(tmp_path, s, form, [1, 0], checkpoint="final") for s in "ab" for form in ("text", "speech")]
    _, decline = build(tmp_path, public)
    assert decline == []


def test_forms_scored_on_other_questions_are_refused_with_both_files(tmp_path):
    files = [write(tmp_path, "a", "text", [1, 0, 1]), write(tmp_path, "a", "speech", [1, 0])]
    with pytest.raises(ArtifactError, match=r"text\.scores\.json: other questions than .*speech\.scores.*'a2'"):
        build(tmp_path, files, overall=["a"], knowledge=[])


def test_the_same_scores_twice_are_refused(tmp_path):
    first = write(tmp_path, "a", "text", [1, 0])
    copy = tmp_path / "copy.scores.json"
    copy.write_bytes(first.read_bytes())
    with pytest.raises(ArtifactError, match="the same model, checkpoint, subset and form"):
        build(tmp_path, [first, copy], overall=["a"], knowledge=[])


@settings(max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=20), st.integers(0, 2**16))
def test_resampled_means_stay_within_the_scores_and_repeat_with_the_seed(values, seed):
    values = np.array(values)
    draws = Resampler(50, seed).means("a", values, values.mean())
    assert draws.min() >= values.min() - 1e-9
    assert draws.max() <= values.max() + 1e-9
    assert np.array_equal(draws, Resampler(50, seed).means("a", values, values.mean()))
