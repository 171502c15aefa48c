"""From what a user calls an archive to the archive: a URL, a folder or a STAC document."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.archives.archive import Archive
from pipelines.archives.errors import UnreadableArchive
from pipelines.archives.fingerprints import Fingerprints
from pipelines.archives.folder import Folder
from pipelines.archives.static_catalog import StaticCatalog, local_path

if TYPE_CHECKING:
    from imagery.excerpt import Held
    from imagery.scene import FilePart
    from pipelines.archives.download import Downloader

_REMOTE = ("http", "https")
FINGERPRINTS = "fingerprints"


def open_archive(
    source: str,
    *,
    cache: Path | None = None,
    allow_hosts: Collection[str] = (),
    trust_named: bool = True,
    remember: bool = True,
) -> Archive:
    """Open an archive by what it is called.

    Parameters
    ----------
    source : path or ``file://`` address of a STAC catalog, collection, item collection or item; of a folder of
        GeoTIFFs, or one with a ``catalog.json`` or ``collection.json``; or the URL of a STAC API
    cache : folder where downloaded files stay, and the hashes of all that were read; without it they go to a temporary
        one and live as long as the process
    allow_hosts : ``host`` or ``host:port`` that may be reached although their address is private
    trust_named : an API's own host may be private because whoever named it meant it; False where strangers name hosts

    remember : False reads every file for its hash and header, as who verifies must; else only what changed, see
        ``pipelines.archives.fingerprints``

    Raises
    ------
    UnreadableArchive : there is no such archive
    RemoteAssetRefused, BadSceneMetadata : a ``file://`` address of another machine, or of no file that can be
    """
    prints = Fingerprints(cache / FINGERPRINTS if cache is not None and remember else None)
    if _is_remote(source):
        from pipelines.archives.stac_api import StacApi

        return StacApi(source, cache, prints, allow_hosts, trust_named=trust_named)
    path = on_disk(source)
    fetch = _Fetcher(cache, allow_hosts)
    if os.path.isdir(path):  # takes any name, where Path.is_dir fails on one that is too long
        for name in ("catalog.json", "collection.json"):
            if (path / name).is_file():
                return StaticCatalog(path / name, fetch, prints)
        return Folder(path, fetch, prints)
    if os.path.isfile(path):
        if path.suffix.lower() in (".tif", ".tiff"):
            raise UnreadableArchive(
                f"{path.name}: is one picture and no archive; give the folder it lies in", pointer=source
            )
        return StaticCatalog(path, fetch, prints)
    raise UnreadableArchive(f"{source}: there is no such file or folder", pointer=source)


def on_disk(source: str) -> Path:
    """Return the place on this machine that an archive's path or ``file://`` address means.

    Raises
    ------
    RemoteAssetRefused, BadSceneMetadata : an address of another machine, or of no file that can be
    """
    return local_path(source, Path()) if source[:7].lower() == "file://" else Path(source)


def _is_remote(reference: str) -> bool:
    scheme, slashes, _ = reference.partition("://")
    return bool(slashes) and scheme.lower() in _REMOTE


class _Fetcher:
    """References of a local archive: files where they lie, remote ones by download."""

    def __init__(self, cache: Path | None, allow_hosts: Collection[str]) -> None:
        self._cache = cache
        self._allow_hosts = allow_hosts
        self._downloader: Downloader | None = None

    def __call__(self, href: str, folder: Path) -> Path:
        """See ``Fetch``."""
        if not _is_remote(href):
            return local_path(href, folder)
        if self._downloader is None:
            from pipelines.archives.download import Downloader

            self._downloader = Downloader(self._cache, self._allow_hosts)
        return self._downloader.fetch(href)

    def bring(self, path: Path, window: Held) -> Path:
        """See ``Fetch``."""
        return path if self._downloader is None else self._downloader.bring(path, window)

    def part_of(self, path: str) -> FilePart | None:
        """See ``Fetch``."""
        return None if self._downloader is None else self._downloader.part_of(path)
