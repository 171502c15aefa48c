"""Which IP addresses lie on the public internet, however they are dressed.

Source: RFC 6890 (special-purpose addresses, as Python's ``ipaddress`` knows them), RFC 4291, RFC 6052 (NAT64).
"""

import ipaddress

# All that is handed out for use on the internet; what lies outside is local, retired or has no use yet.
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
# A network without IPv4 reaches IPv4 hosts under these: the last 32 bits are the address that is meant.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Tell whether an IP address lies on the public internet, looking through v4 addresses written as v6.

    Raises
    ------
    ValueError : no IP address
    """
    ip = ipaddress.ip_address(address.split("%", maxsplit=1)[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = _inside(ip)
        if inner is not None:
            return is_public(str(inner))
        if ip not in _GLOBAL_UNICAST:
            return False
    return ip.is_global and not ip.is_multicast


def _inside(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
