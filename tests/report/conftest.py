"""A made-up study and the page built from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.made_results import Made, write_made_tables
from tests.made_samples import write_made_manifest, write_made_samples
from workflow_scripts.figures.plot import plot
from workflow_scripts.figures.table import FIGURES
from workflow_scripts.report.build_report import build_report
from workflow_scripts.report.build_tables import build_tables
from workflow_scripts.report.captions import TABLES

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
    build_tables(
        *(made.table(name) for name in ("gap", "checkpoints", "tests", "cases")),
        outputs,
        made.display,
        **{name: made.table(name) for name in ("decline", "cascade")},
    )
    return outputs


def build_page(
    folder: Path,
    models: tuple[str, ...] = ("lora", "full"),
    samples: int = 4,
    texts: Mapping[str, str] | None = None,
    display: Mapping | None = None,
) -> Page:
    """Build the page of a made study of six questions per subset."""
    made = write_made_tables(folder, models, texts=texts)
    tables = build_tables_of(made)
    files = write_made_samples(made, n=6, texts=texts)
    figure = {kind: folder / f"monotonicity.{kind}" for kind in ("pdf", "svg", "png")}
    shown = FIGURES["monotonicity"]
    plot(shown.function, {"checkpoints": made.table("checkpoints")}, figure, made.display)
    page = Page(made, folder / "report" / "index.html")
    build_report(
        TEMPLATE,
        [figure["svg"]],
        {"monotonicity": {"title": shown.title, "caption": shown.caption}},
        [*(path for name, path in tables.items() if name.endswith("_csv")), made.table("claims")],
        made.curves,
        write_made_manifest(folder / "manifest.json"),
        page.path,
        results={name: made.table(name) for name in ("gap", "decline", "regression", "checkpoints", "tests")},
        browser=vars(files),
        models=made.facts,
        subsets=list(made.subsets),
        samples=samples,
        display=made.display if display is None else display,
    )
    return page


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Page:
    """A page with harmless texts."""
    return build_page(tmp_path_factory.mktemp("page"))
