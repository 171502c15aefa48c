"""Fit what ``imagery.calibration`` reads: how a look's evidence weighs, and how candidates become confidences.

    python -m training.fit_verifier --pool FOLDER [--sites N] [--drawn N] [--workers 2] [--real LIST.json] [--out verifier.json]

Sites are rendered with seeds that no network was trained on, others drawn by ``training.compositor``; all are seen through the
shipped network, and kept in the pool folder as evidence. Then: (1) per class the gain and zero of one look's pooled log-odds, from the true objects with and
without; (2) small trees, boosted, monotone where physics gives a sign, straightened on sites left out; (3) operating
points and reliability by leave-sites-out. ``--real`` names pairs of real images of places without
containers or banks that changed: what is claimed of those classes there counts as false, at a weight of its own.
"""

import argparse
import json
import pickle
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.features import geometry_mask
from scipy import ndimage
from scipy.optimize import minimize
from shapely import union_all
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

from benchmarks.scoring import STANDING_LOOKS, calibration_error
from imagery.calibration import PRIOR, Emission, Verifier, logistic
from imagery.changes import LOG_ODDS_STEP, UNSEEN, Change, LookEvidence, ObjectClass
from imagery.detection import DetectionOptions, appearance_of, judged_candidates, look_evidence
from imagery.evidence.network import PresenceNetwork
from imagery.grid import SiteGrid
from imagery.look import Look
from imagery.observability import ObservationState
from imagery.simulation import RenderedLook, SeriesOptions, other_truths, simulate_series
from training.compositor import BAND_SETS, EPSG, SOUTH, WEST, drawn_site

SEED, DRAWN_SEED = 760_000, 820_000
CLASSES = ("container", "berm", "other")
# Kinds of sites, by how their names begin.
DOMAINS = {"site": "rendered", "drawn": "drawn", "real": "real"}
# What a candidate is judged by, and the sign that physics gives it: 1 speaks for it, -1 against it, 0 either way.
FEATURES = {
    "series": 1, "stands": 1, "missing": 1, "step": 1, "structure": 1, "rival": 1, "shift": -1, "agreement": 1, "shown": 1,
    "without": 1, "passing": 1, "once": 1, "steady": 1, "size": 1, "peak": 1, "empty": 1, "outline": 1, "contrast": 1,
    "shadow": 1, "lit": 1, "light": 1, "appearance": 1, "fill": 0, "length": 0, "width": 0, "pixel": 0, "looks": 0,
}  # fmt: skip
# Class, values by name, whether it is true, the site's name.
Row = tuple[str, dict[str, float], bool, str]
# Small and many, each on a part of the values: what holds for other renderers and sensors is broad, not sharp.
BOOSTING = {
    "max_iter": 240, "learning_rate": 0.06, "max_leaf_nodes": 7, "min_samples_leaf": 40, "l2_regularization": 10.0,
    "max_features": 0.5, "random_state": 1,
}  # fmt: skip
# What a drawn candidate weighs against a rendered one: by sites left out, 1 costs the rendered ones more than it gives.
DRAWN_WEIGHT = 0.7
# No network looks at structures of no known class.
UNTOLD_OF_OTHERS = ("appearance",)
MATCH_IOU = 0.25
MERGE_M = 1.5
GAIN_SHARE = 0.6
LARGEST_GAIN = 1.5


@dataclass(frozen=True, slots=True)
class TrueEvent:
    """One thing that came or went: class, direction, outline, when; or stood always (``spans``)."""

    kind: str
    footprint: BaseGeometry
    spans: tuple[tuple[datetime | None, datetime | None], ...]

    def stands(self, moment: datetime) -> bool:
        """Tell whether it stands at a moment."""
        return any((a is None or a <= moment) and (b is None or moment < b) for a, b in self.spans)

    def changed(self, start: datetime, end: datetime, *, appeared: bool) -> bool:
        """Tell whether it came between two moments, or else went."""
        return self.stands(end) is appeared and self.stands(start) is not appeared


