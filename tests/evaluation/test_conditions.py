"""Conditions of the same questions: paired by prompt, planted drops, crossed effects wider than questions alone."""

import numpy as np

from tests.evaluation.score_files import write
from tests.evaluation.test_answer_questions import QUESTION
from workflow_scripts.artifacts.questions import QUESTIONS
from workflow_scripts.artifacts.tables import read_table, select
from workflow_scripts.evaluation.build_condition_table import build_condition_table


def build(tmp_path, speech, nats=None):
    """One subset a condition, all right in writing; `speech` gives the spoken scores by condition, `nats` what the
    references of two tokens cost there; in writing 2 nats."""
    questions, scores = {}, []
    for name, values in speech.items():
        questions[name] = tmp_path / f"{name}.jsonl"
        asked = [QUESTION.model_copy(update={"id": f"{name}{k}", "prompt": f"prompt {k}"}) for k in range(len(values))]
        QUESTIONS.write(questions[name], asked, {})
        costs = {} if nats is None else {"text": [(2.0, 2)] * len(values), "speech": [(n, 2) for n in nats[name]]}
        scores.append(write(tmp_path, name, "text", [1] * len(values), nll=costs.get("text")))
        scores.append(write(tmp_path, name, "speech", values, nll=costs.get("speech")))
    build_condition_table(
        questions,
        scores,
        tmp_path / "conditions.csv",
        conditions={next(iter(speech)): list(speech)},
        voices={name: f"voice {name}" for name in speech},
    )
    return read_table(tmp_path / "conditions.csv", "conditions")


def test_each_condition_has_its_gap_and_its_drop_from_the_reference(tmp_path):
    table = build(tmp_path, {"clean": [1, 1, 1, 0] * 10, "noisy": [1, 0, 0, 0] * 10})
    values = {row.condition: row.value for row in select(table, form="gap").itertuples()}
    assert values == {"clean": 25, "noisy": 75, "all": 50}
    drop = select(table, form="drop", condition="noisy")
    assert drop.value.item() == 50 and drop.low.item() > 0 and drop.voice.item() == "voice noisy"
    assert select(table, form="drop", condition="clean").value.item() == 0
    assert set(table.subset) == {"clean"} and set(table.n) == {40}


def test_conditions_that_differ_make_the_interval_over_both_wider_than_that_over_questions(tmp_path):
    (tmp_path / "same").mkdir()
    rng = np.random.default_rng(2)
    base = rng.integers(0, 2, 60).tolist()
    same = build(tmp_path / "same", {"a": base, "b": base, "c": base})
    (tmp_path / "apart").mkdir()
    apart = build(tmp_path / "apart", {"a": base, "b": [1] * 60, "c": [0] * 60})

    def width(table):
        row = select(table, condition="all").iloc[0]
        return row.high - row.low

    assert width(apart) > 2 * width(same)


def test_questions_that_one_condition_lacks_count_nowhere(tmp_path):
    table = build(tmp_path, {"clean": [1] * 10, "noisy": [0] * 8})
    assert set(table.n) == {8}


def test_where_all_scores_are_zero_the_loss_still_tells_conditions_apart(tmp_path):
    nats = {"clean": [3.0, 5.0] * 10, "noisy": [7.0, 9.0] * 10}
    table = build(tmp_path, {"clean": [0] * 20, "noisy": [0] * 20}, nats)
    rows = select(table, measure="loss")
    values = {(row.condition, row.form): row.value for row in rows.itertuples()}
    assert values["clean", "gap"] == 1.0 and values["noisy", "gap"] == 3.0 and values["noisy", "drop"] == 2.0
    assert values["all", "gap"] == 2.0
    ends = select(rows, condition="all").iloc[0]
    assert ends.low < 1 and ends.high > 3, "two conditions say little about others"
