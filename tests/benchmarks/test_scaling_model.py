"""The model multiplies what was measured and knows one gate; the pages made from it say what it says."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.scaling_model import Plan, Sensor, batch_seconds, most_workers, needs
from benchmarks.throughput_docs import RESULTS, pages, scaling_page

COST: dict[str, Any] = {
    "cpu_s_per_look": 2.0, "cpu_s_per_report": 3.0, "report_looks": 10, "scene_mb_per_look": 8.0,
    "product_mb_per_look": 4.0, "report_mb": 1.0, "report_files": 20, "km2": 2.6,
}  # fmt: skip
SAID: dict[str, Any] = {
    "cost": {"look": COST},
    "requests": {"per_look": {"cold": {"GET": 4.0, "PUT": 3.0}, "warm": {"GET": 3.0}}},
    "queue_postgresql": [{"rows_per_unit": {"changes": 30.0, "units": 1.0}, "database_bytes_per_unit": 1000}],
}


@given(st.integers(1, 10_000), st.floats(0.01, 100), st.integers(1, 500), st.floats(0.1, 1e4))
def test_a_batch_never_takes_less_than_its_work_or_its_gate(
    units: int, unit_s: float, slots: int, units_per_s: float
) -> None:
    took = batch_seconds(units, unit_s, slots, units_per_s)
    assert took >= units * unit_s / slots * 0.999999
    assert took >= units / units_per_s
    assert took >= batch_seconds(units, unit_s, slots + 1, units_per_s)


def test_workers_beyond_the_gate_gain_nothing() -> None:
    most = round(most_workers(2.0, 50.0))
    assert batch_seconds(100_000, 2.0, most, 50.0) == pytest.approx(2000.0)
    assert batch_seconds(100_000, 2.0, 2 * most, 50.0) == pytest.approx(2000.0)


def test_what_a_plan_needs_is_what_was_measured_times_how_often() -> None:
    plan = Plan(100, 2.0, (Sensor("s", "look", 36.525),))
    found = needs(plan, SAID)
    assert found.looks == pytest.approx(100 * 73.05)
    assert found.looks_per_day == pytest.approx(10.0)
    assert found.core_hours == pytest.approx(100 * 73.05 * (2.0 + 0.3) / 3600)
    assert found.products_tb == pytest.approx(100 * 73.05 * 4.0 / 1e6)
    assert found.requests == pytest.approx(100 * 73.05 * 7 + 100 * 20)
    assert found.rows_per_day == pytest.approx(310.0)
    # Each of ten looks a day and a report over half of the site's 73 looks at 0.3 s each.
    assert found.core_hours_per_day == pytest.approx((10 * 2.0 + 10 * 73.05 * 0.3 / 2) / 3600)
    half = SAID | {"cost": {"look": COST | {"km2": 1.3}}}
    assert needs(plan, half).core_hours == pytest.approx(2 * found.core_hours)
    assert needs(Plan(200, 2.0, plan.sensors), SAID).looks == 2 * found.looks


RUN = {
    "worker_cpu_ms": 80.0,
    "server_cpu_ms": 20.0,
    "writing_ms": 70.0,
    "writing_cpu_ms": 50.0,
    "empty_handed": 0,
    "load_average": 2.0,
}
QUEUE = [{"workers": 4, "units_per_s": 3.5, "of_ideal": 0.875, **RUN, **SAID["queue_postgresql"][0]}]
TOLD = SAID | {
    "cores": {"cost": 2, "queue": 4, "dask": 4},
    "cost": {
        name: COST | {"what": name, "cpu_s_per_km2_look": 1.0, "peak_mib": 500.0}
        for name in ("look_0.5m", "look_3m", "look_10m")
    },
    "queue_postgresql": QUEUE,
    "dask": {
        "tasks_per_s": 1000.0,
        "scheduler_cpu_ms": 0.5,
        "client_cpu_ms": 0.25,
        "load_average": 2.0,
    },
}


def test_the_page_says_where_it_bends_and_leaves_out_what_was_not_measured() -> None:
    page = scaling_page(TOLD)
    words = " ".join(page.split())
    assert (
        "passed 1,000 tasks a second at best, the load being 2. With the cheapest look (2.00 s) it keeps 2,000"
        in words
    )
    assert "with a core each, at most 2,000 a second" in words
    assert "The table of leases on postgresql** ended at most 3.5 units a second" in page
    assert "A unit takes 100 ms of the processor beside its own work: these 4 cores pass 40 a second" in words
    assert "What bends first here is the processor." in words
    assert "write lock" not in page
    both = scaling_page(TOLD | {"queue_sqlite": QUEUE})
    said = " ".join(both.split())
    assert (
        "50 ms of a unit are spent in such, which would pass 20 a second. What bends first here is its one"
        in said
    )
    assert both.index("| sqlite | 4 |") < both.index("| postgresql | 4 |")
    assert "needs of memory" not in page
    assert "| looks | 6.8 million |" in page
    assert "cores that others used too (2: cost; 4: dask, queue)" in words
    assert "## The simulation" not in page
    assert "sqlite**" not in page
    assert "## Where it bends" not in scaling_page({name: TOLD[name] for name in ("cores", "cost")})


def test_the_pages_are_those_of_the_results() -> None:
    written = pages()
    assert set(written) == {"performance-analysis.md", "scaling.md"}
    for name, text in written.items():
        assert (RESULTS.parents[1] / "docs" / name).read_text("utf-8") == text
