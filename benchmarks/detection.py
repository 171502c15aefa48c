"""How well changes are found: our renderer's fresh seeds, a second renderer, real pairs; with peers on the same pairs.

Every site is rendered, analysed through the same function as ``depotwatch analyse``, written as a report, and scored
from the report's files by ``benchmarks.scoring``. Seeds here are used nowhere else. A site that fails is counted and named.

    python -m benchmarks.detection [--sets pair_0.5m,quiet_0.5m] [--sites N] [--work DIR] [--real DIR] [--no-network]
    python -m benchmarks.detection --merge ONE.json OTHER.json    # after runs of different sets side by side
"""

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import shapely
from shapely.geometry import shape

from benchmarks import oscd_labels, peers, scoring, second_renderer
from benchmarks.real_catalog import write_catalogs
from imagery.simulation import Sensor, SeriesOptions
from pipelines.simulate import write_series

RESULTS = Path(__file__).parent / "results" / "detection.json"
FIRST_SEED = 900_000  # far from every seed used in training, fitting and tests
BINS = 10
SENSOR_FIELDS = frozenset({"bands", "blur_px", "noise", "bits", "jpeg_quality"})

Maker = Callable[[Path, int], None]


@dataclass(frozen=True, slots=True)
class TestSet:
    """Sites made alike. ``measured_on`` is printed with every number; ``classless`` scores places, not names."""

    name: str
    measured_on: str
    make: Maker
    sites: int
    what: str
    classless: bool = False
    peers: bool = False


@dataclass(frozen=True, slots=True)
class Rendered:
    """Makes sites by our own renderer."""

    options: SeriesOptions
    how: str

    def __call__(self, out: Path, seed: int) -> None:
        """Render the site of a seed into a folder."""
        write_series(seed, self.options, out, self.how)


def rendered(kind: Literal["depot", "quiet", "pair"], gsd_m: float, **more: Any) -> Rendered:
    """Return a maker of sites by our own renderer; ``more`` are fields of ``SeriesOptions`` and ``Sensor``."""
    said = {"extent_m": 250.0, "looks": 8, "clouds": 0.3, "geolocation_m": 2.5} | more
    sensor = {name: said.pop(name) for name in SENSOR_FIELDS & said.keys()}
    if kind == "pair":
        said["looks"] = 2
    options = SeriesOptions(sensor=Sensor(gsd_m, **sensor), kind=kind, **said)
    return Rendered(options, f"benchmarks.detection {kind} {gsd_m} {more}")


def painted(looks: int, gsd_m: float, background: str = "plain", **more: Any) -> Maker:
    """Return a maker of sites by the second renderer."""

    def make(out: Path, seed: int) -> None:
        second_renderer.render(out, seed=seed, looks=looks, gsd_m=gsd_m, background=background, **more)

    return make


OURS = "rendered scenes, our renderer, fresh seeds"
HARD = "rendered scenes, our renderer, fresh seeds, one hard range"
NEVER = "rendered scenes, our renderer, a range never trained or calibrated on"
SECOND = "rendered scenes, second renderer"

