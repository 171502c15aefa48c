"""Comparisons over HTTP: of a job's reports with what they would replace, and of any two reports of a site."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from benchmarks.service_fake import FakeRunner
from imagery.errors import DepotwatchError
from service.analysis_unit import AnalyseUnit, Step
from service.context import Service
from service.errors import NotAvailable
from tests.service.support import client_of, feature, square, work_off

STRICT = {"min_confidence": 0.9}


class WithLook(FakeRunner):
    """As ``FakeRunner``, its looks in the report; one was not used where the parameters are strict."""

    def __call__(self, unit: AnalyseUnit, out: Path, step: Step) -> None:
        super().__call__(unit, out, step)
        path = out / "report.json"
        report = json.loads(path.read_text("utf-8"))
        strict = bool(unit.parameters)
        rows = [
            {
                "scene_id": scene,
                "datetime": f"2024-0{month}-01T10:00:00Z",
                "used": not (strict and scene == "b"),
            }
            for month, scene in ((5, "a"), (6, "b"))
        ]
        path.write_text(json.dumps({**report, "looks": rows, "generated_from": []}), "utf-8")


def refusing(unit: AnalyseUnit, out: Path, step: Step) -> None:
    raise Broken("nothing can be read here")


class Broken(DepotwatchError):
    """An archive that fails."""

    code = NotAvailable.code


def analysed(client: TestClient, service: Service, count: int = 1, runner: Any = None) -> list[str]:
    made = [
        client.post("/sites", json=feature(f"site {i}", geometry=square(10 + i))).json()["id"]
        for i in range(count)
    ]
    work_off(service, runner or WithLook(changes=4))
    return made


def reprocessed(client: TestClient, service: Service, runner: Any, **parameters: float) -> str:
    body = {"type": "reprocess", "sites": "all", "parameters": parameters}
    job = client.post("/jobs", json=body).json()["id"]
    work_off(service, runner)
    return str(job)


def compared(client: TestClient, path: str, **query: Any) -> dict[str, Any]:
    answer = client.get(path, params=query or None)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_reprocess_is_compared_with_what_is_published(service: Service, client: TestClient) -> None:
    (site,) = analysed(client, service)
    current = client.get(f"/sites/{site}/reports/latest").json()["id"]
    job = reprocessed(client, service, WithLook(changes=5), **STRICT)
    found = compared(client, f"/jobs/{job}/comparison")
    assert found["totals"] == {
        "new": 1, "lost": 0, "moved": 0, "reclassified": 0, "redated": 0, "recounted": 0, "unchanged": 4,
    }  # fmt: skip
    assert found["published"] == [{"site": site, "report": current}]
    (one,) = found["sites"]
    assert (one["name"], one["before"]["report"], one["before"]["current"]) == ("site 0", current, True)
    assert (one["after"]["number"], one["after"]["current"]) == (2, False)
    assert one["retold"] == 4  # the stand-in's confidence depends on its parameters
    (entry,) = one["entries"]
    assert (entry["kind"], entry["published"], entry["before"]) == ("new", True, None)
    assert entry["after"]["id"] not in {
        c["id"] for c in client.get(f"/sites/{site}/changes").json()["features"]
    }
    assert any(
        "min_confidence, of the step detection, was the default and is 0.9" in reason
        for reason in one["reasons"]
    )
    assert any(
        "Scene b of 1 June 2024 was used before and is not now" in reason for reason in entry["reasons"]
    )
    linked = {link["rel"]: link["href"] for link in client.get(f"/jobs/{job}").json()["links"]}
    assert linked["comparison"] == f"/jobs/{job}/comparison"


def test_after_promotion_it_still_tells_what_was_replaced(service: Service, client: TestClient) -> None:
    analysed(client, service)
    job = reprocessed(client, service, WithLook(changes=5), **STRICT)
    before = compared(client, f"/jobs/{job}/comparison")
    assert client.post(f"/jobs/{job}/promote").status_code == 200
    after = compared(client, f"/jobs/{job}/comparison")
    assert after["totals"] == before["totals"]
    sides = [(s["before"]["report"], s["after"]["report"]) for s in (*before["sites"], *after["sites"])]
    assert sides[0] == sides[1]
    assert [after["sites"][0][side]["current"] for side in ("before", "after")] == [False, True]
    assert client.delete(f"/jobs/{job}/promote").status_code == 200
    assert compared(client, f"/jobs/{job}/comparison") == before


def test_a_job_over_many_sites_is_paged_and_totalled_whole(
    lite_service: Service, lite_client: TestClient
) -> None:
    sites = analysed(lite_client, lite_service, 3)
    job = reprocessed(lite_client, lite_service, WithLook(changes=3), **STRICT)
    seen, path, query = [], f"/jobs/{job}/comparison", {"limit": 2}
    first = compared(lite_client, path, **query)
    assert first["totals"]["lost"] == 3
    assert len(first["published"]) == 3
    assert any(reason.endswith("(3 of 3 sites)") for reason in first["reasons"])
    seen += [one["site"] for one in first["sites"]]
    (link,) = [link["href"] for link in first["links"] if link["rel"] == "next"]
    last = compared(lite_client, link)
    seen += [one["site"] for one in last["sites"]]
    assert last["totals"] == first["totals"]
    assert not [link for link in last["links"] if link["rel"] == "next"]
    assert sorted(seen) == sorted(sites)


def test_a_site_whose_unit_failed_loses_nothing_and_says_why(
    lite_service: Service, lite_client: TestClient
) -> None:
    analysed(lite_client, lite_service)
    job = reprocessed(lite_client, lite_service, refusing, **STRICT)
    found = compared(lite_client, f"/jobs/{job}/comparison")
    assert found["totals"]["lost"] == 0
    assert found["published"] == []
    (one,) = found["sites"]
    assert one["after"] is None
    assert "nothing can be read here" in one["reasons"][0]


def test_a_site_without_a_report_gets_new_changes(lite_service: Service, lite_client: TestClient) -> None:
    lite_client.post("/sites", json=feature("new", analyse=False))
    job = reprocessed(lite_client, lite_service, WithLook(changes=2))
    found = compared(lite_client, f"/jobs/{job}/comparison")
    assert (found["totals"]["new"], found["sites"][0]["before"]) == (2, None)


def test_an_outline_moved_elsewhere_is_said_and_spoils_no_other_site(
    lite_service: Service, lite_client: TestClient
) -> None:
    moved, kept = analysed(lite_client, lite_service, 2, runner=Outlined(changes=4))
    etag = lite_client.get(f"/sites/{moved}").headers["etag"]
    patch = {"type": "Feature", "geometry": square(40.0)}
    assert lite_client.patch(f"/sites/{moved}", json=patch, headers={"If-Match": etag}).status_code == 200
    work_off(lite_service, refusing)
    job = reprocessed(lite_client, lite_service, Outlined(changes=5), **STRICT)
    found = {one["site"]: one for one in compared(lite_client, f"/jobs/{job}/comparison")["sites"]}
    assert [len(found[site]["entries"]) for site in (moved, kept)] == [0, 1]
    assert "moved to other ground" in found[moved]["reasons"][0]
    first, second = (found[moved][side]["report"] for side in ("before", "after"))
    answer = lite_client.get(f"/comparisons/{first}..{second}")
    assert (answer.status_code, answer.json()["code"]) == (422, "other-site")


class Outlined(FakeRunner):
    """As ``FakeRunner``, with the outline in the report."""

    def __call__(self, unit: AnalyseUnit, out: Path, step: Step) -> None:
        from shapely.geometry import mapping

        super().__call__(unit, out, step)
        path = out / "report.json"
        report = json.loads(path.read_text("utf-8"))
        site = {"name": unit.name, "aoi": mapping(unit.aoi)}
        path.write_text(json.dumps({**report, "site": site}), "utf-8")


def test_two_reports_of_a_site_are_compared_either_way(
    lite_service: Service, lite_client: TestClient
) -> None:
    (site,) = analysed(lite_client, lite_service)
    one = lite_client.get(f"/sites/{site}/reports/latest").json()["id"]
    lite_client.post("/jobs", json={"sites": [site]})
    work_off(lite_service, WithLook(changes=6))
    other = lite_client.get(f"/sites/{site}/reports/latest").json()["id"]
    assert compared(lite_client, f"/comparisons/{one}..{other}")["totals"]["new"] == 2
    assert compared(lite_client, f"/comparisons/{other}..{one}")["totals"]["lost"] == 2
    same = compared(lite_client, f"/comparisons/{one}..{one}")
    assert (same["totals"]["unchanged"], same["sites"][0]["entries"], same["published"]) == (4, [], [])
    answer = lite_client.get(f"/comparisons/{one}..{other}")
    known = {"If-None-Match": answer.headers["etag"]}
    assert lite_client.get(f"/comparisons/{one}..{other}", headers=known).status_code == 304


def test_an_analysis_is_compared_with_the_report_it_superseded(
    lite_service: Service, lite_client: TestClient
) -> None:
    (site,) = analysed(lite_client, lite_service)
    job = lite_client.post("/jobs", json={"sites": [site]}).json()["id"]
    assert lite_client.get(f"/jobs/{job}/comparison").json()["code"] == "result-not-ready"
    work_off(lite_service, WithLook(changes=6))
    assert compared(lite_client, f"/jobs/{job}/comparison")["totals"]["new"] == 2
    again = lite_client.post("/jobs", json={"sites": [site]}).json()["id"]
    work_off(lite_service, WithLook(changes=6))
    found = compared(lite_client, f"/jobs/{again}/comparison")
    assert (found["totals"]["new"], found["totals"]["unchanged"]) == (0, 6)


@pytest.mark.parametrize("f", ["html", "csv"])
def test_the_page_and_the_table_hold_all_sites(
    lite_service: Service, lite_client: TestClient, f: str
) -> None:
    analysed(lite_client, lite_service, 3)
    job = reprocessed(lite_client, lite_service, WithLook(changes=5), **STRICT)
    answer = lite_client.get(f"/jobs/{job}/comparison", params={"f": f, "limit": 1})
    assert answer.headers["content-type"].startswith(f"text/{f}")
    if f == "csv":
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert [(row["kind"], row["name"]) for row in rows] == [
            (kind, f"site {i}") for i in range(3) for kind in ("report", "new")
        ]
    else:
        assert all(f">site {i}</a>" in answer.text for i in range(3))
        assert "script" not in answer.text
    assert lite_client.get(f"/jobs/{job}/comparison?f=xml").json()["code"] == "bad-query"


def test_reports_of_two_sites_are_not_compared(lite_service: Service, lite_client: TestClient) -> None:
    one, other = (
        lite_client.get(f"/sites/{site}/reports/latest").json()["id"]
        for site in analysed(lite_client, lite_service, 2)
    )
    answer = lite_client.get(f"/comparisons/{one}..{other}")
    assert (answer.status_code, answer.json()["code"]) == (422, "other-site")


def test_another_tenant_finds_neither_reports_nor_job(service: Service, client: TestClient) -> None:
    (site,) = analysed(client, service)
    job = reprocessed(client, service, WithLook(changes=5), **STRICT)
    first, second = (r["id"] for r in client.get(f"/sites/{site}/reports").json()["reports"])
    stranger, made_up = client_of(service, tenant="second"), "report-" + "0" * 32
    analysed(stranger, service)
    (mine,) = (s["id"] for s in stranger.get("/sites").json()["features"])
    own = stranger.get(f"/sites/{mine}/reports/latest").json()["id"]
    paths = [
        f"/comparisons/{first}..{second}",
        f"/comparisons/{own}..{second}",
        f"/comparisons/{first}..{own}",
    ]
    for path in (*paths, f"/jobs/{job}/comparison"):
        for f in ("json", "html", "csv"):
            answer = stranger.get(path, params={"f": f})
            assert answer.status_code == 404, path
            assert site not in answer.text
    wrong = client.get(f"/comparisons/{made_up}..{first}")
    assert wrong.json() == stranger.get(f"/comparisons/{first}..{second}").json()
    reader = client_of(service, "sites:read")
    assert reader.get(f"/jobs/{job}/comparison").status_code == 403
