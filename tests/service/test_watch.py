"""Archives looked at again: a new scene becomes work for the sites it covers, once; silence is told."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from sqlalchemy import select, update
from starlette.testclient import TestClient

from pipelines.archives import open_archive
from service.archives import _first_version, add_archive, scene_version
from service.context import Service
from service.jobs import JobRequest, submit
from service.tables import archives, scenes
from service.tenancy import ensure_tenant
from service.watch import SILENT, Watch, note_silence
from tests.service.support import client_of, feature, square, work_off

# A square of 0.01 degrees at 30 E 50 N lies within these UTM 36N metres.
EAST_M, NORTH_M = 284_000.0, 5_546_000.0


def write_scene(
    folder: Path, name: str, day: str, *, east_m: float = EAST_M, side: bool = True, bands: int = 1
) -> None:
    """A small GeoTIFF over the square, with its time beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(int(day.replace("-", ""))).integers(
        1, 4000, (bands, 64, 64), dtype=np.uint16
    )
    profile = {
        "driver": "GTiff",
        "width": 64,
        "height": 64,
        "count": bands,
        "dtype": "uint16",
        "crs": "EPSG:32636",
    }
    if side:
        text = {"datetime": f"{day}T10:00:00Z", "sun_azimuth": 150.0, "sun_elevation": 40.0}
        (folder / f"{name}.json").write_text(json.dumps(text))
    with rasterio.open(
        folder / f"{name}.tif", "w", transform=Affine(40.0, 0.0, east_m, 0.0, -40.0, NORTH_M), **profile
    ) as file:
        file.write(pixels)


@pytest.fixture
def folder(service: Service, tmp_path: Path) -> Path:
    """A folder archive, empty, of the first tenant."""
    place = tmp_path / "scenes"
    place.mkdir()
    with service.database.write() as connection:
        tenant = ensure_tenant(service.database, connection, "first")
        add_archive(service.database, connection, "mine", "folder", str(place), tenant)
    return place


def look(service: Service) -> None:
    """Look at every archive as if it were due."""
    with service.database.write() as connection:
        connection.execute(update(archives).values(watched=None))
    assert Watch(service.database, service.settings, "test").run_due() >= 1


def new_jobs(client: TestClient) -> list[str]:
    found = client.get("/jobs").json()["jobs"]
    return [j["id"] for j in found if j["reason"] == "new-scenes"]


def test_a_new_scene_makes_work_for_the_sites_it_covers_once(service: Service, folder: Path) -> None:
    client = client_of(service)
    near = client.post("/sites", json=feature("near")).json()["id"]
    client.post("/sites", json=feature("far", geometry=square(-30.0)))
    other = client_of(service, tenant="second")
    other.post("/sites", json=feature("theirs"))
    work_off(service)
    look(service)
    assert new_jobs(client) == []

    write_scene(folder, "one", "2024-05-01")
    look(service)
    jobs = new_jobs(client)
    assert len(jobs) == 1
    look(service)
    assert new_jobs(client) == jobs, "nothing new, no work"
    assert new_jobs(other) == []
    work_off(service)
    results = client.get(f"/jobs/{jobs[0]}/results").json()["results"]
    assert [r["site"] for r in results] == [near]


def test_two_scenes_before_the_first_is_worked_on_make_one_job(service: Service, folder: Path) -> None:
    client = client_of(service)
    client.post("/sites", json=feature("near", analyse=False))
    for name, day in (("one", "2024-05-01"), ("two", "2024-06-01")):
        write_scene(folder, name, day)
        look(service)
    assert len(new_jobs(client)) == 1


@pytest.mark.parametrize(
    ("kind", "period"), [("verify", None), ("reprocess", None), ("analyse", "2020-01-01/2020-12-31")]
)
def test_work_that_need_not_see_a_new_scene_does_not_stand_for_the_work_that_must(
    service: Service, folder: Path, kind: str, period: str | None
) -> None:
    client = client_of(service)
    site = client.post("/sites", json=feature("near", analyse=False)).json()
    with service.database.write() as connection:
        tenant = ensure_tenant(service.database, connection, "first")
        submit(
            service.database, connection, tenant, JobRequest(kind, [site["id"]], period, {}), max_queued=10
        )
    for name, day in (("one", "2024-05-01"), ("two", "2024-06-01")):
        write_scene(folder, name, day)
        look(service)
        assert len(new_jobs(client)) == 1


