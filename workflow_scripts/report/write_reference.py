"""Copy a finished run's tables, figures and manifest into a folder that can be committed, with a page about them.

`python -m workflow_scripts.report.write_reference results docs/reference-study [studies/<name>.yaml]`. The folder stays
small: a figure is a PNG of few colours, and a table above `MAX_TABLE_BYTES` is not copied but named.
"""

import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from workflow_scripts.artifacts.files import read_json, require, write_text
from workflow_scripts.artifacts.tables import read_table
from workflow_scripts.report.claims import RULE, Claim, regression_claims
from workflow_scripts.report.headline import Headline, headlines
from workflow_scripts.report.html_tables import fixed, with_interval
from workflow_scripts.report.twin_table import HEADER as TWIN_HEADER
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


class Illustration(Protocol):
    """Words of a figure."""

    title: str
    caption: str


def write_reference(
    results: Path, target: Path, figures: Mapping[str, Illustration], study: str | None = None
) -> list[str]:
    """Copy what a paper would quote from `results` into `target` and write `target`/README.md.

    Args:
        figures: the figures to show, by name.
        study: the file that was given to `make all STUDY=...`; None for the default study.

    Returns:
        A message about each table that is too large to be copied.

    Raises:
        ArtifactError: the run is not finished; names the missing file.
    """
    manifest = read_json(results / "report/manifest.json", "snakemake all")
    for folder in ("tables", "figures"):
        shutil.rmtree(target / folder, ignore_errors=True)
        (target / folder).mkdir(parents=True)
    tables = {Path(name).name: require(results / name, "snakemake all") for name in TABLES}
    for path in [*sorted((results / "correlation").glob("*.csv")), *sorted((results / "tables").glob("*.csv"))]:
        tables[path.name] = path
    for path in sorted((results / "training").glob("*/log.csv")):
        tables[f"training_{path.parent.name}.csv"] = path
    large = {name: size for name, path in tables.items() if (size := path.stat().st_size) > MAX_TABLE_BYTES}
    for name in tables.keys() - large.keys():
        shutil.copy2(tables[name], target / "tables" / name)
    images = {}
    for name in figures:
        image = f"figures/{name}.png"
        _shrink(require(results / image, "snakemake all"), target / image)
        images[image] = figures[name]
    shutil.copy2(results / "report/manifest.json", target / "manifest.json")
    read = {Path(name).stem: read_table(results / name) for name in TABLES}
    left_out = [
        f"{tables[name]}: {size / 1000:.0f} kB, more than the {MAX_TABLE_BYTES // 1000} kB that a table may have here; "
        "run the study to make it"
        for name, size in sorted(large.items())
    ]
    write_text(target / "README.md", page(manifest, read, images, study, sorted(large)))
    return left_out


def _shrink(source: Path, target: Path) -> None:
    """Copy a PNG with a palette of `COLORS`: about a third of its size, and nothing to see of it in a diagram."""
    with Image.open(source) as image:
        image.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE).save(target, optimize=True)


