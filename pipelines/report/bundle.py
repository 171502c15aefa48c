"""One zip that holds a report, its evidence and what it takes to check both: the thing to send to a desk or a court.

``manifest.json`` comes first in the file and lists every other member with its SHA-256. A bundle proves that nothing in
it was altered by accident; against intent it proves only what replaying it proves, and its own hash kept elsewhere.
"""

import json
import os
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from imagery.errors import DepotwatchError
from pipelines.report import wording
from pipelines.report.canonical import json_bytes, sha256_of

SCHEMA = "depotwatch-bundle/1"
MANIFEST = "manifest.json"
FIXED_ZIP_TIME = (2000, 1, 1, 0, 0, 0)
_PACKED_ALREADY = {".png", ".gif", ".tif", ".kmz", ".parquet"}
_CHUNK = 1 << 20


class NotAReport(DepotwatchError):
    """A folder without a whole ``report.json``."""

    code = "not-a-report"


def manifest(report_dir: Path) -> dict[str, Any]:
    """Return what a bundle of this report's folder says about itself.

    Raises
    ------
    NotAReport : no readable report.json, or files that differ from what it lists
    """
    try:
        report = json.loads((report_dir / "report.json").read_text("utf-8"))
        listed = {f["path"]: f["sha256"] for f in report["files"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotAReport(f"{report_dir} holds no readable report.json; name a report's folder") from error
    files = [
        {"path": name, "sha256": sha256_of(report_dir / name), "bytes": (report_dir / name).stat().st_size}
        for name in sorted([*listed, "report.json"])
        if (report_dir / name).is_file()
    ]
    for name, digest in sorted(listed.items()):
        if next((f["sha256"] for f in files if f["path"] == name), None) != digest:
            raise NotAReport(
                f"{name} in {report_dir} is not the file report.json lists; write the report again"
            )
    return {
        "schema": SCHEMA,
        "site": report["site"]["name"],
        "period": report["period"],
        "processing_version": report["processing_version"],
        "versions": report["versions"],
        "parameters": report["parameters"],
        "headline": report["headline"],
        "sources": report["generated_from"],
        "licences": sorted({s["licence"] for s in report["generated_from"]}),
        "method": [
            *wording.METHOD,
            wording.CALIBRATION,
            wording.CONFUSIONS,
            *wording.GENERAL_LIMITS,
            wording.SCOPE,
        ],
        "files": files,
    }


def write_bundle(report_dir: Path, out_zip: Path) -> None:
    """Seal a report's folder into ``out_zip``; equal reports give equal bytes, an interrupted run leaves no file.

    Raises
    ------
    NotAReport : see ``manifest``
    """
    told = manifest(report_dir)
    handle, name = tempfile.mkstemp(prefix=f".{out_zip.name}.", suffix=".part", dir=out_zip.parent)
    draft = Path(name)
    try:
        with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w") as archive:
            archive.writestr(_entry(MANIFEST), json_bytes(told))
            for listed in told["files"]:
                _add(archive, report_dir / listed["path"], listed["path"])
        draft.chmod(0o644)
        os.replace(draft, out_zip)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, FIXED_ZIP_TIME)
    entry.compress_type = zipfile.ZIP_STORED if Path(name).suffix in _PACKED_ALREADY else zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    entry.create_system = 3
    return entry


def _add(archive: zipfile.ZipFile, path: Path, name: str) -> None:
    entry = _entry(name)
    entry.file_size = path.stat().st_size
    with path.open("rb") as source, archive.open(entry, "w") as target:
        shutil.copyfileobj(source, target, _CHUNK)
