"""Tables as migrations make them, by one of two starters; transactions; the database's clock."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from service.database import HEAD, MIGRATIONS, Database, seconds
from service.errors import DatabaseTooNew, NotAvailable
from service.tables import metadata, tenants
from tests.service.support import PostgresServer


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> object:
    """A database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'new.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.database() as url:
        yield url


def test_migrations_make_the_tables_the_code_knows(empty_url: str) -> None:
    database = Database(empty_url)
    assert database.revision() is None
    database.migrate()
    assert database.revision() == HEAD == ScriptDirectory(str(MIGRATIONS)).get_current_head()
    with database.read() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    assert differences == []
    database.close()


def test_of_two_starters_one_migrates_and_both_go_on(empty_url: str) -> None:
    code = f"from service.database import Database; Database({empty_url!r}).migrate()"
    starters = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(3)]
    for starter in starters:
        _, said = starter.communicate(timeout=60)
        assert starter.returncode == 0, said.decode()
    database = Database(empty_url)
    assert database.revision() == HEAD
    database.close()


def test_a_database_of_a_later_version_is_not_touched(empty_url: str) -> None:
    database = Database(empty_url)
    database.migrate()
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseTooNew):
        database.migrate()
    database.close()


def test_a_transaction_that_fails_leaves_nothing(empty_url: str) -> None:
    database = Database(empty_url)
    database.migrate()
    row = {"id": "t", "name": "n", "created": 0.0}
    with pytest.raises(IntegrityError):
        _add_twice(database, row)
    with database.read() as connection:
        assert connection.execute(select(tenants)).first() is None
    database.close()


def _add_twice(database: Database, row: dict[str, object]) -> None:
    with database.write() as connection:
        connection.execute(tenants.insert().values(**row))
        connection.execute(tenants.insert().values(**row))


def test_the_clock_is_the_databases_and_goes_on_inside_a_transaction(empty_url: str) -> None:
    database = Database(empty_url)
    with database.read() as connection:
        first = seconds(database, connection)
        time.sleep(0.05)
        assert seconds(database, connection) > first
    assert abs(first - time.time()) < 5
    database.close()


def test_many_writers_wait_for_each_other(empty_url: str) -> None:
    database = Database(empty_url)
    database.migrate()
    with database.write() as connection:
        connection.execute(tenants.insert().values(id="t", name="n", created=0.0))
    faults: list[Exception] = []

    def add() -> None:
        try:
            for _ in range(25):
                with database.write() as connection:
                    value = connection.execute(
                        select(tenants.c.feed_seq).where(tenants.c.id == "t").with_for_update()
                    ).scalar_one()
                    connection.execute(tenants.update().values(feed_seq=value + 1))
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    with database.read() as connection:
        assert connection.execute(select(tenants.c.feed_seq)).scalar_one() == 200
    database.close()


def test_a_database_that_does_not_answer_is_said_so() -> None:
    database = Database("postgresql+psycopg://nobody@127.0.0.1:1/nothing?connect_timeout=1")
    with pytest.raises(NotAvailable), database.read():
        pass
    with pytest.raises(NotAvailable):
        database.revision()
