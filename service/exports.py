"""A site's changes as one file for other programs, with what of the report belongs into it."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from service.artefacts import ArtefactStore, StoredFile
from service.database import Record
from service.tables import looks, report_files, reports, site_geometries, sites

Feature = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Export:
    """What goes into a file: changes, and for those formats that hold them looks, the site and pictures."""

    changes: Sequence[Feature]
    looks: Sequence[Feature] = ()
    aoi: Feature | None = None
    pictures: Sequence[StoredFile] = ()


def gather(connection: Connection, report: str, changes: Sequence[Feature], kind: str) -> Export:
    """Read what belongs into a file of a kind (csv, kmz, gpkg, parquet) beside the changes."""
    if kind == "gpkg":
        return Export(changes, _looks(connection, report), _aoi(connection, report))
    if kind == "kmz":
        return Export(changes, pictures=_pictures(connection, report, changes))
    return Export(changes)


def _looks(connection: Connection, report: str) -> list[Feature]:
    wanted = select(looks.c.feature).where(looks.c.report == report).order_by(looks.c.position)
    return [json.loads(text) for text in connection.execute(wanted).scalars()]


def _aoi(connection: Connection, report: str) -> Feature:
    row: Record = connection.execute(
        select(sites.c.name, reports.c.processing_version, site_geometries.c.geometry)
        .select_from(reports)
        .join(sites, sites.c.id == reports.c.site)
        .join(
            site_geometries,
            (site_geometries.c.site == reports.c.site)
            & (site_geometries.c.version == reports.c.geometry_version),
        )
        .where(reports.c.id == report)
    ).one()
    properties = {"name": row.name, "processing_version": row.processing_version}
    return {"type": "Feature", "geometry": json.loads(row.geometry), "properties": properties}


def _pictures(connection: Connection, report: str, changes: Sequence[Feature]) -> list[StoredFile]:
    """Return the stored pictures of the strongest changes: a report holds none that a licence forbids."""
    from pipelines.exports import kmz_pictures

    rows = connection.execute(
        select(report_files).where(
            report_files.c.report == report, report_files.c.path.in_(kmz_pictures(changes))
        )
    )
    return [StoredFile(row.path, row.sha256, row.size) for row in rows]


def export(store: ArtefactStore, held: Export, kind: str) -> bytes:
    """Return the file's bytes; equal changes give equal ones."""
    from pipelines import exports

    with tempfile.TemporaryDirectory(prefix="depotwatch-") as place:
        folder = Path(place)
        path = folder / f"changes.{kind}"
        match kind:
            case "csv":
                exports.export_csv(held.changes, path)
            case "parquet":
                exports.export_parquet(held.changes, path)
            case "gpkg":
                exports.export_gpkg(held.changes, path, held.looks, held.aoi)
            case _:
                for file in held.pictures:
                    picture = folder / file.path
                    picture.parent.mkdir(parents=True, exist_ok=True)
                    picture.write_bytes(store.get(file.sha256))
                exports.export_kmz(held.changes, path, folder)
        return path.read_bytes()
