"""``depotwatch reprocess``: sites in batch once more, with what is known already used again, resumable after anything."""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from service.analysis_unit import UnitRunner
    from service.batch import Batch, Side
    from service.settings import Settings

SUMMARY = (
    "Analyse sites again in batch. The same command given again carries on where it was stopped; reports become "
    "current only when the job is promoted."
)
LOOK_S = 0.5
BAR = 30
LISTED = 50
RETRIED = ("successful", "failed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from service.options import add_data_options

    parser.add_argument("--sites", required=True, help="all, or ids or names with commas between")
    parser.add_argument(
        "--period", help="only scenes of this time, e.g. 2024-01-01/2024-06-30; .. leaves an end open"
    )
    parser.add_argument(
        "--params", nargs="+", default=[], metavar="FILE.json|NAME=VALUE", help="on top of the sites' own"
    )
    parser.add_argument("--estimate", action="store_true", help="only tell what it would take")
    parser.add_argument(
        "--again", action="store_true", help="even where the same was done before with the same version"
    )
    parser.add_argument(
        "--promote", action="store_true", help="make the reports current where no unit failed"
    )
    parser.add_argument("--url", help="a running service's address; DEPOTWATCH_KEY holds the key")
    add_data_options(parser)
    parser.add_argument("--tenant", default="local", help="whose sites, with --data (default: local)")
    parser.add_argument("--workers", type=int, default=1, help="processes to use, with --data (default 1)")
    parser.add_argument(
        "--scheduler",
        help="address of a running Dask scheduler that does each site's looks, with --data (DEPOTWATCH_SCHEDULER)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Estimate, run, report; 0 where every unit came to a report, 1 where one did not."""
    from pipelines.parameters import parameters_from
    from service.batch import Batch
    from service.moments import interval

    parameters = parse_parameters(args.params)
    parameters_from(dict(parameters))
    if args.period is not None:
        interval(args.period, "--period")
    with _side(args) as side:
        wanted: str | list[str] = "all"
        if args.sites != "all":
            wanted = side.site_ids([word.strip() for word in args.sites.split(",") if word.strip()])
        return _run(args, side, Batch(wanted, args.period, parameters))


def parse_parameters(words: Sequence[str]) -> dict[str, Any]:
    """Read ``name=value`` pairs and JSON files; the later ones count.

    Raises
    ------
    BadParameter : neither a pair nor a file that holds a JSON object
    """
    from pipelines.parameters import BadParameter

    found: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if equals:
            found[name.strip()] = _value(text.strip())
            continue
        try:
            held = json.loads(Path(word).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise BadParameter(
                f"{word!r} is neither NAME=VALUE nor a JSON file that can be read", pointer="--params"
            ) from error
        if not isinstance(held, dict):
            raise BadParameter(f"{word} holds no JSON object", pointer="--params")
        found |= held
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {"True": True, "False": False, "None": None}.get(text, text)


@contextmanager
def _side(args: argparse.Namespace) -> "Iterator[Side]":
    """Yield where the batch is to run: at an address, or in this process."""
    from service.batch import Here, Remote
    from service.context import open_service
    from service.errors import BadSettings
    from service.options import remote_client, settings_from
    from service.server import sharing
    from service.telemetry import configure_logging

    if args.url is not None:
        if any(given is not None for given in (args.data, args.database, args.scheduler)):
            raise BadSettings(
                "give --url for a running service, or --data, --database, --scheduler to work here"
            )
        with remote_client(args) as client:
            yield Remote(client)
        return
    settings = settings_from(args)
    if not settings.database and not (settings.data / "depotwatch.db").is_file():
        raise BadSettings(
            f"there is no depotwatch data in {settings.data}; name its folder with --data, or a running service with "
            "--url"
        )
    if not 1 <= args.workers <= 256:
        raise BadSettings(f"--workers is {args.workers}; give a number from 1 to 256")
    configure_logging("ERROR")
    settings = sharing(settings, args.workers)
    service = open_service(settings)
    try:
        yield Here(service, args.tenant, runner_for(settings), args.workers)
    finally:
        service.close()


def runner_for(settings: "Settings") -> "UnitRunner":
    """Return what analyses a site."""
    from service.analysis_unit import SiteRunner

    return SiteRunner.by(settings)


def _run(args: argparse.Namespace, side: "Side", batch: "Batch") -> int:
    told = side.estimate(batch)
    if args.estimate:
        print(json.dumps(told, indent=2) if args.json else "\n".join(estimate_lines(told)))
        return 0
    print("\n".join(estimate_lines(told)), file=sys.stderr)
    again = f"{time.time_ns()}" if args.again else ""
    job = side.submit(batch, batch.key(told["processing_version"], again))["id"]
    ended = _follow(side, job)
    results = side.results(job)
    bad = [row for row in results if row["report"] is None]
    promoted = None
    if args.promote and not bad and ended["state"] == "successful":
        promoted = side.promote(job)
        ended = side.job(job)
    if args.json:
        whole = {"job": dict(ended), "estimate": told, "results": results, "promotion": promoted}
        print(json.dumps(whole, indent=2))
    else:
        print("\n".join(result_lines(ended, bad, promoted)))
    return 1 if bad or ended["state"] != "successful" else 0


def _follow(side: "Side", job: str) -> Mapping[str, Any]:
    """Return the job once it has ended, telling where it stands meanwhile."""
    from service.jobs import ENDED

    found = side.job(job)
    if found["state"] in RETRIED and found["units"]["failed"] and found["promoted"] is None:
        print(
            f"{job} was done before; {found['units']['failed']} failed sites are tried again", file=sys.stderr
        )
        found = side.retry(job)
    elif found["state"] in ENDED:
        print(f"{job} was done before; --again does it once more", file=sys.stderr)
        return found
    elif any(found["units"][what] for what in ("done", "failed", "skipped")):
        print(f"{job} is carried on", file=sys.stderr)
    bar = _Bar()
    try:
        with side.working(job):
            while found["state"] not in ENDED:
                bar.show(found)
                time.sleep(LOOK_S)
                found = side.job(job)
    except KeyboardInterrupt:
        print(f"\n{job} has not ended; the same command carries on", file=sys.stderr)
        raise
    finally:
        bar.close()
    return found


class _Bar:
    """Where a job stands, on stderr: one line redrawn on a terminal, else a line per tenth."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._started = time.monotonic()
        self._first: float | None = None
        self._tenth = -1

    def show(self, job: Mapping[str, Any]) -> None:
        """Tell where it stands."""
        share = job["progress"] / 100
        self._first = share if self._first is None else self._first
        units = job["units"]
        ended = units["done"] + units["failed"] + units["skipped"]
        line = f"{ended}/{number_of(units['total'], 'site')}, {units['failed']} failed"
        if units["cached"]:
            line += f", {units['cached']} unchanged"
        if self._live:
            filled = int(BAR * share)
            bar = "#" * filled + "." * (BAR - filled)
            step = f" {job['step']}" if job["step"] else ""
            print(f"\r\033[K[{bar}] {line}{self._left(share)}{step}", end="", file=sys.stderr, flush=True)
        elif int(10 * share) > self._tenth:
            self._tenth = int(10 * share)
            print(f"{job['id']}: {line}{self._left(share)}", file=sys.stderr, flush=True)

    def _left(self, share: float) -> str:
        gone = share - (self._first or 0.0)
        if gone < 0.02:
            return ""
        return f", {duration((time.monotonic() - self._started) * (1 - share) / gone)} left"

    def close(self) -> None:
        """Clear the line."""
        if self._live:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Print seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5_400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"


def number_of(n: int, noun: str) -> str:
    """Print how many there are of something, one of it in the singular."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def estimate_lines(told: Mapping[str, Any]) -> list[str]:
    """Return an estimate in words."""
    low, high = duration(told["seconds_low"]), duration(told["seconds_high"])
    lines = [
        f"{number_of(told['sites'], 'site')}, {number_of(told['scenes'], 'scene')}, {told['pixels'] / 1e6:,.1f} million pixels",
        f"about {duration(told['seconds'])} ({low} to {high}); {told['basis']}",
    ]
    if told["sites_sampled"] < told["sites"]:
        lines[0] += f" (from {number_of(told['sites_sampled'], 'site')})"
    cached = told["cached"]
    if cached["sites_looked_up"]:
        at = (
            ""
            if cached["sites_looked_up"] == told["sites"]
            else f" at {number_of(cached['sites_looked_up'], 'site')}"
        )
        lines.append(f"{cached['looks']:,} of {cached['of']:,} looks{at} are stored already")
    else:
        lines.append("what is stored already was not looked up: remote archives, or none")
    return lines


def result_lines(
    job: Mapping[str, Any], bad: Sequence[Mapping[str, Any]], promoted: Mapping[str, Any] | None
) -> list[str]:
    """Return what a job came to in words, its failed units one by one."""
    units = job["units"]
    lines = [
        f"{job['id']}: {job['state']}; {units['done']} of {number_of(units['total'], 'site')} done, {units['cached']} of them "
        f"unchanged, {units['failed']} failed, {units['skipped']} skipped"
    ]
    lines += [
        f"  {row['site']}  {row['code'] or row['state']}: {row['detail'] or ''}".rstrip(": ")
        for row in bad[:LISTED]
    ]
    if len(bad) > LISTED:
        lines.append(f"  and {len(bad) - LISTED} more; GET /jobs/{job['id']}/logs lists all")
    if promoted is not None:
        lines.append(f"promoted: {promoted['sites']['promoted']} sites show the new reports")
    elif units["done"]:
        lines.append(f"compare: /jobs/{job['id']}/comparison; make current: POST /jobs/{job['id']}/promote")
    return lines
