"""Leases: one holder at a time, fenced when lost, fair between tenants, capped, buried after enough deaths."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, select, update

from benchmarks.service_fake import FakeRunner
from imagery.errors import DepotwatchError
from service import jobs
from service.analysis_unit import AnalyseUnit, Step
from service.context import Service
from service.errors import LimitReached, NotAvailable
from service.intake import read_document
from service.leases import Fenced, Lease, LeaseRules, claim, fail, finish, heartbeat, release
from service.sites import create_site
from service.tables import jobs as jobs_table
from service.tables import keys, tenants, unit_log, units
from service.tenancy import ensure_tenant
from tests.service.support import feature, make_worker, square, work_off

RULES = LeaseRules(lease_s=30.0, max_attempts=3, backoff_s=0.0, max_running_per_tenant=8)
SHORT = LeaseRules(lease_s=0.3, max_attempts=3, backoff_s=0.0, max_running_per_tenant=8)


class Unusable(DepotwatchError):
    """Something that will be the same next time."""

    code = "unusable-for-a-test"


def with_work(service: Service, sites: int = 1, tenant: str = "first", kind: str = "analyse") -> str:
    """A job of so many sites; its id."""
    with service.database.write() as connection:
        owner = ensure_tenant(service.database, connection, tenant)
        made = []
        for i in range(sites):
            name = f"{tenant} {kind} {i} {time.monotonic_ns()}"
            draft = read_document(feature(name, geometry=square(10 + i))).drafts[0]
            made.append(create_site(service.database, connection, owner, draft, max_sites=1_000).id)
        request = jobs.JobRequest(kind, made, None, {})
        return jobs.submit(service.database, connection, owner, request, max_queued=1_000)


def nothing(_connection: Connection) -> tuple[str, bool]:
    return "report-x", False


def held(lease: Lease | None) -> Lease:
    assert lease is not None
    return lease


def state_of(service: Service, job: str) -> str:
    with service.database.read() as connection:
        return str(connection.execute(select(jobs_table.c.state).where(jobs_table.c.id == job)).scalar_one())


def test_many_claimers_never_share_a_unit(service: Service) -> None:
    with_work(service, sites=40)
    generous = LeaseRules(30.0, 3, 0.0, max_running_per_tenant=100)

    def take(owner: int) -> list[int]:
        taken = []
        while lease := claim(service.database, f"w{owner}", generous):
            taken.append(lease.unit)
        return taken

    with ThreadPoolExecutor(6) as pool:
        taken = [unit for found in pool.map(take, range(6)) for unit in found]
    assert len(taken) == len(set(taken)) == 40


def test_a_claim_waits_for_a_report_that_is_being_published_and_not_for_rows_that_point_to_its_tenant(
    service: Service,
) -> None:
    """On SQLite whoever writes is waited for anyhow; PostgreSQL must neither skip the tenant nor lock more than it."""
    with_work(service, sites=2)
    with ThreadPoolExecutor(1) as pool, service.database.write() as connection:
        connection.execute(update(tenants).values(feed_seq=tenants.c.feed_seq + 1))
        claimed = pool.submit(claim, service.database, "w", RULES)
        time.sleep(0.3)
        assert not claimed.done()
        connection.commit()
        assert held(claimed.result(30)).attempt == 1
    if service.database.is_sqlite:
        return
    with service.database.write() as connection:
        tenant = connection.execute(select(tenants.c.id)).scalar_one()
        values = {"id": "k", "tenant": tenant, "digest": "", "scopes": "", "tokens": 0.0, "tokens_at": 0.0}
        connection.execute(keys.insert().values(created=service.database.now, **values))
        with ThreadPoolExecutor(1) as pool:
            assert held(pool.submit(claim, service.database, "w", RULES).result(30)).attempt == 1


def test_a_claim_reads_no_more_of_a_long_queue_than_of_a_short_one(service: Service) -> None:
    with_work(service)
    with service.database.write() as connection:
        one = connection.execute(select(units)).one()._asdict()
        del one["id"]
        connection.execute(units.insert(), [one] * 20_000)
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        asked.append((statement, values))

    event.listen(service.database.engine, "before_cursor_execute", note)
    held(claim(service.database, "w", RULES))
    event.remove(service.database.engine, "before_cursor_execute", note)
    of_units = [entry for entry in asked if "UPDATE units" in entry[0]]
    assert len(of_units) == 1
    explain = "EXPLAIN QUERY PLAN " if service.database.is_sqlite else "EXPLAIN (ANALYZE, FORMAT JSON) "
    with service.database.write() as connection:
        if not service.database.is_sqlite:
            connection.exec_driver_sql("ANALYZE units")
        plan = connection.exec_driver_sql(explain + of_units[0][0], of_units[0][1]).all()
        connection.rollback()
    if service.database.is_sqlite:
        steps = [row[3] for row in plan]
        assert not [step for step in steps if "OR" in step.split() or step.startswith("SCAN")]
        assert sum("ix_units_state_tenant (state=? AND tenant=?)" in step for step in steps) == 2
    else:
        assert most_rows(plan[0][0][0]["Plan"]) <= 2


def most_rows(plan: dict[str, Any]) -> int:
    """The most rows that any part of a plan of PostgreSQL gave or threw away."""
    own = max(int(plan["Actual Rows"]), int(plan.get("Rows Removed by Filter", 0)))
    return max([own, *map(most_rows, plan.get("Plans", ()))])


def test_a_lease_that_ran_out_is_taken_over_and_its_old_holder_can_write_nothing(service: Service) -> None:
    job = with_work(service)
    old = held(claim(service.database, "old", SHORT))
    assert claim(service.database, "new", SHORT) is None
    time.sleep(0.4)
    new = held(claim(service.database, "new", SHORT))
    assert (new.unit, new.fence) == (old.unit, old.fence + 1)
    for attempt in (
        lambda: heartbeat(service.database, old, SHORT, "looks", 0.5),
        lambda: finish(service.database, old, nothing, ""),
        lambda: fail(service.database, old, SHORT, Unusable("x"), final=True),
        lambda: release(service.database, old),
    ):
        with pytest.raises(Fenced):
            attempt()
    finish(service.database, new, nothing, "done")
    assert state_of(service, job) == "successful"
    with service.database.read() as connection:
        codes = list(connection.execute(select(unit_log.c.code).order_by(unit_log.c.id)).scalars())
    assert codes == ["lease-lost", "published"]


@pytest.mark.parametrize(("scenes", "told"), [(2, 2), (25, 20)])
def test_the_log_names_scenes_that_were_left_out(service: Service, scenes: int, told: int) -> None:
    job = with_work(service)
    lease = held(claim(service.database, "w", RULES))
    left_out = [("unreadable-raster", f"scene-{n}.tif: is truncated") for n in range(scenes)]
    finish(service.database, lease, nothing, "3 changes in 2 looks", left_out)
    with service.database.read() as connection:
        *lines, last = jobs.log_lines(connection, job, 0, 100)
    assert [(line.level, line.code, line.message) for line in lines] == [
        ("warning", code, sentence) for code, sentence in left_out[:told]
    ]
    more = f"; {scenes} scenes were left out, all named in the report" if scenes > told else ""
    assert (last.level, last.message) == ("info", "3 changes in 2 looks" + more)


def test_a_fenced_finish_leaves_nothing_of_its_effect(service: Service) -> None:
    with_work(service)
    old = held(claim(service.database, "old", SHORT))
    time.sleep(0.4)
    held(claim(service.database, "new", SHORT))

    def effect(connection: Connection) -> tuple[str, bool]:
        connection.execute(tenants.insert().values(id="t-x", name="x", created=0.0))
        return "report-x", False

    with pytest.raises(Fenced):
        finish(service.database, old, effect, "")
    with service.database.read() as connection:
        assert connection.execute(select(tenants.c.id).where(tenants.c.id == "t-x")).first() is None


def test_a_heartbeat_keeps_a_lease(service: Service) -> None:
    with_work(service)
    steady = LeaseRules(lease_s=1.5, max_attempts=3, backoff_s=0.0, max_running_per_tenant=8)
    lease = held(claim(service.database, "one", steady))
    for _ in range(4):
        time.sleep(0.5)
        heartbeat(service.database, lease, steady, "looks", 0.5)
    assert claim(service.database, "two", steady) is None
    finish(service.database, lease, nothing, "")


def test_a_unit_whose_workers_always_die_is_buried_and_the_job_says_so(service: Service) -> None:
    job = with_work(service, sites=2)
    deadly = LeaseRules(0.05, 2, 0.0, 8)
    for _ in range(20):
        claim(service.database, "doomed", deadly)
        time.sleep(0.06)
    assert state_of(service, job) == "failed"
    with service.database.read() as connection:
        found = connection.execute(select(units.c.state, units.c.code)).all()
    assert {tuple(row) for row in found} == {("failed", "dead-letter")}


def test_one_failed_unit_among_many_leaves_the_job_successful_and_counted(service: Service) -> None:
    job = with_work(service, sites=3)
    first = held(claim(service.database, "one", RULES))
    assert fail(service.database, first, RULES, Unusable("no such thing"), final=True)
    work_off(service)
    with service.database.read() as connection:
        row = connection.execute(select(jobs_table).where(jobs_table.c.id == job)).one()
    assert (row.state, row.done, row.failed) == ("successful", 2, 1)


def test_a_passing_error_is_tried_again_after_a_pause_and_a_lasting_one_is_not(service: Service) -> None:
    with_work(service)
    slow = LeaseRules(30.0, 3, backoff_s=0.3, max_running_per_tenant=8)
    lease = held(claim(service.database, "one", slow))
    assert not fail(service.database, lease, slow, NotAvailable("away"), final=False)
    assert claim(service.database, "one", slow) is None
    time.sleep(0.35)
    again = held(claim(service.database, "one", slow))
    assert again.attempt == 2
    assert fail(service.database, again, slow, Unusable("bad"), final=True)
    assert claim(service.database, "one", slow) is None


def test_a_released_unit_is_free_at_once_and_the_attempt_is_not_counted(service: Service) -> None:
    with_work(service)
    release(service.database, held(claim(service.database, "one", RULES)))
    assert held(claim(service.database, "two", RULES)).attempt == 1


def test_a_tenant_never_holds_more_than_its_cap(service: Service) -> None:
    with_work(service, sites=10)
    capped = LeaseRules(30.0, 3, 0.0, max_running_per_tenant=3)
    with ThreadPoolExecutor(6) as pool:
        leases = list(pool.map(lambda i: claim(service.database, f"w{i}", capped), range(12)))
    held_at_once = sum(lease is not None for lease in leases)
    assert 1 <= held_at_once <= 3  # a claim that loses a race comes back empty-handed and asks again
    late = [claim(service.database, f"late {i}", capped) for i in range(3)]
    assert held_at_once + sum(lease is not None for lease in late) == 3
    with service.database.write() as connection:
        connection.execute(update(tenants).values(max_running=4))
    assert claim(service.database, "more", capped) is not None
    assert claim(service.database, "more", capped) is None


def test_a_batch_starves_neither_another_tenant_nor_a_site_just_submitted(service: Service) -> None:
    with_work(service, sites=20, tenant="big", kind="reprocess")
    for _ in range(2):
        held(claim(service.database, "w", RULES))
    small = with_work(service, tenant="small")
    assert held(claim(service.database, "w", RULES)).job == small
    urgent = with_work(service, tenant="big")
    assert held(claim(service.database, "w", RULES)).job == urgent


def test_a_worker_of_one_job_leaves_the_others_alone(service: Service) -> None:
    with_work(service, sites=2)
    mine = with_work(service, sites=2, tenant="second", kind="reprocess")
    taken = [claim(service.database, "w", RULES, mine) for _ in range(3)]
    assert [lease and lease.job for lease in taken] == [mine, mine, None]
    assert held(claim(service.database, "w", RULES)).job != mine


def test_too_much_waiting_is_refused(service: Service) -> None:
    with service.database.write() as connection:
        owner = ensure_tenant(service.database, connection, "first")
        draft = read_document(feature("one")).drafts[0]
        site = create_site(service.database, connection, owner, draft, max_sites=10).id
        request = jobs.JobRequest("analyse", [site], None, {})
        jobs.submit(service.database, connection, owner, request, max_queued=1)
        with pytest.raises(LimitReached):
            jobs.submit(service.database, connection, owner, request, max_queued=1)


def test_a_bug_in_the_analysis_is_told_without_its_trace_and_tried_again(service: Service) -> None:
    with_work(service)
    calls = []

    def broken_once(unit: AnalyseUnit, out: Path, step: Step) -> None:
        calls.append(unit.site)
        if len(calls) == 1:
            raise ZeroDivisionError("secret detail")
        FakeRunner()(unit, out, step)

    assert work_off(service, broken_once) == 2
    with service.database.read() as connection:
        lines = connection.execute(select(unit_log.c.code, unit_log.c.message).order_by(unit_log.c.id)).all()
    assert [line.code for line in lines] == ["internal", "published"]
    assert "secret detail" not in lines[0].message


def test_a_stopped_worker_gives_its_unit_back(service: Service) -> None:
    with_work(service)
    worker = make_worker(service)

    def stopped_meanwhile(unit: AnalyseUnit, out: Path, step: Step) -> None:
        worker._stop_at = 0.0
        FakeRunner()(unit, out, step)

    worker.runner = stopped_meanwhile
    assert worker.run_one()
    assert work_off(service) == 1


def test_a_worker_that_loses_its_lease_stops_at_the_next_step(service: Service) -> None:
    with_work(service)
    begun, go_on = threading.Event(), threading.Event()
    steps = []

    def long(unit: AnalyseUnit, out: Path, step: Step) -> None:
        step("looks", 0, 2)
        begun.set()
        go_on.wait(10)
        step("looks", 1, 2)
        steps.append("went on")

    worker = make_worker(service, long)
    worker.rules = LeaseRules(0.3, 3, 0.0, 8)
    thread = threading.Thread(target=worker.run_one)
    thread.start()
    assert begun.wait(10)
    with service.database.write() as connection:
        connection.execute(update(units).values(fence=99))
    time.sleep(0.3)
    go_on.set()
    thread.join(10)
    assert steps == []
