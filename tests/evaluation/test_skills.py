"""The gap by skill: planted scores, the pooled subset untouched, nothing where no skill is named."""

import pytest

from tests.evaluation.score_files import write
from tests.evaluation.test_answer_questions import QUESTION
from workflow_scripts.artifacts.questions import QUESTIONS
from workflow_scripts.artifacts.tables import read_columns, select
from workflow_scripts.evaluation.build_skill_table import SKILL_COLUMNS, build_skill_table


def questions_of(path, subset, skills):
    questions = [
        QUESTION.model_copy(update={"id": f"a{k}", "subset": subset, "source": {"skill": skill} if skill else {}})
        for k, skill in enumerate(skills)
    ]
    QUESTIONS.write(path, questions, {})
    return path


def build(tmp_path, skills, *others):
    asked = [questions_of(tmp_path / "questions.jsonl", "a", skills), *others]
    scores = [write(tmp_path, "a", "text", [1, 1, 1, 0] * 10), write(tmp_path, "a", "speech", [1, 0, 1, 0] * 10)]
    build_skill_table(asked, scores, tmp_path / "skills.csv")
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


def test_skills_of_another_subset_with_the_same_ids_are_not_taken(tmp_path):
    other = questions_of(tmp_path / "other.jsonl", "b", ["cells", "genes"] * 20)
    assert set(build(tmp_path, ["law", "physics"] * 20, other).skill) == {"law", "physics"}
