"""Whatever dies, all accepted work ends exactly once: units, reports and feed entries are counted afterwards.

The long run, a thousand kills, is ``python -m benchmarks.service_faults``; its outcome is in docs/operations.md.
"""

import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.service_faults import Outcome, World, run_faults
from tests.service.s3 import BUCKET, stumbling_s3
from tests.service.support import PostgresServer, private_postgres

pytestmark = pytest.mark.long
KILLS = 50


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL that may be restarted without disturbing others."""
    with private_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database of either kind."""
    if request.param == "sqlite":
        yield ""
        return
    server: PostgresServer = request.getfixturevalue("own_postgres")
    with server.database() as url:
        yield url


def nothing_is_lost_or_doubled(outcome: Outcome) -> None:
    assert outcome.faults == []
    assert outcome.successful == outcome.units == outcome.reports > 0


def test_fifty_kills_lose_and_double_nothing(tmp_path: Path, database: str) -> None:
    nothing_is_lost_or_doubled(run_faults(tmp_path, World(database), kills=KILLS))


def test_workers_frozen_past_their_lease_write_nothing_when_they_wake(tmp_path: Path, database: str) -> None:
    outcome = run_faults(tmp_path, World(database), kills=8, freeze_share=0.5)
    assert outcome.freezes >= 3
    assert outcome.executions > outcome.units
    nothing_is_lost_or_doubled(outcome)


def test_a_database_restarted_under_load_loses_nothing(tmp_path: Path, own_postgres: PostgresServer) -> None:
    restarts = []

    def restart(kill: int) -> None:
        if kill in {4, 10} and kill not in restarts:
            restarts.append(kill)
            own_postgres.stop("immediate" if kill == 4 else "fast")
            own_postgres.start()

    with own_postgres.database() as url:
        outcome = run_faults(tmp_path, World(url), kills=14, disturb=restart)
    assert restarts == [4, 10]
    nothing_is_lost_or_doubled(outcome)


def test_a_database_file_that_somebody_locks_for_seconds_loses_nothing(tmp_path: Path) -> None:
    locked = []

    def lock(kill: int) -> None:
        if kill in {4, 10} and kill not in locked:
            locked.append(kill)
            threading.Thread(target=hold, daemon=True).start()

    def hold() -> None:
        with sqlite3.connect(tmp_path / "depotwatch.db", timeout=30) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            time.sleep(2.5)
        connection.close()

    outcome = run_faults(tmp_path, World(), kills=14, disturb=lock)
    assert locked == [4, 10]
    nothing_is_lost_or_doubled(outcome)


def test_a_store_that_takes_no_file_for_a_while_loses_nothing(tmp_path: Path, database: str) -> None:
    """A file where the folder of blobs was fails every write as a full disk does, and for every user alike."""
    blobs, away = tmp_path / "artefacts" / "blobs", tmp_path / "artefacts" / "away"
    broken = []

    def block() -> None:
        """Put the file there; a worker may make the folder anew in between, and what it wrote is kept."""
        plug = tmp_path / "plug"
        plug.touch()
        blobs.rename(away)
        while True:
            try:
                os.link(plug, blobs)
                return
            except FileExistsError:
                anew = blobs.rename(tmp_path / "anew")
                shutil.copytree(anew, away, dirs_exist_ok=True)
                shutil.rmtree(anew)

    def disturb(kill: int) -> None:
        if kill == 4 and not broken:
            block()
            broken.append(time.monotonic())
        if kill >= 9 and away.exists():
            blobs.unlink()
            away.rename(blobs)
            broken.append(time.monotonic())

    outcome = run_faults(tmp_path, World(database), kills=14, disturb=disturb)
    assert broken[1] - broken[0] > 0.2
    assert outcome.executions > outcome.units
    nothing_is_lost_or_doubled(outcome)


def test_an_object_store_that_answers_500_loses_nothing(tmp_path: Path, database: str) -> None:
    with stumbling_s3() as s3:
        s3.share = 0.15
        world = World(database, f"s3://{BUCKET}/faults", tuple(s3.environment.items()))
        with pytest.MonkeyPatch.context() as patch:
            for name, value in s3.environment.items():
                patch.setenv(name, value)
            outcome = run_faults(tmp_path, world, kills=4, sites=3)
        assert s3.failed > 0
    nothing_is_lost_or_doubled(outcome)
