"""What differs between two reports of one site, over one site or many, and why.

Two reports differ exactly where something that went into them does: the outline, the period, the scenes, a parameter,
the code, the network. Each difference is named with the step whose product's key it enters, and each change that is
told otherwise with the looks whose verdict on it flipped. Where what the reports record explains nothing, that is said.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from math import hypot
from pathlib import Path, PurePath
from typing import Any

from imagery.errors import DepotwatchError
from pipelines.matching import (
    MOVED_AREA_RATIO,
    Matching,
    Pair,
    Relation,
    ReportedChange,
    match_changes,
    read_features,
    shift_m,
    tolerance_m,
)
from pipelines.report import wording

Properties = Mapping[str, Any]

AREA_SHARE = 0.2  # two areas of uncounted objects that differ by more are told as another size
SHIFT_M = 0.1
USABLE_SHARE = 0.02
EVIDENCE_LOG_ODDS = 0.5
LOOKS_NAMED = 12
LOOKS_PER_CHANGE = 5
NOT_EXPLAINED = "Nothing that the two reports record of scenes, parameters and code explains it."

# The first step whose product's key holds a parameter; what comes before it keeps its products.
STEP_OF_PARAMETER = {
    "gsd_m": "chip",
    "max_shift_m": "displacement",
    "network": "evidence",
    "min_confidence": "detection",
    "max_false_alarms": "detection",
}
STEP_VERSION = "step-"  # how a report's versions name those of single steps
_VERSION_WORDS = {
    "algorithm": "The code of the analysis is another one",
    "presence-network": "The network's weights are others",
    "depotwatch": "The version of depotwatch is another one",
}
_STATE_WORDS = {
    "not_registered": "it could not be lined up",
    "use_with_wider_tolerance": "it was lined up less surely",
}


class NotAReport(DepotwatchError):
    """A folder without the files of a report, or with files of another schema."""

    code = "not-a-report"


class OtherSite(DepotwatchError):
    """Two reports whose outlines share no ground."""

    code = "other-site"


class Kind(StrEnum):
    """What became of a change between two reports; in the order in which one word is chosen where several fit."""

    NEW = "new"
    LOST = "lost"
    MOVED = "moved"
    RECLASSIFIED = "reclassified"
    REDATED = "redated"
    RECOUNTED = "recounted"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two reports: who it is. ``number`` and ``created`` are None for a folder."""

    report: str
    number: int | None
    created: str | None
    processing_version: str
    current: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "report": self.report, "number": self.number, "created": self.created,
            "processing_version": self.processing_version, "current": self.current,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Told:
    """A report and what it tells: ``report.json`` and the features of ``changes.geojson``."""

    side: Side
    report: Mapping[str, Any]
    features: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Cause:
    """Something that went into one report and not into the other; ``scene`` where it is about one."""

    step: str
    sentence: str
    scene: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One change that the two reports tell otherwise; ``also`` are further kinds that fit.

    ``before`` and ``after`` are the properties of ``changes.geojson``. ``part_of`` is the change of the other report
    that a new one was split from, or a lost one went into.
    """

    kind: Kind
    before: Properties | None
    after: Properties | None
    geometry: Mapping[str, Any] | None
    reasons: tuple[str, ...]
    published: bool
    also: tuple[Kind, ...] = ()
    shift_m: float | None = None
    part_of: str | None = None

    @property
    def told(self) -> Properties:
        """Return the change as the later report that has it tells it."""
        told = self.after or self.before
        assert told is not None
        return told

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "kind": str(self.kind), "also": [str(kind) for kind in self.also], "published": self.published,
            "before": self.before, "after": self.after,
            "shift_m": None if self.shift_m is None else round(self.shift_m, 2), "part_of": self.part_of,
            "reasons": list(self.reasons), "geometry": self.geometry,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class SiteComparison:
    """Two reports of one site; a side is None where there is no report.

    ``retold`` of the unchanged changes differ in confidence, status or another property that makes no kind of its own.
    """

    site: str
    name: str
    before: Side | None
    after: Side | None
    entries: tuple[Entry, ...]
    unchanged: int
    causes: tuple[Cause, ...]
    retold: int = 0
    aoi: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Return how many changes of each kind there are."""
        found = Counter(entry.kind for entry in self.entries)
        return {str(kind): found[kind] for kind in Kind} | {str(Kind.UNCHANGED): self.unchanged}

    @property
    def reasons(self) -> tuple[str, ...]:
        """Return the causes as sentences, a long list of looks cut."""
        general = [cause.sentence for cause in self.causes if cause.scene is None]
        looks = [cause.sentence for cause in self.causes if cause.scene is not None]
        more = len(looks) - LOOKS_NAMED
        rest = [f"{more} more looks differ."] if more > 0 else []
        return (*self.notes, *general, *looks[:LOOKS_NAMED], *rest)

    @property
    def changes_published(self) -> bool:
        """Tell whether one side is current and the other tells something else."""
        current = any(side is not None and side.current for side in (self.before, self.after))
        return current and (bool(self.entries) or self.retold > 0)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON; unchanged changes are counted and not listed."""
        return {
            "site": self.site,
            "name": self.name,
            "before": None if self.before is None else self.before.as_json(),
            "after": None if self.after is None else self.after.as_json(),
            "counts": self.counts,
            "retold": self.retold,
            "changes_published": self.changes_published,
            "reasons": list(self.reasons),
            "causes": [{"step": c.step, "scene": c.scene, "sentence": c.sentence} for c in self.causes],
            "entries": [entry.as_json() for entry in self.entries],
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparisons of many sites, in the order given."""

    sites: tuple[SiteComparison, ...]

    @property
    def totals(self) -> dict[str, int]:
        """Return how many changes of each kind there are on all sites."""
        found: Counter[str] = Counter()
        for site in self.sites:
            found.update(site.counts)
        return {str(kind): found[str(kind)] for kind in Kind}

    @property
    def reasons(self) -> tuple[str, ...]:
        """Return what explains differences on more than one site, or on the only one, with the number of sites."""
        if len(self.sites) == 1:
            return self.sites[0].reasons
        found = Counter(
            sentence
            for site in self.sites
            for sentence in dict.fromkeys(cause.sentence for cause in site.causes if cause.scene is None)
        )
        shared = sorted((n, sentence) for sentence, n in found.items() if n > 1)
        return tuple(f"{sentence} ({n} of {len(self.sites)} sites)" for n, sentence in reversed(shared))

    def as_json(self, start: int = 0, stop: int | None = None) -> dict[str, Any]:
        """Return it as JSON: what is said of all, and the sites from ``start`` to before ``stop``."""
        return {
            "totals": self.totals,
            "reasons": list(self.reasons),
            "published": [
                {"site": site.site, "report": current.report}
                for site in self.sites
                if site.changes_published
                for current in (site.before, site.after)
                if current is not None and current.current
            ],
            "sites": [site.as_json() for site in self.sites[start:stop]],
        }


