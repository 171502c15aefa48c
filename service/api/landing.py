"""The way in: landing page, conformance, health, metrics."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from imagery.errors import DepotwatchError
from service.api import schemas
from service.api.dependencies import GEOJSON, JSON, ServiceOf, answer, base_of
from service.api.features import CONFORMANCE, json_called
from service.api.page import page, prefers_page
from service.database import HEAD
from service.errors import NotAvailable

router = APIRouter(tags=["service"])

OPENAPI = "application/vnd.oai.openapi+json;version=3.1"
LINKS = (
    ("service-desc", "/openapi.json", OPENAPI, "OpenAPI 3.1"),
    ("conformance", "/conformance", JSON, "OGC conformance classes"),
    ("data", "/collections", JSON, "Collections: sites, changes, looks"),
    ("http://www.opengis.net/def/rel/ogc/1.0/tiling-schemes", "/tileMatrixSets", JSON, "Grids of map tiles"),
    ("catalog", "/stac", JSON, "STAC API: registered scenes and reports"),
    ("sites", "/sites", GEOJSON, "Your sites"),
    ("jobs", "/jobs", JSON, "Your jobs"),
    ("changes", "/changes", JSON, "What became known, in order"),
    ("archives", "/archives", JSON, "Where scenes come from"),
    ("status", "/healthz", JSON, "Liveness"),
)


@router.get("/", responses={200: {"model": schemas.Listing}})
def get_landing(request: Request, service: ServiceOf) -> Response:
    """Return where everything is: as links, or as the page where the client prefers HTML."""
    if prefers_page(request.headers.get("accept")):
        return page(request)
    base = base_of(request)
    links = [{"rel": "self", "href": f"{base}/", "type": JSON, "title": "This page"}]
    links += [{"rel": r, "href": base + h, "type": t, "title": title} for r, h, t, title in LINKS]
    return answer(
        {
            "title": "depotwatch",
            "description": "Containers and berms that appeared on or were removed from watched sites.",
            "links": links,
        },
        headers={"Vary": "Accept"},
    )


@router.get("/conformance", responses={200: {"model": schemas.Conformance}})
def get_conformance() -> Response:
    """Return the OGC conformance classes."""
    return answer({"conformsTo": CONFORMANCE})


@router.get("/openapi.json", include_in_schema=False)
async def get_openapi(request: Request) -> Response:
    """Return the OpenAPI document."""
    return answer(request.app.openapi(), media=json_called(request, OPENAPI), headers={"Vary": "Accept"})


@router.get("/healthz", responses={200: {"content": {JSON: {"schema": {"type": "object"}}}}})
async def get_health() -> Response:
    """Tell that the process answers; asks nothing of anything else."""
    return answer({"status": "alive"}, headers={"Cache-Control": "no-store"})


@router.get("/readyz", responses={200: {"content": {JSON: {"schema": {"type": "object"}}}}})
def get_readiness(service: ServiceOf) -> Response:
    """Tell whether requests would be served: the database at the right version, the artefact store answering."""
    checks: dict[str, Any] = {"database": _check_database(service), "artefacts": _check_store(service)}
    faults = {name: fault for name, fault in checks.items() if fault is not None}
    if faults:
        raise NotAvailable("; ".join(f"{name}: {fault}" for name, fault in faults.items()))
    return answer(
        {"status": "ready", "checks": dict.fromkeys(checks, "ok")}, headers={"Cache-Control": "no-store"}
    )


def _check_database(service: ServiceOf) -> str | None:
    try:
        found = service.database.revision()
    except DepotwatchError as error:
        return error.detail
    return None if found == HEAD else f"its tables stand at {found}, this version needs {HEAD}"


def _check_store(service: ServiceOf) -> str | None:
    try:
        service.store.check()
    except DepotwatchError as error:
        return error.detail
    return None


@router.get("/metrics", responses={200: {"content": {"text/plain": {}}}})
def get_metrics(request: Request, service: ServiceOf) -> Response:
    """Return Prometheus metrics; no name of a tenant, site or key is among them."""
    data, kind = request.app.state.telemetry.exposition(service.database)
    return Response(data, media_type=kind)
