"""Rendered objects in a site's own looks: what is found, what could not be judged, and what chance finds."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import shapely

from imagery.changes import LookEvidence, ObjectClass
from imagery.displacement import no_displacement
from imagery.grid import SiteGrid
from imagery.illumination import Sun
from imagery.planting import FINE_PATTERNS, Pattern, Planting
from imagery.scene import Scene
from pipelines.analysis import LookSummary, Site
from pipelines.aoi import read_aoi
from pipelines.archives import open_archive
from pipelines.parameters import Parameters
from pipelines.planting import (
    BadPlanting,
    NothingToPlantIn,
    PlantingReport,
    _Path,
    as_json,
    as_table,
    could_we_have_seen,
    share_of,
    to_json_text,
)
from pipelines.runner import SerialRunner
from pipelines.site import SceneSet

SAMPLES = Path(__file__).parents[2] / "sample_tiles"
BLOCK, HORSESHOE = FINE_PATTERNS[3], FINE_PATTERNS[6]


def sample(name: str, first: int, last: int) -> tuple[Site, SceneSet]:
    """Return a sample site with some of its scenes in time order."""
    site = read_aoi(SAMPLES / name / "aoi.geojson")
    found = open_archive(str(SAMPLES / name / "catalog.json")).search(site.aoi, None)
    scenes = sorted(found.scenes, key=lambda scene: scene.t_utc)
    return site, SceneSet(tuple(scenes[first:last]))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Products that all tests of this file share."""
    return str(tmp_path_factory.mktemp("products"))


def planted(store: str, *patterns: Pattern, each: int = 3, contrast: float = 1.0) -> PlantingReport:
    site, scenes = sample("depot-0.5m", 2, 6)
    return could_we_have_seen(
        site,
        scenes,
        store=store,
        runner=SerialRunner(),
        each=each,
        seed=4,
        contrast=contrast,
        patterns=patterns,
    )


@pytest.mark.parametrize(
    ("found", "judged", "low", "high"),
    # Tables of exact limits: 0 of 10, 5 of 10, 10 of 10, 1 of 20.
    [(0, 10, 0.0, 0.3085), (5, 10, 0.1871, 0.8129), (10, 10, 0.6915, 1.0), (1, 20, 0.0013, 0.2487)],
)
def test_shares_carry_the_exact_interval(found: int, judged: int, low: float, high: float) -> None:
    share = share_of(found, judged)
    assert (share.low, share.high) == pytest.approx((low, high), abs=1e-4)


def test_objects_without_contrast_are_found_no_more_than_by_chance(store: str) -> None:
    report = planted(store, BLOCK, HORSESHOE, contrast=0.0)
    assert len(report.objects) == 6
    assert not any(judged.noticed for judged in report.objects)


def test_a_report_adds_up_and_the_same_seed_gives_the_same_bytes(store: str, tmp_path: Path) -> None:
    report = planted(store, BLOCK, HORSESHOE)
    said = as_json(report)
    assert said["planted"] == 6
    assert said["judged"] == sum(row["judged"] for row in said["by_size"].values())
    assert said["by_class"]["container"]["planted"] == said["by_size"][BLOCK.name]["planted"] == 3
    hidden = sum(sum(row["not_observable"].values()) for row in said["by_size"].values())
    assert hidden + said["judged"] == said["planted"]
    # Half of a block of containers two high and of a fresh horseshoe is little to ask for, and more than chance gives.
    assert sum(o.noticed for o in report.objects) >= 2
    table = as_table(report)
    assert all(name in table for name in (BLOCK.name, HORSESHOE.name))
    assert to_json_text(planted(str(tmp_path), BLOCK, HORSESHOE)) == to_json_text(report)


