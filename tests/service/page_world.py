"""A small world for the page's tests: recorded reports in every state a reader can meet, served as they are in use."""

import hashlib
import json
import shutil
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.service_fake import fake_feature
from service.analysis_unit import BUNDLE, AnalyseUnit, Step
from service.artefacts import ArtefactStore
from service.context import open_service
from service.settings import Settings
from service.worker import Worker
from tests.service.support import LiveService, client_of, feature, live_service, make_settings, square

CHIP_PX = 96
# Day, usable fraction and what hid the rest: of the site called Depot, in order.
LOOKS: tuple[tuple[str, float, dict[str, float]], ...] = (
    ("2023-05-02", 1.0, {}),
    ("2023-06-14", 0.35, {"cloud": 0.5, "cloud_shadow": 0.15}),
    ("2023-07-20", 1.0, {}),
    ("2023-09-05", 0.0, {"cloud": 1.0}),
    ("2023-10-11", 0.97, {"cloud": 0.03}),
    ("2023-12-24", 0.0, {"snow": 0.8, "poor_light": 0.2}),
    ("2024-02-17", 1.0, {}),
    ("2024-04-08", 0.0, {"misregistered": 1.0}),
    ("2024-06-01", 1.0, {}),
)
STANDING = {0: 12, 1: 4, 2: 12, 4: 19, 6: 31, 8: 27}
DEPOT, QUIET, BLIND, SINGLE, WAITING, LARGE = (
    "Depot",
    "Quiet yard",
    "Hidden field",
    "One look",
    "New site",
    "Large depot",
)


def chip(shade: tuple[int, int, int]) -> bytes:
    """A picture of one colour with a light square in it, as a PNG."""
    inner = (235, 235, 225)
    rows = b"".join(
        b"\0" + b"".join(bytes(inner if 30 <= x < 60 and 40 <= y < 55 else shade) for x in range(CHIP_PX))
        for y in range(CHIP_PX)
    )

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", CHIP_PX, CHIP_PX, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")
    )


def look(
    unit: AnalyseUnit, day: str, usable: float, hidden: dict[str, float], reference: bool
) -> dict[str, Any]:
    """A look as a report prints it."""
    west, south, east, north = unit.aoi.bounds
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    fractions = {"observed": round(1 - sum(hidden.values()), 4), **hidden}
    return {
        "type": "Feature",
        "id": f"scene-{day}",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {
            "scene_id": f"scene-{day}", "datetime": f"{day}T10:00:00Z", "platform": "drawn", "gsd": 0.5,
            "used": usable > 0, "reference": reference, "usable_fraction": usable,
            "fractions": {name: share for name, share in fractions.items() if share > 0},
            "displacement": {"east_m": 0.4, "north_m": -0.2} if usable > 0 else None,
            "state": "use" if usable > 0 else "not_registered", "residual_m": 0.05 if usable > 0 else None,
            "sun_azimuth_deg": 160.0, "sun_elevation_deg": 45.0, "view_azimuth_deg": 10.0, "off_nadir_deg": 4.0,
            "licence": "CC0-1.0", "chips_allowed": True, "notes": [],
        },
    }  # fmt: skip


def change(unit: AnalyseUnit, number: int) -> dict[str, Any]:
    """A change with everything a reader may see of it; numbers 0 and 1 have pictures."""
    made = fake_feature(unit, number)
    days = [day for day, usable, _ in LOOKS if usable > 0.9]
    before, after = days[number % (len(days) - 1)], days[number % (len(days) - 1) + 1]
    properties = made["properties"]
    properties |= {
        "last_absent": f"{before}T10:00:00Z", "first_seen": f"{after}T10:00:00Z",
        "before_scene": f"scene-{before}", "after_scene": f"scene-{after}",
        "scene_ids": [f"scene-{before}", f"scene-{after}"],
        "evidence_log_odds": {"series": 1.2, "missing": 2.1, "shift": -0.4},
        "against": ["The sun stood elsewhere in one of the looks."] if number % 2 else [],
        "statement": f"Something visible {properties['direction']} between two looks.",
    }  # fmt: skip
    if properties["change_type"] == "container":
        properties |= {
            "count": 4 + number,
            "count_low": 2.0 + number,
            "count_high": 9.0 + number,
            "count_reason": None,
        }
    return made


def timeline(looks: Sequence[dict[str, Any]], standing: dict[int, int], *, moved: bool) -> str:
    """The series of containers, empty where a look saw nothing."""
    lines = [
        "datetime,scene_id,class,state,reason,usable_fraction,count,count_low,count_high,appeared,removed"
    ]
    for index, feature_ in enumerate(looks):
        p = feature_["properties"]
        reason = max(((v, k) for k, v in p["fractions"].items() if k != "observed"), default=(0, ""))[1]
        n = standing.get(index)
        numbers = (
            ",,,,"
            if n is None
            else f"{n},{max(0, n - 5)},{n + 8},{int(moved and index == 4)},{int(moved and index == 8)}"
        )
        state = "not_observable" if n is None else "observed"
        lines.append(
            f"{p['datetime']},{p['scene_id']},container,{state},{reason},{p['usable_fraction']},{numbers}"
        )
    return "\r\n".join(lines) + "\r\n"


