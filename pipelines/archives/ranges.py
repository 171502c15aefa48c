"""A remote file read in ranges, all of them of one and the same version: a strong ETag says which.

Nothing a server says is believed: not that it sent what was asked, nor how much, nor that the file is still the same.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import BinaryIO

import httpx

from imagery.excerpt import Span
from pipelines.archives.cutting import NotCut, common, grouped, without

# A request costs a round trip: what lies closer together than this is cheaper fetched than left out.
GAP_BYTES = 128 * 2**10
REQUEST_BYTES = 64 * 2**20
# The tables of most files lie within their first piece of this size.
PIECE_BYTES = 64 * 2**10
MAX_PIECES = 1024
ATTEMPTS = 3

Open = Callable[[Mapping[str, str]], AbstractContextManager[httpx.Response]]
"""``headers -> response``: asks for the file, address checked at every hop; its body is not read yet."""
Take = Callable[[int, bytes], None]

_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")
_STRONG = re.compile(r'"[\x21\x23-\x7e\x80-\xff]+"')


class NoRanges(Exception):
    """The server does not give parts of this file that are sure to be of one version."""


class Changed(Exception):
    """The file is another one than when its first part was read."""


class Broken(Exception):
    """A part did not arrive, however often it was asked for."""


class RangeFile:
    """Reads one remote file by ranges; also a file to ``seek`` and ``read``, for its tables.

    Parameters
    ----------
    etag : the version that is wanted; None takes the one that the first answer names
    instead : takes the first answer where it is all of the file
    pause : waits before what failed so often is asked for again

    Raises
    ------
    NoRanges, Changed, Broken : from every method that reads
    """

    def __init__(
        self,
        ask: Open,
        etag: str | None = None,
        size: int | None = None,
        *,
        instead: Callable[[httpx.Response], None] = lambda _response: None,
        pause: Callable[[int], object] = lambda _failures: None,
    ) -> None:
        self._ask = ask
        self._etag = etag
        self._size = size
        self._instead = instead
        self._pause = pause
        self._pieces: dict[int, bytes] = {}
        self._at = 0
        self.transferred = 0

    @property
    def size(self) -> int:
        """The whole file's length in bytes."""
        if self._size is None:
            self._bring(0, 0)
        assert self._size is not None  # the first answer told
        return self._size

    @property
    def etag(self) -> str:
        """The strong ETag that all parts carried."""
        if self._etag is None:
            self._bring(0, 0)
        assert self._etag is not None
        return self._etag

    def seek(self, place: int) -> int:
        """Set where to read next."""
        self._at = place
        return place

    def read(self, count: int) -> bytes:
        """Return the next bytes, fewer only at the end of the file."""
        first, last = self._at, min(self._at + max(count, 0), self.size)
        if last <= first:
            return b""
        numbers = range(first // PIECE_BYTES, (last - 1) // PIECE_BYTES + 1)
        missing = [number for number in numbers if number not in self._pieces]
        if missing:
            self._bring(missing[0], missing[-1])
        begin = first % PIECE_BYTES
        self._at = last
        return b"".join(self._pieces[number] for number in numbers)[begin : begin + last - first]

    def _bring(self, first: int, last: int) -> None:
        """Fetch pieces of the tables, by number, in one request."""
        if len(self._pieces) + last - first >= MAX_PIECES:
            raise NotCut("tables scattered all over it")
        begin, end = first * PIECE_BYTES, (last + 1) * PIECE_BYTES
        found = bytearray()
        self._fetch(
            begin, end if self._size is None else min(end, self._size), lambda _at, part: found.extend(part)
        )
        for number in range(first, last + 1):
            at = number * PIECE_BYTES - begin
            self._pieces[number] = bytes(found[at : at + PIECE_BYTES])

    @property
    def beginning(self) -> bytes:
        """What was read from the first byte on without a gap."""
        found: list[bytes] = []
        while (piece := self._pieces.get(len(found))) is not None:
            found.append(piece)
        return b"".join(found)

    def copy(self, out: BinaryIO, spans: Sequence[Span]) -> None:
        """Write spans of the file, in order, to their own places in another."""
        pieces = sorted((number * PIECE_BYTES, len(piece)) for number, piece in self._pieces.items())
        for offset, length in common(spans, pieces):
            self.seek(offset)
            out.seek(offset)
            out.write(self.read(length))
        left = without(spans, pieces)

        def write(at: int, part: bytes) -> None:
            for offset, length in common(left, ((at, len(part)),)):
                out.seek(offset)
                out.write(part[offset - at : offset - at + length])

        for offset, length in grouped(left, GAP_BYTES, REQUEST_BYTES):
            self._fetch(offset, offset + length, write)

    def _fetch(self, first: int, last: int, take: Take) -> None:
        """Hand on bytes ``first`` to ``last`` in order; goes on where an answer ended early."""
        at, failures, problem = first, 0, "it ended early"
        while at < last:
            before = at
            headers = {"Range": f"bytes={at}-{last - 1}"} | ({"If-Range": self._etag} if self._etag else {})
            try:
                with self._ask(headers) as response:
                    end = self._checked(response, at, last)
                    last = min(last, self.size)
                    for part in response.iter_raw():
                        self.transferred += len(part)
                        kept = part[: end - at]
                        take(at, kept)
                        at += len(kept)
                        if len(kept) < len(part):
                            break
            except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
                problem = str(error) or type(error).__name__
            # Whoever sends little at a time may, but not for ever.
            failures = 0 if at - before >= PIECE_BYTES else failures + 1
            if at < last and failures >= ATTEMPTS:
                raise Broken(problem)
            if failures:
                self._pause(failures)

    def _checked(self, response: httpx.Response, first: int, last: int) -> int:
        """Return where an answer ends that is a part of the very file and begins at ``first``."""
        etag = response.headers.get("etag", "")
        if response.status_code in (412, 416) and self._etag is not None:
            raise Changed
        if response.status_code != 206:
            if self._etag is None and response.status_code == 200:
                self._instead(response)
            raise Changed if self._etag not in (None, etag) else NoRanges("it sends all or nothing")
        if not _STRONG.fullmatch(etag):
            raise NoRanges("it does not name versions")
        if self._etag not in (None, etag):
            raise Changed
        told = _RANGE.fullmatch(response.headers.get("content-range", ""))
        if told is None or response.headers.get("content-encoding", "identity") != "identity":
            raise NoRanges("it does not say which part it sends")
        begin, end, size = int(told[1]), int(told[2]) + 1, int(told[3])
        if begin != first or not first < end <= min(last, size):
            raise NoRanges("it sends another part than was asked for")
        if self._size not in (None, size):
            raise Changed
        self._etag, self._size = etag, size
        return end
