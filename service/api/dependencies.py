"""What routes share: who asks, bodies within limits, paging, conditions, answers."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Header, Query, Request
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from imagery.errors import DepotwatchError
from pipelines.antimeridian import FULL_TURN, HALF_TURN
from service.admission import Admitted
from service.audit import Caller
from service.context import Service, require
from service.errors import BadQuery, BodyTooLarge, BodyTooSlow, UnsupportedMediaType
from service.identifiers import decode_cursor
from service.intake import parse_json
from service.moments import from_http_date, interval
from service.problems import ManyErrors
from service.sites import BBox

JSON = "application/json"
GEOJSON = "application/geo+json"
MAX_LIMIT, DEFAULT_LIMIT = 1_000, 100
ADMITTED = "depotwatch.admitted"

# What OpenAPI is told of calls that know ETags, and of those that answer with a stored file or a part of it.
UNCHANGED: dict[int | str, dict[str, Any]] = {
    304: {"description": "as it was when you got the ETag you sent"}
}


def stored(media: str) -> dict[int | str, dict[str, Any]]:
    """Return the responses of a call that answers with a stored file."""
    content: dict[str, Any] = {"content": {media: {}}}
    return {200: content, 206: {**content, "description": "the part that `Range` asks for"}, **UNCHANGED}


Model = TypeVar("Model", bound=BaseModel)

# Declares the scheme for OpenAPI; who is let in is decided by ``Service.admit``.
bearer = HTTPBearer(auto_error=False, description="A key made with `depotwatch keys create`.")


def service_of(request: Request) -> Service:
    """Return the process's parts."""
    service: Service = request.app.state.service
    return service


# Dependencies are coroutines where they do not wait: FastAPI gives every other one a thread, forty there are.
async def _service(request: Request) -> Service:
    return service_of(request)


ServiceOf = Annotated[Service, Depends(_service)]


async def admitted(request: Request, service: Service) -> Admitted:
    """Return who is asking, found out once per request whoever asks first.

    Raises
    ------
    Unauthorised, TooManyRequests
    """
    known: Admitted | DepotwatchError | None = request.scope.get(ADMITTED)
    if known is None:
        try:
            known = await service.admit(
                request.headers.get("authorization"), request.scope.get("request_id", "")
            )
        except DepotwatchError as error:
            known = error
        request.scope[ADMITTED] = known
    if isinstance(known, DepotwatchError):
        raise known
    return known


def needs(scope: str) -> Any:
    """Return the dependency that lets in only keys with a scope."""

    async def caller(
        request: Request, service: ServiceOf, _scheme: Annotated[Any, Depends(bearer)]
    ) -> Caller:
        found = (await admitted(request, service)).caller
        require(found, scope)
        return found

    return Depends(caller)


SitesReader = Annotated[Caller, needs("sites:read")]
SitesWriter = Annotated[Caller, needs("sites:write")]
ReportsReader = Annotated[Caller, needs("reports:read")]
JobsWriter = Annotated[Caller, needs("jobs:write")]
Reviewer = Annotated[Caller, needs("reviews:write")]
ArchiveWriter = Annotated[Caller, needs("archives:write")]

IdempotencyKey = Annotated[
    str | None,
    Header(alias="Idempotency-Key", description="Any text of your own; the same call with it is done once."),
]
IfMatch = Annotated[str | None, Header(alias="If-Match", description="The ETag you read; `*` for any.")]
Limit = Annotated[int, Query(ge=1, description=f"How many at most; above {MAX_LIMIT} it is capped.")]
Cursor = Annotated[str | None, Query(max_length=1024, description="From a `next` link.")]


def place_in_time(cursor: str | None) -> tuple[float, str] | None:
    """Return where a list in order of time goes on: behind a moment and an id; None at its beginning."""
    if cursor is None:
        return None
    moment, identifier = decode_cursor(cursor, float, str)
    return moment, identifier


def capped(limit: int) -> int:
    """Return a limit within what one answer may hold."""
    return min(limit, MAX_LIMIT)


