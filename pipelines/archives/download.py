"""Remote files through our own client: addresses checked, no redirect followed blindly, nothing kept that is half there.

GDAL would follow a redirect to any address with any setting, so no URL ever reaches it. Each hop of a redirect is
checked as the first address was, and the address really connected to is checked once more before a byte of the body is read:
a name that resolves differently the second time gains nothing.
"""

import atexit
import contextlib
import hashlib
import os
import shutil
import socket
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import httpx

from imagery.errors import UnreadableRaster
from imagery.excerpt import Excerpt, Held, Span
from imagery.scene import FilePart
from pipelines.addresses import is_public
from pipelines.archives.claims import one_line
from pipelines.archives.cutting import NotCut, common, layout_of, without
from pipelines.archives.errors import DownloadFailed, RemoteAssetRefused
from pipelines.archives.keeping import (
    Place,
    copy_spans,
    excerpt_at,
    link,
    new_file,
    same_bytes,
    write_excerpt,
)
from pipelines.archives.patience import PASSING, Patience
from pipelines.archives.ranges import Broken, Changed, NoRanges, RangeFile

MAX_DOWNLOAD_BYTES = 20 * 2**30
# What a file may claim to hold; of one so large, parts can be fetched.
MAX_FILE_BYTES = 2**40
# A smaller one costs less to fetch than the requests that tell which parts are needed.
WHOLE_BELOW_BYTES = 4 * 2**20
MAX_REDIRECTS = 5
ATTEMPTS = 3
TIMEOUT_S = 60.0


def assert_public_address(url: str, allow_hosts: Collection[str] = ()) -> None:
    """Refuse a URL that is not plain http(s) to a public address.

    Parameters
    ----------
    allow_hosts : ``host`` or ``host:port`` whose address may be private, as the operator says

    Raises
    ------
    RemoteAssetRefused : another protocol, user and password in it, an unknown name, or any of its addresses is private
    """
    parts = _parts(url)
    if _allowed(parts, allow_hosts):
        return
    host, port = str(parts.hostname), parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise RemoteAssetRefused(
            f"{_shown(url)}: its host is unknown ({error})", pointer=_shown(url)
        ) from error
    for entry in found:
        _assert_public(str(entry[4][0]), url)


def assert_public_peer(url: str, address: str, allow_hosts: Collection[str] = ()) -> None:
    """Refuse the address that a connection really leads to; see ``assert_public_address``."""
    if not _allowed(_parts(url), allow_hosts):
        _assert_public(address, url)


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port, url.encode()  # raise where that is no number, and this no text
    except ValueError as error:
        raise RemoteAssetRefused(f"{_shown(url)}: is no URL ({error})", pointer=_shown(url)) from error
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        raise RemoteAssetRefused(f"{_shown(url)}: only plain http(s) URLs are read", pointer=_shown(url))
    return parts


def _allowed(parts: SplitResult, allow_hosts: Collection[str]) -> bool:
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    return host in allow_hosts or f"{host}:{port}" in allow_hosts


def _assert_public(address: str, url: str) -> None:
    if not is_public(address):
        raise RemoteAssetRefused(
            f"{_shown(url)}: leads to {address}, which is no public address; an operator may allow its host by name",
            pointer=_shown(url),
        )


def _shown(url: str) -> str:
    """Return a URL without its query, which may hold a signature, and without its user."""
    bare = url.split("?", maxsplit=1)[0].split("#", maxsplit=1)[0]
    scheme, slashes, rest = bare.partition("://")
    host, slash, path = rest.partition("/")
    return (f"{scheme}://{host.rsplit('@', 1)[-1]}{slash}{path}" if slashes else bare)[:200]


