"""Golden values: small seeded arrays and what the formulas give on them, written out naively below.

The files hold inputs rounded to two decimals, so that any number can be checked with a pocket
calculator. `PYTHONPATH=. python tests/measures/test_golden_values.py` writes them anew; a change there means
that a definition changed.
"""

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import rankdata

from tests.measures.one_question import pooled_similarity, token_alignment
from workflow_scripts.measures.monotone_paths import dtw, text_monotone_path
from workflow_scripts.measures.path_statistics import collisions, violations
from workflow_scripts.measures.time_truth import proportional_scores, time_scores, time_tokens, uniform_scores
from workflow_scripts.measures.token_alignment import token_similarity

FOLDER = Path(__file__).parent / "golden"
SHAPES = {
    "plain": (3, 6, 4, 3),
    "longer": (4, 9, 6, 5),
    "short_text": (2, 3, 2, 2),
    "one_of_each": (2, 1, 1, 1),
}


STEP = 0.1
"""Seconds of a speech position."""


def word_times(T_t: int) -> list[list[float]]:
    """Word j, the only one of token j, is spoken from 0.13 j + 0.02 to 0.13 j + 0.24 s."""
    return [[round(0.13 * j + 0.02, 2), round(0.13 * j + 0.24, 2)] for j in range(T_t)]


def draw_inputs(name: str) -> dict:
    layers, T_s, T_t, d = SHAPES[name]
    rng = np.random.default_rng(sorted(SHAPES).index(name))
    return {
        "H_s": rng.standard_normal((layers, T_s, d)).round(2).tolist(),
        "H_t": rng.standard_normal((layers, T_t, d)).round(2).tolist(),
        "words": word_times(T_t),
    }


def dot(x, y):
    return sum(a * b for a, b in zip(x, y))


def f_cos(x, y):
    return dot(x, y) / math.sqrt(dot(x, x) * dot(y, y))


def f_d(x, y):
    return math.sqrt(sum((a - b) ** 2 for a, b in zip(x, y)))


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def spearman(path):
    """Pearson correlation of ranks; None where undefined."""
    if len(path) < 4 or len(set(path)) == 1:
        return None
    a, b = list(range(1, len(path) + 1)), rankdata(path).tolist()
    a, b = [x - mean(a) for x in a], [x - mean(b) for x in b]
    return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))


def warp(cost, i, j):
    if i == 0 and j == 0:
        return cost[0][0]
    before = [(a, b) for a, b in ((i - 1, j), (i, j - 1), (i - 1, j - 1)) if a >= 0 and b >= 0]
    return cost[i][j] + min(warp(cost, a, b) for a, b in before)


def climb(matrix, j, lowest):
    """Highest sum over tokens j.. on frames from `lowest` upwards."""
    if j == len(matrix[0]):
        return 0.0
    return max(matrix[i][j] + climb(matrix, j + 1, i) for i in range(lowest, len(matrix)))


def off(i, word):
    """Distance in ms of the middle of position i from the middle of a word."""
    return 1000 * abs((i + 0.5) * STEP - (word[0] + word[1]) / 2)


def hit(i, word):
    """Whether position i and a word have any time in common."""
    return float(i * STEP < word[1] - 1e-9 and (i + 1) * STEP > word[0] + 1e-9)


def on_path(path, words, score):
    return mean(score(i, word) for i, word in zip(path, words))


def expected(inputs: dict) -> dict:
    """Every measure by the formulas of the paper's section 5, one number at a time."""
    out: dict = {}
    words, T_s, T_t = inputs["words"], len(inputs["H_s"][0]), len(inputs["H_t"][0])
    steady = [int((j + 0.5) * T_s / T_t) for j in range(T_t)]
    for H_s, H_t in zip(inputs["H_s"], inputs["H_t"]):
        mean_s, mean_t = [mean(c) for c in zip(*H_s)], [mean(c) for c in zip(*H_t)]
        cos = [[f_cos(s, t) for t in H_t] for s in H_s]
        euclid = [[f_d(s, t) for t in H_t] for s in H_s]
        i_cos = [max(range(len(H_s)), key=lambda i: cos[i][j]) for j in range(len(H_t))]
        i_euclid = [min(range(len(H_s)), key=lambda i: euclid[i][j]) for j in range(len(H_t))]
        row = {
            "pooled_cosine": f_cos(mean_s, mean_t),
            "pooled_euclidean": f_d(mean_s, mean_t),
            "norm_speech": math.sqrt(dot(mean_s, mean_s)),
            "norm_text": math.sqrt(dot(mean_t, mean_t)),
            "token_norm_speech": mean(math.sqrt(dot(s, s)) for s in H_s),
            "cosine": cos,
            "euclidean": euclid,
            "i_star_cosine": i_cos,
            "i_star_euclidean": i_euclid,
            "aps_cosine": mean(cos[i][j] for j, i in enumerate(i_cos)),
            "aps_euclidean": mean(euclid[i][j] for j, i in enumerate(i_euclid)),
            "monotonicity_cosine": spearman(i_cos),
            "monotonicity_euclidean": spearman(i_euclid),
            "consistency": mean(float(a == b) for a, b in zip(i_cos, i_euclid)),
            "violations": mean(float(b < a) for a, b in pairwise(i_cos)) if len(i_cos) > 1 else None,
            "collisions": 1 - len(set(i_cos)) / len(i_cos),
            "dtw_cost": warp([[1 - c for c in r] for r in cos], len(H_s) - 1, len(H_t) - 1),
            "monotone_score": climb(cos, 0, 0) / len(H_t),
            "time_error_ms": on_path(i_cos, words, off),
            "hit_rate": on_path(i_cos, words, hit),
        }
        for key, value in row.items():
            out.setdefault(key, []).append(value)
    for metric in ("cosine", "euclidean"):
        out[f"sim_{metric}"] = mean(out[f"pooled_{metric}"][1:])
        out[f"aggregate_aps_{metric}"] = mean(out[f"aps_{metric}"][1:])
    for name, score in (("time_error_ms", off), ("hit_rate", hit)):
        out[f"{name}_uniform"] = mean(score(i, word) for i in range(T_s) for word in words)
        out[f"{name}_proportional"] = on_path(steady, words, score)
    return out


