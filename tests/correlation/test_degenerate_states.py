"""Questions and shards that leave nothing to measure: a value by rule, or undefined and counted, never a crash."""

import json

import h5py
import numpy as np
import pytest

from tests.planted_states import random_states, write_planted
from workflow_scripts.alignment.align_tokens import align_tokens
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.measurements import ALIGNMENT, SIMILARITY, read_measurements
from workflow_scripts.artifacts.tables import read_table, select
from workflow_scripts.correlation.build_alignment_table import build_alignment_table
from workflow_scripts.measures.registry import of_level
from workflow_scripts.similarity.measure_similarity import measure_similarity

DEPTH, WIDTH = 3, 8
TIMED = {name for name in of_level("token") if name.startswith(("time", "hit"))}
WITH_NULL = [name for name, measure in of_level("token").items() if measure.has_null]
ORDINARY, ONE_TOKEN, ONE_FRAME, SAME_FRAMES, ZERO_SPEECH, ZERO_TEXT, ALL_EQUAL = range(7)
T_S, T_T = [12, 10, 1, 9, 7, 8, 6, 11, 13], [5, 1, 6, 5, 4, 5, 4, 6, 5]
NO_RHO = [ONE_TOKEN, ONE_FRAME, SAME_FRAMES, ZERO_SPEECH, ZERO_TEXT, ALL_EQUAL]


def measure(folder, speech, text, name="s", shard="00-of-01"):
    """Similarity and alignment files of a shard."""
    folder.mkdir(parents=True, exist_ok=True)
    states, similarity, alignment = (folder / f"{name}.{shard}.{kind}.h5" for kind in ("states", "sim", "ali"))
    write_planted(states, speech, text, {"subset": name})
    measure_similarity(states, similarity, draws=10, seed=0, massive=1)
    align_tokens(states, alignment, draws=10, seed=0, examples=1)
    return similarity, alignment


def build(folder, *shards):
    """The three tables."""
    tables = {name: folder / f"{name}.csv" for name in ("layers", "checkpoints", "cka")}
    build_alignment_table(*(list(paths) for paths in zip(*shards)), *tables.values())
    return [read_table(path, name) for name, path in tables.items()]


def of(checkpoints, measure, column="value"):
    """A column by subset."""
    rows = select(checkpoints, measure=measure)
    return dict(zip(rows["subset"], rows[column]))


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """One shard with a question of every kind."""
    speech, text = random_states(T_S, 1, DEPTH, WIDTH), random_states(T_T, 2, DEPTH, WIDTH)
    speech[SAME_FRAMES][:] = speech[SAME_FRAMES][:, :1]
    speech[ZERO_SPEECH][:] = 0
    text[ZERO_TEXT][:] = 0
    speech[ALL_EQUAL][:] = text[ALL_EQUAL][:] = 1
    folder = tmp_path_factory.mktemp("odd")
    shard = measure(folder, speech, text)
    found = read_measurements(shard[0], SIMILARITY), read_measurements(shard[1], ALIGNMENT)
    return text, *found, build(folder, shard)


def test_paths_and_scores_are_defined_for_every_question(odd):
    text, _, alignment, _ = odd
    raw = {name: values.raw for name, values in alignment.measures.items()}
    undefined = {"monotonicity_cosine", "monotonicity_euclidean", "violations", *TIMED}  # no word times were given
    assert all(np.isfinite(values).all() for name, values in raw.items() if name not in undefined)
    np.testing.assert_array_equal(raw["path_score_cosine"][[ZERO_SPEECH, ZERO_TEXT]], 0)
    lengths = np.linalg.norm(text[ZERO_SPEECH], axis=2).mean(axis=1)
    np.testing.assert_allclose(raw["path_score_euclidean"][ZERO_SPEECH], lengths, rtol=1e-5)
    np.testing.assert_allclose(raw["path_score_cosine"][ALL_EQUAL], 1, atol=1e-6)
    np.testing.assert_allclose(raw["path_score_euclidean"][ALL_EQUAL], 0, atol=1e-6)
    for number in (ONE_FRAME, SAME_FRAMES, ZERO_SPEECH, ALL_EQUAL):
        for metric in ("cosine", "euclidean"):
            assert (alignment.paths[metric][number] == 0).all(), "the first of equal frames"
        np.testing.assert_allclose(raw["collisions"][number], 1 - 1 / T_T[number], rtol=1e-6)
        np.testing.assert_array_equal(raw["consistency"][number], 1)
    np.testing.assert_array_equal(raw["collisions"][ONE_TOKEN], 0)


def test_what_has_no_value_is_counted_in_the_file_and_in_the_table(odd):
    _, similarity, alignment, (layers, checkpoints, _) = odd
    counted = json.loads(alignment.attributes["undefined"])
    rho = alignment.measures["monotonicity_cosine"].raw
    assert np.flatnonzero(np.isnan(rho).any(axis=1)).tolist() == NO_RHO and np.isnan(rho[NO_RHO]).all()
    expected = dict.fromkeys(("monotonicity_cosine", "monotonicity_euclidean"), DEPTH * len(NO_RHO))
    assert counted == dict.fromkeys(WITH_NULL, 0) | expected | {"violations": DEPTH}
    assert np.isnan(alignment.measures["violations"].raw[ONE_TOKEN]).all()
    assert alignment.attributes["zero_norms"] == DEPTH * (T_S[ZERO_SPEECH] + T_T[ZERO_TEXT])
    counted = {name: n for name, n in json.loads(similarity.attributes["undefined"]).items() if n}
    assert counted == dict.fromkeys(("log_norm_ratio", "length_free_distance"), 2 * DEPTH)
    assert similarity.attributes["zero_norms"] == 2 * DEPTH
    assert of(checkpoints, "cosine", "n")["s"] == len(T_S)
    assert of(checkpoints, "monotonicity_cosine", "n")["s"] == len(T_S) - len(NO_RHO)
    assert set(select(layers, subset="s", measure="monotonicity_cosine")["n"]) == {len(T_S) - len(NO_RHO)}
    rows = select(checkpoints, subset="s")
    assert set(rows[rows["value"].isna()]["measure"]) == TIMED == set(rows[rows["n"] == 0]["measure"])


