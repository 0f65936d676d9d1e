"""layers.csv and checkpoints.csv: the paper's averaging on planted values, chance levels, undefined values."""

import math

import numpy as np
import pytest

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.measurements import (
    ALIGNMENT,
    SIMILARITY,
    Measured,
    Measurements,
    write_measurements,
)
from workflow_scripts.artifacts.tables import read_table, select
from workflow_scripts.correlation.build_alignment_table import build_alignment_table
from workflow_scripts.measures.registry import MEASURES, Measure, of_level

SIMILARITY_MEASURES, ALIGNMENT_MEASURES = list(of_level("pair")), list(of_level("token"))


def measured(raw, null, sd=0.1):
    raw, null = np.broadcast_arrays(np.asarray(raw, float), np.asarray(null, float))
    return Measured(raw, null, np.full(raw.shape, sd), np.full(raw.shape, 0.5))


def write(folder, kind, subset, ids, values, shard="00-of-01", checkpoint="step-000400", **changes):
    """A measurement file; `values` maps a measure to (raw, null); measures not named are constant."""
    schema = SIMILARITY if kind == "similarity" else ALIGNMENT
    names = of_level("pair" if kind == "similarity" else "token")
    plain = (np.full((len(ids), 3), 0.5), np.full((len(ids), 3), 0.25))
    measures = {name: measured(*values.get(name, plain)) for name in names}
    attributes = {"model": "m", "checkpoint": checkpoint, "subset": subset, "shard": shard} | changes
    attributes = {name: value for name, value in attributes.items() if value is not None}
    path = folder / kind / subset / checkpoint / f"{shard}.h5"
    lengths = np.full(len(ids), 5)
    write_measurements(path, schema, Measurements(list(ids), measures, lengths, lengths, attributes))
    return path


def build(folder, similarity, alignment):
    layers, checkpoints = folder / "layers.csv", folder / "checkpoints.csv"
    build_alignment_table(similarity, alignment, layers, checkpoints, folder / "cka.csv")
    return read_table(layers, "layers"), read_table(checkpoints, "checkpoints")


def cells(frame, column="value", **wanted):
    """The column of the rows that are wanted, in order."""
    return select(frame, **wanted)[column].tolist()


def test_sim_averages_layers_1_to_L_and_leaves_layer_0_to_the_layer_table(tmp_path):
    cosine = (np.array([[9.0, 0.2, 0.4], [9.0, 0.6, 0.8]]), np.full((2, 3), 0.25))
    files = [write(tmp_path, "similarity", "s", ["a", "b"], {"cosine": cosine})]
    layers, checkpoints = build(tmp_path, files, [write(tmp_path, "alignment", "s", ["a", "b"], {})])
    (row,) = select(checkpoints, subset="s", measure="cosine").to_dict("records")
    assert row["value"] == pytest.approx(0.5)
    assert row["calibrated"] == pytest.approx((0.5 - 0.25) / 0.75, abs=1e-6)
    assert (row["n"], row["step"]) == (2, 400)
    assert cells(layers, subset="s", measure="cosine") == pytest.approx([9.0, 0.4, 0.6])
    assert cells(layers, "layer", subset="s", measure="cosine") == [0, 1, 2]


def test_samples_weigh_the_same_whatever_layers_are_undefined(tmp_path):
    # Sample a has one defined layer (1.0), sample b two (0.0, 0.5): the mean over samples is (1.0 + 0.25) / 2.
    rho = np.array([[np.nan, np.nan, 1.0], [0.0, 0.0, 0.5]])
    alignment = write(tmp_path, "alignment", "s", ["a", "b"], {"monotonicity_cosine": (rho, np.zeros((2, 3)))})
    layers, checkpoints = build(tmp_path, [write(tmp_path, "similarity", "s", ["a", "b"], {})], [alignment])
    assert cells(checkpoints, subset="s", measure="monotonicity_cosine") == pytest.approx([0.625])
    assert cells(layers, "n", subset="s", measure="monotonicity_cosine") == [1, 1, 2]


