"""tests.csv: planted changes, exact p values, verdicts, power, loss changes, and inputs that do not belong together."""

import numpy as np
import pytest

from workflow_scripts.artifacts.answers import EDITED_ANSWERS, AnswerRecord
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.questions import QUESTIONS, Question
from workflow_scripts.artifacts.tables import read_table
from workflow_scripts.intervention.test_edits import COLUMNS, compare_edits, loss_change, verdict

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


def answer(name, edit, right, nll=None, tokens=2, n_edited=0):
    return AnswerRecord(
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
    )


def write(folder, edits, model="m", shard="00-of-01", checkpoint="step-000400", **records):
    """Edited answers of one shard; `edits` maps an edit to which questions are right."""
    path = folder / model / checkpoint / f"{shard}.answers.jsonl"
    made = [
        answer(f"q{k:02d}", edit, right, **records)
        for edit, rights in edits.items()
        for k, right in (rights.items() if isinstance(rights, dict) else enumerate(rights))
    ]
    EDITED_ANSWERS.write(path, made, {"model": model, "checkpoint": checkpoint, "shard": shard})
    return path


def changed(baseline, b, c):
    """Baseline answers with b wrong ones turned right and c right ones turned wrong."""
    after = np.array(baseline)
    after[np.flatnonzero(~after)[:b]] = True
    after[np.flatnonzero(np.array(baseline))[:c]] = False
    return after.tolist()


BASELINE = [k % 2 == 0 for k in range(N)]  # half right


def run(folder, questions, files, models=("m",), seed=0):
    tests = folder / "tests.csv"
    options = {"models": list(models), "subset": "nq", "scorer": "short_answer", "draws": 400, "seed": seed}
    compare_edits(files, questions, folder / "punkt" / "asset.json", tests, **options)
    return read_table(tests)


def pick(rows, **wanted):
    (row,) = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    return row


def test_planted_changes_are_counted_and_judged(tmp_path, questions):
    edits = {
        "none": BASELINE,
        "good": changed(BASELINE, 12, 0),
        "bad": changed(BASELINE, 1, 14),
        "mixed": changed(BASELINE, 6, 5),
        "rare": changed(BASELINE, 5, 0),
    }
    rows = run(tmp_path, questions, [write(tmp_path, edits)])
    assert {row["edit"]: (row["b"], row["c"], row["net"], row["verdict"]) for row in rows} == {
        "good": (12, 0, 12, "helps"),
        "bad": (1, 14, -13, "hurts"),
        "mixed": (6, 5, 1, "no evidence"),
        "rare": (5, 0, 5, "underpowered"),
    }
    good = pick(rows, edit="good")
    assert (good["score"], good["score_baseline"], good["difference"], good["n"]) == (80, 50, 30, N)
    assert 10 < good["difference_low"] < 30 < good["difference_high"] < 50
    assert good["p"] == pytest.approx(2 / 2**12, rel=1e-4)
    assert pick(rows, edit="rare")["p"] == 0.0625
    assert good["changed_answers"] == 12


def test_holm_runs_over_all_models_and_edits(tmp_path, questions):
    files = [
        write(tmp_path, {"none": BASELINE, "x": changed(BASELINE, 7, 0)}, model="m"),
        write(tmp_path, {"none": BASELINE, "x": changed(BASELINE, 6, 0), "y": BASELINE}, model="z"),
    ]
    rows = run(tmp_path, questions, files, models=("z", "m"))
    assert [(row["model"], row["edit"]) for row in rows] == [("z", "x"), ("z", "y"), ("m", "x")]
    assert pick(rows, model="m")["p_holm"] == pytest.approx(3 * 2 / 2**7)
    assert pick(rows, model="z", edit="x")["p_holm"] == pytest.approx(2 * 2 / 2**6)
    assert pick(rows, model="z", edit="x")["verdict"] == "no evidence"
    assert pick(rows, model="m")["verdict"] == "helps"


