"""Every figure: three files of substance, equal bytes for equal data, one to eight models, tables with empty cells."""

import re
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from tests.made_results import CONTROLS, Made, write_made_tables
from tests.made_samples import write_made_alignment
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.tables import (
    TABLES,
    TEXT,
    WHOLE,
    last_checkpoints,
    read_table,
    select,
    typed,
    write_table,
)
from workflow_scripts.figures.plot import draw as draw_figure
from workflow_scripts.figures.plot import plot
from workflow_scripts.figures.plot_edited_layers import swept_edits
from workflow_scripts.figures.plot_interventions import forest_rows
from workflow_scripts.figures.plot_partial_residuals import residuals
from workflow_scripts.figures.plot_token_matrix import shown_token
from workflow_scripts.figures.style import Look, figure, integer_ticks
from workflow_scripts.figures.table import FIGURES
from workflow_scripts.statistics.regression import partial_r2

MAGIC = {"pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG"}


def inputs_of(name: str, made: Made) -> dict[str, Any]:
    """Inputs of a figure, by the same table that the rule reads."""
    other = {"training_logs": lambda: made.logs, "example_alignment": lambda: made_alignment(made)}
    sources = FIGURES[name].inputs
    return {key: other[path]() if path in other else made.table(Path(path).stem) for key, path in sources.items()}


def made_alignment(made: Made) -> Path:
    return write_made_alignment(made.folder / "alignment.h5", made.models[0])


def draw(name: str, made: Made, folder: Path) -> dict[str, bytes]:
    """Bytes of the figure's files by kind, drawn as the rule does."""
    files = {kind: folder / f"{name}.{kind}" for kind in MAGIC}
    display = None if FIGURES[name].display == "none" else made.display
    plot(FIGURES[name].function, inputs_of(name, made), files, display)
    return {kind: path.read_bytes() for kind, path in files.items()}


def change(made: Made, table: str, columns: dict[str, Any]) -> None:
    """Write a table again with columns changed by a function each."""
    frame = read_table(made.table(table), table)
    write_table(made.table(table), frame.assign(**{name: new(frame[name]) for name, new in columns.items()}), table)


@pytest.mark.parametrize("name", FIGURES)
def test_three_files_of_substance_and_equal_bytes_on_repeat(name, tmp_path):
    made = write_made_tables(tmp_path)
    first = draw(name, made, tmp_path / "first")
    for kind, magic in MAGIC.items():
        assert first[kind].startswith(magic)
        assert len(first[kind]) > 5_000, kind
    assert draw(name, made, tmp_path / "second") == first


@pytest.fixture
def margins(monkeypatch):
    """How far, in inches, whatever is drawn stays within each figure that is saved: left, bottom, right, top."""
    found, saved = [], Figure.savefig

    def savefig(self, *args, **options):
        box, (width, height) = self.get_tightbbox(self.canvas.get_renderer()), self.get_size_inches()
        found.append((box.x0, box.y0, width - box.x1, height - box.y1))
        titles = [axis._left_title.get_window_extent() for axis in self.axes if axis.get_title("left")]
        assert not any(first.overlaps(second) for first, second in combinations(titles, 2))
        saved(self, *args, **options)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return found


@pytest.mark.parametrize("models", [1, 8])
@pytest.mark.parametrize("name", [name for name in FIGURES if name not in ("token_matrix", "predictors")])
def test_one_model_and_eight_fit_on_a_page_with_every_label_readable_and_unclipped(name, models, tmp_path, margins):
    made = write_made_tables(tmp_path, [f"run-{number}-with-a-long-name" for number in range(models)])
    svg = draw(name, made, tmp_path)["svg"].decode()
    points = float(svg.partition('height="')[2].partition("pt")[0])
    assert points < 10 * 72
    for label in ("First model", *(f"run-{number}-with-a-long-name" for number in range(1, models))):
        assert label in svg
    assert min(float(size) for size in re.findall(r'<text style="font-size: ([\d.]+)px', svg)) >= 7
    assert min(map(min, margins)) > -0.01


