"""Both databases, a service over each, and clients."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from starlette.testclient import TestClient

from service.context import Service, open_service
from service.settings import Settings
from tests.service.support import PostgresServer, client_of, make_settings, private_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One private PostgreSQL for the session (per xdist worker)."""
    with private_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template(postgres: PostgresServer) -> str:
    """A migrated database to copy."""
    from service.database import Database

    admin = create_engine(f"{postgres.url}/postgres", isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("CREATE DATABASE migrated"))
    admin.dispose()
    database = Database(f"{postgres.url}/migrated")
    database.migrate()
    database.close()
    return "migrated"


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty (PostgreSQL: migrated) database of either kind; '' is SQLite in the data folder."""
    if request.param == "sqlite":
        yield ""
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.database(request.getfixturevalue("postgres_template")) as url:
        yield url


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    """Settings with short waits."""
    return make_settings(tmp_path / "data", database_url)


@pytest.fixture
def service(settings: Settings) -> Iterator[Service]:
    """The parts of a process."""
    made = open_service(settings)
    yield made
    made.close()


@pytest.fixture
def lite_service(tmp_path: Path) -> Iterator[Service]:
    """The parts of a process on SQLite, for what does not depend on the database."""
    made = open_service(make_settings(tmp_path / "data"))
    yield made
    made.close()


@pytest.fixture
def client(service: Service) -> TestClient:
    """A client with every scope."""
    return client_of(service)


@pytest.fixture
def lite_client(lite_service: Service) -> TestClient:
    """A client with every scope, on SQLite."""
    return client_of(lite_service)
