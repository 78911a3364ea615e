"""Who may see the dashboard: one random token of which only a hash is kept, and the sessions it opens."""

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
"""The file in a study's folder that holds the SHA-256 of the admin token, readable by its owner alone."""

VARIABLE = "TUTELAGE_ADMIN_TOKEN"
"""The environment variable that may hold the token itself: several servers must have the same one."""

SESSION_SECONDS = 12 * 3600
_PURPOSE, _CSRF = "admin", "admin csrf"
_SHORTEST = 32
_WRONG, _WRONG_SECONDS, _ADDRESSES = 8, 60.0, 4096


class Signer(Protocol):
    """What signs a text for a purpose, and knows its own signature again."""

    def sign(self, text: str, purpose: str) -> str: ...
    def unsign(self, signed: str, purpose: str) -> str | None: ...


def make_admin(folder: Path, new: bool = False) -> str | None:
    """Make the admin token of a study's folder; this is the only time that anybody sees it.

    Returns None when there is one already, or when the environment says which it is; `new` makes another,
    and whoever is signed in is signed out. Raises TutelageError when the folder cannot be written, or the
    environment's token is too short to be a secret.
    """
    path = folder / HASH
    given = os.environ.get(VARIABLE, "")
    if given and len(given) < _SHORTEST:
        raise TutelageError(
            f"expected at least {_SHORTEST} characters in {VARIABLE}, got {len(given)}; "
            "make some with: openssl rand -hex 32"
        )
    if path.exists() and not new and not given:
        return None
    token = given or secrets.token_urlsafe(32)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_private(path, _hash(token).encode(), replace=True)
    return None if given else token


@dataclass(frozen=True)
class AdminSession:
    """A signed-in browser: its own id, and the second at which it ends."""

    session: str
    until: float


class AdminToken:
    """Checks tokens, and makes and reads the cookies of those who are signed in.

    A browser that is not signed in has a cookie too, so that its sign-in carries a CSRF token as well.
    """

    def __init__(self, folder: Path, secret: Signer, clock: Callable[[], float] = time.time) -> None:
        self._path = folder / HASH
        self._secret = secret
        self._clock = clock
        # the same at every server of a study, and another for another study on this machine
        self.cookie = f"admin-{hashlib.sha256(secret.sign('name', 'admin cookie').encode()).hexdigest()[:8]}"

    def knows(self, token: str) -> bool:
        """Say whether this is the admin token, in constant time."""
        return hmac.compare_digest(_hash(token), self._hash())

    def visit(self) -> str:
        """Make the cookie of a browser that is not signed in."""
        return self._secret.sign(f"visit:{secrets.token_hex(8)}", _PURPOSE)

    def sign_in(self) -> str:
        """Make the cookie of a signed-in browser; it ends by itself, and with the token it was got by."""
        until = int(self._clock() + SESSION_SECONDS)
        return self._secret.sign(f"session:{secrets.token_hex(8)}:{until}:{self._hash()[:16]}", _PURPOSE)

    def session(self, cookie: str) -> AdminSession | None:
        """Return the session that a cookie stands for; None when it was not signed here, or is over."""
        parts = (self._secret.unsign(cookie, _PURPOSE) or "").split(":")
        if len(parts) != 4 or parts[0] != "session":
            return None
        _, session, until, token = parts
        if self._clock() >= int(until) or not hmac.compare_digest(token, self._hash()[:16]):
            return None
        return AdminSession(session, float(until))

    def is_ours(self, cookie: str) -> bool:
        """Say whether a cookie was made here: that of a session, or of a browser that is not signed in."""
        text = self._secret.unsign(cookie, _PURPOSE) or ""
        return text.startswith("visit:") or self.session(cookie) is not None

    def csrf(self, cookie: str) -> str:
        """Return the token that every POST of the browser with this cookie must carry."""
        return self._secret.sign(hashlib.sha256(cookie.encode()).hexdigest()[:32], _CSRF)

    def matches(self, cookie: str, token: str) -> bool:
        """Say whether a token is the one that goes with a cookie."""
        return hmac.compare_digest(self.csrf(cookie).encode(), token.encode())

    def _hash(self) -> str:
        """Read the hash anew each time: a token that was reset counts at once."""
        with contextlib.suppress(OSError):
            return self._path.read_text(encoding="ascii").strip()
        return secrets.token_hex(32)  # there is no token: nothing is equal to it


class FailedAttempts:
    """Counts wrong tokens by address; `wait` says how long an address must wait before it may try again."""

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
        """Note a wrong token. Addresses that were wrong longest ago are forgotten first."""
        self._wrong.setdefault(address, deque(maxlen=_WRONG)).append(self._clock())
        self._wrong.move_to_end(address)
        while len(self._wrong) > _ADDRESSES:
            self._wrong.popitem(last=False)


def _hash(token: str) -> str:
    """The token holds 256 random bits, so that a plain hash is as good as a slow one."""
    return hashlib.sha256(token.encode()).hexdigest()