def test_an_edit_that_does_nothing_changes_nothing(tmp_path, questions):
    row = run(tmp_path, questions, [write(tmp_path, {"none": BASELINE, "no_op": BASELINE}, nll=3.0)])[0]
    names = ("difference", "difference_low", "difference_high", "nll_change", "nll_change_low", "changed_answers")
    assert [row[name] for name in names] == [0] * 6
    assert (row["p"], row["p_holm"], row["verdict"], row["nll_per_token"]) == (1, 1, "underpowered", 1.5)


@pytest.mark.parametrize(
    ("b", "c", "p_holm", "expected"),
    [
        (5, 0, 0.0625, "underpowered"),
        (6, 0, 0.03125, "helps"),
        (0, 6, 0.03125, "hurts"),
        (6, 0, 0.05, "no evidence"),
        (0, 0, 1.0, "underpowered"),
    ],
)
def test_verdict_rule(b, c, p_holm, expected):
    assert verdict(b, c, p_holm) == expected


def test_random_changes_rarely_get_a_verdict(tmp_path, questions):
    rng = np.random.default_rng(2)
    edits = {"none": BASELINE} | {f"e{k}": rng.permutation(BASELINE).tolist() for k in range(20)}
    rows = run(tmp_path, questions, [write(tmp_path, edits)])
    assert {row["verdict"] for row in rows} == {"no evidence"}


def test_loss_change_is_pooled_over_tokens_with_an_interval_around_it():
    rng = np.random.default_rng(3)
    pairs = []
    for k in range(60):
        tokens = int(rng.integers(1, 9))
        before = float(rng.uniform(1, 3)) * tokens
        after = before - 0.5 * tokens + float(rng.normal(0, 0.3))
        pairs.append((answer(f"q{k}", "none", True, before, tokens), answer(f"q{k}", "x", True, after, tokens)))
    found = loss_change(pairs, 500, 0)
    nats = sum(after.reference_nll - before.reference_nll for before, after in pairs)
    tokens = sum(after.reference_tokens for _, after in pairs)
    assert found["nll_change"] == pytest.approx(nats / tokens)
    assert found["nll_change_low"] < found["nll_change"] < found["nll_change_high"] < -0.3
    assert found == loss_change(pairs, 500, 0)


def test_a_change_proportional_to_tokens_has_no_width():
    pairs = [(answer("q", "none", True, 4.0 * t, t), answer("q", "x", True, 3.0 * t, t)) for t in (1, 2, 5)]
    found = loss_change(pairs, 100, 0)
    assert found["nll_change"] == pytest.approx(-1)
    assert (found["nll_change_low"], found["nll_change_high"]) == pytest.approx((-1, -1))


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


def test_another_seed_moves_only_the_intervals(tmp_path, questions):
    files = [write(tmp_path, {"none": BASELINE, "x": changed(BASELINE, 8, 2)})]
    one, other = (run(tmp_path, questions, files, seed=seed)[0] for seed in (0, 1))
    moved = {name for name in one if one[name] != other[name]}
    assert moved <= {"difference_low", "difference_high"}
    assert run(tmp_path, questions, files, seed=0)[0] == one


def test_golden_table(tmp_path, questions):
    edits = {"none": {0: False, 1: False}, "x": {0: True, 1: True}}
    run(tmp_path, questions, [write(tmp_path, edits, nll=3.0, n_edited=4)])
    assert (tmp_path / "tests.csv").read_text() == (
        ",".join(COLUMNS) + "\nm,step-000400,nq,x,2,100,0,2,0,2,100,100,100,0.5,0.5,1.5,0,0,0,4,2,underpowered\n"
    )


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
    edits = {"none": {0: True}, "x": {0: True}}
    files = [write(tmp_path, edits, shard=shard) for shard in ("00-of-02", "01-of-02")]
    with pytest.raises(ArtifactError, match=r"01-of-02.*'q00' is answered twice under edit 'none'"):
        run(tmp_path, questions, files)
