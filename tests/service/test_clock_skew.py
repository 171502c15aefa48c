"""Workers whose clocks are hours apart agree on who holds a unit: only the database's clock counts."""

import time
from collections.abc import Callable

import pytest
from sqlalchemy import select

from service.context import Service
from service.database import seconds
from service.leases import Fenced, Lease, LeaseRules, claim, finish, heartbeat
from service.tables import reports, units
from tests.service.support import make_worker
from tests.service.test_leases import held, nothing, with_work

HOUR = 3600.0
RULES = LeaseRules(lease_s=60.0, max_attempts=3, backoff_s=0.0, max_running_per_tenant=8)
SHORT = LeaseRules(lease_s=0.5, max_attempts=3, backoff_s=0.0, max_running_per_tenant=8)
Skew = Callable[[float], None]


@pytest.fixture
def skewed(monkeypatch: pytest.MonkeyPatch) -> Skew:
    """Return what sets this process's clocks off by so many seconds, as seen by any code of ours."""
    real, exact = time.time, time.monotonic

    def set_off(seconds: float) -> None:
        monkeypatch.setattr(time, "time", lambda: real() + seconds)
        monkeypatch.setattr(time, "monotonic", lambda: exact() + seconds)

    return set_off


def lease_left(service: Service, lease: Lease) -> float:
    """Return how long a lease has to go, by the database's clock."""
    with service.database.read() as connection:
        left = select(units.c.lease_until - service.database.now).where(units.c.id == lease.unit)
        return float(connection.execute(left).scalar_one())


@pytest.mark.parametrize("ahead", [-5 * HOUR, 5 * HOUR])
def test_a_worker_whose_clock_is_off_neither_steals_nor_keeps_longer(
    service: Service, skewed: Skew, ahead: float
) -> None:
    with_work(service)
    lease = held(claim(service.database, "right", RULES))
    skewed(ahead)
    assert claim(service.database, "wrong", RULES) is None
    heartbeat(service.database, lease, RULES, "looks", 0.5)
    assert 0 < lease_left(service, lease) <= RULES.lease_s
    skewed(-ahead)
    assert claim(service.database, "wrong the other way", RULES) is None
    finish(service.database, lease, nothing, "done")


@pytest.mark.parametrize("ahead", [-5 * HOUR, 5 * HOUR])
def test_a_dead_workers_unit_is_taken_over_on_time_whatever_the_clocks_say(
    service: Service, skewed: Skew, ahead: float
) -> None:
    with_work(service)
    skewed(ahead)
    first = held(claim(service.database, "dies", SHORT))
    assert lease_left(service, first) <= SHORT.lease_s
    skewed(-ahead)
    assert claim(service.database, "heir", SHORT) is None
    time.sleep(2 * SHORT.lease_s)
    second = held(claim(service.database, "heir", RULES))
    assert second.unit == first.unit
    assert second.attempt == first.attempt + 1
    with pytest.raises(Fenced):
        finish(service.database, first, nothing, "too late")
    finish(service.database, second, nothing, "done")


@pytest.mark.parametrize("ahead", [-5 * HOUR, 5 * HOUR])
def test_a_whole_worker_whose_clock_is_off_publishes_under_the_databases_time(
    service: Service, skewed: Skew, ahead: float
) -> None:
    with_work(service, sites=2)
    held(claim(service.database, "right", RULES))
    skewed(ahead)
    worker = make_worker(service)
    assert worker.run_one()
    assert not worker.run_one()
    with service.database.read() as connection:
        now = seconds(service.database, connection)
        made = connection.execute(select(reports.c.created)).scalars().all()
        states = connection.execute(select(units.c.state).order_by(units.c.id)).scalars().all()
    assert states == ["running", "successful"]
    assert [abs(now - created) < 60.0 for created in made] == [True]
