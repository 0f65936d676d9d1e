"""Copy a finished run's tables, figures and manifest into a folder that can be committed, with a page about them.

`python -m workflow_scripts.report.write_reference results docs/reference-study [studies/<name>.yaml]`. The folder stays
small: a figure is a PNG of few colours, and of a table above `MAX_TABLE_BYTES` only the last checkpoints are copied,
if those are not too much as well; the page names such tables.
"""

import shutil
import sys
import textwrap
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import jinja2
import pandas as pd
from PIL import Image

from workflow_scripts.artifacts.files import require, write_text
from workflow_scripts.artifacts.tables import TABLES as STORED
from workflow_scripts.artifacts.tables import last_checkpoints, read_table, select, write_table
from workflow_scripts.measures.labels import label
from workflow_scripts.report.build_manifest import read_manifest
from workflow_scripts.report.headline import Headline, headlines
from workflow_scripts.report.numbers import NOTHING, fixed, with_interval
from workflow_scripts.report.twin_table import twin_cells

LINE = 120
MAX_TABLE_BYTES = 100_000
COLORS = 64
TABLES = (
    "evaluation/gap.csv",
    "evaluation/decline.csv",
    "evaluation/cascade.csv",
    "evaluation/twins.csv",
    "correlation/layers.csv",
    "correlation/checkpoints.csv",
    "correlation/points.csv",
    "correlation/regression.csv",
    "tables/claims.csv",
    "intervention/tests.csv",
    "intervention/cases.csv",
)
SCORE_COLUMNS = ["text", "asr", "speech", "gap", "fall"]
FOLDERS = ("correlation", "tables", "patching", "probes")
"""Of results/: all tables that the run made there are copied."""


class Illustration(Protocol):
    """Words of a figure."""

    title: str
    caption: str

    def is_drawn(self, tables: Collection[str]) -> bool:
        """Whether a study that makes these tables has it."""


def write_reference(
    results: Path, target: Path, figures: Mapping[str, Illustration], study: str | None = None
) -> list[str]:
    """Copy what a paper would quote from `results` into `target` and write `target`/README.md.

    Args:
        figures: the figures to show, by name.
        study: the file that was given to `make all STUDY=...`; None for the default study.

    Returns:
        A message about each table that is too large to be copied whole.

    Raises:
        ArtifactError: the run is not finished; names the missing file.
    """
    manifest = read_manifest(results / "report/manifest.json")
    for folder in ("tables", "figures"):
        shutil.rmtree(target / folder, ignore_errors=True)
        (target / folder).mkdir(parents=True)
    # By the manifest: a folder may hold tables of another study too.
    made = [path.relative_to("results") for path in map(Path, manifest["sha256"]) if path.suffix == ".csv"]
    names = {path.name: path for path in made if path.parent.name in FOLDERS}
    names |= {path.name: path for path in map(Path, TABLES)}
    names |= {f"training_{path.parent.name}.csv": path for path in made if path.name == "log.csv"}
    tables = {name: require(results / path, "snakemake all") for name, path in sorted(names.items())}
    large = []
    for name, path in tables.items():
        if not _copy_table(path, target / "tables" / name):
            large.append(name)
    images = {}
    for name, figure in figures.items():
        if not figure.is_drawn(manifest["sha256"]):
            continue
        image = f"figures/{name}.png"
        _shrink(require(results / image, "snakemake all"), target / image)
        images[image] = figure
    shutil.copy2(results / "report/manifest.json", target / "manifest.json")
    read = {Path(name).stem: read_table(results / name, Path(name).stem) for name in TABLES}
    write_text(target / "README.md", page(manifest, read, images, study, sorted(large)))
    return [
        f"{tables[name]}: larger than {MAX_TABLE_BYTES // 1000} kB; here are its last checkpoints at most, "
        "run the study to make it whole"
        for name in sorted(large)
    ]


def _copy_table(source: Path, target: Path) -> bool:
    """Copy a table, or its rows of the last checkpoints, or nothing: what fits first. Returns whether it is whole."""
    if source.stat().st_size <= MAX_TABLE_BYTES:
        shutil.copy2(source, target)
        return True
    if "checkpoint" in STORED.get(source.stem, ()):
        write_table(target, last_checkpoints(read_table(source, source.stem)), source.stem)
        if target.stat().st_size > MAX_TABLE_BYTES:
            target.unlink()
    return False


def _shrink(source: Path, target: Path) -> None:
    """Copy a PNG with a palette of `COLORS`: about a third of its size, and nothing to see of it in a diagram."""
    with Image.open(source) as image:
        image.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE).save(target, optimize=True)


