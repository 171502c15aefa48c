"""How many clear looks pass before a change is listed and confirmed: counted right, over runs that are whole analyses."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from shapely.geometry import box

from benchmarks import onset_lag
from benchmarks.onset_lag import Course
from benchmarks.scoring import Event
from imagery.simulation import Sensor, SeriesOptions
from pipelines.simulate import write_series

DAY = datetime(2024, 1, 1, tzinfo=UTC)


def on(day: int) -> datetime:
    return DAY + timedelta(days=day)


TIMES = {f"s{day}": on(day) for day in (0, 10, 20, 30, 40, 50)}


def test_clear_looks_are_counted_from_the_onset_to_the_look_that_told():
    true = Event(
        "container", "appeared", box(0, 0, 10, 3), on(12), on(12), visible_in=("s0", "s20", "s30", "s50")
    )
    nothing: dict[int, tuple[bool, datetime]] = {}
    runs = [nothing, nothing, {0: (False, on(20))}, nothing, {0: (True, on(20))}]
    course = onset_lag._course(0, true, TIMES, [on(d) for d in (10, 20, 30, 40, 50)], runs)
    assert course == Course(dated=0, listed=1, confirmed=2, found=True, sure=True, clear_looks=3)


def test_what_was_confirmed_once_and_is_no_more_is_counted_as_lost_and_lags_are_of_what_holds():
    sites = [
        [Course(0, 0, 2, True, True, 4), Course(0, 1, 1, True, False, 4)],
        [Course(None, 0, None, False, False, 1), Course(0, 0, 3, True, True, 5)],
    ]
    said = onset_lag.summary(sites)
    assert (said["changes"], said["found"], said["sure"]) == (4, 3, 2)
    assert (said["listed_and_lost"], said["confirmed_and_lost"]) == (1, 1)
    assert said["confirmed"]["median"] == 2.5
    assert said["confirmed"]["by_looks"] == {"2": 1, "3": 1}
    assert said["listed"]["by_looks"] == {"0": 2, "1": 1}


def test_nothing_confirmed_is_no_lag():
    assert onset_lag.summary([[Course(None, None, None, False, False, 2)]])["confirmed"]["median"] is None


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("lag") / "scenes"
    options = SeriesOptions(
        extent_m=150.0, sensor=Sensor(0.8), looks=5, clouds=0.1, snow=0.0, geolocation_m=2.0
    )
    write_series(4021, options, out, "test")
    return out


@pytest.fixture(scope="module")
def runs(scenes: Path, tmp_path_factory: pytest.TempPathFactory):
    return onset_lag.growing_analyses(scenes, tmp_path_factory.mktemp("store"))


@pytest.mark.long
@pytest.mark.parametrize("number", [2, 3, 4, 5])
def test_a_run_over_the_first_looks_is_what_an_archive_without_the_later_ones_gives(
    scenes, runs, number, tmp_path
):
    short = shutil.copytree(scenes, tmp_path / "scenes")
    catalog = json.loads((short / "catalog.json").read_text())
    items = [link for link in catalog["links"] if link["rel"] == "item"]
    late = sorted(
        items, key=lambda link: json.loads((short / link["href"]).read_text())["properties"]["datetime"]
    )[number:]
    catalog["links"] = [link for link in catalog["links"] if link not in late]
    (short / "catalog.json").write_text(json.dumps(catalog))
    alone = onset_lag.growing_analyses(short, tmp_path / "store")[-1]
    assert len(alone.looks) == number
    assert alone.detection == runs[number - 2].detection
    assert [look.displacement for look in alone.looks] == [
        look.displacement for look in runs[number - 2].looks
    ]


@pytest.mark.long
def test_every_change_that_could_be_seen_has_a_course(scenes, runs):
    found = onset_lag.courses(runs, scenes, classless=False)
    assert found
    assert all(c.found for c in found if c.sure)
    assert all(c.listed is not None for c in found if c.found)
