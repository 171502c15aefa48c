"""A STAC API, searched by area and period only, each request to an address that the operator named or that is public.

Server-side filters, queries and sorting are not used: servers exist that take them and answer wrongly. A client's
warning that a server does not conform is therefore an error here.
"""

import warnings
from collections.abc import Collection, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from pystac.errors import STACError
from pystac_client import Client, ItemSearch
from pystac_client.errors import ClientTypeError
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from pystac_client.warnings import DoesNotConformTo, PystacClientWarning
from requests import Request, RequestException, Response
from shapely.geometry import mapping
from shapely.geometry.base import BaseGeometry
from urllib3 import Retry

from pipelines.archives.archive import ArchiveResult, Period, Refusal, gather
from pipelines.archives.claims import SceneClaim
from pipelines.archives.download import Downloader, assert_public_address, assert_public_peer
from pipelines.archives.errors import UnreadableArchive
from pipelines.archives.fingerprints import Fingerprints
from pipelines.archives.patience import PASSING, Patience
from pipelines.archives.static_catalog import claim_or_refusal

PAGE = 100
MAX_ITEMS = 100_000
TIMEOUT_S = 60.0
CONNECTS = 5
# Two that agree are enough; a catalog that is being filled gets a few more chances.
READINGS = 5
# To walk one over HTTP would be a request per Item, for every site at every look of a watch.
_STATIC = (
    "a static catalog or collection is read from disk: save it there with its Items, as docs/operations.md shows, "
    "and give its path"
)


class StacApi:
    """A STAC API; ``collections`` limits the search, all of them by default."""

    def __init__(
        self,
        url: str,
        cache: Path | None,
        prints: Fingerprints,
        allow_hosts: Collection[str] = (),
        collections: Collection[str] = (),
        *,
        trust_named: bool = True,
        patience: Patience | None = None,
    ) -> None:
        self.source = url
        try:
            named = urlsplit(url)
        except ValueError as error:
            raise UnreadableArchive(f"{url[:200]}: is no URL ({error})", pointer=url[:200]) from error
        # Whoever runs the analysis named this host: it may be a private one.
        own = {named.netloc.rsplit("@", 1)[-1]} if trust_named else set()
        self._allow_hosts = frozenset(allow_hosts) | own
        self._collections = sorted(collections)
        self._patience = patience or Patience()
        self._fetch = Downloader(cache, self._allow_hosts, patience=self._patience)
        self._prints = prints

    def search(self, area: BaseGeometry | None = None, period: Period | None = None) -> ArchiveResult:
        """See ``Archive``."""
        claims = self._claims(area, period)
        return gather(claims, self._fetch, area, period, self._prints)

    def _claims(self, area: BaseGeometry | None, period: Period | None) -> Iterator[SceneClaim | Refusal]:
        try:
            items, known = self._items(area, period)
        except DoesNotConformTo as error:
            raise UnreadableArchive(
                f"{self.source}: does not offer STAC item search, and nothing else is read over HTTP; {_STATIC}",
                pointer=self.source,
            ) from error
        except ClientTypeError as error:
            raise UnreadableArchive(
                f"{self.source}: cannot be searched as a STAC API (it is no catalog); {_STATIC}",
                pointer=self.source,
            ) from error
        except (
            APIError,
            STACError,
            RequestException,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
        ) as error:
            raise UnreadableArchive(
                f"{self.source}: cannot be searched as a STAC API ({_why(error)})", pointer=self.source
            ) from error
        for number, item in enumerate(items):
            collection = None
            if isinstance(item, dict):
                _make_absolute(item, self.source)
                collection = known.get(str(item.get("collection")))
            yield claim_or_refusal(item, f"{self.source}#{number}", Path(), collection)

    def _items(
        self, area: BaseGeometry | None, period: Period | None
    ) -> tuple[list[object], dict[str, dict[str, Any]]]:
        """Return every Item that the server has there and then, and its collections by id."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PystacClientWarning)
            warnings.simplefilter("error", DoesNotConformTo)
            client = Client.open(self.source, stac_io=self._io())
            known = {c.id: c.to_dict(include_self_link=False) for c in client.get_collections()}
            found = client.search(
                intersects=None if area is None else mapping(area),
                datetime=None if period in (None, (None, None)) else list(period),
                collections=self._collections or None,
                limit=PAGE,
                max_items=MAX_ITEMS,
            )
            return self._settled(found), known

    def _settled(self, found: ItemSearch) -> list[object]:
        """Return what a search finds, read until two readings agree.

        Pages are counted off by the server, mostly: what is added or removed while they are read shifts the rest, and
        a scene on a page's edge is then told twice or never. One page is one answer and needs no second look.
        """
        before: list[str] | None = None
        for _ in range(READINGS):
            pages = [list(page["features"]) for page in found.pages_as_dicts()]
            items = [item for page in pages for item in page]
            if len(items) >= MAX_ITEMS:
                raise ValueError(
                    f"it holds more than {MAX_ITEMS:,} scenes of this place; name a shorter period"
                )
            marks = [
                f"{item.get('collection')} {item.get('id')} {_updated(item)}"
                if isinstance(item, dict)
                else ""
                for item in items
            ]
            if len(pages) < 2 or marks == before:
                return items
            before = marks
        raise ValueError("what it holds changes faster than it can be read; try again later")

    def _io(self) -> StacApiIO:
        """Return the client's transport: no proxy or password from the environment, no redirect."""
        io = _PatientIO(self._patience, timeout=TIMEOUT_S, request_modifier=self._check)
        io.session.trust_env = False
        io.session.max_redirects = 0
        io.session.hooks["response"].append(self._check_peer)
        return io

    def _check_peer(self, response: Response, **_: Any) -> None:
        """Refuse an answer from an address that its name did not have when it was checked."""
        assert_public_peer(str(response.url), _peer(response), self._allow_hosts)

    def _check(self, request: Request) -> Request:
        assert_public_address(str(request.url), self._allow_hosts)
        return request


