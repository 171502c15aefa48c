"""Two and a half years of real farmland (Sentinel-2 NDVI, Slovenia): season, harvest, cloud, and nothing for us."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from imagery.grid import SiteGrid
from imagery.look import Look
from imagery.timeseries import find_disturbances

REAL = Path(
    os.environ.get("DEPOTWATCH_REAL", Path(__file__).resolve().parents[3] / "shared" / "data" / "real")
)
FOLDER = REAL / "eolearn_ndvi_series"
GRID = SiteGrid(32633, 500_000.0, 5_100_000.0, 10.0, 101, 100)
EVERYWHERE = np.ones(GRID.shape, bool)

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not FOLDER.is_dir(), reason="the real imagery is not beside the project"),
]


def farmland(first, last, patch=None):
    """Return the looks with first <= date < last; ``patch`` = (rows, cols, value, since) is laid over the fields."""
    ndvi, cloud = np.load(FOLDER / "NDVI.npy")[..., 0], np.load(FOLDER / "CLM.npy")[..., 0]
    times = json.loads((FOLDER / "timestamps.json").read_text())
    rng = np.random.default_rng(0)
    looks = []
    for index, when in enumerate(times):
        if not first <= when < last:
            continue
        image = ndvi[index].astype(np.float32)
        if patch is not None and when >= patch[3]:
            spot = image[patch[0], patch[1]]
            image[patch[0], patch[1]] = patch[2] + rng.normal(0, 0.02, spot.shape)
        state = np.where((cloud[index] > 0) | ~np.isfinite(image), 3, 0).astype(np.uint8)
        image[state > 0] = np.nan
        at = datetime.fromisoformat(when).replace(tzinfo=UTC)
        looks.append(Look(f"n{index:02d}", at, GRID, ("ndvi",), image[None], state, 10.0, None, None))
    return looks


@pytest.mark.long
def test_seasons_and_harvests_of_real_fields_are_no_changes():
    assert find_disturbances(farmland("2015", "2018"), EVERYWHERE).changes == ()


def test_one_year_of_real_fields_is_silent_too():
    assert find_disturbances(farmland("2016", "2017"), EVERYWHERE).changes == ()


def test_a_sheet_laid_over_a_real_field_is_found_where_and_when_it_was_laid():
    rows, cols = slice(40, 47), slice(50, 56)
    looks = farmland("2016", "2017", (rows, cols, -0.05, "2016-07-01"))
    changes = find_disturbances(looks, EVERYWHERE).changes
    best = max(changes, key=lambda c: c.confidence)
    col, row = (best.footprint.centroid.x - GRID.east_m) / 10, (GRID.north_m - best.footprint.centroid.y) / 10
    assert (rows.start <= row <= rows.stop, cols.start <= col <= cols.stop) == (True, True)
    assert best.onset.start < datetime(2016, 7, 1, tzinfo=UTC) <= best.onset.end