SETS = (
    TestSet("pair_0.5m", OURS, rendered("pair", 0.5), 30, "two dates, 0.5 m", peers=True),
    TestSet("pair_1m", OURS, rendered("pair", 1.0), 20, "two dates, 1 m", peers=True),
    TestSet("series_0.3m", OURS, rendered("depot", 0.3, extent_m=150.0), 12, "8 looks, 0.3 m"),
    TestSet("series_0.5m", OURS, rendered("depot", 0.5), 30, "8 looks, 0.5 m"),
    TestSet("series_1m", OURS, rendered("depot", 1.0), 20, "8 looks, 1 m"),
    TestSet("series_3m", OURS, rendered("depot", 3.0, extent_m=500.0), 12, "8 looks, 3 m, places", classless=True),
    TestSet(
        "series_10m", OURS, rendered("depot", 10.0, extent_m=1800.0, looks=16), 12, "16 looks, 10 m, places", classless=True
    ),
    TestSet(
        "winter_0.5m", HARD,
        rendered("depot", 0.5, looks=6, start=datetime(2023, 11, 15, tzinfo=UTC), end=datetime(2024, 2, 20, tzinfo=UTC)),
        16, "6 looks of one winter, low sun, snow",
    ),
    TestSet("cloudy_0.5m", HARD, rendered("depot", 0.5, clouds=0.65), 16, "8 looks, 65 % cloud"),
    TestSet("oblique_0.5m", HARD, rendered("depot", 0.5, off_nadir_deg=28.0), 16, "8 looks, half of them more than 12, some over 30 degrees off nadir"),
    TestSet("pan_0.5m", HARD, rendered("depot", 0.5, bands=("pan",)), 16, "8 looks, one panchromatic band"),
    TestSet("south_0.7m", HARD, rendered("depot", 0.7, longitude=54.5, latitude=24.3), 16, "8 looks at 24 degrees north, 0.7 m"),
    TestSet("masks_0.5m", HARD, rendered("depot", 0.5, masks="none"), 16, "8 looks without any cloud mask"),
    TestSet("masks_poor_0.5m", HARD, rendered("depot", 0.5, masks="imperfect"), 16, "8 looks whose cloud masks miss and invent cloud"),
    TestSet(
        "sensor_0.5m", NEVER,
        rendered("depot", 0.5, bands=("green", "red", "nir"), blur_px=1.1, noise=0.02, bits=8),
        16, "8 looks of a sensor without blue, blurred by 1.1 pixels, noisy, 8 bit",
    ),
    TestSet(
        "north_0.5m", NEVER,
        rendered("depot", 0.5, latitude=67.0, start=datetime(2023, 3, 1, tzinfo=UTC), end=datetime(2023, 10, 10, tzinfo=UTC)),
        16, "8 looks at 67 degrees north, March to October",
    ),
    TestSet("quiet_0.5m", OURS, rendered("quiet", 0.5), 30, "8 looks, nothing of our classes changes, all nuisances"),
    TestSet(
        "quiet_wide_0.5m", OURS, rendered("quiet", 0.5, extent_m=500.0, looks=12), 40, "12 looks of 0.5 x 0.5 km, the same"
    ),
    TestSet("quiet_1m", OURS, rendered("quiet", 1.0, extent_m=500.0, looks=12), 30, "the same at 1 m"),
    TestSet(
        "small_10m", OURS, rendered("depot", 10.0, extent_m=1000.0, looks=12), 12, "12 looks of only 100 x 100 pixels, 10 m, places", classless=True
    ),
    TestSet("quiet_10m", OURS, rendered("quiet", 10.0, extent_m=1800.0, looks=16), 12, "16 looks at 10 m", classless=True),
    TestSet("second_pair_0.5m", SECOND, painted(2, 0.5, cloudy=0.2), 20, "two dates, 0.5 m", peers=True),
    TestSet("second_real_pair_0.5m", SECOND + " on real backgrounds", painted(2, 0.5, "real", cloudy=0.2), 12, "two dates, 0.5 m"),
    TestSet("second_series_0.5m", SECOND, painted(8, 0.5), 20, "8 looks, 0.5 m"),
    TestSet("second_series_10m", SECOND, painted(14, 10.0), 8, "14 looks, 10 m, places", classless=True),
    TestSet("second_quiet_0.5m", SECOND, painted(8, 0.5, quiet=True), 20, "8 looks, nothing changes"),
)  # fmt: skip


@dataclass(slots=True)
class Outcome:
    """One set as run."""

    scores: list[scoring.SiteScore] = field(default_factory=list)
    place_scores: list[scoring.SiteScore] = field(default_factory=list)
    peer_scores: dict[str, list[scoring.SiteScore]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    timeline_violations: int = 0
    seconds: float = 0.0
    labelled: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)


@contextmanager
def analysed(
    catalog: Path,
    aoi: Path,
    out: Path,
    *,
    network: bool,
    min_confidence: float | None = None,
    store: Path | None = None,
) -> Any:
    """Analyse as the command does, write the report, and yield what is needed to read the same pixels again."""
    from pipelines.aoi import read_aoi
    from pipelines.archives import open_archive
    from pipelines.parameters import Parameters
    from pipelines.report import write_report
    from pipelines.runner import open_runner
    from pipelines.site import SceneSet, analyse_scenes

    site = read_aoi(aoi)
    found = open_archive(str(catalog)).search(site.aoi, None)
    with tempfile.TemporaryDirectory() as spare, open_runner(1, None) as runner:
        finished = analyse_scenes(
            site,
            SceneSet(found.scenes),
            store=str(store or spare),
            runner=runner,
            parameters=Parameters(network=network, min_confidence=min_confidence),
        )
        write_report(finished.analysis, finished.read_window, out)
        yield finished