class Downloader:
    """Keeps remote files in a cache folder under their address; what is there is never replaced.

    Of a large GeoTIFF whose server gives ranges of one version only its tables are fetched at first, and blocks when
    ``bring`` asks for them. What is kept of it and how it is hashed are the same where its server gives no ranges and all
    of it had to come.

    Parameters
    ----------
    cache : folder to keep files in; None for a temporary one, gone when the process ends
    allow_hosts : ``host`` or ``host:port`` that may be reached although their address is private
    max_bytes : what is larger is refused; of an excerpt, what was fetched
    whole_below : smaller files are never divided, bytes
    patience : how long is waited for servers that fail in passing
    """

    def __init__(
        self,
        cache: Path | None,
        allow_hosts: Collection[str] = (),
        *,
        max_bytes: int = MAX_DOWNLOAD_BYTES,
        whole_below: int = WHOLE_BELOW_BYTES,
        patience: Patience | None = None,
    ) -> None:
        self._allow_hosts = frozenset(allow_hosts)
        self._max_bytes = max_bytes
        self._whole_below = whole_below
        self._patience = patience or Patience()
        self._cache = cache
        self._excerpts: dict[str, tuple[str, Place, FilePart]] = {}

    def __call__(self, href: str, _folder: Path) -> Path:
        """See ``pipelines.archives.scenes.Fetch``: an address means the same wherever it is written."""
        return self.fetch(href)

    def fetch(self, url: str) -> Path:
        """Return a remote file's local copy, downloading it unless it is there.

        Of a large GeoTIFF that is an excerpt without pixels, see ``bring``.

        Raises
        ------
        RemoteAssetRefused : it may not be read
        DownloadFailed : it did not arrive whole
        UnreadableRaster : it is large, and its tables cannot be
        """
        place = self._place(url)
        if not place.whole.is_file() and not place.head.is_file():
            self._fetch(url, place)
        if place.whole.is_file():
            return self._head_of_whole(url, place)
        return self._known(place.head, url, place)

    def bring(self, path: Path, window: Held) -> Path:
        """Return a file that holds a window of the pixels of one that ``fetch`` gave; the same one if it is whole.

        Parameters
        ----------
        window : pixels at full resolution; it may reach outside the image

        Raises
        ------
        RemoteAssetRefused : it may not be read, or too much of it is wanted
        DownloadFailed : it did not arrive, or changed meanwhile
        """
        if str(path) not in self._excerpts:
            return path
        url, place, _ = self._excerpts[str(path)]
        try:
            held = excerpt_at(path)
            with path.open("rb") as file:
                layout = layout_of(file, held.size, place.name)
            windows = (*layout.always, layout.snapped(window))
            target = place.excerpt(held.etag, windows)
            if not target.is_file():
                spans = layout.spans(windows)
                if sum(length for _, length in spans) > self._max_bytes:
                    raise self._too_large(url)
                self._cut(url, place, path, Excerpt(held.size, spans, windows, held.etag), target)
            return self._known(target, url, place)
        except FileNotFoundError as error:  # another run found that it is of an old version
            raise self._failed(url, "it was removed from the cache meanwhile") from error

    def part_of(self, path: str) -> FilePart | None:
        """Return what of a remote file one that this gave is; None of whole ones and of others' files."""
        known = self._excerpts.get(path)
        return None if known is None else known[2]

    def _place(self, url: str) -> Place:
        parts = _parts(url)
        # A signature in the query changes with every search while the file stays the same: it is no part of the name.
        # A fragment is never sent: an archive puts there which revision of the file it means.
        revision = f"#{parts.fragment}" if parts.fragment else ""
        address = f"{parts.scheme}://{parts.netloc}{parts.path}{revision}"
        name = "".join(c if c.isalnum() or c in "._-" else "_" for c in Path(unquote(parts.path)).name)[-80:]
        return Place(self._folder(), hashlib.sha256(address.encode()).hexdigest()[:32], name or "asset")

    def _folder(self) -> Path:
        """Return the cache folder; a temporary one, gone when the process ends, where none was given."""
        if self._cache is None:
            self._cache = Path(tempfile.mkdtemp(prefix="depotwatch-assets-"))
            atexit.register(shutil.rmtree, self._cache, ignore_errors=True)
        self._cache.mkdir(parents=True, exist_ok=True)
        return self._cache

    def _known(self, path: Path, url: str, place: Place) -> Path:
        excerpt = excerpt_at(path)
        part = FilePart(place.whole.name, excerpt.size, excerpt.spans)
        self._excerpts[str(path)] = url, place, part
        return path

    # --- excerpts --------------------------------------------------------------------------------------------------

    def _fetch(self, url: str, place: Place) -> None:
        """Put a file's head into the cache, or all of it where it is small or cannot be divided."""
        with new_file(place.folder) as new, self._client() as client:
            for _ in range(ATTEMPTS):
                try:
                    whole = self._divide(client, url, place, new)
                except Changed:
                    continue
                except Broken as error:
                    raise self._failed(url, str(error)) from error
                link(new, place.whole if whole else place.head)
                return
        raise self._failed(url, "it changed again and again while it was read")

    def _divide(self, client: httpx.Client, url: str, place: Place, new: Path) -> bool:
        """Write a file's head to ``new``, or all of it: True then."""
        os.truncate(new, 0)
        complete = False

        def take(response: httpx.Response) -> None:
            nonlocal complete
            with contextlib.suppress(httpx.HTTPError):
                complete = self._write(response, new, 0, url)

        remote = RangeFile(partial(self._ask, client, url), instead=take, pause=self._patience.pause)
        etag = ""
        try:
            size, etag = remote.size, remote.etag
            if size > MAX_FILE_BYTES:
                raise self._too_large(url)
            if size >= self._whole_below:
                layout = layout_of(cast(BinaryIO, remote), size, place.name)
                spans = layout.spans(layout.always)
                write_excerpt(new, Excerpt(size, spans, layout.always, etag), remote.copy)
                return False
            raise NotCut("small")
        except NotCut:
            new.write_bytes(remote.beginning)
            complete = new.stat().st_size == size
        except NoRanges:
            pass
        if not complete:
            self._download(client, url, new, etag)
        return True

    def _head_of_whole(self, url: str, place: Place) -> Path:
        """Return an excerpt without pixels of a file that is here, as if it had been fetched; itself if it is not divided."""
        size = place.whole.stat().st_size
        if size < self._whole_below:
            return place.whole
        try:
            with place.whole.open("rb") as file:
                layout = layout_of(file, size, place.name)
        except (NotCut, UnreadableRaster):  # what is wrong with it is told by the reader of headers
            return place.whole
        target = place.excerpt("", layout.always)
        if not target.is_file():
            excerpt = Excerpt(size, layout.spans(layout.always), layout.always, "")
            with new_file(place.folder) as new:
                write_excerpt(new, excerpt, partial(copy_spans, place.whole))
                link(new, target)
        return self._known(target, url, place)

    def _cut(self, url: str, place: Place, known: Path, excerpt: Excerpt, target: Path) -> None:
        """Make an excerpt from what is kept of the same version already, and the rest from the server."""

        def fill(out: BinaryIO, spans: Sequence[Span]) -> None:
            left = tuple(spans)
            if not excerpt.etag:
                copy_spans(place.whole, out, left)
                return
            for path, other in place.excerpts(excerpt.etag):
                copy_spans(path, out, common(left, other.spans))
                left = without(left, other.spans)
            if left:
                self._fetch_spans(url, place, known, excerpt, out, left)

        with new_file(place.folder) as new:
            write_excerpt(new, excerpt, fill)
            link(new, target)

    def _fetch_spans(
        self, url: str, place: Place, known: Path, excerpt: Excerpt, out: BinaryIO, spans: Sequence[Span]
    ) -> None:
        with self._client() as client:
            ask, pause = partial(self._ask, client, url), self._patience.pause
            remote = RangeFile(ask, excerpt.etag, excerpt.size, pause=pause)
            try:
                remote.copy(out, spans)
                return
            except Broken as error:
                raise self._failed(url, str(error)) from error
            except NoRanges:
                if self._whole_of(client, url, place, known):
                    copy_spans(place.whole, out, spans)
                    return
            except Changed:
                pass
        # The next run begins with what the server has by then.
        place.head.unlink(missing_ok=True)
        raise self._failed(url, "it changed after its tables were read")

    def _whole_of(self, client: httpx.Client, url: str, place: Place, known: Path) -> bool:
        """Fetch all of a file whose server gives no ranges any more; True if it holds what is ``known`` of it."""
        with new_file(place.folder) as new:
            self._download(client, url, new)
            held = excerpt_at(known)
            same = new.stat().st_size == held.size and same_bytes(new, known, held.spans)
            link(new, place.whole)
        return same

    def _client(self) -> httpx.Client:
        return httpx.Client(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False)

    # --- whole files -----------------------------------------------------------------------------------------------

    def _download(self, client: httpx.Client, url: str, new: Path, etag: str = "") -> None:
        """Write a whole remote file to ``new``; go on where a broken transfer stopped, of version ``etag`` if there is one."""
        problem = ""
        for failures in range(ATTEMPTS):
            if failures:
                self._patience.pause(failures)
            try:
                if self._attempt(client, url, new, etag):
                    return
                problem = "it ended early"
            # The last where a server redirects to what is no URL.
            except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
                problem = str(error) or type(error).__name__
        raise self._failed(url, problem)

    def _failed(self, url: str, problem: str) -> DownloadFailed:
        return DownloadFailed(
            f"{_shown(url)}: could not be read ({problem}); try again later: the next run asks for it again",
            pointer=_shown(url),
        )

    def _attempt(self, client: httpx.Client, url: str, new: Path, etag: str) -> bool:
        """Append to ``new`` what is missing; True once it is whole."""
        have = new.stat().st_size
        headers = {"Range": f"bytes={have}-"} if have else {}
        if have and etag:
            headers["If-Range"] = etag
        with self._ask(client, url, headers) as response:
            told = response.headers.get("content-range", "")
            if response.status_code in (412, 416) or (
                have and told and not told.startswith(f"bytes {have}-")
            ):
                os.truncate(new, 0)
                return False
            return self._write(response, new, have if response.status_code == 206 else 0, url)

    @contextlib.contextmanager
    def _ask(self, client: httpx.Client, url: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """Ask for a file, again where the server fails in passing; yields the answer before its body is read."""
        for failures in count(1):
            with self._answer(client, url, headers) as response:
                status = response.status_code
                if status in (200, 206, 412, 416):
                    yield response
                    return
                later = response.headers.get("retry-after")
            if status not in PASSING:
                raise DownloadFailed(
                    f"{_shown(url)}: the server answers {status}; correct the address in the archive, or see to the server",
                    pointer=_shown(url),
                )
            if not self._patience.pause(failures, later):
                when = f" and says Retry-After: {one_line(later)[:40]}" if later else ""
                raise self._failed(url, f"the server answers {status}{when}")

    @contextlib.contextmanager
    def _answer(self, client: httpx.Client, url: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """Send one request, each address on the way checked."""
        for _ in range(MAX_REDIRECTS + 1):
            assert_public_address(url, self._allow_hosts)
            with client.stream("GET", url, headers={"Accept-Encoding": "identity", **headers}) as response:
                self._check_peer(response, url)
                if response.is_redirect:
                    url = urljoin(url, response.headers.get("location", ""))
                    continue
                yield response
                return
        raise RemoteAssetRefused(
            f"{_shown(url)}: redirects more than {MAX_REDIRECTS} times", pointer=_shown(url)
        )

    def _check_peer(self, response: httpx.Response, url: str) -> None:
        """Refuse to read from an address that is not the one that was checked."""
        peer = response.extensions["network_stream"].get_extra_info("server_addr")
        assert_public_peer(url, str(peer[0]), self._allow_hosts)

    def _write(self, response: httpx.Response, new: Path, have: int, url: str) -> bool:
        length = response.headers.get("content-length")
        expected = have + int(length) if length and length.isdigit() else None
        if expected is not None and expected > self._max_bytes:
            raise self._too_large(url)
        with new.open("ab" if have else "wb") as file:
            for chunk in response.iter_raw():
                have += len(chunk)
                if have > self._max_bytes:
                    raise self._too_large(url)
                file.write(chunk)
        return expected is None or have == expected

    def _too_large(self, url: str) -> RemoteAssetRefused:
        return RemoteAssetRefused(
            f"{_shown(url)}: is larger than {self._max_bytes / 2**30:.1f} GiB; cut it to the site",
            pointer=_shown(url),
        )
