"""What many sites over years need, from what one look and one report were measured to take.

The model is a handful of products and one maximum: units run side by side until something every unit must pass through
one at a time (the scheduler, the table of leases) takes as long as all workers together.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DAYS_PER_YEAR = 365.25
SITE_KM2 = 2.6


@dataclass(frozen=True, slots=True)
class Sensor:
    """One source of looks: which measured cost applies, and how many usable scenes of a site it gives a year."""

    name: str
    cost: str
    looks_per_year: float


@dataclass(frozen=True, slots=True)
class Plan:
    """So many sites over so many years."""

    sites: int
    years: float
    sensors: tuple[Sensor, ...]


TEN_THOUSAND = Plan(
    10_000,
    5.0,
    (
        Sensor("10 m, every five days", "look_10m", 73.0),
        Sensor("3 m, weekly", "look_3m", 52.0),
        Sensor("0.5 m, monthly", "look_0.5m", 12.0),
    ),
)


@dataclass(frozen=True, slots=True)
class Needs:
    """What a plan takes once (the archive) and then every day (what arrives)."""

    looks: float
    core_hours: float
    reading_tb: float
    products_tb: float
    reports_tb: float
    requests: float
    looks_per_day: float
    core_hours_per_day: float
    requests_per_day: float
    rows_per_day: float
    database_gb_per_year: float


def batch_seconds(units: int, unit_s: float, slots: int, units_per_s: float) -> float:
    """Return how long a batch takes: its units side by side, or one after the other where all must pass one gate.

    ``units_per_s`` is what that gate lets through. The last wave of units is as long as any.
    """
    waves = -(-units // slots)
    return max(waves * unit_s, units / units_per_s)


def needs(plan: Plan, said: Mapping[str, Any], kind: str = "postgresql") -> Needs:
    """Multiply measured costs out.

    Sites are of ``SITE_KM2``. A new look costs itself and a new report of its site, whose cost grows with the looks it goes through; both are taken
    as measured, the report's in proportion to looks, half of the plan's being there on average.
    """
    cost, asked, queue = said["cost"], said["requests"]["per_look"], said[f"queue_{kind}"][-1]
    a_site = {s: s.looks_per_year * plan.years for s in plan.sensors}

    def over_a_site(name: str) -> float:
        return sum(n * of_a_site(cost[s.cost], name) for s, n in a_site.items())

    looks = plan.sites * sum(a_site.values())
    look_s = plan.sites * over_a_site("cpu_s_per_look")
    report_s = sum(
        n * of_a_site(cost[s.cost], "cpu_s_per_report") / cost[s.cost]["report_looks"]
        for s, n in a_site.items()
    )
    report_mb = sum(cost[s.cost]["report_mb"] for s in plan.sensors)
    per_day = looks / plan.years / DAYS_PER_YEAR
    day_s = look_s / plan.years / DAYS_PER_YEAR + per_day * report_s / 2
    cold, warm = (sum(asked[name].values()) for name in ("cold", "warm"))
    files = sum(cost[s.cost]["report_files"] for s in plan.sensors)
    looks_of_a_report = sum(a_site.values()) / 2
    return Needs(
        looks,
        (look_s + plan.sites * report_s) / 3600,
        plan.sites * over_a_site("scene_mb_per_look") / 1e6,
        plan.sites * over_a_site("product_mb_per_look") / 1e6,
        plan.sites * report_mb / 1e6,
        looks * cold + plan.sites * files,
        per_day,
        day_s / 3600,
        per_day * (cold + warm * looks_of_a_report + files),
        per_day * sum(queue["rows_per_unit"].values()),
        per_day * DAYS_PER_YEAR * queue["database_bytes_per_unit"] / 1e9,
    )


def of_a_site(cost: Mapping[str, Any], name: str) -> float:
    """Return a cost in proportion to the site's area; what does not grow with it is then counted too high, not too low."""
    return float(cost[name]) * SITE_KM2 / float(cost["km2"])


def most_workers(unit_s: float, units_per_s: float) -> float:
    """Return how many workers a gate keeps busy: where the plan bends."""
    return unit_s * units_per_s
