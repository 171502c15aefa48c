"""Write ``docs/performance-analysis.md`` and ``docs/scaling.md`` from what was measured.

python -m benchmarks.throughput_docs
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import throughput_targets
from benchmarks.scaling_model import SITE_KM2, TEN_THOUSAND, Needs, Plan, most_workers, needs, of_a_site
from pipelines.memory import (
    CHIP_BYTES_PER_PX,
    IDLE_BYTES,
    LOOK_BYTES_PER_PX,
    SERIES_BYTES_PER_PX,
    SHARE_OF_MEMORY,
)
from pipelines.working_memory import KEPT_FREE

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
SHARES = ("search", "chips", "looks", "changes", "report")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def performance_page(said: dict[str, Any], kills: dict[str, Any] | None = None) -> str:
    """Return what an analysis costs, with targets and peers; ``kills`` is of ``benchmarks.batch_kills``."""
    cases = said["cases"]
    against = {name: case for name, case in cases.items() if "ratio_to_floor" in case}
    rows = [
        [
            name, case["what"], f"{case['floor_cpu_s']:.1f}", f"{case['analyse_cpu_s']:.1f}",
            f"**{case['ratio_to_floor']:.1f}**", f"{case['km2_per_minute_one_core']:.1f}", f"{case['peak_mib']:.0f}",
        ]
        for name, case in against.items()
    ]  # fmt: skip
    shares = [[n, *(f"{100 * c['step_shares'].get(s, 0):.0f} %" for s in SHARES)] for n, c in against.items()]
    parts = [
        "# Performance, as measured",
        "Made by `python -m benchmarks.throughput_docs` from `benchmarks/results/throughput.json`; edit neither by hand. CPU\n"
        "seconds on one core, medians. The floor reads and warps the same pixels once with rasterio alone; both alternate in\n"
        f"one run, each in a process of its own. Scenes were made for timing. Others used the machines too ({_cores(cases)}), so\n"
        "ratios mean more than seconds.",
        "## Against what was aimed at",
        "Gate, ambitious and extreme; the last column says why the gate was missed, where it was.",
        table(
            ["target", "what", "measured", "aimed at", "reached", "why not"], throughput_targets.rows(cases)
        ),
        *_bytes(cases.get("workers")),
        *_kills(kills),
        "## Cases",
        table(["case", "what", "floor, s", "analyse, s", "ratio", "km² per minute", "peak MiB"], rows),
        "## Share of each step",
        table(["case", *SHARES], shares),
        *_increments(
            [cases[name] for name in ("increment", "increment_yard", "increment_depot") if name in cases]
        ),
        *_workers(cases.get("workers")),
        *_memory(cases.get("memory")),
        *_peers(cases.get("peers")),
    ]
    return "\n\n".join(parts) + "\n"


def _cores(cases: Mapping[str, Any]) -> str:
    """Say on how many cores which cases were measured."""
    by_count: dict[int, list[str]] = {}
    for name, case in sorted(cases.items()):
        by_count.setdefault(case["cores"], []).append(name)
    return "; ".join(f"{count} cores: {', '.join(names)}" for count, names in sorted(by_count.items()))


def _bytes(case: dict[str, Any] | None) -> list[str]:
    if case is None or "failed" in case:
        return []
    same = "are the same bytes" if case["same_bytes"] else "are NOT the same bytes"
    return [
        f"G16: reports of one, two and four processes and four threads {same} here; `tests/acceptance/test_same_bytes.py` shows it "
        "for 1, 2\nand 4 workers, threads, processes, a Dask cluster, products in a folder and in S3, and products deleted and made again."
    ]


def _kills(said: dict[str, Any] | None) -> list[str]:
    if said is None:
        return []
    return [
        "## Killed all the while (G18)",
        "`python -m benchmarks.batch_kills`: workers of one batch of real analyses are killed (SIGKILL) at random. What a killed "
        "worker had done\nsince its last finished step is lost; what its successor does until it comes past that step counts as done "
        "twice, although most of it\nonly finds what is kept: the share grows with the number of kills, the seconds for each do not. The first run was of "
        "the code of 23 November.",
        table(
            ["what", *(f"run {n}" for n, _ in enumerate(said["runs"], 1))],
            throughput_targets.kill_rows(said["runs"]),
        ),
    ]


def _increments(cases: Sequence[dict[str, Any]]) -> list[str]:
    told = [_increment(case) for case in cases if "failed" not in case]
    return ["## What is known already is not computed again", *told] if told else []


def _increment(case: dict[str, Any]) -> str:
    return (
        f"{case['what']}. The first analysis of all {case['looks']} looks took {case['cold_cpu_s']:.1f} s; adding one look to "
        f"the others **{case['one_scene_more_of_cold']:.3f}** of that, changing one parameter of the\ndetector "
        f"**{case['parameter_changed_of_cold']:.3f}**, medians of {case['rounds']} on copies of one store. The report from kept products is "
        f"{'the same bytes as' if case['same_bytes_warm_and_cold'] else 'NOT the same bytes as'} the one made from nothing."
    )


def _workers(case: dict[str, Any] | None) -> list[str]:
    if case is None or "failed" in case:
        return []
    one = case["one_wall_s"]
    rows = [
        [text, f"{case[name]:.1f}", f"{one / case[name]:.2f}"]
        for text, name in (
            ("one process", "one_wall_s"), ("two processes", "two_processes_wall_s"),
            ("four processes", "four_processes_wall_s"), ("four threads", "four_threads_wall_s"),
        )
    ]  # fmt: skip
    return [
        "## More workers",
        f"{case['what']}, seconds on the clock. All four reports are "
        f"{'the same bytes' if case['same_bytes'] else 'NOT the same bytes'}; a cluster over S3 is compared in\n"
        f"`tests/acceptance/test_same_bytes.py`. Others used the machine too: {case['load_average_before']:.1f} processes waited "
        "for its cores before the run.",
        table(["workers of one site", "seconds", "times as fast"], rows),
        *_batch(case),
    ]


def _batch(case: dict[str, Any]) -> list[str]:
    if "batch_speedup" not in case:
        return []
    return [
        f"A batch, one worker per site: {case['batch_sites']} sites like this at once took {case['batch_wall_s']:.1f} s, "
        f"**{case['batch_speedup']:.2f}** times as fast as one after the\nother; each then took "
        f"{case['batch_cpu_of_alone']:.2f} times the CPU seconds it takes alone, which is what caches and memory that are shared cost."
    ]


def _memory(case: dict[str, Any] | None) -> list[str]:
    if case is None or "failed" in case:
        return []
    return [
        "## Memory",
        f"{case['what']}: peak {case['peak_mib'] / 1024:.2f} GiB, {case['cpu_s']:.0f} CPU seconds.",
    ]


def _peers(case: dict[str, Any] | None) -> list[str]:
    if case is None or "failed" in case:
        return []
    named = (
        ("floor: rasterio, read and warp once", "floor_cpu_s"),
        ("our reader: the same, and what hides the ground", "read_cpu_s"),
        ("odc-stac: load the same", "odc_stac_cpu_s"),
        ("dask.delayed loop over our steps, no report, nothing kept", "delayed_cpu_s"),
        ("analyse: everything, report included", "analyse_cpu_s"),
        ("analyse again with kept products", "analyse_again_cpu_s"),
    )
    rows = [
        [text, f"{case[name]:.1f}", f"{case[name] / case['floor_cpu_s']:.1f}"]
        for text, name in named
        if name in case
    ]
    return [
        "## Beside others",
        f"{case['what']}, CPU seconds on one core, medians of three runs that alternate. The loop pays its price again for every "
        "look\nthat is added and every parameter that is changed.",
        table(["what", "seconds", "times the floor"], rows),
    ]


def scaling_page(
    said: dict[str, Any], plan: Plan = TEN_THOUSAND, memory: dict[str, Any] | None = None
) -> str:
    """Return what ten thousand sites need, and where the plan bends; what was not measured is not said."""
    by_count: dict[int, list[str]] = {}
    for part, cores in sorted(said["cores"].items()):
        by_count.setdefault(cores, []).append(part)
    cores = "; ".join(f"{count}: {', '.join(named)}" for count, named in sorted(by_count.items()))
    parts = [
        "# Past one machine",
        "Made by `python -m benchmarks.throughput_docs` from `benchmarks/results/scaling.json` (`python -m benchmarks.scaling`) and "
        f"`memory.json`;\nedit none by hand. Measured on cores that others used too ({cores}); the scenes were made for timing.",
    ]
    queues = [kind for kind in ("sqlite", "postgresql") if f"queue_{kind}" in said]
    if "cost" in said:
        parts += [
            "## What one look and one report cost",
            _cost_table(said),
            "A look is read, registered, normalised and looked at once, whatever is asked of it later. A report is made again "
            "with every new\nlook of its site. Peak memory is of the whole analysis in one process.",
        ]
    if "requests" in said:
        parts += ["## What they ask of an object store", _requests(said)]
    if queues:
        parts += ["## What a unit leaves in the database", _rows(said)]
    if "cost" in said and "requests" in said and queues:
        parts += [
            f"## {plan.sites:,} sites, {plan.years:g} years, {len(plan.sensors)} sensors",
            _assumed(plan),
            _needs_table(plan, said, queues[-1]),
        ]
    if queues and "dask" in said and "cost" in said:
        parts += ["## Where it bends first", _bends(plan, said, queues)]
    if memory is not None:
        parts += ["## What a unit needs of memory", memory_text(memory)]
    if "check" in said:
        parts += ["## The simulation behind it", _check(said)]
    return "\n\n".join([*parts, "## What is kept", KEPT]) + "\n"


KEPT = """Products may be deleted at any time: whatever needs one makes it again, with the same bytes, also under a run at work.
`depotwatch products list` says what those of each step take and when they were last used (in an object store: when they
were written); `depotwatch products gc --older-than DAYS --keep-size BYTES [--dry-run]` deletes the longest unused, never what
was used within the hour, and files in the artefact store that no report points to once they are a day old. Reports and
their evidence are never deleted by it. A look that is looked at once and whose report stands needs no products: keeping a
month of them makes re-runs cheap, keeping all of them is a matter of the table above."""


def _cost_table(said: dict[str, Any]) -> str:
    rows = [
        [
            each["what"], f"{each['cpu_s_per_look']:.2f}", f"{each['cpu_s_per_km2_look']:.3f}",
            f"{each['cpu_s_per_report']:.2f}", f"{each['product_mb_per_look']:.2f}", f"{each['report_mb']:.1f}",
            str(each["report_files"]), f"{each['peak_mib']:.0f}",
        ]
        for each in said["cost"].values()
    ]  # fmt: skip
    head = ["site", "CPU s per look", "per km² and look", "CPU s per report", "products, MB per look", "report, MB", "files", "MiB"]  # fmt: skip
    return table(head, rows)


def _requests(said: dict[str, Any]) -> str:
    rows = [
        [
            text,
            *(
                f"{said['requests']['per_look'][name].get(method, 0):.1f}"
                for method in ("GET", "PUT", "HEAD")
            ),
        ]
        for text, name in (("a look that is new", "cold"), ("a look whose products are there", "warm"))
    ]
    return table(["per look", "GET", "PUT", "HEAD"], rows) + "\n\nA report is one PUT per file besides."


def _rows(said: dict[str, Any]) -> str:
    lines = []
    for kind in ("sqlite", "postgresql"):
        if found := said.get(f"queue_{kind}"):
            per = found[-1]["rows_per_unit"]
            listed = ", ".join(
                f"{name} {n:g}" for name, n in sorted(per.items(), key=lambda e: (-e[1], e[0])) if n >= 0.5
            )
            lines.append(
                f"- {kind}: {sum(per.values()):.0f} rows, {found[-1]['database_bytes_per_unit'] / 1e3:.0f} kB ({listed})"
            )
    return "A report of 30 changes and three looks, all of them news, and its site:\n\n" + "\n".join(lines)


def _assumed(plan: Plan) -> str:
    listed = "; ".join(
        f"{sensor.name} ({sensor.looks_per_year:g} usable looks a year)" for sensor in plan.sensors
    )
    return f"Assumed: sites of {SITE_KM2:g} km², costs in proportion to area; {listed}. Every site is analysed as soon as one of its looks arrives."


def _needs_table(plan: Plan, said: dict[str, Any], kind: str) -> str:
    found: Needs = needs(plan, said, kind)
    once = [
        ["looks", f"{found.looks / 1e6:.1f} million"],
        ["core hours", f"{found.core_hours:,.0f}"],
        ["days on 64 cores", f"{found.core_hours / 64 / 24:.1f}"],
        ["pixels read, compressed", f"{found.reading_tb:.1f} TB"],
        ["products, if all are kept", f"{found.products_tb:.1f} TB"],
        ["reports, one of each site and sensor", f"{found.reports_tb:.2f} TB"],
        ["object-store requests", f"{found.requests / 1e6:,.0f} million"],
    ]
    daily = [
        ["looks", f"{found.looks_per_day:,.0f}"],
        ["core hours", f"{found.core_hours_per_day:,.0f}"],
        ["cores busy all day", f"{found.core_hours_per_day / 24:.0f}"],
        ["object-store requests", f"{found.requests_per_day / 1e6:.1f} million"],
        ["database rows", f"{found.rows_per_day / 1e6:.2f} million"],
        ["database growth", f"{found.database_gb_per_year:,.0f} GB a year"],
    ]
    return (
        "The archive, once:\n\n" + table(["what", "how much"], once)
        + "\n\nThen every day:\n\n" + table(["what", "how much"], daily)
    )  # fmt: skip


def _bends(plan: Plan, said: dict[str, Any], queues: Sequence[str]) -> str:
    rows = [
        [
            kind, str(each["workers"]), f"{each['units_per_s']:.1f}", f"{100 * each['of_ideal']:.0f} %",
            f"{each['worker_cpu_ms']:.0f}", f"{each['server_cpu_ms']:.0f}", f"{each['writing_ms']:,.0f}",
            f"{each['load_average']:.0f}",
        ]
        for kind in queues
        for each in said[f"queue_{kind}"]
    ]  # fmt: skip
    head = ["database", "workers", "units per second", "of ideal", "worker, CPU ms", "server, CPU ms", "writing, ms", "load"]  # fmt: skip
    lines = [_scheduler_bends(said), *(_table_bends(said, kind) for kind in queues)]
    best = {kind: max(each["units_per_s"] for each in said[f"queue_{kind}"]) for kind in queues}
    return (
        "Workers whose units take a known time and publish a report of 30 changes, all of one tenant, whose cap (8 by default) is lifted; database, workers and "
        "others shared\none machine, and the databases took turns at every number of workers; of several rounds the best counts. *Of ideal* is against workers / "
        "unit time. Per unit: what\nthe workers and the database's server took of the processor, and how long transactions that "
        "write lasted, waiting included.\n\n"
        + table(head, rows)
        + "\n\n" + "\n".join(lines) + "\n\n" + _verdict(plan, said, best)
    )  # fmt: skip


def _scheduler_bends(said: dict[str, Any]) -> str:
    look_s = [of_a_site(each, "cpu_s_per_look") for each in said["cost"].values()]
    dask = said["dask"]
    gate = dask["tasks_per_s"]
    most = 1e3 / max(dask["scheduler_cpu_ms"], dask["client_cpu_ms"])
    return (
        f"- **One Dask scheduler** passed {gate:,.0f} tasks a second at best, the load being {dask['load_average']:.0f}. With the "
        f"cheapest look ({min(look_s):.2f} s) it keeps {most_workers(min(look_s), gate):,.0f} workers\n  busy, with the dearest "
        f"({max(look_s):.1f} s) {most_workers(max(look_s), gate):,.0f}. A task takes {dask['scheduler_cpu_ms']:.1f} ms of the "
        f"scheduler's processor and {dask['client_cpu_ms']:.1f} ms of the client's: with a core each, at\n  most {most:,.0f} a second."
    )


def _table_bends(said: dict[str, Any], kind: str) -> str:
    runs, cores = said[f"queue_{kind}"], said["cores"]["queue"]
    report_s = min(of_a_site(each, "cpu_s_per_report") for each in said["cost"].values())
    best = max(runs, key=lambda each: each["units_per_s"])
    most = best["units_per_s"]
    cpu_ms = best["worker_cpu_ms"] + best["server_cpu_ms"]
    gates = {"the processor": 1e3 * cores / cpu_ms}
    held = "Transactions run side by side but for the end of each, which holds its tenant's row"
    if kind == "sqlite":
        gates["its one write lock"] = 1e3 / best["writing_cpu_ms"]
        held = (
            f"One transaction at a time may write: {best['writing_cpu_ms']:.0f} ms of a unit are spent in such, which would pass "
            f"{gates['its one write lock']:.0f} a second"
        )
    first = min(gates, key=lambda name: gates[name])
    return (
        f"- **The table of leases on {kind}** ended at most {most:.1f} units a second here, {most * 86_400:,.0f} a day (a unit is a "
        f"site, with its report's\n  rows). Units of {report_s:.1f} s, the cheapest report above, keep at most "
        f"{most_workers(report_s, most):,.0f} workers busy. A unit takes {cpu_ms:.0f} ms of the processor beside its own work: "
        f"these {cores} cores\n  pass {gates['the processor']:.0f} a second, had they nothing else to do. {held}. What bends first "
        f"here is {first}."
    )


def _verdict(plan: Plan, said: dict[str, Any], best: dict[str, float]) -> str:
    per_s = needs(plan, said, list(best)[-1]).looks_per_day / 86_400
    enough = [f"{kind} ended {most / per_s:.1f} times that" for kind, most in best.items()]
    return (
        f"The plan needs {per_s:.2f} units a second if every look is a unit of its own; {', '.join(enough)}. SQLite also means one "
        "machine.\nWhat bends first in core hours is the report that is made again with every look: waiting until a site's looks "
        "of a day are in, and\nmaking one report of them, divides that part by their number."
    )


STEPS = {
    "make_chip": "chip: one band, to be placed by",
    "make_look": "look: registered, read, looked at",
    "plant_look": "look with objects planted into it",
    "changes and report": "changes of all looks, and the report",
}


def memory_text(said: dict[str, Any]) -> str:
    """Return what units of each kind take of memory, and the bounds that runs are planned by."""
    rows = [
        [
            case["what"], STEPS[step], f"{case['taken'][step] / 2**20:.0f}", f"{case['bound'][step] / 2**20:.0f}",
        ]
        for case in said["cases"]
        for step in STEPS
    ]  # fmt: skip
    idle = max(case["idle"] for case in said["cases"]) / 2**20
    series = "; ".join(
        f"{once} and {each} more for every look at {'coarse' if coarse else 'fine'} pixels"
        for coarse, (once, each) in SERIES_BYTES_PER_PX.items()
    )
    return (
        f"Made by `python -m benchmarks.memory`: peak resident bytes above an idle process ({idle:.0f} MiB), files that are mapped "
        "included.\n\n"
        + table(["site", "unit", "MiB", "bound, MiB"], rows)
        + f"\n\nThe bounds, in bytes per pixel: {CHIP_BYTES_PER_PX} for a chip (its grid is wider than the site's), "
        f"{LOOK_BYTES_PER_PX} for a look, planted into or not; for the changes and the\nreport {series}. "
        f"To each come {KEPT_FREE / 2**20:.0f} MiB, which a process holds\non to of what was freed. A whole analysis in one process is "
        f"the largest of these and {IDLE_BYTES / 2**20:.0f} MiB; a reprocess, a "
        "verification and `could-we-have-seen` are analyses. `tests/pipelines/test_memory.py` measures\nthem again.\n\n"
        f"They are kept to: threads, processes and the workers of a cluster begin no more units at once than {100 * SHARE_OF_MEMORY:.0f} % of "
        "what the machine,\nthe container or the worker's `--memory-limit` allows; a service's workers have a share each "
        "(`DEPOTWATCH_MEMORY_MIB`). A unit that\nfits nowhere is refused with `memory-too-small` before it is begun."
    )


def _check(said: dict[str, Any]) -> str:
    rows = [
        [
            each["unit"], f"{each['unit_s']:.3f}", f"{each['units']:,}", str(each["slots"]), f"{each['model_s']:.1f}",
            f"{each['measured_s']:.1f}", f"{each['ratio']:.2f}",
        ]
        for each in said.get("check", [])
    ]  # fmt: skip
    return (
        "Stub units of the measured duration (all shortened by one factor) and size of a unit's description, through our runner, a "
        "real\nscheduler and real workers; the model is `benchmarks.scaling_model.batch_seconds`:\n\n"
        + table(["unit", "s", "units", "slots", "model, s", "measured, s", "ratio"], rows)
    )


def _read(name: str) -> dict[str, Any] | None:
    path = RESULTS / name
    said: dict[str, Any] | None = json.loads(path.read_text()) if path.is_file() else None
    return said


def pages() -> dict[str, str]:
    """Return the text of each page whose benchmark has been run, by its name in ``docs``."""
    found = {}
    if (said := _read("throughput.json")) is not None:
        found["performance-analysis.md"] = performance_page(said, _read("batch_kills.json"))
    if (said := _read("scaling.json")) is not None:
        found["scaling.md"] = scaling_page(said, memory=_read("memory.json"))
    return found


def main() -> int:
    """Write both pages from what has been measured."""
    for name, text in pages().items():
        (ROOT / "docs" / name).write_text(text, "utf-8")
        print(ROOT / "docs" / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
