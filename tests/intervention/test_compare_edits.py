"""tests.csv: planted changes, exact p values, verdicts beside controls, power, and inputs that do not fit together."""

import numpy as np
import pytest

from workflow_scripts.artifacts.answers import EDITED_ANSWERS, EditedAnswerRecord
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.questions import QUESTIONS, Question
from workflow_scripts.artifacts.tables import TABLES, read_table
from workflow_scripts.intervention.compare_edits import compare_edits, kl_change, loss_change, readings

N = 40


@pytest.fixture
def questions(tmp_path):
    path = tmp_path / "questions.jsonl"
    made = [
        Question(
            id=f"q{k:02d}", subset="nq", prompt="?", spoken="?", reference=["yes"], scorer="short_answer", source={}
        )
        for k in range(N)
    ]
    QUESTIONS.write(path, made, {})
    return path


def answer(name, edit, right, nll=None, tokens=2, n_edited=0, kl=None, shifts=()):
    return EditedAnswerRecord(
        id=name,
        form="speech",
        edit=edit,
        prompt_hash="0" * 16,
        answer="yes" if right else "no",
        token_ids=[int(right)],
        finish_reason="stop",
        seconds=0,
        reference_nll=nll,
        reference_tokens=tokens if nll is not None else 0,
        n_edited=n_edited,
        kl_first=kl,
        shifts=list(shifts),
    )


def facts_of(edit):
    """Cell facts by name: `x~random_direction` is a control of x, `no_op` and `oracle` are themselves."""
    name, _, control = edit.partition("~")
    operation = {"no_op": "no_op", "oracle": "oracle_transcript"}.get(name, "angle")
    facts = {"name": edit, "operation": operation, "selection": "all", "layer": 0, "path": "vote", "swept": False}
    counts = {"edited": 4, "zero_vectors": 0, "exhausted": 0, "unedited": {}, "mean_log_norm_ratio": 0.5}
    return facts | counts | {"mean_shift": 1.0, "control": control or None, "of": name if control else None}


def write(folder, edits, model="m", shard="00-of-01", checkpoint="step-000400", cells=None, **records):
    """Edited answers of one shard; `edits` maps an edit to which questions are right."""
    path = folder / model / checkpoint / f"{shard}.answers.jsonl"
    made = [
        answer(f"q{k:02d}", edit, right, **records)
        for edit, rights in {"text": edits.get("none", BASELINE), **edits}.items()
        for k, right in (rights.items() if isinstance(rights, dict) else enumerate(rights))
    ]
    described = {edit: facts_of(edit) for edit in edits if edit not in ("none", "text")} if cells is None else cells
    EDITED_ANSWERS.write(path, made, {"model": model, "checkpoint": checkpoint, "shard": shard, "cells": described})
    return path


def changed(baseline, b, c):
    """Baseline answers with b wrong ones turned right and c right ones turned wrong."""
    after = np.array(baseline)
    after[np.flatnonzero(~after)[:b]] = True
    after[np.flatnonzero(np.array(baseline))[:c]] = False
    return after.tolist()


BASELINE = [k % 2 == 0 for k in range(N)]  # half right


def run(folder, questions, files, models=("m",), n_cases=10):
    tests, cases = folder / "tests.csv", folder / "cases.csv"
    options = {"models": list(models), "subset": "nq", "scorer": "short_answer"}
    compare_edits(files, questions, folder / "punkt" / "asset.json", tests, cases, n_cases=n_cases, **options)
    return [row for row in records(tests, "tests") if row["edit"] != "text"]


def records(path, name):
    """Rows with None where a number is missing."""
    table = read_table(path, name).astype(object)
    return table.where(table.notna(), None).to_dict("records")


def pick(rows, **wanted):
    (row,) = [row for row in rows if all(row[name] == value for name, value in ({"against": "none"} | wanted).items())]
    return row


def with_control(edits, **controls):
    """Edits, each with a control that leaves the baseline's answers unless `controls` says otherwise."""
    found = {"none": BASELINE}
    for name, rights in edits.items():
        found |= {name: rights, f"{name}~random_direction": controls.get(name, BASELINE)}
    return found


