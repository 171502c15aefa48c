"""Score a report against truth, from the files alone: nothing of the pipeline's code is used here.

Truth is a GeoJSON FeatureCollection in EPSG:4326. Either one feature per event (``class``, ``direction``, ``time``) or one
per object (``class`` with ``appeared``/``removed``, null where it stood from the start or still stands). Optional:
``count``, and ``visible_in``, the scene ids in which its place was clear. A member ``scenes`` may say per scene
what must be added to its coordinates to bring it onto the truth: a report lies where its reference scene lies, so
truth is moved there first and geolocation is not scored twice.

Rules. Objects of one class and direction, and one time in the truth, closer than 3 m are merged on both sides; a scattered
group is taken apart first. A
prediction matches where its intersection over union with the truth reaches 0.3 or 0.5; berms are widened by 3 m on both
sides first, since their foot is a matter of opinion. Each truth and each prediction matches once, best overlap first.
Unmatched predictions are false alarms; *clean* ones touch no true change of any class. Truth ends at the site's edge, as reports
do; what lies outside it by half or more is nobody's to find. What no clear look shows standing, or none shows absent before it
came or after it went, could not be seen: it is no miss, and a claim that touches it no false alarm. The same holds at pixels of
8 m and more for what covers less than 120 m2 (TARGETS section 2: fewer than about four containers). Truth of class ``other`` is
what else stands up. It is asked for where it stood in two clear looks at least (one shows a vehicle), and excuses no claim of
another class; where finer pixels than 8 m are scored as places, nobody asks for it and a claim that touches it is left out, neither
right nor wrong. Intervals are bootstrapped by site, never by object.

    python -m benchmarks.scoring --report DIR --truth truth.geojson [--aoi AOI.geojson] [--json OUT.json]
"""

import argparse
import csv
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from pyproj import Transformer
from shapely.affinity import translate
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

CLASSES = ("container", "berm", "other")
DIRECTIONS = ("appeared", "removed")
THRESHOLDS = (0.3, 0.5)
MERGE_M = 3.0
BERM_TOLERANCE_M = 3.0
CONFIRMED = ("confirmed", "closed")
COARSE_GSD_M, SMALLEST_COARSE_M2 = 8.0, 120.0
# From this many clear looks on a thing of class ``other`` stands, where there are more than two looks to tell.
STANDING_LOOKS = 2
ECE_BINS = 10


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened or was claimed; ``geometry`` in metres.

    ``start``/``end`` are equal for truth and the onset interval for claims; ``count`` is (value, low, high) or None;
    ``stay`` is from when until when the true object stood, None where that is outside the period or not told.
    """

    object_class: str
    direction: str
    geometry: BaseGeometry
    start: datetime
    end: datetime
    confidence: float = 1.0
    status: str = "confirmed"
    count: tuple[float, float, float] | None = None
    visible_in: tuple[str, ...] | None = None
    scene_first: str | None = None
    members: tuple["Event", ...] = ()
    area_m2: tuple[float, float] | None = None
    stay: tuple[datetime | None, datetime | None] = (None, None)


@dataclass(slots=True)
class SiteScore:
    """What one site adds to the sums: ``hits[(class, direction, IoU)] = [true positives, claims, truths]``.

    ``confirmed_hits[(class, direction)]`` is the same at the lower IoU, counting only claims that are confirmed.
    ``seen_looks`` adds up the share of the site that each look saw; ``used_share`` is the share of looks that saw any.
    """

    name: str
    area_km2: float
    seen_looks: float
    used_share: float
    hits: dict[tuple[str, str, float], list[int]] = field(default_factory=dict)
    false_alarms: dict[str, int] = field(default_factory=dict)
    clean_false_alarms: dict[str, int] = field(default_factory=dict)
    onset: list[bool] = field(default_factory=list)
    counts: list[bool] = field(default_factory=list)
    areas: list[bool] = field(default_factory=list)
    reliability: list[tuple[float, bool]] = field(default_factory=list)
    lags: list[int] = field(default_factory=list)
    unseen_claims: int = 0
    false_area_km2: dict[str, float] = field(default_factory=dict)
    claimed: dict[str, dict[str, int]] = field(default_factory=dict)
    confirmed_hits: dict[tuple[str, str], list[int]] = field(default_factory=dict)


def moment(text: str) -> datetime:
    """Parse an RFC 3339 time."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _moment_told(text: Any) -> datetime | None:
    return None if text is None else moment(str(text))


