"""Remote files through our own client: addresses checked, no redirect followed blindly, whole or not at all.

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
from collections.abc import Collection
from pathlib import Path
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import httpx

from pipelines.addresses import is_public
from pipelines.archives.errors import DownloadFailed, RemoteAssetRefused

MAX_DOWNLOAD_BYTES = 20 * 2**30
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
    """Keeps remote files in a cache folder under their address; what is there is never replaced."""

    def __init__(
        self, cache: Path | None, allow_hosts: Collection[str] = (), *, max_bytes: int = MAX_DOWNLOAD_BYTES
    ) -> None:
        self._allow_hosts = frozenset(allow_hosts)
        self._max_bytes = max_bytes
        self._cache = cache

    def fetch(self, url: str) -> Path:
        """Return a remote file's local copy, downloading it unless it is there.

        Raises
        ------
        RemoteAssetRefused : it may not be read
        DownloadFailed : it did not arrive whole
        """
        parts = _parts(url)
        # A signature in the query changes with every search while the file stays the same: it is no part of the name.
        # A fragment is never sent: an archive puts there which revision of the file it means.
        revision = f"#{parts.fragment}" if parts.fragment else ""
        address = f"{parts.scheme}://{parts.netloc}{parts.path}{revision}"
        name = "".join(c if c.isalnum() or c in "._-" else "_" for c in Path(unquote(parts.path)).name)[-80:]
        cache = self._folder()
        target = cache / f"{hashlib.sha256(address.encode()).hexdigest()[:32]}-{name or 'asset'}"
        if target.is_file():
            return target
        partial = target.with_name(target.name + f".{os.getpid()}.part")
        try:
            self._download(url, partial)
            # Unlike a rename, a link never replaces what another worker has put there.
            with contextlib.suppress(FileExistsError):
                os.link(partial, target)
        finally:
            partial.unlink(missing_ok=True)
        return target

    def _folder(self) -> Path:
        """Return the cache folder; a temporary one, gone when the process ends, where none was given."""
        if self._cache is None:
            self._cache = Path(tempfile.mkdtemp(prefix="depotwatch-assets-"))
            atexit.register(shutil.rmtree, self._cache, ignore_errors=True)
        self._cache.mkdir(parents=True, exist_ok=True)
        return self._cache

    def _download(self, url: str, partial: Path) -> None:
        """Write a whole remote file to ``partial``; go on where a broken transfer stopped."""
        problem = ""
        with httpx.Client(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client:
            for _ in range(ATTEMPTS):
                try:
                    if self._attempt(client, url, partial):
                        return
                    problem = "it ended early"
                # The last where a server redirects to what is no URL.
                except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
                    problem = str(error) or type(error).__name__
        raise DownloadFailed(
            f"{_shown(url)}: could not be read ({problem}); try again later", pointer=_shown(url)
        )

    def _attempt(self, client: httpx.Client, url: str, partial: Path) -> bool:
        """Append to ``partial`` what is missing; True once it is whole."""
        have = partial.stat().st_size if partial.exists() else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        for _ in range(MAX_REDIRECTS + 1):
            assert_public_address(url, self._allow_hosts)
            with client.stream("GET", url, headers=headers) as response:
                self._check_peer(response, url)
                if response.is_redirect:
                    url = urljoin(url, response.headers.get("location", ""))
                    continue
                if response.status_code not in (200, 206):
                    raise DownloadFailed(
                        f"{_shown(url)}: the server answers {response.status_code}", pointer=_shown(url)
                    )
                return self._write(response, partial, have if response.status_code == 206 else 0, url)
        raise RemoteAssetRefused(
            f"{_shown(url)}: redirects more than {MAX_REDIRECTS} times", pointer=_shown(url)
        )

    def _check_peer(self, response: httpx.Response, url: str) -> None:
        """Refuse to read from an address that is not the one that was checked."""
        peer = response.extensions["network_stream"].get_extra_info("server_addr")
        assert_public_peer(url, str(peer[0]), self._allow_hosts)

    def _write(self, response: httpx.Response, partial: Path, have: int, url: str) -> bool:
        length = response.headers.get("content-length")
        expected = have + int(length) if length and length.isdigit() else None
        if expected is not None and expected > self._max_bytes:
            raise self._too_large(url)
        with partial.open("ab" if have else "wb") as file:
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
