"""After erasure nothing of the concept can be read linearly, nothing else is lost, and its control erases as much."""

import numpy as np
import pytest

from workflow_scripts.measures.linear_erasure import (
    Eraser,
    concept_eraser,
    principal,
    random_eraser,
    reader_errors,
    spread_of,
)

SHAPES = [(400, 12), (30, 80)]
"""More vectors than dimensions, and fewer."""


def planted(n, d, k=3, noise=0.5, seed=0):
    """Vectors with unequal axes that hold a concept z linearly, and z."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, k))
    widths = np.geomspace(4, 0.1, d)
    x = z @ rng.standard_normal((k, d)) + noise * widths * rng.standard_normal((n, d)) + 5
    return x, z


def erased(x, z):
    spread = spread_of(x)
    return concept_eraser(spread, z), spread


def covariance(x, z):
    return (x - x.mean(axis=0)).T @ (z - z.mean(axis=0)) / len(x)


@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_of_the_concept_covaries_with_what_is_left(shape):
    x, z = planted(*shape)
    eraser, _ = erased(x, z)
    assert np.abs(covariance(eraser(x), z)).max() < 1e-12 * np.abs(covariance(x, z)).max() * len(x)
    assert eraser.rank == 3


def test_no_linear_reader_beats_the_mean_on_what_is_left():
    x, z = planted(400, 12)
    eraser, _ = erased(x, z)
    for vectors, expected in ((x, 0.5), (eraser(x), 0.0)):
        design = np.column_stack([vectors, np.ones(len(x))])
        residual = z - design @ np.linalg.lstsq(design, z, rcond=None)[0]
        share = 1 - (residual**2).sum() / ((z - z.mean(axis=0)) ** 2).sum()
        assert share == pytest.approx(0, abs=1e-9) if expected == 0 else share > expected


@pytest.mark.parametrize("shape", SHAPES)
def test_erasing_twice_is_erasing_once_and_the_mean_stays(shape):
    x, z = planted(*shape)
    eraser, spread = erased(x, z)
    once = eraser(x)
    np.testing.assert_allclose(eraser(once), once, atol=1e-9)
    np.testing.assert_allclose(eraser.read.T @ eraser.write, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(once.mean(axis=0), spread.mean, atol=1e-9)


def test_a_concept_that_is_one_coordinate_takes_that_coordinate_and_no_other():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((50, 4)) @ np.diag([3, 1, 0.5, 2.0])
    # Exactly uncorrelated, so that the planted answer is exact.
    x = np.linalg.qr(x - x.mean(axis=0))[0] * [3, 1, 0.5, 2]
    eraser, _ = erased(x, x[:, 1:2])
    np.testing.assert_allclose(eraser(x), x * [1, 0, 1, 1], atol=1e-12)


def test_erasure_changes_less_than_projecting_the_covariance_away():
    x, z = planted(4000, 6, k=1)
    eraser, spread = erased(x, z)
    direction = covariance(x, z) / np.linalg.norm(covariance(x, z))
    orthogonal = (spread.centred @ direction) @ direction.T
    assert (eraser.removed(x) ** 2).sum() < 0.9 * (orthogonal**2).sum()


@pytest.mark.parametrize("z", [np.ones((40, 2)), np.full((40, 1), 1e6), np.empty((40, 0))])
def test_a_constant_concept_leaves_vectors_as_they_are(z):
    x, _ = planted(40, 8)
    eraser, spread = erased(x, z)
    assert eraser.rank == 0 and np.array_equal(eraser(x), x)
    assert random_eraser(spread, eraser, 3).rank == 0
    assert principal(z, 5)[1].shape == (z.shape[1], 0) and principal(z, 5)[2] == 0


def test_vectors_that_do_not_vary_are_left_as_they_are():
    eraser, _ = erased(np.full((20, 5), 3.0), np.random.default_rng(0).standard_normal((20, 2)))
    assert eraser.rank == 0


def test_the_rank_is_at_most_that_of_the_concept_and_the_one_asked_for():
    x, z = planted(60, 20, k=4)
    doubled = np.column_stack([z, z @ np.ones((4, 3))])
    mean, axes, share = principal(doubled, 10)
    assert axes.shape == (7, 4) and share == pytest.approx(1)
    assert erased(x, (doubled - mean) @ axes)[0].rank == 4
    mean, axes, share = principal(doubled, 2)
    assert erased(x, (doubled - mean) @ axes)[0].rank == 2 and 0.5 < share < 1


@pytest.mark.parametrize("shape", SHAPES)
def test_units_and_axes_of_concept_and_vectors_do_not_matter(shape):
    x, z = planted(*shape)
    rng = np.random.default_rng(9)
    eraser, _ = erased(x, z)
    mixed = z @ rng.standard_normal((3, 3)) * 1e3 - 7
    np.testing.assert_allclose(erased(x, mixed)[0](x), eraser(x), atol=1e-7)
    rotation = np.linalg.qr(rng.standard_normal((shape[1], shape[1])))[0]
    moved = 1e-3 * x @ rotation + 2
    np.testing.assert_allclose(erased(moved, z)[0](moved), 1e-3 * eraser(x) @ rotation + 2, atol=1e-9)


@pytest.mark.parametrize("noise", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_random_subspace_has_the_rank_and_the_energy_and_leaves_the_concept(shape, noise):
    x, z = planted(*shape, k=2, noise=noise)
    eraser, spread = erased(x, z)
    found = random_eraser(spread, eraser, 11)
    assert found.rank == 2
    assert (found.removed(x) ** 2).sum() == pytest.approx((eraser.removed(x) ** 2).sum(), rel=1e-6)
    np.testing.assert_allclose(covariance(found(x), z), covariance(x, z), atol=1e-8)
    again, other = random_eraser(spread, eraser, 11), random_eraser(spread, eraser, 12)
    assert np.array_equal(again.read, found.read) and not np.allclose(other.read, found.read)


def test_a_random_subspace_is_erased_and_not_lengthened_where_the_concept_is_not_the_widest_direction():
    x, z = planted(400, 12, k=2, noise=3.0)
    eraser, spread = erased(x, z)
    found = random_eraser(spread, eraser, 11)
    np.testing.assert_allclose(found.read.T @ found.write, np.eye(2), atol=1e-6)
    np.testing.assert_allclose(found(found(x)), found(x), atol=1e-4)


def test_where_the_concept_leaves_fewer_dimensions_the_random_subspace_has_those():
    x, z = planted(200, 5, k=3)
    eraser, spread = erased(x, z)
    assert spread.dimensions == 5 and random_eraser(spread, eraser, 0).rank == 2
    all_of_it, spread = erased(x[:, :3], x[:, :3])
    assert all_of_it.rank == 3 and random_eraser(spread, all_of_it, 0).rank == 0


def r2(fit_x, fit_z, x, z):
    error, spread = reader_errors(fit_x, fit_z, x, z, np.arange(len(fit_x)) % 2 == 0)
    return 1 - error.sum() / spread.sum()


@pytest.mark.parametrize("shape", [(400, 12), (150, 200)])
def test_on_new_vectors_a_reader_finds_the_concept_before_and_not_after(shape):
    (x, z), half = planted(*shape), shape[0] // 2
    eraser, spread = erased(x[:half], z[:half])
    control = random_eraser(spread, eraser, 5)
    fit, new = (x[:half], z[:half]), (x[half:], z[half:])
    assert r2(*fit, *new) > 0.6
    # A reader fitted on erased vectors of the other half, which the eraser has not seen.
    assert r2(eraser(new[0]), new[1], eraser(fit[0]), fit[1]) < 0.1
    assert r2(control(new[0]), new[1], control(fit[0]), fit[1]) > 0.3


def test_where_there_is_nothing_to_read_a_reader_does_not_beat_the_mean():
    rng = np.random.default_rng(3)
    found = []
    for seed in range(20):
        x, _ = planted(120, 40, seed=seed)
        z = rng.standard_normal((120, 2))
        found.append(r2(x[:60], z[:60], x[60:], z[60:]))
    assert -0.2 < np.mean(found) < 0.02


def test_a_reader_that_is_wrong_between_its_halves_says_the_mean_and_one_vector_is_no_half():
    x, z = planted(40, 8)
    upside_down = np.where(np.arange(40) < 20, 1, -1)[:, None] * z
    error, spread = reader_errors(x, upside_down, x, z, np.arange(40) < 20)
    np.testing.assert_allclose(error, spread)
    error, spread = reader_errors(x, z, x, z, np.arange(40) < 1)
    np.testing.assert_allclose(error, spread)


def test_shrinkage_vanishes_with_many_vectors_and_is_large_with_few():
    rng = np.random.default_rng(4)
    widths = np.array([4.0, 2, 1, 0.5])
    many = spread_of(rng.standard_normal((20_000, 4)) * widths)
    np.testing.assert_allclose(np.sort(many.values), np.sort(widths**2), rtol=0.05)
    few = spread_of(rng.standard_normal((5, 300)))
    assert few.rest > 0.3 and (few.values < 40).all() and few.values.max() > 10


def test_shapes_that_do_not_fit_are_refused_with_both_numbers():
    with pytest.raises(ValueError, match=r"z has shape \(3, 1\), but there are 4 vectors"):
        concept_eraser(spread_of(np.eye(4)), np.ones((3, 1)))
    for wrong in (np.ones((1, 4)), np.ones(4)):
        with pytest.raises(ValueError, match="n of 2 at least"):
            spread_of(wrong)


def test_an_eraser_takes_single_precision_and_gives_double():
    eraser = Eraser(np.zeros(2), np.eye(2)[:, :1], np.eye(2)[:, :1])
    assert eraser(np.ones((1, 2), dtype=np.float32)).dtype == np.float64