def run_set(
    test: TestSet, sites: int, work: Path, *, network: bool, rescore: bool = False, warm: bool = False
) -> Outcome:
    """Make, analyse and score the sites of one set; ``rescore`` scores reports that are there already, without peers."""
    outcome = Outcome()
    for index in range(sites):
        name = f"{test.name}-{index}"
        scenes, report = work / name / "scenes", work / name / "report"
        seed = FIRST_SEED + index
        try:
            _make(test, scenes, seed)
            truth, aoi = scenes / "truth.geojson", scenes / "aoi.geojson"
            if not (rescore and (report / "timeline.csv").is_file()):
                _clear(report)
                start = time.process_time()
                store = work / name / "store" if warm else None
                with analysed(scenes / "catalog.json", aoi, report, network=network, store=store) as finished:
                    outcome.seconds += time.process_time() - start
                    if test.peers:
                        for peer, score in peer_scores(finished, report, truth, aoi).items():
                            outcome.peer_scores.setdefault(peer, []).append(score)
            outcome.scores.append(scoring.score_report(report, truth, aoi, classless=test.classless))
            outcome.place_scores.append(scoring.score_report(report, truth, aoi, classless=True))
            outcome.timeline_violations += scoring.timeline_violations(report)
        except Exception as error:  # the edge: a site that fails is a result, printed and written down
            outcome.failures.append(f"{name}: {type(error).__name__}: {error}")
        print(f"  {name}: {_one_line(outcome)}", file=sys.stderr, flush=True)
    return outcome


def make_scenes(test: TestSet, sites: int, work: Path) -> None:
    """Render the scenes of one set ahead of the run that looks at them."""
    for index in range(sites):
        _make(test, work / f"{test.name}-{index}" / "scenes", FIRST_SEED + index)


def _make(test: TestSet, scenes: Path, seed: int) -> None:
    """Render a site unless it is there; what an interrupted run left is made again (the truth is written last)."""
    if not (scenes / "truth.geojson").is_file():
        _clear(scenes)
        test.make(scenes, seed)


def merge_results(parts: Sequence[Path], path: Path) -> None:
    """Put the results of runs of different sets into one file; sets that no part holds keep what they had."""
    for part in parts:
        said = json.loads(part.read_text())
        write_results(said["sets"], path, network=said["run"]["network"])


def _one_line(outcome: Outcome) -> str:
    if outcome.failures and (not outcome.scores or len(outcome.failures) > len(outcome.scores)):
        return outcome.failures[-1]
    if not outcome.scores:
        return "nothing"
    last = scoring.summary(outcome.scores[-1:])
    return (
        ", ".join(f"{k} {v:.2f}" for k, v in last.items() if k.endswith("iou0.3.f1")) or "no claim, no truth"
    )


def _clear(folder: Path) -> None:
    """Remove a folder of ours, so that it can be written again."""
    import shutil

    if folder.is_dir():
        shutil.rmtree(folder)


def peer_scores(finished: Any, report: Path, truth: Path, aoi: Path) -> dict[str, scoring.SiteScore]:
    """Run every peer on the first and the last used look, as registered and normalised for our own detectors."""
    used = [look.scene for look in finished.analysis.looks if look.used]
    grid = finished.analysis.grid
    first, last = (finished.read_window(scene.id, grid) for scene in (used[0], used[-1]))
    area = shapely.union_all([shape(g) for g in scoring.geometries(json.loads(aoi.read_text()))])
    project = scoring.to_metres(area.centroid.x, area.centroid.y)
    inside = project(area)
    looked = {look.scene_id: look.t_utc for look in (first, last)}
    told = scoring.read_truth(truth, project, scoring.reference_scene(report))
    asked = scoring.asked_for(told, inside, looked, grid.gsd_m, classless=False)
    bands = [b for b in first.bands if b in last.bands]
    before, after = (np.stack([look.band(b) for b in bands]) for look in (first, last))
    seen = first.observed & last.observed & np.isfinite(before + after).all(axis=0)
    out = {}
    for name in peers.PEERS:
        claims = peers.peer_changes(
            name, before, after, seen, grid.transform, grid.gsd_m, (first.t_utc, last.t_utc)
        )
        claims = [c for c in claims if c.geometry.intersects(inside)]
        out[name] = scoring.score_events(
            name, asked.without_hidden(claims), asked.seen, area_km2=inside.area / 1e6, scene_times=looked
        )
    return out


