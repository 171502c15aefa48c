"""``/sites/forecast``: what would become of sites if they were submitted; nothing is written.

The page asks it at every vertex drawn, so that a fault is shown where it is made, and not after the form is sent.
"""

import json
from typing import Any

from fastapi import APIRouter, Request
from shapely.geometry import mapping
from sqlalchemy import Connection, select
from starlette.responses import Response

from pipelines.aoi import area_m2, utm_zone
from service.api import schemas
from service.api.dependencies import GEOJSON, Body, ServiceOf, SitesReader, answer, media_type_of
from service.api.sites import SITES_BODY
from service.archives import coverage_forecast
from service.errors import UnsupportedMediaType
from service.intake import MEDIA_TYPES, SiteDraft, read_sites
from service.sites import usable_archives
from service.tables import sites

router = APIRouter(prefix="/sites", tags=["sites"])


@router.post("/forecast", openapi_extra=SITES_BODY, responses={200: {"model": schemas.FeatureCollection}})
def forecast_sites(request: Request, service: ServiceOf, caller: SitesReader, body: Body) -> Response:
    """Judge sites as `POST /sites` would, and tell what their archives will show of them; nothing is kept."""
    kind = media_type_of(request)
    if kind not in MEDIA_TYPES:
        raise UnsupportedMediaType(f"sites come as {', '.join(MEDIA_TYPES)}, not {kind or 'an untyped body'}")
    intake = read_sites(body, kind)
    with service.database.read() as connection:
        features = [_forecast(connection, caller.tenant, draft) for draft in intake.drafts]
    return answer({"type": "FeatureCollection", "features": features, "links": []}, media=GEOJSON)


def _forecast(connection: Connection, tenant: str, draft: SiteDraft) -> dict[str, Any]:
    if draft.archives is not None:
        usable_archives(connection, tenant, draft.archives, draft.pointer)
    coverage, warned = coverage_forecast(connection, tenant, draft.archives, draft.aoi)
    same_name = select(sites.c.id).where(
        sites.c.tenant == tenant, sites.c.name == draft.name, sites.c.deleted.is_(None)
    )
    taken = connection.execute(same_name).first() is not None
    return {
        "type": "Feature",
        "geometry": json.loads(json.dumps(mapping(draft.aoi))),
        "properties": {
            "name": draft.name,
            "name_taken": taken,
            "area_m2": round(area_m2(draft.aoi), 1),
            "utm_epsg": utm_zone(draft.aoi),
        },
        "coverage": coverage,
        "warnings": [*draft.warnings, *warned],
    }