def computed(inputs: dict) -> dict:
    """The same numbers from the package."""
    H_s, H_t = np.array(inputs["H_s"]), np.array(inputs["H_t"])
    pooled, matrices, path = (
        pooled_similarity(H_s, H_t),
        token_similarity(H_s, H_t),
        token_alignment(H_s, H_t),
    )
    T_s, T_t = H_s.shape[1], H_t.shape[1]
    spans, bounds = [(j, j + 1) for j in range(T_t)], np.arange(T_s + 1) * STEP
    tokens = time_tokens(spans, spans, [tuple(word) for word in inputs["words"]], bounds)
    timed, uniform = time_scores(path.cosine.i_star, tokens, bounds), uniform_scores(tokens, bounds)
    steady = proportional_scores(tokens, bounds)
    return {
        "pooled_cosine": pooled.cosine,
        "pooled_euclidean": pooled.euclidean,
        "norm_speech": pooled.norm_speech,
        "norm_text": pooled.norm_text,
        "token_norm_speech": pooled.token_norm_speech,
        "cosine": matrices.cosine,
        "euclidean": matrices.euclidean,
        "i_star_cosine": path.cosine.i_star,
        "i_star_euclidean": path.euclidean.i_star,
        "aps_cosine": path.cosine.aps_by_layer,
        "aps_euclidean": path.euclidean.aps_by_layer,
        "monotonicity_cosine": path.cosine.monotonicity,
        "monotonicity_euclidean": path.euclidean.monotonicity,
        "consistency": path.consistency,
        "violations": violations(path.cosine.i_star),
        "collisions": collisions(path.cosine.i_star),
        "dtw_cost": dtw(1 - matrices.cosine).cost,
        "monotone_score": text_monotone_path(matrices.cosine).score,
        "time_error_ms": timed.error,
        "hit_rate": timed.hit,
        "time_error_ms_uniform": uniform.error[0],
        "hit_rate_uniform": uniform.hit[0],
        "time_error_ms_proportional": steady.error[0],
        "hit_rate_proportional": steady.hit[0],
        "sim_cosine": pooled.sim_cosine,
        "sim_euclidean": pooled.sim_euclidean,
        "aggregate_aps_cosine": path.cosine.aps,
        "aggregate_aps_euclidean": path.euclidean.aps,
    }


def as_floats(value) -> np.ndarray:
    return np.array(value, dtype=object).astype(np.float64)  # None becomes NaN


@pytest.mark.parametrize("name", SHAPES)
def test_golden_files_hold_what_the_formulas_give(name):
    stored = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    fresh = expected(stored["inputs"])
    assert stored["inputs"] == draw_inputs(name)
    assert stored["expected"].keys() == fresh.keys()
    for key, value in fresh.items():
        np.testing.assert_allclose(as_floats(stored["expected"][key]), as_floats(value), atol=2e-9, err_msg=key)


@pytest.mark.parametrize("name", SHAPES)
def test_the_package_reproduces_the_golden_files(name):
    stored = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    result = computed(stored["inputs"])
    assert result.keys() == stored["expected"].keys()
    for key, value in result.items():
        np.testing.assert_allclose(
            np.asarray(value, dtype=np.float64),
            as_floats(stored["expected"][key]),
            rtol=1e-5,
            atol=1e-5,
            err_msg=key,
        )


def rounded(value):
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return round(value, 9) if isinstance(value, float) else value


if __name__ == "__main__":
    for file_name in SHAPES:
        arrays = draw_inputs(file_name)
        values = {key: rounded(value) for key, value in expected(arrays).items()}
        text = json.dumps({"inputs": arrays, "expected": values}, indent=1)
        (FOLDER / f"{file_name}.json").write_text(text + "\n", encoding="utf-8")
