"""``POST /jobs {type: verify}``: what was published comes out again, or the step that differs is named."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, update
from starlette.testclient import TestClient

from benchmarks.service_fake import FakeRunner
from service.analysis_unit import AnalyseUnit, SiteRunner, Step
from service.archives import add_archive
from service.context import Service
from service.tables import report_files
from service.tenancy import ensure_tenant
from tests.service.support import client_of, feature, work_off

SAMPLE = Path(__file__).parents[2] / "sample_tiles" / "depot-10m"


def with_reports(service: Service, *names: str) -> tuple[TestClient, list[str]]:
    client = client_of(service)
    made = [client.post("/sites", json=feature(name)).json()["id"] for name in names]
    work_off(service)
    return client, made


def verified(client: TestClient, service: Service, runner: Any = None, sites: Any = "all") -> dict[str, Any]:
    """Submit, work off, and return the job with its results."""
    job = client.post("/jobs", json={"type": "verify", "sites": sites})
    assert job.status_code == 202, job.text
    work_off(service, runner)
    shown: dict[str, Any] = client.get(f"/jobs/{job.json()['id']}").json()
    shown["results"] = client.get(f"/jobs/{shown['id']}/results").json()["results"]
    shown["lines"] = client.get(f"/jobs/{shown['id']}/logs").json()["lines"]
    return shown


@dataclass(frozen=True, slots=True)
class DriftingRunner(FakeRunner):
    """Does a step differently than when the report was made."""

    file: str = ""

    def __call__(self, unit: AnalyseUnit, out: Path, step: Step) -> None:
        FakeRunner.__call__(self, unit, out, step)
        if self.file == "report.json:looks":
            report = json.loads((out / "report.json").read_text())
            report["looks"][1]["usable_fraction"] = 0.5
            (out / "report.json").write_text(json.dumps(report))
        else:
            (out / self.file).write_bytes((out / self.file).read_bytes() + b" ")


def test_what_comes_out_again_is_verified_and_nothing_else_happens(service: Service) -> None:
    client, sites = with_reports(service, "North", "South")
    before = {site: client.get(f"/sites/{site}/reports/latest").json() for site in sites}
    cursor = client.get("/changes").json()["cursor"]
    job = verified(client, service)
    assert (job["state"], job["units"]["done"], job["units"]["failed"]) == ("successful", 2, 0)
    for result in job["results"]:
        assert (result["state"], result["code"]) == ("successful", "verified")
        assert result["report"] == before[result["site"]]["id"]
        assert "byte for byte the same" in result["detail"]
    for site in sites:
        assert client.get(f"/sites/{site}/reports/latest").json() == before[site]
        assert len(client.get(f"/sites/{site}/reports").json()["reports"]) == 1
    assert client.get(f"/changes?since={cursor}").json()["entries"] == []


@pytest.mark.parametrize(
    ("file", "step"),
    [
        ("changes.geojson", "changes"),
        ("timeline.csv", "report"),
        ("report.json:looks", "looks differs, first at scene scene-1"),
    ],
)
def test_the_step_that_first_differs_is_named(lite_service: Service, file: str, step: str) -> None:
    client, _ = with_reports(lite_service, "North")
    job = verified(client, lite_service, DriftingRunner(file=file))
    assert job["state"] == "failed"
    (result,) = job["results"]
    assert (result["state"], result["code"]) == ("failed", "not-verified")
    assert f"step {step}" in result["detail"]
    assert file.partition(":")[0] in result["detail"]
    assert [(line["level"], line["code"]) for line in job["lines"]] == [("error", "not-verified")]


def test_a_damaged_or_lost_bundle_is_said_to_be_so(lite_service: Service) -> None:
    client, (damaged, lost, _) = with_reports(lite_service, "Damaged", "Lost", "Whole")
    other = lite_service.store.put_bytes(b"no zip")
    for site, digest in ((damaged, other), (lost, "0" * 64)):
        report = client.get(f"/sites/{site}/reports/latest").json()["id"]
        with lite_service.database.write() as connection:
            connection.execute(
                update(report_files)
                .where(report_files.c.report == report, report_files.c.path == "bundle.zip")
                .values(sha256=digest, size=6)
            )
    job = verified(client, lite_service)
    assert [result["code"] for result in job["results"]] == ["bad-bundle", "not-verified", "verified"]
    assert "gone from the artefact store" in job["results"][1]["detail"]
    assert (job["state"], job["units"]["failed"], job["units"]["done"]) == ("successful", 2, 1)


def test_a_site_without_a_report_is_skipped(lite_service: Service) -> None:
    client = client_of(lite_service)
    client.post("/sites", json=feature("New", analyse=False))
    job = verified(client, lite_service)
    assert (job["state"], job["units"]["skipped"]) == ("successful", 1)
    assert job["results"][0]["code"] == "no-report-yet"


def test_a_report_is_verified_as_it_was_asked_for(lite_service: Service) -> None:
    client, (site,) = with_reports(lite_service, "North")
    asked = {"sites": [site], "period": "2024-01-01/..", "parameters": {"min_confidence": 0.4}}
    assert client.post("/jobs", json=asked).status_code == 202
    work_off(lite_service)
    assert verified(client, lite_service)["results"][0]["code"] == "verified"
    for more in ({"period": "2024-01-01/.."}, {"parameters": {"min_confidence": 0.4}}):
        refused = client.post("/jobs", json={"type": "verify", "sites": [site], **more})
        assert (refused.status_code, refused.json()["code"]) == (422, "unusable-input")


def test_a_bundle_without_its_row_fails_for_good(lite_service: Service) -> None:
    client, (site,) = with_reports(lite_service, "North")
    with lite_service.database.write() as connection:
        connection.execute(delete(report_files).where(report_files.c.path == "bundle.zip"))
    (result,) = verified(client, lite_service, sites=[site])["results"]
    assert (result["state"], result["attempts"]) == ("failed", 1)


@pytest.mark.long
def test_real_pixels_come_out_again_although_the_archive_grew(lite_service: Service, tmp_path: Path) -> None:
    client = client_of(lite_service)
    settings = lite_service.settings
    runner = SiteRunner(settings.products_place, settings.downloads_place, frozenset())
    catalog = some_scenes(tmp_path / "archive", 4)
    with lite_service.database.write() as connection:
        tenant = ensure_tenant(lite_service.database, connection, "first")
        add_archive(lite_service.database, connection, "mine", "catalog", str(catalog), tenant)
    aoi = json.loads((SAMPLE / "aoi.geojson").read_text())
    geometry = (aoi["features"][0] if "features" in aoi else aoi)["geometry"]
    site = client.post("/sites", json=feature("North", geometry=geometry)).json()["id"]
    work_off(lite_service, runner)
    report = client.get(f"/sites/{site}/reports/latest").json()
    assert len(report["generated_from"]) == 4

    some_scenes(tmp_path / "archive", 5)
    (same,) = verified(client, lite_service, runner)["results"]
    assert same["code"] == "verified", same["detail"]

    scene = report["generated_from"][1]
    path = next((tmp_path / "archive").rglob(Path(scene["files"][-1]["path"]).name))
    path.write_bytes(path.read_bytes() + b" ")
    (changed,) = verified(client, lite_service, runner)["results"]
    assert changed["code"] == "not-verified"
    assert "step search differs" in changed["detail"]
    assert path.name in changed["detail"]


def some_scenes(folder: Path, count: int) -> Path:
    """A catalog of the sample's first scenes."""
    folder.mkdir(exist_ok=True)
    catalog = json.loads((SAMPLE / "catalog.json").read_text())
    items = [link for link in catalog["links"] if link["rel"] == "item"][:count]
    catalog["links"] = [link for link in catalog["links"] if link["rel"] == "root"] + items
    for link in items:
        for path in SAMPLE.glob(f"{Path(link['href']).stem}*"):
            if not (folder / path.name).exists():
                shutil.copy(path, folder / path.name)
    (folder / "catalog.json").write_text(json.dumps(catalog))
    return folder / "catalog.json"


