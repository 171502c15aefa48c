"""``depotwatch analyse``: the whole job once, no server, no database."""

import argparse
import json
import sys
from datetime import UTC, datetime, time
from pathlib import Path

from imagery.errors import DepotwatchError

SUMMARY = "Find what appeared on or was removed from a site, and write the report's files into a folder."


class BadPeriod(DepotwatchError):
    """A period that is not ``A/B`` with A before B."""

    code = "bad-period"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of CONTRACT section 2."""
    parser.add_argument(
        "--catalog", required=True, help="STAC catalog (file), folder of GeoTIFFs, or STAC API address"
    )
    parser.add_argument("--aoi", required=True, type=Path, help="GeoJSON polygon, longitude before latitude")
    parser.add_argument("--out", required=True, type=Path, help="folder for the report; must be new or empty")
    parser.add_argument(
        "--period", help="only scenes of this time, e.g. 2024-01-01/2024-06-30; .. leaves an end open"
    )
    parser.add_argument(
        "--gsd", type=float, help="pixel size of the site grid in metres (default: the finest scene's)"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes to use (default 1)")
    parser.add_argument(
        "--scheduler",
        help="address of a running Dask scheduler to use instead of processes here, or the word threads",
    )
    parser.add_argument("--cache", help="folder or URL where products are kept for the next run")
    parser.add_argument(
        "--max-shift", type=float, help="metres a scene may lie off and still be searched for"
    )
    parser.add_argument(
        "--max-false-alarms", type=float, metavar="PER_KM2_PER_YEAR", help="wanted false-alarm budget"
    )
    parser.add_argument(
        "--min-confidence",
        type=float,
        help="leave out changes below this (0-1); by default 0.4 (0.5 where no scene tells of the sun), "
        "0.3 at pixels over 3.5 m",
    )
    parser.add_argument("--no-network", action="store_true", help="leave the learned detector out")
    parser.add_argument(
        "--allow-host", action="append", default=[], help="private host a STAC API may refer to"
    )
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def parse_period(text: str | None) -> tuple[datetime, datetime] | None:
    """Read ``A/B``, dates or RFC 3339 times, UTC; ``..`` or nothing leaves an end open; a date as end includes its day.

    Raises
    ------
    BadPeriod : no two ends, not a date, or A after B
    """
    if text is None:
        return None
    ends = text.split("/")
    if len(ends) != 2:
        raise BadPeriod(
            f"the period {text!r} must be two dates with a slash between, such as 2024-01-01/2024-06-30"
        )
    start = _moment(ends[0], text, datetime(1970, 1, 1, tzinfo=UTC), last=False)
    end = _moment(ends[1], text, datetime(2200, 1, 1, tzinfo=UTC), last=True)
    if start > end:
        raise BadPeriod(f"the period {text!r} ends before it starts; swap the two dates")
    return start, end


def _moment(text: str, whole: str, open_end: datetime, *, last: bool) -> datetime:
    if text in {"", ".."}:
        return open_end
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadPeriod(f"{text!r} in the period {whole!r} is not a date such as 2024-01-31") from None
    if len(text) == len("2024-01-31") and last:
        moment = datetime.combine(moment.date(), time.max)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


class ProgressBar:
    """One line on stderr, redrawn; silent where stderr is no terminal."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()

    def __call__(self, step: str, done: int, total: int) -> None:
        """Draw where the run stands."""
        if not self._live:
            return
        width = 30
        filled = width * done // max(total, 1)
        bar = "#" * filled + "." * (width - filled)
        print(f"\r\033[K{step:<8} [{bar}] {done}/{total}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Clear the line."""
        if self._live:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def run(args: argparse.Namespace) -> int:
    """Analyse, write, and print a short human summary."""
    from pipelines.aoi import read_aoi
    from pipelines.parameters import parameters_from
    from pipelines.report import check_out
    from pipelines.site import analyse

    values: dict[str, object] = {"network": not args.no_network}
    for name, value in (
        ("gsd_m", args.gsd),
        ("max_shift_m", args.max_shift),
        ("max_false_alarms", args.max_false_alarms),
        ("min_confidence", args.min_confidence),
    ):
        if value is not None:
            values[name] = value
    parameters = parameters_from(values)
    period = parse_period(args.period)
    if not 1 <= args.workers <= 256:
        raise BadWorkers(f"--workers is {args.workers}; give a number from 1 to 256")
    check_out(args.out)
    site = read_aoi(args.aoi)
    bar = ProgressBar()
    try:
        analysis = analyse(
            catalog=args.catalog,
            site=site,
            out=args.out,
            period=period,
            parameters=parameters,
            workers=args.workers,
            scheduler=args.scheduler,
            store=args.cache,
            allow_hosts=frozenset(args.allow_host),
            progress=bar,
        )
    finally:
        bar.close()
    report = json.loads((args.out / "report.json").read_text("utf-8"))
    if args.json:
        print(json.dumps({"out": str(args.out), "report": report}, indent=2, ensure_ascii=False))
        return 0
    from service.summary import summary_lines

    print("\n".join(summary_lines(analysis, args.out)))
    return 0


class BadWorkers(DepotwatchError):
    """A number of workers that cannot be meant."""

    code = "bad-workers"