def test_planted_changes_are_counted_and_judged(tmp_path, questions):
    edits = {
        "good": changed(BASELINE, 14, 0),
        "bad": changed(BASELINE, 1, 17),
        "mixed": changed(BASELINE, 6, 5),
        "rare": changed(BASELINE, 5, 0),
        "leak": changed(BASELINE, 14, 0),
    }
    # The control of `leak` gains as much: any direction of that size would have done.
    leak = changed(BASELINE, 20, 3)
    rows = run(tmp_path, questions, [write(tmp_path, with_control(edits, leak=leak))])
    edited = [row for row in rows if row["kind"] == "edit" and row["against"] == "none"]
    assert {row["edit"]: (row["b"], row["c"], row["net"], row["verdict"]) for row in edited} == {
        "good": (14, 0, 14, "helps"),
        "bad": (1, 17, -16, "hurts"),
        "mixed": (6, 5, 1, "no evidence"),
        "rare": (5, 0, 5, "underpowered"),
        "leak": (14, 0, 14, "no evidence"),
    }
    good = pick(rows, edit="good")
    assert (good["score"], good["score_against"], good["difference"], good["n"]) == (85, 50, 35, N)
    assert 10 < good["difference_low"] < 30 < good["difference_high"] < 55
    assert good["p"] == pytest.approx(2 / 2**14, rel=1e-4)
    assert pick(rows, edit="rare")["p"] == 0.0625
    assert good["changed_answers"] == 14
    beside = pick(rows, edit="leak", against="leak~random_direction")
    assert (beside["b"], beside["c"]) == (3, 6)


def test_an_edit_without_controls_gets_no_good_verdict(tmp_path, questions):
    rows = run(tmp_path, questions, [write(tmp_path, {"none": BASELINE, "good": changed(BASELINE, 15, 0)})])
    assert pick(rows, edit="good")["verdict"] == "no evidence"
    assert pick(rows, edit="good")["p_holm"] < 0.01


def test_every_edit_is_compared_with_each_of_its_controls_and_controls_with_nothing_else(tmp_path, questions):
    edits = {"none": BASELINE, "no_op": BASELINE, "x": BASELINE, "y": BASELINE, "oracle": BASELINE}
    edits |= {f"x~{name}": BASELINE for name in ("random_direction", "other_token")}
    rows = run(tmp_path, questions, [write(tmp_path, edits)])
    found = {(row["edit"], row["against"], row["kind"]) for row in rows}
    assert found == {
        ("no_op", "none", "check"),
        ("x", "none", "edit"),
        ("x", "x~random_direction", "edit"),
        ("x", "x~other_token", "edit"),
        ("y", "none", "edit"),
        ("x~random_direction", "none", "control"),
        ("x~other_token", "none", "control"),
        ("oracle", "none", "ceiling"),
    }
    for row in rows:
        assert (row["p_holm"] is not None) == (row["kind"] == "edit")
        assert bool(row["verdict"]) == (row["kind"] == "edit" and row["against"] == "none")


def test_holm_runs_over_all_edits_of_all_models(tmp_path, questions):
    files = [
        write(tmp_path, {"none": BASELINE, "x": changed(BASELINE, 7, 0)}, model="m"),
        write(tmp_path, {"none": BASELINE, "x": changed(BASELINE, 6, 0), "y": BASELINE, "no_op": BASELINE}, model="z"),
    ]
    rows = run(tmp_path, questions, files, models=("z", "m"))
    assert [(row["model"], row["edit"]) for row in rows] == [("z", "x"), ("z", "y"), ("z", "no_op"), ("m", "x")]
    assert pick(rows, model="m")["p_holm"] == pytest.approx(3 * 2 / 2**7)
    assert pick(rows, model="z", edit="x")["p_holm"] == pytest.approx(2 * 2 / 2**6)


def test_an_edit_that_does_nothing_changes_nothing_and_says_how_little_that_means(tmp_path, questions):
    row = run(tmp_path, questions, [write(tmp_path, {"none": BASELINE, "no_op": BASELINE}, nll=3.0, kl=0.5)])[0]
    assert [row[name] for name in ("difference", "nll_change", "changed_answers", "kl_change")] == [0] * 4
    assert row["nll_change_low"] is row["kl_change_high"] is None, "equal by construction: nothing to estimate"
    assert (row["p"], row["nll_per_token"], row["kl_first"]) == (1, 1.5, 0.5)
    assert row["difference_low"] < 0 < row["difference_high"], "no change among 40 does not mean none anywhere"
    assert row["detectable"] == pytest.approx(19.2, abs=0.2)


def test_random_changes_rarely_get_a_verdict(tmp_path, questions):
    rng = np.random.default_rng(2)
    edits = with_control({f"e{k}": rng.permutation(BASELINE).tolist() for k in range(20)})
    rows = run(tmp_path, questions, [write(tmp_path, edits)])
    assert {row["verdict"] for row in rows} == {"no evidence", ""}


def test_counts_of_what_was_edited_are_in_the_table(tmp_path, questions):
    cells = {"x": facts_of("x") | {"exhausted": 1, "unedited": {"why": 2}}}
    files = [write(tmp_path, {"none": BASELINE, "x": BASELINE}, cells=cells, n_edited=3, shifts=(1.0, 2.0))]
    row = pick(run(tmp_path, questions, files), edit="x")
    counts = {name: row[name] for name in ("edited_mean", "shift_mean", "log_norm_ratio", "unedited", "exhausted")}
    assert counts == {"edited_mean": 3, "shift_mean": 1.5, "log_norm_ratio": 0.5, "unedited": 2, "exhausted": 1}


