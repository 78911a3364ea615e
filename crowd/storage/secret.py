"""The secret of a deployment: the source of pseudonyms, and the key of signed cookies."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from itsdangerous import BadSignature, Signer

from ...errors import TutelageError
from ...files.atomic_files import disk_errors, write_private
from ...files.bounded_files import read_bytes

FILE = "secret.key"
"""The file in a study's folder with the secret, readable by its owner only."""
VARIABLE = "TUTELAGE_SECRET"
"""The environment variable with the secret in hex; it takes precedence; several machines must share it."""

_BYTES = 32
_LONGEST = 4096
"""Bytes that are read of a file that should have 64 digits."""


class Secret:
    """32 random bytes that appear neither when printed nor in derived values."""

    def __init__(self, key: bytes) -> None:
        if len(key) != _BYTES:
            raise TutelageError(f"expected a secret of {_BYTES} bytes, got {len(key)}; let a new one be made")
        self._key = key

    @classmethod
    def load(cls, folder: Path) -> Secret:
        """Load the secret of the environment, else of the folder; one is made in a folder without one.

        Raises TutelageError when neither can be read: without its secret a study does not know its people.
        """
        if hex_text := os.environ.get(VARIABLE):
            return cls(_from_hex(hex_text, VARIABLE))
        path = folder / FILE
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                write_private(path, f"{secrets.token_hex(_BYTES)}\n".encode())
            return cls(_from_hex(read_bytes(path, _LONGEST).decode("ascii", errors="replace"), str(path)))

    def pseudonym(self, source: str, external: str) -> str:
        """Return a person's pseudonym: the same for the same external id from the same source."""
        return f"person-{self._digest('pseudonym', source, external).hex()[:12]}"

    def sign(self, text: str, purpose: str) -> str:
        """Return `text.signature`; a signature for one purpose is invalid for another."""
        return _to_text(self._signer(purpose).sign(_to_bytes(text)))

    def unsign(self, signed: str, purpose: str) -> str | None:
        """Return the text of what was signed here for this purpose; None for anything else. Constant time."""
        signer, signed_bytes = self._signer(purpose), _to_bytes(signed)
        try:
            text = signer.unsign(signed_bytes)
        except BadSignature:
            return None
        # Base64 is decoded leniently: other spellings of a valid signature pass `unsign`
        return _to_text(text) if signer.sign(text) == signed_bytes else None

    def number(self, *parts: object) -> int:
        """Return a 64-bit number that is a function of the parts, unpredictable without the secret."""
        return int.from_bytes(self._digest("number", *(str(part) for part in parts))[:8], "big")

    def _signer(self, purpose: str) -> Signer:
        return Signer(self._key, salt=_to_bytes(purpose), key_derivation="hmac", digest_method=hashlib.sha256)

    def _digest(self, *parts: str) -> bytes:
        # each part with its length before it, so that no two lists of parts give the same bytes
        encoded = [_to_bytes(part) for part in parts]
        message = b"".join(len(part).to_bytes(8, "big") + part for part in encoded)
        return hmac.digest(self._key, message, hashlib.sha256)


def has_secret(folder: Path) -> bool:
    """Say whether there is a secret to load, without making one."""
    return bool(os.environ.get(VARIABLE)) or (folder / FILE).is_file()


def _to_bytes(text: str) -> bytes:
    return text.encode("utf-8", errors="surrogatepass")


def _to_text(encoded: bytes) -> str:
    return encoded.decode("utf-8", errors="surrogatepass")


def _from_hex(text: str, where: str) -> bytes:
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != _BYTES:
        raise TutelageError(
            f"expected {2 * _BYTES} hexadecimal digits in {where}, got something else; put the old secret "
            "back: with a new one, the study's people are strangers"
        )
    return key
