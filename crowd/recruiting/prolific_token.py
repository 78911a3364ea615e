"""Verification of the signed `prolific_token` of Prolific's secure external URLs.

Checked, after docs.prolific.com, "Retrieve JSON Web Key Set": the signature (RS256, by the key of the set at
/.well-known/study/jwks.json that the token's `kid` names), `exp` and `iat`, that `aud` is this study's own
address, and that the claim `prolific` matches the address's parameters. Keys are cached for a day, as that
page asks; an unknown `kid` triggers another fetch, once a minute at most.

Not covered: `iss` and `sub`, which that page does not describe; whether a token was used before (it names the
same person each time, and expires); a stolen address, until it expires.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from ...errors import TutelageError
from .panels import AdmissionRefusal, Arrival, ProlificPanel

try:
    import httpx
    import jwt

    from .authorities import authorities
except ImportError as error:
    raise TutelageError(
        f"expected PyJWT and httpx for Prolific, got: {error}; pip install 'tutelage[study]'"
    ) from None

KEYS = "/.well-known/study/jwks.json"
DAY = 24 * 3600.0

_AGAIN = 60.0  # seconds between two fetches for an unknown key
_PORTS = {"http": 80, "https": 443}
_STANDARD = {"participant": "PROLIFIC_PID", "study": "STUDY_ID", "session": "SESSION_ID"}


class TokenVerifier:
    """Verifies tokens with Prolific's keys; `verifier.check` is a `Proof`.

    Blocks for the network when keys have to be fetched: call it from a worker thread. `lifetime` is how many
    seconds keys are valid; when Prolific cannot be reached they are valid for as long again. `leeway` is how
    many seconds two clocks may differ.
    """

    def __init__(
        self,
        prolific: ProlificPanel,
        *,
        lifetime: float = DAY,
        leeway: float = 30.0,
        timeout: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._prolific = prolific
        self._audience = _origin(prolific.audience)
        self._lifetime = lifetime
        self._leeway = leeway
        self._timeout = timeout
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = self._attempted = float("-inf")
        self._lock = threading.Lock()

    def check(self, arrival: Arrival) -> None:
        """Check that Prolific itself named this person, study and session; raises AdmissionRefusal."""
        claims = self.claims(arrival.token)
        claim = claims.get("prolific")
        if _origin(claims["aud"]) != self._audience or not isinstance(claim, Mapping):
            raise self._refusal("not-proven")
        for name, value in arrival.named.items():
            standard = _STANDARD.get(self._prolific.parameters[name])
            claimed = {str(claim[key]) for key in (name, standard) if key in claim}
            if claimed - {value} or (standard and not claimed):  # it need not contain custom names
                raise self._refusal("not-proven")

    def claims(self, token: str) -> dict[str, Any]:
        """Return the claims of a currently valid token of Prolific; raises AdmissionRefusal."""
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") != "RS256" or not isinstance(header.get("kid"), str):
                raise self._refusal("not-proven")
            return jwt.decode(
                token,
                self._key(header["kid"]),
                algorithms=["RS256"],
                leeway=self._leeway,
                options={"require": ["exp", "iat", "aud"], "verify_aud": False},
            )
        except AdmissionRefusal:
            raise
        except jwt.ExpiredSignatureError:
            raise self._refusal("expired") from None
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):  # the header is untrusted JSON
            raise self._refusal("not-proven") from None

    def _key(self, kid: str) -> jwt.PyJWK:
        if kid in self._keys and self._age() <= self._lifetime:
            return self._keys[kid]
        with self._lock:  # a thousand people at once make one request
            is_fresh = kid in self._keys and self._age() <= self._lifetime
            if not is_fresh and self._clock() - self._attempted >= _AGAIN:
                self._attempted = self._clock()
                self._fetch()
            if kid not in self._keys or self._age() > 2 * self._lifetime:
                raise self._refusal("not-now")
            return self._keys[kid]

    def _age(self) -> float:
        return self._clock() - self._fetched_at

    def _fetch(self) -> None:
        """Replace the keys by the set that Prolific publishes; on any failure they stay as they are."""
        try:
            answer = httpx.get(self._prolific.api + KEYS, timeout=self._timeout, verify=authorities())
            keys = dict(_signature_keys(answer.raise_for_status().json()["keys"]))
        except (httpx.HTTPError, ValueError, TypeError, KeyError, AttributeError):
            return
        if keys:
            self._keys = keys
            self._fetched_at = self._clock()

    def _refusal(self, reason: str) -> AdmissionRefusal:
        return AdmissionRefusal(reason, self._prolific.title)


def _signature_keys(keys: list[dict[str, Any]]) -> Iterator[tuple[str, jwt.PyJWK]]:
    """Yield the public RSA signature keys only: with a shared secret anyone could sign."""
    for key in keys:
        if (key.get("kty"), key.get("alg", "RS256"), key.get("use", "sig")) != ("RSA", "RS256", "sig"):
            continue
        with contextlib.suppress(
            jwt.PyJWTError, ValueError, TypeError, KeyError
        ):  # a single key may be invalid
            yield key["kid"], jwt.PyJWK(key, "RS256")


def _origin(address: object) -> tuple[str, str, int | None] | None:
    """Return scheme, host and port: a token's audience is the study's whole address, its path may differ."""
    if isinstance(address, list) and len(address) == 1:
        address = address[0]
    if not isinstance(address, str):
        return None
    try:
        parts: SplitResult = urlsplit(address if "//" in address else f"https://{address}")
        return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
