"""The page for people: built files of ``service/web`` as they lie in ``service/static``, and who prefers them.

Nothing here needs Node: the built files are committed and shipped. They are read from a listing made once, so that no
path of a request ever reaches the file system.
"""

import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.api.dependencies import unchanged
from service.errors import NotFound

router = APIRouter(include_in_schema=False)

STATIC = Path(__file__).parents[1] / "static"
MEDIA = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".md": "text/markdown; charset=utf-8",
    ".svg": "image/svg+xml",
}
IMMUTABLE = "public, max-age=31536000, immutable"
REVALIDATE = "no-cache"
HASHED = re.compile(r"-[A-Za-z0-9_-]{8}\.[a-z]+$")
# Pictures come with a key in a header and are shown as blobs; nothing else than this origin is ever asked.
POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
SECURITY = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One built file: as it is, packed, and what it is called."""

    data: bytes
    packed: bytes
    media: str
    etag: str
    cache: str


@cache
def assets() -> dict[str, Asset]:
    """Return every built file by its path below ``static``."""
    found = {}
    for path in sorted(STATIC.rglob("*")):
        if path.is_file() and path.suffix in MEDIA:
            name = path.relative_to(STATIC).as_posix()
            found[name] = _asset(name, path.read_bytes())
    return found


def _asset(name: str, data: bytes) -> Asset:
    digest = hashlib.sha256(data).hexdigest()[:32]
    kept = IMMUTABLE if HASHED.search(name) else REVALIDATE
    return Asset(data, gzip.compress(data, 9, mtime=0), MEDIA[Path(name).suffix], f'"{digest}"', kept)


def prefers_page(accept: str | None) -> bool:
    """Tell whether an ``Accept`` header ranks HTML above JSON; one that names neither is a program's.

    Of equal ranks the one named first wins, as browsers write it.
    """
    html, json = _rank(accept or "", "text/html"), _rank(accept or "", "application/json")
    return html is not None and html[0] > 0 and (json is None or html > json)


def _rank(accept: str, media: str) -> tuple[float, int] | None:
    """Return (quality, minus position) of a media type named in an ``Accept`` header; None where it is not."""
    for position, part in enumerate(accept.split(",")):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if name != media:
            continue
        quality = next((p.removeprefix("q=") for p in parameters if p.startswith("q=")), "1")
        try:
            return float(quality), -position
        except ValueError:
            return 0.0, -position
    return None


def page(request: Request) -> Response:
    """Return the page itself."""
    return asset_answer(request, "index.html")


@router.get("/static/{path:path}")
def get_asset(request: Request, path: str) -> Response:
    """Return one built file."""
    return asset_answer(request, path)


def asset_answer(request: Request, path: str) -> Response:
    """Return a built file, packed where the client unpacks it.

    Raises
    ------
    NotFound : no such built file
    """
    asset = assets().get(path)
    if asset is None:
        raise NotFound("there is no such file of the page")
    headers = {
        "ETag": asset.etag,
        "Cache-Control": asset.cache,
        "Vary": "Accept, Accept-Encoding",
        **SECURITY,
    }
    if unchanged(request, asset.etag):
        return Response(status_code=304, headers=headers)
    data = asset.data
    if _unpacks(request.headers.get("accept-encoding", "")) and len(asset.packed) < len(data):
        data, headers["Content-Encoding"] = asset.packed, "gzip"
    return Response(data, 200, headers, asset.media)


def _unpacks(encodings: str) -> bool:
    return any(
        re.fullmatch(r"gzip(;\s*q=(1|0?\.\d*[1-9]\d*)(\.0*)?)?", part.strip())
        for part in encodings.split(",")
    )
