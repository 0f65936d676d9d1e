"""gap.csv and decline.csv: planted scores, golden text, pairing, missing forms, and the paper's identities."""

import math

import numpy as np
import pytest

from tests.evaluation.score_files import build, choices, ends, row, study, values, write
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.scores import ScoreFile
from workflow_scripts.artifacts.tables import select
from workflow_scripts.evaluation.build_gap_table import DIFFERENCES, REFERENCES

ALONE = {"overall": ["a"], "knowledge": [], "backbones": {}}


def test_overall_is_the_unweighted_mean_and_gap_is_text_minus_speech(tmp_path):
    gap, _ = build(tmp_path, study(tmp_path))
    overall = select(gap, model="m", subset="overall", measure="score").set_index("form")
    assert overall["value"].to_dict() == {"text": 75, "speech": 50, "asr": 62.5, "gap": 25}
    assert set(overall["n"]) == {8} and set(overall["step"]) == {400}
    assert ((overall["low"] < overall["value"]) & (overall["value"] < overall["high"])).all()
    assert values(gap, "unparsed", model="m", subset="overall", form="speech") == [0.25]
    for subset in ("knowledge", "b"):
        assert values(gap, "score", model="m", subset=subset, form="gap") == [25]


def test_subsets_of_other_size_weigh_the_same_and_those_outside_overall_do_not_count(tmp_path):
    files = [write(tmp_path, "a", form, [1] * 9) for form in ("text", "speech")]
    files += [write(tmp_path, "b", form, [0, 0]) for form in ("text", "speech")]
    files += [write(tmp_path, "c", form, [1]) for form in ("text", "speech")]
    gap, _ = build(tmp_path, files, backbones={})
    found = row(gap, subset="overall", measure="score", form="text")
    assert (found["value"], found["n"]) == (50, 11)
    assert values(gap, "score", subset="c", form="text") == [100]


def test_a_subsets_score_keeps_the_scorers_interval(tmp_path):
    gap, _ = build(tmp_path, study(tmp_path))
    assert ends(gap, model="m", subset="a", measure="score", form="speech")[1:] == (10, 90)


def test_base_rows_have_neither_speech_nor_gap(tmp_path):
    gap, _ = build(tmp_path, study(tmp_path))
    base = select(gap, model="lm", subset="overall")
    assert set(base["checkpoint"]) == {"base"} and base["step"].isna().all()
    assert set(base["form"]) == {"text", "asr"}
    assert [values(base, "score", form=form) for form in ("text", "asr")] == [[100], [75]]


def test_decline_parts_add_up(tmp_path):
    _, decline = build(tmp_path, study(tmp_path))
    overall = select(decline, subset="overall")
    assert values(overall, "erosion", "modality_gap", "decline") == [25, 25, 50]
    assert values(overall, "asr_loss", "tuned_asr_loss", "modality_loss") == [25, 12.5, 12.5]
    assert list(overall["measure"]) == [*REFERENCES, *DIFFERENCES]
    assert ((overall["low"] <= overall["value"]) & (overall["value"] <= overall["high"])).all()
    assert set(decline["subset"]) == {"overall", "knowledge", "a", "b"}


def test_loss_gap_is_pooled_over_questions_and_averaged_over_subsets_that_have_one(tmp_path):
    gap, _ = build(tmp_path, study(tmp_path))
    assert select(gap, model="m", subset="a", measure="loss").empty
    value, *interval = ends(gap, model="m", subset="overall", measure="loss", form="gap")
    assert value == 1  # 4/2 - 2/2 of every question,
    assert np.isnan(interval).all()  # so that nothing tells how it would differ on others
    assert values(gap, "loss", model="m", subset="overall", form="speech") == [2]


