"""How a delivery is signed, as Standard Webhooks say, and how it is sent without being led astray.

A secret is never stored: it is computed from the service's own secret, the subscription and a counter that rotation
turns. For a day after a rotation both secrets sign, so that a receiver can change over without missing anything.

The address is resolved and judged anew at every attempt and the connection goes to the very address that was judged,
so a name that changes its mind between check and connection gains nothing. Redirects are not followed, answers are not read.

Source: the Standard Webhooks specification 1.0.0, standardwebhooks.com.
"""

import base64
import contextlib
import hashlib
import hmac
import http.client
import socket
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from service.errors import AddressRefused
from service.outbound import Resolver, check_address, resolve

SECRET_PREFIX = "whsec_"
BOTH_SIGN_S = 86_400.0
MAX_RETRY_AFTER_S = 86_400.0
USER_AGENT = "depotwatch-webhooks"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt went: HTTP status, or None where there was no answer; a sentence; what the receiver asked for."""

    status: int | None
    detail: str
    retry_after_s: float = 0.0

    @property
    def delivered(self) -> bool:
        """Whether the receiver took it."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        """Whether the receiver wants nothing any more."""
        return self.status == http.client.GONE


def secret_of(service_secret: bytes, subscription: str, version: int) -> str:
    """Return a subscription's secret as receivers are given it."""
    told = f"webhook:{subscription}:{version}".encode()
    made = hmac.new(service_secret, told, hashlib.sha256).digest()
    return SECRET_PREFIX + base64.b64encode(made).decode()


def sign(secrets: Sequence[str], message: str, timestamp: int, body: bytes) -> str:
    """Return the ``webhook-signature`` header: one signature for every secret that is valid."""
    signed = f"{message}.{timestamp}.".encode() + body
    made = []
    for secret in secrets:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
        made.append("v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode())
    return " ".join(made)


def check_target(url: str, allowed_hosts: frozenset[str], *, resolver: Resolver = resolve) -> list[str]:
    """Return the addresses a webhook may be sent to.

    Raises
    ------
    AddressRefused : see ``service.outbound``; also http to a host the operator did not allow by name
    """
    try:
        addresses = check_address(url, allowed_hosts, resolver=resolver)
    except AddressRefused as error:
        error.pointer = "/url"
        raise
    parts = urlsplit(url)
    if parts.scheme != "https" and (parts.hostname or "").lower() not in allowed_hosts:
        raise AddressRefused("a webhook goes over https", pointer="/url")
    return addresses


class _ToAddress(http.client.HTTPConnection):
    """Connects to the first address that answers of those that were judged, whatever the name resolves to by now."""

    def __init__(
        self, host: str, port: int, addresses: Sequence[str], timeout_s: float, tls: ssl.SSLContext | None
    ) -> None:
        super().__init__(host, port, timeout=timeout_s)
        # Some receivers know themselves only without the port that https implies.
        self.default_port = 443 if tls else 80
        self._addresses, self._tls = addresses, tls

    def connect(self) -> None:
        """Connect, and speak TLS under the host's name."""
        made = self._reached()
        made.settimeout(self.timeout)
        self.sock = made if self._tls is None else self._tls.wrap_socket(made, server_hostname=self.host)

    def _reached(self) -> socket.socket:
        for address in self._addresses[:-1]:
            with contextlib.suppress(OSError):
                return socket.create_connection((address, self.port), self._share_s)
        return socket.create_connection((self._addresses[-1], self.port), self._share_s)

    @property
    def _share_s(self) -> float:
        """A host half of whose addresses are dead must leave time for the others."""
        return float(self.timeout or 0.0) / len(self._addresses)


def send(
    url: str,
    headers: dict[str, str],
    body: bytes,
    allowed_hosts: frozenset[str],
    *,
    timeout_s: float,
    resolver: Resolver = resolve,
) -> Outcome:
    """Send one attempt; whatever happens is an outcome, never an exception."""
    try:
        addresses = check_target(url, allowed_hosts, resolver=resolver)
    except AddressRefused as error:
        return Outcome(None, f"{error.code}: {error.detail}")
    parts = urlsplit(url)
    tls = ssl.create_default_context() if parts.scheme == "https" else None
    port = parts.port or (443 if tls else 80)
    connection = _ToAddress(str(parts.hostname), port, addresses, timeout_s, tls)
    # A socket's own timeout starts anew with every byte that drips in; this one does not.
    ended = threading.Event()
    deadline = threading.Timer(timeout_s, _cut, (connection, ended))
    deadline.daemon = True
    deadline.start()
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", target, body, {**headers, "User-Agent": USER_AGENT})
        response = connection.getresponse()
        if ended.is_set():  # cut off in the middle of the headers, which reads as their end
            raise TimeoutError
        return _outcome(response.status, response.getheader("retry-after", ""))
    except (OSError, http.client.HTTPException, ValueError) as error:
        if ended.is_set() or isinstance(error, TimeoutError):
            return Outcome(None, f"no answer within {timeout_s:g} s")
        return Outcome(None, f"no answer: {type(error).__name__}")
    finally:
        deadline.cancel()
        connection.close()


def _cut(connection: _ToAddress, ended: threading.Event) -> None:
    ended.set()
    sock = connection.sock
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def _outcome(status: int, retry_after: str) -> Outcome:
    wait_s = min(float(retry_after), MAX_RETRY_AFTER_S) if retry_after.isdecimal() else 0.0
    if 300 <= status < 400:
        return Outcome(status, f"HTTP {status}: redirects are not followed", wait_s)
    return Outcome(status, f"HTTP {status}", wait_s)
