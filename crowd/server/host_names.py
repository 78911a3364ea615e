"""The host names that a server answers to: loopback, its own IP addresses, or a named address."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from ...errors import TutelageError

_HOST = re.compile(r"(?:([A-Za-z0-9._-]+)|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{1,5}))?")
_PORTS = {"http": 80, "https": 443}
_LONGEST = 260


@dataclass(frozen=True)
class PublicAddress:
    """The public address of a server, such as https://study.example.org."""

    scheme: str
    host: str
    port: int

    @property
    def origin(self) -> str:
        """The origin as browsers write it: without a default port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == _PORTS[self.scheme] else f":{self.port}")


def parse_address(text: str) -> PublicAddress:
    """Read the value of `--address`: scheme, host and optional port; raises TutelageError otherwise."""
    try:
        parts = urlsplit(text.strip())
        host = (parts.hostname or "").encode("idna").decode() if ":" not in (parts.hostname or "") else ""
        host = host or (parts.hostname or "")
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:  # an invalid port or host name
        parts, host, port = urlsplit(""), "", 0
    is_bare = parts.path in ("", "/") and not parts.query and not parts.fragment and "@" not in parts.netloc
    if parts.scheme not in _PORTS or not is_bare or _split(f"[{host}]" if ":" in host else host) is None:
        raise TutelageError(
            f"expected an address such as https://study.example.org, with nothing after the name and port, "
            f"got {text!r}"
        )
    return PublicAddress(parts.scheme, host.lower(), port)


class AllowedHosts:
    """Decides which `Host` headers are answered: any other name may be an attacker's (DNS rebinding).

    Loopback is always allowed. With an address, its name and port are allowed, and no other; without one, the
    IP address that the connection was made to.
    """

    def __init__(self, address: str = "") -> None:
        self.address = parse_address(address) if address else None

    @property
    def is_public(self) -> bool:
        """Whether people reach the server under a name that is not this machine's loopback."""
        return self.address is not None and not is_loopback(self.address.host)

    def origins(self, header: str, local: str) -> tuple[str, ...]:
        """Return the origins of the pages of a `Host` header; none if the header is refused.

        `local` is the IP address of this machine that the connection was made to.
        """
        parts = _split(header)
        if parts is None:
            return ()
        name, port = parts
        address = self.address
        if address is not None and name == address.host and (port or _PORTS[address.scheme]) == address.port:
            return (address.origin,)
        if is_loopback(name) or (address is None and _is_same_ip(name, local)):
            return f"http://{header.lower()}", f"https://{header.lower()}"
        return ()

    def scheme(self, header: str) -> str:
        """Return the scheme of the named address if a `Host` header matches it, else ""."""
        origins = self.origins(header, "")
        return self.address.scheme if self.address and origins == (self.address.origin,) else ""


def is_loopback(host: str) -> bool:
    """Say whether a host name or address means this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _split(header: str) -> tuple[str, int | None] | None:
    """Split a `Host` header into its lower-case name and its port; None if it is invalid."""
    match = _HOST.fullmatch(header) if len(header) <= _LONGEST else None
    if match is None or (port := int(match[3] or 0)) > 65535:
        return None
    return (match[1] or match[2]).lower(), port or None


def _is_same_ip(name: str, local: str) -> bool:
    try:
        ip, local_ip = ipaddress.ip_address(name), ipaddress.ip_address(local.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(local_ip, "ipv4_mapped", None)
    return ip in (local_ip, mapped)
