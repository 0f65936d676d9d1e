"""CKA, mutual kNN, retrieval and centring: planted answers, chance, invariances, too few questions, constant values."""

import math

import numpy as np
import pytest

from tests.measures.one_question import debiased_cka, pooled_similarity
from workflow_scripts.measures.centring import halves, held_out_means, massive_dimensions
from workflow_scripts.measures.cka import ShardQuestions, layer_cka, null_cka, u_centred_gram
from workflow_scripts.measures.neighbours import mutual_knn, nearest_questions, retrieval_at_1
from workflow_scripts.measures.pooled_pairs import PooledForm, PooledLayer, PooledPairs
from workflow_scripts.measures.registry import MEASURES


def by_the_formula(x, y):
    """HSIC_u of the module's docstring, term by term."""
    n = len(x)

    def hsic(a, b):
        K, M, one = a @ a.T, b @ b.T, np.ones(n)
        np.fill_diagonal(K, 0)
        np.fill_diagonal(M, 0)
        second = (one @ K @ one) * (one @ M @ one) / ((n - 1) * (n - 2))
        return (np.trace(K @ M) + second - 2 / (n - 2) * (one @ K @ M @ one)) / (n * (n - 3))

    return hsic(x, y) / math.sqrt(hsic(x, x) * hsic(y, y))


def orthogonal(d, rng):
    return np.linalg.qr(rng.standard_normal((d, d)))[0]


@pytest.mark.parametrize(("n", "d"), [(4, 1), (5, 3), (30, 8)])
def test_cka_is_the_formula(n, d):
    rng = np.random.default_rng(n)
    x, y = rng.standard_normal((n, d)) + 2, rng.standard_normal((n, d + 1))
    assert debiased_cka(x, y) == pytest.approx(by_the_formula(x, y), abs=1e-9)


def test_cka_by_hand():
    """x = (0, 0, 1, 1, 2): the U-centred products by fractions give the same as a second, shifted and scaled, copy."""
    x = np.array([[0.0], [0.0], [1.0], [1.0], [2.0]])
    assert debiased_cka(x, 3 * x - 7) == pytest.approx(1)
    assert debiased_cka(x, x[[4, 0, 2, 1, 3]]) == pytest.approx(by_the_formula(x, x[[4, 0, 2, 1, 3]]), abs=1e-12)


def test_cka_of_independent_data_is_near_zero_where_the_biased_form_is_near_one():
    rng = np.random.default_rng(0)
    found = [debiased_cka(*rng.standard_normal((2, 50, 1024))) for _ in range(20)]
    assert abs(np.mean(found)) < 0.02
    x, y = rng.standard_normal((2, 50, 1024))
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    biased = np.linalg.norm(x.T @ y) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
    assert biased > 0.9


def test_cka_ignores_scale_shift_rotation_and_order_of_rows():
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((20, 6)), rng.standard_normal((20, 6))
    plain, order = debiased_cka(x, y), rng.permutation(20)
    assert debiased_cka(5 * x @ orthogonal(6, rng) + 3, y) == pytest.approx(plain)
    assert debiased_cka(x[order], y[order]) == pytest.approx(plain)
    assert debiased_cka(x, x @ orthogonal(6, rng)) == pytest.approx(1)


@pytest.mark.parametrize("x", [np.ones((3, 4)), np.ones((10, 4)), np.zeros((10, 4))], ids=["n=3", "constant", "zero"])
def test_cka_is_undefined_for_few_questions_and_constant_values(x):
    assert math.isnan(debiased_cka(x, np.random.default_rng(2).standard_normal((len(x), 5))))


def test_all_layers_with_all_layers_and_their_null():
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((3, 25, 4)), rng.standard_normal((3, 25, 5))
    grams = [np.stack([u_centred_gram(layer) for layer in form]) for form in (x, y)]
    matrix = layer_cka(*grams)
    assert matrix[2, 1] == pytest.approx(debiased_cka(x[2], y[1]))
    partners = np.stack([rng.permutation(25) for _ in range(3)])
    drawn = null_cka(*grams, partners)
    assert drawn[1, 2] == pytest.approx(debiased_cka(x[2], y[2][partners[1]]))


def shared(x, y, partners=None, k=10):
    """Mutual kNN of x and y (n, d), and its draws."""
    near = [nearest_questions(form, k)[None] for form in (x, y)]
    nothing = np.empty((1, len(x), 1))
    partners = np.arange(len(x))[None] if partners is None else partners
    values, draws = mutual_knn(ShardQuestions(nothing, nothing, *near, partners))
    return values[0], draws[:, 0]


def test_equal_forms_share_all_neighbours_and_find_each_other():
    x = np.random.default_rng(4).standard_normal((30, 8))
    assert shared(x, 3 * x @ orthogonal(8, np.random.default_rng(5)))[0] == 1
    np.testing.assert_allclose(retrieval_at_1(x, x), np.eye(30))


