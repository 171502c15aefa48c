"""The Atom feed: read by a parser that is not ours, complete over its archives, and opened only by who may."""

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from sqlalchemy import update
from starlette.testclient import TestClient

from service.app import build_app
from service.atom import place_of
from service.context import Service
from service.errors import NotFound
from service.feed import News, publish
from service.tables import sites
from tests.service.support import client_of, feature, work_off

A = {"a": "http://www.w3.org/2005/Atom", "fh": "http://purl.org/syndication/history/1.0"}
GEORSS = "{http://www.georss.org/georss}point"


def site_with_report(service: Service, client: TestClient, name: str = "north") -> str:
    """A site whose first report tells three changes."""
    site = str(client.post("/sites", json=feature(name)).json()["id"])
    work_off(service)
    return site


def tell(
    service: Service, site: str, number: int, *, kind: str = "new", statement: str = "Said.", **more: str
) -> None:
    """Add news about one site."""
    told = {
        "type": "Feature",
        "id": "c",
        "geometry": {"type": "Point", "coordinates": [30.0, 50.0]},
        "properties": {
            "change_type": "container",
            "direction": "appeared",
            "status": "confirmed",
            "confidence": 0.9,
            "last_absent": "2024-05-01T10:00:00Z",
            "first_seen": "2024-06-01T10:00:00Z",
            "statement": statement,
            "licences": ["CC-BY-4.0"],
            **more,
        },
    }
    with service.database.write() as connection:
        tenant = connection.execute(sites.select().where(sites.c.id == site)).one().tenant
        news = [News(kind, site, "report-x", f"c{n}", json.dumps(told)) for n in range(number)]
        publish(service.database, connection, tenant, news)