def test_a_label_as_long_as_the_alignment_runs_fits_a_third_of_the_page(tmp_path, margins):
    made = write_made_tables(tmp_path, ["a", "b", "SmolLM2-135M LoRA + alignment"])
    draw("monotonicity", made, tmp_path)
    assert min(map(min, margins)) > -0.01


@pytest.mark.parametrize("name", [name for name in FIGURES if name != "token_matrix"])
def test_empty_cells_are_left_out(name, tmp_path):
    made = write_made_tables(tmp_path)
    full = draw(name, made, tmp_path / "full")["svg"]
    for table in FIGURES[name].columns:
        for path in made.logs if table == "training_log" else [made.table(table)]:
            frame = read_table(path, table)
            numbers = list(frame.select_dtypes("float"))
            some = np.random.default_rng(0).random(len(frame)) < 0.3
            frame.loc[some | (frame.index == 0), numbers] = np.nan
            write_table(path, frame, table)
    holed = draw(name, made, tmp_path / "holed")["svg"]
    assert holed != full
    assert not re.search(rb"\bnan\b", holed, re.I)


@pytest.mark.parametrize("name", [name for name in FIGURES if name != "token_matrix"])
def test_the_columns_of_the_entry_are_all_that_is_read(name, tmp_path):
    made, entry = write_made_tables(tmp_path), FIGURES[name]
    frames = {
        table: {path.parent.name: read_table(path, table)[columns.split()] for path in made.logs}
        if table == "training_log"
        else read_table(made.table(table), table)[columns.split()]
        for table, columns in entry.columns.items()
    }
    assert frames.keys() == entry.inputs.keys()
    plt.close(draw_figure(entry.function, **frames, **({} if entry.display == "none" else {"display": made.display})))


def test_no_chance_band_of_a_share_lies_below_zero(tmp_path):
    made = write_made_tables(tmp_path)
    change(made, "layers", {"null": lambda values: 0 * values + 0.01, "null_sd": lambda values: 0 * values + 0.02})
    layers = read_table(made.table("layers"), "layers")
    drawn = draw_figure(FIGURES["layers_local"].function, layers=layers, display=made.display)
    lowest = {
        axis.get_ylabel(): min(path.vertices[:, 1].min() for band in axis.collections for path in band.get_paths())
        for axis in drawn.axes
    }
    plt.close(drawn)
    assert sorted(lowest.values()) == pytest.approx([-0.03, 0, 0]), "CKA may, the shares may not"


def test_the_last_checkpoint_of_a_model_is_that_of_its_highest_step_and_backbones_have_none():
    steps = {"step-000000": 0, "step-000100": 100, "step-000020": 20}
    rows = [{"model": "a", "checkpoint": name, "step": step} for name, step in steps.items()]
    rows += [{"model": "public", "checkpoint": "final", "step": None}, {"model": "b", "checkpoint": "base"}]
    frame = typed(pd.DataFrame(rows), {"model": TEXT, "checkpoint": TEXT, "step": WHOLE})
    assert [*last_checkpoints(frame)["checkpoint"]] == ["step-000100", "final"]


def test_the_decline_prints_the_planted_differences_of_overall(tmp_path):
    made = write_made_tables(tmp_path, ["only"])
    rows = select(last_checkpoints(read_table(made.table("decline"), "decline")), subset="overall")
    gap = select(rows, measure="modality_gap").iloc[0]
    svg = draw("decline", made, tmp_path)["svg"].decode()
    assert f"modality gap {gap.value:.1f} [{gap.low:.1f}, {gap.high:.1f}]" in svg


