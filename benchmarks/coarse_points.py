"""What reporting from a confidence on costs at 10 m: false reports per km2 and year, and the share of changes found.

    python -m benchmarks.coarse_points [--sites 14] [--work DIR]

writes ``imagery/timeseries/operating_points.json``, by which ``--max-false-alarms`` picks its operating point. Rendered sites of
our own renderer with seeds used nowhere else, half of them quiet, of 8 to 24 looks over a year and a half.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import shapely
from shapely.geometry import shape

from benchmarks import scoring
from benchmarks.detection import analysed, rendered

OUT = Path(__file__).resolve().parents[1] / "imagery" / "timeseries" / "operating_points.json"
FIRST_SEED = 980_000
LOOKS = (8, 12, 16, 24)
CONFIDENCES = tuple(round(0.05 * k, 2) for k in range(2, 20))
DAYS_A_YEAR = 365.25


@dataclass(frozen=True, slots=True)
class Measured:
    """One site: its claims and truths as places, and how many km2-years were watched."""

    claims: tuple[scoring.Event, ...]
    truths: tuple[scoring.Event, ...]
    km2: float
    years: float


def measured(scenes: Path, report: Path) -> Measured:
    """Read what a report claims and what truly happened, as places."""
    aoi = shapely.union_all(
        [shape(g) for g in scoring.geometries(json.loads((scenes / "aoi.geojson").read_text()))]
    )
    project = scoring.to_metres(aoi.centroid.x, aoi.centroid.y)
    inside, times = project(aoi), scoring.scene_times(report)
    first, last = min(times.values()), max(times.values())
    truths = [
        t
        for t in scoring.read_truth(scenes / "truth.geojson", project, scoring.reference_scene(report))
        if t.geometry.intersects(inside) and first < t.start <= last and scoring.could_be_seen(t, times)
    ]
    claims = scoring.read_claims(report / "changes.geojson", project)
    years = (last - first).total_seconds() / 86400 / DAYS_A_YEAR
    return Measured(
        tuple(claims),
        tuple(scoring.large_enough(truths, scoring.pixel_size(report))),
        inside.area / 1e6,
        years,
    )


def operating_points(sites: Sequence[Measured]) -> list[dict[str, float]]:
    """Return false reports per km2 and year and recall, reporting from each confidence on."""
    watched = sum(site.km2 * site.years for site in sites)
    points = []
    for least in CONFIDENCES:
        wrong = found = true = 0
        for site in sites:
            kept = [c for c in site.claims if c.confidence >= least]
            score = scoring.score_events(
                "site", kept, site.truths, area_km2=site.km2, scene_times={}, classless=True
            )
            wrong += score.false_alarms["all"]
            hits = [score.hits["other", direction, scoring.THRESHOLDS[0]] for direction in scoring.DIRECTIONS]
            found, true = found + sum(h[0] for h in hits), true + sum(h[2] for h in hits)
        points.append(
            {
                "confidence": least,
                "false_alarms": round(wrong / watched, 4),
                "recall": round(found / max(true, 1), 4),
            }
        )
    return points


def main(arguments: Sequence[str] | None = None) -> int:
    """Render, analyse and write the points."""
    parser = argparse.ArgumentParser(description="Measure operating points at 10 m.")
    parser.add_argument("--sites", type=int, default=14, help="of each kind: quiet ones and others")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        work, sites = args.work or Path(scratch), []
        for index in range(2 * args.sites):
            scenes, report = work / f"coarse-{index}" / "scenes", work / f"coarse-{index}" / "report"
            if not (scenes / "truth.geojson").is_file():
                looks = LOOKS[index // 2 % len(LOOKS)]
                kind = rendered("quiet", 10.0, extent_m=1800.0, looks=looks) if index % 2 else rendered("depot", 10.0, extent_m=1800.0, looks=looks)  # fmt: skip
                kind(scenes, FIRST_SEED + index)
            if not (report / "timeline.csv").is_file():
                with analysed(
                    scenes / "catalog.json",
                    scenes / "aoi.geojson",
                    report,
                    network=False,
                    min_confidence=0.02,
                ):
                    pass
            sites.append(measured(scenes, report))
            print(
                f"  {index}: {len(sites[-1].claims)} claims, {len(sites[-1].truths)} true",
                file=sys.stderr,
                flush=True,
            )
    points = operating_points(sites)
    said = {
        "measured_on": f"{len(sites)} rendered sites at 10 m, {sum(s.km2 * s.years for s in sites):.1f} km2-years",
        "points": points,
    }
    args.out.write_text(json.dumps(said, indent=1) + "\n")
    for point in points:
        print(point)
    return 0


if __name__ == "__main__":
    sys.exit(main())
