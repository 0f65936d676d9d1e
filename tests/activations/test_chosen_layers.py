"""`activations.layers`: chosen layers through file, measures and tables as in a study that keeps all of them."""

import numpy as np
import pytest
import yaml

from tests.tiny_study import CHECKPOINT, write_tiny_study
from tests.workflow.workflow_copy import ROOT
from workflow_scripts.activations.dump_states import dump_states
from workflow_scripts.alignment.align_tokens import align_tokens
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.measurements import ALIGNMENT, READINGS, SIMILARITY, read_measurements
from workflow_scripts.artifacts.states import StateReader
from workflow_scripts.artifacts.tables import read_table, write_table
from workflow_scripts.correlation.build_alignment_table import build_alignment_table
from workflow_scripts.correlation.vary_readings import vary_readings
from workflow_scripts.figures.plot_cka import plot_cka
from workflow_scripts.figures.plot_layers import plot_layers
from workflow_scripts.figures.plot_layers_controlled import plot_layers_controlled
from workflow_scripts.figures.plot_token_matrix import plot_token_matrix
from workflow_scripts.settings import ConfigError, parse_config
from workflow_scripts.similarity.measure_similarity import measure_similarity

TABLES = ("layers", "checkpoints", "chance", "cka")
OPTIONS = {"checkpoint": CHECKPOINT, "shard": "00-of-01", "system_prompt": None, "seed": 7}
MODEL = "tiny-lora"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_tiny_study(tmp_path_factory.mktemp("study"), n=6, dropped=())


@pytest.fixture(scope="module")
def measured(study, tmp_path_factory):
    """Paths of states, similarity, alignment and tables with all layers, and with 2 and 0 of 0 .. 3."""
    found = {}
    for name, layers in (("all", None), ("chosen", [2, 0])):
        folder = tmp_path_factory.mktemp(name)
        files = {part: folder / f"{part}.h5" for part in ("states", "readings", "similarity", "alignment")}
        outputs = {name: files[name] for name in ("states", "readings")}
        dump_states(**study.inputs(), **outputs, activations={"layers": layers}, **OPTIONS)
        measure_similarity(files["states"], files["similarity"], draws=3, seed=7, massive=2)
        align_tokens(files["states"], files["alignment"], draws=3, seed=7, examples=1)
        tables = {table: folder / f"{table}.csv" for table in TABLES}
        build_alignment_table([files["similarity"]], [files["alignment"]], *tables.values())
        found[name] = files | tables
    return found


def test_the_file_holds_the_chosen_layers_only_and_they_are_the_same(measured):
    with StateReader(measured["all"]["states"]) as whole, StateReader(measured["chosen"]["states"]) as part:
        assert (whole.layers, part.layers, part.n_layers) == ([0, 1, 2, 3], [0, 2], 3)
        for form in ("speech", "text"):
            for layer in part.layers:
                assert np.array_equal(whole.layer(form, layer), part.layer(form, layer))
        with pytest.raises(KeyError):
            part.layer("text", 1)


@pytest.mark.parametrize(("place", "schema"), [("similarity", SIMILARITY), ("alignment", ALIGNMENT)])
def test_measures_of_chosen_layers_are_the_same_and_of_others_undefined(measured, place, schema):
    whole, part = (read_measurements(measured[name][place], schema) for name in ("all", "chosen"))
    assert part.measures.keys() == whole.measures.keys()
    for name, measure in part.measures.items():
        for field in ("raw", "null_mean", "null_sd", "p"):
            expected, found = getattr(whole.measures[name], field), getattr(measure, field)
            assert np.array_equal(expected[:, [0, 2]], found[:, [0, 2]], equal_nan=True), (name, field)
            assert np.isnan(found[:, [1, 3]]).all(), (name, field)
    for name, (total, count) in part.draws.items():
        assert np.array_equal(total[:, [0, 2]], whole.draws[name][0][:, [0, 2]]) and not count[:, [1, 3]].any()


def test_readings_of_chosen_layers_are_the_same_and_of_others_undefined(measured):
    whole, part = (read_measurements(measured[name]["readings"], READINGS) for name in ("all", "chosen"))
    for name, measure in part.measures.items():
        assert np.array_equal(whole.measures[name].raw[:, [0, 2]], measure.raw[:, [0, 2]], equal_nan=True), name
        assert np.isnan(measure.raw[:, [1, 3]]).all(), name
    assert part.attributes["undefined"] == whole.attributes["undefined"]


def test_paths_and_token_matrices_stay_in_the_place_of_their_layer(measured):
    whole, part = (read_measurements(measured[name]["alignment"], ALIGNMENT) for name in ("all", "chosen"))
    (example,) = part.examples
    for metric in ("cosine", "euclidean"):
        for number in range(len(part.ids)):
            assert np.array_equal(part.paths[metric][number][[0, 2]], whole.paths[metric][number][[0, 2]])
            assert np.isnan(part.scores[metric][number][[1, 3]]).all()
        assert np.array_equal(part.examples[example][metric][2], whole.examples[example][metric][2])