def run_real(source: Path, work: Path, which: str, *, network: bool) -> Outcome:
    """Analyse real pairs in which nothing of our classes is known to have happened: every claim of one is false."""
    outcome = Outcome()
    for entry in write_catalogs(source, work / f"real-{which}", which):
        report = work / f"real-{which}-reports" / entry.name
        _clear(report)
        try:
            start = time.process_time()
            with analysed(entry.catalog, entry.aoi, report, network=network) as finished:
                outcome.seconds += time.process_time() - start
                if which == "oscd":
                    city = source / "oscd_train_cities" / entry.name
                    outcome.labelled[entry.name] = oscd_labels.compare(finished, city)
            area = shapely.union_all(
                [shape(g) for g in scoring.geometries(json.loads(entry.aoi.read_text()))]
            )
            project = scoring.to_metres(area.centroid.x, area.centroid.y)
            claims = scoring.read_claims(report / "changes.geojson", project)
            times = scoring.scene_times(report)
            score = scoring.score_events(
                entry.name,
                claims,
                [],
                area_km2=project(area).area / 1e6,
                scene_times=times,
                seen=scoring.seen_shares(report),
            )
            outcome.scores.append(score)
            named = {s: sum(v for k, v in c.items() if k != "other") for s, c in score.claimed.items()}
            print(f"  {entry.name}: containers and berms claimed: {named}", file=sys.stderr, flush=True)
        except Exception as error:  # the edge, as above
            outcome.failures.append(f"{entry.name}: {type(error).__name__}: {error}")
            print(f"  {outcome.failures[-1]}", file=sys.stderr, flush=True)
    return outcome


def named_false_alarms(scores: Sequence[scoring.SiteScore], state: str) -> dict[str, float]:
    """Container and berm claims per km2 and pair, with an interval by bootstrap over pairs."""
    rng = np.random.default_rng(0)
    claims = np.array([sum(v for k, v in s.claimed[state].items() if k != "other") for s in scores], float)
    area = np.array([s.area_km2 for s in scores])
    draws = rng.integers(0, len(scores), (1000, len(scores)))
    rates = claims[draws].sum(axis=1) / area[draws].sum(axis=1)
    low, high = np.quantile(rates, (0.025, 0.975))
    return {"value": float(claims.sum() / area.sum()), "low": float(low), "high": float(high)}


def reliability_bins(scores: Sequence[scoring.SiteScore]) -> list[dict[str, float]]:
    """Claims per tenth of confidence: how many, mean confidence, share that is true."""
    said = np.array([r for s in scores for r in s.reliability], float).reshape(-1, 2)
    bins = np.minimum((said[:, 0] * BINS).astype(int), BINS - 1)
    return [
        {
            "n": int((bins == b).sum()),
            "said": float(said[bins == b, 0].mean()),
            "true": float(said[bins == b, 1].mean()),
        }
        for b in np.unique(bins)
    ]


def as_json(test: TestSet, outcome: Outcome) -> dict[str, Any]:
    """Return one set's results."""
    out: dict[str, Any] = {
        "measured_on": test.measured_on,
        "what": test.what,
        "classless": test.classless,
        "sites": len(outcome.scores),
        "failures": outcome.failures,
        "cpu_seconds": round(outcome.seconds, 1),
        "timeline_violations": outcome.timeline_violations,
    }
    if outcome.scores:
        out["numbers"] = scoring.with_intervals(outcome.scores)
        out["reliability"] = reliability_bins(outcome.scores)
        out["named_false_alarms"] = {s: named_false_alarms(outcome.scores, s) for s in ("all", "confirmed")}
    if outcome.place_scores:
        whole = scoring.with_intervals(outcome.place_scores)
        out["places"] = {k: v for k, v in whole.items() if k.startswith("other.")}
    if outcome.labelled:
        out["labelled"] = outcome.labelled
    out["peers"] = {name: scoring.with_intervals(scores) for name, scores in outcome.peer_scores.items()}
    return out


def write_results(found: dict[str, Any], path: Path, *, network: bool) -> None:
    """Merge sets into the results file: sets not run now keep what they had."""
    path.parent.mkdir(parents=True, exist_ok=True)
    said = json.loads(path.read_text()) if path.is_file() else {"sets": {}}
    said["sets"] |= found
    said["run"] = {"python": platform.python_version(), "network": network, "first_seed": FIRST_SEED}
    path.write_text(json.dumps(_finite(said), indent=1, sort_keys=True) + "\n")


