"""Serve a page's folder on an origin of its own: requests of a tab are answered here, or blocked.

Covers: every request of a tab that Chromium's DevTools intercept. No port is opened; files outside of the
folder, behind a link out of it, or not regular are not found. Does not cover: WebSocket, WebRTC and the
browser's own lookups, which are not intercepted; see CONTENT_POLICY, `wall.js` and the flags in `browser`.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import mimetypes
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from ...errors import TutelageError
from ...files.bounded_files import read_bytes
from .devtools import DevToolsCall, refuse

CONTENT_POLICY = "; ".join(
    (
        "default-src 'self' 'unsafe-inline' 'unsafe-eval'",
        *("img-src 'self' data: blob:", "media-src 'self' data: blob:", "font-src 'self' data:"),
        *(
            "worker-src 'none'",
            "object-src 'none'",
            "form-action 'none'",
            "base-uri 'self'",
            "webrtc 'block'",
        ),
    )
)
"""A page may load its own folder and data that it makes itself; no workers, plugins or form submissions."""
FILE_BYTES = 64 << 20
_CACHE_BYTES = 64 << 20
_NO_CONTENT = 204
"""Answer to a navigation that leads nowhere: the page stays."""


class _File(NamedTuple):
    version: tuple[int, int]
    body: str
    charset: str


class _Cache:
    """An LRU cache of files as base64, the form that DevTools take."""

    def __init__(self) -> None:
        self._files: OrderedDict[Path, _File] = OrderedDict()
        self._bytes = 0

    def read(self, path: Path) -> _File:
        """Read a regular file; raises OSError and TutelageError."""
        status = path.stat()
        version = (status.st_mtime_ns, status.st_size)
        held = self._files.get(path)
        if held is None or held.version != version:
            self._drop(path)
            data = read_bytes(path, FILE_BYTES)
            body = base64.b64encode(data).decode()
            held = self._files[path] = _File(version, body, _charset(data))
            self._bytes += len(body)
        self._files.move_to_end(path)
        while self._bytes > _CACHE_BYTES and len(self._files) > 1:
            self._drop(next(iter(self._files)))
        return held

    def _drop(self, path: Path) -> None:
        if (held := self._files.pop(path, None)) is not None:
            self._bytes -= len(held.body)


_cache = _Cache()


class Origin:
    """The private origin of one folder; `is_fixed`: its files never change while a browser runs.

    The scheme is plain http, so that pages lack the features of secure contexts: service workers,
    WebTransport, devices. Each folder has its own host name, so that folders share no storage.
    """

    def __init__(self, root: Path, is_fixed: bool = False) -> None:
        self._root = root
        self._host = f"{hashlib.blake2s(bytes(root), digest_size=10).hexdigest()}.invalid"
        self._caching = "max-age=86400" if is_fixed else "no-cache"

    def url(self, path: Path) -> str:
        """Return the address of a file in the folder."""
        return f"http://{self._host}/{quote(path.relative_to(self._root).as_posix())}"

    def answer(self, paused: Mapping[str, Any]) -> DevToolsCall:
        """Answer one request, the parameters of `Fetch.requestPaused`."""
        request = paused["requestId"]
        path = self._path(paused["request"]["url"])
        if path is not None and paused["request"]["method"] == "GET":
            with contextlib.suppress(OSError, TutelageError):
                return DevToolsCall("Fetch.fulfillRequest", self._response(request, path))
        if paused.get("resourceType") == "Document":
            return DevToolsCall("Fetch.fulfillRequest", {"requestId": request, "responseCode": _NO_CONTENT})
        return refuse(paused)

    def _path(self, url: str) -> Path | None:
        """Return the file for an address, which need not exist; None outside of the folder."""
        try:
            parts = urlsplit(url)
            if (parts.scheme, parts.netloc) != ("http", self._host):
                return None
            path = (self._root / unquote(parts.path, errors="strict").lstrip("/")).resolve()
        except (OSError, ValueError, RuntimeError):
            return None
        return path if path.is_relative_to(self._root) else None

    def _response(self, request: str, path: Path) -> dict[str, Any]:
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        file = _cache.read(path)
        headers = {
            "Content-Type": kind + (file.charset if kind.startswith("text/") else ""),
            "Content-Security-Policy": CONTENT_POLICY,
            "Cache-Control": self._caching,
            "X-DNS-Prefetch-Control": "off",
        }
        listed = [{"name": name, "value": value} for name, value in headers.items()]
        return {"requestId": request, "responseCode": 200, "responseHeaders": listed, "body": file.body}


def _charset(data: bytes) -> str:
    """Return a charset parameter if the data is valid UTF-8, as a browser detects for local files."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return ""
    return "; charset=utf-8"
