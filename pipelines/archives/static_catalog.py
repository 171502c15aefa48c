"""A static STAC catalog, collection, item collection or single item on disk, walked without ever using the network."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from shapely.geometry.base import BaseGeometry

from imagery.errors import DepotwatchError
from pipelines.archives.archive import ArchiveResult, Period, Refusal, gather
from pipelines.archives.claims import SceneClaim
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
        yield from self._walk(top, self._path, None, {self._path.resolve()}, 0)

    def _walk(
        self,
        node: Mapping[str, Any],
        path: Path,
        collection: Mapping[str, Any] | None,
        seen: set[Path],
        depth: int,
    ) -> Iterator[SceneClaim | Refusal]:
        match node.get("type"):
            case "Feature":
                yield claim_or_refusal(lambda: parse_item(node, path.parent, collection), path.name)
            case "FeatureCollection":
                for index, item in enumerate(node.get("features") or []):
                    where = f"{path.name}#/features/{index}"
                    if not isinstance(item, Mapping):
                        yield Refusal(where, BadSceneMetadata.code, f"{where}: is no STAC Item")
                        continue
                    yield claim_or_refusal(lambda i=item: parse_item(i, path.parent, None), where)  # type: ignore[misc]
            case "Catalog" | "Collection" if depth < MAX_DEPTH:
                inside = node if node.get("type") == "Collection" else collection
                for link in node.get("links") or []:
                    yield from self._follow(link, path, inside, seen, depth)
            case kind:
                yield Refusal(
                    path.name,
                    BadSceneMetadata.code,
                    f"{path.name}: is no STAC document (type {str(kind)[:40]!r})",
                )

    def _follow(
        self, link: object, path: Path, collection: Mapping[str, Any] | None, seen: set[Path], depth: int
    ) -> Iterator[SceneClaim | Refusal]:
        if not isinstance(link, Mapping) or link.get("rel") not in ("child", "item", "items"):
            return
        href = str(link.get("href") or "")
        try:
            target = local_path(href, path.parent)
            if target.resolve() in seen:
                return
            seen.add(target.resolve())
            document = read_document(target)
        except DepotwatchError as error:
            yield Refusal(href, error.code, error.detail)
            return
        yield from self._walk(document, target, collection, seen, depth + 1)


def claim_or_refusal(parse: Callable[[], SceneClaim], where: str) -> SceneClaim | Refusal:
    """Return what ``parse`` gives, or why it cannot."""
    try:
        return parse()
    except DepotwatchError as error:
        return Refusal(error.pointer or where, error.code, error.detail)


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
    """
    parts = urlsplit(href)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    if (len(parts.scheme) > 1 and "://" in href) or href.startswith(("/vsi", "//")) or not href:
        raise RemoteAssetRefused(
            f"{href[:200] or 'an empty reference'}: is not a file on this machine", pointer=href
        )
    plain = folder / href
    if not plain.exists() and (folder / unquote(href)).exists():
        return folder / unquote(href)
    return plain