@pytest.mark.long
def test_two_archives_are_named_by_what_lies_in_them_and_verify(
    lite_service: Service, tmp_path: Path
) -> None:
    client = client_of(lite_service)
    settings = lite_service.settings
    runner = SiteRunner(settings.products_place, settings.downloads_place, frozenset())
    with lite_service.database.write() as connection:
        tenant = ensure_tenant(lite_service.database, connection, "first")
        for name, count in (("one", 2), ("two", 3)):
            place = tmp_path / name / "of" / "somebody"
            place.parent.mkdir(parents=True)
            catalog = some_scenes(place, count)
            add_archive(lite_service.database, connection, name, "catalog", str(catalog), tenant)
    aoi = json.loads((SAMPLE / "aoi.geojson").read_text())
    geometry = (aoi["features"][0] if "features" in aoi else aoi)["geometry"]
    site = client.post("/sites", json=feature("North", geometry=geometry)).json()["id"]
    work_off(lite_service, runner)
    report = client.get(f"/sites/{site}/reports/latest").json()
    paths = [file["path"] for scene in report["generated_from"] for file in scene["files"]]
    assert len(report["generated_from"]) == 3
    assert not any("somebody" in path or path.startswith(("one", "two", "..", "/")) for path in paths)
    (same,) = verified(client, lite_service, runner)["results"]
    assert same["code"] == "verified", same["detail"]
