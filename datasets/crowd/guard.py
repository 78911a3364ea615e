"""Who may talk to the recorder: our own pages, under our own name, with nothing of others in them."""

from __future__ import annotations

from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_OURS = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self' ws://{host} wss://{host}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_EXTRA = (
    "sandbox allow-scripts allow-downloads allow-top-navigation-by-user-activation; default-src 'none'; "
    "script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:"
)
"""Extra pages hold their own script and style; the sandbox keeps them from speaking for the person."""


class Guard:
    """Wraps an application; refuses foreign hosts (DNS rebinding) and foreign origins on the socket.

    `extra` are the paths of extra pages, `names` by what other names people reach it, behind a proxy say.
    """

    def __init__(self, app: ASGIApp, host: str, extra: set[str], names: Collection[str] = ()) -> None:
        self._app = app
        self._names = {*_LOOPBACK, *names} if host in _LOOPBACK else None
        self._extra = extra

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._names is not None and _name(host) not in self._names:
            await _refuse(f"expected a local host name, got {host[:80]!r}", scope, receive, send)
        elif scope["type"] == "websocket" and headers.get("origin") not in (
            f"http://{host}",
            f"https://{host}",
        ):
            await _refuse("expected a page of this recorder", scope, receive, send)
        else:
            await self._app(scope, receive, self._with_headers(scope, host, send))

    def _with_headers(self, scope: Scope, host: str, send: Send) -> Send:
        policy = _EXTRA if scope["path"] in self._extra else _OURS.format(host=host)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = policy
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
                headers.setdefault("Cache-Control", "no-cache")
            await send(message)

        return sending


def _name(host: str) -> str:
    """Return the name in a Host header, without port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


async def _refuse(why: str, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": why})
    else:
        await PlainTextResponse(why, 400)(scope, receive, send)
