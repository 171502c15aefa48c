"""``/sites/{site}/tiles`` and ``/tileMatrixSets``: registered scenes as map tiles, in the site's zone or on the web's grid."""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy import select
from starlette.responses import Response

from service import mercator, reports
from service.api import schemas
from service.api.dependencies import (
    DEFAULT_LIMIT,
    JSON,
    UNCHANGED,
    Cursor,
    Limit,
    ReportsReader,
    ServiceOf,
    address,
    answer,
    base_of,
    capped,
    next_link,
    unchanged,
)
from service.api.quick import REVALIDATE
from service.archives import ArchiveSource, sources
from service.context import Service
from service.database import Record
from service.errors import BadQuery, NoReportYet, NotFound
from service.identifiers import decode_cursor, encode_cursor
from service.moments import rfc3339
from service.sites import find_site
from service.tables import sites
from service.tiles import PixelsWithheld, SiteTiles, Tile, TiledScene, draw, find_tile, kept, tiles_of
from service.wmts import TILE_MATRIX_SET, capabilities

router = APIRouter(tags=["tiles"])

IMMUTABLE = "private, max-age=31536000, immutable"
PNG, XML = "image/png", "application/xml"
NO_SUCH_TILES = "this site has no tiles of such a scene; /sites/{id}/tiles lists those it has"
# What one report says of its tiles is small; this many sites are looked at at once.
KNOWN_REPORTS = 64
# Drawing is reading and warping: more at once would only take turns.
DRAWERS = 2
Which = Annotated[
    str | None,
    Query(
        max_length=100,
        description="Report by id or number; its tiles never change. Default: the current one.",
    ),
]
MatrixSet = Annotated[
    str | None,
    Query(
        alias="tileMatrixSet",
        max_length=200,
        description=f"The site's id for its own zone, or `{mercator.NAME}`. Default: the site's own; of levels "
        f"that it does not have, `{mercator.NAME}`.",
    ),
]


class Drawing:
    """What an API process keeps of reports whose tiles are asked for, and the few threads that draw.

    A block that several requests want at once is drawn once; requests that find theirs drawn wait for nobody.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._known: OrderedDict[str, SiteTiles | None] = OrderedDict()
        self._running: dict[str, asyncio.Future[Mapping[str, bytes]]] = {}
        self._drawers = ThreadPoolExecutor(DRAWERS, "draw-tiles")

    def tiles(self, report: str) -> SiteTiles | None:
        """Return how to draw a report's looks; see ``tiles_of``."""
        if report not in self._known:
            with self._service.database.read() as connection:
                found = tiles_of(connection, self._service.store, report)
            self._known[report] = found
            while len(self._known) > KNOWN_REPORTS:
                self._known.popitem(last=False)
            return found
        return self._known[report]

    async def png(
        self, tiles: SiteTiles, scene: TiledScene, tile: Tile, archives: list[ArchiveSource]
    ) -> bytes:
        """Return a tile's PNG, drawn now where it must be."""
        settings = self._service.settings
        there = await asyncio.to_thread(kept, settings.products_place, tile)
        if there is not None:
            return there
        running = self._running.get(tile.block)
        if running is None:
            running = asyncio.ensure_future(self._draw(tiles, scene, tile, archives))
            self._running[tile.block] = running
            running.add_done_callback(lambda _done: self._running.pop(tile.block, None))
        # Who gives up waiting does not take the picture from the others.
        return (await asyncio.shield(running))[tile.name]

    async def mercator_png(self, tile: mercator.MercatorTile, archives: list[ArchiveSource]) -> bytes:
        """Return the PNG of a tile on the web's grid, of tiles in the site's zone that are drawn where they must be."""
        laid = await asyncio.to_thread(mercator.lay_out, tile)
        parts = {} if laid is None else laid.parts
        drawn = await asyncio.gather(
            *(self.png(tile.tiles, tile.scene, part, archives) for part in parts.values())
        )
        warped = partial(mercator.warp, tile, laid, dict(zip(parts, drawn, strict=True)))
        return await asyncio.get_running_loop().run_in_executor(self._drawers, warped)

    async def _draw(
        self, tiles: SiteTiles, scene: TiledScene, tile: Tile, archives: list[ArchiveSource]
    ) -> Mapping[str, bytes]:
        settings = self._service.settings
        drawn = partial(
            draw,
            tiles,
            scene,
            tile,
            archives,
            products=settings.products_place,
            downloads=settings.downloads_place,
            allow_hosts=settings.allowed_hosts,
        )
        return await asyncio.get_running_loop().run_in_executor(self._drawers, drawn)


