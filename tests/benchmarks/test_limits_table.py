"""The table of detection limits is made of counted objects, and reads back as it was written."""

import json
from datetime import UTC, datetime

import pytest
from shapely.geometry import box

from benchmarks.limits import (
    FINE_GSD_M,
    SEASONS,
    SUN_DEG,
    Cell,
    Row,
    cells,
    latitude_for,
    overlap,
    page,
    patterns_for,
    series_options,
    table,
    written,
)
from imagery.changes import ObjectClass
from imagery.simulation.light import sun_position

ROWS = [
    Row(Cell(0.5, 30.0, "summer", k), "container", "one 40 ft container", 29.74, shown=True, found=k < 3)
    for k in range(10)
] + [Row(Cell(10.0, None, None, 1), "other", "ground opened, 30 x 30 m", 900.0, shown=False, found=True)]


def test_cells_count_what_was_planted_shown_and_found() -> None:
    one, coarse = table(ROWS, 1)["cells"]
    assert (one["n"], one["shown"], one["found"], one["recall"]) == (10, 10, 3, 0.3)
    assert one["low"] < 0.3 < one["high"]
    assert (coarse["sun_deg"], coarse["season"]) == (None, None)


def test_the_file_reads_back_with_one_cell_a_line() -> None:
    content = table(ROWS, 1)
    text = written(content)
    assert json.loads(text) == content
    assert sum(line.startswith('    {"class"') for line in text.splitlines()) == 2


def test_the_page_shows_recall_with_interval_and_number() -> None:
    text = page(table(ROWS, 1))
    assert "| one 40 ft container (30 m²) | 0.30 (0.07-0.65) of 10 |" in text
    assert "## other" in text


def test_every_pixel_size_sun_and_season_has_a_seed_of_its_own() -> None:
    made = cells(3, (*FINE_GSD_M, 10.0))
    assert len({c.seed for c in made}) == len(made)
    assert len(made) == 3 * len(FINE_GSD_M) * len(SUN_DEG) * len(SEASONS) + 12


@pytest.mark.parametrize("season", sorted(SEASONS))
@pytest.mark.parametrize("sun_deg", SUN_DEG)
def test_the_sun_of_a_cell_stands_where_it_says(season: str, sun_deg: float) -> None:
    options = series_options(Cell(0.5, sun_deg, season, 1))
    at = options.start + (options.end - options.start) / 2
    sun = sun_position(at.replace(hour=10, minute=30), options.longitude, options.latitude)
    assert sun.elevation_deg == pytest.approx(sun_deg, abs=1.5)
    assert latitude_for(sun_deg, datetime(2024, 7, 1, tzinfo=UTC)) <= 80


def test_single_containers_are_not_asked_of_pixels_that_only_show_rows() -> None:
    assert not any(p.name.startswith("one ") for p in patterns_for(2.0))
    assert any(p.name.startswith("one ") for p in patterns_for(1.2))


def test_banks_are_compared_with_their_foot_widened() -> None:
    thin, beside = box(0, 0, 50, 1), box(0, 2, 50, 3)
    assert overlap(thin, beside, ObjectClass.CONTAINER) == 0.0
    assert overlap(thin, beside, ObjectClass.BERM) > 0.4
