"""The token in a recorder's link: clients on other machines need it for pages, seats and sockets."""

from __future__ import annotations

import hmac
import secrets
from urllib.parse import urlencode

from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, RedirectResponse, Response

from ..page_templates import refusal_page

PARAMETER = "token"
"""The parameter of the link with the token."""
_AGAIN = '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url=/"><title>…</title>'


class LinkToken:
    """One random token, made at each start. A browser that opened the link keeps it in a cookie."""

    def __init__(self, cookie: str) -> None:
        self._token = secrets.token_urlsafe(18)
        self._cookie = cookie

    def link(self, url: str) -> str:
        """Return the link that lets people in; `url` ends with a slash."""
        return f"{url}?{urlencode({PARAMETER: self._token})}"

    def check(self, connection: HTTPConnection) -> Response | None:
        """Return None for a client with the token, else a redirect or a refusal."""
        token = connection.query_params.get(PARAMETER, "")
        if connection.scope["type"] == "http" and token and self._matches(token):
            return self._set_token_cookie(connection)
        if self._matches(connection.cookies.get(self._cookie_name(connection), "")):
            return None
        return refusal_page(connection, "token", 403)

    def _set_token_cookie(self, connection: HTTPConnection) -> Response:
        """Move the token from the address into a cookie that no script can read and no other site can use."""
        response: Response
        if connection.headers.get("sec-fetch-site") == "cross-site":
            # a redirect from another site is followed without the cookie, a reload with it
            response = HTMLResponse(_AGAIN, headers={"Cache-Control": "no-store"})
        else:
            response = RedirectResponse("/", 303, headers={"Cache-Control": "no-store"})
        is_secure = connection.scope["scheme"] in ("https", "wss")
        response.set_cookie(
            self._cookie_name(connection), self._token, httponly=True, samesite="strict", secure=is_secure
        )
        return response

    def _cookie_name(self, connection: HTTPConnection) -> str:
        return host_cookie(connection, self._cookie)

    def _matches(self, token: str) -> bool:
        return hmac.compare_digest(token.encode("utf-8", "surrogatepass"), self._token.encode())


def host_cookie(connection: HTTPConnection, name: str) -> str:
    """Return a cookie's name; over HTTPS its prefix ensures that only this host, over HTTPS, has set it."""
    return f"__Host-{name}" if connection.scope["scheme"] in ("https", "wss") else name
