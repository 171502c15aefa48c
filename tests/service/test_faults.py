"""Whatever dies, all accepted work ends exactly once: units, reports and feed entries are counted afterwards.

The long run, a thousand kills, is ``python -m benchmarks.service_faults``; its outcome is in docs/operations.md.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.service_faults import run_faults
from tests.service.support import PostgresServer, private_postgres

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("faults")]
KILLS = 50


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL that may be restarted without disturbing others."""
    with private_postgres() as server:
        yield server


def test_fifty_kills_on_sqlite_lose_and_double_nothing(tmp_path: Path) -> None:
    outcome = run_faults(tmp_path, "", kills=KILLS)
    assert outcome.faults == []
    assert outcome.successful == outcome.units == outcome.reports > 0


def test_fifty_kills_on_postgres_lose_and_double_nothing(
    tmp_path: Path, own_postgres: PostgresServer
) -> None:
    with own_postgres.database() as url:
        outcome = run_faults(tmp_path, url, kills=KILLS)
    assert outcome.faults == []
    assert outcome.successful == outcome.units == outcome.reports > 0


def test_a_database_restarted_under_load_loses_nothing(tmp_path: Path, own_postgres: PostgresServer) -> None:
    restarts = []

    def restart(kill: int) -> None:
        if kill in {4, 10} and kill not in restarts:
            restarts.append(kill)
            own_postgres.stop("immediate" if kill == 4 else "fast")
            own_postgres.start()

    with own_postgres.database() as url:
        outcome = run_faults(tmp_path, url, kills=14, disturb=restart)
    assert restarts == [4, 10]
    assert outcome.faults == []
    assert outcome.successful == outcome.units == outcome.reports > 0
