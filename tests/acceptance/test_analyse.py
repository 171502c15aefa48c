"""A user's first hour at the command line: it works, it repeats, and it fails well."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from service.cli import main

FILES = {
    "report.json", "changes.geojson", "looks.geojson", "timeline.csv", "registration.json", "report.html",
    "changes.kmz", "changes.gpkg", "changes.parquet",
}  # fmt: skip


def analyse(site: Path, out: Path, *more: str) -> int:
    """Run the command as a user would."""
    arguments = ["analyse", "--catalog", str(site / "catalog.json"), "--aoi", str(site / "aoi.geojson")]
    return main([*arguments, "--out", str(out), *more])


def digest(folder: Path) -> dict[str, str]:
    """Return the hash of every file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def products(cache: Path) -> dict[str, str]:
    """Return the hash of every kept product; what is remembered of the archive's files may grow once they have aged."""
    return {name: sha256 for name, sha256 in digest(cache).items() if not name.startswith("downloads/")}


def items(site: Path) -> list[Path]:
    """Return the Item files of a site, in time order."""
    return sorted(path for path in site.glob("rendered-*.json"))


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a JSON file."""
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


@pytest.fixture(scope="module")
def report(rendered_site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the report of the rendered site."""
    out = tmp_path_factory.mktemp("report") / "out"
    assert analyse(rendered_site, out) == 0
    return out


def test_every_file_of_the_contract_is_there(report: Path) -> None:
    found = bool(json.loads((report / "changes.geojson").read_text())["features"])
    assert {path.name for path in report.iterdir()} == FILES | ({"evidence"} if found else set())


def test_every_scene_is_accounted_for_in_the_looks(report: Path, rendered_site: Path) -> None:
    looks = json.loads((report / "looks.geojson").read_text())["features"]
    assert [look["properties"]["scene_id"] for look in looks] == [path.stem for path in items(rendered_site)]
    assert sum(look["properties"]["reference"] for look in looks) == 1


def test_displacements_undo_the_known_geolocation_error(report: Path, rendered_site: Path) -> None:
    truth = json.loads((rendered_site / "truth.geojson").read_text())["scenes"]
    looks = [
        feature["properties"] for feature in json.loads((report / "looks.geojson").read_text())["features"]
    ]
    reference = next(truth[look["scene_id"]] for look in looks if look["reference"])
    for look in looks:
        for axis in ("east_m", "north_m"):
            wanted = truth[look["scene_id"]][axis] - reference[axis]
            assert look["displacement"][axis] == pytest.approx(wanted, abs=0.25), look["scene_id"]


def test_onset_is_an_interval_between_two_looks(report: Path, rendered_site: Path) -> None:
    times = {json.loads(path.read_text())["properties"]["datetime"] for path in items(rendered_site)}
    for feature in json.loads((report / "changes.geojson").read_text())["features"]:
        said = feature["properties"]
        assert said["last_absent"] < said["first_seen"]
        assert {said["last_absent"], said["first_seen"]} <= times
        assert 0 <= said["confidence"] <= 1


def test_report_json_seals_every_other_file(report: Path) -> None:
    files = json.loads((report / "report.json").read_text())["files"]
    sealed = {entry["path"]: entry["sha256"] for entry in files}
    others = digest(report)
    del others["report.json"]
    assert sealed == others


def test_the_same_input_gives_the_same_bytes(report: Path, rendered_site: Path, tmp_path: Path) -> None:
    assert analyse(rendered_site, tmp_path / "again") == 0
    assert digest(tmp_path / "again") == digest(report)


@pytest.mark.long
def test_two_workers_give_the_same_bytes_as_one(report: Path, rendered_site: Path, tmp_path: Path) -> None:
    assert analyse(rendered_site, tmp_path / "two", "--workers", "2") == 0
    assert digest(tmp_path / "two") == digest(report)


def test_a_kept_cache_gives_the_same_bytes_without_reading_again(
    report: Path, own_site: Path, tmp_path: Path
) -> None:
    cache = str(tmp_path / "cache")
    assert analyse(own_site, tmp_path / "first", "--cache", cache) == 0
    made = products(tmp_path / "cache")
    assert made
    assert analyse(own_site, tmp_path / "second", "--cache", cache) == 0
    assert products(tmp_path / "cache") == made
    assert digest(tmp_path / "first") == digest(tmp_path / "second")


def test_the_order_of_scenes_in_the_catalog_does_not_matter(
    report: Path, own_site: Path, tmp_path: Path
) -> None:
    edit(own_site / "catalog.json", lambda catalog: catalog["links"].reverse())
    assert analyse(own_site, tmp_path / "out") == 0
    first = json.loads((report / "changes.geojson").read_text())
    assert json.loads((tmp_path / "out" / "changes.geojson").read_text()) == first