def test_a_scene_that_was_replaced_is_new_and_one_that_went_is_gone(service: Service, folder: Path) -> None:
    client = client_of(service)
    client.post("/sites", json=feature("near", analyse=False))
    write_scene(folder, "one", "2024-05-01")
    write_scene(folder, "two", "2024-06-01")
    look(service)
    work_off(service)
    write_scene(folder, "one", "2024-05-03")
    look(service)
    assert len(new_jobs(client)) == 2
    (folder / "two.tif").unlink()
    look(service)
    with service.database.read() as connection:
        left = list(connection.execute(select(scenes.c.scene_id)).scalars())
    assert len(left) == 1


def test_a_scene_whose_description_was_corrected_is_new_once(service: Service, folder: Path) -> None:
    client = client_of(service)
    client.post("/sites", json=feature("near", analyse=False))
    write_scene(folder, "one", "2024-05-01")
    look(service)
    work_off(service)
    text = {"datetime": "2024-05-01T10:00:00Z", "sun_azimuth": 150.0, "sun_elevation": 35.0}
    (folder / "one.json").write_text(json.dumps(text))
    look(service)
    assert len(new_jobs(client)) == 2
    work_off(service)
    write_scene(folder, "elsewhere", "2024-05-01", east_m=EAST_M + 9e4)
    look(service)
    assert len(new_jobs(client)) == 2


def test_scenes_known_by_files_and_time_alone_are_not_new(service: Service, folder: Path) -> None:
    client = client_of(service)
    client.post("/sites", json=feature("near", analyse=False))
    write_scene(folder, "one", "2024-05-01")
    look(service)
    work_off(service)
    (scene,) = open_archive(str(folder)).search().scenes
    with service.database.write() as connection:
        connection.execute(update(scenes).values(version=_first_version(scene)))
        connection.execute(update(archives).values(watch_cursor=None))
    look(service)
    assert len(new_jobs(client)) == 1
    with service.database.read() as connection:
        assert connection.execute(select(scenes.c.version)).scalar_one() == scene_version(scene)


def test_what_is_noted_of_the_scenes_beside_it_makes_no_scene_new(folder: Path) -> None:
    write_scene(folder, "one", "2024-05-01")
    (scene,) = open_archive(str(folder)).search().scenes
    assert scene_version(replace(scene, notes=("one pass with two",))) == scene_version(scene)
    assert scene_version(replace(scene, gsd_m=39.0)) != scene_version(scene)


def test_the_forecast_comes_from_what_the_archives_hold(service: Service, folder: Path) -> None:
    for i, day in enumerate(("2024-05-01", "2024-05-11", "2024-05-21")):
        write_scene(folder, f"s{i}", day)
    look(service)
    client = client_of(service)
    made = client.post("/sites", json=feature("near", analyse=False)).json()
    coverage = made["coverage"]
    assert coverage["scenes"] == 3
    assert coverage["first"].startswith("2024-05-01")
    assert coverage["median_gap_days"] == 10
    assert made["warnings"] == []
    swapped = client.post(
        "/sites", json=feature("swapped", geometry=square(50.0, 30.0), analyse=False)
    ).json()
    assert "exchanged" in " ".join(swapped["warnings"])
    listed = client.get("/archives").json()["archives"]
    assert [(a["name"], a["scenes"]) for a in listed] == [("mine", 3)]
    assert "source" not in listed[0]


def test_silence_is_told_and_taken_back(service: Service, folder: Path) -> None:
    client = client_of(service)
    site = client.post("/sites", json=feature("near", analyse=False)).json()["id"]
    for i in range(5):
        write_scene(folder, f"s{i}", f"2024-05-{1 + 5 * i:02}")
    look(service)
    warned = client.get(f"/sites/{site}").json()["standing_warnings"]
    assert [w["code"] for w in warned] == [SILENT]
    with service.database.write() as connection:
        newest = select(scenes.c.id).order_by(scenes.c.at.desc()).limit(1).scalar_subquery()
        connection.execute(update(scenes).where(scenes.c.id == newest).values(at=service.database.now))
    note_silence(service.database, service.settings)
    assert client.get(f"/sites/{site}").json()["standing_warnings"] == []


def test_an_unreadable_archive_is_noted_and_does_not_stop_the_watch(service: Service, folder: Path) -> None:
    (folder / "catalog.json").write_text("{")
    look(service)
    with service.database.read() as connection:
        assert "unreadable" in str(connection.execute(select(archives.c.watch_error)).scalar_one())
    (folder / "catalog.json").unlink()
    look(service)
    with service.database.read() as connection:
        assert connection.execute(select(archives.c.watch_error)).scalar_one() is None


