"""A new scorer is one line in the registry: its scores and its measure reach gap.csv without another edit."""

from tests.evaluation.test_score_answers import write
from workflow_scripts.artifacts.questions import QUESTIONS, Question
from workflow_scripts.artifacts.tables import read_table, select
from workflow_scripts.evaluation.build_gap_table import build_gap_table
from workflow_scripts.evaluation.score_answers import score_answers
from workflow_scripts.scoring import registry
from workflow_scripts.scoring.scorer import Score, Scorer, detail_estimates


def shouted(answer, task):
    right = answer.lower() == task.reference[0]
    return Score(
        float(right), answer or None, "right" if right else "wrong", "same", not answer, {"loud": answer.isupper()}
    )


def test_a_scorer_of_one_line_is_scored_and_stands_in_the_gap_table_with_its_measure(tmp_path, monkeypatch):
    toy = Scorer(
        version="1",
        score=shouted,
        estimates=detail_estimates("loud"),
        measures={"loud": lambda _, details: 100 * details["loud"]},
    )
    monkeypatch.setitem(registry.SCORERS, "toy", toy)
    questions = [
        Question(id=f"q{n}", subset="s", prompt="?", spoken="?", reference=["yes"], scorer="toy", source={})
        for n in range(4)
    ]
    QUESTIONS.write(tmp_path / "questions.jsonl", questions, {})
    said = {"text": ("YES", "yes", "YES", "no"), "speech": ("yes", "yes", "", "no")}
    costs = {f"q{n}": (1.0 + n, 2) for n in range(4)}
    answers = [write(tmp_path, form, dict(zip(costs, all_)), nll=costs) for form, all_ in said.items()]
    scores = [tmp_path / f"{form}.scores.json" for form in said]
    names = {"model": "m", "checkpoint": "step-000001", "subset": "s", "forms": list(said), "scorer": "toy"}
    score_answers(tmp_path / "questions.jsonl", answers, tmp_path / "punkt" / "asset.json", scores, **names)
    tables = [tmp_path / f"{name}.csv" for name in ("gap", "decline", "cascade", "twins")]
    build_gap_table(scores, *tables, overall=["s"], knowledge=[], backbones={}, twins={}, repeats={})
    gap = select(read_table(tables[0], "gap"), subset="s").set_index(["measure", "form"])["value"]
    assert [gap["score", form] for form in ("text", "speech", "gap")] == [75, 50, 25]
    assert [gap["loud", form] for form in ("text", "speech", "gap")] == [50, 0, 50]
    assert gap["unparsed", "speech"] == 0.25
    assert gap["loss", "gap"] == 0
