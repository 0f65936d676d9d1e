"""Golden values of measures over many questions and over responses: CKA, neighbours, centring, KL.

The formulas are written out one number at a time below, CKA as the average over distinct indices that its estimator
abbreviates. `PYTHONPATH=. python tests/measures/test_golden_questions.py` writes the files anew; a change there means
that a definition changed.
"""

import hashlib
import json
import math
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from workflow_scripts.measures.centring import halves, held_out_means, massive_dimensions
from workflow_scripts.measures.cka import layer_cka, u_centred_gram
from workflow_scripts.measures.divergence import kl_divergence, log_softmax
from workflow_scripts.measures.neighbours import nearest_questions, retrieval_at_1
from workflow_scripts.measures.vectors import cosine_pairs

FOLDER = Path(__file__).parent / "golden"
QUESTIONS = {
    "questions": (2, 7, 3),
    "four_questions": (2, 4, 2),
    "three_questions": (1, 3, 2),
    "one_question": (1, 1, 2),
}
"""File -> (L+1, n, d)."""
RESPONSES = {"responses": (4, 5), "two_tokens": (2, 2)}
"""File -> (response positions, vocabulary)."""
SEED, K, MASSIVE = 3, 2, 1


def draw_questions(name: str) -> dict:
    layers, n, d = QUESTIONS[name]
    rng = np.random.default_rng(sorted(QUESTIONS).index(name))
    return {
        "ids": [f"q{k}" for k in range(n)],
        "speech": (rng.standard_normal((layers, n, d)) + 0.5).round(2).tolist(),
        "text": (rng.standard_normal((layers, n, d)) - 0.25).round(2).tolist(),
    }


def draw_responses(name: str) -> dict:
    positions, vocabulary = RESPONSES[name]
    rng = np.random.default_rng(10 + sorted(RESPONSES).index(name))
    forms = ("text", "speech", "base")
    return {form: (3 * rng.standard_normal((positions, vocabulary))).round(2).tolist() for form in forms}


def dot(x, y):
    return sum(a * b for a, b in zip(x, y))


def f_cos(x, y):
    return dot(x, y) / math.sqrt(dot(x, x) * dot(y, y))


def mean(vectors):
    vectors = list(vectors)
    return [sum(column) / len(vectors) for column in zip(*vectors)]


def minus(x, y):
    return [a - b for a, b in zip(x, y)]


def hsic(X, Y):
    """Unbiased HSIC of linear kernels: E k(i,j) m(i,j) + E k(i,j) E m(q,r) - 2 E k(i,j) m(i,q), distinct indices."""
    n = len(X)

    def average(of, indices):
        terms = [of(*chosen) for chosen in permutations(range(n), indices)]
        return sum(terms) / len(terms)

    def k(i, j):
        return dot(X[i], X[j])

    def m(i, j):
        return dot(Y[i], Y[j])

    same = average(lambda i, j: k(i, j) * m(i, j), 2)
    apart = average(lambda i, j, q, r: k(i, j) * m(q, r), 4)
    chained = average(lambda i, j, q: k(i, j) * m(i, q), 3)
    return same + apart - 2 * chained


def cka(X, Y):
    """None for fewer than four questions: there are no four distinct indices."""
    return None if len(X) < 4 else hsic(X, Y) / math.sqrt(hsic(X, X) * hsic(Y, Y))


def nearest(vectors, i, k):
    others = [j for j in range(len(vectors)) if j != i]
    return set(sorted(others, key=lambda j: (-f_cos(vectors[i], vectors[j]), j))[:k])


def shared_neighbours(S, T):
    """Share of k neighbours of speech i that are also neighbours of text j."""
    n = len(S)
    if n < 3:
        return [[None] * n for _ in range(n)]
    k = min(K, n - 2)
    return [[len(nearest(S, i, k) & nearest(T, j, k)) / k for j in range(n)] for i in range(n)]


def hits(S, T):
    n = len(S)
    if n < 2:
        return [[None] * n for _ in range(n)]
    best = [max(range(n), key=lambda j: f_cos(s, T[j])) for s in S]
    return [[float(j == best[i]) for j in range(n)] for i in range(n)]


def in_second_half(ids):
    """The ids with the smaller half of digests are one half, the others the other."""
    order = sorted(ids, key=lambda name: hashlib.sha256(f"{SEED}:{name}".encode()).digest())
    return [name in order[: len(ids) // 2] for name in ids]


def centred_cosines(S, T, half, mode):
    """Cosine of speech and text of each question without the means over the questions of the other half."""
    if len(S) < 2:
        return [None]
    found = []
    for i, side in enumerate(half):
        others = [j for j in range(len(S)) if half[j] != side]
        m_s, m_t = mean(S[j] for j in others), mean(T[j] for j in others)
        if mode == "common":
            m_s = m_t = mean([m_s, m_t])
        found.append(f_cos(minus(S[i], m_s), minus(T[i], m_t)))
    return found


def massive(S, T):
    """The dimension with the largest ratio of its largest size to the median size of all numbers."""
    sizes = sorted(abs(x) for vector in S + T for x in vector)
    middle = len(sizes) // 2
    median = sizes[middle] if len(sizes) % 2 else (sizes[middle - 1] + sizes[middle]) / 2
    ratio = [max(abs(vector[c]) for vector in S + T) / median for c in range(len(S[0]))]
    return [ratio.index(max(ratio))]


def probabilities(logits):
    weights = [math.exp(x) for x in logits]
    return [w / sum(weights) for w in weights]


def kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q))