def _finite(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    if isinstance(value, float):
        return round(value, 5) if np.isfinite(value) else None
    return value


def print_set(name: str, said: dict[str, Any]) -> None:
    """Print the numbers people ask for first."""
    print(f"\n{name} ({said['what']}; {said['measured_on']}; {said['sites']} sites, {said['cpu_seconds']} s)")
    for failure in said["failures"]:
        print(f"  FAILED {failure}")
    numbers = said.get("numbers", {})
    wanted = (
        "iou0.3.f1",
        "iou0.5.f1",
        "per_km2_look",
        "km2_looks",
        "looks_used",
        "ece",
        "coverage",
        "lag_looks",
    )
    for key, n in numbers.items():
        if key.endswith(wanted):
            print(f"  {key:<48} {_shown(n)}")
    for key, n in said.get("places", {}).items():
        if key.endswith("iou0.3.f1"):
            print(f"  {'whatever it is called, ' + key[6:]:<48} {_shown(n)}")
    for state, rate in said.get("named_false_alarms", {}).items():
        print(f"  {'container and berm claims per km2, ' + state:<48} {_shown(rate)}")
    for peer, theirs in said["peers"].items():
        f1s = [f"{k.split('.iou')[0]} {n['value']:.2f}" for k, n in theirs.items() if k.endswith("iou0.3.f1")]
        print(
            f"  {peer}: {', '.join(f1s)}; false alarms {theirs['false_alarms.all.per_km2']['value']:.0f} per km2"
        )


def _shown(n: dict[str, float]) -> str:
    value, low, high = n["value"], n["low"], n["high"]
    if not np.isfinite(value):
        return "-"
    return f"{value:.3f}" + (f" [{low:.3f}, {high:.3f}]" if np.isfinite(low) else "")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run sets and write the results."""
    parser = argparse.ArgumentParser(description="Measure detection on rendered and real sites.")
    parser.add_argument(
        "--sets", help="comma-separated names; default all; real_pairs and real_oscd need --real"
    )
    parser.add_argument("--sites", type=int, help="sites per set, instead of each set's own number")
    parser.add_argument("--work", type=Path, help="keep scenes and reports here (and reuse the scenes)")
    parser.add_argument("--real", type=Path, help="folder with the real pairs")
    parser.add_argument("--no-network", action="store_true")
    parser.add_argument(
        "--rescore", action="store_true", help="score reports found in --work instead of analysing"
    )
    parser.add_argument(
        "--warm",
        action="store_true",
        help="keep the products of rendered sites in --work, and use those there are",
    )
    parser.add_argument("--make-only", action="store_true", help="render the scenes into --work and stop")
    parser.add_argument("--merge", type=Path, nargs="+", help="put these result files into --out and stop")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args(arguments)
    if args.merge:
        merge_results(args.merge, args.out)
        return 0
    wanted = args.sets.split(",") if args.sets else [t.name for t in SETS] + ["real_pairs", "real_oscd"]
    unknown = set(wanted) - {t.name for t in SETS} - {"real_pairs", "real_oscd"}
    if unknown:
        parser.error(f"no set called {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as scratch:
        work = args.work or Path(scratch)
        for test in SETS:
            if test.name in wanted and args.make_only:
                make_scenes(test, args.sites or test.sites, work)
            elif test.name in wanted:
                outcome = run_set(
                    test,
                    args.sites or test.sites,
                    work,
                    network=not args.no_network,
                    rescore=args.rescore,
                    warm=args.warm,
                )
                found = as_json(test, outcome)
                print_set(test.name, found)
                write_results({test.name: found}, args.out, network=not args.no_network)
        for which in ("pairs", "oscd"):
            if f"real_{which}" in wanted and args.real is not None and not args.make_only:
                real = TestSet(
                    f"real_{which}",
                    "real pairs without depots",
                    painted(0, 1.0),
                    0,
                    f"{which}, two dates each",
                )
                found = as_json(real, run_real(args.real, work, which, network=not args.no_network))
                print_set(real.name, found)
                write_results({real.name: found}, args.out, network=not args.no_network)
    return 0


if __name__ == "__main__":
    sys.exit(main())
