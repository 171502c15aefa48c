"""A database that has no room left: no unit is lost or done twice, callers are told, and work goes on when there is room."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event, select, text

from service.context import Service
from service.errors import NotAvailable
from service.tables import reports, units
from tests.service.support import client_of, feature, make_worker

DISK_FULL = """
CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$
"""


@contextmanager
def without_room(service: Service) -> Iterator[None]:
    """Let the database take no more rows of reports: SQLite no more pages at all, PostgreSQL as its own disk_full."""
    engine = service.database.engine
    if service.database.is_sqlite:

        def no_more_pages(connection: Any, _record: Any) -> None:
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count={pages}")

        def as_many_as_ever(connection: Any, _record: Any) -> None:
            connection.execute("PRAGMA max_page_count=1073741823")

        engine.dispose()
        event.listen(engine, "connect", no_more_pages)
        try:
            yield
        finally:
            event.remove(engine, "connect", no_more_pages)
            event.listen(engine, "connect", as_many_as_ever)
            engine.dispose()
        return
    with service.database.write() as connection:
        connection.execute(text(DISK_FULL))
        connection.execute(
            text(
                "CREATE TRIGGER no_room_left BEFORE INSERT ON changes FOR EACH ROW EXECUTE FUNCTION no_room()"
            )
        )
    try:
        yield
    finally:
        with service.database.write() as connection:
            connection.execute(text("DROP TRIGGER no_room_left ON changes"))


@contextmanager
def working(service: Service) -> Iterator[None]:
    """Let a worker run beside the block."""
    worker = make_worker(service)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join(60)
        assert not thread.is_alive()


def until(holds: Callable[[], bool], seconds: float = 60.0) -> bool:
    waiting = threading.Event()
    for _ in range(int(seconds / 0.05)):
        if holds():
            return True
        waiting.wait(0.05)
    return False


def test_a_unit_whose_report_finds_no_room_in_the_database_waits_and_is_published_once(
    service: Service,
) -> None:
    client = client_of(service)
    site = client.post("/sites", json=feature("a")).json()["id"]
    refused: list[str] = []
    real = service.database.write

    @contextmanager
    def noted() -> Iterator[Any]:
        try:
            with real() as connection:
                yield connection
        except NotAvailable as error:
            refused.append(error.detail)
            raise

    service.database.write = noted  # type: ignore[method-assign]
    with working(service):
        with without_room(service):
            assert until(lambda: len(refused) >= 3), "the database had room all the time"
            with service.database.read() as connection:
                assert connection.execute(select(reports.c.id)).all() == []
        assert until(lambda: client.get("/jobs").json()["jobs"][0]["state"] == "successful")
    assert all("full" in said or "No space left" in said for said in refused)
    with service.database.read() as connection:
        assert len(connection.execute(select(reports.c.id)).all()) == 1
        assert connection.execute(select(units.c.state)).scalars().all() == ["successful"]
    assert client.get(f"/sites/{site}/reports/latest").status_code == 200


def test_a_caller_is_told_that_the_database_takes_nothing_and_nothing_of_the_call_remains(
    lite_service: Service,
) -> None:
    client = client_of(lite_service)
    with without_room(lite_service):
        answers = [client.post("/sites", json=feature(f"site {n}", note="x" * 20_000)) for n in range(60)]
        told = [answer for answer in answers if answer.status_code == 503]
        assert told, "there was room for sixty sites"
        assert told[0].json()["code"] == "not-available"
        taken = [answer.json()["id"] for answer in answers if answer.status_code == 201]
    assert sorted(site["id"] for site in client.get("/sites?limit=100").json()["features"]) == sorted(taken)
    assert client.post("/sites", json=feature("at last")).status_code == 201
