"""Reprocess jobs: estimated first, checked at submission, apart from the live reports and from each other."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update
from starlette.testclient import TestClient

from benchmarks.service_fake import FakeRunner
from pipelines.memory import machine_bytes
from pipelines.parameters import BadParameter
from pipelines.runner import SerialRunner
from service import estimates
from service.analysis_unit import AnalyseUnit, SiteRunner, Step
from service.archives import ArchiveSource, add_archive, store_scenes
from service.cli import main
from service.context import Service
from service.intake import read_document
from service.server import sharing, worker_command
from service.sites import create_site
from service.tables import archives, feed, looks, reports, sites, units
from service.tenancy import LOCAL, ensure_tenant
from tests.pipelines.cluster import running_cluster
from tests.service.support import client_of, environment_of, feature, make_worker, square, work_off
from tests.service.test_verification import some_scenes

SAMPLE = Path(__file__).parents[2] / "sample_tiles" / "depot-0.5m"
# Three of its scenes.
PERIOD = "2023-05-01/2023-07-10"


def made_sites(client: TestClient, count: int, **properties: Any) -> list[str]:
    return [
        client.post("/sites", json=feature(f"site {i}", geometry=square(10 + i), **properties)).json()["id"]
        for i in range(count)
    ]


def reprocess(client: TestClient, wanted: list[str] | str = "all", **more: Any) -> str:
    answer = client.post("/jobs", json={"type": "reprocess", "sites": wanted, **more})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def live(service: Service) -> list[Any]:
    """What users are shown, as rows: current reports, geometries and news."""
    with service.database.read() as connection:
        return [
            connection.execute(
                select(sites.c.id, sites.c.current_report, sites.c.geometry_version, sites.c.version)
            ).all(),
            connection.execute(select(reports.c.id).where(reports.c.current).order_by(reports.c.id)).all(),
            connection.execute(select(func.count()).select_from(feed)).all(),
        ]


def test_a_reprocess_leaves_reports_news_and_outlines_alone(service: Service, client: TestClient) -> None:
    made = made_sites(client, 3)
    work_off(service)
    before = live(service)
    job = reprocess(client, parameters={"min_confidence": 0.9})
    assert work_off(service, FakeRunner(changes=7)) == 3
    assert live(service) == before
    results = client.get(f"/jobs/{job}/results").json()["results"]
    assert sorted(row["site"] for row in results) == sorted(made)
    for row in results:
        made_report = client.get(row["href"]).json()
        assert made_report["parameters"]["min_confidence"] == "0.9"
        assert made_report["geometry_version"] == 1
        latest = client.get(f"/sites/{row['site']}/reports/latest").json()
        assert latest["id"] != row["report"]


def test_two_reprocesses_at_once_do_not_touch_each_other(service: Service, client: TestClient) -> None:
    made = made_sites(client, 4)
    work_off(service)
    before = live(service)
    strict = reprocess(client, parameters={"min_confidence": 0.9})
    loose = reprocess(client, parameters={"min_confidence": 0.1})
    one, two = make_worker(service), make_worker(service)
    while any([one.run_one(), two.run_one()]):
        pass
    found: dict[float, set[str]] = {}
    for job, value in ((strict, 0.9), (loose, 0.1)):
        assert client.get(f"/jobs/{job}").json()["units"]["done"] == len(made)
        rows = client.get(f"/jobs/{job}/results").json()["results"]
        found[value] = {row["report"] for row in rows}
        for row in rows:
            assert client.get(row["href"]).json()["parameters"]["min_confidence"] == repr(value)
    assert len(found[0.9]) == len(found[0.1]) == len(made)
    assert not found[0.9] & found[0.1]
    assert live(service) == before


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({"min_confidence": 1.5}, "min_confidence"),
        ({"gsd_m": 0}, "gsd_m"),
        ({"max_shift_m": "far"}, "max_shift_m"),
        ({"network": 1}, "network"),
        ({"sharpness": 3}, "sharpness"),
    ],
)
@pytest.mark.parametrize("address", ["/jobs", "/jobs?estimate=true"])
def test_a_parameter_that_cannot_be_meant_is_named_and_starts_nothing(
    lite_client: TestClient, address: str, parameters: dict[str, Any], name: str
) -> None:
    made_sites(lite_client, 1)
    count = len(lite_client.get("/jobs").json()["jobs"])
    body = {"type": "reprocess", "sites": "all", "parameters": parameters}
    answer = lite_client.post(address, json=body)
    assert answer.status_code == 422
    assert answer.json()["code"] == "bad-parameter"
    assert answer.json()["errors"][0]["pointer"] == f"/parameters/{name}"
    assert name in answer.json()["detail"]
    assert len(lite_client.get("/jobs").json()["jobs"]) == count


def with_archive(service: Service, place: Path = SAMPLE / "catalog.json", tenant: str = "first") -> Any:
    """The sample scenes as an indexed archive; their footprint's site as GeoJSON."""
    from pipelines.archives import open_archive

    found = open_archive(str(place)).search(None, None).scenes
    with service.database.write() as connection:
        owner = ensure_tenant(service.database, connection, tenant)
        add_archive(service.database, connection, "samples", "catalog", str(place), owner)
        archive = connection.execute(select(archives.c.id)).scalar_one()
        store_scenes(service.database, connection, archive, found, whole=True)
    aoi = json.loads((SAMPLE / "aoi.geojson").read_text("utf-8"))
    return aoi["features"][0]["geometry"] if aoi["type"] == "FeatureCollection" else aoi["geometry"]


