"""A small typed client: the calls a program makes in its first week, patient with restarts and rate limits.

>>> with Client("http://127.0.0.1:8000", key) as client:           # doctest: +SKIP
...     site = client.add_site("North depot", geometry)
...     client.wait(site.job)
...     report = client.latest_report(site.id)
"""

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx

from imagery.errors import DepotwatchError
from service.errors import BadSettings

PASSING = frozenset({408, 429, 502, 503, 504})
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
# After so much silence a person wonders.
SILENT_S = 3.0
# What stands before a service says these where there is none behind it.
NOBODY = frozenset({502, 503, 504})
IN_FLIGHT = "idempotency-in-flight"
TIMEOUT = httpx.Timeout(30.0, connect=10.0)
ENDED = frozenset({"successful", "failed", "dismissed"})


class ServiceRefused(DepotwatchError):
    """The service answered with a problem; ``code`` is the service's, ``status`` the HTTP status."""

    def __init__(self, status: int, code: str, detail: str, pointer: str = "") -> None:
        super().__init__(detail, pointer=pointer)
        self.status = status
        self.code = code


class ServiceAway(DepotwatchError):
    """The service did not answer for as long as the client was willing to wait."""

    code = "service-away"


@dataclass(frozen=True, slots=True)
class SiteHandle:
    """A site as answered; ``job`` is its first job, if one was started."""

    id: str
    job: str | None
    body: Mapping[str, Any]


