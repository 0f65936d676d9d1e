"""RSA and Procrustes: their textbook forms, invariances, chance, and no value for what has no geometry."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import ortho_group, spearmanr

from workflow_scripts.measures.cka import ShardQuestions, cka, questions_needed, reduced
from workflow_scripts.measures.geometry import PROCRUSTES_QUESTIONS, procrustes, rsa
from workflow_scripts.measures.shuffle_null import critical_value

RNG = np.random.default_rng(3)


def shard(x, y, partners=None):
    """One layer of vectors (n, d)."""
    partners = np.arange(len(x))[None] if partners is None else np.asarray(partners)
    near = np.zeros((1, len(x), 1), dtype=int)
    return ShardQuestions(reduced(x)[None], reduced(y)[None], near, near, partners)


def by_procrustes_formula(x, y):
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    return np.linalg.norm(x.T @ y, "nuc") / np.linalg.norm(x) / np.linalg.norm(y)


@pytest.mark.parametrize("d", [3, 40])
@pytest.mark.parametrize("n", [4, 25])
def test_value_and_draws_are_the_textbook_forms(n, d):
    x, y = RNG.standard_normal((2, n, d)) + 5
    order = RNG.permutation(n)
    values, draws = rsa(shard(x, y, [order]))
    angles = [pdist(values - values.mean(axis=0), "cosine") for values in (x, y, y[order])]
    expected = [spearmanr(angles[0], other).statistic for other in angles[1:]]
    assert [values[0], draws[0, 0]] == pytest.approx(expected, abs=1e-10)
    values, draws = procrustes(shard(x, y, [order]))
    expected = [by_procrustes_formula(x, other) for other in (y, y[order])]
    assert [values[0], draws[0, 0]] == pytest.approx(expected, abs=1e-5)


def test_procrustes_of_many_questions_is_that_of_the_first_spoken_ones():
    n = PROCRUSTES_QUESTIONS + 20
    x, y = RNG.standard_normal((2, n, 2 * n))
    order = RNG.permutation(n)
    values, draws = procrustes(shard(x, y, [order]))
    some = slice(PROCRUSTES_QUESTIONS)
    expected = [by_procrustes_formula(x[some], other[some]) for other in (y, y[order])]
    assert [values[0], draws[0, 0]] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("measure", [rsa, procrustes])
def test_shift_scale_and_rotation_change_nothing_and_equal_forms_have_one(measure):
    x, y = RNG.standard_normal((2, 20, 6))
    turned = 5 * x @ ortho_group.rvs(6, random_state=1) + 3
    assert measure(shard(turned, y))[0] == pytest.approx(measure(shard(x, y))[0], abs=1e-6)
    assert measure(shard(turned, x))[0] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("measure", [rsa, procrustes])
def test_three_questions_and_questions_at_one_place_have_no_value(measure):
    some = RNG.standard_normal((10, 30))
    equal = np.tile(some[:1], (10, 1)) / 3
    for x, y in ((some[:3], some[:3]), (equal, some), (some, equal), (np.full((10, 30), np.nan), some)):
        values, draws = measure(shard(x, y))
        assert np.isnan(values).all() and np.isnan(draws).all()


def test_unrelated_states_have_rsa_zero_but_procrustes_near_one_with_few_questions():
    x, y = RNG.standard_normal((2, 50, 1000))
    assert abs(rsa(shard(x, y))[0].item()) < 0.15
    value, draws = procrustes(shard(x, y, [RNG.permutation(50) for _ in range(50)]))
    assert value.item() > 0.9 and critical_value(value.item(), draws[:, 0], True)[1] < 0.05


@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_the_questions_that_cka_needs_do_not_depend_on_the_questions_at_hand(decay):
    """Chance falls as 1 / n, for states of equal variances and for states with a few large directions."""
    needed = []
    for n in (40, 160):
        x, y = RNG.standard_normal((2, n, 64)) * np.arange(1, 65) ** -decay
        value, draws = cka(shard(x, y, [RNG.permutation(n) for _ in range(400)]))
        needed.append(questions_needed(critical_value(value.item(), draws[:, 0], True)[0], n))
    assert needed[1] == pytest.approx(needed[0], rel=0.35)


def test_no_number_of_questions_follows_from_no_draws():
    assert np.isnan(questions_needed(float("nan"), 40)) and questions_needed(0.2, 30) == 60