def test_loss_gap_uses_only_questions_with_both_costs_and_weighs_tokens(tmp_path):
    text = [(1.0, 1), (9.0, 3), (50.0, 1), None]
    speech = [(2.0, 1), (15.0, 3), None, (70.0, 1)]
    files = [write(tmp_path, "a", form, [1] * 4, nll=nll) for form, nll in (("text", text), ("speech", speech))]
    gap, _ = build(tmp_path, files, **ALONE)
    value, low, high = ends(gap, subset="a", measure="loss", form="gap")
    assert value == pytest.approx(17 / 4 - 10 / 4)
    assert low < value < high  # question by question 1 and 2 nats a token
    assert row(gap, subset="a", measure="loss", form="gap")["n"] == 2
    assert ends(gap, subset="a", measure="loss", form="text")[0] == pytest.approx(60 / 5)


def test_pairing_removes_what_both_forms_share(tmp_path):
    """Speech fails on exactly the questions text fails on: the width is that of two pseudo-counts (Bonett, Price)."""
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 2, 50).tolist()
    files = [write(tmp_path, "a", form, scores) for form in ("text", "speech")]
    gap, _ = build(tmp_path, files, **ALONE)
    half = 196 * (2 / 52 / 52) ** 0.5
    assert ends(gap, subset="overall", measure="score", form="gap") == pytest.approx((0, -half, half), rel=1e-3)
    _, low, high = ends(gap, subset="overall", measure="score", form="text")
    assert high - low > 2.5 * half


def test_the_mean_of_subsets_keeps_the_width_of_those_without_a_difference(tmp_path):
    files = [write(tmp_path, s, form, [1, 0] * 20) for s in "ab" for form in ("text", "speech")]
    gap, _ = build(tmp_path, files, backbones={})
    single, mean = (ends(gap, subset=name, measure="score", form="gap") for name in ("a", "overall"))
    assert mean[0] == single[0] == 0
    assert mean[2] == pytest.approx(single[2] / 2**0.5, rel=1e-4)


def test_pooled_instructions_count_with_their_denominators(tmp_path):
    """Long prompts fail and short ones pass, so that the pooled share lies far from the mean of the prompts."""
    passed, failed = {"strict": [True], "loose": [True]}, {"strict": [False] * 9, "loose": [False] * 9}
    details = [passed, failed] * 10
    pooled = (2 * 50 + 2 * 10) / 4  # prompts: 10 of 20; instructions: 10 of 100
    made = {"scorer": "instruction_following", "mean": pooled, "details": details}
    files = [write(tmp_path, "a", "text", [1, 0] * 10, **made)]
    none = {"scorer": "instruction_following", "mean": 0.0, "details": [failed] * 20}
    files.append(write(tmp_path, "a", "speech", [0, 0] * 10, **none))
    gap, _ = build(tmp_path, files, **ALONE)
    value, low, high = ends(gap, subset="overall", measure="score", form="text")
    assert value == pooled and 0 <= low < value < high <= 100
    value, low, high = ends(gap, subset="a", measure="score", form="gap")
    assert value == pooled and 0 < low < value < high


def test_word_errors_appear_for_repeat_only(tmp_path):
    details = [{"word_error_rate": 0.25}, {"word_error_rate": 0}]
    files = [write(tmp_path, "a", form, [0.75, 1], scorer="repeat", details=details) for form in ("text", "speech")]
    files += [write(tmp_path, "b", form, [1, 1]) for form in ("text", "speech")]
    gap, _ = build(tmp_path, files, overall=["b"], knowledge=[], backbones={})
    rates = select(gap, measure="word_error_rate")
    assert set(rates["subset"]) == {"a"}
    assert rates.set_index("form")["value"].to_dict() == {"text": 12.5, "speech": 12.5, "gap": 0}


def test_tables_do_not_depend_on_input_order(tmp_path):
    files = study(tmp_path)
    build(tmp_path, files)
    first = [(tmp_path / name).read_bytes() for name in ("gap.csv", "decline.csv")]
    build(tmp_path, files[::-1])
    assert [(tmp_path / name).read_bytes() for name in ("gap.csv", "decline.csv")] == first


