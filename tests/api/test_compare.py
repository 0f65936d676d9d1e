"""Own arrays take the path of the workflow: its numbers, in float32, with errors that name the question."""

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt
from safetensors.numpy import save_file

from tests.planted_states import plant_text, random_states, write_planted
from workflow_scripts import api
from workflow_scripts.alignment.align_tokens import align_tokens
from workflow_scripts.artifacts.tables import read_table
from workflow_scripts.correlation.build_alignment_table import build_alignment_table
from workflow_scripts.measures.registry import MEASURES
from workflow_scripts.similarity.measure_similarity import measure_similarity

DRAWS, SEED, MASSIVE = 20, 3, 2
TOKENS = [5, 6, 7, 8, 5, 6, 7, 8, 6, 7]


@pytest.fixture(scope="module")
def pairs():
    """Speech that holds its text's vectors in order among random frames, (4, T, 32) each."""
    text = random_states(TOKENS, 1)
    speech, _ = plant_text(text, [3 * n for n in TOKENS], 2)
    return speech, text


@pytest.fixture(scope="module")
def found(pairs) -> pd.DataFrame:
    return api.compare(*pairs, draws=DRAWS, seed=SEED, massive_dimensions=MASSIVE)


def _by_id(arrays) -> dict[str, np.ndarray]:
    return {f"q{number}": array for number, array in enumerate(arrays)}


def test_numbers_are_those_of_the_workflows_steps(pairs, tmp_path):
    states = write_planted(tmp_path / "states.h5", *pairs, {"subset": "s"})
    measure_similarity(states, tmp_path / "s.h5", draws=DRAWS, seed=SEED, massive=MASSIVE)
    align_tokens(states, tmp_path / "a.h5", draws=DRAWS, seed=SEED, examples=0)
    names = ("layers", "checkpoints", "cka")
    build_alignment_table([tmp_path / "s.h5"], [tmp_path / "a.h5"], *(tmp_path / f"{name}.csv" for name in names))
    found = api.compare(*map(_by_id, pairs), draws=DRAWS, seed=SEED, massive_dimensions=MASSIVE)
    layers, checkpoints = (read_table(tmp_path / f"{name}.csv", name) for name in names[:2])
    for table, part in ((layers, found[found["layer"].notna()]), (checkpoints, found[found["layer"].isna()])):
        table = table[table["subset"] == "s"]
        keys = ["measure", "layer"] if "layer" in table else ["measure"]
        both = part.merge(table, on=keys, suffixes=("", "_step"))
        assert len(both) == len(table) and set(table["measure"]) == set(MEASURES)
        for column in ("value", "null", "calibrated", "n") + (("p",) if "layer" not in table else ()):
            np.testing.assert_allclose(both[column], both[f"{column}_step"], rtol=1e-5, err_msg=column)


def test_columns_and_one_row_per_measure_and_layer_and_for_the_mean(found):
    assert list(found.columns) == ["measure", "layer", "value", "null", "calibrated", "p", "n"]
    assert list(found["measure"].unique()) == list(MEASURES)
    assert all(list(rows["layer"].dropna()) == [0, 1, 2, 3] and rows["layer"].isna().sum() == 1
               for _, rows in found.groupby("measure"))  # fmt: skip


def test_planted_pairs_stand_out_from_their_chance_level_and_unrelated_ones_do_not(found, pairs):
    mean = found[found["layer"].isna()].set_index("measure")
    assert mean.loc["path_score_cosine", "value"] == pytest.approx(1, abs=1e-6)
    assert mean.loc["path_score_cosine", "p"] == pytest.approx(1 / (DRAWS + 1))
    unrelated = api.compare(random_states([3 * n for n in TOKENS], 9), pairs[1], draws=DRAWS, seed=SEED)
    mean = unrelated[unrelated["layer"].isna()].set_index("measure")
    assert abs(mean.loc["path_score_cosine", "calibrated"]) < 0.05
    assert mean.loc["cosine", "p"] > 0.05


def test_float32_is_kept(pairs):
    speech, text = pairs
    tiny = [one * np.float32(1 + 2**-12) for one in speech]  # lost in bfloat16, which has 8 bits
    norms = [
        api.compare(form, text, draws=0).query("measure == 'norm_speech'")["value"].to_numpy()
        for form in (speech, tiny)
    ]
    np.testing.assert_allclose(norms[1] / norms[0], 1 + 2**-12, rtol=1e-6)


@pytest.mark.parametrize("kind", ["npy", "safetensors", "torch", "states"])
def test_arrays_come_from_files_and_tensors_too(pairs, found, tmp_path, kind):
    def given(form, arrays):
        if kind == "torch":
            return [torch.from_numpy(array).bfloat16() for array in arrays]  # exact for these states
        if kind == "states":
            return [api.States(array, tuple("t" * array.shape[1])) for array in arrays]
        if kind == "safetensors":
            save_file(
                {f"q{number:04d}": array for number, array in enumerate(arrays)}, tmp_path / f"{form}.safetensors"
            )
            return tmp_path / f"{form}.safetensors"
        paths = [tmp_path / f"{form}{number}.npy" for number in range(len(arrays))]
        for path, array in zip(paths, arrays):
            np.save(path, array)
        return paths

    again = api.compare(
        *(given(form, arrays) for form, arrays in zip(("speech", "text"), pairs)),
        draws=DRAWS,
        seed=SEED,
        massive_dimensions=MASSIVE,
    )
    pd.testing.assert_frame_equal(again, found)


def test_errors_name_the_question_and_both_shapes(pairs):
    speech, text = pairs
    with pytest.raises(ValueError, match=r"speech has 10 questions, text 9; only in one of them: \['q0009'\]"):
        api.compare(speech, text[:-1])
    with pytest.raises(ValueError, match=r"text of q0001 has shape \(3, 6, 32\), speech of q0000 \(4, 15, 32\)"):
        api.compare(speech, [text[0], text[1][:3], *text[2:]])
    with pytest.raises(ValueError, match=r"text of q0000 has shape \(5, 32\), expected \(L\+1, T, d\)"):
        api.compare(speech, [text[0][0], *text[1:]])
    broken = [one.copy() for one in speech]
    broken[4][2, 1, 0] = np.nan
    with pytest.raises(ValueError, match=r"question 'q0004', layer 2: speech states are not finite"):
        api.compare(broken, text, draws=0)
    with pytest.raises(ValueError, match="hold no question"):
        api.compare([], [])


@pytest.mark.parametrize("name", list(api.FIGURES))
def test_every_figure_of_states_is_drawn_from_arrays(pairs, name):
    drawn = api.figure(name, *pairs, draws=5, model="my model")
    assert any(axis.has_data() for axis in drawn.axes)
    plt.close(drawn)


def test_a_figure_that_needs_more_than_states_is_refused_with_those_there_are(pairs):
    with pytest.raises(ValueError, match=r"no figure 'decline' of states alone; there are layers, .*token_matrix"):
        api.figure("decline", *pairs)
