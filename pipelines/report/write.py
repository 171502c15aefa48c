"""Write a report's folder: every file of CONTRACT section 3, whole or not at all.

Everything is written beside the target first and moved there in one step, so that an interrupted run leaves neither
half a report nor a folder that looks like one.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagery.errors import DepotwatchError
from pipelines.analysis import Analysis, RasterMaker, WindowReader
from pipelines.report.canonical import json_bytes
from pipelines.report.evidence import cog_bytes, write_evidence
from pipelines.report.features import (
    aoi_feature,
    changes_by_id,
    collection,
    features,
    look_features,
    strength,
)
from pipelines.report.html_page import SHOWN_CHANGES, headline, report_html
from pipelines.report.registration import registration_bytes
from pipelines.report.rendering import site_stretch
from pipelines.report.report_json import file_hashes, report_json
from pipelines.report.timeline import timeline_csv
from pipelines.working_memory import WORKING_MEMORY


class OutputNotEmpty(DepotwatchError):
    """The folder to write into already holds something."""

    code = "out-not-empty"


class OutputNotWritable(DepotwatchError):
    """The folder to write into cannot be made."""

    code = "out-not-writable"


def check_out(out: Path) -> None:
    """Refuse a target that is a file or holds anything, before any work is done.

    Raises
    ------
    OutputNotEmpty : the target exists and is not an empty folder
    """
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists() or out.is_symlink():
        raise OutputNotEmpty(
            f"{out} already exists and is not an empty folder; name a new one, nothing was written",
            pointer="out",
        )


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Yield a fresh folder that becomes ``out`` if the block succeeds and disappears if it does not.

    Raises
    ------
    OutputNotEmpty, OutputNotWritable
    """
    check_out(out)
    target = out.resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    except OSError as error:
        raise OutputNotWritable(
            f"{out} cannot be written: {error.strerror}; name another folder", pointer="out"
        ) from error
    try:
        yield draft
        draft.chmod(0o777 & ~_umask())
        check_out(out)
        os.replace(draft, target)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise OutputNotWritable(
            f"{out} cannot be written: {error.strerror or error}; make room or name another folder, nothing was left there",
            pointer="out",
        ) from error
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@WORKING_MEMORY
def write_report(
    analysis: Analysis, read_window: WindowReader, out: Path, raster: RasterMaker = cog_bytes
) -> None:
    """Write all files of one report into ``out``, which must not exist or be empty.

    Parameters
    ----------
    read_window : reads one scene on any window of ``analysis.grid``'s pixel lattice, registered and normalised
    raster : makes the rasters of the evidence, or has them from an earlier report

    Raises
    ------
    OutputNotEmpty, OutputNotWritable
    """
    with whole_folder(out) as draft:
        _write_files(analysis, read_window, draft, raster)


def _write_files(analysis: Analysis, read_window: WindowReader, folder: Path, raster: RasterMaker) -> None:
    # Imported here: exports read this package's features, so at the top the two would wait for each other.
    from pipelines.exports import export_geojson, export_gpkg, export_kmz, export_parquet

    found, looks, changes = features(analysis), look_features(analysis), changes_by_id(analysis)
    shown = frozenset(f["id"] for f in sorted(found, key=strength)[:SHOWN_CHANGES])
    stretch = site_stretch(analysis, read_window)
    pairs = write_evidence(changes, analysis, read_window, stretch, folder / "evidence", shown, raster)
    export_geojson(found, folder / "changes.geojson")
    (folder / "looks.geojson").write_bytes(json_bytes(collection(looks)))
    (folder / "timeline.csv").write_bytes(timeline_csv(analysis))
    (folder / "registration.json").write_bytes(registration_bytes(analysis, stretch))
    export_kmz(found, folder / "changes.kmz", folder)
    export_gpkg(found, folder / "changes.gpkg", looks, aoi_feature(analysis))
    export_parquet(found, folder / "changes.parquet")
    (folder / "report.html").write_bytes(report_html(analysis, found, changes, pairs, stretch, read_window))
    report = report_json(analysis, looks, file_hashes(folder), headline(analysis))
    (folder / "report.json").write_bytes(json_bytes(report))
