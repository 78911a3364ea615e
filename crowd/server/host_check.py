"""Checks of every request: host name and origin, and the content security policy of every answer."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from ..page_templates import refusal_page
from .host_names import AllowedHosts
from .link_token import LinkToken

_CLOSED = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_OURS = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'{sockets}; "
    + _CLOSED
)
_EXTRA = (
    "sandbox allow-scripts allow-downloads allow-top-navigation-by-user-activation; default-src 'none'; "
    "script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; " + _CLOSED
)
"""Extra pages contain their own script and style; the sandbox keeps them from acting for the person."""
_UNUSED = (
    *("accelerometer", "autoplay", "browsing-topics", "camera", "clipboard-read"),
    *("display-capture", "encrypted-media", "fullscreen", "gamepad", "geolocation", "gyroscope", "hid"),
    *("identity-credentials-get", "idle-detection", "local-fonts", "magnetometer", "microphone", "midi"),
    *("otp-credentials", "payment", "picture-in-picture", "publickey-credentials-create"),
    *("publickey-credentials-get", "screen-wake-lock", "serial", "storage-access", "sync-xhr", "usb"),
    *("window-management", "xr-spatial-tracking"),
)
_PERMISSIONS = ", ".join([*(f"{name}=()" for name in _UNUSED), "clipboard-write=(self)"])

FIXED_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": _PERMISSIONS,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
"""Headers of every answer."""
STRICTEST_POLICY = _OURS.format(sockets="")
"""The content policy of answers that belong to no page of ours."""

_OPEN_FILES = ("/static/style.css", "/static/icon.svg")
"""Files that a refusal page needs; they contain no personal data."""
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class HostCheck:
    """Wraps an application; refuses foreign host names (DNS rebinding) and requests of other sites' pages.

    `extra` are the paths of extra pages. `machines` are paths that programs post to, which have no origin and
    authenticate otherwise. `link` is the token that must have come in the link, if any.
    """

    def __init__(
        self,
        app: ASGIApp,
        hosts: AllowedHosts,
        extra: Collection[str] = (),
        machines: Collection[str] = (),
        link: LinkToken | None = None,
    ) -> None:
        self._app = app
        self._hosts = hosts
        self._extra = frozenset(extra)
        self._machines = frozenset(machines)
        self._link = link

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        host = connection.headers.get("host", "")
        origins = self._hosts.origins(host, (scope.get("server") or ("",))[0])
        if origins and self._hosts.scheme(host) == "https":
            scope["scheme"] = "wss" if scope["type"] == "websocket" else "https"
        policy = _OURS.format(sockets=f" ws://{host} wss://{host}") if origins else STRICTEST_POLICY
        if scope["path"] in self._extra:
            policy = _EXTRA
        refusal = self._refusal(connection, host, origins)
        if refusal is None:
            try:
                await self._app(scope, receive, _with_headers(scope, policy, send))
            except WebSocketDisconnect:  # a peer may disconnect at any time
                pass
            except asyncio.CancelledError:  # the server stops, and has waited for as long as it does
                if scope["type"] != "websocket":
                    raise
        elif scope["type"] == "websocket":
            await _refuse_socket(refusal, scope, receive, _with_headers(scope, policy, send))
        else:
            await refusal(scope, receive, _with_headers(scope, policy, send))

    def _refusal(self, connection: HTTPConnection, host: str, origins: tuple[str, ...]) -> Response | None:
        """Return the refusal of a request; None if the application may answer."""
        scope = connection.scope
        is_socket = scope["type"] == "websocket"
        if not is_socket and scope["path"] in _OPEN_FILES and scope["method"] in _SAFE_METHODS:
            return None
        if not origins:
            return refusal_page(connection, "host", 400, host=_printable(host))
        origin = connection.headers.get("origin")
        is_needed = is_socket or scope["method"] not in _SAFE_METHODS
        if origin is None and is_needed and scope["path"] not in self._machines:
            return refusal_page(connection, "origin", 403)
        if origin is not None and origin not in origins:
            return refusal_page(connection, "origin", 403)
        return self._link.check(connection) if self._link is not None else None


def _with_headers(scope: Scope, policy: str, send: Send) -> Send:
    is_sandboxed = policy is _EXTRA

    async def send_with_headers(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            headers = MutableHeaders(raw=message.setdefault("headers", []))
            for name, value in FIXED_HEADERS.items():
                headers[name] = value
            headers["Content-Security-Policy"] = policy
            if is_sandboxed:  # browsers refuse a sandboxed page that also asks for its own opener group
                headers["Cross-Origin-Opener-Policy"] = "unsafe-none"
            headers.setdefault("Cache-Control", "no-cache")
        await send(message)

    return send_with_headers


async def _refuse_socket(refusal: Response, scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    start = {"status": refusal.status_code, "headers": list(refusal.raw_headers)}
    await send({"type": "websocket.http.response.start", **start})
    await send({"type": "websocket.http.response.body", "body": bytes(refusal.body), "more_body": False})


def _printable(host: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in host[:80]) or "-"
