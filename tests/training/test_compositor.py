"""The plain compositor's truth is what its pixels show."""

import numpy as np
import pytest
from rasterio.features import geometry_mask
from shapely.affinity import translate

from imagery.look import Look
from training.compositor import SOUTH, WEST, Drawn, DrawnSite, drawn_site


@pytest.fixture(scope="module")
def sites() -> list[DrawnSite]:
    return [drawn_site(seed) for seed in range(820_000, 820_008)]


def inside(thing: Drawn, look: Look) -> np.ndarray:
    """Return the pixels that lie in a footprint and that the look saw."""
    place = translate(thing.footprint, WEST, SOUTH)
    mask: np.ndarray = geometry_mask([place], look.grid.shape, look.grid.transform, invert=True)
    return mask & look.observed


def test_the_same_seed_draws_the_same_site(sites: list[DrawnSite]) -> None:
    again = drawn_site(820_003)
    assert again.things == sites[3].things
    for one, other in zip(sites[3].looks, again.looks, strict=True):
        np.testing.assert_array_equal(one.reflectance, other.reflectance)


def test_what_comes_or_goes_changes_its_pixels_more_than_what_stays(sites: list[DrawnSite]) -> None:
    changed, kept = [], []
    for site in (site for site in sites if site.looks[0].gsd_m <= 0.5):
        first, last = site.looks[0], site.looks[-1]
        for thing in site.things:
            if thing.kind != "container":
                continue
            cells = inside(thing, first) & inside(thing, last)
            if cells.sum() < 12:
                continue
            a, b = (look.reflectance[:, cells].mean(1) for look in (first, last))
            moved = float(np.abs(np.log(a / b)).max())
            stood = [thing.looks[0] <= k < thing.looks[1] for k in (0, len(site.looks) - 1)]
            (kept if all(stood) else changed if any(stood) else []).append(moved)
    assert len(changed) >= 10
    assert len(kept) >= 10
    assert np.median(changed) > 2 * np.median(kept)


def test_times_lie_between_looks(sites: list[DrawnSite]) -> None:
    for site in sites:
        times = [look.t_utc for look in site.looks]
        for thing in site.things:
            came, went = site.stay(thing)
            since, until = thing.looks
            assert came is None if since == 0 else times[since - 1] < came < times[since]
            assert went is None if until >= len(times) else times[until - 1] < went < times[until]


def test_on_quiet_sites_nothing_of_our_classes_comes_or_goes() -> None:
    stays = [
        {thing.looks for thing in site.things if thing.kind in {"container", "berm"}}
        for site in map(drawn_site, range(820_000, 820_030))
        if len(site.looks) == 2
    ]
    quiet = [stay for stay in stays if stay == {(0, 1_000)}]
    assert 0 < len(quiet) < len(stays)
