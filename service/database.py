"""One engine for SQLite and PostgreSQL: transactions, the database's own clock, migrations on start.

SQLite runs in WAL mode on a local disk, one writer at a time: a writing transaction takes the write lock when it
begins (``BEGIN IMMEDIATE``), so that it never fails half-way for having read first.
"""

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    Engine,
    Row,
    Select,
    create_engine,
    event,
    literal_column,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from service.errors import DatabaseTooNew, NotAvailable

Record = Row[*tuple[Any, ...]]
"""One row, its columns as attributes (never name a column ``t``, ``count`` or ``index``: a row has those itself)."""
Statement = Select[*tuple[Any, ...]]

MIGRATIONS = Path(__file__).parent / "migrations"
HEAD = "0006"
BUSY_TIMEOUT_MS = 30_000
# Any number, so long as every starter of this service uses the same.
MIGRATION_LOCK = 7_306_123_480_511


class Database:
    """An engine and the two kinds of transaction the service uses."""

    def __init__(self, url: str, *, pool_size: int = 16) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        self.engine: Engine
        if self.is_sqlite:
            path = Path(url.removeprefix("sqlite:///"))
            path.parent.mkdir(parents=True, exist_ok=True)
            self.engine = create_engine(
                url,
                pool_size=pool_size,
                max_overflow=48,
                connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False},
            )
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        else:
            # A restarted server leaves dead connections in the pool: each is tried before it is used.
            self.engine = create_engine(url, pool_size=pool_size, max_overflow=48, pool_pre_ping=True)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that only reads."""
        with _translated(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that commits when the block ends well and leaves nothing when it does not."""
        with _translated(), self.engine.connect() as connection:
            connection.info["write"] = True
            try:
                with connection.begin():
                    yield connection
            finally:
                connection.info.pop("write", None)

    @property
    def now(self) -> ColumnElement[float]:
        """The database's clock, seconds since 1970 UTC, at the time the statement runs."""
        if self.is_sqlite:
            return literal_column("((julianday('now') - 2440587.5) * 86400.0)", Double)
        return literal_column("extract(epoch from clock_timestamp())::double precision", Double)

    def insert(self, table: Any) -> Any:
        """Return an insert that knows ``on_conflict_do_nothing`` and ``on_conflict_do_update``."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def close(self) -> None:
        """Give every connection back."""
        self.engine.dispose()

    def revision(self) -> str | None:
        """Return which migration the database stands at; None where it is empty."""
        try:
            with self.engine.connect() as connection:
                return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        except (OperationalError, ProgrammingError) as error:
            if _missing_table(error):
                return None
            raise NotAvailable(f"the database does not answer: {_short(error)}") from error

    def migrate(self) -> None:
        """Bring the tables up to date; of two starters one works and the other waits.

        Raises
        ------
        DatabaseTooNew : a later version wrote this database
        """
        found = self.revision()
        if found == HEAD:
            return
        if found is not None and found > HEAD:
            raise DatabaseTooNew(
                f"the database stands at {found}, this version knows {HEAD}; start a later one"
            )
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        with self._one_starter():
            if self.revision() == HEAD:
                return
            with self.write() as connection:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")

    @contextmanager
    def _one_starter(self) -> Iterator[None]:
        if self.is_sqlite:
            lock = Path(self.url.removeprefix("sqlite:///")).with_suffix(".lock")
            with lock.open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield
            return
        with self.engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:n)"), {"n": MIGRATION_LOCK})
            connection.commit()
            try:
                yield
            finally:
                connection.execute(text("SELECT pg_advisory_unlock(:n)"), {"n": MIGRATION_LOCK})
                connection.commit()


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # this program says BEGIN itself
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "temp_store=MEMORY",
        "cache_size=-32000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
    # SQLite's own knows A to Z only: a site named in Cyrillic would not be found by its name in small letters.
    connection.create_function("lower", 1, _lower, deterministic=True)


def _lower(value: str | None) -> str | None:
    return None if value is None else value.lower()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.info.get("write") else "BEGIN")


@contextmanager
def _translated() -> Iterator[None]:
    """State a database that does not answer as such; a broken statement stays the bug it is."""
    try:
        yield
    except DBAPIError as error:
        if error.connection_invalidated or isinstance(error, OperationalError):
            raise NotAvailable(f"the database does not answer: {_short(error)}") from error
        raise


def _missing_table(error: DBAPIError) -> bool:
    said = str(error.orig)
    return "no such table" in said or "does not exist" in said


def _short(error: DBAPIError) -> str:
    return str(error.orig).strip().splitlines()[0][:200]


def seconds(database: Database, connection: Connection) -> float:
    """Read the database's clock."""
    from sqlalchemy import select

    return float(connection.execute(select(database.now)).scalar_one())


def many(connection: Connection, statement: Any, rows: Sequence[dict[str, Any]]) -> None:
    """Run one statement over many rows, and none over none."""
    if rows:
        connection.execute(statement, list(rows))