@dataclass(frozen=True, slots=True)
class Site:
    """A site's evidence with its truth; ``real`` sites have no truth of our classes."""

    name: str
    looks: tuple[LookEvidence, ...]
    things: tuple[TrueEvent, ...]
    real: bool = False


def domain_of(name: str) -> str:
    """Return the kind of a site, a key of ``DOMAINS``."""
    return name.split("_", maxsplit=1)[0]


def options_of(seed: int) -> SeriesOptions:
    """Draw what a site is like: pairs, short and long series, quiet ones, pixels of 0.3 to 3 m, any latitude and mask."""
    rng = np.random.default_rng([seed, 9])
    base = SeriesOptions()
    gsd = float(rng.choice([0.3, 0.4, 0.5, 0.5, 0.5, 0.7, 0.8, 1.0, 1.0, 1.5, 2.0, 3.0]))
    return replace(
        base,
        extent_m=min(240.0, 480.0 * gsd) if gsd < 1.0 else 320.0 if gsd < 1.5 else 480.0,
        looks=int(rng.choice([2, 2, 3, 4, 6, 8, 10])),
        sensor=replace(
            base.sensor,
            gsd_m=gsd,
            blur_px=float(rng.uniform(0.3, 0.8)),
            noise=float(rng.uniform(0.002, 0.012)),
            bands=BAND_SETS[int(rng.choice(3, p=(0.6, 0.25, 0.15)))],
            jpeg_quality=int(rng.integers(60, 95)) if rng.random() < 0.25 else None,
            bits=8 if rng.random() < 0.25 else 16,
        ),
        latitude=float(rng.uniform(20, 60)),
        longitude=float(rng.uniform(-100, 120)),
        clouds=float(rng.choice([0.0, 0.15, 0.35])),
        kind="quiet" if rng.random() < 0.3 else "depot",
        density=float(rng.uniform(0.8, 1.6)),
        traffic=float(np.random.default_rng([seed, 11]).choice([0.0, 0.25, 0.5, 1.0, 2.0])),
        off_nadir_deg=float(rng.choice([8.0, 15.0, 25.0])),
        masks="perfect" if rng.random() < 0.6 else "imperfect",
        start=datetime(2023, int(rng.integers(1, 12)), 1, tzinfo=UTC),
        end=datetime(2024, int(rng.integers(4, 12)), 20, tzinfo=UTC),
    )


def look_of(rendered: RenderedLook, options: SeriesOptions, rng: np.random.Generator) -> Look:
    """Place a rendered look where it belongs, but for the error registration leaves."""
    gsd, side = options.sensor.gsd_m, len(rendered.mask)
    grid = SiteGrid(EPSG, WEST, SOUTH + options.extent_m, gsd, side, side)
    east, north = np.array(rendered.shift_m) / gsd + rng.normal(0, 0.15, 2)
    image = np.stack(
        [
            ndimage.shift(band.astype(np.float32) / 1e4, (-north, east), order=3, mode="nearest")
            for band in rendered.image
        ]
    )
    mask = ndimage.shift(rendered.mask, (-north, east), order=0, mode="constant", cval=255)
    state = np.zeros(mask.shape, np.uint8)
    codes = {
        1: ObservationState.CLOUD,
        2: ObservationState.CLOUD_SHADOW,
        3: ObservationState.SNOW,
        255: ObservationState.NODATA,
    }
    for code, kind in codes.items():
        state[mask == code] = kind
    image[:, state > 0] = np.nan
    return Look(
        f"S{rendered.number:02d}",
        rendered.t_utc,
        grid,
        rendered.bands,
        np.asarray(image, np.float32),
        state,
        gsd,
        rendered.sun,
        rendered.view,
    )


