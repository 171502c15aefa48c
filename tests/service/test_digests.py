"""The digest of a day: what became known is told, and nobody can take 'not seen' for 'nothing changed'."""

import json
import re
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from lxml import html as lxml_html
from sqlalchemy import select, update
from starlette.testclient import TestClient

from benchmarks.service_fake import FakeRunner
from service import digests as store
from service import moments
from service.analysis_unit import AnalyseUnit, Step
from service.context import Service
from service.database import seconds
from service.digest_text import as_html, as_markdown
from service.digests import day_named
from service.errors import BadQuery
from service.feed import News, publish
from service.tables import digests, feed, reports, sites, tenants
from tests.service.support import client_of, feature, square, work_off

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Skies:
    """An analysis whose looks show as much as it is told, with changes as the stand-in makes them."""

    usable: tuple[float, ...]
    changes: int = 3
    raised: float | None = None
    last_seen: str = ""
    compared: tuple[tuple[float, float], ...] | None = None

    def __call__(self, unit: AnalyseUnit, out: Path, step: Step) -> None:
        FakeRunner(self.changes)(unit, out, step)
        told = json.loads((out / "looks.geojson").read_text())
        first = told["features"][0]
        told["features"] = [
            {**first, "properties": {**first["properties"], "scene_id": f"scene-{n}", "usable_fraction": part,
                                     "datetime": f"2024-{5 + n:02d}-01T10:00:00Z", "fractions": {"observed": part, "cloud": 1 - part}}}
            for n, part in enumerate(self.usable)
        ]  # fmt: skip
        (out / "looks.geojson").write_text(json.dumps(told))
        found = json.loads((out / "changes.geojson").read_text())
        for change in found["features"]:
            properties = change["properties"]
            if self.raised is not None:
                properties |= {"status": "confirmed", "confidence": self.raised}
            if self.last_seen:
                properties["last_seen"] = self.last_seen
        (out / "changes.geojson").write_text(json.dumps(found))
        if self.compared is not None:
            report = json.loads((out / "report.json").read_text())
            report["compared"] = [{"gsd": gsd, "comparable_fraction": part} for gsd, part in self.compared]
            (out / "report.json").write_text(json.dumps(report))

    def afresh(self, _products: Path) -> "Skies":
        return self


def add_site(service: Service, client: TestClient, name: str, skies: Skies | None, west: float = 30.0) -> str:
    made = client.post("/sites", json=feature(name, analyse=skies is not None, geometry=square(west)))
    assert made.status_code == 201, made.text
    if skies is not None:
        work_off(service, skies)
    return str(made.json()["id"])


def look_again(service: Service, client: TestClient, site: str, skies: Skies) -> None:
    assert client.post("/jobs", json={"sites": [site]}).status_code == 202
    work_off(service, skies)


def a_day_passes(service: Service, days: float = 1.0) -> None:
    """Put everything that happened so far as many days back."""
    with service.database.write() as connection:
        for column in (feed.c.at, reports.c.created, reports.c.current_since, sites.c.created, sites.c.deleted,
                       tenants.c.created):  # fmt: skip
            connection.execute(update(column.table).values({column.name: column - days * DAY_S}))
        connection.execute(update(digests).values(made=digests.c.made - days * DAY_S))


def today(service: Service, back: int = 0) -> str:
    with service.database.read() as connection:
        now = seconds(service.database, connection)
    return store.day_at(now - back * DAY_S).name