def test_an_estimate_counts_scenes_and_pixels_and_starts_nothing(
    service: Service, client: TestClient
) -> None:
    geometry = with_archive(service)
    site = client.post("/sites", json=feature("depot", geometry=geometry, analyse=False)).json()["id"]
    body = {"type": "reprocess", "sites": [site], "parameters": {"gsd_m": 0.5}}
    by_query = client.post("/jobs?estimate=true", json=body)
    by_body = client.post("/jobs", json={**body, "estimate": True})
    assert by_query.status_code == by_body.status_code == 200
    told = by_query.json()
    assert told == by_body.json()
    assert (told["sites"], told["scenes"]) == (1, 12)
    # At half the pixel size there are about four times the pixels.
    half = client.post("/jobs?estimate=true", json={**body, "parameters": {"gsd_m": 0.25}}).json()
    assert 3.5 < half["pixels"] / told["pixels"] < 4.5
    assert "no past runs" in told["basis"]
    assert told["seconds"] == pytest.approx(told["pixels"] * estimates.ASSUMED_S_PER_MPX / 1e6, abs=0.06)
    assert told["cached"] == {"looks": 0, "of": 12, "sites_looked_up": 1}
    later = client.post("/jobs?estimate=true", json={**body, "period": "2000-01-01/2000-02-01"}).json()
    assert (later["scenes"], later["pixels"], later["seconds"]) == (0, 0, 0)
    assert client.get("/jobs").json()["jobs"] == []


def test_an_estimate_goes_by_what_past_units_took(service: Service, client: TestClient) -> None:
    geometry = with_archive(service)
    for name in ("one", "two", "three"):
        client.post("/sites", json=feature(name, geometry=geometry))
    work_off(service)
    with service.database.write() as connection:
        ran = connection.execute(select(units.c.id)).scalars().all()
        for seconds, unit in zip((30.0, 60.0, 90.0), ran, strict=True):
            connection.execute(
                update(units).where(units.c.id == unit).values(started=1_000.0, finished=1_000.0 + seconds)
            )
    told = client.post("/jobs?estimate=true", json={"type": "reprocess", "sites": "all"}).json()
    with service.database.read() as connection:
        seen = connection.execute(select(func.count()).select_from(looks)).scalar_one()
    assert seen == 9  # the stand-in reports three looks per site, the archive holds twelve
    assert told["seconds"] == pytest.approx(3 * 60.0 * 12 / 3, rel=0.01)
    assert told["seconds_low"] < told["seconds"] < told["seconds_high"]
    assert "last 3 units" in told["basis"]


def test_an_estimate_of_many_sites_looks_at_some_and_says_so(
    lite_service: Service, lite_client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimates, "SAMPLED", 5)
    geometry = with_archive(lite_service)
    many = [feature(f"site {i}", geometry=geometry) for i in range(20)]
    body = {"type": "FeatureCollection", "features": many, "analyse": False}
    assert lite_client.post("/sites", json=body).status_code == 201
    told = lite_client.post("/jobs?estimate=true", json={"type": "reprocess", "sites": "all"}).json()
    assert (told["sites"], told["sites_sampled"], told["scenes"]) == (20, 5, 240)