class Client:
    """Talks to one service with one key.

    Every call is repeated through 429, 502, 503, 504 and lost connections for up to ``patience_s``, honouring
    ``Retry-After``; a POST carries an Idempotency-Key, so that repeating it does nothing twice, also while the first try
    of it is still being answered. For the first answer of all it waits ``first_s``, no more: an address that never answered is rather wrong than restarting.

    ``notice`` is given one sentence where nothing has come for a while, and how long is still to be waited.

    Raises
    ------
    BadSettings : the key can be none
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        patience_s: float = 120.0,
        first_s: float | None = None,
        notice: Callable[[str], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = {"User-Agent": "depotwatch-client"} | _authorization(key)
        self._http = httpx.Client(
            base_url=url, headers=headers, timeout=TIMEOUT, follow_redirects=False, transport=transport
        )
        self._patience_s, self._sleep, self._clock = patience_s, sleep, clock
        self._first_s = patience_s if first_s is None else min(first_s, patience_s)
        self._notice = notice
        self._reached = False

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back."""
        self._http.close()

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send one request as often as it takes.

        Raises
        ------
        ServiceRefused : the service said no
        ServiceAway : no answer within the patience
        """
        if method == "POST":
            options["headers"] = {"Idempotency-Key": str(uuid4()), **options.get("headers", {})}
        with _Silence(
            str(self._http.base_url), self._notice, self._first_s, first=not self._reached
        ) as silence:
            return self._insist(silence, method, path, options)

    def _insist(
        self, silence: "_Silence", method: str, path: str, options: Mapping[str, Any]
    ) -> httpx.Response:
        # The wall clock, because a suspended machine's monotonic clock may stand still: what counts is the user's time
        # since the last sign of life, and a machine that slept gets one more try at least.
        began = self._clock()
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                response = self._http.request(method, path, **options)
                self._reached |= response.status_code not in NOBODY
                if not _passing(response):
                    return _accepted(response)
                least_s = _retry_after(response)
                said = f"{response.status_code}"
            except httpx.UnsupportedProtocol as error:
                raise ServiceAway(f"{self._http.base_url}: {error}; give http://HOST:PORT") from error
            except httpx.TransportError as error:
                least_s, said = 0.0, _in_a_line(error)
            given_s = self._patience_s if self._reached else self._first_s
            gone_s = self._clock() - began
            if gone_s + least_s >= given_s:
                raise ServiceAway(
                    f"no answer from the service at {self._http.base_url} for {given_s:g} s ({said}); is it running?"
                )
            silence.goes_on(said, gone_s, given_s)
            # The last try is at the very end.
            jittered_s = max(least_s, pause_s) * (0.75 + random.random() / 2)
            self._sleep(min(jittered_s, given_s - gone_s))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def add_site(
        self, name: str, geometry: Mapping[str, Any], *, analyse: bool = True, **properties: Any
    ) -> SiteHandle:
        """Watch a place."""
        feature = {
            "type": "Feature",
            "properties": {**properties, "name": name},
            "geometry": geometry,
            "analyse": analyse,
        }
        body = self.request("POST", "/sites", json=feature).json()
        return SiteHandle(body["id"], body.get("job"), body)

    def sites(self) -> Iterator[Mapping[str, Any]]:
        """Yield every site."""
        yield from self._pages("/sites?limit=1000", "features")

    def submit(
        self, sites: list[str] | str, *, kind: str = "analyse", period: str | None = None, **parameters: Any
    ) -> str:
        """Ask for work on sites (ids, or ``all``); return the job's id."""
        wanted = {"type": kind, "sites": sites, "period": period, "parameters": parameters}
        return str(self.request("POST", "/jobs", json=wanted).json()["id"])

    def job(self, job: str) -> Mapping[str, Any]:
        """Return where a job stands."""
        found: Mapping[str, Any] = self.request("GET", f"/jobs/{job}").json()
        return found

    def wait(
        self,
        job: str,
        *,
        timeout_s: float | None = None,
        told: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> Mapping[str, Any]:
        """Return a job once it has ended; ``told`` hears of every look at it.

        Raises
        ------
        TimeoutError : not ended within ``timeout_s``
        """
        until = None if timeout_s is None else self._clock() + timeout_s
        while True:
            response = self.request("GET", f"/jobs/{job}")
            found: Mapping[str, Any] = response.json()
            if told is not None:
                told(found)
            if found["state"] in ENDED:
                return found
            if until is not None and self._clock() > until:
                raise TimeoutError(f"{job} is {found['state']} after {timeout_s:g} s")
            self._sleep(min(_retry_after(response) or 1.0, LONGEST_PAUSE_S))

    def latest_report(self, site: str) -> Mapping[str, Any]:
        """Return a site's current report."""
        found: Mapping[str, Any] = self.request("GET", f"/sites/{site}/reports/latest").json()
        return found

    def changes(self, site: str, **filters: str | float) -> Iterator[Mapping[str, Any]]:
        """Yield the changes of a site's current report."""
        query = httpx.QueryParams({"limit": "1000", **{k: str(v) for k, v in filters.items()}})
        yield from self._pages(f"/sites/{site}/changes?{query}", "features")

    def feed(self, since: str | None = None) -> Iterator[tuple[Mapping[str, Any], str]]:
        """Yield news in order, each with the cursor to keep once it is dealt with."""
        cursor = since
        while True:
            query = {"limit": "1000"} if cursor is None else {"limit": "1000", "since": cursor}
            page = self.request("GET", "/changes", params=query).json()
            for entry in page["entries"]:
                yield entry, entry["cursor"]
            cursor = page["cursor"]
            if not any(link["rel"] == "next" for link in page["links"]):
                return

    def _pages(self, path: str, member: str) -> Iterator[Mapping[str, Any]]:
        following: str | None = path
        while following is not None:
            page = self.request("GET", following).json()
            yield from page[member]
            following = next((link["href"] for link in page["links"] if link["rel"] == "next"), None)


class _Silence:
    """One call's silence, told of once: by the call after a try that failed, else by the clock.

    Only the first call of all is watched by the clock: later ones may be long downloads.
    """

    def __init__(
        self, address: str, notice: Callable[[str], None] | None, given_s: float, *, first: bool
    ) -> None:
        self._address, self._notice = address, notice
        self._alarm = threading.Timer(SILENT_S, self._tell, ("has not answered yet", SILENT_S, given_s))
        self._alarm.daemon = True
        self._watched = first and notice is not None

    def __enter__(self) -> "_Silence":
        if self._watched:
            self._alarm.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._alarm.cancel()

    def goes_on(self, said: str, gone_s: float, given_s: float) -> None:
        """Hear of a try that failed and when the next will be."""
        if gone_s >= SILENT_S:
            self._alarm.cancel()
            self._tell(f"does not answer ({said})", gone_s, given_s)

    def _tell(self, what: str, gone_s: float, given_s: float) -> None:
        notice, self._notice = self._notice, None
        if notice is not None:
            notice(f"the service at {self._address} {what}; waiting {max(given_s - gone_s, 0.0):.0f} s more")


def _authorization(key: str | None) -> dict[str, str]:
    """Return the header of a key, which a file or a mail may have wrapped in white space."""
    text = (key or "").strip()
    if not text:
        return {}
    if not (text.isascii() and text.isprintable() and " " not in text):
        # Said here and not by the library underneath, which would print the key.
        raise BadSettings("the key holds characters that no key has; copy it again", pointer="DEPOTWATCH_KEY")
    return {"Authorization": f"Bearer {text}"}


def _in_a_line(error: httpx.TransportError) -> str:
    """Return what went wrong on the way; other errors may quote what was sent."""
    if not isinstance(error, (httpx.NetworkError, httpx.TimeoutException)):
        return type(error).__name__
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")


def _accepted(response: httpx.Response) -> httpx.Response:
    if response.status_code < 400:
        return response
    try:
        body = response.json()
        first = (body.get("errors") or [{}])[0]
        raise ServiceRefused(response.status_code, body["code"], body["detail"], first.get("pointer", ""))
    except (ValueError, KeyError, AttributeError) as error:
        detail = f"{response.status_code} from {response.url.path}; is this a depotwatch service?"
        raise ServiceRefused(response.status_code, "error", detail) from error


def _passing(response: httpx.Response) -> bool:
    """Tell whether the same call may be answered otherwise in a while: also where its first try is not answered yet."""
    if response.status_code != 409:
        return response.status_code in PASSING
    try:
        return bool(response.json()["code"] == IN_FLIGHT)
    except (ValueError, KeyError, TypeError):
        return False


def _retry_after(response: httpx.Response) -> float:
    text = response.headers.get("retry-after", "")
    return min(float(text), LONGEST_PAUSE_S) if text.isdecimal() else 0.0
