"""``depotwatch simulate``: a rendered site series with its truth."""

import argparse
from datetime import UTC, datetime
from pathlib import Path

from imagery.errors import DepotwatchError

SUMMARY = "Render a site over time, with exact truth, as a static STAC catalog. Rendered, never real."


class BadSimulation(DepotwatchError):
    """A series that cannot be rendered as asked for."""

    code = "bad-simulation"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--out", required=True, type=Path, help="folder for the catalog; must be new or empty"
    )
    parser.add_argument(
        "--sample", action="store_true", help="write the sample site of sample_tiles/ and nothing else"
    )
    parser.add_argument("--seed", type=int, default=1, help="equal seeds and options give equal bytes")
    parser.add_argument("--kind", choices=("depot", "quiet", "pair"), default="depot")
    parser.add_argument("--gsd", type=float, default=0.5, help="pixel size in metres, 0.3-30 (default 0.5)")
    parser.add_argument("--looks", type=int, default=12, help="number of scenes (a pair has two)")
    parser.add_argument("--extent-m", type=float, default=250.0, help="side of the scenes in metres")
    parser.add_argument("--bands", default="blue,green,red,nir", help="of blue, green, red, nir, or pan")
    parser.add_argument("--start", default="2023-04-01")
    parser.add_argument("--end", default="2024-09-30")
    parser.add_argument("--clouds", type=float, default=0.3, help="mean cloud share of cloudy looks, 0-0.9")
    parser.add_argument("--masks", choices=("perfect", "imperfect", "none"), default="perfect")
    parser.add_argument("--bits", type=int, choices=(8, 11, 12, 16), default=16, help="depth of the numbers")
    parser.add_argument("--jpeg", type=int, metavar="QUALITY", help="8-bit numbers through JPEG, 20-95")
    parser.add_argument("--geolocation-m", type=float, default=2.5, help="how far scenes lie off, metres")
    parser.add_argument(
        "--off-nadir", type=float, default=12.0, help="how obliquely scenes are taken, degrees"
    )
    parser.add_argument(
        "--traffic", type=float, default=0.5, help="vehicles per hectare, elsewhere in every look"
    )
    parser.add_argument("--place", type=float, nargs=2, metavar=("LON", "LAT"), default=(15.3, 50.1))


def run(args: argparse.Namespace) -> int:
    """Render and write."""
    from imagery.simulation import Sensor, SeriesOptions
    from pipelines.simulate import write_samples, write_series

    if args.sample:
        write_samples(args.out)
        return 0
    bands = tuple(args.bands.split(","))
    _check(args, bands)
    looks = 2 if args.kind == "pair" else args.looks
    options = SeriesOptions(
        extent_m=args.extent_m,
        sensor=Sensor(args.gsd, bands=bands, bits=args.bits, jpeg_quality=args.jpeg),
        looks=looks,
        start=_day(args.start),
        end=_day(args.end),
        longitude=args.place[0],
        latitude=args.place[1],
        kind=args.kind,
        clouds=args.clouds,
        masks=args.masks,
        traffic=args.traffic,
        geolocation_m=args.geolocation_m,
        off_nadir_deg=args.off_nadir,
    )
    if (options.end - options.start).days < looks:
        raise BadSimulation(f"{looks} looks do not fit between {args.start} and {args.end}; widen the period")
    how = f"--seed {args.seed} --kind {args.kind} --gsd {args.gsd:g} --looks {looks} --extent-m {args.extent_m:g} ..."
    series = write_series(args.seed, options, args.out, how)
    print(f"{args.out}: {len(series.looks)} rendered looks, {len(series.truths)} things; RENDERED, not real")
    return 0


def _check(args: argparse.Namespace, bands: tuple[str, ...]) -> None:
    ranges = {
        "--gsd": (args.gsd, 0.3, 30.0),
        "--looks": (args.looks, 1, 500),
        "--extent-m": (args.extent_m, 20 * args.gsd, 5000.0),
        "--clouds": (args.clouds, 0.0, 0.9),
        "--geolocation-m": (args.geolocation_m, 0.0, 100.0),
        "--off-nadir": (args.off_nadir, 0.0, 45.0),
        "--traffic": (args.traffic, 0.0, 50.0),
        "--place longitude": (args.place[0], -180.0, 180.0),
        "--place latitude": (args.place[1], -66.0, 66.0),
        "--jpeg": (95 if args.jpeg is None else args.jpeg, 20, 95),
        "--seed": (args.seed, 0, 2**31),
    }
    for name, (value, low, high) in ranges.items():
        if not low <= value <= high:
            raise BadSimulation(f"{name} is {value:g}; it must lie between {low:g} and {high:g}")
    unknown = set(bands) - {"blue", "green", "red", "nir", "pan"}
    if unknown or len(set(bands)) != len(bands):
        raise BadSimulation(f"--bands {args.bands!r} must name different ones of blue, green, red, nir, pan")


def _day(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        raise BadSimulation(f"{text!r} is not a date such as 2024-01-31") from None
