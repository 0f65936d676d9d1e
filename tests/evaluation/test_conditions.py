"""Conditions of the same questions: paired by prompt, planted drops, crossed effects wider than questions alone."""

import numpy as np

from tests.evaluation.score_files import write
from tests.evaluation.test_answer_questions import QUESTION
from workflow_scripts.artifacts.questions import QUESTIONS
from workflow_scripts.artifacts.tables import read_columns, select
from workflow_scripts.evaluation.build_condition_table import CONDITION_COLUMNS, build_condition_table


def build(tmp_path, speech):
    """One subset a condition, all right in writing; `speech` gives the spoken scores by condition."""
    questions, scores = {}, []
    for name, values in speech.items():
        questions[name] = tmp_path / f"{name}.jsonl"
        asked = [QUESTION.model_copy(update={"id": f"{name}{k}", "prompt": f"prompt {k}"}) for k in range(len(values))]
        QUESTIONS.write(questions[name], asked, {})
        scores += [write(tmp_path, name, "text", [1] * len(values)), write(tmp_path, name, "speech", values)]
    build_condition_table(
        questions,
        scores,
        tmp_path / "conditions.csv",
        conditions={next(iter(speech)): list(speech)},
        voices={name: f"voice {name}" for name in speech},
    )
    return read_columns(tmp_path / "conditions.csv", CONDITION_COLUMNS)


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
