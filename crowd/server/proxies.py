"""Client address and scheme: `X-Forwarded-*` headers count only from named proxies."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from starlette.requests import HTTPConnection

from ...errors import TutelageError


def check_proxies(proxies: Sequence[str]) -> list[str]:
    """Return the values of `--proxy`; raises TutelageError for a value that is no address or network."""
    for text in proxies:
        try:
            ipaddress.ip_network(text)
        except ValueError:
            raise TutelageError(
                f"expected a proxy's IP address or network, such as 127.0.0.1 or 10.0.0.0/24, got {text!r}"
            ) from None
    return list(proxies)


def client_network(connection: HTTPConnection) -> str:
    """Return the origin of a connection for rate limits: an IPv4 address, or the /64 of an IPv6 address.

    One person has a whole /64, so its addresses count as one.
    """
    host = connection.client.host if connection.client else ""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
    return str(address)
