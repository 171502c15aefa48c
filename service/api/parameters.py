"""Query parameters that a call does not have, for all calls alike.

A misspelt filter left out finds too much and says nothing; a misspelt ``estimate`` starts the job. OGC API - Features
asks for the same (Part 1, 7.15.4): what the API's definition does not name is answered with 400.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from fastapi import Request

from service.api.dependencies import admitted, bearer, service_of
from service.api.page import prefers_page
from service.errors import BadQuery

LENIENT = frozenset(
    {
        "/static/{path:path}",
        # Whoever asks whether the service lives may add a number against caches.
        "/healthz",
        "/readyz",
        "/metrics",
        # Feed readers and their go-betweens add marks of their own.
        "/sites/{site}/feed.atom",
        # QGIS adds SERVICE and REQUEST, and OWS Common lets pass what a server does not know.
        "/sites/{site}/wmts",
    }
)
# Programs of the OGC family ask for JSON so, also where there is nothing else.
ALSO = ("f", "json")


async def known_only(request: Request) -> None:
    """Refuse what the call does not take, and what it takes once given twice.

    Raises
    ------
    BadQuery
    Unauthorised, TooManyRequests : nobody without a key is told more than that
    """
    if not request.scope.get("query_string"):
        return
    route = request.scope["route"]
    if route.path in LENIENT or (route.path == "/" and prefers_page(request.headers.get("accept"))):
        return
    tree = list(_tree(route.dependant))
    known = {parameter.alias for found in tree for parameter in found.query_params}
    pairs = request.query_params.multi_items()
    asked = [name for name, value in pairs if name in known or (name, value) != ALSO]
    try:
        refuse_others(asked, known)
        _once(asked)
    except BadQuery:
        if any(found.call is bearer for found in tree):
            await admitted(request, service_of(request))
        raise


def refuse_others(asked: Collection[str], known: Collection[str]) -> None:
    """Refuse a parameter that is not known.

    Raises
    ------
    BadQuery : it says which there are
    """
    for name in asked:
        if name not in known:
            there = f"it has {', '.join(sorted(known))}" if known else "it has none"
            raise BadQuery(f"this call knows no parameter {name[:40]!r}; {there}", pointer=name[:40])


def _once(asked: Sequence[str]) -> None:
    """Of two values one would be left out without a word."""
    for name in asked:
        if asked.count(name) > 1:
            raise BadQuery(
                f"{name} is given more than once; several values of a filter are separated by commas",
                pointer=name,
            )


def _tree(dependant: Any) -> Iterator[Any]:
    """Yield what a route depends on, as FastAPI found it: itself first."""
    yield dependant
    for under in dependant.dependencies:
        yield from _tree(under)