def rendered_site(seed: int, folder: Path) -> Path:
    """Render a site, keep its looks in the pool, and return where."""
    target = folder / f"site_{seed}.looks"
    if not target.exists():
        options = options_of(seed)
        series = simulate_series(seed, options)
        rng = np.random.default_rng([seed, 10])
        looks = [look_of(rendered, options, rng) for rendered in series.looks]
        things = [
            TrueEvent(t.thing.kind, translate(t.footprint, WEST, SOUTH), t.thing.spans)
            for t in (*series.truths, *other_truths(seed, options))
        ]
        keep(target, (looks, things))
    return target


def drawn_in_pool(seed: int, folder: Path) -> Path:
    """Draw a plainer site, keep its looks in the pool, and return where."""
    target = folder / f"drawn_{seed}.looks"
    if not target.exists():
        site = drawn_site(seed)
        things = [
            TrueEvent(t.kind, translate(t.footprint, WEST, SOUTH), (site.stay(t),))
            for t in site.things
            if t.kind in CLASSES
        ]
        keep(target, (site.looks, things))
    return target


def keep(target: Path, what: object) -> None:
    """Pickle something whole or not at all."""
    part = target.with_suffix(".part")
    part.write_bytes(pickle.dumps(what, protocol=5))
    part.replace(target)


def seen_site(path: Path, network: PresenceNetwork) -> Site:
    """Return a site's evidence through a network, from the pool where it was seen before."""
    cached = path.with_suffix(f".{network.weights_sha256[:8]}.evidence")
    if not cached.exists():
        looks, things = pickle.loads(path.read_bytes())
        seen = [look_evidence(look, registration_residual_m=0.1, network=network) for look in looks]
        keep(cached, Site(path.stem, tuple(seen), tuple(things), domain_of(path.stem) == "real"))
    found: Site = pickle.loads(cached.read_bytes())
    return found


def real_site(name: str, before: Path, after: Path, gsd_m: float, folder: Path) -> Path:
    """Keep a real pair of pictures as two looks half a year apart; sun and view stay unknown."""
    from PIL import Image

    target = folder / f"real_{name}.looks"
    if not target.exists():
        looks = []
        for number, place in enumerate((before, after)):
            image = np.moveaxis(np.asarray(Image.open(place).convert("RGB"), np.float32), -1, 0) / 255
            rows, cols = image.shape[1:]
            grid = SiteGrid(EPSG, WEST, SOUTH, gsd_m, rows, cols)
            moment = datetime(2023, 1 + 6 * number, 1, tzinfo=UTC)
            looks.append(
                Look(
                    f"R{number}",
                    moment,
                    grid,
                    ("red", "green", "blue"),
                    np.asarray(image, np.float32),
                    np.zeros((rows, cols), np.uint8),
                    gsd_m,
                    None,
                    None,
                )
            )
        keep(target, (looks, []))
    return target


def emissions(sites: list[Site]) -> dict[str, Emission]:
    """Fit what one look's mean log-odds inside true outlines weighs, with the object there and without.

    Rendered and drawn sites weigh the same together, however many of them there are.
    """
    found: dict[str, Emission] = {"other": Emission(1.0, 0.0)}
    domains = [[site for site in sites if domain_of(site.name) == domain] for domain in ("site", "drawn")]
    for index, kind in enumerate(CLASSES[:2]):
        parts = [_pooled_truth(domain, index, kind) for domain in domains if domain]
        value, low, present = (np.concatenate(column) for column in zip(*parts, strict=True))
        weight = np.concatenate(
            [np.where(here, 0.5 / here.sum(), 0.5 / (~here).sum()) / len(parts) for _, _, here in parts]
        )
        sign = np.where(present, 1.0, -1.0)
        start = np.array([1.5, -4.5, 0.3])
        best = minimize(_misfit, start, (value, low, sign, weight), method="Nelder-Mead").x
        gain, zero, quiet = map(float, best)
        accuracy = float(np.sum(weight * ((_evidence(best, value, low) > 0) == present)))
        print(
            f"{kind}: gain {gain:.2f} zero {zero:.2f} quiet {quiet:.2f}, right in {100 * accuracy:.1f} % of looks"
        )
        found[kind] = Emission(
            round(min(GAIN_SHARE * gain, LARGEST_GAIN), 3),
            round(zero, 3),
            round(min(max(quiet, 0.0), 1.0), 3),
        )
    return found