def test_tables_hold_the_chosen_layers_and_means_over_them(measured):
    assert {row["layer"] for row in read_table(measured["chosen"]["layers"])} == {0, 2}
    cka = read_table(measured["chosen"]["cka"])
    assert {(row["speech_layer"], row["text_layer"]) for row in cka} == {(0, 0), (0, 2), (2, 0), (2, 2)}
    rows = [row for row in read_table(measured["all"]["layers"]) if row["subset"] == "all"]
    whole = {(row["layer"], row["metric"]): row for row in rows}
    (row,) = [row for row in read_table(measured["chosen"]["checkpoints"]) if row["subset"] == "all"]
    assert row["sim_cosine"] == pytest.approx(whole[2, "cosine"]["similarity"]), "layer 2 is all there is above 0"
    assert row["aps_cosine"] == pytest.approx(whole[2, "cosine"]["path_score"])
    chance = {row["measure"]: row for row in read_table(measured["chosen"]["chance"]) if row["subset"] == "all"}
    assert chance["path_score_cosine"]["raw"] == pytest.approx(row["aps_cosine"])
    assert chance["path_score_cosine"]["best_layer"] == chance["cka"]["best_layer"] == 2


def test_readings_are_of_the_chosen_layers(measured, tmp_path):
    gap = {"model": MODEL, "checkpoint": CHECKPOINT, "step": 3, "subset": "overall", "gap": 0.1}
    write_table(tmp_path / "gap.csv", [gap], tuple(gap))
    values = {}
    for name, files in measured.items():
        out = tmp_path / f"{name}.csv"
        measurements = ([files[part]] for part in ("similarity", "alignment", "readings"))
        vary_readings(*measurements, tmp_path / "gap.csv", out, models=[MODEL])
        values[name] = {(row["score"], row["switch"], row["reading"]): row["value"] for row in read_table(out)}
    whole, part = values["all"], values["chosen"]
    assert part["APS cosine", "layers", "L only"] is None, "layer 3 was not kept"
    assert whole["APS cosine", "layers", "L only"] is not None
    for reading in ("token-weighted", "tokens, layers, questions"):
        assert part["APS cosine", "averaging", reading] is not None
    both = "APS cosine", "template", "both with template"
    assert part[both] is not None and part[both] != whole[both], "a mean over layer 2 alone"
    assert part["APS cosine", "layers", "best of 1..L"] == pytest.approx(part["APS cosine", "layers", "1..L"])


def test_figures_draw_the_layers_that_are_there(measured, tmp_path):
    files, outputs = measured["chosen"], [tmp_path / f"figure.{kind}" for kind in ("pdf", "svg", "png")]
    for draw, table in ((plot_layers, "layers"), (plot_layers_controlled, "layers"), (plot_cka, "cka")):
        draw(files[table], *outputs, {})
    plot_token_matrix(files["alignment"], *outputs, {})
    assert all(path.stat().st_size > 1000 for path in outputs)
    with pytest.raises(ArtifactError, match=r"holds layers \[0, 2\]; set display\.example_layer \(1\) to one of them"):
        plot_token_matrix(files["alignment"], *outputs, {"example_layer": 1})


def test_shards_of_different_choices_are_not_joined(measured, study, tmp_path):
    files = [measured[name]["similarity"] for name in ("all", "chosen")]
    with pytest.raises(ArtifactError, match="different layers"):
        build_alignment_table(files, files, *(tmp_path / name for name in TABLES))


def test_a_layer_that_the_model_lacks_is_refused_before_any_pass(study, tmp_path):
    with pytest.raises(ArtifactError, match=r"activations\.layers: 4, but tiny-lora.* has layers 0 \.\. 3"):
        dump_states(**study.inputs(), states=tmp_path / "states.h5", activations={"layers": [1, 4]}, **OPTIONS)
    assert not (tmp_path / "states.h5").exists()


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([0], "name at least one above 0"),
        ([1, 1], "name different layers"),
        ([-1, 2], "name different layers"),
        ([3], r"lacks 2, the layer of the path of intervention\.operations\.angle-bottom-3"),
        ([], "at least 1 item"),
    ],
)
def test_a_choice_that_no_measure_can_use_is_refused(layers, expected):
    values = {**_read("assets.yaml"), **_read("config.yaml")}
    values["activations"]["layers"] = layers
    values["intervention"]["operations"]["angle-bottom-3"] = {
        "operation": "angle",
        "selection": "bottom",
        "k": 3,
        "path": 2,
    }
    with pytest.raises(ConfigError, match=expected):
        parse_config(values)


def _read(name):
    return yaml.safe_load((ROOT / name).read_text())