def test_a_measure_undefined_everywhere_is_an_empty_cell(tmp_path):
    nothing = (np.full((2, 3), np.nan), np.full((2, 3), np.nan))
    alignment = write(tmp_path, "alignment", "s", ["a", "b"], {"monotonicity_euclidean": nothing})
    layers, checkpoints = build(tmp_path, [write(tmp_path, "similarity", "s", ["a", "b"], {})], [alignment])
    for table in (layers, checkpoints):
        rows = select(table, measure="monotonicity_euclidean")
        assert set(rows["subset"]) == {"s", "all"} and rows["value"].isna().all() and (rows["n"] == 0).all()


def test_all_weighs_subsets_not_questions(tmp_path):
    large, small = ["a", "b", "c"], ["d"]
    similarity = [
        write(tmp_path, "similarity", "large", large, {"cosine": (np.full((3, 3), 0.0), np.zeros((3, 3)))}),
        write(tmp_path, "similarity", "small", small, {"cosine": (np.full((1, 3), 1.0), np.zeros((1, 3)))}),
    ]
    alignment = [write(tmp_path, "alignment", "large", large, {}), write(tmp_path, "alignment", "small", small, {})]
    layers, checkpoints = build(tmp_path, similarity, alignment)
    assert cells(checkpoints, subset="all", measure="cosine") == [0.5]
    assert cells(checkpoints, "n", subset="all", measure="cosine") == [4]
    assert cells(layers, subset="all", measure="cosine") == [0.5, 0.5, 0.5]


def test_values_at_chance_calibrate_to_the_metrics_chance_point(tmp_path):
    rng = np.random.default_rng(0)
    null = rng.uniform(0.1, 0.8, (4, 3))
    similarity = {"cosine": (null, null), "euclidean": (10 * null, 10 * null)}
    files = [write(tmp_path, "similarity", "s", list("abcd"), similarity)]
    _, checkpoints = build(tmp_path, files, [write(tmp_path, "alignment", "s", list("abcd"), {})])
    for measure, expected in (("cosine", 0), ("euclidean", 1)):
        assert cells(checkpoints, "calibrated", subset="s", measure=measure) == pytest.approx([expected], abs=1e-6)
    assert math.isnan(cells(checkpoints, "calibrated", subset="s", measure="log_norm_ratio")[0])


def test_a_measure_that_is_added_to_the_registry_is_in_both_tables(tmp_path, monkeypatch):
    monkeypatch.setitem(MEASURES, "toy", Measure("toy", "token", len, False, True, "toy", "", "a toy"))
    values = {"toy": (np.full((2, 3), 3.0), np.full((2, 3), 4.0))}
    files = [write(tmp_path, kind, "s", ["a", "b"], values) for kind in ("similarity", "alignment")]
    layers, checkpoints = build(tmp_path, files[:1], files[1:])
    assert cells(layers, subset="s", measure="toy") == [3.0] * 3
    (row,) = select(checkpoints, subset="all", measure="toy").to_dict("records")
    assert (row["value"], row["null"], row["calibrated"], row["n"]) == (3, 4, 0.75, 2)


