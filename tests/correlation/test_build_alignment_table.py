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
from workflow_scripts.artifacts.tables import read_table
from workflow_scripts.correlation.build_alignment_table import (
    FURTHER,
    MEASURES,
    TIMED,
    build_alignment_table,
    calibrated,
)

SIMILARITY_MEASURES = (*MEASURES[SIMILARITY], "norm_speech")
ALIGNMENT_MEASURES = MEASURES[ALIGNMENT]


def measured(raw, null, sd=0.1):
    raw, null = np.broadcast_arrays(np.asarray(raw, float), np.asarray(null, float))
    return Measured(raw, null, np.full(raw.shape, sd), np.full(raw.shape, 0.5))


def write(folder, kind, subset, ids, values, shard="00-of-01", checkpoint="step-000400", **changes):
    """A measurement file; `values` maps a measure to (raw, null); measures not named are constant."""
    schema = SIMILARITY if kind == "similarity" else ALIGNMENT
    names = SIMILARITY_MEASURES if kind == "similarity" else ALIGNMENT_MEASURES
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
    build_alignment_table(similarity, alignment, layers, checkpoints, folder / "chance.csv", folder / "cka.csv")
    return read_table(layers), read_table(checkpoints)


def pick(rows, **wanted):
    (row,) = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    return row


def test_sim_averages_layers_1_to_L_and_leaves_layer_0_to_the_layer_table(tmp_path):
    cosine = (np.array([[9.0, 0.2, 0.4], [9.0, 0.6, 0.8]]), np.full((2, 3), 0.25))
    files = [write(tmp_path, "similarity", "s", ["a", "b"], {"cosine": cosine})]
    layers, checkpoints = build(tmp_path, files, [write(tmp_path, "alignment", "s", ["a", "b"], {})])
    row = pick(checkpoints, subset="s")
    assert row["sim_cosine"] == pytest.approx(0.5)
    assert row["sim_cosine_calibrated"] == pytest.approx((0.5 - 0.25) / 0.75, abs=1e-6)
    assert (row["n"], row["step"]) == (2, 400)
    by_layer = [pick(layers, subset="s", metric="cosine", layer=layer)["similarity"] for layer in range(3)]
    assert by_layer == pytest.approx([9.0, 0.4, 0.6])


def test_samples_weigh_the_same_whatever_layers_are_undefined(tmp_path):
    # Sample a has one defined layer (1.0), sample b two (0.0, 0.5): the mean over samples is (1.0 + 0.25) / 2.
    rho = np.array([[np.nan, np.nan, 1.0], [0.0, 0.0, 0.5]])
    alignment = write(tmp_path, "alignment", "s", ["a", "b"], {"monotonicity_cosine": (rho, np.zeros((2, 3)))})
    layers, checkpoints = build(tmp_path, [write(tmp_path, "similarity", "s", ["a", "b"], {})], [alignment])
    row = pick(checkpoints, subset="s")
    assert row["monotonicity_cosine"] == pytest.approx(0.625)
    assert row["monotonicity_skipped"] == 1  # layer 0 is not part of Sim or APS, so its NaN is not counted here
    assert [pick(layers, subset="s", metric="cosine", layer=k)["monotonicity_n"] for k in range(3)] == [1, 1, 2]


def test_a_measure_undefined_everywhere_is_an_empty_cell(tmp_path):
    nothing = (np.full((2, 3), np.nan), np.full((2, 3), np.nan))
    alignment = write(tmp_path, "alignment", "s", ["a", "b"], {"monotonicity_euclidean": nothing})
    layers, checkpoints = build(tmp_path, [write(tmp_path, "similarity", "s", ["a", "b"], {})], [alignment])
    assert pick(checkpoints, subset="s")["monotonicity_euclidean"] is None
    assert pick(checkpoints, subset="all")["monotonicity_euclidean"] is None
    assert pick(layers, subset="all", metric="euclidean", layer=1)["monotonicity"] is None


def test_all_weighs_subsets_not_questions(tmp_path):
    large, small = ["a", "b", "c"], ["d"]
    similarity = [
        write(tmp_path, "similarity", "large", large, {"cosine": (np.full((3, 3), 0.0), np.zeros((3, 3)))}),
        write(tmp_path, "similarity", "small", small, {"cosine": (np.full((1, 3), 1.0), np.zeros((1, 3)))}),
    ]
    alignment = [write(tmp_path, "alignment", "large", large, {}), write(tmp_path, "alignment", "small", small, {})]
    layers, checkpoints = build(tmp_path, similarity, alignment)
    assert pick(checkpoints, subset="all")["sim_cosine"] == pytest.approx(0.5)
    assert pick(checkpoints, subset="all")["n"] == 4
    assert pick(layers, subset="all", metric="cosine", layer=2)["similarity"] == pytest.approx(0.5)