def test_the_change_of_kl_is_paired():
    """Questions differ by 20 nats, the change by a tenth: the interval is of its size."""
    pairs = [
        (answer(f"q{k}", "none", True, kl=1.0 + k), answer(f"q{k}", "x", True, kl=0.5 + k + 0.1 * (k % 2)))
        for k in range(20)
    ]
    found = kl_change(pairs)
    half = 2.0930 * 0.05 * (20 / 19) ** 0.5 / 20**0.5
    assert found["kl_change"] == pytest.approx(-0.45)
    assert (found["kl_change_low"], found["kl_change_high"]) == pytest.approx((-0.45 - half, -0.45 + half), abs=1e-4)


def test_loss_change_is_pooled_over_tokens_with_an_interval_around_it():
    rng = np.random.default_rng(3)
    pairs = []
    for k in range(60):
        tokens = int(rng.integers(1, 9))
        before = float(rng.uniform(1, 3)) * tokens
        after = before - 0.5 * tokens + float(rng.normal(0, 0.3))
        pairs.append((answer(f"q{k}", "none", True, before, tokens), answer(f"q{k}", "x", True, after, tokens)))
    found = loss_change(pairs)
    nats = sum(after.reference_nll - before.reference_nll for before, after in pairs)
    tokens = sum(after.reference_tokens for _, after in pairs)
    assert found["nll_change"] == pytest.approx(nats / tokens)
    assert found["nll_change_low"] < found["nll_change"] < found["nll_change_high"] < -0.3


def test_a_change_proportional_to_tokens_has_no_interval():
    pairs = [(answer("q", "none", True, 4.0 * t, t), answer("q", "x", True, 3.0 * t, t)) for t in (1, 2, 5)]
    found = loss_change(pairs)
    assert found["nll_change"] == pytest.approx(-1)
    assert np.isnan([found["nll_change_low"], found["nll_change_high"]]).all()


def test_questions_without_reference_leave_the_loss_empty(tmp_path, questions):
    row = run(tmp_path, questions, [write(tmp_path, {"none": BASELINE, "x": BASELINE})])[0]
    assert (row["nll_per_token"], row["nll_change"], row["nll_change_high"]) == (None, None, None)


def test_shards_in_any_order_give_the_same_table(tmp_path, questions):
    edits = {"none": BASELINE, "x": changed(BASELINE, 8, 2)}
    run(tmp_path, questions, [write(tmp_path, edits, nll=2.0, n_edited=3)])
    expected = (tmp_path / "tests.csv").read_bytes()
    shards = []
    for number in range(2):
        part = {edit: {k: right for k, right in enumerate(rights) if k % 2 == number} for edit, rights in edits.items()}
        shards.append(write(tmp_path / "parts", part, shard=f"0{number}-of-02", nll=2.0, n_edited=3))
    run(tmp_path, questions, shards[::-1])
    assert (tmp_path / "tests.csv").read_bytes() == expected


def test_golden_table(tmp_path, questions):
    edits = {"none": {0: False, 1: False}, "x": {0: True, 1: True}}
    run(tmp_path, questions, [write(tmp_path, edits, nll=3.0, n_edited=4)])
    lines = (tmp_path / "tests.csv").read_text().splitlines()
    assert lines[0] == ",".join(TABLES["tests"])
    assert lines[2] == (
        "m,step-000400,nq,x,none,edit,x,angle,,all,,0,,vote,,,false,2,100,0,2,0,2,100,-34.8689,100,0.5,0.5,,"
        "1.5,0,,,,,,,4,,0.5,,,,,,,0,0,2,underpowered"
    )


def test_a_model_that_cannot_be_edited_has_one_row_that_says_why_and_changes_no_other(tmp_path, questions):
    edited = write(tmp_path, {"none": BASELINE, "x": changed(BASELINE, 8, 2)})
    whole = tmp_path / "whole.jsonl"
    EDITED_ANSWERS.write(whole, [], {"model": "w", "checkpoint": "final", "left_out": "it only runs as a whole"})
    (row,) = run(tmp_path, questions, [whole], models=["w"])
    assert (row["model"], row["edit"], row["against"], row["kind"], row["n"]) == ("w", "", "none", "left out", 0)
    assert row["verdict"] == "not edited: it only runs as a whole" and row["score"] is None
    alone = run(tmp_path, questions, [edited])
    assert run(tmp_path, questions, [edited, whole], models=["m", "w"]) == [*alone, row]