def parsed(answer: Any) -> Any:
    """An answer as lxml reads it, checked against what RFC 4287 asks of every feed."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/atom+xml"
    document = etree.fromstring(answer.content)
    check_rfc4287(document)
    return document


def check_rfc4287(document: Any) -> None:
    """Sections 4.1.1 and 4.1.2: what a feed and its entries must and must not hold."""
    assert document.tag == "{http://www.w3.org/2005/Atom}feed"
    for holder in (document, *document.findall("a:entry", A)):
        for name in ("id", "title", "updated"):
            assert len(holder.findall(f"a:{name}", A)) == 1, name
        for moment in (*holder.findall("a:updated", A), *holder.findall("a:published", A)):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", moment.text)
            datetime.fromisoformat(moment.text)
        assert holder.findtext("a:id", namespaces=A).startswith("urn:uuid:")
        alternates = [(e.get("type"), e.get("hreflang")) for e in holder.findall("a:link[@rel='alternate']", A)]  # fmt: skip
        assert len(alternates) == len(set(alternates)) == 1
        assert all(link.get("href") for link in holder.findall("a:link", A))
    assert document.find("a:author/a:name", A).text
    assert len(document.findall("a:link[@rel='self']", A)) == 1
    ids = [entry.findtext("a:id", namespaces=A) for entry in document.findall("a:entry", A)]
    assert len(ids) == len(set(ids))
    # Feed members come before its entries: readers that stream rely on it, though the RFC does not ask.
    tags = [etree.QName(child).localname for child in document]
    assert "entry" not in tags[: len(tags) - len(ids)]


def test_a_report_is_read_as_entries_by_another_parser(service: Service, client: TestClient) -> None:
    site = site_with_report(service, client)
    answer = client.get(f"/sites/{site}/feed.atom")
    document = parsed(answer)
    entries = document.findall("a:entry", A)
    titles = {entry.findtext("a:title", namespaces=A) for entry in entries}
    assert "New: objects consistent with containers appeared between 2024-05-01 and 2024-06-01" in titles
    known = {f["id"] for f in client.get(f"/sites/{site}/changes").json()["features"]}
    linked = {e.find("a:link[@rel='alternate']", A).get("href").rpartition("/")[2] for e in entries}
    assert linked == known
    south, west = map(float, entries[0].findtext(GEORSS).split())
    assert (round(south), round(west)) == (50, 30)
    assert document.findtext("a:subtitle", namespaces=A) == (
        "Report 1. 3 of 3 looks show at least half of the site, the last of them on 2024-07-01. "
        "Nothing is claimed about what was not seen."
    )
    assert answer.content == client.get(f"/sites/{site}/feed.atom").content
    known_tag = {"If-None-Match": answer.headers["etag"]}
    assert client.get(f"/sites/{site}/feed.atom", headers=known_tag).status_code == 304
    tell(service, site, 1, kind="retracted", statement="One container.")
    again = parsed(client.get(f"/sites/{site}/feed.atom", headers=known_tag))
    newest = again.find("a:entry", A)
    assert newest.findtext("a:title", namespaces=A).startswith(
        "Retracted: objects consistent with containers appeared between"
    )
    assert (
        newest.findtext("a:summary", namespaces=A)
        == "This is no longer reported. It had said: One container."
    )
    assert newest.findtext("a:rights", namespaces=A) == "Made from scenes under CC-BY-4.0"
    assert len({e.findtext("a:id", namespaces=A) for e in again.findall("a:entry", A)}) == 4


def test_a_new_report_says_which_one_it_replaces(lite_service: Service, lite_client: TestClient) -> None:
    site = site_with_report(lite_service, lite_client)
    first = lite_client.get(f"/sites/{site}/reports/latest").json()["id"]
    box = feature("moved")["geometry"]
    box["coordinates"][0] = [[x + 0.001, y] for x, y in box["coordinates"][0]]
    tag = {"If-Match": "*"}
    assert lite_client.patch(f"/sites/{site}", json={"geometry": box}, headers=tag).status_code == 200
    lite_client.post("/jobs", json={"sites": [site]})
    work_off(lite_service)
    entries = parsed(lite_client.get(f"/sites/{site}/feed.atom")).findall("a:entry", A)
    assert entries[0].findtext("a:title", namespaces=A) == "Report 2 is the current one"
    assert first in entries[0].findtext("a:summary", namespaces=A)


def test_a_site_without_a_report_has_a_valid_feed_that_says_so(lite_client: TestClient) -> None:
    site = lite_client.post("/sites", json=feature("a", analyse=False)).json()["id"]
    document = parsed(lite_client.get(f"/sites/{site}/feed.atom"))
    assert document.findall("a:entry", A) == []
    assert "nothing can be said" in document.findtext("a:subtitle", namespaces=A)


def test_names_that_xml_has_no_place_for_do_not_break_the_feed(
    lite_service: Service, lite_client: TestClient
) -> None:
    site = site_with_report(lite_service, lite_client)
    with lite_service.database.write() as connection:
        connection.execute(update(sites).values(name='<b>"a" & \ufffe\x0b ]]> ü'))
    tell(lite_service, site, 1, statement="</summary><script>\x01&amp;")
    document = parsed(lite_client.get(f"/sites/{site}/feed.atom"))
    assert document.findtext("a:title", namespaces=A) == '<b>"a" & \ufffd\ufffd ]]> ü: what became known'
    assert "</summary><script>\ufffd&amp;" in document.find("a:entry", A).findtext("a:summary", namespaces=A)
    assert document.findall(".//a:script", A) == []


def test_a_change_that_is_only_seen_again_is_no_entry(lite_service: Service, lite_client: TestClient) -> None:
    site = lite_client.post("/sites", json=feature("a", analyse=False)).json()["id"]
    tell(lite_service, site, 2)
    tell(lite_service, site, 2, kind="updated", last_seen="2024-07-01T10:00:00Z")
    tell(lite_service, site, 1, kind="updated", status="closed")
    tell(lite_service, site, 2, kind="updated", status="closed")
    tell(lite_service, site, 1, kind="retracted", status="closed")
    tell(lite_service, site, 1, kind="new", status="closed")
    tell(lite_service, site, 1, kind="updated", status="closed", last_seen="2024-08-01T10:00:00Z")
    document = parsed(lite_client.get(f"/sites/{site}/feed.atom"))
    kinds = [entry.find("a:category", A).get("term") for entry in document.findall("a:entry", A)]
    assert kinds == ["new", "retracted", "updated", "updated", "new", "new"]


def test_archives_hold_every_entry_once_and_never_change(
    lite_service: Service, lite_client: TestClient
) -> None:
    site = lite_client.post("/sites", json=feature("a", analyse=False)).json()["id"]
    tell(lite_service, site, 253)
    token = lite_client.post(f"/sites/{site}/feed-tokens", json={}).json()
    reader = TestClient(build_app(lite_service), base_url="http://127.0.0.1")
    document = parsed(reader.get(token["href"]))
    assert len(document.findall("a:entry", A)) == 153
    collected = {e.findtext("a:id", namespaces=A) for e in document.findall("a:entry", A)}
    older = document.find("a:link[@rel='prev-archive']", A).get("href")
    archived = reader.get(older)
    page = parsed(archived)
    assert archived.headers["cache-control"].endswith("immutable")
    assert page.find("fh:archive", A) is not None
    assert page.find("a:link[@rel='current']", A).get("href") == token["href"]
    assert page.find("a:link[@rel='prev-archive']", A) is None
    collected |= {e.findtext("a:id", namespaces=A) for e in page.findall("a:entry", A)}
    assert len(collected) == 253
    tell(lite_service, site, 200)
    assert reader.get(older).content == archived.content
    assert reader.get(older.replace("archive=1", "archive=9")).status_code == 404


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 199, 200, 201, 1000])
def test_following_the_archives_misses_nothing(count: int) -> None:
    place = place_of(count, None)
    covered = list(range(place.first, place.last))
    while place.previous is not None:
        place = place_of(count, place.previous)
        covered = list(range(place.first, place.last)) + covered
    assert covered == list(range(count))
    with pytest.raises(NotFound):
        place_of(count, count // 100 + 1)


def test_a_token_opens_one_feed_until_it_is_revoked_and_nothing_else(
    service: Service, client: TestClient
) -> None:
    site, other = site_with_report(service, client), site_with_report(service, client, "south")
    made = client.post(f"/sites/{site}/feed-tokens", json={"note": "newsroom"})
    assert made.status_code == 201
    token = made.json()["token"]
    reader = TestClient(build_app(service), base_url="http://127.0.0.1")
    assert len(parsed(reader.get(made.json()["href"])).findall("a:entry", A)) == 3
    assert reader.get(f"/sites/{other}/feed.atom", params={"token": token}).status_code == 404
    assert reader.get(f"/sites/{site}/changes", params={"token": token}).status_code == 401
    assert reader.get("/changes", headers={"Authorization": f"Bearer {token}"}).status_code == 401
    for wrong in ("", "x", token[:-1], token + "x", "dwf_" + "0" * 16 + "_x"):
        answer = reader.get(f"/sites/{site}/feed.atom", params={"token": wrong})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorised"), wrong
    listed = client.get(f"/sites/{site}/feed-tokens").json()["feed_tokens"]
    assert [(entry["note"], entry["revoked"]) for entry in listed] == [("newsroom", None)]
    assert token not in json.dumps(listed)
    assert client.delete(f"/sites/{site}/feed-tokens/{listed[0]['id']}").status_code == 204
    assert client.delete(f"/sites/{site}/feed-tokens/{listed[0]['id']}").status_code == 204
    assert reader.get(made.json()["href"]).status_code == 401
    assert client.get(f"/sites/{site}/feed-tokens").json()["feed_tokens"][0]["revoked"]


def test_no_token_is_kept_where_it_could_be_read(service: Service, client: TestClient) -> None:
    from sqlalchemy import select

    from service.tables import metadata

    site = client.post("/sites", json=feature("a", analyse=False)).json()["id"]
    secret = client.post(f"/sites/{site}/feed-tokens", json={}).json()["token"][-16:]
    with service.database.read() as connection:
        rows = [str(row) for table in metadata.sorted_tables for row in connection.execute(select(table))]
    assert rows
    assert not any(secret in row for row in rows)


def test_a_token_of_a_deleted_site_opens_nothing(lite_service: Service, lite_client: TestClient) -> None:
    site = site_with_report(lite_service, lite_client)
    href = lite_client.post(f"/sites/{site}/feed-tokens", json={}).json()["href"]
    assert lite_client.delete(f"/sites/{site}", headers={"If-Match": "*"}).status_code in {200, 204}
    assert lite_client.get(href).status_code == 404


def test_making_a_token_needs_the_right_to_read_and_there_are_only_so_many(
    lite_service: Service, lite_client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = lite_client.post("/sites", json=feature("a", analyse=False)).json()["id"]
    for scopes in (("sites:write",), ("reports:read",)):
        poor = client_of(lite_service, *scopes)
        assert poor.post(f"/sites/{site}/feed-tokens", json={}).status_code == 403
    monkeypatch.setattr("service.feed_tokens.MOST_PER_SITE", 1)
    assert lite_client.post(f"/sites/{site}/feed-tokens", json={}).status_code == 201
    answer = lite_client.post(f"/sites/{site}/feed-tokens", json={})
    assert (answer.status_code, answer.json()["code"]) == (409, "limit-reached")


def test_gdal_reads_the_places_of_the_news(
    lite_service: Service, lite_client: TestClient, tmp_path: Path
) -> None:
    import pyogrio

    site = site_with_report(lite_service, lite_client)
    path = tmp_path / "feed.xml"
    path.write_bytes(lite_client.get(f"/sites/{site}/feed.atom").content)
    _, _, shapes, fields = pyogrio.raw.read(path)
    assert len(shapes) == 3
    assert len(fields) > 0
