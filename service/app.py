"""The web application, composed: routers, error handlers, the observing layer."""

import logging
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from imagery.errors import DepotwatchError
from service.api import (
    archives,
    atom,
    changes,
    comparisons,
    digests,
    events,
    features,
    forecasts,
    jobs,
    landing,
    page,
    promotions,
    reports,
    schemas,
    sites,
    stac,
    subscriptions,
    tiles,
)
from service.api.parameters import known_only
from service.api.quick import Quick
from service.context import Service
from service.problems import CODE_OF_STATUS, PROBLEM_JSON, problem, problem_of
from service.telemetry import Observed, Telemetry

log = logging.getLogger(__name__)

MODULES = (
    landing,
    page,
    sites,
    forecasts,
    reports,
    jobs,
    promotions,
    comparisons,
    changes,
    archives,
    events,
    atom,
    digests,
    subscriptions,
    features,
    tiles,
    stac,
)
PROBLEMS: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "A problem, as RFC 9457 has it.",
        "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}


def build_app(service: Service) -> FastAPI:
    """Return the application over a service's parts."""
    app = FastAPI(
        title="depotwatch",
        summary="Reports the containers and berms that appeared on or were removed from storage sites.",
        version=_version(),
        openapi_url=None,  # landing.py answers it, by its own media type
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False},
        responses=PROBLEMS,
        dependencies=[Depends(known_only)],
        exception_handlers={
            DepotwatchError: _known_fault,
            HTTPException: _http_fault,
            RequestValidationError: _query_fault,
            Exception: _unknown_fault,
        },
    )
    app.state.service = service
    app.state.telemetry = Telemetry()
    for module in MODULES:
        app.include_router(module.router)
    app.add_middleware(Quick, service=service)
    app.add_middleware(Observed, telemetry=app.state.telemetry)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _version() -> str:
    from importlib.metadata import version

    return version("depotwatch")


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Return OpenAPI with the schemas that routes refer to by name; FastAPI's own 422 is not ours."""
    if app.openapi_schema is not None:
        return app.openapi_schema
    made = get_openapi(
        title=app.title, version=app.version, summary=app.summary, routes=app.routes, openapi_version="3.1.0"
    )
    known = made.setdefault("components", {}).setdefault("schemas", {})
    for model in (schemas.Problem, schemas.SiteIn):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        known |= schema.pop("$defs", {})
        known[model.__name__] = schema
    for path in made["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
            for response in operation["responses"].values():
                _name_geojson(response.get("content", {}))
    for name in ("HTTPValidationError", "ValidationError"):
        known.pop(name, None)
    app.openapi_schema = made
    return made


def _name_geojson(content: dict[str, Any]) -> None:
    """Features are GeoJSON: FastAPI calls every model's content plain JSON."""
    schema = content.get("application/json", {}).get("schema", {})
    if schema.get("$ref", "").endswith(("/Feature", "/FeatureCollection")):
        content["application/geo+json"] = content.pop("application/json")


def _answer(status: int, body: dict[str, Any], headers: Any = None) -> Response:
    return JSONResponse(body, status, headers, PROBLEM_JSON)


async def _known_fault(_request: Request, error: Exception) -> Response:
    assert isinstance(error, DepotwatchError)
    body, headers = problem_of(error)
    return _answer(body["status"], body, dict(headers))


async def _http_fault(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = CODE_OF_STATUS.get(error.status_code, "error")
    details = {
        404: f"there is nothing at {request.url.path[:200]}; / tells where things are",
        405: f"{request.method[:20]} is not done here",
    }
    detail = details.get(error.status_code, str(error.detail))
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_methods_at(request.url.path))
    return _answer(error.status_code, problem(error.status_code, code, detail), headers)


def _methods_at(path: str) -> list[str]:
    """Return every method some route answers at this path; the router itself names only the first route's."""
    found: set[str] = set()
    routes = [route for module in MODULES for route in module.router.routes if isinstance(route, Route)]
    for route in routes:
        if route.path_regex.match(path):
            found |= route.methods or set()
    return sorted(found | ({"HEAD"} if "GET" in found else set()))


async def _query_fault(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = [
        {
            "pointer": str(fault["loc"][-1]),
            "code": "bad-query",
            "detail": f"{fault['loc'][-1]}: {fault['msg']}",
        }
        for fault in error.errors()
    ]
    return _answer(400, problem(400, "bad-query", faults[0]["detail"], errors=faults))


async def _unknown_fault(request: Request, error: Exception) -> Response:
    log.error(
        "request-broke",
        extra={"request_id": request.scope.get("request_id"), "kind": type(error).__name__},
        exc_info=error,
    )
    said = f"something broke here; the log knows more under request {request.scope.get('request_id')}"
    # The server drops the connection after a fault it was not told of: who sends the next request on it must know.
    return _answer(500, problem(500, "internal", said), {"Connection": "close"})