def test_adding_a_model_leaves_the_rows_of_others_as_they_are(tmp_path):
    files = study(tmp_path)
    before, _ = build(tmp_path, files)
    more = [write(tmp_path, s, form, [0, 1, 0, 1], model="z") for s in "ab" for form in ("text", "speech")]
    after, _ = build(tmp_path, files + more)
    assert after[after["model"] != "z"].reset_index(drop=True).equals(before)


def test_questions_with_a_loss_are_counted_apart_from_those_with_a_score(tmp_path):
    files = [
        write(tmp_path, "a", form, [1, 0, 1], nll=[(1.0, 2), (3.0, 1), None if form == "text" else (2.0, 1)])
        for form in ("text", "speech")
    ]
    files += [write(tmp_path, "b", form, [1, 0], nll=[None, None]) for form in ("text", "speech")]
    gap, _ = build(tmp_path, files, backbones={})
    losses = select(gap, measure="loss")
    assert set(losses["subset"]) == {"overall", "a"}
    for subset, n in (("overall", 5), ("a", 3)):
        assert row(gap, subset=subset, measure="score", form="gap")["n"] == n
        assert select(losses, subset=subset).set_index("form")["n"].to_dict() == {"text": 2, "speech": 3, "gap": 2}
        assert values(losses, "loss", subset=subset, form="gap") == [0]


def test_steps_are_sorted_by_number(tmp_path):
    files = [
        write(tmp_path, "a", form, [1, 0], checkpoint=f"step-{step:06d}")
        for form in ("text", "speech")
        for step in (0, 20, 1000)
    ]
    gap, _ = build(tmp_path, files, **ALONE)
    assert list(gap["step"].drop_duplicates()) == [0, 20, 1000]


def test_a_frozen_backbone_has_eroded_by_exactly_nothing(tmp_path):
    files = [
        write(tmp_path, "a", form, [1, 0, 1, 0], model=model, checkpoint=checkpoint)
        for model, checkpoint in (("lm", "base"), ("m", "step-000400"))
        for form in ("text", "asr", *(("speech",) if model == "m" else ()))
    ]
    options = ALONE | {"backbones": {"m": "lm"}}
    _, sampled = build(tmp_path, files, **options)
    _, exact = build(tmp_path, files, **options, frozen=["m"])
    assert ends(sampled, measure="erosion", subset="a")[1] < 0 < ends(sampled, measure="erosion", subset="a")[2]
    value, *interval = ends(exact, measure="erosion", subset="a")
    assert value == 0 and np.isnan(interval).all(), "by construction: there is nothing to estimate"
    others = exact["measure"] != "erosion"
    assert exact[others].equals(sampled[others])


def test_the_fall_of_a_gap_since_the_first_trained_checkpoint_is_paired_over_questions(tmp_path):
    spoken = {0: [0, 0, 0, 0], 20: [0, 0, 1, 0], 50: [0, 0, 1, 0], 100: [1, 1, 1, 0]}
    files = []
    for step, scores in spoken.items():
        costs = [(4.0 - step / 100, 1)] * 4
        files.append(write(tmp_path, "a", "text", [1] * 4, checkpoint=f"step-{step:06d}", nll=[(1.0, 1)] * 4))
        files.append(write(tmp_path, "a", "speech", scores, checkpoint=f"step-{step:06d}", nll=costs))
    gap, _ = build(tmp_path, files, **ALONE)
    falls = {step: values(gap, "score_fall", "loss_fall", step=step, subset="a", form="gap") for step in spoken}
    assert falls == {0: [None, None], 20: [None, None], 50: [0, pytest.approx(0.3)], 100: [50, pytest.approx(0.8)]}
    value, low, high = ends(gap, measure="score_fall", step=50, subset="overall")
    assert value == 0 and low == -high < 0, "no question changed, of few; others may"
    value, low, high = ends(gap, measure="score_fall", step=100, subset="overall")
    assert low < value == 50 < high