def test_values_at_chance_calibrate_to_the_metrics_chance_point(tmp_path):
    rng = np.random.default_rng(0)
    null = rng.uniform(0.1, 0.8, (4, 3))
    similarity = {"cosine": (null, null), "euclidean": (10 * null, 10 * null)}
    files = [write(tmp_path, "similarity", "s", list("abcd"), similarity)]
    _, checkpoints = build(tmp_path, files, [write(tmp_path, "alignment", "s", list("abcd"), {})])
    row = pick(checkpoints, subset="s")
    assert row["sim_cosine_calibrated"] == pytest.approx(0, abs=1e-6)
    assert row["sim_euclidean_calibrated"] == pytest.approx(1, abs=1e-6)


def test_calibration_fixes_perfect_agreement_and_survives_extreme_nulls():
    assert calibrated(1.0, 0.9, "cosine") == pytest.approx(1)
    assert calibrated(0.0, 4.0, "euclidean") == 0
    assert math.isnan(calibrated(0.5, 1.0, "cosine"))
    assert math.isnan(calibrated(0.5, 0.0, "euclidean"))
    assert math.isnan(calibrated(0.5, float("nan"), "cosine"))


def test_tables_do_not_depend_on_how_questions_are_sharded_or_files_ordered(tmp_path):
    rng = np.random.default_rng(1)
    ids = [f"q{number}" for number in range(7)]
    raw = {name: rng.normal(size=(7, 3)).astype(np.float32) for name in SIMILARITY_MEASURES + ALIGNMENT_MEASURES}
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
    row = "2,0.625,0.5,0.25,0.25,0.5,2,0.5,0.5,0.25,0.25,0.333333,2,0.5,0.5,0.25,0.25,0,0.5,0.25"
    header, *rows = (tmp_path / "checkpoints.csv").read_text().splitlines()
    assert header.startswith(
        "model,checkpoint,step,subset,n,sim_cosine,sim_euclidean,sim_cosine_null,sim_euclidean_null,"
        "sim_cosine_calibrated,sim_euclidean_calibrated,aps_cosine,aps_euclidean,aps_cosine_null,aps_euclidean_null,"
        "aps_cosine_calibrated,aps_euclidean_calibrated,monotonicity_cosine,monotonicity_euclidean,"
        "monotonicity_cosine_null,monotonicity_euclidean_null,monotonicity_skipped,consistency,consistency_null,"
    )
    further = ",0.5,0.25" * len(FURTHER)
    timed = ",0.5" * len(TIMED) + ",2"
    # There is no CKA in these files.
    assert rows == [f"m,final,,{subset},{row}{further},,,0.5{timed}" for subset in ("all", "s")]
    lines = (tmp_path / "layers.csv").read_text().splitlines()
    assert len(lines) == 1 + 2 * 2 * 3
    assert (
        lines[3]
        == "m,final,,all,1,cosine,2,0.375,0.25,0.1,0.166667,0.5,0.25,0.333333,0.5,0.25,2,0.5,0.25,0.5,0.5,0.25,0.5,0.25"
        + 9 * ",0.5"
    )


def test_questions_with_times_are_counted_where_layer_0_was_not_kept(tmp_path):
    share = np.array([[np.nan, 0.9, 0.9], [np.nan, 0.0, 0.0]]), np.full((2, 3), np.nan)
    files = [write(tmp_path, kind, "s", ["a", "b"], {"timed_share": share}) for kind in ("similarity", "alignment")]
    _, checkpoints = build(tmp_path, files[:1], files[1:])
    assert pick(checkpoints, subset="s")["timed_n"] == 1


def test_errors_in_time_stand_beside_both_baselines_and_questions_without_times_are_left_out_and_counted(tmp_path):
    def values(known, unknown=np.nan):
        return np.array([[known] * 3, [unknown] * 3]), np.full((2, 3), np.nan)

    made = {"time_error_ms_cosine": values(200.0), "time_error_ms_euclidean": values(300.0)}
    made |= {"time_error_ms_uniform": values(900.0), "time_error_ms_proportional": values(150.0)}
    made |= {"hit_rate_cosine": values(0.25), "timed_share": values(0.9, 0.0)}
    files = [write(tmp_path, kind, "s", ["a", "b"], made) for kind in ("similarity", "alignment")]
    layers, checkpoints = build(tmp_path, files[:1], files[1:])
    row = pick(checkpoints, subset="s")
    expected = {"cosine": 200, "euclidean": 300, "uniform": 900, "proportional": 150}
    assert {name: row[f"time_error_ms_{name}"] for name in expected} == expected
    assert (row["hit_rate_cosine"], row["timed_share"], row["timed_n"]) == (0.25, 0.45, 1)
    assert pick(checkpoints, subset="all")["timed_n"] == 1
    by_layer = pick(layers, subset="s", layer=2, metric="euclidean")
    names = ("time_error_ms", "time_error_ms_uniform", "time_error_ms_proportional")
    assert [by_layer[name] for name in names] == [300, 900, 150]


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