def test_one_scene_alone_says_that_nothing_can_be_compared(own_site: Path, tmp_path: Path) -> None:
    only = items(own_site)[0]
    edit(
        own_site / "catalog.json",
        lambda catalog: catalog.update(
            links=[link for link in catalog["links"] if link["href"] == f"./{only.name}"]
        ),
    )
    assert analyse(own_site, tmp_path / "out") == 0
    said = json.loads((tmp_path / "out" / "report.json").read_text())
    assert json.loads((tmp_path / "out" / "changes.geojson").read_text())["features"] == []
    assert any("nothing can be compared" in warning for warning in said["warnings"])


def test_a_period_without_scenes_is_not_observable_and_no_failure(
    rendered_site: Path, tmp_path: Path
) -> None:
    assert analyse(rendered_site, tmp_path / "out", "--period", "2019-01-01/2019-03-01") == 0
    said = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (said["verdict"], said["looks_usable"]) == ("not_observable", 0)
    assert "no usable scene of this site in the period" in said["warnings"][0]


def test_a_look_that_shows_nothing_never_counts_as_absence(own_site: Path, tmp_path: Path) -> None:
    for path in sorted(own_site.glob("*-mask.tif"))[1:]:
        with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as sheet:
            sheet.write(np.ones((1, *sheet.shape), np.uint8))
    assert analyse(own_site, tmp_path / "out") == 0
    said = json.loads((tmp_path / "out" / "report.json").read_text())
    assert json.loads((tmp_path / "out" / "changes.geojson").read_text())["features"] == []
    assert any("nothing can be compared" in warning for warning in said["warnings"])


def test_one_bad_scene_among_good_ones_is_named_and_does_not_stop_the_rest(
    own_site: Path, tmp_path: Path
) -> None:
    bad = items(own_site)[1].with_suffix(".tif")
    bad.write_bytes(bad.read_bytes()[:3000])
    assert analyse(own_site, tmp_path / "out") == 0
    refused = json.loads((tmp_path / "out" / "report.json").read_text())["refused"]
    assert len(refused) == 1
    assert bad.stem in json.dumps(refused)


# --- what a hurried user gets wrong: exit 2, one line, nothing left behind ------------------------------------------


def aoi_with(ring: list[list[float]], kind: str = "Polygon") -> dict[str, Any]:
    """Return a bare geometry."""
    return {"type": kind, "coordinates": [ring]}


def _ring(site: Path) -> list[list[float]]:
    ring: list[list[float]] = json.loads((site / "aoi.geojson").read_text())["geometry"]["coordinates"][0]
    return ring


AOI_MISTAKES: dict[str, Callable[[list[list[float]]], object]] = {
    "empty": lambda ring: {"type": "FeatureCollection", "features": []},
    "self-crossing": lambda ring: aoi_with([ring[0], ring[2], ring[1], ring[3], ring[0]]),
    "elsewhere": lambda ring: aoi_with([[x + 5, y] for x, y in ring]),
    "over the antimeridian": lambda ring: aoi_with([[179.99, 10], [-179.99, 10], [-179.99, 10.01], [179.99, 10.01], [179.99, 10]]),
    "tiny": lambda ring: aoi_with([[ring[0][0] + (x - ring[0][0]) / 1e4, ring[0][1] + (y - ring[0][1]) / 1e4] for x, y in ring]),
    "huge": lambda ring: aoi_with([[10, 40], [30, 40], [30, 60], [10, 60], [10, 40]]),
    "latitude first": lambda ring: aoi_with([[y, x] for x, y in ring]),
    "a line": lambda ring: {"type": "LineString", "coordinates": ring},
    "not a number": lambda ring: aoi_with([[float("nan"), y] for _, y in ring]),
    "no GeoJSON": lambda ring: "nothing of the kind",
}  # fmt: skip