@dataclass(frozen=True, slots=True)
class WorldRunner:
    """Writes the report that goes with a site's name."""

    more: int = 0

    def __call__(self, unit: AnalyseUnit, out: Path, step: Step) -> None:
        """See ``service.analysis_unit.UnitRunner``."""
        step("report", 0, 1)
        rows, count, verdict = {
            QUIET: (tuple(r for r in LOOKS if r[1] > 0.9), 0, "no_change_found"),
            BLIND: (tuple(r for r in LOOKS if r[1] == 0), 0, "not_observable"),
            SINGLE: (LOOKS[:1], 0, "nothing_to_compare"),
            LARGE: (LOOKS, 5_000, "changes_found"),
        }.get(unit.name, (LOOKS, 8 + self.more, "changes_found"))
        looks = [look(unit, *row, index == 0) for index, row in enumerate(rows)]
        changes = [change(unit, number) for number in range(count)]
        standing = STANDING if len(rows) == len(LOOKS) else {i: 12 for i, r in enumerate(rows) if r[1] > 0}
        write_report(unit, out, changes, looks, timeline(looks, standing, moved=count > 0), verdict)

    def afresh(self, _products: Path) -> "WorldRunner":
        """Return itself: it keeps nothing."""
        return self


def write_report(
    unit: AnalyseUnit,
    out: Path,
    changes: list[dict[str, Any]],
    looks: list[dict[str, Any]],
    series: str,
    verdict: str,
) -> None:
    """Write the files of a report (CONTRACT section 3) as far as the page reads them."""
    west, south, east, north = 500_000.0, 5_500_000.0, 500_048.0, 5_500_048.0
    files: dict[str, bytes] = {
        "changes.geojson": json.dumps({"type": "FeatureCollection", "features": changes}).encode(),
        "looks.geojson": json.dumps({"type": "FeatureCollection", "features": looks}).encode(),
        "timeline.csv": series.encode(),
        "report.html": b"<!doctype html><html lang=en><title>report</title><p>report",
    }
    for made in changes:
        if folder := made["properties"]["evidence"]:
            window = {"west": west, "south": south, "east": east, "north": north}
            files[f"{folder}before.png"] = chip((120, 104, 84))
            files[f"{folder}after.png"] = chip((70, 96, 72))
            files[f"{folder}flicker.gif"] = b"GIF89a"
            files[f"{folder}provenance.json"] = json.dumps({"window": window, "scenes": []}).encode()
    listed = [
        {"path": name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        for name, data in sorted(files.items())
    ]
    used = [x["properties"]["datetime"] for x in looks]
    report = {
        "schema": "depotwatch-report/1", "site": {"name": unit.name}, "processing_version": "recorded0001",
        "period": {"start": used[0], "end": used[-1], "given": False}, "parameters": unit.parameters,
        "verdict": verdict, "headline": f"{len(looks)} scenes were examined; {len(changes)} changes are listed.",
        "summary": [], "warnings": [], "files": listed,
        "detection_limits": [
            {"change_type": "container", "gsd": 0.5, "observable": True, "statement": "At 0.5 m pixels containers can be seen."}
        ],
        "limits_in_words": ["Objects under trees can go unseen."],
    }  # fmt: skip
    files["report.json"] = json.dumps(report).encode()
    for name, data in files.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (out / BUNDLE).write_bytes(b"PK\x05\x06" + bytes(18))


def make_world(data: Path, names: Sequence[str] = (DEPOT, QUIET, BLIND, SINGLE), **more: Any) -> Settings:
    """Fill a data folder with sites and their first reports; one site waits for its report for ever."""
    settings = make_settings(data, rate_per_s=1_000.0, rate_burst=5_000.0, **more)
    service = open_service(settings)
    client = client_of(service)
    places = [feature(name, geometry=square(10.0 + 3 * i, 45.0 + i, 0.004)) for i, name in enumerate(names)]
    assert client.post("/sites", json={"type": "FeatureCollection", "features": places}).status_code == 201
    run_waiting(settings)
    waiting = feature(WAITING, geometry=square(24.0, 52.0, 0.004)) | {"analyse": False}
    assert client.post("/sites", json=waiting).status_code == 201
    service.close()
    return settings


def run_waiting(settings: Settings, more: int = 0) -> int:
    """Run every waiting unit here; ``more`` changes than last time make news."""
    service = open_service(settings)
    worker = Worker(service.database, ArtefactStore(settings.artefacts_place), WorldRunner(more), settings)
    ran = 0
    while worker.run_one():
        ran += 1
    service.close()
    return ran


@contextmanager
def served_world(template: Path, data: Path) -> Iterator[tuple[LiveService, Settings]]:
    """Serve a copy of a prepared data folder, so that no test sees what another did."""
    shutil.copytree(template, data)
    settings = make_settings(data, rate_per_s=1_000.0, rate_burst=5_000.0)
    with live_service(settings, workers=0) as live:
        yield live, settings
