"""The gap by skill: planted scores, the pooled subset untouched, nothing where no skill is named."""

import pytest

from tests.evaluation.score_files import write
from tests.evaluation.test_answer_questions import QUESTION
from workflow_scripts.artifacts.questions import QUESTIONS
from workflow_scripts.artifacts.tables import read_columns, select
from workflow_scripts.evaluation.build_skill_table import SKILL_COLUMNS, build_skill_table


def build(tmp_path, skills):
    questions = [
        QUESTION.model_copy(update={"id": f"a{k}", "source": {"skill": skill} if skill else {}})
        for k, skill in enumerate(skills)
    ]
    QUESTIONS.write(tmp_path / "questions.jsonl", questions, {})
    scores = [write(tmp_path, "a", "text", [1, 1, 1, 0] * 10), write(tmp_path, "a", "speech", [1, 0, 1, 0] * 10)]
    build_skill_table([tmp_path / "questions.jsonl"], scores, tmp_path / "skills.csv")
    return read_columns(tmp_path / "skills.csv", SKILL_COLUMNS)


def test_each_skill_has_its_scores_and_its_paired_gap(tmp_path):
    table = build(tmp_path, ["law", "physics"] * 20)
    assert set(table.skill) == {"law", "physics"} and set(table.n) == {20}
    gap = select(table, form="gap").set_index("skill")
    assert gap.value.to_dict() == {"law": 0, "physics": 50}
    assert gap.low["law"] < 0 < gap.high["law"] and gap.low["physics"] > 0
    assert select(table, skill="law", form="text").value.item() == pytest.approx(100)


@pytest.mark.parametrize("skills", [[""] * 40, ["law"] * 40])
def test_a_subset_without_two_skills_has_no_rows(tmp_path, skills):
    assert build(tmp_path, skills).empty
