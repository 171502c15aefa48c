"""A static STAC catalog, collection, item collection or single item on disk, walked without ever using the network."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from shapely.geometry.base import BaseGeometry

from imagery.errors import DepotwatchError
from pipelines.archives.archive import ArchiveResult, Period, Refusal, gather
from pipelines.archives.claims import SceneClaim, one_line
from pipelines.archives.errors import BadSceneMetadata, RemoteAssetRefused, UnreadableArchive
from pipelines.archives.fingerprints import Fingerprints
from pipelines.archives.items import parse_item
from pipelines.archives.scenes import Fetch

MAX_DOCUMENT_BYTES = 256 * 2**20
MAX_DEPTH = 16


class StaticCatalog:
    """A STAC document on disk and everything that its links reach."""

    def __init__(self, path: Path, fetch: Fetch, prints: Fingerprints) -> None:
        self.source = str(path)
        self._path = path
        self._fetch = fetch
        self._prints = prints

    def search(self, area: BaseGeometry | None = None, period: Period | None = None) -> ArchiveResult:
        """See ``Archive``."""
        return gather(self._claims(), self._fetch, area, period, self._prints)

    def _claims(self) -> Iterator[SceneClaim | Refusal]:
        top = read_document(self._path)
        if top.get("type") not in ("Catalog", "Collection", "FeatureCollection", "Feature"):
            raise UnreadableArchive(
                f"{self._path.name}: is no STAC catalog, collection, item collection or item "
                f"(type {str(top.get('type'))[:40]!r})",
                pointer=self.source,
            )
        if _is_outline(top):
            raise UnreadableArchive(
                f"{self._path.name}: is a GeoJSON of places and no STAC document: nothing in it has assets; give the catalog, "
                "the folder or the API that the scenes are in",
                pointer=self.source,
            )
        yield from self._walk(top, self._path, None, {os.path.realpath(self._path)}, 0)

    def _walk(
        self,
        node: Mapping[str, Any],
        path: Path,
        collection: Mapping[str, Any] | None,
        seen: set[str],
        depth: int,
    ) -> Iterator[SceneClaim | Refusal]:
        kind = node.get("type")
        key = "features" if kind == "FeatureCollection" else "links"
        members = node.get(key) or []
        if kind != "Feature" and not isinstance(members, list):
            yield Refusal.of(BadSceneMetadata(f"{path.name}: its {key} are no list"), path.name)
            return
        match kind:
            case "Feature":
                yield claim_or_refusal(node, path.name, path.parent, collection)
            case "FeatureCollection":
                for index, item in enumerate(members):
                    yield claim_or_refusal(item, f"{path.name}#/features/{index}", path.parent)
            case "Catalog" | "Collection" if depth < MAX_DEPTH:
                inside = node if kind == "Collection" else collection
                for link in members:
                    yield from self._follow(link, path, inside, seen, depth)
            case _:
                fault = BadSceneMetadata(f"{path.name}: is no STAC document (type {str(kind)[:40]!r})")
                yield Refusal.of(fault, path.name)

    def _follow(
        self, link: object, path: Path, collection: Mapping[str, Any] | None, seen: set[str], depth: int
    ) -> Iterator[SceneClaim | Refusal]:
        if not isinstance(link, Mapping) or link.get("rel") not in ("child", "item", "items"):
            return
        href = str(link.get("href") or "")
        try:
            target = local_path(href, path.parent)
            place = os.path.realpath(target)
            if place in seen:
                return
            seen.add(place)
            document = read_document(target)
        except DepotwatchError as error:
            yield Refusal.of(error, href)
            return
        yield from self._walk(document, target, collection, seen, depth + 1)


def _is_outline(top: Mapping[str, Any]) -> bool:
    """Tell a GeoJSON of places, an AOI given as the catalog, from Items: none of its features has anything of theirs."""
    features = top.get("features") if top.get("type") == "FeatureCollection" else [top]
    mine = {"assets", "stac_version"}
    return (
        top.get("type") in ("Feature", "FeatureCollection")
        and isinstance(features, list)
        and bool(features)
        and not any(isinstance(f, Mapping) and mine & f.keys() for f in features)
    )


def claim_or_refusal(
    item: object, where: str, folder: Path, collection: Mapping[str, Any] | None = None
) -> SceneClaim | Refusal:
    """Return what an Item claims, or why it cannot be used; ``where`` names it if it has no id."""
    try:
        if not isinstance(item, Mapping):
            raise BadSceneMetadata(f"{where}: is no STAC Item")
        return parse_item(item, folder, collection)
    except DepotwatchError as error:
        return Refusal.of(error, error.pointer or where)


def read_document(path: Path) -> dict[str, Any]:
    """Read one JSON object from disk.

    Raises
    ------
    UnreadableArchive : missing, too large, not JSON, or not an object
    """
    try:
        if path.stat().st_size > MAX_DOCUMENT_BYTES:
            raise UnreadableArchive(
                f"{path.name}: is larger than {MAX_DOCUMENT_BYTES // 2**20} MiB", pointer=str(path)
            )
        document = json.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise UnreadableArchive(
            f"{path.name}: cannot be read ({error.strerror})", pointer=str(path)
        ) from error
    except (ValueError, RecursionError) as error:
        raise UnreadableArchive(f"{path.name}: is not JSON ({error})", pointer=str(path)) from error
    if not isinstance(document, dict):
        raise UnreadableArchive(f"{path.name}: is no JSON object", pointer=str(path))
    return document


def local_path(href: str, folder: Path) -> Path:
    """Return the file that a reference in a document of ``folder`` means.

    Raises
    ------
    RemoteAssetRefused : it points to another machine or protocol, or through one of GDAL's virtual file systems
    BadSceneMetadata : no file can have that name
    """
    try:
        parts = urlsplit(href)
        possible = b"\0" not in os.fsencode(unquote(href))
    except ValueError:
        possible = False
    if not possible:
        raise BadSceneMetadata(f"{one_line(href[:200])}: is no reference to a file", pointer=href)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    if (len(parts.scheme) > 1 and "://" in href) or href.startswith(("/vsi", "//")) or not href:
        raise RemoteAssetRefused(
            f"{one_line(href[:200]) or 'an empty reference'}: is not a file on this machine", pointer=href
        )
    for path in (folder / href, folder / unquote(href)):
        try:
            path.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise BadSceneMetadata(
                f"{one_line(href[:200])}: cannot be read ({error.strerror})", pointer=href
            ) from error
        return path
    return folder / href