def test_golden_tables(tmp_path):
    files = [
        write(tmp_path, "a", "text", [1, 1], nll=[(1.0, 1), (1.0, 1)]),
        write(tmp_path, "a", "speech", [0, 0], nll=[(2.5, 1), (2.5, 1)]),
        write(tmp_path, "a", "text", [1, 1], model="lm", checkpoint="base"),
        write(tmp_path, "a", "asr", [0, 0], model="lm", checkpoint="base"),
    ]
    build(tmp_path, files, overall=["a"], knowledge=[])
    gap = (tmp_path / "gap.csv").read_text().splitlines()
    assert gap[0] == "model,checkpoint,step,subset,form,measure,value,low,high,null,n"
    assert gap[1:5] == [
        "lm,base,,overall,text,score,100,10,90,,2",
        "lm,base,,overall,asr,score,0,10,90,,2",
        "lm,base,,overall,text,unparsed,0.25,,,,2",
        "lm,base,,overall,asr,unparsed,0.25,,,,2",
    ]
    tuned = [line.removeprefix("m,step-000400,400,a,") for line in gap if line.startswith("m,step-000400,400,a,")]
    assert tuned == [
        "text,score,100,10,90,,2",
        "text,unparsed,0.25,,,,2",
        "speech,score,0,10,90,,2",
        "speech,unparsed,0.25,,,,2",
        "gap,score,100,-34.8689,100,,2",
        "text,loss,1,,,,2",
        "speech,loss,2.5,,,,2",
        "gap,loss,1.5,,,,2",
    ]
    decline = (tmp_path / "decline.csv").read_text().splitlines()
    assert decline[:3] == [
        "model,checkpoint,step,subset,measure,value,low,high,n",
        "m,step-000400,400,overall,base_text,100,10,90,2",
        "m,step-000400,400,overall,base_asr,0,10,90,2",
    ]


def test_chance_corrected_accuracy_and_option_measures_stand_beside_the_score(tmp_path):
    files = [
        choices(tmp_path, "text", [1, 1, 1, 0], [2.0, 1.0, 1.0, -1.0]),
        choices(tmp_path, "speech", [1, 0, 0, 0], [1.0, -1.0, -1.0, -2.0]),
    ]
    gap, _ = build(tmp_path, files, **ALONE)
    a, overall = select(gap, subset="a"), select(gap, subset="overall")
    assert set(select(a, measure="score", form="text")["null"]) == {25}
    assert math.isnan(row(a, measure="score", form="gap")["null"])
    of = {
        form: values(a, "corrected", "letter_accuracy", "letter_margin", form=form)
        for form in ("text", "speech", "gap")
    }
    assert of["text"] == pytest.approx([100 * 2 / 3, 75, 0.75], abs=1e-4)
    assert of["speech"] == pytest.approx([0, 25, -0.75], abs=1e-4)
    assert of["gap"] == pytest.approx([50 / 0.75, 50, 1.5], abs=1e-3)
    assert ends(a, measure="corrected", form="text")[1:] == (-7, 9), "the score file's own interval"
    value, low, high = ends(a, measure="letter_margin", form="gap")
    assert low < value < high
    assert values(a, "option_accuracy", form="text") + values(a, "option_margin", form="gap") == [0, -1.5]
    assert row(a, measure="outside_mass", form="speech")["n"] == 4
    assert values(overall, "letter_margin", form="gap") == [1.5]
    value, low, high = ends(overall, measure="corrected", form="gap")
    assert low < value < high


def test_option_measures_leave_out_questions_that_were_not_asked_in_a_form(tmp_path):
    files = [
        choices(tmp_path, "text", [1, 1, 0], [3.0, 1.0, -1.0]),
        choices(tmp_path, "speech", [1, 1, 0], [1.0, 0.5, -2.0]),
        choices(tmp_path, "asr", [1, 0, 0], [2.0, None, -1.0]),
    ]
    gap, _ = build(tmp_path, files, **ALONE)
    margins = select(gap, subset="a", measure="letter_margin").set_index("form")
    assert margins["n"].to_dict() == {"text": 3, "speech": 3, "asr": 2, "gap": 3}
    assert (margins["value"]["asr"], margins["value"]["text"]) == (0.5, 1)


