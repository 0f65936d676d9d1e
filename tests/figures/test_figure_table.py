"""The table of figures: entries name what exists, and their captions read the same in Snakemake's own report."""

import html
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from docutils.core import publish_parts
from jinja2 import Environment

from workflow_scripts.figures.table import FIGURES
from workflow_scripts.planning.study import Study

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", FIGURES)
def test_an_entry_names_a_function_that_exists_and_inputs_that_the_plan_knows(name):
    entry = FIGURES[name]
    module, _, function = entry.function.partition(":")
    assert re.search(rf"^def {function}\(", (ROOT / f"workflow_scripts/figures/{module}.py").read_text(), re.M)
    assert all("/" in source or callable(getattr(Study, source)) for source in entry.inputs.values())
    assert "n: " in entry.caption or "over n " in entry.caption or "After Figure" in entry.caption


@pytest.mark.parametrize("name", FIGURES)
def test_snakemakes_report_shows_the_caption_word_for_word(name):
    template = (ROOT / "report/figure.rst").read_text()
    job = SimpleNamespace(params=SimpleNamespace(caption=FIGURES[name].caption))
    source = Environment(trim_blocks=True, lstrip_blocks=True).from_string(template).render(snakemake=job)
    body = publish_parts(source, writer="html", settings_overrides={"report_level": 1, "halt_level": 1})["body"]
    assert html.unescape(re.sub(r"<.*?>", "", body)).split() == FIGURES[name].caption.split()