def test_unrelated_forms_are_at_chance():
    rng = np.random.default_rng(6)
    x, y = rng.standard_normal((2, 200, 16))
    assert shared(x, y)[0] == pytest.approx(10 / 199, abs=0.02)
    assert np.diag(retrieval_at_1(x, y)).mean() == pytest.approx(1 / 200, abs=0.02)


def test_neighbours_do_not_change_when_similarities_keep_their_order():
    x, y = np.random.default_rng(7).standard_normal((2, 20, 5))
    longer = x * np.linspace(1, 9, 20)[:, None]  # cosines stay
    assert shared(x, y) == shared(longer, y)
    np.testing.assert_allclose(retrieval_at_1(x, y), retrieval_at_1(longer, y))


def test_neighbours_by_hand_and_of_tiny_shards():
    angle = np.deg2rad([0, 10, 25, 100])
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    y = x[[0, 2, 1, 3]]
    # Nearest among x: 1, 0, 1, 2. Nearest among y: 2, 2, 0, 1.
    assert nearest_questions(x, k=1)[:, 0].tolist() == [1, 0, 1, 2]
    assert nearest_questions(y, k=1)[:, 0].tolist() == [2, 2, 0, 1]
    assert shared(x, y, k=1)[0] == 0
    # With texts 1 and 2 exchanged y is x, and every neighbour is shared: both axes of y are relabelled.
    assert shared(x, y, np.array([[0, 2, 1, 3]]), k=1)[1].tolist() == [1]
    assert np.isnan(shared(x[:2], y[:2])[0])
    assert np.isnan(retrieval_at_1(x[:1], y[:1])).all()
    with pytest.raises(ValueError, match="k is 0"):
        nearest_questions(x, k=0)


def test_constant_vectors_share_the_hit():
    ones = np.ones((5, 3))
    np.testing.assert_allclose(retrieval_at_1(ones, ones), 0.2)


def test_an_added_constant_is_removed_exactly_and_a_common_shift_changes_nothing():
    rng = np.random.default_rng(8)
    s, t = rng.standard_normal((2, 12, 5))
    half = halves([f"q{k}" for k in range(12)], seed=0)
    assert half.sum() == 6
    for centring, shifts in (("modality", (3.0, -5.0)), ("common", (4.0, 4.0))):
        plain = [form - taken for form, taken in zip((s, t), held_out_means(s, t, half, centring))]
        moved = s + shifts[0], t + shifts[1]
        shifted = [form - taken for form, taken in zip(moved, held_out_means(*moved, half, centring))]
        np.testing.assert_allclose(shifted, plain, atol=1e-12)


def test_means_are_those_of_the_other_half_only():
    rng = np.random.default_rng(9)
    s, t = rng.standard_normal((2, 9, 4))
    half = halves(list("abcdefghi"), seed=1)
    taken, _ = held_out_means(s, t, half, "modality")
    np.testing.assert_allclose(taken[2], s[half != half[2]].mean(axis=0))


def test_halves_follow_ids_and_seed():
    ids = [f"q{k}" for k in range(40)]
    assert dict(zip(ids, halves(ids, 1))) == dict(zip(ids[::-1], halves(ids[::-1], 1)))
    assert (halves(ids, 1) != halves(ids, 2)).any()


def test_a_single_question_has_no_held_out_mean():
    taken = held_out_means(np.ones((1, 3)), np.ones((1, 3)), halves(["q"], 0), "common")
    assert np.isnan(taken).all()


def test_massive_dimensions_are_found_and_one_dimension_is_always_left():
    s, t = np.random.default_rng(10).standard_normal((2, 20, 6))
    s[3, 4], t[7, 1] = 900, 500
    assert massive_dimensions(s, t, 2).tolist() == [1, 4]
    assert massive_dimensions(s, t, 99).size == 5
    assert massive_dimensions(s[:, :1], t[:, :1], 4).size == 0
    with pytest.raises(ValueError, match="k is -1"):
        massive_dimensions(s, t, -1)


def test_pairs_equal_one_comparison_after_the_other():
    rng = np.random.default_rng(11)
    s, t = rng.standard_normal((2, 7, 4)) + 1
    t[3], s[2] = s[3], 0
    forms = [PooledForm(form, form, form, form, np.ones(7)) for form in (s, t)]
    pairs = PooledPairs(PooledLayer(*forms, np.zeros(7, dtype=bool), 0, np.arange(7)), np.arange(7))
    found = {name: MEASURES[name].function(pairs) for name in ("cosine", "euclidean", "length_free_distance")}
    for i in range(7):
        for j in range(7):
            alone = pooled_similarity(s[None, i : i + 1], t[None, j : j + 1])
            for name in found:
                np.testing.assert_allclose(found[name][i, j], getattr(alone, name)[0], atol=1e-6, err_msg=name)
