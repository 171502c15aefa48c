"""``report.json``: the whole report for a program, and the seal on every other file.

No time of writing and no machine's name are in it, so equal inputs and one processing version give equal bytes.
``docs/report-files.md`` tells every member.
"""

import mimetypes
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.analysis import Analysis
from pipelines.report import wording
from pipelines.report.canonical import number, rfc3339, sha256_of
from pipelines.report.features import Feature, aoi_feature
from pipelines.report.sources import sources
from pipelines.report.summary import all_warnings, compared_json, summary_json, usable_looks, verdict

SCHEMA = "depotwatch-report/1"

_LINKS = (
    ("changes.geojson", "items", "application/geo+json"),
    ("looks.geojson", "related", "application/geo+json"),
    ("timeline.csv", "related", "text/csv"),
    ("registration.json", "related", "application/json"),
    ("report.html", "alternate", "text/html"),
    ("changes.kmz", "alternate", "application/vnd.google-earth.kmz"),
    ("changes.gpkg", "alternate", "application/geopackage+sqlite3"),
    ("changes.parquet", "alternate", "application/vnd.apache.parquet"),
)


def file_hashes(folder: Path) -> list[dict[str, Any]]:
    """Return path, SHA-256 and size of every file under a folder but ``report.json``, by path."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    named = [(p.relative_to(folder).as_posix(), p) for p in files]
    return [
        {"path": name, "sha256": sha256_of(p), "bytes": p.stat().st_size}
        for name, p in sorted(named)
        if name != "report.json"
    ]


def _period(analysis: Analysis) -> dict[str, str | bool] | None:
    if analysis.period is not None:
        start, end = analysis.period
    elif analysis.looks:
        times = [look.scene.t_utc for look in analysis.looks]
        start, end = min(times), max(times)
    else:
        return None
    return {"start": rfc3339(start), "end": rfc3339(end), "given": analysis.period is not None}


def detection_limits(analysis: Analysis) -> list[dict[str, Any]]:
    """Return per class what these pixels can show."""
    return [
        {
            "change_type": str(limit.object_class),
            "gsd": number(limit.gsd_m),
            "observable": limit.observable,
            "smallest_area_m2": number(limit.smallest_area_m2, 1),
            "statement": limit.statement,
        }
        for limit in analysis.detection.limits
    ]


def report_json(
    analysis: Analysis, looks: Sequence[Feature], files: list[dict[str, Any]], headline: str
) -> dict[str, Any]:
    """Return the report; ``looks`` as ``look_features`` returns them, ``files`` as ``file_hashes`` lists them.

    ``headline`` is the summary paragraph in words.
    """
    grid = analysis.grid
    return {
        "schema": SCHEMA,
        "site": {
            "name": analysis.site.name,
            "aoi": aoi_feature(analysis)["geometry"],
            "aoi_wkb": analysis.site.aoi.wkb_hex,
            "grid": {
                "crs": grid.crs, "east_m": grid.east_m, "north_m": grid.north_m,
                "gsd_m": grid.gsd_m, "rows": grid.rows, "cols": grid.cols,
            },
        },
        "period": _period(analysis),
        "processing_version": analysis.processing_version,
        "parameters": dict(sorted(analysis.parameters)),
        "versions": dict(sorted(analysis.versions)),
        "verdict": str(verdict(analysis)),
        "headline": headline,
        "summary": summary_json(analysis),
        "compared": compared_json(analysis),
        "looks_usable": len(usable_looks(analysis)),
        "detection_limits": detection_limits(analysis),
        "looks": [_look_row(look) for look in looks],
        "warnings": all_warnings(analysis),
        "refused": [{"where": w, "code": c, "detail": d} for w, c, d in analysis.refused],
        "limits_in_words": [*wording.coarse_limits(grid.gsd_m), *wording.GENERAL_LIMITS, wording.CONFUSIONS],
        "generated_from": sources(analysis),
        "supersedes": None,
        "links": [{"rel": rel, "href": href, "type": kind} for href, rel, kind in _LINKS],
        "files": [{**f, "type": _media_type(f["path"])} for f in files],
    }  # fmt: skip


def _media_type(path: str) -> str:
    known = {href: kind for href, _, kind in _LINKS}
    return known.get(path) or mimetypes.guess_type(path)[0] or "application/octet-stream"


def _look_row(feature: Mapping[str, Any]) -> dict[str, Any]:
    kept = (
        "scene_id", "datetime", "platform", "gsd", "licence", "used", "reference", "usable_fraction", "fractions",
        "displacement", "state", "quality", "residual_m", "notes",
    )  # fmt: skip
    return {name: feature["properties"][name] for name in kept}
