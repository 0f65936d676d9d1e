"""The manual's table of measures is the registry's own."""

from pathlib import Path

from workflow_scripts.measures.registry import table


def test_the_manual_lists_every_measure_as_the_registry_does():
    manual = (Path(__file__).parents[2] / "docs" / "measures.md").read_text(encoding="utf-8")
    assert table() in manual, "replace the last table by what workflow_scripts.measures.registry.table() gives"
