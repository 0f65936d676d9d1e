"""An asset of your own files is fetched again when you have edited them: they are inputs of the fetch."""

from pathlib import Path
from types import SimpleNamespace

from tests.small_study import small_values
from workflow_scripts.plan import Plan
from workflow_scripts.settings import parse_config


def test_files_of_path_sources_are_inputs_and_nothing_else_is(tmp_path):
    folder, single = tmp_path / "mine", tmp_path / "one.csv"
    (folder / "below").mkdir(parents=True)
    for path in (folder / "questions.csv", folder / "below" / "more.csv", folder / ".hidden", single):
        path.write_text("x")
    values = small_values()
    sources = [{"path": str(folder)}, {"path": str(single)}, {"path": str(tmp_path / "missing")}]
    values["assets"]["mine"] = {"format": "files", "licence": "mine", "sources": sources}
    plan = Plan(parse_config(values), Path(__file__).parents[2])
    found = plan.local_files(SimpleNamespace(asset="mine"))
    assert found == [folder / "below" / "more.csv", folder / "questions.csv", single]
    assert plan.local_files(SimpleNamespace(asset="whisper-base")) == []