def test_an_estimate_knows_the_products_of_the_needed_keys(
    lite_service: Service, lite_client: TestClient, tmp_path: Path
) -> None:
    """After a run all looks are stored; a filter of what is told needs them all, another pixel size none."""
    geometry = with_archive(lite_service)
    site = lite_client.post("/sites", json=feature("depot", geometry=geometry)).json()["id"]
    settings = lite_service.settings
    runner = SiteRunner(settings.products_place, settings.downloads_place, settings.allowed_hosts)

    def few(unit: AnalyseUnit, out: Path, step: Step) -> None:
        assert unit.period is None
        runner(AnalyseUnit(unit.site, unit.name, unit.aoi, unit.archives, PERIOD, unit.parameters), out, step)

    assert work_off(lite_service, few) == 1

    def cached(**more: Any) -> dict[str, int]:
        body = {"type": "reprocess", "sites": [site], "period": PERIOD, **more}
        found: dict[str, int] = lite_client.post("/jobs?estimate=true", json=body).json()["cached"]
        return found

    count = cached()["of"]
    assert count == 3
    assert cached() == {"looks": count, "of": count, "sites_looked_up": 1}
    assert cached(parameters={"min_confidence": 0.9})["looks"] == count
    assert cached(parameters={"gsd_m": 1.0})["looks"] == 0


def test_an_unfinished_batch_is_found_again_by_its_key(service: Service, client: TestClient) -> None:
    made_sites(client, 2)
    work_off(service)
    body = {"type": "reprocess", "sites": "all"}
    headers = {"Idempotency-Key": "batch-1"}
    first = client.post("/jobs", json=body, headers=headers).json()["id"]
    with service.database.write() as connection:
        # A day later what was answered is forgotten; the job is not.
        from service.tables import idempotency

        connection.execute(update(idempotency).values(created=0.0))
    again = client.post("/jobs", json=body, headers=headers)
    assert (again.status_code, again.json()["id"]) == (202, first)
    work_off(service)
    with service.database.write() as connection:
        connection.execute(update(idempotency).values(created=0.0))
    assert client.post("/jobs", json=body, headers=headers).json()["id"] != first


def test_another_tenant_neither_finds_the_batch_nor_estimates_the_sites(
    service: Service, client: TestClient
) -> None:
    made = made_sites(client, 1)
    other = client_of(service, tenant="second")
    body = {"type": "reprocess", "sites": made}
    headers = {"Idempotency-Key": "batch-1"}
    assert client.post("/jobs", json=body, headers=headers).status_code == 202
    assert other.post("/jobs?estimate=true", json=body).status_code == 404
    everything = {"type": "reprocess", "sites": "all"}
    assert other.post("/jobs?estimate=true", json=everything).json()["sites"] == 0
    assert other.post("/jobs", json=everything, headers=headers).status_code == 202


