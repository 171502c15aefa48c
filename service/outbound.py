"""Where this service may go when somebody else names the address: public hosts, and those the operator allowed.

A name is resolved once and judged by every address it has, so that one private address among public ones is refused.
This is asked when an archive is added. What is fetched later goes through ``pipelines.archives.download``, which checks
the address again before and after it connects and at every redirect, so that a name that changes its mind gains nothing.
"""

import socket
from collections.abc import Callable
from urllib.parse import urlsplit

from pipelines.addresses import is_public
from service.errors import AddressRefused

Resolver = Callable[[str, int], list[str]]


def resolve(host: str, port: int) -> list[str]:
    """Return every address of a host name.

    Raises
    ------
    AddressRefused : the name has none
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise AddressRefused(f"{host} has no address") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def check_address(url: str, allowed_hosts: frozenset[str], *, resolver: Resolver = resolve) -> list[str]:
    """Return the addresses a URL may be fetched from.

    Raises
    ------
    AddressRefused : credentials in the URL, no host, or a host with any address that is not public
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise AddressRefused("this is no address", pointer="/source") from error
    if parts.scheme not in {"http", "https"} or not host:
        raise AddressRefused("an address is http or https, with a host", pointer="/source")
    if parts.username is not None or parts.password is not None:
        raise AddressRefused("an address must not carry a user name or password", pointer="/source")
    addresses = resolver(host, port or (443 if parts.scheme == "https" else 80))
    if host.lower().rstrip(".") in allowed_hosts:
        return addresses
    if not addresses or not all(is_public(address) for address in addresses):
        raise AddressRefused(
            f"{host} lies on a private or local network; the operator may allow it (DEPOTWATCH_ALLOW_HOSTS)",
            pointer="/source",
        )
    return addresses
