"""Places for training: labels fit the picture, seeds decide everything, every product kind occurs."""

import numpy as np
import pytest

from imagery.simulation.training import training_site, training_step


def test_equal_seeds_give_equal_looks() -> None:
    first, second = (training_site(11, 0.5, pixels=96) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert np.array_equal(a.image, b.image)
        assert np.array_equal(a.fractions, b.fractions)
        assert (a.bands, a.sun, a.view, a.season) == (b.bands, b.sun, b.view, b.season)


@pytest.mark.parametrize("gsd", [0.3, 0.5, 1.1])
def test_a_look_is_finite_and_its_labels_are_shares(gsd: float) -> None:
    for look in training_site(3, gsd, pixels=80, looks=3):
        assert look.image.shape == (len(look.bands), 80, 80)
        assert np.isfinite(look.image).all()
        assert look.image.std() > 0
        assert look.fractions.shape == (3, 80, 80)
        assert look.fractions.min() >= 0
        assert look.fractions.max() <= 1
        assert look.fractions.sum(axis=0).max() < 1.01
        assert look.observed.shape == (80, 80)


def test_every_kind_of_product_and_class_occurs() -> None:
    looks = [look for seed in range(14) for look in training_site(seed, 0.6, pixels=96, looks=2)]
    assert {look.bands for look in looks} == {
        ("blue", "green", "red", "nir"),
        ("blue", "green", "red"),
        ("pan",),
    }
    assert {look.sun is None for look in looks} == {True, False}
    assert len({look.season for look in looks}) >= 4
    assert all(max(look.fractions[k].max() for look in looks) > 0.9 for k in range(3))


def test_real_ground_shows_where_nothing_was_put() -> None:
    ground = np.full((4, 400, 400), 0.2, np.float32)
    ground[:, ::2] = 0.6
    step = training_step(1.0)
    plain, striped = (
        training_site(5, 1.0, pixels=64, looks=1, ground=g)[0] for g in (np.full_like(ground, 0.4), ground)
    )
    assert step == 0.5
    assert np.array_equal(plain.fractions, striped.fractions)
    assert not np.array_equal(plain.image, striped.image)
