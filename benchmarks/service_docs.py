"""Write ``docs/performance-service.md`` from the measured JSON, so that it cannot drift: ``python -m benchmarks.service_docs``."""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "service.json"
FAULTS = ROOT / "benchmarks" / "results" / "service_faults.json"
PAGE = ROOT / "docs" / "performance-service.md"
SHOWN = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


def call_of(run: dict[str, Any], start: str) -> dict[str, Any]:
    """Return the call whose name starts so."""
    return next(call for call in run["calls"] if call["name"].startswith(start))


def page_of(found: dict[str, Any], faults: dict[str, Any]) -> str:
    """Return the page about what was measured on each database."""
    runs = [found[name] for name in SHOWN if name in found]
    one = runs[0]
    parts = [_head(one), _cold(runs), *(_calls(run) for run in runs)]
    if faults:
        parts.append(_faults([faults[name] for name in SHOWN if name in faults]))
    return "\n".join(parts)


def _head(run: dict[str, Any]) -> str:
    return f"""# The service, as measured

Made by `python -m benchmarks.service_docs` from `benchmarks/results/service.json` and `service_faults.json`, which `python -m benchmarks.service
--out` and `python -m benchmarks.service_faults --out` write; edit none by hand.
One API process on loopback, one site of {run["changes"]:,} changes, a report of {run["report_bytes"] / 1e3:.0f} kB. Milliseconds are the client's, over
connections that are kept; "cpu" is what the server's processor spends on each, which a busy machine alters least. The floors come from the
same uvicorn before any of our code. "500 clients" each ask every two seconds.
"""


def _cold(runs: list[dict[str, Any]]) -> str:
    rows = "\n".join(
        f"| {SHOWN[run['database']]} | {start['name']} | {start['median_s']:.2f} | {start['worst_s']:.2f} | {start['median_cpu_s']:.2f} |"
        for run in runs
        for start in run["cold"]
    )
    return f"""## From a cold process

Of {runs[0]["cold"][0]["runs"]} starts: until `--help` has ended; until `/readyz` answers 200 over a database that holds all this.

| database | what | median s | worst s | cpu, median s |
| --- | --- | ---: | ---: | ---: |
{rows}
"""


def _calls(run: dict[str, Any]) -> str:
    floor = run["calls"][0]["p50_ms"]
    rows = "\n".join(
        f"| {call['name']} | {call['requests']:,} | {call['errors']} | {call['p50_ms']:.1f} | {call['p99_ms']:.1f} "
        f"| {call['p50_ms'] / floor:.1f} | {call['server_cpu_ms']:.2f} |"
        for call in run["calls"]
    )
    return f"""## {SHOWN[run["database"]]}

{run["cores"]} cores, load average {run["load"][0]} before and {run["load"][1]} after; Python {run["python"]}.

| call | requests | errors | p50 ms | p99 ms | p50, times the floor | cpu ms |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
{rows}
"""


def _faults(outcomes: list[dict[str, Any]]) -> str:
    rows = "\n".join(
        f"| {SHOWN[one['database']]} | {one['kills']:,} ({one['api_kills']}) | {one['freezes']} | {one['units']:,} "
        f"| {one['executions']:,} | {one['reports']:,} | {one['feed_entries']:,} | {len(one['faults'])} |"
        for one in outcomes
    )
    return f"""## Killed all the while

Workers and API killed with SIGKILL at random moments, some workers frozen past their lease, while work comes in and a client reads the feed.
Afterwards units, reports, files and feed entries are counted: "faults" are units lost or doubled, reports doubled, news skipped or repeated.
A unit may be executed more than once; its effect happens once. Units are a stand-in, 0.1 s long.

| database | kills (of the API) | frozen | units accepted | executions | reports | feed entries | faults |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
{rows}
"""


def main() -> int:
    """Write the page."""
    faults = json.loads(FAULTS.read_text("utf-8")) if FAULTS.exists() else {}
    PAGE.write_text(page_of(json.loads(RESULT.read_text("utf-8")), faults), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