def test_planting_registers_no_look_again(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(store, BLOCK, each=1)

    def refuse(*_args: object, **_more: object) -> None:
        raise AssertionError("registered again")

    monkeypatch.setattr("pipelines.steps.estimate_displacement", refuse)
    planted(store, HORSESHOE, each=1)


@pytest.mark.long
def test_at_ten_metres_ground_and_rows_are_planted_and_found_as_places(store: str) -> None:
    site, scenes = sample("depot-10m", 0, 14)
    report = could_we_have_seen(site, scenes, store=store, runner=SerialRunner(), each=2, seed=1)
    said = as_json(report)
    assert set(said["by_class"]) == {"container", "berm", "other"}
    assert sum(o.found for o in report.objects) >= 2
    assert all(o.planting.pattern.length_m * o.planting.pattern.along >= 20 for o in report.objects)


def test_one_look_is_too_few(store: str) -> None:
    site, scenes = sample("depot-0.5m", 0, 1)
    with pytest.raises(NothingToPlantIn, match="two of one kind"):
        could_we_have_seen(site, scenes, store=store, runner=SerialRunner())


def test_a_number_that_cannot_be_meant_is_refused(store: str) -> None:
    site, scenes = sample("depot-0.5m", 0, 2)
    with pytest.raises(BadPlanting, match="0 objects"):
        could_we_have_seen(site, scenes, store=store, runner=SerialRunner(), each=0)


# --- why an object could not be judged ---------------------------------------------------------------------------------

GRID = SiteGrid(32633, 500_000.0, 5_550_000.0, 0.5, 80, 80)
DAYS = [datetime(2024, 5, day, 10, tzinfo=UTC) for day in (1, 11, 21)]


def judge(
    states: list[int], pattern: Pattern = BLOCK, angle_deg: float = 0.0, gsd_m: float = 0.5
) -> str | None:
    """Plant one object between the first and the second look; return why it could not be judged."""
    looks, evidence = [], []
    for number, (state, when) in enumerate(zip(states, DAYS, strict=True)):
        scene = Scene(
            str(number), when, (), None, gsd_m, Sun(180.0 + GRID.convergence_deg, 40.0), None, None, None,
            "reflectance", "POINT EMPTY", (),
        )  # fmt: skip
        looks.append(
            LookSummary(
                scene, shapely.Point(), number == 0, True, no_displacement(GRID.centre, "reference"), 1.0, ()
            )
        )
        evidence.append(
            LookEvidence(
                str(number), when, GRID, (ObjectClass.CONTAINER, ObjectClass.BERM),
                np.full((2, *GRID.shape), -20, np.int8), np.zeros(GRID.shape, np.float16),
                np.full(GRID.shape, state, np.uint8), gsd_m, 180.0, 40.0, None, None, 0.1, False,
            )
        )  # fmt: skip
    path = _Path(tuple(looks), GRID, np.ones(GRID.shape, bool), False, "", Parameters(network=False))
    east, north = GRID.centre
    thing = Planting(0, pattern, east, north, angle_deg, 1, DAYS[0] + timedelta(days=5))
    judged = path._judge(thing, evidence, [])
    assert not judged.found
    return judged.hidden


def test_an_object_in_full_view_on_both_sides_is_judged() -> None:
    assert judge([0, 3, 0]) is None


@pytest.mark.parametrize(
    ("states", "why"), [([0, 3, 3], "cloud"), ([5, 0, 0], "snow"), ([0, 4, 4], "cloud_shadow")]
)
def test_an_object_hidden_on_one_side_of_its_onset_is_not_counted_as_missed(
    states: list[int], why: str
) -> None:
    assert judge(states) == why


def test_a_bank_along_the_sun_in_all_looks_is_poor_light() -> None:
    assert judge([0, 0, 0], FINE_PATTERNS[4], angle_deg=90.0) == "poor_light"
    assert judge([0, 0, 0], FINE_PATTERNS[4], angle_deg=0.0) is None


def test_pixels_too_coarse_for_a_class_say_so() -> None:
    assert judge([0, 0, 0], gsd_m=5.0) == "too_coarse"
