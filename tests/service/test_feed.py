"""The feed never skips, however many write at once."""

import random
import threading
import time
from contextlib import suppress

from service.context import Service
from service.feed import News, entries_after, publish
from service.tenancy import ensure_tenant

WRITERS, ROUNDS = 6, 15


class Withdrawn(Exception):
    """A transaction that thinks better of it."""


def test_a_reader_misses_nothing_while_many_write(service: Service) -> None:
    database = service.database
    with database.write() as connection:
        tenant = ensure_tenant(database, connection, "first")
    ended = threading.Event()
    seen: list[tuple[int, str]] = []

    def write(writer: int) -> None:
        chance = random.Random(writer)
        for turn in range(ROUNDS):
            with suppress(Withdrawn), database.write() as connection:
                news = [
                    News("new", "s", "r", f"{writer}.{turn}.{i}", "{}") for i in range(chance.randint(1, 4))
                ]
                publish(database, connection, tenant, news)
                time.sleep(chance.random() * 0.004)  # a commit that comes late is what makes others skip
                if chance.random() < 0.15:
                    raise Withdrawn

    def read() -> None:
        cursor = 0
        while True:
            last = ended.is_set()
            with database.read() as connection:
                entries = entries_after(connection, tenant, cursor, 3)
            for entry in entries:
                seen.append((entry["seq"], entry["change"]))
                cursor = entry["seq"]
            if last and not entries:
                return

    reader = threading.Thread(target=read)
    reader.start()
    writers = [threading.Thread(target=write, args=(i,)) for i in range(WRITERS)]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    ended.set()
    reader.join()

    with database.read() as connection:
        whole = [(e["seq"], e["change"]) for e in entries_after(connection, tenant, 0, 10_000)]
    assert seen == whole
    assert [seq for seq, _ in whole] == list(range(1, len(whole) + 1))
    assert len(whole) > WRITERS * ROUNDS


def test_tenants_count_for_themselves(service: Service) -> None:
    database = service.database
    with database.write() as connection:
        one, two = (ensure_tenant(database, connection, name) for name in ("one", "two"))
        publish(database, connection, one, [News("new", "s", "r", "a", "{}")])
        publish(database, connection, two, [News("new", "s", "r", "b", "{}")])
        publish(database, connection, one, [])
    with database.read() as connection:
        assert [e["change"] for e in entries_after(connection, one, 0, 9)] == ["a"]
        assert [e["change"] for e in entries_after(connection, two, 0, 9)] == ["b"]