def read_report(folder: Path) -> Told:
    """Read the report in a folder that ``depotwatch analyse`` wrote.

    Raises
    ------
    NotAReport
    """
    try:
        report = json.loads((folder / "report.json").read_text("utf-8"))
        features = json.loads((folder / "changes.geojson").read_text("utf-8"))["features"]
        read_features(features)
        side = Side(folder.name, None, None, str(report["processing_version"]))
        return Told(side, report, features)
    except OSError as error:
        raise NotAReport(
            f"{folder} holds no report: {Path(error.filename or folder).name} cannot be read"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise NotAReport(f"{folder} holds no report that this version reads: {error}") from error


def compare_reports(before: Told | None, after: Told | None, site: str = "") -> SiteComparison:
    """Compare two reports of one site; without an ``after`` nothing is claimed about its changes.

    Raises
    ------
    OtherSite : the outlines share no ground
    """
    told = after or before
    assert told is not None, "one report at least"
    outline = told.report.get("site", {})
    name, aoi = str(outline.get("name", "")), outline.get("aoi")
    if before is None or after is None:
        return _one_sided(site, name, before, after, aoi)
    _refuse_elsewhere(before, after)
    return _Reports(before, after).compare(site, name, aoi)


def _one_sided(
    site: str, name: str, before: Told | None, after: Told | None, aoi: Mapping[str, Any] | None
) -> SiteComparison:
    """Tell of a site with one report: all is new where there was none; where none was made nothing is lost."""
    features = () if after is None else after.features
    reason = "The site had no report before."
    entries = tuple(
        Entry(Kind.NEW, None, feature["properties"], feature.get("geometry"), (reason,), published=False)
        for feature in features
    )
    return SiteComparison(
        site,
        name,
        None if before is None else before.side,
        None if after is None else after.side,
        entries,
        0,
        (),
        aoi=aoi,
        notes=(reason,) if after is not None else (),
    )


def _refuse_elsewhere(before: Told, after: Told) -> None:
    from shapely.geometry import shape

    outlines = [told.report.get("site", {}).get("aoi") for told in (before, after)]
    if all(outlines) and shape(outlines[0]).disjoint(shape(outlines[1])):
        raise OtherSite(
            f"{before.side.report} and {after.side.report} are of two places: their outlines share no ground"
        )


@dataclass(frozen=True, slots=True)
class _Looks:
    """The looks of one report by scene, the hashes of their files, and why some could not be read."""

    rows: Mapping[str, Mapping[str, Any]]
    files: Mapping[str, Sequence[Mapping[str, Any]]]
    refused: Mapping[str, str]

    def words(self, scene: str) -> str:
        row = self.rows.get(scene)
        return f"{scene} of {_day(str(row['datetime']))}" if row else scene


def _looks_of(report: Mapping[str, Any]) -> _Looks:
    return _Looks(
        {str(row["scene_id"]): row for row in report.get("looks", ())},
        {str(source["scene_id"]): source["files"] for source in report.get("generated_from", ())},
        # By the item's id, or of a folder by the file's name, whose stem is the scene's.
        {
            scene: str(refusal["detail"]).rstrip(".")
            for refusal in report.get("refused", ())
            for scene in (str(refusal["where"]), PurePath(str(refusal["where"])).stem)
        },
    )


def _day(text: str) -> str:
    return wording.date(datetime.fromisoformat(text))


@dataclass(slots=True)
class _Reports:
    """Two reports of one site with everything that went into one and not into the other."""

    before: Told
    after: Told
    looks: tuple[_Looks, _Looks] = field(init=False)
    causes: tuple[Cause, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.looks = _looks_of(self.before.report), _looks_of(self.after.report)
        self.causes = (
            *_general_causes(self.before.report, self.after.report),
            *_look_causes(*self.looks),
        )

    def compare(self, site: str, name: str, aoi: Mapping[str, Any] | None) -> SiteComparison:
        old, new = read_features(self.before.features, self.after.features)
        found = _with_equal_ids(match_changes(old, new), old, new)
        was = {str(f["id"]): f for f in self.before.features}
        now = {str(f["id"]): f for f in self.after.features}
        placed = {c.id: c for c in old}, {c.id: c for c in new}
        entries, unchanged, retold = [], 0, 0
        for pair in found.pairs:
            one, other = was[pair.old], now[pair.new]
            kinds = list(_kinds(pair, placed[0][pair.old], placed[1][pair.new], one, other))
            if kinds:
                entries.append(self._pair(pair, kinds, one, other))
            else:
                unchanged += 1
                retold += _retold(one["properties"], other["properties"])
        entries += [self._lone(Kind.LOST, was[name], found.merged.get(name)) for name in found.lost]
        entries += [self._lone(Kind.NEW, now[name], found.parts.get(name)) for name in found.new]
        return SiteComparison(
            site,
            name,
            self.before.side,
            self.after.side,
            tuple(sorted(entries, key=_order)),
            unchanged,
            self.causes,
            retold,
            aoi,
        )

    @property
    def published(self) -> bool:
        return self.before.side.current or self.after.side.current

    def _pair(
        self, pair: Pair, kinds: Sequence[Kind], one: Mapping[str, Any], other: Mapping[str, Any]
    ) -> Entry:
        before, after = one["properties"], other["properties"]
        why = [*_evidence_reasons(kinds, before, after), *self._look_reasons(before, after)]
        return Entry(
            kinds[0],
            before,
            after,
            other.get("geometry"),
            (*self._how(pair, kinds, before, after), *self._or_general(why)),
            self.published,
            tuple(kinds[1:]),
            pair.shift_m,
        )

    def _lone(self, kind: Kind, feature: Mapping[str, Any], part_of: str | None) -> Entry:
        told, lost = feature["properties"], kind is Kind.LOST
        why = []
        if part_of is not None:
            why.append(f"It {'is' if lost else 'was'} part of the change {part_of}.")
        why += _threshold_reasons(told, self.after.report if lost else self.before.report, lost)
        why += self._look_reasons(told if lost else None, None if lost else told)
        return Entry(
            kind,
            told if lost else None,
            None if lost else told,
            feature.get("geometry"),
            self._or_general(why),
            self.published,
            part_of=part_of,
        )

    def _or_general(self, why: Sequence[str]) -> tuple[str, ...]:
        """Return what explains everything where nothing of the change's own does."""
        general = (cause.sentence for cause in self.causes if cause.scene is None)
        return tuple(dict.fromkeys(why)) or tuple(general) or (NOT_EXPLAINED,)

    def _how(self, pair: Pair, kinds: Sequence[Kind], before: Properties, after: Properties) -> Iterator[str]:
        """Yield what differs, in words."""
        if Kind.MOVED in kinds:
            other = "" if pair.one_object else ", too far to be surely the same object"
            yield f"It is told {pair.shift_m:.1f} m from where it was{other}."
        if Kind.REDATED in kinds:
            yield from self._other_dates(before, after)

    def _other_dates(self, before: Properties, after: Properties) -> Iterator[str]:
        ends = (
            ("before_scene", "last_absent", "begins with"),
            ("after_scene", "first_seen", "ends with"),
        )
        for scene, time, verb in ends:
            if before[time] == after[time]:
                continue
            was, now = str(before.get(scene)), str(after.get(scene))
            yield (
                f"Its interval {verb} scene {self.looks[1].words(now)} instead of {self.looks[0].words(was)}."
            )

    def _look_reasons(self, before: Properties | None, after: Properties | None) -> list[str]:
        """Return what differs in the looks that bear on a change, and whose verdict on it flipped."""
        told = [p for p in (before, after) if p is not None]
        scenes = {
            s for p in told for s in (*p.get("scene_ids", ()), p.get("before_scene"), p.get("after_scene"))
        }
        start = min(str(p["last_absent"]) for p in told)
        end = max(str(p["first_seen"]) for p in told)
        found = [
            cause.sentence
            for cause in self.causes
            if cause.scene is not None and (cause.scene in scenes or start <= self._time(cause.scene) <= end)
        ]
        if before is not None and after is not None:
            found += self._flipped(before, after)
        more = len(found) - LOOKS_PER_CHANGE
        return [*found[:LOOKS_PER_CHANGE], *([f"{more} more looks differ."] if more > 0 else [])]

    def _time(self, scene: str) -> str:
        row = self.looks[0].rows.get(scene) or self.looks[1].rows.get(scene) or {}
        return str(row.get("datetime", ""))

    def _flipped(self, before: Properties, after: Properties) -> list[str]:
        """Return the looks used in both reports that spoke for a change in one of them only."""
        was, now = _supporting(before), _supporting(after)
        both = self.looks[0].rows.keys() & self.looks[1].rows.keys()
        used = {s for s in both if all(looks.rows[s].get("used") for looks in self.looks)}
        words = {True: "speaks for it now and did not before", False: "spoke for it before and does not now"}
        return [
            f"Scene {self.looks[1].words(scene)} {words[scene in now]}."
            for scene in sorted((was ^ now) & used, key=lambda scene: (self._time(scene), scene))
        ]


def _supporting(told: Properties) -> frozenset[str]:
    return frozenset(told.get("scene_ids", ())) - {told.get("before_scene")}


def _with_equal_ids(
    found: Matching, old: Sequence[ReportedChange], new: Sequence[ReportedChange]
) -> Matching:
    """Pair what both reports tell under one id though it grew out of its old place over many reports."""
    was, now = {c.id: c for c in old}, {c.id: c for c in new}
    both = [
        name
        for name in sorted(set(found.lost) & set(found.new))
        if was[name].direction == now[name].direction
    ]
    pairs = [
        Pair(
            name,
            name,
            Relation.SAME if was[name].object_class == now[name].object_class else Relation.RECLASSIFIED,
            shift_m(was[name], now[name]),
        )
        for name in both
    ]
    return Matching(
        (*found.pairs, *pairs),
        tuple(name for name in found.lost if name not in both),
        tuple(name for name in found.new if name not in both),
        {part: whole for part, whole in found.parts.items() if part not in both},
        {part: whole for part, whole in found.merged.items() if part not in both},
    )


def _kinds(
    pair: Pair, one: ReportedChange, other: ReportedChange, was: Mapping[str, Any], now: Mapping[str, Any]
) -> Iterator[Kind]:
    """Yield every kind that fits a pair, the one to name first."""
    small, large = sorted((one.footprint.area, other.footprint.area))
    beyond = pair.shift_m > tolerance_m(one, other) and small >= MOVED_AREA_RATIO * large
    if pair.relation is Relation.MOVED or beyond:
        yield Kind.MOVED
    if one.object_class != other.object_class:
        yield Kind.RECLASSIFIED
    if (one.start, one.end) != (other.start, other.end):
        yield Kind.REDATED
    if _recounted(was["properties"], now["properties"]):
        yield Kind.RECOUNTED


def _recounted(was: Properties, now: Properties) -> bool:
    if was.get("count") != now.get("count"):
        return True
    if was.get("count") is not None:
        return False
    one, other = was.get("area_m2"), now.get("area_m2")
    if one is None or other is None:
        return one is not other
    return bool(abs(one - other) > AREA_SHARE * max(one, other))


_NOT_COMPARED = {"id", "evidence", "statement"}


def _retold(was: Properties, now: Properties) -> bool:
    names = (was.keys() | now.keys()) - _NOT_COMPARED
    return any(was.get(name) != now.get(name) for name in names)


def _order(entry: Entry) -> tuple[int, str, str, str]:
    told = entry.told
    return list(Kind).index(entry.kind), str(told["first_seen"]), str(told["change_type"]), str(told["id"])


def _general_causes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Cause]:
    """Yield what differs for the whole report, first steps first."""
    one, other = before.get("site", {}), after.get("site", {})
    if one.get("aoi") != other.get("aoi"):
        yield Cause("site", "The site's outline is another one.")
    if one.get("grid") != other.get("grid"):
        yield Cause("chip", f"The site grid is another one: {_grid(one)} before, {_grid(other)} now.")
    if _period(before) != _period(after):
        yield Cause("scenes", f"The period is another one: {_period(before)} before, {_period(after)} now.")
    yield from _parameter_causes(before.get("parameters", {}), after.get("parameters", {}))
    versions = before.get("versions", {}), after.get("versions", {})
    yield from _step_causes(*versions)
    names = (name for name in versions[0].keys() | versions[1].keys() if not name.startswith(STEP_VERSION))
    for name in sorted(names):
        was, now = (str(side.get(name, "none"))[:12] for side in versions)
        if was != now:
            words = _VERSION_WORDS.get(name, f"{name} is another one")
            yield Cause(
                "evidence" if name == "presence-network" else "code", f"{words}: {was} before, {now} now."
            )


def _step_causes(was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Cause]:
    """Yield which step's own version is another one; reports from before steps were recorded explain none."""
    for name in sorted(name for name in was.keys() & now.keys() if name.startswith(STEP_VERSION)):
        if was[name] != now[name]:
            step = name.removeprefix(STEP_VERSION)
            yield Cause(
                step,
                f"The method of the step {step} is another one: version {was[name]} before, {now[name]} now.",
            )


def _grid(site: Mapping[str, Any]) -> str:
    grid = site.get("grid") or {}
    return f"{grid.get('gsd_m')} m, {grid.get('rows')} × {grid.get('cols')} pixels" if grid else "none"


def _period(report: Mapping[str, Any]) -> str:
    period = report.get("period")
    if isinstance(period, Mapping):
        return f"{period.get('start')}/{period.get('end')}" if period.get("given") else "all there is"
    return str(period or "all there is")


def _parameter_causes(was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Cause]:
    order = [*STEP_OF_PARAMETER, *sorted((was.keys() | now.keys()) - STEP_OF_PARAMETER.keys())]
    for name in order:
        one, other = _value(was.get(name)), _value(now.get(name))
        if one != other:
            step = STEP_OF_PARAMETER.get(name, "detection")
            yield Cause(step, f"The parameter {name}, of the step {step}, was {one} and is {other}.")


def _value(value: Any) -> str:
    """Return a parameter as a person writes it; reports hold Python literals, jobs JSON."""
    text = str(value)
    try:
        return f"{float(text):g}"
    except ValueError:
        return {"None": "the default", "True": "true", "False": "false"}.get(text, text)


def _look_causes(was: _Looks, now: _Looks) -> Iterator[Cause]:
    """Yield what differs look by look, in order of time."""
    references = [
        next((scene for scene, row in looks.rows.items() if row.get("reference")), None)
        for looks in (was, now)
    ]
    if references[0] != references[1] and None not in references:
        yield Cause(
            "displacement",
            f"All others were registered to scene {now.words(str(references[1]))} instead of "
            f"{was.words(str(references[0]))}.",
        )
    times = {scene: str(row["datetime"]) for looks in (was, now) for scene, row in looks.rows.items()}
    for scene in sorted(times, key=lambda scene: (times[scene], scene)):
        if scene not in was.rows:
            yield Cause(
                "scenes",
                f"Scene {now.words(scene)} {_unread(was, scene, 'before') or 'is new among the scenes'}"
                f"{_unused(now, scene)}.",
                scene,
            )
        elif scene not in now.rows:
            gone = _unread(now, scene, "now") or "is no longer among the scenes"
            yield Cause("scenes", f"Scene {was.words(scene)} {gone}.", scene)
        else:
            yield from _one_look(scene, was, now)


def _unread(looks: _Looks, scene: str, when: str) -> str:
    """Say that a scene was there and could not be read: somebody has to mend it, which is no news of the archive."""
    why = looks.refused.get(scene)
    return f"could not be read {when}: {why}" if why else ""


def _unused(looks: _Looks, scene: str) -> str:
    row = looks.rows[scene]
    return "" if row.get("used") else f", and not used: {_why_not(row)}"


def _why_not(row: Mapping[str, Any]) -> str:
    notes = [str(note).rstrip(".").replace("_", " ") for note in row.get("notes") or ()]
    return _STATE_WORDS.get(str(row.get("state"))) or (notes[-1] if notes else "it did not show the site")


def _one_look(scene: str, was: _Looks, now: _Looks) -> Iterator[Cause]:
    one, other, name = was.rows[scene], now.rows[scene], now.words(scene)
    if _are_others(was.files.get(scene, ()), now.files.get(scene, ())):
        yield Cause("chip", f"The files of scene {name} are others than before.", scene)
    if bool(one.get("used")) != bool(other.get("used")):
        told = (
            f"is used now and was not before: {_why_not(one)}"
            if other.get("used")
            else f"was used before and is not now: {_why_not(other)}"
        )
        yield Cause("displacement", f"Scene {name} {told}.", scene)
        return
    shift = _shifted(one.get("displacement"), other.get("displacement"))
    if shift > SHIFT_M:
        yield Cause("displacement", f"Scene {name} is placed {shift:.2f} m from where it was.", scene)
    seen, sees = float(one.get("usable_fraction") or 0), float(other.get("usable_fraction") or 0)
    if abs(seen - sees) > USABLE_SHARE:
        yield Cause(
            "evidence",
            f"Scene {name} shows {100 * sees:.0f} % of the site, {100 * seen:.0f} % before.",
            scene,
        )


def _are_others(was: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether a scene's files changed; of two different excerpts of one remote file that cannot be told."""
    one, other = ({str(f["path"]): f.get("excerpt") for f in files} for files in (was, now))
    untold = {p for p in one.keys() & other.keys() if one[p] and other[p] and one[p] != other[p]}
    before, after = ({f["sha256"] for f in files if f["path"] not in untold} for files in (was, now))
    return before != after


def _shifted(one: Mapping[str, float] | None, other: Mapping[str, float] | None) -> float:
    if not one or not other:
        return 0.0
    return hypot(one["east_m"] - other["east_m"], one["north_m"] - other["north_m"])


def _threshold_reasons(told: Properties, elsewhere: Mapping[str, Any], lost: bool) -> Iterator[str]:
    """Say that a change falls under the other report's least confidence, where that one was set."""
    limit = elsewhere.get("parameters", {}).get("min_confidence")
    try:
        least = float(str(limit))
    except ValueError:
        return
    if told["confidence"] < least:
        verb = "is" if lost else "was"
        yield (
            f"Its confidence of {wording.confidence(told['confidence'])} lies below the least to be reported, which {verb} {least:g}."
        )


def _evidence_reasons(kinds: Iterable[Kind], before: Properties, after: Properties) -> list[str]:
    """Name the two kinds of evidence that speak most differently where a class or a number is told otherwise."""
    if not {Kind.RECLASSIFIED, Kind.RECOUNTED} & set(kinds):
        return []
    was, now = before.get("evidence_log_odds") or {}, after.get("evidence_log_odds") or {}
    gaps = sorted(
        (
            (abs(now[name] - was[name]), name)
            for name in was.keys() & now.keys()
            if None not in (was[name], now[name])
        ),
        reverse=True,
    )
    return [
        f"The evidence from {name.replace('_', ' ')} went from {was[name]:+.2f} to {now[name]:+.2f} log-odds."
        for gap, name in gaps[:2]
        if gap >= EVIDENCE_LOG_ODDS
    ]