def page(
    manifest: Mapping[str, Any],
    read: Mapping[str, pd.DataFrame],
    images: Mapping[str, Illustration],
    study: str | None = None,
    cut: Sequence[str] = (),
) -> str:
    """The Markdown page: what was run, the headline numbers, claims and figures.

    Args:
        read: the tables of `TABLES` by name.
        images: words by the path of the image.
        cut: names of the tables that are too large to be copied whole.
    """
    models = sorted(manifest["settings"]["models"])
    found = headlines(models, read["gap"], read["decline"], read["checkpoints"])
    files = f'"{study}"' if study and " " in study else study
    content = {
        "study": Path(study) if study else None,
        "command": f"make all STUDY={files}" if study else "make all",
        "runs": _runs(manifest["settings"]),
        "code": _short(manifest["code_version"]),
        "manifest": manifest,
        "models": models,
        "headlines": [_headline_cells(line) for line in found],
        "scores": _score_cells(read["gap"]),
        "claims": [_claim_cells(row) for row in read["claims"].itertuples()],
        "edits": [_edit_cells(row) for row in _beside_controls(read["tests"]).itertuples()],
        "twins": twin_cells(read["twins"], read["points"]),
        "images": images,
        "cut": cut,
        "limit": MAX_TABLE_BYTES // 1000,
    }
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"wrapped": _wrapped, "table": _markdown_table}
    return environment.get_template("reference.md.j2").render(content)


def _wrapped(text: str) -> str:
    """A paragraph or one list entry in lines of even length; none begins like a heading, list or table."""
    entry = text.strip()
    indent = "  " * entry.startswith("- ")
    options = {"break_long_words": False, "break_on_hyphens": False}
    return "\n".join(textwrap.wrap(entry, LINE, subsequent_indent=indent, **options)) + "\n"


def _runs(settings: Mapping[str, Any]) -> str:
    """How many models, backbones and seeds, for the page's caution."""
    models = settings["models"].values()
    counts = [
        (len(models), "model"),
        (len({model.get("backbone") for model in models}), "backbone"),
        (len({model.get("seed") for model in models}), "seed"),
    ]
    named = ", ".join(f"{n} {what}{'' if n == 1 else 's'}" for n, what in counts)
    speech = settings.get("speech", {})
    engine = speech.get("voices", {}).get(speech.get("voice"), {}).get("engine")
    return f"{named}, {'recorded questions' if engine == 'recorded' else 'one synthetic voice'}"


def _short(version: str) -> str:
    """Twelve digits of the commit, and whether tracked files differed from it."""
    return version[:12] + ("-dirty" if version.endswith("-dirty") else "")


def _markdown_table(rows: Sequence[Sequence[Any]], header: Sequence[str]) -> str:
    table = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in table)


def _headline_cells(line: Headline) -> list[str]:
    return [f"**{line.name}** ({line.note})", *line.values]


def _score_cells(gap: pd.DataFrame) -> list[list[str]]:
    """A row per subset, model and checkpoint, in the order of training; a dash is what was not asked."""
    key = ["subset", "model", "checkpoint"]
    rows = gap[gap["measure"].isin(["score", "score_fall"])]
    column = rows["form"].where(rows["measure"] == "score", "fall")
    cells = [with_interval(*cell) for cell in zip(rows["value"], rows["low"], rows["high"])]
    texts = rows.assign(column=column, text=cells).pivot(index=key, columns="column", values="text")
    counts = rows.groupby(key)["n"].max()
    shown = texts.reindex(columns=SCORE_COLUMNS).fillna(NOTHING).to_numpy()
    return [[*row, fixed(counts[row], 0), *cells] for row, cells in zip(texts.index, shown)]


def _claim_cells(row: Any) -> list[str]:
    estimate = with_interval(row.estimate, row.low, row.high, 2)
    counts = [fixed(count, 0) for count in (row.n_runs, row.n_checkpoints)]
    return [row.claim, label(row.measure), row.statistic, estimate, *counts, row.verdict]


def _beside_controls(tests: pd.DataFrame) -> pd.DataFrame:
    """The comparisons with unedited speech, each edit followed by its controls."""
    rows = select(tests, against="none")
    place = {key: number for number, key in enumerate(zip(rows["model"], rows["edit"]))}
    edited = rows["edit"].where(rows["kind"] != "control", rows["of"])
    last = len(place)
    order = [place.get(key, last) for key in zip(rows["model"], edited)]
    return rows.assign(order=order).sort_values("order", kind="stable")


def _edit_cells(row: Any) -> list[str]:
    counts = [fixed(count, 0) for count in (row.n, row.b, row.c)]
    change = with_interval(row.nll_change, row.nll_change_low, row.nll_change_high, 3)
    return [row.model, row.edit, *counts, fixed(row.p_holm, 3), change, row.verdict or row.kind]


if __name__ == "__main__":
    from workflow_scripts.figures.table import FIGURES

    print(*write_reference(Path(sys.argv[1]), Path(sys.argv[2]), FIGURES, *sys.argv[3:]), sep="\n")