def _evidence(
    at: NDArray[np.float64], value: NDArray[np.float64], low: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return what looks weigh by an emission of gain, zero and quiet."""
    emission = Emission(*map(float, at))
    return emission.gain * (value - emission.excess(low) - emission.zero)


def _misfit(
    at: NDArray[np.float64],
    value: NDArray[np.float64],
    low: NDArray[np.float64],
    sign: NDArray[np.float64],
    weight: NDArray[np.float64],
) -> float:
    """Return the weighted log loss of that evidence; ``sign`` is 1 where the object stands, else -1."""
    return float(np.sum(weight * np.logaddexp(0, -sign * _evidence(at, value, low))))


def _pooled_truth(
    sites: list[Site], index: int, kind: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Return each look's mean log-odds over each true object, the least of that object's looks, and whether it stands.

    Only objects that came or went: what always stood has no empty look to be compared with.
    """
    value, low, present = [], [], []
    for site in sites:
        for thing in site.things:
            if thing.kind != kind:
                continue
            grid = site.looks[0].grid
            inside = geometry_mask([thing.footprint], grid.shape, grid.transform, invert=True)
            if inside.sum() < 12:
                continue
            mine: list[tuple[float, bool]] = []
            for look in site.looks:
                odds = look.log_odds[index][inside]
                if np.mean(odds != UNSEEN) >= 0.6:
                    mine.append(
                        (float(odds[odds != UNSEEN].mean()) * LOG_ODDS_STEP, thing.stands(look.t_utc))
                    )
            if len({stands for _, stands in mine}) == 2:
                value += [number for number, _ in mine]
                present += [stands for _, stands in mine]
                low += [min(number for number, _ in mine)] * len(mine)
    return np.array(value), np.array(low), np.array(present)


def aoi_of(grid: SiteGrid) -> NDArray[np.bool_]:
    """Return where changes of a pool's site are asked for: not at the edges of its pictures."""
    inside = np.ones(grid.shape, bool)
    edge = round(8.0 / grid.gsd_m)
    inside[:edge], inside[-edge:], inside[:, :edge], inside[:, -edge:] = False, False, False, False
    return inside


def candidates(site: Site, verifier: Verifier) -> list[Row]:
    """Return every candidate of a site: class, values, whether it is true, site name."""
    # What a look can show was measured with some network; the next one's evidence must not be left out by it.
    options = DetectionOptions(min_confidence=0.0, keep_to_limits=False)
    found = judged_candidates(site.looks, aoi_of(site.looks[0].grid), options, verifier)
    return [
        (
            str(judged.change.object_class),
            judged.values
            | {"appearance": appearance_of(judged.rough, judged.window, judged.difference, judged.drawn)},
            is_true(judged.change, site),
            site.name,
        )
        for judged in found
    ]


def is_true(change: Change, site: Site) -> bool:
    """Tell whether a change is one: same class, direction and place, onset inside the interval or its looks.

    Of our classes a part of what came or went is true as well: of a row, of a bank. What is not identified is to be drawn
    whole and must last, as ``benchmarks.scoring`` asks: what one look alone shows is passing.
    """
    appeared = str(change.direction) == "appeared"
    step = change.onset
    named = change.object_class is not ObjectClass.OTHER
    same = [
        t.footprint
        for t in site.things
        if t.kind == str(change.object_class)
        and t.changed(step.start, step.end, appeared=appeared)
        and t.footprint.intersects(change.footprint)
        and (
            named
            or sum(t.stands(look.t_utc) for look in site.looks) >= min(STANDING_LOOKS, len(site.looks) - 1)
        )
    ]
    if not same:
        return False
    truth = union_all(same).buffer(MERGE_M)
    claim = change.footprint.buffer(MERGE_M)
    shared = truth.intersection(claim).area
    fits = shared / (truth.area + claim.area - shared) >= MATCH_IOU
    return bool(fits or (named and shared > 0.7 * claim.area))


def fit_trees(rows: list[Row], real_weight: float, untold: Sequence[str] = ()) -> Any:
    """Fit one class's trees, monotone in what physics gives a sign."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    truth = np.array([row[2] for row in rows])
    weights = {"real": real_weight, "drawn": DRAWN_WEIGHT}
    weight = np.array([weights.get(domain_of(row[3]), 1.0) for row in rows])
    trees = HistGradientBoostingClassifier(**BOOSTING, monotonic_cst=list(FEATURES.values()))
    return trees.fit(_matrix(rows, untold), truth, weight)


def _matrix(rows: list[Row], untold: Sequence[str]) -> NDArray[np.float64]:
    """Return (row, feature), NaN where one could not be measured, 0 everywhere where it is not told."""
    return np.array(
        [
            [0.0 if name in untold else values.get(name, np.nan) for name in FEATURES]
            for _, values, _, _ in rows
        ]
    )


def left_out(
    rows: list[Row], real_weight: float, untold: Sequence[str] = (), folds: int = 5
) -> NDArray[np.float64]:
    """Return each candidate's log-odds by a fit that never saw its site."""
    names = sorted({row[3] for row in rows})
    fold = {name: k % folds for k, name in enumerate(names)}
    out = np.zeros(len(rows))
    for k in range(folds):
        kept = [row for row in rows if fold[row[3]] != k]
        mine = [i for i, row in enumerate(rows) if fold[row[3]] == k]
        if mine:
            trees = fit_trees(kept, real_weight, untold)
            out[mine] = trees.decision_function(_matrix([rows[i] for i in mine], untold))
    return out


def straightened(odds: NDArray[np.float64], truth: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the slope and offset that make left-out log-odds mean what they say (Platt 1999)."""
    sign = np.where(truth, 1.0, -1.0)
    slope, offset = minimize(
        lambda at: float(np.logaddexp(0.0, -sign * (at[0] * odds + at[1])).mean()), np.array([1.0, 0.0])
    ).x
    return float(slope), float(offset)


def fitted_judge(
    rows: list[Row], real_weight: float, untold: Sequence[str] = ()
) -> tuple[dict[str, Any], float, NDArray[np.float64]]:
    """Return trees as ``written``, the slope that straightened them, and each candidate's log-odds by such that never saw its site."""
    odds, made_up = left_out(rows, real_weight, untold), _made_up(rows)
    slope, offset = straightened(odds[made_up], np.array([row[2] for row in rows])[made_up])
    return written(fit_trees(rows, real_weight, untold), slope, offset), slope, slope * odds + offset


def _made_up(rows: list[Row]) -> NDArray[np.bool_]:
    """Tell which candidates lie on rendered sites."""
    return np.array([domain_of(row[3]) != "real" for row in rows])


def written(fitted: Any, slope: float, offset: float) -> dict[str, Any]:
    """Return fitted trees as ``imagery.calibration`` reads them, scaled by a slope and moved by an offset."""
    bias = offset + slope * float(fitted._baseline_prediction.ravel()[0])
    trees = []
    for (predictor,) in fitted._predictors:
        tree, mean = _tree(predictor.nodes, slope)
        trees.append(tree)
        bias += mean
    return {
        "bias": round(bias, 4), "names": list(FEATURES), "signs": list(FEATURES.values()), "trees": trees,
    }  # fmt: skip


def _tree(nodes: NDArray[Any], slope: float) -> tuple[dict[str, list[float]], float]:
    """Return one tree with the odds of every node against its root's, and the root's: the mean of its leaves."""
    leaf = nodes["is_leaf"].astype(bool)
    odds = np.where(leaf, slope * nodes["value"], 0.0)
    for node in range(len(nodes) - 1, -1, -1):  # children come after their parent
        if not leaf[node]:
            sides = [int(nodes[side][node]) for side in ("left", "right")]
            odds[node] = np.average(odds[sides], weights=nodes["count"][sides])
    left, right = nodes["left"].astype(int), nodes["right"].astype(int)
    unknown = np.where(nodes["missing_go_to_left"], left, right)
    tree = {
        "asks": np.where(leaf, -1, nodes["feature_idx"].astype(int)).tolist(),
        # What asks only whether a value is known has no bound, which JSON has no number for.
        "least": np.nan_to_num(np.where(leaf, 0.0, nodes["num_threshold"])).tolist(),
        "low": left.tolist(),
        "high": right.tolist(),
        "unknown": unknown.tolist(),
        "odds": np.round(odds - odds[0], 5).tolist(),
    }
    return tree, float(odds[0])


def operating_points(
    confidence: NDArray[np.float64], truth: NDArray[np.bool_], km2_years: float, trues: int
) -> list[dict[str, float]]:
    """Return false alarms per km2 and year and recall from each confidence on."""
    return [
        {
            "confidence": float(level),
            "false_alarms": round(float(((confidence >= level) & ~truth).sum() / km2_years), 4),
            "recall": round(float(((confidence >= level) & truth).sum() / max(trues, 1)), 4),
        }
        for level in np.round(np.arange(0.1, 1.0, 0.05), 2)
    ]


def _switches(site: Site, kind: str) -> int:
    """Count the times at which something of a class came or went between the first and the last look."""
    first, last = site.looks[0].t_utc, site.looks[-1].t_utc
    moments = [m for t in site.things if t.kind == kind for span in t.spans for m in span if m is not None]
    return sum(first < m < last for m in moments)


def _span(site: Site) -> float:
    """Return a site's km2 times years."""
    years = (site.looks[-1].t_utc - site.looks[0].t_utc).total_seconds() / 86400 / 365.25
    return site.looks[0].grid.area_km2 * max(years, 0.1)


def main() -> None:
    """Render, look, fit, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--sites", type=int, default=60)
    parser.add_argument("--drawn", type=int, default=0, help="how many sites of the plain compositor")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--real", type=Path, help="JSON list of {name, before, after, gsd_m}")
    parser.add_argument("--real-weight", type=float, default=1.0)
    parser.add_argument("--network", type=Path, help="presence.onnx; default the shipped one")
    parser.add_argument("--render-only", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("imagery/evidence/weights/verifier.json"))
    args = parser.parse_args()
    args.pool.mkdir(parents=True, exist_ok=True)
    seeds, drawn = range(SEED, SEED + args.sites), range(DRAWN_SEED, DRAWN_SEED + args.drawn)
    if args.render_only:
        with ProcessPoolExecutor(args.workers) as pool:
            list(pool.map(partial(drawn_in_pool, folder=args.pool), drawn))
            list(pool.map(partial(rendered_site, folder=args.pool), seeds))
        return
    names = [*(f"site_{seed}" for seed in seeds), *(f"drawn_{seed}" for seed in drawn)]
    paths = [path for name in names if (path := args.pool / f"{name}.looks").exists()]
    if args.real:
        paths += [
            real_site(e["name"], Path(e["before"]), Path(e["after"]), e["gsd_m"], args.pool)
            for e in json.loads(args.real.read_text())
        ]
    with ProcessPoolExecutor(args.workers) as pool:
        network = PresenceNetwork.load(args.network)
        sites = list(pool.map(partial(_seen, network=args.network), paths))
        weighing = emissions([site for site in sites if not site.real])
        verifier = replace(PRIOR, emissions=weighing)
        rows = [row for part in pool.map(partial(candidates, verifier=verifier), sites) for row in part]
    write(sites, rows, weighing, args.real_weight, network.weights_sha256, args.out)


def _seen(path: Path, network: Path | None) -> Site:
    return seen_site(path, PresenceNetwork.load(network))


def write(
    sites: list[Site],
    rows: list[Row],
    weighing: dict[str, Emission],
    real_weight: float,
    network_sha256: str,
    out: Path,
) -> None:
    """Fit every class, say how well it does on sites left out, and write the file."""
    judges: dict[str, dict[str, Any]] = {}
    confidences, truths = [], []
    for kind in CLASSES:
        mine = [row for row in rows if row[0] == kind]
        untold = UNTOLD_OF_OTHERS if kind == "other" else ()
        judges[kind], slope, odds = fitted_judge(mine, real_weight, untold)
        truth = np.array([row[2] for row in mine])
        confidence = np.array([logistic(float(o)) for o in odds])
        print(f"{kind}: slope {slope:.2f}; {sum(_switches(site, kind) for site in sites)} true events in all")
        for domain, name in DOMAINS.items():
            here = np.array([domain_of(row[3]) == domain for row in mine])
            if here.any():
                print(f"  {name}: {_how_well(confidence[here], truth[here])}")
        if kind != "other":
            made_up = _made_up(mine)
            confidences.append(confidence[made_up])
            truths.append(truth[made_up])
    judges["other"]["without"] = list(UNTOLD_OF_OTHERS)
    confidence, truth = np.concatenate(confidences), np.concatenate(truths)
    error = calibration_error(list(zip(confidence, truth, strict=True)))
    area = sum(_span(site) for site in sites if not site.real)
    events = sum(_switches(site, kind) for site in sites for kind in CLASSES[:2])
    points = operating_points(confidence, truth, area, events)
    said = {
        "emissions": {
            k: {"gain": e.gain, "zero": e.zero, "quiet": e.quiet} for k, e in sorted(weighing.items())
        },
        "judges": judges,
        "points": points,
        "network_sha256": network_sha256,
        "ece": round(error, 4),
        "made_on": f"{_how_many(sites)}; confidence from sites left out",
    }
    out.write_text(_lines(said) + "\n")
    print(f"ECE {error:.3f}; {points}", file=sys.stderr)


def _how_many(sites: Sequence[Site]) -> str:
    """Count the sites of each kind."""
    count = Counter(domain_of(site.name) for site in sites)
    return ", ".join(f"{count[domain]} {name} sites" for domain, name in DOMAINS.items() if count[domain])


def _how_well(confidence: NDArray[np.float64], truth: NDArray[np.bool_]) -> str:
    """Say how well candidates left out are told apart, and what listing from some confidences on keeps."""
    error = calibration_error(list(zip(confidence, truth, strict=True)))
    said = [f"{truth.sum()} true of {truth.size}, ECE {error:.3f}"]
    for least in (0.4, 0.5, 0.65, 0.95):
        listed = confidence >= least
        right = (truth & listed).sum()
        said.append(
            f"from {least}: precision {right / max(listed.sum(), 1):.2f}, recall {right / max(truth.sum(), 1):.2f}"
        )
    return "; ".join(said)


def _lines(said: Any, depth: int = 0) -> str:
    """Return JSON with a line for each tree and each other small thing, so that versions can be compared."""
    whole = json.dumps(said, sort_keys=True)
    if len(whole) < 100 or (isinstance(said, dict) and "asks" in said) or not isinstance(said, dict | list):
        return whole
    pad = "\n" + " " * (depth + 1)
    if isinstance(said, dict):
        parts = [f"{json.dumps(key)}: {_lines(value, depth + 1)}" for key, value in sorted(said.items())]
        return "{" + pad + f",{pad}".join(parts) + "\n" + " " * depth + "}"
    return "[" + pad + f",{pad}".join(_lines(value, depth + 1) for value in said) + "\n" + " " * depth + "]"


if __name__ == "__main__":
    main()