def page(
    manifest: Mapping[str, Any],
    read: Mapping[str, Sequence[Mapping[str, Any]]],
    images: Mapping[str, Illustration],
    study: str | None = None,
    left_out: Sequence[str] = (),
) -> str:
    """The Markdown page: what was run, the headline numbers, claims and figures.

    Args:
        read: rows of `TABLES` by name.
        images: words by the path of the image.
        left_out: names of the tables that are too large to be copied.
    """
    models = sorted(manifest["settings"]["models"])
    hardware, seconds = manifest["hardware"], manifest["wall_seconds"]
    found = headlines(models, read["gap"], read["decline"], read["checkpoints"])
    spoken = ", ".join(
        f"{name} {facts['kept']} of {facts['spoken']} ({facts['hours']} h, WER {facts['mean_wer']})"
        for name, facts in sorted(manifest["utterances"].items())
    )
    times = ", ".join(f"{stage} {value:.0f}" for stage, value in sorted(seconds.items(), key=lambda item: -item[1]))
    title = f"Reference study{f': {Path(study).stem}' if study else ''}"
    files = f'"{study}"' if study and " " in study else study
    command = f"make all STUDY={files}" if study else "make all"
    lines = [
        f"# {title}",
        "",
        *_wrapped(
            f"One run of `{command}`, written by `make reference-study`. Stand-ins and limits: the front page of this "
            f"repository. {_runs(manifest['settings'])}: read it as a check of the instrument, not as evidence about "
            "speech LLMs in general."
        ),
        "",
        *_wrapped(
            f"- Code {_short(manifest['code_version'])}, settings {manifest['settings_hash']}, "
            f"{hardware['processor']}, {hardware['cores']} cores, {hardware['memory_gb']} GB"
        ),
        *_wrapped(f"- Utterances kept of spoken: {spoken}"),
        *_wrapped(f"- Job seconds by stage: {times}"),
        "",
        "## Headline numbers",
        "",
        *_wrapped(
            "Of each model's last checkpoint, unless the line says otherwise; details in `tables/`. Brackets hold 95 % "
            "intervals over questions. A value beside a null counts only by how far it lies from the null."
        ),
        "",
        *_markdown_table(["", *models], [_headline_cells(line) for line in found]),
        "",
        "## Does similarity predict the gap better than training time?",
        "",
        *_wrapped(RULE),
        "",
        *_markdown_table(
            ["outcome", "measure", "verdict", "R2 [95 %]", "R2 of training time", "checkpoints", "runs"],
            [_claim_cells(claim) for claim in regression_claims(read["regression"])],
        ),
        "",
        "## The paper's claims, judged",
        "",
        *_wrapped(
            "Verdicts by the rule in each row of `tables/claims.csv`; fewer than three runs that a claim is about: "
            "underpowered."
        ),
        "",
        *_markdown_table(
            ["claim", "measure", "estimate [95 %]", "runs", "checkpoints", "verdict"],
            [_judged_cells(row) for row in read["claims"]],
        ),
        "",
        "## Edits of speech tokens",
        "",
        *_wrapped(
            "Against the unedited answers; loss of the reference answer in nats per token, with its 95 % interval. An "
            "edit is evidence only where it also leaves its controls behind: `tables/interventions_controls.csv`."
        ),
        "",
        *_markdown_table(
            ["model", "edit", "n", "gained", "lost", "p (Holm)", "change of reference loss", "verdict"],
            [_edit_cells(row) for row in _beside_controls(read["tests"])],
        ),
        "",
        *_twin_section(twin_cells(read["twins"], read["points"])),
        "## Figures",
        "",
    ]
    for path, shown in images.items():
        lines += [f"### {shown.title}", "", f"![{shown.title}]({path})", "", *_wrapped(shown.caption), ""]
    if left_out:
        named = ", ".join(f"`{name}`" for name in left_out)
        lines += ["## Tables left out", "", *_wrapped(f"Larger than {MAX_TABLE_BYTES // 1000} kB: {named}."), ""]
    return "\n".join(lines)


def _twin_section(cells: Sequence[Sequence[str]]) -> list[str]:
    """The section on training with an alignment loss; nothing if no model has a twin."""
    if not cells:
        return []
    return [
        "## Training with an alignment loss",
        "",
        *_wrapped(
            "Last checkpoint, beside the same training without that loss (`distill`). Changes with 95 % intervals are "
            "paired over questions and hold for this pair of runs; what runs differ by themselves, other seeds tell."
        ),
        "",
        *_markdown_table(TWIN_HEADER, cells),
        "",
    ]


def _wrapped(text: str) -> list[str]:
    """A paragraph or one list entry in lines of even length; none begins like a heading, list or table."""
    return textwrap.wrap(
        text, LINE, subsequent_indent="  " * text.startswith("- "), break_long_words=False, break_on_hyphens=False
    )


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


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    table = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in table]


def _headline_cells(line: Headline) -> list[str]:
    return [f"**{line.name}** ({line.note})", *line.values]


def _claim_cells(claim: Claim) -> list[str]:
    row = claim.row
    counts = [fixed(row["n_checkpoints"], 0), fixed(row["n_runs"], 0)]
    return [
        claim.outcome,
        claim.predictor,
        claim.verdict,
        with_interval(row, "r2", 2),
        fixed(claim.baseline["r2"]),
        *counts,
    ]


def _judged_cells(row: Mapping[str, Any]) -> list[str]:
    interval = "" if row["low"] is None else f" [{fixed(row['low'])}, {fixed(row['high'])}]"
    counts = [fixed(row[name], 0) for name in ("n_runs", "n_checkpoints")]
    return [row["claim"], row["measure"], fixed(row["estimate"]) + interval, *counts, row["verdict"]]


def _beside_controls(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The comparisons with unedited speech, each edit followed by its controls."""
    unedited = [row for row in rows if row["against"] == "none"]
    controls: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in unedited:
        if row["kind"] == "control":
            controls.setdefault((row["model"], row["of"]), []).append(row)
    edits = [row for row in unedited if row["kind"] != "control"]
    ordered = [one for row in edits for one in (row, *controls.pop((row["model"], row["edit"]), ()))]
    return ordered + [row for left in controls.values() for row in left]


def _edit_cells(row: Mapping[str, Any]) -> list[str]:
    counts = [fixed(row[name], 0) for name in ("n", "b", "c")]
    change = with_interval(row, "nll_change", 3)
    return [row["model"], row["edit"], *counts, fixed(row["p_holm"], 3), change, row["verdict"] or row["kind"]]


if __name__ == "__main__":
    from workflow_scripts.plan import FIGURES

    print(*write_reference(Path(sys.argv[1]), Path(sys.argv[2]), FIGURES, *sys.argv[3:]), sep="\n")