class _PatientIO(StacApiIO):
    """Sends a request again that the server failed in passing; refused connections the client tries again by itself."""

    def __init__(self, patience: Patience, **options: Any) -> None:
        # Left to itself urllib3 sleeps through any Retry-After, six hours of it at the most.
        super().__init__(max_retries=Retry(CONNECTS, respect_retry_after_header=False), **options)
        self._patience = patience
        self._later: str | None = None
        self.session.hooks["response"].append(self._note)

    def _note(self, response: Response, **_: Any) -> None:
        self._later = response.headers.get("retry-after")

    def request(self, *arguments: Any, **options: Any) -> str:
        """See ``StacApiIO``."""
        for failures in count(1):
            try:
                return str(super().request(*arguments, **options))
            except APIError as error:
                passing = getattr(error, "status_code", None) in PASSING
                if not passing or not self._patience.pause(failures, self._later):
                    raise
        raise AssertionError  # it counts for ever


def _why(error: BaseException) -> str:
    """Say in one line why a search failed: what the machine met at the root of it, else what the client says."""
    root: BaseException | None = error
    while root is not None:
        if isinstance(root, OSError) and root.strerror:
            return f"nothing answers there: {root.strerror}"
        root = root.__cause__ or root.__context__
    text = str(error).strip().splitlines()
    said = text[0][:200] if text else type(error).__name__
    status = getattr(error, "status_code", None)
    return said if status is None else f"it answers {status}" + (f": {said}" if text else "")


def _peer(response: Response) -> str:
    """Return the address an answer comes from; its body is not read yet, so the connection is still there."""
    kept = getattr(response.raw.connection, "sock", None)
    stream = kept or response.raw._fp.fp.raw._sock  # a connection that is not kept has handed its socket on
    return str(stream.getpeername()[0])


def _make_absolute(item: dict[str, Any], source: str) -> None:
    """Resolve an Item's relative references against where it lies: a server's path is never one of this machine."""
    links, assets = item.get("links"), item.get("assets")
    base = next(
        (
            str(k.get("href"))
            for k in (links if isinstance(links, list) else [])
            if isinstance(k, Mapping) and k.get("rel") == "self"
        ),
        source,
    )
    for asset in (assets if isinstance(assets, dict) else {}).values():
        if isinstance(asset, dict) and isinstance(asset.get("href"), str):
            # Downloads are kept by address: a scene that was updated under the same one is fetched again.
            asset["href"] = _joined(base, asset["href"]) + (f"#{mark}" if (mark := _updated(item)) else "")


def _joined(base: str, reference: str) -> str:
    try:
        return urljoin(base, reference)
    except ValueError:
        return reference  # refused when it is fetched


def _updated(item: Mapping[str, Any]) -> str:
    """Return what an Item says about its own revision, fit for the end of an address."""
    properties = item.get("properties")
    told = properties.get("updated") if isinstance(properties, Mapping) else None
    return quote(told, errors="backslashreplace") if isinstance(told, str) else ""
