"""From what a user calls an archive to the archive: a URL, a folder or a STAC document."""

from collections.abc import Sequence
from pathlib import Path

from pipelines.archives.archive import Archive
from pipelines.archives.errors import UnreadableArchive
from pipelines.archives.folder import Folder
from pipelines.archives.static_catalog import StaticCatalog, local_path


def open_archive(source: str, *, cache: Path | None = None, allow_hosts: Sequence[str] = ()) -> Archive:
    """Open an archive by what it is called.

    Parameters
    ----------
    source : path of a STAC catalog, collection, item collection or item; a folder of GeoTIFFs, or one with a
        ``catalog.json`` or ``collection.json``; or the URL of a STAC API
    cache : folder for what is downloaded; without it remote assets are refused
    allow_hosts : ``host`` or ``host:port`` that may be reached although their address is private

    Raises
    ------
    UnreadableArchive : there is no such archive
    """
    path = Path(source)
    if path.is_dir():
        for name in ("catalog.json", "collection.json"):
            if (path / name).is_file():
                return StaticCatalog(path / name, local_path)
        return Folder(path, local_path)
    if path.is_file():
        return StaticCatalog(path, local_path)
    raise UnreadableArchive(f"{source}: there is no such file or folder", pointer=source)