def test_a_zero_mean_has_cosine_zero_and_equal_vectors_cosine_one(odd):
    _, similarity, _, _ = odd
    cosine = similarity.measures["cosine"].raw
    np.testing.assert_array_equal(cosine[[ZERO_SPEECH, ZERO_TEXT]], 0)
    np.testing.assert_allclose(cosine[ALL_EQUAL], 1, atol=1e-6)
    assert np.isfinite(similarity.measures["cosine_modality"].raw).all()


def test_a_shard_of_equal_questions_is_at_chance_by_definition(tmp_path):
    """Everything equals everything: no calibrated value, p = 1, no CKA, and the hit is shared by all."""
    same = [np.full((DEPTH, 5, WIDTH), 2, np.float32) for _ in range(6)]
    for one in same:
        one[..., 4:] = 0  # vectors of length 4: cosines come out as exactly 1
    shard = measure(tmp_path, same, [one.copy() for one in same])
    found = read_measurements(shard[0], SIMILARITY)
    assert np.isnan(found.shard["cka"][0]).all()
    assert json.loads(found.attributes["undefined"])["cka"] == DEPTH**2
    np.testing.assert_allclose(found.measures["cosine"].p, 1)
    np.testing.assert_allclose(found.measures["retrieval"].raw, 1 / 6, rtol=1e-6)
    np.testing.assert_array_equal(found.measures["cosine_modality"].raw, 0)
    _, checkpoints, _ = build(tmp_path, shard)
    (row,) = select(checkpoints, subset="all", measure="cosine").to_dict("records")
    assert (row["value"], row["null"], row["p"]) == (1, 1, 1) and np.isnan(row["calibrated"])
    assert np.isnan(of(checkpoints, "cka")["all"]) and np.isnan(of(checkpoints, "cka", "p")["all"])


def test_fewer_than_four_questions_have_no_cka_and_do_not_take_that_of_others_away(tmp_path):
    def shard(n, seed, **names):
        return measure(
            tmp_path,
            random_states([9] * n, seed, DEPTH, WIDTH),
            random_states([5] * n, seed + 1, DEPTH, WIDTH),
            **names,
        )

    small, large = shard(3, 3, name="few"), shard(8, 5, name="many")
    counted = json.loads(read_measurements(small[0], SIMILARITY).attributes["undefined"])
    assert counted["cka"] == DEPTH**2
    _, checkpoints, cka = build(tmp_path, small)
    assert np.isnan(list(of(checkpoints, "cka").values())).all() and set(of(checkpoints, "cosine", "n").values()) == {3}
    assert len(cka) == DEPTH**2 and cka["cka"].isna().all() and cka["p"].isna().all()
    _, checkpoints, both = build(tmp_path, small, large)
    _, _, alone = build(tmp_path, large)
    assert both.equals(alone) and set(both["n"]) == {8}
    own = of(checkpoints, "cka")
    assert np.isnan(own["few"]) and own["all"] == own["many"]


def test_a_small_last_shard_does_not_take_the_cka_of_the_subset_away(tmp_path):
    lengths, folder = [9] * 8, tmp_path / "a"
    states = random_states(lengths, 7, DEPTH, WIDTH), random_states(lengths, 8, DEPTH, WIDTH)
    whole = measure(folder, *states, shard="00-of-02")
    lone = measure(folder, *(form[:1] for form in states), shard="01-of-02")
    content = [h5py.File(path, "r+") for path in lone]
    for file in content:  # ids must differ between shards
        file["ids"][:] = np.array([b"other"], dtype="S80")
        file.close()
    _, together, cka = build(folder, whole, lone)
    _, apart, expected = build(folder, whole)
    assert of(together, "cosine", "n")["all"] == 9 and of(together, "cka")["all"] == of(apart, "cka")["all"]
    assert cka["cka"].tolist() == expected["cka"].tolist()


@pytest.mark.parametrize("form", ["speech", "text"])
def test_nan_in_a_state_file_names_file_question_and_layer(tmp_path, form):
    states = write_planted(
        tmp_path / "states.h5", random_states([6, 7], 9, DEPTH, WIDTH), random_states([4, 5], 10, DEPTH, WIDTH)
    )
    with h5py.File(states, "r+") as file:  # past the writer, which refuses them
        file[f"{form}/states/002"][8, 3] = 0x7FC0
    message = rf"states\.h5: question 'q1', layer 2: {form} states are not finite"
    for measured in (
        lambda: measure_similarity(states, tmp_path / "out.h5", draws=2, seed=0, massive=0),
        lambda: align_tokens(states, tmp_path / "out.h5", draws=2, seed=0, examples=0),
    ):
        with pytest.raises(ArtifactError, match=message):
            measured()
    assert not (tmp_path / "out.h5").exists()
