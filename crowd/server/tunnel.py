"""SSH tunnel hint: how to open a page on this machine's loopback address over SSH."""

from __future__ import annotations

import getpass
import ipaddress
import os
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

from .host_names import is_loopback

VARIABLE = "SSH_CONNECTION"
"""Set by sshd in a session: the client's address and port, then the server's."""


def is_remote(environment: Mapping[str, str] = os.environ) -> bool:
    """Say whether the person who runs this program sits at another machine."""
    return bool(environment.get(VARIABLE))


def tunnel_hint(url: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the command that makes `url` open on the person's own machine; "" if none is needed.

    None is needed outside of SSH, or if the page listens beyond loopback.
    """
    address = urlsplit(url)
    if not is_remote(environment) or address.port is None or not is_loopback(address.hostname or ""):
        return ""
    host = "[::1]" if ":" in (address.hostname or "") else "127.0.0.1"
    return (
        f"Over SSH: run  ssh -L {address.port}:{host}:{address.port} {_user()}@{_server(environment)}  "
        f"on your own machine, then open {url}"
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the user id has no name
        return "USER"


def _server(environment: Mapping[str, str]) -> str:
    """Return this machine's address as the person's SSH client reached it, else its name."""
    parts = environment[VARIABLE].split()
    try:
        address = ipaddress.ip_address(parts[2].partition("%")[0])
    except (IndexError, ValueError):
        return socket.gethostname()
    return str(address)