def media_type_of(request: Request) -> str:
    """Return the body's media type without parameters, lower case."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_body(request: Request) -> bytes:
    """Return a body within the size and time an operator allows.

    Raises
    ------
    BodyTooLarge, BodyTooSlow
    UnsupportedMediaType : it is packed
    """
    settings = service_of(request).settings
    coding = request.headers.get("content-encoding", "").strip().lower()
    if coding not in {"", "identity"}:
        raise UnsupportedMediaType(
            f"bodies are taken as they are, not packed by {coding[:40]!r}; send it without Content-Encoding",
            pointer="Content-Encoding",
        )
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > settings.max_body_bytes:
        raise _too_large(settings.max_body_bytes)
    parts, size = [], 0
    try:
        async with asyncio.timeout(settings.body_timeout_s):
            async for part in request.stream():
                size += len(part)
                if size > settings.max_body_bytes:
                    raise _too_large(settings.max_body_bytes)
                parts.append(part)
    except TimeoutError as error:
        raise BodyTooSlow(f"the body did not arrive within {settings.body_timeout_s:g} s") from error
    return b"".join(parts)


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"a body here has at most {limit:,} bytes; divide it into several calls")


Body = Annotated[bytes, Depends(read_body)]


def parse_body(request: Request, body: bytes, model: type[Model]) -> Model:
    """Parse a JSON body into a model.

    Raises
    ------
    UnsupportedMediaType, BadBody : not JSON, or not called so
    ManyErrors : what does not fit, each with a JSON pointer
    """
    kind = media_type_of(request)
    if kind != JSON and not re.fullmatch(r"application/[\w.-]+\+json", kind):
        raise UnsupportedMediaType(f"this call takes {JSON}, not {kind or 'an untyped body'}")
    document = parse_json(body)
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise ManyErrors(_faults(error)) from error


def _faults(error: ValidationError) -> Iterator[tuple[str, str, str]]:
    """Yield what does not fit, once for each place: of several kinds that would do, all are named together."""
    said: dict[tuple[str | int, ...], list[str]] = {}
    for fault in error.errors(include_url=False):
        # Pydantic names the kind it tried, such as list[str], behind the member it tried it on.
        place = tuple(part for part in fault["loc"] if not re.search(r"[\[\]']", str(part)))
        said.setdefault(place, []).append(fault["msg"])
    for place, messages in said.items():
        where = ".".join(map(str, place)) or "the body"
        others = (" or " + message.removeprefix("Input should be ") for message in messages[1:])
        yield _pointer(place), "unusable-input", f"{where}: {messages[0]}{''.join(others)}"


def _pointer(location: Iterable[str | int]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)


def body_schema(model: type[BaseModel], *, media: str = JSON) -> dict[str, Any]:
    """Return what tells OpenAPI of a body that the route parses itself."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    return {"requestBody": {"required": True, "content": {media: {"schema": schema}}}}


def bbox_of(text: str | None) -> BBox | None:
    """Read ``west,south,east,north``; six numbers where heights are given.

    Raises
    ------
    BadQuery
    """
    if text is None:
        return None
    try:
        numbers = [float(part) for part in text.split(",")]
        if len(numbers) == 6:
            numbers = [numbers[0], numbers[1], numbers[3], numbers[4]]
        west, south, east, north = numbers
    except ValueError as error:
        raise BadQuery("bbox is west,south,east,north in degrees", pointer="bbox") from error
    if not all(abs(value) <= 360 for value in numbers) or south > north:
        raise BadQuery("bbox is west,south,east,north in degrees, south below north", pointer="bbox")
    if east - west >= FULL_TURN:
        return BBox(-HALF_TURN, south, HALF_TURN, north)
    return BBox(_wrapped(west), south, _wrapped(east), north)


def _wrapped(longitude: float) -> float:
    """Return a longitude within -180 to 180 degrees: maps that were turned on past the antimeridian count on."""
    turn = FULL_TURN if longitude < -HALF_TURN else -FULL_TURN if longitude > HALF_TURN else 0.0
    return longitude + turn


def interval_of(text: str | None) -> tuple[float, float] | None:
    """Read an OGC ``datetime``."""
    return None if text is None else interval(text)


def words_of(text: str | None, known: Iterable[str] | None, pointer: str) -> tuple[str, ...]:
    """Read a comma-separated list; ``known`` None lets any word pass.

    A misspelt word would be answered with no change at all, and none at all, as a script's empty variable leaves it,
    with every change: the wrong answers that nobody notices.

    Raises
    ------
    BadQuery : a word that is not known, or no word
    """
    if text is None:
        return ()
    words = tuple(word.strip() for word in text.split(",") if word.strip())
    if not words:
        raise BadQuery(f"{pointer} is empty; name what is wanted, or leave it out for all", pointer=pointer)
    allowed = None if known is None else tuple(known)
    for word in words:
        if allowed is not None and word not in allowed:
            raise BadQuery(f"{pointer} is {word[:40]!r}; known are {', '.join(allowed)}", pointer=pointer)
        if "\x00" in word:
            raise BadQuery(f"{pointer} holds a NUL character", pointer=pointer)
    return words


def answer(
    content: Any, *, status: int = 200, media: str = JSON, headers: Mapping[str, str] | None = None
) -> Response:
    """Return JSON; text is taken to be JSON already. Half a surrogate pair is written as its escape."""
    text = (
        content
        if isinstance(content, str)
        else json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    )
    return Response(text.encode("utf-8", "backslashreplace"), status, dict(headers or {}), media)


def unchanged(request: Request, etag: str, modified: float | None = None) -> bool:
    """Tell whether the client has what it asks for already (RFC 9110: If-None-Match goes before the date)."""
    known = request.headers.get("if-none-match")
    if known is not None:
        tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
        return "*" in tags or etag in tags
    since = request.headers.get("if-modified-since")
    if since is not None and modified is not None:
        date = from_http_date(since)
        return date is not None and int(modified) <= date
    return False


def next_link(request: Request, cursor: str, *, name: str = "cursor", media: str = JSON) -> dict[str, str]:
    """Return the link to the next page: the same call with another cursor."""
    return {"rel": "next", "href": address(request, **{name: cursor}), "type": media}


def address(request: Request, **changed: str) -> str:
    """Return the request's own address, absolute, with some query parameters changed."""
    return base_of(request) + str(request.url.include_query_params(**changed)).removeprefix(
        f"{request.url.scheme}://{request.url.netloc}"
    )


def base_of(request: Request) -> str:
    """Return the address clients see, without a slash at the end."""
    given = service_of(request).settings.external_url
    return given.rstrip("/") if given else str(request.base_url).rstrip("/")


Handler = Callable[[Request], Awaitable[Response]]
