"""A made-up study and the page built from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.made_results import Made, write_made_tables
from tests.made_samples import write_made_manifest, write_made_samples
from workflow_scripts.figures.plot import plot
from workflow_scripts.figures.table import FIGURES
from workflow_scripts.report.build_report import RESULTS, build_report
from workflow_scripts.report.build_tables import build_tables
from workflow_scripts.report.table import JUDGEMENTS, TABLES

TEMPLATE = Path(__file__).parents[2] / "workflow_scripts" / "report" / "report.html.j2"


@dataclass
class Page:
    """The page and the study it was built from."""

    made: Made
    path: Path

    @property
    def text(self) -> str:
        """The page's source."""
        return self.path.read_text(encoding="utf-8")


def build_tables_of(made: Made) -> dict[str, Path]:
    """Write results/tables of a made study; returns the outputs by name."""
    outputs = {
        f"{name}_{kind}": made.folder / "tables" / f"{name}.{kind}" for name in TABLES for kind in ("csv", "tex")
    }
    names = ("gap", "decline", "cascade", "tags", "floors", "checkpoints", "tests", "cases")
    build_tables({name: made.table(name) for name in names}, outputs, made.display)
    return outputs


def draw(name: str, made: Made) -> Path:
    """A figure of a made study as SVG."""
    entry, files = FIGURES[name], {kind: made.folder / f"{name}.{kind}" for kind in ("pdf", "svg", "png")}
    plot(entry.function, {table: made.table(table) for table in entry.inputs}, files, made.display)
    return files["svg"]


def page_arguments(
    folder: Path, made: Made, figures: Sequence[Path], n_questions: int, texts: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Arguments of `build_report` for a made study, whose tables, samples and manifest are written.

    Args:
        n_questions: questions per subset.
    """
    tables = build_tables_of(made)
    return {
        "figures": figures,
        "figure_texts": {name: {"title": one.title, "caption": one.caption} for name, one in FIGURES.items()},
        "tables": [tables[f"{name}_csv"] for name in TABLES] + [made.table(name) for name in JUDGEMENTS],
        "logs": made.logs,
        "manifest": write_made_manifest(folder / "manifest.json"),
        "results": {name: made.table(name) for name in RESULTS},
        "browser": vars(write_made_samples(made, n=n_questions, texts=texts)),
        "models": made.facts,
        "trained": list(made.models),
        "subsets": dict.fromkeys(made.subsets, "") | {"nq": "NQ-open stands in for SD-QA"},
        "samples": 4,
        "display": made.display,
    }


def build_page(
    folder: Path,
    models: tuple[str, ...] = ("lora", "full"),
    texts: Mapping[str, str] | None = None,
    made: Made | None = None,
    n_questions: int = 6,
    **changed: Any,
) -> Page:
    """Build the page of a made study.

    Args:
        made: the study, if its tables are written already.
        n_questions: questions per subset.
        changed: arguments of `build_report` in place of the usual ones.
    """
    made = made or write_made_tables(folder, models, texts=texts)
    figures = changed.pop("figures", None) or [draw("monotonicity", made)]
    page = Page(made, folder / "report" / "index.html")
    build_report(TEMPLATE, page.path, **page_arguments(folder, made, figures, n_questions, texts) | changed)
    return page


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Page:
    """A page with harmless texts."""
    return build_page(tmp_path_factory.mktemp("page"))