def digest(service: Service, client: TestClient, back: int = 0) -> dict[str, Any]:
    """The digest as of so many days back, with its invariants checked."""
    answer = client.get(f"/digests/{today(service, back)}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert found["counts"]["sites"] == len(found["sites"])
    assert sum(found["counts"][state] for state in store.STATES) == len(found["sites"])
    for site in found["sites"]:
        if site["state"] != "quiet":
            assert "no change" not in site["statement"].lower()
            assert "same changes" not in site["statement"]
        if site["state"] in {"not_observable", "no_new_look", "no_report"}:
            assert "othing can be said" in site["statement"]
    return found


def by_name(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {site["name"]: site for site in found["sites"]}


@pytest.fixture(autouse=True)
def days_begin_far_from_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin every day twelve hours from the time of the test: one that straddles midnight would see two days."""
    begins = (time.time() + DAY_S / 2) % DAY_S
    named, at = store.day_named, store.day_at

    def shifted(name: str) -> store.Day:
        day = named(name)
        return replace(day, start=day.start + begins, end=day.end + begins)

    monkeypatch.setattr(store, "day_named", shifted)
    monkeypatch.setattr(store, "day_at", lambda moment: at(moment - begins))


def test_every_state_of_a_site_is_told_apart(service: Service, client: TestClient) -> None:
    for number, name in enumerate(("news", "quiet", "clouded", "never seen", "one look", "untouched")):
        usable = {"never seen": (0.1, 0.2), "one look": (0.9, 0.1)}.get(name, (0.9, 0.9))
        add_site(service, client, name, Skies(usable, 0), 30.0 + number)
    add_site(service, client, "no report", None, 40.0)
    a_day_passes(service)
    ids = {site["name"]: site["site"] for site in digest(service, client)["sites"]}
    look_again(service, client, ids["news"], Skies((0.9, 0.9, 0.9), 2))
    look_again(service, client, ids["quiet"], Skies((0.9, 0.9, 0.9), 0))
    look_again(service, client, ids["clouded"], Skies((0.9, 0.9, 0.2), 0))
    found = by_name(digest(service, client))
    assert {name: site["state"] for name, site in found.items()} == {
        "news": "news", "quiet": "quiet", "clouded": "no_new_look", "never seen": "not_observable",
        "one look": "not_observable", "untouched": "no_new_look", "no report": "no_report",
    }  # fmt: skip
    assert found["news"]["counts"]["new"] == 2
    assert found["quiet"]["statement"] == (
        "1 clear look came in, the last of 2024-07-01. The report tells of the same changes as before; what could not be "
        "seen is listed in it."
    )
    assert found["clouded"]["looks"] == {
        "looks": 3,
        "clear": 2,
        "new_clear": 0,
        "last_clear": "2024-06-01T10:00:00.000Z",
    }
    assert "The last clear look is of 2024-06-01," in found["clouded"]["statement"]
    assert "0 of 2 looks" in found["never seen"]["statement"]
    yesterday = by_name(digest(service, client, back=1))
    assert {name: yesterday[name]["state"] for name in ("news", "quiet", "clouded")} == dict.fromkeys(
        ("news", "quiet", "clouded"), "quiet"
    )
    assert "first report" in yesterday["quiet"]["statement"]


@pytest.mark.parametrize(
    ("usable", "compared", "state", "told"),
    [
        ((0.9, 0.9), ((0.5, 0.0),), "not_observable", "next to none of the site was seen on two dates"),
        (
            (0.5, 0.5),
            ((0.5, 0.019), (10.0, 0.0)),
            "not_observable",
            "next to none of the site was seen on two dates",
        ),
        ((0.9, 0.9), (), "not_observable", "next to none of the site was seen on two dates"),
        ((0.9, 0.1), ((0.5, 0.0),), "not_observable", "1 of 2 looks"),
        ((0.9, 0.9), ((0.5, 0.0), (10.0, 1.0)), "quiet", "2 clear looks came in"),
        ((0.9, 0.4), ((0.5, 0.4),), "quiet", "1 clear look came in"),
        ((0.4, 0.4), ((0.5, 0.3),), "no_new_look", "No look shows half of the site, so nothing can be said"),
    ],
)
def test_a_site_is_quiet_only_where_its_looks_could_be_compared(
    usable: tuple[float, ...],
    compared: tuple[tuple[float, float], ...],
    state: str,
    told: str,
    lite_service: Service,
    lite_client: TestClient,
) -> None:
    add_site(lite_service, lite_client, "a", Skies(usable, 0, compared=compared))
    found = by_name(digest(lite_service, lite_client))["a"]
    assert found["state"] == state
    assert told in found["statement"]
    look_again(lite_service, lite_client, found["site"], Skies(usable, 1, compared=compared))
    news = by_name(digest(lite_service, lite_client))["a"]
    assert news["state"] == "news"
    assert "about change" not in news["statement"] or news["looks"]["clear"] < 2


def test_what_a_day_comes_to_is_told_once_per_change(service: Service, client: TestClient) -> None:
    site = add_site(service, client, "a", Skies((0.9, 0.9), 3, 0.5))
    a_day_passes(service)
    look_again(service, client, site, Skies((0.9, 0.9, 0.9), 3, 0.5, "2024-08-01T00:00:00Z"))
    again = by_name(digest(service, client))["a"]
    assert again["counts"] == {"new": 0, "updated": 0, "retracted": 0, "seen_again": 3, "superseded": 1}
    assert (again["state"], again["changes"]) == ("quiet", [])
    look_again(service, client, site, Skies((0.9, 0.9, 0.9), 4, 0.5))
    look_again(service, client, site, Skies((0.9, 0.9, 0.9), 2, 0.9))
    found = by_name(digest(service, client))["a"]
    assert found["counts"] == {"new": 0, "updated": 2, "retracted": 2, "seen_again": 0, "superseded": 3}
    updated = [change for change in found["changes"] if change["kind"] == "updated"]
    assert [change["kind"] for change in found["changes"]] == ["retracted", "retracted", "updated", "updated"]
    assert all(change["differs"]["confidence"] == {"from": 0.5, "to": 0.9} for change in updated)
    gone = [change["told"] for change in found["changes"] if change["kind"] == "retracted"]
    assert ["new", "retracted"] in gone


def test_news_without_a_new_look_says_where_it_is_from(service: Service, client: TestClient) -> None:
    site = add_site(service, client, "a", Skies((0.9, 0.9), 3))
    a_day_passes(service)
    look_again(service, client, site, Skies((0.9, 0.9), 1))
    found = by_name(digest(service, client))["a"]
    assert found["counts"]["retracted"] == 2
    assert found["statement"] == (
        "No new clear look came in (the last is of 2024-06-01): the news is from another analysis of known looks."
    )


def test_a_complete_day_is_kept_and_stays_as_it_was_told(service: Service, client: TestClient) -> None:
    site = add_site(service, client, "a", Skies((0.9, 0.9)))
    growing = client.get(f"/digests/{today(service)}")
    assert growing.json()["complete"] is False
    assert "immutable" not in growing.headers["cache-control"]
    a_day_passes(service)
    day = today(service, back=1)
    first = client.get(f"/digests/{day}")
    assert first.json()["complete"] is True
    assert first.headers["cache-control"].endswith("immutable")
    assert client.get("/digests/latest").content == first.content
    tag = {"If-None-Match": first.headers["etag"]}
    assert client.get(f"/digests/{day}", headers=tag).status_code == 304
    client.patch(f"/sites/{site}", json={"properties": {"name": "b"}}, headers={"If-Match": "*"})
    client.delete(f"/sites/{site}", headers={"If-Match": "*"})
    assert client.get(f"/digests/{day}").content == first.content
    listed = client.get("/digests").json()["digests"]
    assert [entry["day"] for entry in listed] == [day]
    assert digest(service, client)["sites"] == []


def test_the_worker_keeps_every_missed_day_once(service: Service, client: TestClient) -> None:
    add_site(service, client, "a", Skies((0.9, 0.9)))
    assert store.keep_due(service.database) == 0
    a_day_passes(service, 3.0)
    assert store.keep_due(service.database) == 3
    assert store.keep_due(service.database) == 0
    a_day_passes(service, 100.0)
    with service.database.write() as connection:
        connection.execute(digests.delete())
    assert store.keep_due(service.database) == store.MOST_DAYS_BACK
    days = []
    address = "/digests?limit=10"
    while address:
        page = client.get(address).json()
        days += [entry["day"] for entry in page["digests"]]
        address = next((link["href"] for link in page["links"] if link["rel"] == "next"), "")
    assert len(days) == len(set(days)) == store.MOST_DAYS_BACK
    assert days == sorted(days, reverse=True)


def test_one_tenant_s_trouble_keeps_no_other_from_its_digest(
    lite_service: Service, lite_client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client_of(lite_service, tenant="second")
    a_day_passes(lite_service)
    with lite_service.database.read() as connection:
        first = min(connection.execute(select(tenants.c.id)).scalars())
    make = store.make_digest

    def faulty(connection: Any, tenant: str, *rest: Any, **more: Any) -> dict[str, Any]:
        if tenant == first:
            raise ValueError("broken")
        return make(connection, tenant, *rest, **more)

    monkeypatch.setattr(store, "make_digest", faulty)
    assert store.keep_due(lite_service.database) == 2
    with lite_service.database.read() as connection:
        kept = set(connection.execute(select(digests.c.tenant)).scalars())
    assert len(kept) == 1
    assert first not in kept


def test_a_worker_keeps_digests_beside_its_work(
    lite_service: Service, lite_client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from service import worker_process

    add_site(lite_service, lite_client, "a", Skies((0.9, 0.9)))
    a_day_passes(lite_service)
    monkeypatch.setattr(worker_process, "DIGEST_POLL_S", 0.01)
    stopping = threading.Event()
    thread = threading.Thread(target=worker_process._keep_digests, args=(lite_service.database, stopping))
    thread.start()
    until = time.monotonic() + 20
    while not lite_client.get("/digests").json()["digests"]:
        assert time.monotonic() < until
        time.sleep(0.02)
    stopping.set()
    thread.join(20)
    assert not thread.is_alive()
    assert [entry["day"] for entry in lite_client.get("/digests").json()["digests"]] == [
        today(lite_service, 1)
    ]


def test_a_report_is_known_at_a_moment_whatever_came_after(
    lite_service: Service, lite_client: TestClient
) -> None:
    site = add_site(lite_service, lite_client, "a", Skies((0.9, 0.9), 0))
    held = [lite_client.get(f"/sites/{site}/reports/latest").json()["id"]]
    for changes in (2, 0, 1):
        a_day_passes(lite_service)
        look_again(lite_service, lite_client, site, Skies((0.9, 0.9), changes))
        held.append(lite_client.get(f"/sites/{site}/reports/latest").json()["id"])
    with lite_service.database.read() as connection:
        tenant = connection.execute(select(sites.c.tenant)).scalar_one()
        now = seconds(lite_service.database, connection)
        found = [
            store.reports_at(connection, tenant, now - back * DAY_S + 60.0, [site])
            for back in (4, 3, 2, 1, 0)
        ]
    assert found == [{}, *({site: report} for report in held)]


def test_a_promotion_taken_back_leaves_the_site_as_it_was_that_day(
    lite_service: Service, lite_client: TestClient
) -> None:
    site = add_site(lite_service, lite_client, "a", None)
    with lite_service.database.write() as connection:
        tenant = connection.execute(select(sites.c.tenant)).scalar_one()
        told = json.dumps({"properties": {"statement": "Said."}})
        publish(lite_service.database, connection, tenant, [News("retracted", site, "r", "c", told)])
    found = by_name(digest(lite_service, lite_client))["a"]
    assert (found["state"], found["counts"]["retracted"], found["report"]) == ("news", 1, None)
    assert found["statement"] == "There is no report, so nothing can be said."


def test_a_day_is_a_day_of_utc() -> None:
    day = day_named("2024-02-29")
    assert (day.name, moments.rfc3339(day.start), moments.rfc3339(day.end)) == (
        "2024-02-29", "2024-02-29T00:00:00.000Z", "2024-03-01T00:00:00.000Z",
    )  # fmt: skip


@pytest.mark.parametrize("day", ["2024-02-30", "yesterday", "2024-1-1", "20240101", "0001-01-01", "x" * 500])
def test_what_is_no_day_is_refused(day: str, lite_client: TestClient) -> None:
    with pytest.raises(BadQuery):
        store.day_named(day)
    answer = lite_client.get(f"/digests/{day}")
    assert (answer.status_code, answer.json()["code"]) == (400, "bad-query")


def test_days_before_the_tenant_and_days_to_come_are_not_found(
    lite_service: Service, lite_client: TestClient
) -> None:
    for day in ("1999-12-31", "2999-01-01", today(lite_service, back=-1)):
        assert lite_client.get(f"/digests/{day}").status_code == 404, day


def test_another_tenant_has_its_own_digest(lite_service: Service, lite_client: TestClient) -> None:
    add_site(lite_service, lite_client, "secret", Skies((0.9, 0.9)))
    other = client_of(lite_service, tenant="second")
    answer = other.get(f"/digests/{today(lite_service)}")
    assert answer.json()["sites"] == []
    assert "secret" not in answer.text
    assert client_of(lite_service, "sites:read").get("/digests/latest").status_code == 403


def sample(name: str = "north") -> dict[str, Any]:
    """A digest with one site of each state."""
    change = {
        "change": "c1", "kind": "updated", "told": ["updated"], "change_type": "container", "direction": "appeared",
        "status": "confirmed", "confidence": 0.9, "last_absent": "2024-05-01T10:00:00Z",
        "first_seen": "2024-06-01T10:00:00Z", "statement": f"Said of {name}.", "licences": ["CC-BY-4.0"],
        "differs": {"status": {"from": "first", "to": "confirmed"}}, "href": "/changes/c1",
    }  # fmt: skip
    kinds = {"new": 0, "updated": 1, "retracted": 0, "seen_again": 2, "superseded": 1}
    held = [
        {
            "site": f"site-{n}", "name": f"{name} {state}", "watched": state != "no_report", "state": state,
            "statement": f"Sentence {n}.", "report": None if state == "no_report" else {"id": f"report-{n}", "number": n},
            "counts": kinds, "changes": [change] if state == "news" else [], "left_out": 7 if state == "news" else 0,
            "warnings": [{"code": "x", "detail": "Silent."}], "href": f"/sites/site-{n}",
        }
        for n, state in enumerate(store.STATES)
    ]  # fmt: skip
    counts = dict.fromkeys(store.STATES, 1) | {"sites": 5, "changes_new": 0, "changes_updated": 1}
    counts |= {"changes_retracted": 0, "changes_seen_again": 2, "reports_superseded": 1}
    return {
        "day": "2024-06-02", "period": {"start": "2024-06-02T00:00:00.000Z", "end": "2024-06-03T00:00:00.000Z"},
        "complete": True, "counts": counts, "sites": held, "notes": list(store.NOTES),
    }  # fmt: skip


def test_the_page_is_read_by_another_parser_and_needs_nothing_else() -> None:
    page = lxml_html.document_fromstring(as_html(sample(), "http://h"))
    headings = [heading.text_content() for heading in page.findall(".//h2")]
    assert headings[0] == "What became known (1)"
    assert headings.index("Not observable: nothing can be said (1)") < headings.index(
        "Quiet: looked at, and told as before (1)"
    )
    assert "5 sites: 1 with news, 1 quiet, 3 of which nothing can be said." in page.text_content()
    links = {link.get("href") for link in page.findall(".//a")}
    assert {"http://h/#/sites/site-0/changes/c1", "http://h/#/sites/site-1"} <= links
    assert not page.xpath("//script | //link | //img | //iframe")
    assert "It is not watched any more." in page.text_content()
    assert "status first before, now confirmed" in page.text_content()
    assert "7 more" in page.text_content()


@pytest.mark.parametrize(
    "name",
    ['<script>alert(1)</script>&"', "](http://evil) **x**", "a\n\n# Forged heading", "`code` | \x0b\u2028 ~"],
)
def test_names_stay_text_in_both_files(name: str) -> None:
    import markdown

    for source in (
        as_html(sample(name), "http://h"),
        markdown.markdown(as_markdown(sample(name), "http://h")),
    ):
        page = lxml_html.document_fromstring(source)
        assert not page.xpath("//script | //code | //strong | //em")
        assert all(link.get("href").startswith("http://h/") for link in page.findall(".//a"))
        assert len(page.xpath("//h1")) == 1
        printed = re.sub(r"\s+", " ", re.sub(r"[\x00-\x1f\u2028]", " ", name)).strip()
        assert printed in re.sub(r"\s+", " ", page.text_content())


def test_the_command_writes_the_file_in_the_kind_its_name_says(
    lite_service: Service,
    lite_client: TestClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from service import client as client_module
    from service.cli import main

    add_site(lite_service, lite_client, "north", Skies((0.9, 0.9)))
    made = client_module.Client("http://testserver")
    monkeypatch.setattr(made, "_http", lite_client)
    monkeypatch.setattr(made, "close", lambda: None)
    monkeypatch.setattr(client_module, "Client", lambda *_, **__: made)
    day = today(lite_service)
    for suffix, start in ((".md", "# Digest of"), (".html", "<!doctype html>"), (".json", '{"day"')):
        out = tmp_path / f"d{suffix}"
        assert main(["digest", "--day", day, "--out", str(out)]) == 0
        assert out.read_text().startswith(start)
        assert capsys.readouterr().out.strip() == str(out)
    assert sorted(p.name for p in tmp_path.glob("d.*")) == ["d.html", "d.json", "d.md"]
    assert main(["digest", "--day", day]) == 0
    assert capsys.readouterr().out.startswith(f"# Digest of {day}")
    assert main(["digest", "--day", day, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["day"] == day
    assert main(["digest", "--out", str(tmp_path / "d.pdf")]) == 2
    assert "unknown-digest-format" in capsys.readouterr().err
    assert main(["digest", "--day", "../sites"]) == 2


def test_a_site_of_many_changes_is_cut_and_says_so(lite_service: Service, lite_client: TestClient) -> None:
    site = add_site(lite_service, lite_client, "a", Skies((0.9, 0.9), 300))
    found = by_name(digest(lite_service, lite_client))["a"]
    assert (len(found["changes"]), found["left_out"]) == (store.MOST_CHANGES_SHOWN, 200)
    assert found["counts"]["new"] == 300
    assert site in found["href"]