@pytest.mark.parametrize("mistake", AOI_MISTAKES)
def test_an_unusable_aoi_is_one_line_and_exit_2(
    mistake: str, rendered_site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = tmp_path / "aoi.geojson"
    wrong.write_text(json.dumps(AOI_MISTAKES[mistake](_ring(rendered_site))))
    out = tmp_path / "out"
    assert main(["analyse", "--catalog", str(rendered_site), "--aoi", str(wrong), "--out", str(out)]) == 2
    _one_line(capsys)
    assert not out.exists()


def _only_scene(site: Path) -> Path:
    """Leave one scene in the catalog; return its raster."""
    only = items(site)[0]
    edit(
        site / "catalog.json",
        lambda c: c.update(links=[k for k in c["links"] if k["href"] == f"./{only.name}"]),
    )
    return only.with_suffix(".tif")


def _rewrite(path: Path, **profile: object) -> None:
    with rasterio.open(path) as sheet:
        pixels, given = sheet.read(), sheet.profile
    given = {key: given[key] for key in ("height", "width", "count", "dtype", "crs", "transform", "nodata")}
    given |= {"driver": "GTiff"} | profile
    path.unlink()
    with rasterio.open(path, "w", **given) as sheet:
        sheet.write(pixels[: given["count"]].astype(given["dtype"]))


def _header_of_100000(path: Path) -> None:
    path.unlink()
    with rasterio.open(
        path, "w", driver="GTiff", height=100_000, width=100_000, count=4, dtype="uint16", sparse_ok=True, tiled=True,
        crs="EPSG:32633", transform=Affine(0.5, 0, 5e5, 0, -0.5, 5.5e6),
    ):  # fmt: skip
        pass


SCENE_MISTAKES: dict[str, Callable[[Path], None]] = {
    "no time": lambda path: edit(path.with_suffix(".json"), lambda item: item["properties"].update(datetime=None)),
    "no CRS": lambda path: _rewrite(path, crs=None),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:20_000]) and None,
    "0 bytes": lambda path: path.write_bytes(b"") and None,
    "wrong band count": lambda path: _rewrite(path, count=2),
    "a VRT in disguise": lambda path: path.write_text('<VRTDataset rasterXSize="9" rasterYSize="9"></VRTDataset>') and None,
    "100,000 x 100,000": _header_of_100000,
    "missing": lambda path: path.unlink(),
}  # fmt: skip


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (lambda site: ("--aoi", str(_written(site, {"type": "Polygon", "coordinates": [[[y, x] for x, y in _ring(site)]]})),
                       "--period", "1999-01-01/1999-02-01"), "aoi-outside-scenes: no scene covers the AOI, but"),
        (lambda site: ("--catalog", str(site / "aoi.geojson")), "unreadable-archive: aoi.geojson: is a GeoJSON of places"),
        (lambda site: ("--catalog", str(next(site.rglob("*.tif")))), "is one picture and no archive; give the folder it lies in"),
        (lambda site: ("--catalog", "http://127.0.0.1:9/"), "(nothing answers there: Connection refused)"),
        (lambda site: ("--aoi", str(site)), "aoi-unreadable: {site}: is a folder"),
    ],
    ids=["swapped and no scenes then", "aoi as catalog", "one file", "nothing there", "a folder as aoi"],
)  # fmt: skip
def test_what_was_mixed_up_is_told(
    given: Callable[[Path], tuple[str, ...]],
    told: str,
    own_site: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert analyse(own_site, tmp_path / "out", *given(own_site)) == 2
    assert told.format(site=own_site) in capsys.readouterr().err


def _written(site: Path, document: object) -> Path:
    place = site.parent / "other.geojson"
    place.write_text(json.dumps(document))
    return place


@pytest.mark.parametrize("mistake", SCENE_MISTAKES)
def test_an_archive_without_one_usable_scene_is_one_line_and_exit_2(
    mistake: str, own_site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    SCENE_MISTAKES[mistake](_only_scene(own_site))
    out = tmp_path / "out"
    assert analyse(own_site, out) == 2
    _one_line(capsys)
    assert not out.exists()


def test_a_folder_that_is_not_empty_is_left_as_it_is(
    rendered_site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert analyse(rendered_site, tmp_path) == 2
    _one_line(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    "wrong",
    [
        ("--period", "2024-06-30/2024-01-01"),
        ("--period", "last week"),
        ("--gsd", "-1"),
        ("--workers", "0"),
        ("--max-shift", "1e9"),
        ("--catalog", "no/such/place"),
    ],
)
def test_options_that_cannot_be_meant_are_one_line_and_exit_2(
    wrong: tuple[str, str], rendered_site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert analyse(rendered_site, tmp_path / "out", *wrong) == 2
    _one_line(capsys)
    assert not (tmp_path / "out").exists()


def _one_line(capsys: pytest.CaptureFixture[str]) -> None:
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1, said.err
    assert said.err.startswith("depotwatch analyse: ")


def test_a_south_up_raster_gives_the_same_changes(report: Path, own_site: Path, tmp_path: Path) -> None:
    for item in items(own_site):
        path = item.with_suffix(".tif")
        with rasterio.open(path) as sheet:
            pixels, given = sheet.read(), sheet.profile
        flipped = given["transform"] @ Affine.translation(0, given["height"]) @ Affine.scale(1, -1)
        given = {key: given[key] for key in ("height", "width", "count", "dtype", "crs", "nodata")}
        path.unlink()
        with rasterio.open(path, "w", driver="GTiff", transform=flipped, **given) as sheet:
            sheet.write(pixels[:, ::-1])
    assert analyse(own_site, tmp_path / "out") == 0

    def told(folder: Path) -> list[tuple[str, str, str]]:
        features = json.loads((folder / "changes.geojson").read_text())["features"]
        return sorted(
            (f["properties"]["change_type"], f["properties"]["direction"], f["properties"]["first_seen"])
            for f in features
        )

    assert told(tmp_path / "out") == told(report)


def test_a_plain_folder_of_geotiffs_is_an_archive(own_site: Path, tmp_path: Path) -> None:
    folder = tmp_path / "scenes"
    folder.mkdir()
    for item in items(own_site):
        shutil.copy(item.with_suffix(".tif"), folder / f"{item.stem}.tif")
    aoi = str(own_site / "aoi.geojson")
    assert main(["analyse", "--catalog", str(folder), "--aoi", aoi, "--out", str(tmp_path / "out")]) == 0
    looks = json.loads((tmp_path / "out" / "looks.geojson").read_text())["features"]
    assert len(looks) == 4
