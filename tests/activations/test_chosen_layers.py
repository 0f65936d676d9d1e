"""`activations.layers`: chosen layers through file, measures and tables as in a study that keeps all of them."""

import numpy as np
import pytest
import yaml

from tests.small_study import small_values
from tests.tiny_study import CHECKPOINT, write_tiny_study
from tests.workflow.workflow_copy import ROOT
from workflow_scripts.activations.dump_states import dump_states
from workflow_scripts.alignment.align_tokens import align_tokens
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.measurements import ALIGNMENT, READINGS, SIMILARITY, read_measurements
from workflow_scripts.artifacts.scores import QuestionScore, ScoreFile
from workflow_scripts.artifacts.states import StateReader
from workflow_scripts.artifacts.tables import read_table, select, write_table
from workflow_scripts.correlation.build_alignment_table import build_alignment_table
from workflow_scripts.correlation.regress_answers import regress_answers
from workflow_scripts.correlation.sensitivity import sensitivity
from workflow_scripts.figures.plot_cka import plot_cka
from workflow_scripts.figures.plot_layers import plot_layers, plot_layers_controlled
from workflow_scripts.figures.plot_token_matrix import plot_token_matrix
from workflow_scripts.settings import ConfigError, parse_config
from workflow_scripts.similarity.measure_similarity import measure_similarity

TABLES = ("layers", "checkpoints", "cka")
OPTIONS = {"shard": "00-of-01", "seed": 7}
MODEL = "tiny-lora"


def score_file(folder, model, checkpoint, subset, form, questions):
    facts = {"model": model, "checkpoint": checkpoint, "subset": subset, "form": form, "n": len(questions)}
    path = folder / f"{form}.scores.json"
    ScoreFile(
        **facts,
        **{"scorer": "x", "scorer_version": "1", "mean": 0.0, "interval_low": 0.0, "interval_high": 0.0},
        **{"interval_method": "wilson", "unparsed_rate": 0.0, "nll_per_token": None, "provenance": {}},
        questions=questions,
    ).write(path)
    return path


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
    tables = {name: {table: read_table(files[table], table) for table in TABLES} for name, files in measured.items()}
    chosen = tables["chosen"]
    assert set(chosen["layers"]["layer"]) == {0, 2}
    assert set(zip(chosen["cka"]["speech_layer"], chosen["cka"]["text_layer"])) == {(0, 0), (0, 2), (2, 0), (2, 2)}
    whole = select(tables["all"]["layers"], subset="all", layer=2).set_index("measure")["value"]
    means = select(chosen["checkpoints"], subset="all").set_index("measure")
    for name, value in whole.items():
        assert means["value"][name] == pytest.approx(value, nan_ok=True), "layer 2 is all there is above 0"
    assert means["best_layer"]["path_score_cosine"] == means["best_layer"]["cka"] == 2


def test_answers_are_regressed_on_the_mean_over_the_chosen_layers(measured, tmp_path):
    """A plain mean over layers would be undefined for every answer."""
    rng = np.random.default_rng(0)
    for name, files in measured.items():
        aligned = read_measurements(files["alignment"], ALIGNMENT)
        subset = str(aligned.attributes["subset"])
        questions = [
            QuestionScore(id=one, score=float(right), parsed="x", outcome="o", rule="r", unparsed=False)
            for one, right in zip(aligned.ids, rng.integers(2, size=len(aligned.ids)))
        ]
        scores = [
            score_file(tmp_path / name, MODEL, CHECKPOINT, subset, form, questions) for form in ("text", "speech")
        ]
        regress_answers(
            [files["similarity"]],
            [files["alignment"]],
            scores,
            tmp_path / f"{name}.csv",
            models={MODEL: {"start": "s"}},
        )
    for name in measured:
        rows = read_table(tmp_path / f"{name}.csv", "answers_regression")
        assert (rows["n"] == len(aligned.ids)).all(), name


def test_readings_are_of_the_chosen_layers(measured, tmp_path):
    gap = {"model": MODEL, "checkpoint": CHECKPOINT, "step": 3, "subset": "overall", "form": "gap", "measure": "score"}
    write_table(tmp_path / "gap.csv", [gap | {"value": 0.1}], "gap")
    values = {}
    for name, files in measured.items():
        out = tmp_path / f"{name}.csv"
        measurements = ([files[part]] for part in ("similarity", "alignment", "readings"))
        sensitivity(*measurements, tmp_path / "gap.csv", out, models={MODEL: {"start": "s"}})
        rows = read_table(out, "sensitivity")
        values[name] = dict(zip(zip(rows["score"], rows["switch"], rows["reading"]), rows["value"]))
    whole, part = values["all"], values["chosen"]
    assert np.isnan(part["APS cosine", "layers", "L only"]), "layer 3 was not kept"
    assert np.isfinite(whole["APS cosine", "layers", "L only"])
    for reading in ("token-weighted", "tokens, layers, questions"):
        assert np.isfinite(part["APS cosine", "averaging", reading])
    both = "APS cosine", "template", "both with template"
    assert np.isfinite(part[both]) and part[both] != whole[both], "a mean over layer 2 alone"
    assert part["APS cosine", "layers", "best of 1..L"] == pytest.approx(part["APS cosine", "layers", "1..L"])


def test_figures_draw_the_layers_that_are_there(measured):
    files = measured["chosen"]
    for draw in (plot_layers, plot_layers_controlled):
        drawn = draw(read_table(files["layers"], "layers"), {})
        (line, *_) = drawn.axes[0].lines
        assert line.get_xdata().tolist() == [0, 2]
    assert plot_cka(read_table(files["cka"], "cka"), {}).axes
    assert plot_token_matrix(files["alignment"], {}).axes
    with pytest.raises(ArtifactError, match=r"holds layers \[0, 2\]; set display\.example_layer \(1\) to one of them"):
        plot_token_matrix(files["alignment"], {"example_layer": 1})


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
    values = small_values()
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
