"""Forest plot of the edits of speech vectors, each above its controls, with the ceilings (ours; paper: Table 1).

Per model two panels: change of strictly right answers against unedited speech, in points, and change of the reference
answer's loss, both with 95 % intervals.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.tables import read_table
from workflow_scripts.figures.style import NULL, PAGE_HEIGHT_INCHES, PAGE_INCHES, Look, figure, number, save

COLUMNS = {"difference": "change of right answers (points)", "nll_change": "change of reference loss (nats per token)"}
ROW_INCHES = 0.145
CEILING_NAMES = {"text": "written question", "oracle_transcript": "speech + transcript"}


def forest_rows(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Rows of one model against the unedited answers: each edit, then its controls; ceilings last; no sweeps."""
    own = [row for row in rows if row["against"] == "none" and not row["swept"]]
    ordered = []
    for edit in own:
        if edit["kind"] == "edit":
            ordered += [edit, *(row for row in own if row["kind"] == "control" and row["of"] == edit["edit"])]
    return ordered + [row for row in own if row["kind"] == "ceiling"]


def plot_interventions(tests: Path, pdf: Path, svg: Path, png: Path, display: Mapping[str, Any]) -> None:
    """Draw one pair of panels per model."""
    table = read_table(tests)
    models = sorted({row["model"] for row in table})
    look = Look(display, models)
    by_model = {model: forest_rows([row for row in table if row["model"] == model]) for model in models}
    n_rows = sum(len(rows) + 3 for rows in by_model.values())
    height = min(ROW_INCHES * n_rows + 0.3, PAGE_HEIGHT_INCHES)
    size = min(7.0, 7.0 * height / (ROW_INCHES * n_rows + 0.3))
    ratios = {"height_ratios": [len(rows) + 3 for rows in by_model.values()]}
    options = {"sharex": "col", "sharey": "row", "gridspec_kw": ratios}
    with figure(len(models), 2, PAGE_INCHES, height, **options) as (drawn, axes):
        for pair, (model, rows) in zip(axes, by_model.items()):
            for axis, column in zip(pair, COLUMNS):
                for place, row in enumerate(rows):
                    _draw(axis, -place, row, column, look.color(model), size)
                axis.axvline(0, color="black", linewidth=0.6)
                axis.set_ylim(-len(rows) + 0.4, 0.6)
                axis.tick_params(axis="y", length=0)
            pair[0].set_yticks([-place for place in range(len(rows))], [_name(row) for row in rows], fontsize=size)
            n = f", n={rows[0]['n']}" if rows else ""
            pair[0].set_title(f"{look.label(model)}{n}", loc="left")
        for axis, label in zip(axes[-1], COLUMNS.values()):
            axis.set_xlabel(label)
        save(drawn, pdf, svg, png)


def _draw(axis: Any, place: int, row: Mapping[str, Any], column: str, color: str, size: float) -> None:
    value, low, high = (number(row[f"{column}{end}"]) for end in ("", "_low", "_high"))
    if value != value:
        return
    control, ceiling = row["kind"] == "control", row["kind"] == "ceiling"
    shade = NULL if control else color
    if low == low and high == high:
        axis.plot([low, high], [place, place], color=shade, linewidth=0.9 if control else 1.4)
    face = "white" if ceiling else shade
    marker = "s" if control else "o"
    axis.plot(
        [value], [place], marker, color=shade, markerfacecolor=face, markersize=0.4 * size if control else 0.65 * size
    )


def _name(row: Mapping[str, Any]) -> str:
    key = str(row["edit"])
    if row["kind"] == "control":
        return f"{str(row['control']).replace('_', ' ')}  "
    return CEILING_NAMES.get(key, key).replace("$", r"\$")


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: plot_interventions(s.input.tests, s.output.pdf, s.output.svg, s.output.png, s.params.display),
    )
