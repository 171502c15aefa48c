"""What claims of class ``other`` are of at fine pixels, and how many such things are listed, on rendered sites.

The renderer's halls, houses, sheds, tanks, vehicles and hay come and go too. ``benchmarks.detection`` asks a claim of one for
its outline; here it is asked what it is of at all, and things are counted by their size. Reads the scenes and reports that
``benchmarks.detection --work WORK`` left behind.

    python -m benchmarks.unidentified --work WORK [--sets series_0.5m,quiet_0.5m]
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import shapely
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from benchmarks import detection, scoring
from imagery.limits import other_limit

RESULTS = Path(__file__).parent / "results" / "unidentified.json"
SETS = (
    "series_0.3m", "series_0.5m", "series_1m", "quiet_0.5m", "quiet_wide_0.5m", "quiet_1m", "north_0.5m", "south_0.7m", "oblique_0.5m",
    "pan_0.5m", "sensor_0.5m", "masks_0.5m", "masks_poor_0.5m",
)  # fmt: skip
# Reports are off the truth by what registration leaves and by how outlines are drawn.
NEAR_M = 2.0
SIZES_M2 = (25.0, 100.0, 300.0)


@dataclass(frozen=True, slots=True)
class Site:
    """One site as claimed and as rendered, in metres: what came or went of class ``other``, piece by piece, and of our classes."""

    claims: list[scoring.Event]
    others: list[scoring.Event]
    ours: list[scoring.Event]
    area: BaseGeometry
    times: dict[str, Any]


def read_site(folder: Path) -> Site:
    """Read a site's report and truth."""
    scenes, report = folder / "scenes", folder / "report"
    area = shapely.union_all(
        [shape(g) for g in scoring.geometries(json.loads((scenes / "aoi.geojson").read_text()))]
    )
    project = scoring.to_metres(area.centroid.x, area.centroid.y)
    truths = scoring.read_truth(scenes / "truth.geojson", project, scoring.reference_scene(report))
    return Site(
        scoring.read_claims(report / "changes.geojson", project),
        [part for t in truths if t.object_class == "other" for part in scoring.parts_of(t)],
        [t for t in truths if t.object_class != "other"],
        project(area),
        scoring.scene_times(report),
    )


def _is_of(claim: scoring.Event, thing: scoring.Event) -> bool:
    """Tell whether a claim says what happened to a thing, where it did and within the interval it gives."""
    at_that_time = claim.start < thing.start <= claim.end
    return (
        claim.direction == thing.direction
        and at_that_time
        and bool(claim.geometry.intersects(thing.geometry.buffer(NEAR_M)))
    )


def claims_told(site: Site) -> dict[str, int]:
    """Count the claims of class ``other`` by what they are of."""
    told = dict.fromkeys(("claims", "other things", "our classes", "nothing", "outline fits"), 0)
    for claim in (c for c in site.claims if c.object_class == "other"):
        told["claims"] += 1
        mine = [t for t in site.others if _is_of(claim, t)]
        if mine:
            told["other things"] += 1
            told["outline fits"] += any(
                scoring.overlap(claim.geometry, t.geometry, "other") >= scoring.THRESHOLDS[0] for t in mine
            )
        elif any(_is_of(claim, t) for t in site.ours):
            told["our classes"] += 1
        else:
            told["nothing"] += 1
    return told


def confirmed_told(site: Site) -> dict[str, int]:
    """Count the confirmed claims of a site on which nothing of our classes happens by what they are of.

    What is told as not identified and did come or go then is ``as told``; what is named as one of our classes and was
    something else is ``misnamed``.
    """
    told = dict.fromkeys(("claims", "as told", "misnamed", "nothing"), 0)
    for claim in (c for c in site.claims if c.status in scoring.CONFIRMED):
        told["claims"] += 1
        if not any(_is_of(claim, t) for t in site.others):
            told["nothing"] += 1
        else:
            told["as told" if claim.object_class == "other" else "misnamed"] += 1
    return told


def things_listed(site: Site, gsd_m: float) -> list[tuple[float, bool, bool]]:
    """Return (area in m2, listed as ``other``, listed under any name) of what the looks could show coming or going.

    Counted are things of at least the smallest area that is searched for, inside the site, clear in a look on either side, and
    standing in two clear looks at least: what one look shows is a vehicle to the product.
    """
    smallest = other_limit(gsd_m).smallest_area_m2 or 0.0
    first, last = min(site.times.values()), max(site.times.values())
    listed = []
    for thing in site.others:
        if thing.geometry.area < smallest or not first < thing.start <= last:
            continue
        if not scoring.could_be_seen(thing, site.times) or not scoring.lies_inside(thing, site.area):
            continue
        if not scoring.stands(thing, site.times):
            continue
        mine = [c for c in site.claims if _is_of(c, thing)]
        listed.append((thing.geometry.area, any(c.object_class == "other" for c in mine), bool(mine)))
    return listed


def measure(test: detection.TestSet, work: Path) -> dict[str, Any]:
    """Sum up the sites of a set whose reports lie in a folder."""
    if not isinstance(test.make, detection.Rendered):
        raise TypeError(f"{test.name} is not of our own renderer")
    options, total, things, sites, confirmed = test.make.options, {}, [], 0, {}
    for index in range(test.sites):
        folder = work / f"{test.name}-{index}"
        if not (folder / "report" / "timeline.csv").is_file():
            continue
        site = read_site(folder)
        sites += 1
        for name, n in claims_told(site).items():
            total[name] = total.get(name, 0) + n
        if options.kind == "quiet":
            for name, n in confirmed_told(site).items():
                confirmed[name] = confirmed.get(name, 0) + n
        things += things_listed(site, options.sensor.gsd_m)
    edges = (*SIZES_M2, float("inf"))
    listed = [
        {"from_m2": low, "n": len(mine), "other": sum(o for _, o, _ in mine), "any": sum(a for *_, a in mine)}
        for low, high in pairwise(edges)
        if (mine := [t for t in things if low <= t[0] < high])
    ]
    told = {"sites": sites, "gsd_m": options.sensor.gsd_m, "claims": total, "listed": listed}
    return told | ({"confirmed": confirmed} if confirmed else {})


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure sets and write the results; sets not looked at now keep what they had."""
    parser = argparse.ArgumentParser(description="Say what claims of class other are of, on rendered sites.")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args(arguments)
    tests = {test.name: test for test in detection.SETS}
    said = json.loads(args.out.read_text()) if args.out.is_file() else {"sets": {}}
    for name in args.sets.split(","):
        said["sets"][name] = measure(tests[name], args.work)
        print(name, json.dumps(said["sets"][name]))
    args.out.write_text(json.dumps(said, indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
