"""`activations.layers`: chosen layers through file, measures and table as in a study that keeps all of them."""

import numpy as np
import pytest
import yaml

from tests.tiny_study import CHECKPOINT, write_tiny_study
from tests.workflow.workflow_copy import ROOT
from workflow_scripts.activations.dump_states import dump_states
from workflow_scripts.alignment.align_tokens import align_tokens
from workflow_scripts.artifacts.measurements import ALIGNMENT, SIMILARITY, read_measurements
from workflow_scripts.artifacts.states import StateReader
from workflow_scripts.artifacts.tables import read_table
from workflow_scripts.correlation.build_alignment_table import build_alignment_table
from workflow_scripts.settings import ConfigError, parse_config
from workflow_scripts.similarity.measure_similarity import measure_similarity


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """(states, similarity, alignment, layers.csv, checkpoints.csv) with all layers, and with 0 and 2 of 0 .. 3."""
    study = write_tiny_study(tmp_path_factory.mktemp("study"))
    found = {}
    for name, layers in (("all", None), ("chosen", [2, 0])):
        folder = tmp_path_factory.mktemp(name)
        files = [folder / f"{part}.h5" for part in ("states", "similarity", "alignment")]
        options = {"checkpoint": CHECKPOINT, "shard": "00-of-01", "system_prompt": None, "seed": 7}
        dump_states(**study.inputs(), states=files[0], activations={"layers": layers}, **options)
        measure_similarity(files[0], files[1], draws=3, seed=7)
        align_tokens(files[0], files[2], draws=3, seed=7, examples=1)
        tables = [folder / "layers.csv", folder / "checkpoints.csv"]
        build_alignment_table([files[1]], [files[2]], *tables)
        found[name] = (*files, *tables)
    return found


def test_the_file_holds_the_chosen_layers_only_and_they_are_the_same(measured):
    with StateReader(measured["all"][0]) as whole, StateReader(measured["chosen"][0]) as part:
        assert (whole.layers, part.layers, part.n_layers) == ([0, 1, 2, 3], [0, 2], 3)
        for layer in part.layers:
            assert np.array_equal(whole.layer("speech", layer), part.layer("speech", layer))
        with pytest.raises(KeyError):
            part.layer("text", 1)


@pytest.mark.parametrize(("place", "schema"), [(1, SIMILARITY), (2, ALIGNMENT)])
def test_measures_of_chosen_layers_are_the_same_and_of_others_undefined(measured, place, schema):
    whole, part = (read_measurements(measured[name][place], schema) for name in ("all", "chosen"))
    for name, measure in part.measures.items():
        for field in ("raw", "null_mean", "p"):
            expected, found = getattr(whole.measures[name], field), getattr(measure, field)
            assert np.array_equal(expected[:, [0, 2]], found[:, [0, 2]], equal_nan=True)
            assert np.isnan(found[:, [1, 3]]).all()


def test_tables_hold_the_chosen_layers_and_means_over_them(measured):
    assert {row["layer"] for row in read_table(measured["chosen"][3])} == {0, 2}
    whole = {(row["layer"], row["metric"]): row for row in read_table(measured["all"][3]) if row["subset"] == "all"}
    (row,) = [row for row in read_table(measured["chosen"][4]) if row["subset"] == "all"]
    assert row["sim_cosine"] == pytest.approx(whole[2, "cosine"]["similarity"]), "layer 2 is all there is above 0"
    assert row["aps_cosine"] == pytest.approx(whole[2, "cosine"]["path_score"])


@pytest.mark.parametrize(
    ("layers", "expected"),
    [([0], "name at least one above 0"), ([3], r"lacks intervention\.layer 0"), ([], "at least 1 item")],
)
def test_a_choice_that_no_measure_can_use_is_refused(layers, expected):
    values = {**_read("assets.yaml"), **_read("config.yaml")}
    values["activations"]["layers"] = layers
    with pytest.raises(ConfigError, match=expected):
        parse_config(values)


def _read(name):
    return yaml.safe_load((ROOT / name).read_text())