def upload(client: TestClient, source: Path, **query: str) -> object:
    side = source.with_suffix(".json")
    item = side.read_text() if side.exists() else None
    with source.open("rb") as file:
        data = {"item": item} if item else {}
        return client.post(
            "/archives/mine/scenes", params=query, files={"file": (source.name, file)}, data=data
        )


def test_an_upload_is_checked_hashed_indexed_and_makes_work(
    service: Service, folder: Path, tmp_path: Path
) -> None:
    client = client_of(service, "archives:write", "sites:write", "sites:read", "reports:read")
    client.post("/sites", json=feature("near", analyse=False))
    write_scene(tmp_path / "out", "one", "2024-05-01")
    made = upload(client, tmp_path / "out" / "one.tif")
    assert made.status_code == 201, made.text  # type: ignore[attr-defined]
    body = made.json()  # type: ignore[attr-defined]
    assert body["time"] == "2024-05-01T10:00:00Z"
    assert len(body["jobs"]) == 1
    assert len(body["sha256"]) == 64
    archive = client.get(made.headers["location"]).json()  # type: ignore[attr-defined]
    assert (archive["name"], archive["scenes"]) == ("mine", 1)
    assert client.get("/archives/none").status_code == 404
    assert sorted(p.name for p in folder.iterdir()) == ["one.json", "one.tif"]
    again = upload(client, tmp_path / "out" / "one.tif")
    assert again.status_code == 409  # type: ignore[attr-defined]


def test_an_upload_that_lacks_its_time_or_is_no_geotiff_is_refused_and_leaves_nothing(
    service: Service, folder: Path, tmp_path: Path
) -> None:
    client = client_of(service)
    write_scene(tmp_path / "out", "one", "2024-05-01", side=False)
    missing = upload(client, tmp_path / "out" / "one.tif")
    assert missing.status_code == 422  # type: ignore[attr-defined]
    assert "time" in missing.json()["detail"]  # type: ignore[attr-defined]
    vrt = tmp_path / "evil.tif"
    vrt.write_text('<VRTDataset rasterXSize="1" rasterYSize="1"><VRTRasterBand/></VRTDataset>')
    refused = upload(client, vrt)
    assert refused.status_code == 422  # type: ignore[attr-defined]
    assert str(service.settings.data) not in refused.text  # type: ignore[attr-defined]
    for name in ("../up", "a/b", "..", "", "x" * 129, ".hidden", "a\0b"):
        answer = upload(client, vrt, scene_id=name)
        assert answer.status_code in {400, 422}, name  # type: ignore[attr-defined]
    assert list(folder.iterdir()) == []
    assert not any((service.settings.data / "tmp").iterdir())


@pytest.mark.parametrize(
    "name", ["catalog", "Collection", "scenes", "one_mask", "one-cloud-mask", "one_SCL_20m"]
)
def test_an_upload_cannot_take_a_name_that_speaks_of_other_scenes(
    service: Service, folder: Path, tmp_path: Path, name: str
) -> None:
    write_scene(folder, "one", "2024-05-01")
    look(service)
    before = sorted(p.name for p in folder.iterdir())
    write_scene(tmp_path / "out", "two", "2024-06-01")
    client = client_of(service)
    answer = upload(client, tmp_path / "out" / "two.tif", scene_id=name)
    assert answer.status_code == 422, answer.text  # type: ignore[attr-defined]
    assert answer.json()["errors"][0]["pointer"] == "/scene_id"  # type: ignore[attr-defined]
    assert sorted(p.name for p in folder.iterdir()) == before
    look(service)
    assert client.get("/archives/mine").json()["scenes"] == 1


@pytest.mark.parametrize("field", ["mask", "file", "id"])
def test_an_upload_says_nothing_of_other_files(
    service: Service, folder: Path, tmp_path: Path, field: str
) -> None:
    write_scene(folder, "one", "2024-05-01")
    write_scene(tmp_path / "out", "two", "2024-06-01")
    side = {"datetime": "2024-06-01T10:00:00Z", field: "one.tif" if field != "id" else "one"}
    (tmp_path / "out" / "two.json").write_text(json.dumps(side))
    answer = upload(client_of(service), tmp_path / "out" / "two.tif")
    assert answer.status_code == 422, answer.text  # type: ignore[attr-defined]
    assert answer.json()["errors"][0]["pointer"] == f"/item/{field}"  # type: ignore[attr-defined]
    assert sorted(p.name for p in folder.iterdir()) == ["one.json", "one.tif"]


def described(*bands: dict[str, object], **more: object) -> str:
    """A STAC Item with one asset of pixels."""
    asset = {"href": "./there.tif", "type": "image/tiff", "roles": ["data"], **more}
    if bands:
        asset["eo:bands"] = list(bands)
    item = {"type": "Feature", "id": "x", "properties": {"datetime": "2024-05-01T10:00:00Z"}}
    return json.dumps({**item, "assets": {"data": asset}})