def test_tables_do_not_depend_on_how_questions_are_sharded_or_files_ordered(tmp_path):
    rng = np.random.default_rng(1)
    ids = [f"q{number}" for number in range(7)]
    raw = {name: rng.normal(size=(7, 3)).astype(np.float32) for name in of_level("pair", "token")}
    null = rng.uniform(0.1, 0.5, (7, 3)).astype(np.float32)

    def shards(folder, groups):
        files = {"similarity": [], "alignment": []}
        for number, group in enumerate(groups):
            for kind in files:
                values = {name: (raw[name][group], null[group]) for name in raw}
                shard = f"{number:02d}-of-{len(groups):02d}"
                files[kind].append(write(folder, kind, "s", [ids[k] for k in group], values, shard=shard))
        return files

    one = shards(tmp_path / "one", [list(range(7))])
    three = shards(tmp_path / "three", [[6, 0], [3, 2, 5], [1, 4]])
    build(tmp_path / "one", one["similarity"], one["alignment"])
    build(tmp_path / "three", three["similarity"][::-1], [three["alignment"][k] for k in (1, 2, 0)])
    for name in ("layers.csv", "checkpoints.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "three" / name).read_bytes()


def test_golden_tables(tmp_path):
    ids = ["a", "b"]
    values = {"cosine": (np.array([[0.5, 0.25, 0.75], [0.5, 0.5, 1.0]]), np.full((2, 3), 0.25))}
    similarity = write(tmp_path, "similarity", "s", ids, values, checkpoint="final")
    alignment = write(tmp_path, "alignment", "s", ids, {}, checkpoint="final")
    build(tmp_path, [similarity], [alignment])
    checkpoints = (tmp_path / "checkpoints.csv").read_text().splitlines()
    assert checkpoints[:3] == [
        "model,checkpoint,step,subset,measure,value,null,null_sd,calibrated,p,tau,above_tau,n,draws,"
        "best_layer,best_value,best_null,best_p,best_above_tau",
        "m,final,,all,cosine,0.625,0.25,,0.5,,,,2,,,,,,",
        "m,final,,all,euclidean,0.5,0.25,,2,,,,2,,,,,,",
    ]
    measures = len(SIMILARITY_MEASURES) + len(ALIGNMENT_MEASURES)  # there is no CKA in these files
    assert len(checkpoints) == 1 + 2 * measures
    layers = (tmp_path / "layers.csv").read_text().splitlines()
    assert len(layers) == 1 + 2 * 3 * measures
    assert layers[0] == "model,checkpoint,step,subset,layer,measure,value,null,null_sd,calibrated,n"
    assert layers[1 + measures] == "m,final,,all,1,cosine,0.375,0.25,0.1,0.166667,2"


def test_questions_without_times_are_left_out_and_those_with_times_counted(tmp_path):
    error = np.array([[np.nan, 200.0, 200.0], [np.nan] * 3]), np.full((2, 3), np.nan)
    made = {"time_error_ms_cosine": error, "timed_share": (np.array([[0.9] * 3, [0.0] * 3]), error[1])}
    files = [write(tmp_path, kind, "s", ["a", "b"], made) for kind in ("similarity", "alignment")]
    _, checkpoints = build(tmp_path, files[:1], files[1:])
    for subset in ("s", "all"):
        (row,) = select(checkpoints, subset=subset, measure="time_error_ms_cosine").to_dict("records")
        assert (row["value"], row["n"]) == (200, 1)
        assert cells(checkpoints, subset=subset, measure="timed_share") == [0.45]


@pytest.mark.parametrize(
    ("ids", "changes", "message"),
    [
        (["a", "x"], {}, "different questions, such as .*'b', 'x'"),
        (["a", "b"], {"model": None}, r"attribute\(s\) \['model'\] missing"),
        (["a", "b"], {"checkpoint": "final"}, "cover different"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(tmp_path, ids, changes, message):
    similarity = write(tmp_path, "similarity", "s", ["a", "b"], {})
    with pytest.raises(ArtifactError, match=message):
        build(tmp_path, [similarity], [write(tmp_path, "alignment", "s", ids, {}, **changes)])


def test_a_question_in_two_shards_is_refused_with_both_files(tmp_path):
    files = [write(tmp_path, "similarity", "s", ["a", "b"], {}, shard=name) for name in ("00-of-02", "01-of-02")]
    with pytest.raises(ArtifactError, match=r"01-of-02\.h5: question 'a' is also in .*00-of-02\.h5"):
        build(tmp_path, files, [write(tmp_path, "alignment", "s", ["a", "b"], {})])


def test_a_file_without_a_measure_is_refused(tmp_path):
    similarity = write(tmp_path, "similarity", "s", ["a", "b"], {})
    lengths = np.full(2, 5)
    attributes = {"model": "m", "checkpoint": "step-000400", "subset": "s"}
    half = tmp_path / "half.h5"
    content = Measurements(["a", "b"], {"consistency": measured(np.ones((2, 3)), 0.5)}, lengths, lengths, attributes)
    write_measurements(half, ALIGNMENT, content)
    with pytest.raises(ArtifactError, match=r"half\.h5: measure\(s\) \['path_score_cosine'"):
        build(tmp_path, [similarity], [half])