async def _drawing(request: Request, service: ServiceOf) -> Drawing:
    """Return the process's drawing desk, set up when it is first needed."""
    state = request.app.state
    if not hasattr(state, "drawing"):
        state.drawing = Drawing(service)
    desk: Drawing = state.drawing
    return desk


DrawingOf = Annotated[Drawing, Depends(_drawing)]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A site's report whose tiles are asked for; ``tiles`` None where it has none."""

    site: Record
    report: str | None
    tiles: SiteTiles | None
    archives: list[ArchiveSource]

    def named(self, kind: str) -> dict[str, str]:
        """Return the headers of what tells the site's name too, which its owner may change."""
        return {"ETag": f'"{kind}.{self.report}.{self.site.version}"', "Cache-Control": REVALIDATE}


def _asked(service: Service, desk: Drawing, tenant: str, site: str, report: str | None) -> _Asked:
    with service.database.read() as connection:
        row = find_site(connection, tenant, site)
        if report is not None:
            report = reports.numbered(connection, tenant, site, report).id
        else:
            report = row.current_report
        names = json.loads(row.archives)
        archives = sources(connection, tenant, names)
    return _Asked(row, report, None if report is None else desk.tiles(report), archives)


@router.get("/sites/{site}/tiles", responses={**UNCHANGED, 200: {"model": schemas.SiteTiles}})
def get_site_tiles(
    request: Request,
    service: ServiceOf,
    caller: ReportsReader,
    desk: DrawingOf,
    site: str,
    report: Which = None,
) -> Response:
    """Return how a site's tiles lie and which looks have them: OGC tileset metadata per look."""
    asked = _asked(service, desk, caller.tenant, site, report)
    base = base_of(request)
    headers = asked.named("tilesets")
    if unchanged(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    links = [
        {"rel": "self", "href": address(request), "type": JSON},
        {"rel": "alternate", "href": f"{base}/sites/{site}/wmts", "type": XML, "title": "The same as WMTS"},
    ]
    body: dict[str, Any] = {"title": asked.site.name, "report": asked.report, "links": links}
    if asked.tiles is None:
        nothing = dict.fromkeys(("scenes", "withheld", "tilesets"), ())
        return answer(body | nothing | {"tileMatrixSet": {"tileMatrices": []}, "bbox": None}, headers=headers)
    tiles = asked.tiles
    shown = [scene for scene in tiles.scenes.values() if not scene.withheld]
    body |= {
        "tileMatrixSet": tiles.pyramid.as_tile_matrix_set(site, asked.site.name),
        "crs": tiles.pyramid.crs,
        "bbox": tiles.pyramid.bounds,
        "scenes": [{"scene_id": scene.scene_id, "datetime": _time(scene)} for scene in shown],
        "withheld": [
            {"scene_id": s.scene_id, "datetime": _time(s), "reason": "licence", "detail": _withheld(s)}
            for s in tiles.scenes.values()
            if s.withheld
        ],
        "tilesets": [
            told
            for scene in shown
            for told in (_tileset(base, site, tiles, scene), _mercator_tileset(base, site, tiles, scene))
        ],
    }
    return answer(body, headers=headers)


@router.get("/sites/{site}/wmts", responses={**UNCHANGED, 200: {"content": {XML: {}}}})
def get_wmts(
    request: Request,
    service: ServiceOf,
    caller: ReportsReader,
    desk: DrawingOf,
    site: str,
    report: Which = None,
) -> Response:
    """Return a site's tiles as WMTS capabilities, one layer per look: for QGIS, GDAL and other map programs."""
    asked = _asked(service, desk, caller.tenant, site, report)
    if asked.tiles is None:
        raise NoReportYet("this site has no report that tells of a grid yet")
    headers = asked.named("layers")
    if unchanged(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    looks = [scene for scene in asked.tiles.scenes.values() if not scene.withheld]
    layers = (
        (
            scene.scene_id,
            _title(scene),
            _template(base_of(request), site, asked.tiles, scene, ("TileMatrix", "TileCol", "TileRow"))
            + "&tileMatrixSet={TileMatrixSet}",
        )
        for scene in looks
    )
    told = capabilities(asked.site.name, asked.tiles.pyramid, layers, address(request))
    return Response(told, 200, headers, XML)


def _title(scene: TiledScene) -> str:
    return f"{_time(scene)}, {scene.scene_id}"


def _template(base: str, site: str, tiles: SiteTiles, scene: TiledScene, names: tuple[str, str, str]) -> str:
    """Return the address of a look's tiles, its level, column and row to be filled in."""
    here = f"{base}/sites/{site}/tiles/{quote(scene.scene_id, safe='')}"
    return f"{here}/{'/'.join('{' + name + '}' for name in names)}.png?report={tiles.report}"


def _time(scene: TiledScene) -> str:
    return rfc3339(scene.t_utc.timestamp())


def _withheld(scene: TiledScene) -> str:
    return f"the terms of scene {scene.scene_id} ({scene.licence}) forbid to publish its pixels"


def _tileset(base: str, site: str, tiles: SiteTiles, scene: TiledScene) -> dict[str, Any]:
    """Return one look as OGC API - Tiles describes a tileset of map tiles."""
    scheme = f"{base}/tileMatrixSets/{site}"
    return {
        "title": _title(scene),
        "dataType": "map",
        "crs": tiles.pyramid.crs,
        "tileMatrixSetURI": scheme,
        "license": scene.licence,
        "links": _tileset_links(base, site, tiles, scene, scheme, ""),
    }


def _mercator_tileset(base: str, site: str, tiles: SiteTiles, scene: TiledScene) -> dict[str, Any]:
    """Return one look on the web's grid, its address also as map programs ask for it."""
    asked = f"&tileMatrixSet={mercator.NAME}"
    links = _tileset_links(base, site, tiles, scene, f"{base}/tileMatrixSets/{mercator.NAME}", asked)
    address = _template(base, site, tiles, scene, ("z", "x", "y")) + asked
    links.append(
        {"rel": "item", "type": PNG, "templated": True, "href": address, "title": "XYZ, for map programs"}
    )
    return {
        "title": _title(scene),
        "dataType": "map",
        "crs": mercator.CRS,
        "tileMatrixSetURI": mercator.URI,
        "tileMatrixSetLimits": mercator.limits(tiles.pyramid),
        "license": scene.licence,
        "links": links,
    }


def _tileset_links(
    base: str, site: str, tiles: SiteTiles, scene: TiledScene, scheme: str, asked: str
) -> list[dict[str, Any]]:
    here = f"{base}/sites/{site}/tiles/{quote(scene.scene_id, safe='')}"
    template = _template(base, site, tiles, scene, ("tileMatrix", "tileCol", "tileRow"))
    return [
        {"rel": "self", "type": JSON, "href": f"{here}?report={tiles.report}{asked}"},
        {"rel": "item", "type": PNG, "templated": True, "href": template + asked},
        {"rel": "http://www.opengis.net/def/rel/ogc/1.0/tiling-scheme", "type": JSON, "href": scheme},
    ]


@router.get(
    "/sites/{site}/tiles/{scene:path}/{z}/{x}/{y}.png", responses={**UNCHANGED, 200: {"content": {PNG: {}}}}
)
async def get_tile(
    request: Request,
    service: ServiceOf,
    caller: ReportsReader,
    desk: DrawingOf,
    site: str,
    scene: str,
    z: str,
    x: str,
    y: str,
    report: Which = None,
    matrix_set: MatrixSet = None,
) -> Response:
    """Return one tile of a registered look: level, column, row from the top; clear where the scene holds nothing.

    Without `tileMatrixSet`, levels that the site's own matrices have are theirs; all others are `WebMercatorQuad`, so
    that the address does as an XYZ layer.
    """
    asked = await asyncio.to_thread(_asked, service, desk, caller.tenant, site, report)
    on_web = _on_web(matrix_set, site)
    if asked.tiles is None:
        raise NotFound(NO_SUCH_TILES)
    look = _look(asked.tiles, scene)
    level, col, row = (_index(text) for text in (z, x, y))
    place: Tile | mercator.MercatorTile
    if on_web or (on_web is None and level >= asked.tiles.pyramid.levels):
        place = mercator.find_mercator(asked.tiles, look, level, col, row)
    else:
        place = find_tile(asked.tiles, look, level, col, row)
    headers = {"ETag": place.etag, "Cache-Control": IMMUTABLE if report else REVALIDATE}
    if unchanged(request, place.etag):
        return Response(status_code=304, headers=headers)
    if isinstance(place, Tile):
        return Response(await desk.png(asked.tiles, look, place, asked.archives), 200, headers, PNG)
    return Response(await desk.mercator_png(place, asked.archives), 200, headers, PNG)


def _on_web(matrix_set: str | None, site: str) -> bool | None:
    """Tell whether the web's grid is asked for; None where it is left to the level.

    Raises
    ------
    BadQuery : a set that this site has not
    """
    if matrix_set is None:
        return None
    if matrix_set not in {site, TILE_MATRIX_SET, mercator.NAME, mercator.URI}:
        raise BadQuery(
            f"this site has tiles on {site} and {mercator.NAME}, not on {matrix_set[:40]!r}",
            pointer="tileMatrixSet",
        )
    return matrix_set in {mercator.NAME, mercator.URI}


@router.get("/sites/{site}/tiles/{scene:path}", responses={**UNCHANGED, 200: {"model": schemas.Listing}})
def get_tileset(
    request: Request,
    service: ServiceOf,
    caller: ReportsReader,
    desk: DrawingOf,
    site: str,
    scene: str,
    report: Which = None,
    matrix_set: MatrixSet = None,
) -> Response:
    """Return how one look's tiles lie: an OGC tileset."""
    asked = _asked(service, desk, caller.tenant, site, report)
    describe, kind = (_mercator_tileset, "web") if _on_web(matrix_set, site) else (_tileset, "tileset")
    if asked.tiles is None:
        raise NotFound(NO_SUCH_TILES)
    look = _look(asked.tiles, scene)
    headers = {"ETag": f'"{kind}.{asked.report}"', "Cache-Control": IMMUTABLE if report else REVALIDATE}
    if unchanged(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return answer(describe(base_of(request), site, asked.tiles, look), headers=headers)


def _look(tiles: SiteTiles, scene: str) -> TiledScene:
    """Return a look that may be shown.

    Raises
    ------
    NotFound, PixelsWithheld
    """
    look = tiles.scenes.get(scene)
    if look is None:
        raise NotFound(NO_SUCH_TILES)
    if look.withheld:
        raise PixelsWithheld(_withheld(look))
    return look


def _index(text: str) -> int:
    """Return a tile index, -1 for what is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else -1


@router.get("/tileMatrixSets", responses={200: {"model": schemas.Listing}})
def get_tile_matrix_sets(
    request: Request,
    service: ServiceOf,
    caller: ReportsReader,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """List the tile matrix sets: the web's, and one per site that has a report."""
    after = decode_cursor(cursor, str)[0] if cursor is not None else ""
    size, base = capped(limit), base_of(request)
    listed = [] if cursor is not None else [_listed_web(base)]
    size -= len(listed)
    wanted = (
        select(sites.c.id, sites.c.name)
        .where(
            sites.c.tenant == caller.tenant,
            sites.c.deleted.is_(None),
            sites.c.current_report.is_not(None),
            sites.c.id > after,
        )
        .order_by(sites.c.id)
        .limit(size + 1)
    )
    with service.database.read() as connection:
        rows = connection.execute(wanted).all()
    links = [{"rel": "self", "href": address(request), "type": JSON}]
    if len(rows) > size:
        links.append(next_link(request, encode_cursor(rows[size - 1].id if size else "")))
    listed += [
        {
            "id": row.id,
            "title": row.name,
            "links": [{"rel": "self", "type": JSON, "href": f"{base}/tileMatrixSets/{row.id}"}],
        }
        for row in rows[:size]
    ]
    return answer({"tileMatrixSets": listed, "links": links})


def _listed_web(base: str) -> dict[str, Any]:
    href = f"{base}/tileMatrixSets/{mercator.NAME}"
    title = str(mercator.definition()["title"])
    link = {"rel": "self", "type": JSON, "href": href}
    return {"id": mercator.NAME, "title": title, "uri": mercator.URI, "links": [link]}


@router.get(
    "/tileMatrixSets/{site}",
    responses={
        **UNCHANGED,
        200: {"content": {JSON: {"schema": {"type": "object"}}}, "description": "a tile matrix set"},
    },
)
def get_tile_matrix_set(
    request: Request, service: ServiceOf, caller: ReportsReader, desk: DrawingOf, site: str
) -> Response:
    """Return the web's tile matrix set, or a site's (OGC Two Dimensional Tile Matrix Set 2.0): levels of tiles."""
    if site == mercator.NAME:
        return answer(mercator.definition())
    asked = _asked(service, desk, caller.tenant, site, None)
    if asked.tiles is None:
        raise NoReportYet("this site has no report that tells of a grid yet")
    headers = asked.named("tms")
    if unchanged(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return answer(asked.tiles.pyramid.as_tile_matrix_set(site, asked.site.name), headers=headers)