def expected_of_questions(inputs: dict) -> dict:
    speech, text, half = inputs["speech"], inputs["text"], in_second_half(inputs["ids"])
    out: dict = {"half": half, "cka": [[cka(S, T) for T in text] for S in speech]}
    for S, T in zip(speech, text):
        row = {
            "mutual_neighbours": shared_neighbours(S, T),
            "retrieval": hits(S, T),
            "massive": massive(S, T),
            **{f"cosine_{mode}": centred_cosines(S, T, half, mode) for mode in ("common", "modality")},
        }
        for key, value in row.items():
            out.setdefault(key, []).append(value)
    return out


def overlaps(S, T):
    """Share of the nearest questions of speech i that are also those of text j, from the lists of the package."""
    near_s, near_t = (nearest_questions(form, K) for form in (S, T))
    if not near_s.shape[1]:
        return np.full((len(S), len(T)), np.nan)
    return np.array([[len(set(a) & set(b)) / len(a) for b in near_t.tolist()] for a in near_s.tolist()])


def computed_of_questions(inputs: dict) -> dict:
    speech, text = np.array(inputs["speech"]), np.array(inputs["text"])
    half = halves(inputs["ids"], SEED)
    grams = [np.stack([u_centred_gram(layer) for layer in form]) for form in (speech, text)]
    out: dict = {"half": half, "cka": layer_cka(*grams)}
    for S, T in zip(speech, text):
        row = {
            "mutual_neighbours": overlaps(S, T),
            "retrieval": retrieval_at_1(S, T),
            "massive": massive_dimensions(S, T, MASSIVE),
        }
        for mode in ("common", "modality"):
            m_s, m_t = held_out_means(S, T, half, mode)
            row[f"cosine_{mode}"] = np.diag(cosine_pairs(S - m_s, T - m_t))
        for key, value in row.items():
            out.setdefault(key, []).append(value)
    return out


def expected_of_responses(inputs: dict) -> dict:
    p_text, p_speech, p_base = ([probabilities(row) for row in inputs[form]] for form in ("text", "speech", "base"))
    return {
        "forward": [kl(p, q) for p, q in zip(p_text, p_speech)],
        "reverse": [kl(p, q) for p, q in zip(p_speech, p_text)],
        "forgetting": [kl(p, q) for p, q in zip(p_base, p_text)],
        "same": [0.0 for _ in p_text],
    }


def computed_of_responses(inputs: dict) -> dict:
    text, speech, base = (log_softmax(np.array(inputs[form])) for form in ("text", "speech", "base"))
    pairs = {"forward": (text, speech), "reverse": (speech, text), "forgetting": (base, text), "same": (text, text)}
    return {name: kl_divergence(*pair) for name, pair in pairs.items()}


FILES = {name: (draw_questions, expected_of_questions, computed_of_questions) for name in QUESTIONS} | {
    name: (draw_responses, expected_of_responses, computed_of_responses) for name in RESPONSES
}


def as_floats(value) -> np.ndarray:
    return np.array(value, dtype=object).astype(np.float64)  # None becomes NaN


@pytest.mark.parametrize("name", FILES)
def test_golden_files_hold_what_the_formulas_give(name):
    draw, expected, _ = FILES[name]
    stored = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    assert stored["inputs"] == draw(name)
    fresh = expected(stored["inputs"])
    assert stored["expected"].keys() == fresh.keys()
    for key, value in fresh.items():
        np.testing.assert_allclose(as_floats(stored["expected"][key]), as_floats(value), atol=2e-9, err_msg=key)


@pytest.mark.parametrize("name", FILES)
def test_the_package_reproduces_the_golden_files(name):
    stored = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    result = FILES[name][2](stored["inputs"])
    assert result.keys() == stored["expected"].keys()
    for key, value in result.items():
        found = np.asarray(value, dtype=np.float64)
        np.testing.assert_allclose(found, as_floats(stored["expected"][key]), rtol=1e-7, atol=1e-8, err_msg=key)


def test_the_files_are_not_trivial():
    """Values differ between pairs, forms and directions, so that an exchanged argument would be noticed."""
    stored = json.loads((FOLDER / "questions.json").read_text(encoding="utf-8"))["expected"]
    assert abs(stored["cka"][0][1] - stored["cka"][1][0]) > 1e-3
    assert len({round(value, 6) for layer in stored["cosine_common"] for value in layer}) == 14
    responses = json.loads((FOLDER / "responses.json").read_text(encoding="utf-8"))["expected"]
    assert min(abs(a - b) for a, b in zip(responses["forward"], responses["reverse"])) > 1e-3


def rounded(value):
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return round(value, 9) if isinstance(value, float) else value


if __name__ == "__main__":
    for file_name, (draw, expected, _) in FILES.items():
        arrays = draw(file_name)
        values = {key: rounded(value) for key, value in expected(arrays).items()}
        text = json.dumps({"inputs": arrays, "expected": values}, indent=1)
        (FOLDER / f"{file_name}.json").write_text(text + "\n", encoding="utf-8")