def test_the_interval_of_a_gap_is_no_range_of_scores(tmp_path):
    made = write_made_tables(tmp_path, ["only"])
    of_gap = read_table(made.table("decline"), "decline")["measure"] == "modality_gap"
    ends = {"low": 1.0, "high": 90.0}
    change(made, "decline", {end: lambda cells, value=value: cells.mask(of_gap, value) for end, value in ends.items()})
    # Counted down from a text score of about 40, such an interval would reach 50 points below the lowest score.
    assert not re.search(r"<text[^>]*>\N{MINUS SIGN}\d", draw("decline", made, tmp_path)["svg"].decode())


def test_a_score_of_zero_is_drawn_and_a_missing_one_is_not(tmp_path):
    made = write_made_tables(tmp_path, ["only"])
    spoken = read_table(made.table("decline"), "decline")["measure"] == "tuned_speech"
    drawn = {}
    for value in (0.0, np.nan):
        planted = dict.fromkeys(("value", "low", "high"), lambda cells, value=value: cells.mask(spoken, value))
        change(made, "decline", planted)
        drawn[str(value)] = draw("decline", made, tmp_path)["svg"].decode().count("stroke: #d55e00")
    assert drawn["0.0"] > drawn["nan"]


def test_without_sentences_to_repeat_the_learning_curves_have_no_panel_for_them(tmp_path):
    made = write_made_tables(tmp_path, ["only"])
    assert "word error rate" in draw("learning", made, tmp_path)["svg"].decode()
    change(made, "gap", {"measure": lambda cells: cells.replace("word_error_rate", "score")})
    drawn = draw("learning", made, tmp_path)["svg"].decode()
    assert "word error rate" not in drawn and "no word said" not in drawn and "held-out prompts" in drawn


@pytest.mark.parametrize("name", ["decline", "learning", "similarity_gap", "interventions", "cka"])
def test_models_whose_names_look_like_numbers_keep_them(name, tmp_path):
    made = write_made_tables(tmp_path, ["1e5", "007"])
    assert ">007" in draw(name, made, tmp_path)["svg"].decode()


def test_controls_have_rows_of_their_own_only_where_a_page_holds_them(tmp_path):
    for models, shown in ((1, ">control<"), (8, ">range of its controls")):
        made = write_made_tables(tmp_path, [f"run-{number}" for number in range(models)])
        svg = draw("interventions", made, tmp_path)["svg"].decode()
        assert shown in svg
        assert ("other token" in svg) == (models == 1)


@pytest.mark.parametrize("name", ["interventions", "edited_layers"])
def test_models_that_cannot_be_edited_are_left_out(name, tmp_path):
    made = write_made_tables(tmp_path, ["first", "whole"])
    whole = read_table(made.table("tests"), "tests")["model"] == "whole"
    for which, shown in ((whole, {"First model"}), (whole | ~whole, set())):
        edits = {"kind": lambda cells, which=which: cells.mask(which, "left out")}
        change(made, "tests", edits)
        svg = draw(name, made, tmp_path)["svg"].decode()
        assert {model for model in ("First model", "whole") if f">{model}" in svg} == shown


def test_conditions_of_any_number_of_groups_stand_beside_their_mean_and_without_losses_in_two_rows(tmp_path):
    made = write_made_tables(tmp_path, ["a"])
    table = read_table(made.table("conditions"), "conditions")
    for rows, groups, panels in (
        (table, 1, 3),
        (pd.concat([table, table.assign(subset="regions")]), 2, 6),
        (select(table, measure="score"), 1, 2),
        (table.iloc[:0], 0, 1),
    ):
        drawn = draw_figure("plot_conditions:plot_conditions", conditions=rows, display=made.display)
        assert len(drawn.axes) == panels
        if groups:
            ticks = [label.get_text() for label in drawn.axes[-1].get_xticklabels()]
            assert ticks == ["nq", "nq_babble5", "nq_telephone", "mean over\nconditions"]
        plt.close(drawn)