def test_an_uploaded_item_says_which_band_is_which_and_how_they_are_scaled(
    service: Service, folder: Path, tmp_path: Path
) -> None:
    write_scene(tmp_path / "out", "one", "2024-05-01", bands=3)
    item = described(
        {"name": "blue"}, {"name": "B03"}, {"common_name": "red"},
        **{"raster:bands": [{"scale": 0.0002, "offset": -0.1, "nodata": "nan"}] * 3},
    )  # fmt: skip
    (tmp_path / "out" / "one.json").write_text(item)
    made = upload(client_of(service), tmp_path / "out" / "one.tif")
    assert made.status_code == 201, made.text  # type: ignore[attr-defined]
    bands = open_archive(str(folder)).search().scenes[0].bands
    assert [band.name for band in bands] == ["blue", "green", "red"]
    assert {(band.scale, band.offset, str(band.nodata)) for band in bands} == {(0.0002, -0.1, "nan")}


def test_an_uploaded_item_that_one_side_file_cannot_say_is_refused(
    service: Service, folder: Path, tmp_path: Path
) -> None:
    write_scene(tmp_path / "out", "one", "2024-05-01", bands=3)
    unlike = [{"scale": 0.1}, {"scale": 0.2}, {"scale": 0.1}]
    for item in (
        described(**{"raster:bands": unlike}),
        described()
        .replace('"data":', '"B02":')
        .replace("}}}", '}, "B03": {"href": "b.tif", "roles": ["data"]}}}'),
    ):
        (tmp_path / "out" / "one.json").write_text(item)
        answer = upload(client_of(service), tmp_path / "out" / "one.tif")
        assert answer.status_code == 422, answer.text  # type: ignore[attr-defined]
        assert answer.json()["errors"][0]["pointer"] == "/item/assets"  # type: ignore[attr-defined]
    assert list(folder.iterdir()) == []


def test_a_second_copy_is_refused_and_not_kept(service: Service, folder: Path, tmp_path: Path) -> None:
    client = client_of(service)
    write_scene(tmp_path / "out", "one", "2024-05-01")
    assert upload(client, tmp_path / "out" / "one.tif").status_code == 201  # type: ignore[attr-defined]
    for _ in range(2):
        copy = upload(client, tmp_path / "out" / "one.tif", scene_id="zwei")
        assert copy.status_code == 422, copy.text  # type: ignore[attr-defined]
        fault = copy.json()["errors"][0]  # type: ignore[attr-defined]
        assert (fault["pointer"], fault["code"]) == ("/file", "duplicate-acquisition")
        assert "one" in fault["detail"]
    assert sorted(p.name for p in folder.iterdir()) == ["one.json", "one.tif"]


def test_an_upload_never_writes_over_what_is_there(service: Service, folder: Path, tmp_path: Path) -> None:
    """A side file, an ending in capitals, another upload of that name under way."""
    client = client_of(service)
    write_scene(tmp_path / "out", "one", "2024-05-01")
    for there in ("one.json", "ONE.TIFF", "one_mask.tif", ".one.upload"):
        (folder / there).write_text("theirs")
        taken = upload(client, tmp_path / "out" / "one.tif")
        assert (taken.status_code, taken.json()["code"]) == (409, "name-taken"), there  # type: ignore[attr-defined]
        assert [(p.name, p.read_text()) for p in folder.iterdir()] == [(there, "theirs")]
        (folder / there).unlink()
    assert upload(client, tmp_path / "out" / "one.tif").status_code == 201  # type: ignore[attr-defined]


def test_an_upload_past_the_limit_is_cut_off(service: Service, folder: Path) -> None:
    service.settings = service.settings.model_copy(update={"max_upload_bytes": 10_000})
    client = client_of(service)
    answer = client.post("/archives/mine/scenes", files={"file": ("a.tif", b"x" * 50_000)})
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")
    assert client.post("/archives/mine/scenes", json={}).status_code == 415
    assert client.post("/archives/none/scenes", files={"file": ("a.tif", b"x")}).status_code == 404
    assert list(folder.iterdir()) == []


def test_a_shared_archive_takes_uploads_from_admins_only(service: Service, folder: Path) -> None:
    with service.database.write() as connection:
        connection.execute(update(archives).values(tenant=None))
    writer = client_of(service, "archives:write")
    assert writer.post("/archives/mine/scenes", files={"file": ("a.tif", b"x")}).status_code == 403
