"""Features: the contract's names, RFC 7946 geometry, and ids that stay."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely import Polygon, box
from shapely.affinity import translate
from shapely.geometry import shape

from imagery.changes import Direction, OnsetInterval
from imagery.displacement import Displacement, DisplacementField, RegistrationState
from imagery.grid import SiteGrid
from imagery.relations import Relation
from pipelines.report.features import (
    change_ids,
    displacement_at,
    features,
    look_features,
    to_wgs84,
    window_of,
)
from pipelines.report.wording import related

CONTRACT_PROPERTIES = {
    "id", "change_type", "direction", "first_seen", "last_absent", "last_seen", "status", "confidence", "count",
    "count_low", "count_high", "count_reason", "area_m2", "length_m", "width_m", "orientation_deg", "gsd",
    "looks_supporting", "looks_against", "shift_sensitivity", "evidence", "scene_ids",
}  # fmt: skip


def test_a_change_has_every_property_of_the_contract(site: Any) -> None:
    for feature in features(site.analysis):
        assert set(feature["properties"]) >= CONTRACT_PROPERTIES
        assert feature["properties"]["id"] == feature["id"]
        assert feature["properties"]["last_absent"] < feature["properties"]["first_seen"]


def test_a_count_that_cannot_be_resolved_is_null_with_its_reason(site: Any) -> None:
    for feature in features(site.analysis):
        p = feature["properties"]
        assert (p["count"] is None) == (p["count_reason"] is not None)


def test_polygons_are_wound_and_rounded_as_rfc_7946_asks(report: Path) -> None:
    told = json.loads((report / "changes.geojson").read_text("utf-8"))
    assert told["type"] == "FeatureCollection"
    for feature in told["features"]:
        ring = feature["geometry"]["coordinates"][0]
        assert Polygon(ring).exterior.is_ccw
        assert all(round(v, 7) == v for point in ring for v in point)
        assert ring[0] == ring[-1]


def test_geopandas_finds_the_areas_that_the_properties_state(report: Path) -> None:
    frame = geopandas.read_file(report / "changes.geojson").to_crs(32633)
    assert np.allclose(frame.area, frame["area_m2"], rtol=0.01)


def test_holes_stay_holes_and_are_clockwise() -> None:
    ring = box(400_000, 5_500_000, 400_100, 5_500_100).difference(box(400_040, 5_500_040, 400_060, 5_500_060))
    lonlat = to_wgs84(ring, 32633)
    assert len(lonlat.interiors) == 1
    assert not lonlat.interiors[0].is_ccw


def test_ids_do_not_depend_on_order(site: Any) -> None:
    changes = site.analysis.detection.changes
    assert change_ids(changes[::-1], 32633) == change_ids(changes, 32633)[::-1]


def test_an_id_survives_later_scenes_and_a_slightly_other_footprint(site: Any) -> None:
    change = site.analysis.detection.changes[0]
    # Put the centroid in the middle of its lattice cell: at its edge any move may change the cell.
    middle = change.footprint.centroid
    centred = translate(change.footprint, 400_100 - middle.x, 5_500_100 - middle.y)
    first = change_ids([replace(change, footprint=centred)], 32633)
    later = replace(
        change,
        footprint=translate(centred, 1.2, -0.9).buffer(0.4),
        confidence=0.51,
        looks_supporting=9,
        last_seen=datetime(2024, 1, 1, tzinfo=UTC),
        scene_ids=(*change.scene_ids, "S99"),
    )
    assert change_ids([later], 32633) == first


@given(st.lists(st.tuples(st.floats(0, 20), st.floats(0, 20)), min_size=1, max_size=30))
def test_ids_are_unique_however_close_the_changes_lie(places: list[tuple[float, float]]) -> None:
    change = _sample_change()
    many = [replace(change, footprint=box(400_000 + x, 5e6 + y, 400_003 + x, 5e6 + y + 3)) for x, y in places]
    ids = change_ids(many, 32633)
    assert len(set(ids)) == len(many)


def _sample_change() -> Any:
    from imagery.changes import Change, Estimate, ObjectClass, Status

    t = datetime(2023, 1, 1, tzinfo=UTC)
    return Change(
        ObjectClass.OTHER, Direction.APPEARED, box(0, 0, 1, 1), OnsetInterval(t, t), t, Status.FIRST, 0.5, None, None,
        Estimate(1, 1, 1), None, None, None, 0.5, 1, 0, 0.0, "a", "b", ("a", "b"),
    )  # fmt: skip


def test_looks_list_every_scene_used_or_not(site: Any) -> None:
    looks = [f["properties"] for f in look_features(site.analysis)]
    assert len(looks) == 8
    assert [p["reference"] for p in looks] == [True] + [False] * 7
    lost = looks[5]
    assert (lost["used"], lost["state"], lost["displacement"]) == (False, "not_registered", None)
    assert lost["fractions"] == {"observed": 0.0, "misregistered": 1.0}
    assert looks[0]["displacement"] == {"east_m": 0.0, "north_m": 0.0}
    assert looks[0]["quality"] is None  # infinite for the reference, which JSON cannot say


def test_the_displacement_is_taken_at_the_place_asked_for() -> None:
    d = Displacement(
        (1000.0, 2000.0), 1.0, -2.0, ((0.01, 0.0), (0.0, -0.02)), None, RegistrationState.USE, 1.0, 0.1, 9
    )
    assert displacement_at(d, 1100.0, 2050.0) == pytest.approx((2.0, -3.0))


def test_a_smooth_field_is_added_between_its_nodes() -> None:
    east = np.array([[0.0, 1.0], [2.0, 3.0]], np.float32)
    field = DisplacementField((0.0, 100.0), 100.0, east, -east)
    d = Displacement((0.0, 0.0), 0.5, 0.5, ((0, 0), (0, 0)), field, RegistrationState.USE, 1.0, 0.1, 9)
    assert displacement_at(d, 50.0, 50.0) == pytest.approx((2.0, -1.0))
    assert displacement_at(d, 1e6, -1e6) == pytest.approx((3.5, -2.5))


@pytest.mark.parametrize(("gsd_m", "least_px"), [(0.5, 96), (10.0, 96)])
def test_a_chip_has_room_around_its_change(gsd_m: float, least_px: int) -> None:
    grid = SiteGrid(32633, 400_000.0, 5_500_000.0, gsd_m, 400, 400)
    centre = grid.centre
    change = replace(_sample_change(), footprint=box(centre[0], centre[1], centre[0] + 12, centre[1] + 3))
    window = window_of(change, grid)
    west, south, east, north = window.bounds
    assert window.rows == window.cols >= least_px
    assert west <= centre[0] - 23
    assert east >= centre[0] + 12 + 23
    assert south <= centre[1] - 23
    assert north >= centre[1] + 3 + 23
    assert ((west - grid.east_m) / gsd_m) % 1 == 0


def test_a_very_large_change_does_not_make_a_huge_chip() -> None:
    grid = SiteGrid(32633, 400_000.0, 5_500_000.0, 0.5, 4000, 4000)
    change = replace(_sample_change(), footprint=box(400_100, 5_499_000, 400_900, 5_499_100))
    assert window_of(change, grid).rows == (800 + 500) / 0.5


def test_every_footprint_lies_in_the_sites_place(site: Any, build: Callable[..., Any]) -> None:
    aoi = site.analysis.site.aoi.buffer(0.01)
    assert all(shape(f["geometry"]).within(aoi) for f in features(site.analysis))


def test_a_change_says_what_it_has_to_do_with_another_of_the_site(site: Any) -> None:
    came = replace(
        next(c for c in site.analysis.detection.changes if c.direction == "appeared"),
        onset=OnsetInterval(datetime(2023, 1, 1, tzinfo=UTC), datetime(2023, 1, 9, tzinfo=UTC)),
    )
    went = replace(
        came,
        direction=Direction.REMOVED,
        onset=OnsetInterval(datetime(2023, 5, 1, tzinfo=UTC), datetime(2023, 5, 7, tzinfo=UTC)),
    )
    analysis = replace(site.analysis, detection=replace(site.analysis.detection, changes=(went, came)))
    first, second = (f["properties"] for f in features(analysis))
    assert first["related"] == [{"relation": "removed_by", "id": second["id"]}]
    assert second["related"] == [{"relation": "removes", "id": first["id"]}]
    assert first["statement"].endswith("Gone again between 1 May 2023 and 7 May 2023.")


def test_a_move_is_told_as_a_possibility_with_its_distance_and_way(site: Any) -> None:
    here = _sample_change()
    there = replace(here, footprint=box(30, 30, 31, 31))
    told = related(here, Relation.MOVED_TO, there)
    assert (
        told
        == "What alone appeared alike in the same time lies 42 m to the north-east: perhaps it was moved there."
    )