def test_layers_and_positions_have_whole_numbers_at_their_ticks():
    drawn, axes = figure(1, 1, 3, 2)
    axes[0, 0].plot([0, 10, 20], [0, 1, 2])
    axes[0, 0].set_xlim(-0.3, 2.2)
    integer_ticks(axes[0, 0].xaxis)
    assert (axes[0, 0].get_xticks() % 1 == 0).all()
    plt.close(drawn)


def test_fits_say_how_many_checkpoints_and_runs_they_rest_on(tmp_path):
    made = write_made_tables(tmp_path, ["a", "b", "c"])
    assert "n=18, 3 runs" in draw("similarity_gap", made, tmp_path)["svg"].decode()


def test_dollar_signs_in_labels_and_tokens_start_no_formula(tmp_path):
    look = Look({"models": {"a": {"label": r"5$ or \frac 6$"}}}, ["a"])
    assert look.label("a") == r"5\$ or \frac 6\$"
    assert shown_token("Ġ$x$") == "$x$"
    assert shown_token("▁word") == "word"


def test_a_layer_beyond_the_stack_and_a_file_without_example_name_the_remedy(tmp_path):
    path = write_made_alignment(tmp_path / "alignment.h5", "a", n_layers=4)
    with pytest.raises(ArtifactError, match=r"layers 0 to 4; set display.example_layer \(9\)"):
        draw_figure("plot_token_matrix:plot_token_matrix", alignment=path, display={"example_layer": 9})


def test_colours_and_markers_never_repeat_together_among_eight_models():
    look = Look({}, [f"m{number}" for number in range(8)])
    assert len({(look.color(model), look.marker(model)) for model in look.models}) == 8


def test_every_edit_stands_above_its_controls_and_ceilings_come_last(tmp_path):
    order = [*forest_rows(read_table(write_made_tables(tmp_path, ["a"]).table("tests"), "tests"))["edit"]]
    assert order[:5] == ["angle_all", *(f"angle_all_{control}" for control in CONTROLS)]
    assert order[-2:] == ["text", "oracle_transcript"]
    assert not any("@" in edit or edit == "no_op" for edit in order)


def test_a_sweep_takes_in_the_same_edit_at_another_layer():
    same = {"against": "none", "kind": "edit", "operation": "angle", "selection": "all", "path": "vote"}
    same |= {"weight": 1.0, "k": None, "metric": "cosine"}
    rows = [same | {"name": "s", "swept": True, "layer": layer, "edit": f"s@{layer}"} for layer in (20, 10)]
    rows += [same | {"name": "all", "edit": "all", "swept": False, "layer": 0}]
    rows += [same | {"name": "few", "edit": "few", "swept": False, "layer": 0, "selection": "bottom", "k": 3}]
    sweeps = swept_edits(typed(pd.DataFrame(rows), TABLES["tests"]))
    assert {name: [*sweep["edit"]] for name, sweep in sweeps.items()} == {"s": ["all", "s@10", "s@20"]}


def test_without_a_sweep_the_layer_figure_says_what_to_configure(tmp_path):
    made = write_made_tables(tmp_path, ["a"])
    rows = select(read_table(made.table("tests"), "tests"), swept=False)
    write_table(made.table("tests"), rows, "tests")
    assert "give an entry a list of layers" in draw("edited_layers", made, tmp_path)["svg"].decode()


def test_residuals_are_free_of_the_covariates_and_their_correlation_is_the_partial_r2():
    rng = np.random.default_rng(0)
    z, x = rng.normal(size=(2, 30))
    y = x + 3 * z + rng.normal(size=30)
    dx, dy = residuals(x, z[:, None]), residuals(y, z[:, None])
    assert abs(dx @ z) < 1e-9 and abs(dy.sum()) < 1e-9
    assert np.corrcoef(dx, dy)[0, 1] ** 2 == pytest.approx(partial_r2(y, x, z[:, None]).value)
    assert (residuals(2 * z + 1, z[:, None]) == 0).all()
