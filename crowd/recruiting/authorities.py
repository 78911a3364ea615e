"""Certificate authorities for requests to panels, loaded once per process: loading is as slow as a call."""

from __future__ import annotations

import ssl
from functools import lru_cache

import httpx


@lru_cache(maxsize=1)
def authorities() -> ssl.SSLContext:
    """Return the TLS context that verifies servers, as httpx builds it by default."""
    return httpx.create_ssl_context()