def test_an_estimate_waits_for_no_slow_archive(
    lite_service: Service, lite_client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    geometry = with_archive(lite_service)
    lite_client.post("/sites", json=feature("depot", geometry=geometry, analyse=False))
    monkeypatch.setattr(estimates, "LOOK_UP_S", 0.2)

    def slow(*_: object) -> tuple[int, int]:
        time.sleep(1.0)
        return 12, 12

    monkeypatch.setattr(estimates, "_look_up_one", slow)
    told = lite_client.post("/jobs?estimate=true", json={"type": "reprocess", "sites": "all"}).json()
    assert told["cached"] == {"looks": 0, "of": 0, "sites_looked_up": 0}
    assert told["scenes"] == 12


def test_a_worker_of_another_version_is_refused_and_named(
    service: Service, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_sites(client, 1)
    work_off(service)
    monkeypatch.setattr("service.submission.code_version", lambda: "0123456789abcdef")
    job = reprocess(client)
    monkeypatch.undo()
    worker = make_worker(service)
    assert work_off(service) == service.settings.max_attempts
    assert client.get(f"/jobs/{job}").json()["state"] == "failed"
    (told,) = client.get(f"/jobs/{job}/results").json()["results"]
    assert told["code"] == "wrong-worker-code"
    assert "0123456789abcdef" in told["detail"]
    assert worker.owner.split(":")[0] in told["detail"]


def test_a_worker_of_the_right_version_takes_over_from_one_of_another(
    service: Service, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_sites(client, 1)
    work_off(service)
    job = reprocess(client, parameters={"min_confidence": 0.9})
    with monkeypatch.context() as other:
        other.setattr("service.worker.code_version", lambda: "0123456789abcdef")
        assert make_worker(service).run_one()
    assert client.get(f"/jobs/{job}").json()["units"]["done"] == 0
    assert work_off(service) == 1
    assert client.get(f"/jobs/{job}").json()["units"]["done"] == 1


def test_only_what_failed_is_tried_again_and_only_while_nobody_relies_on_it(
    service: Service, client: TestClient
) -> None:
    good, bad = made_sites(client, 2)
    work_off(service)

    def picky(unit: AnalyseUnit, out: Path, step: Step) -> None:
        if unit.site == bad:
            raise BadParameter("a fault of the input")
        FakeRunner(changes=5)(unit, out, step)

    job = reprocess(client)
    assert client.post(f"/jobs/{job}/retry").json()["code"] == "not-retryable"
    work_off(service, picky)
    first = {row["site"]: row for row in client.get(f"/jobs/{job}/results").json()["results"]}
    assert (first[good]["report"] is None, first[bad]["code"]) == (False, "bad-parameter")

    again = client.post(f"/jobs/{job}/retry").json()
    assert (again["state"], again["units"]["failed"], again["units"]["done"]) == ("accepted", 0, 1)
    assert client.get(f"/jobs/{job}/results").status_code == 404
    assert work_off(service, FakeRunner(changes=5)) == 1
    ended = client.get(f"/jobs/{job}").json()
    assert (ended["state"], ended["units"]["done"], ended["units"]["failed"]) == ("successful", 2, 0)
    second = {row["site"]: row for row in client.get(f"/jobs/{job}/results").json()["results"]}
    assert second[good] == first[good]
    assert second[bad]["report"] is not None

    revision = client.get(f"/jobs/{job}").json()
    assert client.post(f"/jobs/{job}/retry").json()["state"] == revision["state"]
    client.post(f"/jobs/{job}/promote")
    assert client.post(f"/jobs/{job}/retry").status_code == 409
    assert client_of(service, tenant="second").post(f"/jobs/{job}/retry").status_code == 404


@pytest.mark.long
def test_two_worker_processes_share_a_batch_of_real_scenes(
    lite_service: Service, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    geometry = with_archive(lite_service, tenant=LOCAL)
    with lite_service.database.write() as connection:
        tenant = ensure_tenant(lite_service.database, connection, LOCAL)
        for name in ("one", "two", "three"):
            draft = read_document(feature(name, geometry=geometry)).drafts[0]
            create_site(lite_service.database, connection, tenant, draft, max_sites=9)
    for name, value in environment_of(lite_service.settings).items():
        if name.startswith("DEPOTWATCH_"):
            monkeypatch.setenv(name, value)
    command = ["reprocess", "--sites", "all", "--period", PERIOD, "--json", "--workers", "2"]
    assert main(command) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["job"]["units"]["done"] == 3
    with lite_service.database.read() as connection:
        found = connection.execute(select(reports.c.processing_version).distinct()).scalars().all()
    assert found == [told["estimate"]["processing_version"]]
    assert main([*command, "--estimate"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["cached"] == {"looks": 9, "of": 9, "sites_looked_up": 3}


@pytest.mark.long
def test_a_cluster_that_is_named_does_the_looks(
    lite_service: Service,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    geometry = with_archive(lite_service, tenant=LOCAL)
    with lite_service.database.write() as connection:
        tenant = ensure_tenant(lite_service.database, connection, LOCAL)
        draft = read_document(feature("one", geometry=geometry)).drafts[0]
        create_site(lite_service.database, connection, tenant, draft, max_sites=9)
    for name, value in environment_of(lite_service.settings).items():
        if name.startswith("DEPOTWATCH_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setattr(SerialRunner, "map", lambda *_, **__: pytest.fail("done here, not on the cluster"))
    command = ["reprocess", "--sites", "all", "--period", PERIOD, "--json"]
    with running_cluster(tmp_path, 1) as cluster:
        assert main([*command, "--scheduler", cluster.address]) == 0
        assert json.loads(capsys.readouterr().out)["job"]["units"]["done"] == 1

        settings = lite_service.settings.model_copy(update={"scheduler": cluster.address})
        twice = tuple(ArchiveSource(name, "catalog", str(SAMPLE / "catalog.json")) for name in "ab")
        unit = AnalyseUnit(
            "s",
            "two archives",
            read_document(feature("two", geometry=geometry)).drafts[0].aoi,
            twice,
            PERIOD,
            {},
        )
        SiteRunner.by(settings)(unit, tmp_path / "out", lambda *_: None)
        assert len(json.loads((tmp_path / "out" / "report.json").read_bytes())["looks"]) == 3


def test_a_report_is_made_afresh_without_the_cluster_which_may_not_reach_the_folder(tmp_path: Path) -> None:
    runner = SiteRunner("products", tmp_path, frozenset(), "tcp://127.0.0.1:1").afresh(tmp_path / "new")
    assert (runner.products, runner.scheduler) == (str(tmp_path / "new"), None)


def with_real_scenes(service: Service, folder: Path) -> tuple[TestClient, str]:
    """A site whose only archive is a folder of its own with four real scenes."""
    client, catalog = client_of(service), some_scenes(folder, 4)
    with service.database.write() as connection:
        tenant = ensure_tenant(service.database, connection, "first")
        add_archive(service.database, connection, "mine", "catalog", str(catalog), tenant)
    aoi = json.loads((SAMPLE.with_name("depot-10m") / "aoi.geojson").read_text())
    geometry = (aoi["features"][0] if "features" in aoi else aoi)["geometry"]
    site = client.post("/sites", json=feature("North", geometry=geometry, analyse=False)).json()["id"]
    return client, site


def test_a_corrupt_scene_is_named_by_a_reprocess_and_costs_nothing_else(
    lite_service: Service, tmp_path: Path
) -> None:
    client, _ = with_real_scenes(lite_service, tmp_path / "archive")
    bad = min(path for path in (tmp_path / "archive").glob("*.tif") if "mask" not in path.name)
    bad.write_bytes(bad.read_bytes()[:5_000])
    job = reprocess(client)
    work_off(lite_service, SiteRunner.by(lite_service.settings))
    assert client.get(f"/jobs/{job}").json()["units"]["done"] == 1
    (row,) = client.get(f"/jobs/{job}/results").json()["results"]
    report = client.get(row["href"]).json()
    assert len(report["looks"]) == 3
    (refused,) = report["refused"]
    lines = client.get(f"/jobs/{job}/logs").json()["lines"]
    told = [line["message"] for line in lines if line["code"] == refused["code"]]
    assert told == [f"{refused['where']}: {refused['detail']}"]


def test_a_site_that_needs_more_memory_than_a_worker_has_is_refused_and_done_by_one_that_has(
    lite_service: Service, tmp_path: Path
) -> None:
    client, site = with_real_scenes(lite_service, tmp_path / "archive")
    job = reprocess(client)
    poor = lite_service.settings.model_copy(update={"memory_mib": 300})
    work_off(lite_service, SiteRunner.by(poor))
    assert client.get(f"/jobs/{job}").json()["state"] == "failed"
    (row,) = client.get(f"/jobs/{job}/results").json()["results"]
    assert (row["code"], row["attempts"]) == ("memory-too-small", 1)
    assert row["detail"].startswith("North with 4 looks of ")
    assert "GiB of memory at its peak and may use 0.3; give it more" in row["detail"]
    assert not Path(lite_service.settings.products_place).exists()
    assert client.post("/jobs?estimate=true", json={"type": "reprocess", "sites": [site]}).status_code == 200
    client.post(f"/jobs/{job}/retry")
    work_off(lite_service, SiteRunner.by(lite_service.settings.model_copy(update={"memory_mib": 900})))
    assert client.get(f"/jobs/{job}").json()["units"]["done"] == 1


def test_workers_of_one_machine_share_its_memory(lite_service: Service) -> None:
    settings = lite_service.settings
    assert SiteRunner.by(sharing(settings, 1)).memory_bytes is None
    each = SiteRunner.by(sharing(settings, 4)).memory_bytes
    assert each is not None
    assert machine_bytes() - 2**22 <= 4 * each <= machine_bytes()
    assert worker_command(sharing(settings, 4))[1]["DEPOTWATCH_MEMORY_MIB"] == str(each // 2**20)
    own = settings.model_copy(update={"memory_mib": 700})
    assert SiteRunner.by(sharing(own, 4)).memory_bytes == 700 * 2**20


def test_an_archive_that_vanishes_under_a_reprocess_is_tried_again_and_told(
    lite_service: Service, tmp_path: Path
) -> None:
    place, away = tmp_path / "archive", tmp_path / "away"
    client, _ = with_real_scenes(lite_service, place)
    runner = SiteRunner.by(lite_service.settings)

    def unplugged(unit: AnalyseUnit, out: Path, step: Step) -> None:
        """The disk is gone while the looks are made, and back when the unit is tried again."""

        def pull(name: str, done: int, total: int) -> None:
            step(name, done, total)
            if name == "looks" and not lines():
                place.rename(away)

        try:
            runner(unit, out, pull)
        finally:
            if away.exists():
                away.rename(place)

    def lines() -> list[Any]:
        return [line["code"] for line in client.get(f"/jobs/{job}/logs").json()["lines"]]

    job = reprocess(client)
    assert work_off(lite_service, unplugged) == 2
    assert client.get(f"/jobs/{job}").json()["units"]["done"] == 1
    (row,) = client.get(f"/jobs/{job}/results").json()["results"]
    assert row["attempts"] == 2
    assert lines()[0] == "vanished-scene"
    assert len(client.get(row["href"]).json()["looks"]) == 4