def test_edits_on_other_questions_than_the_baseline_are_refused(tmp_path, questions):
    files = [write(tmp_path, {"none": BASELINE, "x": BASELINE[:-1]})]
    with pytest.raises(ArtifactError, match=r"edit 'x' and the unedited answers cover different.*'q39'"):
        run(tmp_path, questions, files)


def test_missing_baseline_model_or_question_is_named(tmp_path, questions):
    with pytest.raises(ArtifactError, match=r"no unedited answers \(edit 'none'\)"):
        run(tmp_path, questions, [write(tmp_path / "1", {"x": BASELINE})])
    files = [write(tmp_path / "2", {"none": BASELINE, "x": BASELINE})]
    with pytest.raises(ArtifactError, match=r"no edited answers of model\(s\) \['z'\]"):
        run(tmp_path, questions, files, models=("m", "z"))
    QUESTIONS.write(questions, QUESTIONS.read(questions)[1:], {})
    with pytest.raises(ArtifactError, match=r"questions\.jsonl: answered question\(s\) \['q00'\]"):
        run(tmp_path, questions, files)


def test_an_answer_in_two_shards_is_refused(tmp_path, questions):
    edits = {"none": {0: True}, "text": {0: True}, "x": {0: True}}
    files = [write(tmp_path, edits, shard=shard) for shard in ("00-of-02", "01-of-02")]
    with pytest.raises(ArtifactError, match=r"01-of-02.*'q00' is answered twice under edit 'text'"):
        run(tmp_path, questions, files)


def test_a_cell_that_the_header_does_not_describe_or_whose_edit_is_missing_is_named(tmp_path, questions):
    with pytest.raises(ArtifactError, match=r"does not describe the cell\(s\) \['x'\]"):
        run(tmp_path, questions, [write(tmp_path / "1", {"none": BASELINE, "x": BASELINE}, cells={})])
    with pytest.raises(ArtifactError, match="'y~other_token' is a control of 'y', which has no answers"):
        run(tmp_path, questions, [write(tmp_path / "2", {"none": BASELINE, "y~other_token": BASELINE})])


def test_cases_are_chosen_by_rule_and_show_both_directions(tmp_path, questions):
    text = [True] * 30 + [False] * 10
    speech = [k >= 20 for k in range(N)]  # wrong up to q19
    edit = [k in (3, 7, 12) or (k >= 20 and k != 25) for k in range(N)]
    other = [k == 7 or k >= 20 for k in range(N)]
    edits = {"none": speech, "text": text, "one": edit, "two": other, "one~random_direction": [True] * N}
    run(tmp_path, questions, [write(tmp_path, edits)], n_cases=2)
    rows = records(tmp_path / "cases.csv", "cases")
    assert list(dict.fromkeys((row["change"], row["cases"], row["id"]) for row in rows)) == [
        ("gained", 3, "q03"),
        ("gained", 3, "q07"),
        ("lost", 1, "q25"),
    ]
    third = [(row["input"], row["right"], row["decided"]) for row in rows if row["id"] == "q03"]
    assert third == [
        ("text", True, False),
        ("speech", False, False),
        ("one", True, True),
        ("two", False, False),
    ]
    assert {row["answer"] for row in rows if row["right"]} == {"yes"}


def read(name, spread, before, after):
    found = {"words_spread": spread, "words_error_before": before, "words_error_after": after}
    return answer(name, "erase", True).model_copy(update=found)


def test_what_a_reader_gets_out_of_erased_vectors_is_pooled_over_questions():
    found = readings([read("q00", 4.0, 1.0, 4.0), read("q01", 12.0, 7.0, 13.0), answer("q02", "erase", True)])
    assert (found["r2_before"], found["r2_after"]) == (0.5, -0.0625)
    for name in ("r2_before", "r2_after"):
        assert found[f"{name}_low"] < found[name] < found[f"{name}_high"]
    assert readings([answer("q00", "angle", True)]) == {}


def test_the_table_says_what_was_left_of_an_erasure(tmp_path, questions):
    path, ids = tmp_path / "a.answers.jsonl", [f"q{k:02d}" for k in range(N)]
    made = [answer(name, key, True) for key in ("none", "text") for name in ids]
    made += [read(name, 4.0 + k % 2, 1.0, 3.0) for k, name in enumerate(ids)]
    cells = {"erase": facts_of("erase") | {"operation": "erase"}}
    EDITED_ANSWERS.write(path, made, {"model": "m", "checkpoint": "c", "shard": "s", "cells": cells})
    row = pick(run(tmp_path, questions, [path]), edit="erase")
    assert (row["operation"], row["r2_before"], row["r2_after"]) == (
        "erase",
        pytest.approx(7 / 9),
        pytest.approx(1 / 3),
    )
    assert row["r2_after_low"] < row["r2_after"] < row["r2_after_high"]
