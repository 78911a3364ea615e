"""Who signs the certificates of panels: read once a process, since it takes as long as a call."""

from __future__ import annotations

import ssl
from functools import lru_cache

import httpx


@lru_cache(maxsize=1)
def authorities() -> ssl.SSLContext:
    """Return what checks a server's certificate, as httpx does by default."""
    return httpx.create_ssl_context()