def test_means_take_option_measures_from_the_subsets_that_have_them(tmp_path):
    files = [choices(tmp_path, form, [1, 0], [1.0, -1.0]) for form in ("text", "speech")]
    files += [write(tmp_path, "b", form, [1, 1]) for form in ("text", "speech")]
    gap, _ = build(tmp_path, files, backbones={})
    found = row(gap, subset="overall", measure="letter_accuracy", form="text")
    assert (found["value"], found["n"]) == (50, 2)
    assert values(gap, "letter_accuracy", subset="knowledge", form="text") == [None]


def test_a_single_question_has_no_interval(tmp_path):
    files = [write(tmp_path, "a", form, [1.0], nll=[(1.0, 2)]) for form in ("text", "speech")]
    gap, _ = build(tmp_path, files, **ALONE)
    for measure in ("score", "loss"):
        value, low, high = ends(gap, subset="a", measure=measure, form="gap")
        assert value == 0 and math.isnan(low) and math.isnan(high)


def test_a_missing_subset_is_named(tmp_path):
    with pytest.raises(ArtifactError, match=r"m/step-000400: no scores on subset\(s\) \['b'"):
        build(tmp_path, [write(tmp_path, "a", form, [1, 0]) for form in ("text", "speech")])


def test_a_missing_backbone_is_named_unless_the_model_is_public(tmp_path):
    files = [write(tmp_path, s, form, [1, 0]) for s in "ab" for form in ("text", "speech")]
    with pytest.raises(ArtifactError, match="no scores of the untuned backbone 'lm' of 'm'"):
        build(tmp_path, files)
    public = [write(tmp_path, s, form, [1, 0], checkpoint="final") for s in "ab" for form in ("text", "speech")]
    _, decline = build(tmp_path, public)
    assert decline.empty


def test_forms_scored_on_other_questions_are_refused_with_both_files(tmp_path):
    files = [write(tmp_path, "a", "text", [1, 0, 1]), write(tmp_path, "a", "speech", [1, 0])]
    with pytest.raises(ArtifactError, match=r"text\.scores\.json: other questions than .*speech\.scores.*'a2'"):
        build(tmp_path, files, overall=["a"], knowledge=[])


def test_the_same_scores_twice_are_refused(tmp_path):
    first = write(tmp_path, "a", "text", [1, 0])
    copy = tmp_path / "copy" / "text.scores.json"
    copy.parent.mkdir()
    copy.write_bytes(first.read_bytes())
    with pytest.raises(ArtifactError, match="the same model, checkpoint, subset and form"):
        build(tmp_path, [first, copy], overall=["a"], knowledge=[])


def test_answers_that_a_tie_decided_are_counted_by_form(tmp_path):
    """Two of four spoken answers have a token that another could have replaced; files that do not say have no row."""
    files = [write(tmp_path, "a", form, [1, 1, 0, 0]) for form in ("text", "speech")]
    assert select(build(tmp_path, files, **ALONE)[0], measure="answers_tied").empty
    for path, ties in zip(files, ([0, 0, 0, 0], [0, 3, 1, 0])):
        found = ScoreFile.read(path)
        questions = [one.model_copy(update={"ties": count}) for one, count in zip(found.questions, ties)]
        found.model_copy(update={"questions": questions}).write(path)
    gap, _ = build(tmp_path, files, **ALONE)
    assert values(gap, "answers_tied", subset="a", form="text") == [0]
    value, low, high = ends(gap, subset="a", measure="answers_tied", form="speech")
    assert value == 50 and 0 < low < 50 < high < 100
    assert values(gap, "answers_tied", subset="a", form="gap") == [-50]
