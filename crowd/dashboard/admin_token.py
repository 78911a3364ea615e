"""Dashboard sign-in: one random admin token, of which only a hash is stored, and its sessions."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ...errors import TutelageError
from ...files.atomic_files import disk_errors, write_private

HASH = "admin.hash"
"""The file in a study's folder with the SHA-256 of the admin token, readable by its owner only."""

VARIABLE = "TUTELAGE_ADMIN_TOKEN"
"""The environment variable that may hold the token itself; all servers of a study need the same one."""

SESSION_SECONDS = 12 * 3600
_PURPOSE, _CSRF = "admin", "admin csrf"
_SHORTEST = 32
_WRONG, _WRONG_SECONDS, _ADDRESSES = 8, 60.0, 4096


class Signer(Protocol):
    """Signs a text for a purpose, and verifies its own signatures."""

    def sign(self, text: str, purpose: str) -> str: ...
    def unsign(self, signed: str, purpose: str) -> str | None: ...


def make_admin(folder: Path, new: bool = False) -> str | None:
    """Make the admin token of a study's folder; it is never shown again.

    Returns None when there is one already, or when the environment sets it; `new` makes another and signs
    everyone out. Raises TutelageError when the folder cannot be written, or when the environment's token is
    too short to be a secret.
    """
    path = folder / HASH
    set_token = os.environ.get(VARIABLE, "")
    if set_token and len(set_token) < _SHORTEST:
        raise TutelageError(
            f"expected at least {_SHORTEST} characters in {VARIABLE}, got {len(set_token)}; "
            "make some with: openssl rand -hex 32"
        )
    if path.exists() and not new and not set_token:
        return None
    token = set_token or secrets.token_urlsafe(32)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_private(path, _hash(token).encode(), replace=True)
    return None if set_token else token


@dataclass(frozen=True)
class AdminSession:
    """A signed-in browser: its session id, and its end in seconds since 1970."""

    session: str
    until: float


class AdminToken:
    """Checks tokens, and makes and reads session cookies.

    A browser that is not signed in has a cookie too, so that its sign-in also carries a CSRF token.
    """

    def __init__(self, folder: Path, secret: Signer, clock: Callable[[], float] = time.time) -> None:
        self._path = folder / HASH
        self._secret = secret
        self._clock = clock
        # the same on every server of a study, different for each study on this machine
        self.cookie = f"admin-{hashlib.sha256(secret.sign('name', 'admin cookie').encode()).hexdigest()[:8]}"

    def knows(self, token: str) -> bool:
        """Say whether this is the admin token, in constant time."""
        return hmac.compare_digest(_hash(token), self._hash())

    def visit(self) -> str:
        """Make the cookie of a browser that is not signed in."""
        return self._secret.sign(f"visit:{secrets.token_hex(8)}", _PURPOSE)

    def sign_in(self) -> str:
        """Make the cookie of a signed-in browser; it expires, and becomes invalid with a new admin token."""
        until = int(self._clock() + SESSION_SECONDS)
        return self._secret.sign(f"session:{secrets.token_hex(8)}:{until}:{self._hash()[:16]}", _PURPOSE)

    def session(self, cookie: str) -> AdminSession | None:
        """Return the session of a cookie; None when it was not signed here, or has expired."""
        parts = (self._secret.unsign(cookie, _PURPOSE) or "").split(":")
        if len(parts) != 4 or parts[0] != "session":
            return None
        _, session, until, token = parts
        if self._clock() >= int(until) or not hmac.compare_digest(token, self._hash()[:16]):
            return None
        return AdminSession(session, float(until))

    def is_ours(self, cookie: str) -> bool:
        """Say whether a cookie was made here, for a session or for a browser that is not signed in."""
        text = self._secret.unsign(cookie, _PURPOSE) or ""
        return text.startswith("visit:") or self.session(cookie) is not None

    def csrf(self, cookie: str) -> str:
        """Return the token that every POST of the browser with this cookie must carry."""
        return self._secret.sign(hashlib.sha256(cookie.encode()).hexdigest()[:32], _CSRF)

    def matches(self, cookie: str, token: str) -> bool:
        """Say whether a CSRF token belongs to a cookie."""
        return hmac.compare_digest(self.csrf(cookie).encode(), token.encode())

    def _hash(self) -> str:
        """Read the hash from disk on every call: a new token is effective at once."""
        with contextlib.suppress(OSError):
            return self._path.read_text(encoding="ascii").strip()
        return secrets.token_hex(32)  # there is no token: return a hash that equals nothing


class FailedAttempts:
    """Counts wrong tokens per address; `wait` returns how long an address is blocked."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    def wait(self, address: str) -> float:
        """Return the seconds until this address may try again; 0 when it may now."""
        times = self._wrong.get(address)
        if times is None:
            return 0.0
        while times and times[0] <= self._clock() - _WRONG_SECONDS:
            times.popleft()
        return times[0] + _WRONG_SECONDS - self._clock() if len(times) >= _WRONG else 0.0

    def wrong(self, address: str) -> None:
        """Record a wrong token. The addresses with the oldest failures are dropped first."""
        self._wrong.setdefault(address, deque(maxlen=_WRONG)).append(self._clock())
        self._wrong.move_to_end(address)
        while len(self._wrong) > _ADDRESSES:
            self._wrong.popitem(last=False)


def _hash(token: str) -> str:
    """Return the SHA-256 of a token: with 256 random bits, a plain hash is as good as a slow one."""
    return hashlib.sha256(token.encode()).hexdigest()