def to_metres(longitude: float, latitude: float) -> Callable[[BaseGeometry], BaseGeometry]:
    """Return a projection of EPSG:4326 geometries to the UTM zone of a place."""
    zone = min(int((longitude + 180.0) // 6.0) + 1, 60)
    transformer = Transformer.from_crs(4326, (32600 if latitude >= 0 else 32700) + zone, always_xy=True)

    def project(geometry: BaseGeometry) -> BaseGeometry:
        moved = shapely.transform(
            geometry, lambda xy: np.column_stack(transformer.transform(xy[:, 0], xy[:, 1]))
        )
        return moved if moved.is_valid else shapely.make_valid(moved)

    return project


def reference_scene(report: Path) -> str | None:
    """Return the id of the scene all others were registered to."""
    for feature in json.loads((report / "looks.geojson").read_text())["features"]:
        if feature["properties"].get("reference"):
            return str(feature["properties"]["scene_id"])
    return None


def read_truth(
    path: Path, project: Callable[[BaseGeometry], BaseGeometry], reference: str | None = None
) -> list[Event]:
    """Read truth in either form, moved to where the reference scene lies; objects become one event per step."""
    events = []
    document = json.loads(path.read_text())
    said_of = document.get("scenes", {}).get(reference, {"east_m": 0.0, "north_m": 0.0})
    for feature in document["features"]:
        said = feature["properties"]
        name = str(said.get("class") or said.get("change_type") or said.get("object_class"))
        place = translate(project(shape(feature["geometry"])), -said_of["east_m"], -said_of["north_m"])
        count = said.get("count")
        amount = None if count is None else (float(count), float(count), float(count))
        visible = said.get("visible_in")
        seen_in = None if visible is None else tuple(visible)
        came, went = (_moment_told(said.get(key)) for key in ("appeared", "removed"))
        if "direction" in said:
            times = [(str(said["direction"]), _moment_told(said.get("time") or said.get("onset")))]
        else:
            times = [("appeared", came), ("removed", went)]
        for direction, when in times:
            if when is not None and name in CLASSES:
                events.append(
                    Event(
                        name, direction, place, when, when, count=amount, visible_in=seen_in, stay=(came, went)
                    )
                )  # fmt: skip
    return events


def read_claims(path: Path, project: Callable[[BaseGeometry], BaseGeometry]) -> list[Event]:
    """Read ``changes.geojson``."""
    events = []
    for feature in json.loads(path.read_text())["features"]:
        said = feature["properties"]
        amount = None
        if said.get("count") is not None:
            amount = (float(said["count"]), float(said["count_low"]), float(said["count_high"]))
        events.append(
            Event(
                said["change_type"],
                said["direction"],
                project(shape(feature["geometry"])),
                moment(said["last_absent"]),
                moment(said["first_seen"]),
                float(said["confidence"]),
                said["status"],
                amount,
                scene_first=said.get("after_scene"),
                area_m2=_interval(said),
            )
        )
    return events


def _interval(said: dict[str, Any]) -> tuple[float, float] | None:
    """Return the 90 % interval of the area where a report tells one."""
    low, high = said.get("area_m2_low"), said.get("area_m2_high")
    return None if low is None or high is None else (float(low), float(high))


def merged(events: Sequence[Event], *, by_time: bool) -> list[Event]:
    """Merge events of one class and direction (and one time) that lie within ``MERGE_M`` of each other."""
    groups: dict[tuple[str, str, str], list[Event]] = {}
    for event in (part for whole in events for part in parts_of(whole)):
        when = event.start.isoformat() if by_time else ""
        groups.setdefault((event.object_class, event.direction, when), []).append(event)
    out = []
    for _, members in sorted(groups.items()):
        wide = shapely.union_all([m.geometry.buffer(MERGE_M / 2, quad_segs=2) for m in members])
        for part in shapely.get_parts(wide):
            inside = [m for m in members if part.intersects(m.geometry)]
            if inside:
                out.append(_joined(inside))
    return out


def parts_of(event: Event) -> list[Event]:
    """Take a scattered group apart: one event per polygon, the count shared out by area."""
    parts = [p for p in shapely.get_parts(event.geometry) if p.area > 0]
    if len(parts) <= 1:
        return [event]
    shares = [p.area / event.geometry.area for p in parts]
    count = event.count
    return [
        replace(
            event,
            geometry=part,
            count=None if count is None else (count[0] * share, count[1] * share, count[2] * share),
            members=(event,),
        )
        for part, share in zip(parts, shares, strict=True)
    ]


def _joined(members: list[Event]) -> Event:
    first = members[0]
    count = None
    if all(m.count is not None for m in members):
        values = np.array([m.count for m in members])
        total = values[:, 0].sum()
        low = total - np.sqrt(((values[:, 0] - values[:, 1]) ** 2).sum())
        high = total + np.sqrt(((values[:, 2] - values[:, 0]) ** 2).sum())
        count = (float(total), float(low), float(high))
    strongest = max(members, key=lambda m: m.confidence)
    return Event(
        first.object_class,
        first.direction,
        shapely.union_all([m.geometry for m in members]),
        strongest.start,
        strongest.end,
        strongest.confidence,
        strongest.status,
        count,
        first.visible_in,
        strongest.scene_first,
        tuple(m.members[0] if m.members else m for m in members),
    )


def overlap(claim: BaseGeometry, truth: BaseGeometry, object_class: str) -> float:
    """Return intersection over union, berms widened by the tolerance."""
    if object_class == "berm":
        claim = claim.buffer(BERM_TOLERANCE_M, quad_segs=4)
        truth = truth.buffer(BERM_TOLERANCE_M, quad_segs=4)
    if not claim.intersects(truth):
        return 0.0
    shared = claim.intersection(truth).area
    return float(shared / max(claim.area + truth.area - shared, 1e-9))


def matches(claims: Sequence[Event], truths: Sequence[Event], least: float) -> list[tuple[int, int]]:
    """Pair claims with truths one to one: best overlap first, then nearest in time."""
    tree = shapely.STRtree([t.geometry for t in truths])
    pairs = []
    for i, claim in enumerate(claims):
        for j in tree.query(claim.geometry.buffer(2 * BERM_TOLERANCE_M)):
            truth = truths[int(j)]
            if (truth.object_class, truth.direction) != (claim.object_class, claim.direction):
                continue
            iou = overlap(claim.geometry, truth.geometry, claim.object_class)
            if iou >= least:
                pairs.append((-iou, _apart_s(claim, truth), i, int(j)))
    taken_claims: set[int] = set()
    taken_truths: set[int] = set()
    out = []
    for _, _, i, j in sorted(pairs):
        if i not in taken_claims and j not in taken_truths:
            taken_claims.add(i)
            taken_truths.add(j)
            out.append((i, j))
    return out


def _apart_s(claim: Event, truth: Event) -> float:
    """Seconds by which the truth lies outside the claimed interval."""
    early = (claim.start - truth.start).total_seconds()
    late = (truth.start - claim.end).total_seconds()
    return max(early, late, 0.0)


def score_events(
    name: str,
    claims: Sequence[Event],
    truths: Sequence[Event],
    *,
    area_km2: float,
    scene_times: dict[str, datetime],
    seen: dict[str, float] | None = None,
    classless: bool = False,
) -> SiteScore:
    """Score one site's claims; ``classless`` scores places alone (every class counts as ``other``), for coarse pixels.

    ``seen`` is the share of the site that each look saw; None counts every look as whole.
    """
    if classless:
        claims, truths = [nameless(c) for c in claims], [nameless(t) for t in truths]
    shares = dict.fromkeys(scene_times, 1.0) if seen is None else seen
    used = sum(share > 0 for share in shares.values()) / max(len(shares), 1)
    score = SiteScore(name, area_km2, sum(shares.values()), used)
    grouped, true_groups = merged(claims, by_time=False), merged(truths, by_time=True)
    for least in THRESHOLDS:
        paired = matches(grouped, true_groups, least)
        for object_class in CLASSES:
            for direction in DIRECTIONS:
                key = (object_class, direction)
                score.hits[(*key, least)] = [
                    sum((grouped[i].object_class, grouped[i].direction) == key for i, _ in paired),
                    sum((g.object_class, g.direction) == key for g in grouped),
                    sum((t.object_class, t.direction) == key for t in true_groups),
                ]
        if least == THRESHOLDS[0]:
            _add_details(score, claims, grouped, truths, true_groups, paired, scene_times)
    return score


def nameless(event: Event) -> Event:
    """Return an event as a place, whatever its class."""
    return Event(
        "other", event.direction, event.geometry, event.start, event.end, event.confidence, event.status,
        event.count, event.visible_in, event.scene_first, area_m2=event.area_m2,
    )  # fmt: skip


def _add_details(
    score: SiteScore,
    claims: Sequence[Event],
    grouped: list[Event],
    truths: Sequence[Event],
    true_groups: list[Event],
    paired: list[tuple[int, int]],
    scene_times: dict[str, datetime],
) -> None:
    """Add false alarms, onset, counts, reliability and lag, all at the lower threshold."""
    matched = {i for i, _ in paired}
    sure = {i for i, g in enumerate(grouped) if any(m.status in CONFIRMED for m in g.members)}
    for kind, way in product(CLASSES, DIRECTIONS):
        mine = [
            i for i, g in enumerate(grouped) if i in sure and (g.object_class, g.direction) == (kind, way)
        ]
        true = sum((t.object_class, t.direction) == (kind, way) for t in true_groups)
        score.confirmed_hits[(kind, way)] = [sum(i in matched for i in mine), len(mine), true]
    anything = shapely.union_all([t.geometry for t in truths]).buffer(MERGE_M) if truths else None
    for state in ("all", "confirmed"):
        wrong = [g for i, g in enumerate(grouped) if i not in matched and (state == "all" or i in sure)]
        score.false_alarms[state] = len(wrong)
        score.false_area_km2[state] = sum(g.geometry.area for g in wrong) / 1e6
        score.claimed[state] = {
            c: sum(
                g.object_class == c and (state == "all" or any(m.status in CONFIRMED for m in g.members))
                for g in grouped
            )
            for c in CLASSES
        }
        score.clean_false_alarms[state] = sum(
            anything is None or not g.geometry.intersects(anything) for g in wrong
        )
    for i, j in paired:
        claim, truth = grouped[i], true_groups[j]
        score.onset.append(claim.start <= truth.start <= claim.end)
        whole = {id(m): m for m in claim.members}
        if len(whole) == 1 and (area := next(iter(whole.values())).area_m2) is not None:
            score.areas.append(area[0] <= truth.geometry.area <= area[1])
        if claim.count is not None and truth.count is not None and claim.object_class == "container":
            score.counts.append(claim.count[1] <= round(truth.count[0]) <= claim.count[2])
        if truth.visible_in is not None:
            seen = sorted(scene_times[s] for s in truth.visible_in if s in scene_times)
            score.lags.append(sum(truth.start < t < claim.end for t in seen))
    true_members = {id(m) for i in matched for m in grouped[i].members}
    single = {i for i, _ in matches(claims, truths, THRESHOLDS[0])}
    score.reliability = [(c.confidence, id(c) in true_members or i in single) for i, c in enumerate(claims)]
    by_place = shapely.STRtree([t.geometry for t in truths]) if truths else None
    for claim in claims:
        if by_place is None or claim.scene_first is None:
            continue
        near = [truths[int(j)] for j in by_place.query(claim.geometry, predicate="intersects")]
        told = [t for t in near if t.visible_in is not None]
        score.unseen_claims += bool(told) and all(claim.scene_first not in (t.visible_in or ()) for t in told)


def f1(hit: Sequence[float]) -> tuple[float, float, float]:
    """Return (F1, precision, recall) of [true positives, claims, truths]; NaN where undefined."""
    tp, claimed, true = hit
    precision = tp / claimed if claimed else float("nan")
    recall = tp / true if true else float("nan")
    both = 2 * tp / (claimed + true) if claimed + true else float("nan")
    return both, precision, recall


def calibration_error(reliability: Sequence[tuple[float, bool]]) -> float:
    """Expected calibration error over equal-width bins; NaN without claims."""
    if not reliability:
        return float("nan")
    said, true = np.array(reliability, float).T
    bins = np.minimum((said * ECE_BINS).astype(int), ECE_BINS - 1)
    gaps = [
        np.count_nonzero(bins == b) * abs(said[bins == b].mean() - true[bins == b].mean())
        for b in np.unique(bins)
    ]
    return float(np.sum(gaps) / len(said))


def summary(scores: Sequence[SiteScore]) -> dict[str, float]:
    """Sum sites up into one flat table of numbers."""
    out: dict[str, float] = {}
    for object_class in CLASSES:
        for direction in DIRECTIONS:
            for least in THRESHOLDS:
                total = np.sum([s.hits[(object_class, direction, least)] for s in scores], axis=0)
                if total[1] + total[2] == 0:
                    continue
                key = f"{object_class}.{direction}.iou{least}"
                values = f1(total)
                out |= {f"{key}.f1": values[0], f"{key}.precision": values[1], f"{key}.recall": values[2]}
                out |= {f"{key}.claims": float(total[1]), f"{key}.truths": float(total[2])}
            sure = np.sum(
                [s.confirmed_hits.get((object_class, direction), [0, 0, 0]) for s in scores], axis=0
            )
            if sure[1] + sure[2]:
                _, precision, recall = f1(sure)
                out |= {
                    f"{object_class}.{direction}.confirmed.precision": precision,
                    f"{object_class}.{direction}.confirmed.recall": recall,
                }
    area = sum(s.area_km2 for s in scores)
    exposure = sum(s.area_km2 * max(s.seen_looks - 1.0, 0.0) for s in scores) or float("nan")
    out |= {"km2": area, "km2_looks": exposure, "looks_used": float(np.mean([s.used_share for s in scores]))}
    for state in ("all", "confirmed"):
        wrong = sum(s.false_alarms[state] for s in scores)
        clean = sum(s.clean_false_alarms[state] for s in scores)
        out |= {
            f"false_alarms.{state}.per_km2": wrong / area,
            f"false_alarms.{state}.clean_per_km2": clean / area,
            f"false_alarms.{state}.per_km2_look": wrong / exposure,
            f"false_alarms.{state}.clean_per_km2_look": clean / exposure,
            f"false_alarms.{state}.share_of_area": sum(s.false_area_km2[state] for s in scores) / area,
        }
        for name in CLASSES:
            out[f"claims.{state}.{name}"] = float(sum(s.claimed[state][name] for s in scores))
    onset = [o for s in scores for o in s.onset]
    counts = [c for s in scores for c in s.counts]
    areas = [a for s in scores for a in s.areas]
    reliability = [r for s in scores for r in s.reliability]
    lags = [lag for s in scores for lag in s.lags]
    out |= {
        "onset.coverage": float(np.mean(onset)) if onset else float("nan"),
        "onset.n": float(len(onset)),
        "count.coverage": float(np.mean(counts)) if counts else float("nan"),
        "count.n": float(len(counts)),
        "area.coverage": float(np.mean(areas)) if areas else float("nan"),
        "area.n": float(len(areas)),
        "ece": calibration_error(reliability),
        "claims": float(len(reliability)),
        "claims_true": float(np.mean([t for _, t in reliability])) if reliability else float("nan"),
        "first_flag_lag_looks": float(np.median(lags)) if lags else float("nan"),
        "unseen_claims": float(sum(s.unseen_claims for s in scores)),
        "sites": float(len(scores)),
    }
    return out


def with_intervals(
    scores: Sequence[SiteScore], *, draws: int = 400, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Return each number with its 95 % interval, sites drawn with replacement; intervals are NaN for one site."""
    value = summary(scores)
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {key: [] for key in value}
    if len(scores) > 1:
        for _ in range(draws):
            again = summary([scores[i] for i in rng.integers(0, len(scores), len(scores))])
            for key in value:
                drawn[key].append(again.get(key, float("nan")))
    out = {}
    for key, number in value.items():
        known = np.array([v for v in drawn[key] if np.isfinite(v)])
        low, high = np.quantile(known, (0.025, 0.975)) if len(known) else (float("nan"), float("nan"))
        out[key] = {"value": number, "low": float(low), "high": float(high)}
    return out


def scene_times(report: Path) -> dict[str, datetime]:
    """Return the time of every look that was used, from ``timeline.csv``."""
    with (report / "timeline.csv").open(newline="") as file:
        return {row["scene_id"]: moment(row["datetime"]) for row in csv.DictReader(file)}


def seen_shares(report: Path) -> dict[str, float]:
    """Return the share of the site that each look saw, from ``timeline.csv``."""
    with (report / "timeline.csv").open(newline="") as file:
        return {row["scene_id"]: float(row["usable_fraction"] or 0.0) for row in csv.DictReader(file)}


def timeline_violations(report: Path) -> int:
    """Count rows that give a number for a look in which nothing was seen: "no change" where nobody could know (G14)."""
    bad = 0
    with (report / "timeline.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            seen = float(row["usable_fraction"] or 0.0)
            bad += seen == 0.0 and any(row[name] for name in ("count", "area_m2"))
    return bad


def score_report(report: Path, truth: Path, aoi: Path, *, classless: bool = False) -> SiteScore:
    """Score one report folder."""
    area = shapely.union_all([shape(g) for g in geometries(json.loads(aoi.read_text()))])
    project = to_metres(area.centroid.x, area.centroid.y)
    inside, times = project(area), scene_times(report)
    told = read_truth(truth, project, reference_scene(report))
    asked = asked_for(told, inside, times, pixel_size(report), classless=classless)
    return score_events(
        report.name,
        asked.without_hidden(read_claims(report / "changes.geojson", project)),
        asked.seen,
        area_km2=inside.area / 1e6,
        scene_times=times,
        seen=seen_shares(report),
        classless=classless,
    )


@dataclass(frozen=True, slots=True)
class Asked:
    """True changes of a site and period: ``seen`` are to be found, the others need not be.

    A claim that touches nothing but ``hidden`` is neither right nor wrong; one of class ``other`` neither where it touches
    nothing but ``hidden_others``.
    """

    seen: list[Event]
    hidden: list[Event]
    hidden_others: list[Event]

    def without_hidden(self, claims: Sequence[Event]) -> list[Event]:
        """Drop claims that are neither right nor wrong."""
        ours = {id(c) for c in without_hidden(claims, self.hidden, self.seen)}
        others = {id(c) for c in without_hidden(claims, [*self.hidden, *self.hidden_others], self.seen)}
        return [c for c in claims if id(c) in (others if c.object_class == "other" else ours)]


def asked_for(
    truths: Sequence[Event], area: BaseGeometry, times: dict[str, datetime], gsd_m: float, *, classless: bool
) -> Asked:
    """Say which true changes looks at ``times`` could have shown in an area, and which claims are excused; see the rules."""
    truths = [t for t in truths if t.geometry.intersects(area)]
    if times:  # what happened before the first or after the last look is nobody's to see
        truths = [t for t in truths if min(times.values()) < t.start <= max(times.values())]
    large = {id(t) for t in large_enough(truths, gsd_m)}
    asked = Asked([], [], [])
    for true in truths:
        structure = true.object_class == "other" and gsd_m < COARSE_GSD_M
        if not (id(true) in large and could_be_seen(true, times) and lies_inside(true, area)):
            (asked.hidden_others if structure else asked.hidden).append(true)
        elif not structure:
            asked.seen.append(within(true, area))
        elif stands(true, times):
            (asked.hidden if classless else asked.seen).append(within(true, area))
    return asked


def within(truth: Event, area: BaseGeometry) -> Event:
    """Return what of a true change lies in an area, uncounted where that is not the whole: a report ends at the site's edge."""
    if truth.geometry.within(area):
        return truth
    return replace(truth, geometry=truth.geometry.intersection(area), count=None)


def stands(truth: Event, times: dict[str, datetime]) -> bool:
    """Whether a thing stood in two clear looks at least; where there are no more than two looks, in one."""
    if truth.visible_in is None:
        return True
    came, went = truth.stay
    clear = [times[s] for s in truth.visible_in if s in times]
    stood = sum((came is None or came <= t) and (went is None or t < went) for t in clear)
    return stood >= min(STANDING_LOOKS, len(times) - 1)


def pixel_size(report: Path) -> float:
    """Return the pixel size of the site's grid, metres, from ``report.json``."""
    return float(json.loads((report / "report.json").read_text())["site"]["grid"]["gsd_m"])


def large_enough(truths: Sequence[Event], gsd_m: float) -> list[Event]:
    """Return the truths that pixels of a size can show at all: alone, or with what came or went beside them."""
    if gsd_m < COARSE_GSD_M:
        return list(truths)
    wide = [g for g in merged(truths, by_time=True) if g.geometry.area >= SMALLEST_COARSE_M2]
    kept = {id(member) for group in wide for member in group.members}
    return [t for t in truths if id(t) in kept]


def lies_inside(truth: Event, area: BaseGeometry) -> bool:
    """Whether the better part of an object lies inside an area; what lies outside it nobody was asked to find."""
    return bool(truth.geometry.intersection(area).area > 0.5 * truth.geometry.area)


def could_be_seen(truth: Event, times: dict[str, datetime]) -> bool:
    """Whether used looks showed a place clear before and after its time, one of them with the object there.

    What came and went between two clear looks was there for nobody. True where the truth does not say.
    """
    if truth.visible_in is None:
        return True
    came, went = truth.stay
    clear = [times[s] for s in truth.visible_in if s in times]
    before = [t for t in clear if t < truth.start]
    after = [t for t in clear if t >= truth.start]
    if truth.direction == "removed":
        before = [t for t in before if came is None or t >= came]
    else:
        after = [t for t in after if went is None or t < went]
    return bool(before and after)


def without_hidden(claims: Sequence[Event], hidden: Sequence[Event], truths: Sequence[Event]) -> list[Event]:
    """Drop claims that touch what could not be seen and nothing that could."""
    if not hidden:
        return list(claims)
    covered = shapely.union_all([t.geometry for t in hidden])
    known = shapely.union_all([t.geometry for t in truths])
    return [c for c in claims if c.geometry.intersects(known) or not c.geometry.intersects(covered)]


def geometries(said: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the GeoJSON geometries of a geometry, Feature or FeatureCollection."""
    if said["type"] == "FeatureCollection":
        return [f["geometry"] for f in said["features"]]
    return [said["geometry"]] if said["type"] == "Feature" else [said]


def table(numbers: dict[str, dict[str, float]]) -> str:
    """Print numbers as aligned lines."""
    width = max(len(key) for key in numbers)
    lines = []
    for key, n in numbers.items():
        interval = f"  [{n['low']:.3f}, {n['high']:.3f}]" if np.isfinite(n["low"]) else ""
        lines.append(f"{key:<{width}}  {n['value']:.3f}{interval}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Score reports from the command line."""
    parser = argparse.ArgumentParser(description="Score report folders against their truth.")
    parser.add_argument(
        "--report", type=Path, action="append", required=True, help="may be given several times"
    )
    parser.add_argument(
        "--truth", type=Path, action="append", required=True, help="one per report, same order"
    )
    parser.add_argument("--aoi", type=Path, action="append", help="default: aoi.geojson beside each truth")
    parser.add_argument("--classless", action="store_true", help="score places, whatever they are called")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(arguments)
    if len(args.report) != len(args.truth):
        parser.error("give one --truth per --report")
    aois = args.aoi or [t.parent / "aoi.geojson" for t in args.truth]
    triples = zip(args.report, args.truth, aois, strict=True)
    scores = [score_report(r, t, a, classless=args.classless) for r, t, a in triples]
    numbers = with_intervals(scores)
    numbers["timeline_violations"] = {
        "value": float(sum(timeline_violations(r) for r in args.report)), "low": float("nan"), "high": float("nan")
    }  # fmt: skip
    print(table(numbers))
    if args.json:
        args.json.write_text(json.dumps(numbers, indent=2, sort_keys=True).replace("NaN", "null") + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
