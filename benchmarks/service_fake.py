"""A stand-in for the analysis: the same files, made of the unit's name in a few milliseconds.

For the service's own tests and benchmarks, where thousands of units are run to see that none is lost or doubled.
``python -m benchmarks.service_fake`` is a worker that uses it; each execution is noted in a file.
"""

import hashlib
import json
import os
import struct
import time
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import shapely

from pipelines.parameters import parameters_from
from service.analysis_unit import BUNDLE, AnalyseUnit, Step, period_of

STEPS = 3
FIXED_ZIP_TIME = (2000, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class FakeRunner:
    """Writes ``changes`` changes and three looks; ``seconds`` long; notes each run in ``notes``, if given."""

    changes: int = 3
    seconds: float = 0.0
    notes: Path | None = None

    def __call__(self, unit: AnalyseUnit, out: Path, step: Step) -> None:
        """See ``service.analysis_unit.UnitRunner``."""
        self._note("begin", unit)
        for done in range(STEPS):
            step("looks", done, STEPS)
            time.sleep(self.seconds / STEPS)
        step("report", 0, 1)
        write_fake_report(unit, out, self.changes)
        self._note("end", unit)

    def afresh(self, _products: Path) -> "FakeRunner":
        """See ``service.analysis_unit.UnitRunner``: it keeps nothing."""
        return self

    def _note(self, what: str, unit: AnalyseUnit) -> None:
        if self.notes is not None:
            with self.notes.open("a") as file:
                file.write(f"{what} {unit.site} {os.getpid()}\n")


def fake_feature(unit: AnalyseUnit, number: int) -> dict[str, Any]:
    """Return a change as a report prints it: a small square on a lattice inside the site."""
    west, south, east, north = unit.aoi.bounds
    mark = f"{unit.name}:{number}:{unit.parameters.get('min_confidence', '')}"
    change = hashlib.sha256(f"{unit.name}:{number}".encode()).hexdigest()[:16]
    x = west + (east - west) * ((number * 37) % 1000) / 1000
    y = south + (north - south) * ((number * 91) % 1000) / 1000
    d = (east - west) / 2000
    ring = [[x, y], [x + d, y], [x + d, y + d], [x, y + d], [x, y]]
    classes, statuses = ("container", "berm", "other"), ("first", "provisional", "confirmed")
    day = 1 + number % 28
    return {
        "type": "Feature",
        "id": change,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {
            "id": change,
            "change_type": classes[number % 3],
            "direction": "appeared" if number % 2 == 0 else "removed",
            "first_seen": f"2024-06-{day:02d}T10:00:00Z",
            "last_absent": f"2024-05-{day:02d}T10:00:00Z",
            "last_seen": "2024-07-01T10:00:00Z",
            "status": statuses[number % 3],
            "confidence": round(
                0.3 + 0.7 * int(hashlib.sha256(mark.encode()).hexdigest()[:4], 16) / 65536, 3
            ),
            "count": None,
            "count_low": None,
            "count_high": None,
            "count_reason": "a stand-in",
            "area_m2": 30.0,
            "area_m2_low": 25.0,
            "area_m2_high": 35.0,
            "length_m": None,
            "width_m": None,
            "orientation_deg": 10.0,
            "gsd": 0.5,
            "looks_supporting": 2,
            "looks_against": 0,
            "shift_sensitivity": 0.1,
            "against": [],
            "before_scene": "a",
            "after_scene": "b",
            "platforms": ["fake"],
            "licences": ["none"],
            "statement": "a stand-in for a change",
            "evidence": f"evidence/{change}/" if number < 2 else None,
            "scene_ids": ["a", "b"],
        },
    }


def fake_look(unit: AnalyseUnit, number: int) -> dict[str, Any]:
    """Return a look as a report prints it."""
    west, south, east, north = unit.aoi.bounds
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {
            "scene_id": f"scene-{number}",
            "datetime": f"2024-0{5 + number}-01T10:00:00Z",
            "usable_fraction": 0.9,
            "used": True,
            "reference": number == 0,
        },
    }


def write_fake_report(unit: AnalyseUnit, out: Path, changes: int) -> None:
    """Write the files of a report (CONTRACT section 3) without looking at a pixel."""
    features = [fake_feature(unit, number) for number in range(changes)]
    looks = [fake_look(unit, number) for number in range(3)]
    files: dict[str, bytes] = {
        "changes.geojson": _collection(features),
        "looks.geojson": _collection(looks),
        "timeline.csv": b"datetime,scene_id,class,state,reason,usable_fraction,count\r\n"
        b"2024-05-01T10:00:00Z,scene-0,container,observed,,0.9,3\r\n"
        b"2024-06-01T10:00:00Z,scene-1,container,not_observable,cloud,0,\r\n",
        "report.html": f"<!doctype html><title>{unit.site}</title><p>report".encode(),
    }
    for feature in features:
        if folder := feature["properties"]["evidence"]:
            files[f"{folder}before.png"] = grey_png(64)
            files[f"{folder}after.png"] = grey_png(192)
            files[f"{folder}flicker.gif"] = b"GIF89a"
            files[f"{folder}provenance.json"] = json.dumps({"scenes": ["a", "b"]}).encode()
    asked = period_of(unit.period)
    period = None if asked is None else [moment.isoformat() for moment in asked]
    listed = [
        {"path": name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        for name, data in sorted(files.items())
    ]
    report = {
        "schema": "depotwatch-report/1",
        "site": {"name": unit.name, "aoi_wkb": shapely.to_wkb(unit.aoi, hex=True)},
        "period": None if period is None else {"start": period[0], "end": period[1], "given": True},
        "processing_version": "fake",
        "parameters": dict(parameters_from(dict(unit.parameters)).as_pairs()),
        "generated_from": [],
        "looks": [look["properties"] for look in looks],
        "headline": f"{changes} changes",
        "summary": [],
        "warnings": [],
        "files": listed,
    }
    files["report.json"] = json.dumps(report).encode()
    manifest = {"files": [{"path": n, "sha256": hashlib.sha256(d).hexdigest()} for n, d in files.items()]}
    for name, data in files.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    _zip({**files, "manifest.json": json.dumps(manifest).encode()}, out / BUNDLE)


def _collection(features: Sequence[dict[str, Any]]) -> bytes:
    return json.dumps({"type": "FeatureCollection", "features": list(features)}).encode()


def grey_png(value: int) -> bytes:
    """Return a PNG of one grey pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes([0, value]))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _zip(files: dict[str, bytes], path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name, FIXED_ZIP_TIME), data)


def main() -> None:
    """Run a worker whose settings come from the environment, as every worker's do."""
    from service.settings import Settings
    from service.telemetry import configure_logging
    from service.worker_process import run_worker

    configure_logging()
    notes = os.environ.get("FAKE_NOTES")
    runner = FakeRunner(
        int(os.environ.get("FAKE_CHANGES", "3")),
        float(os.environ.get("FAKE_SECONDS", "0")),
        Path(notes) if notes else None,
    )
    run_worker(Settings(), runner=runner)


if __name__ == "__main__":
    main()
