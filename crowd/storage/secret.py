"""The one secret of a deployment: pseudonyms are made of it, and what browsers bring back is signed by it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from ...errors import TutelageError
from ...files.atomic_files import disk_errors, write_private
from ...files.bounded_files import read_bytes

FILE = "secret.key"
"""The file in a study's folder that holds the secret, readable by its owner alone."""
VARIABLE = "TUTELAGE_SECRET"
"""The environment variable that holds it instead, in hex: several machines must have the same one."""

_BYTES = 32
_LONGEST = 4096
"""Bytes that are read of a file which should hold 64 digits."""


class Secret:
    """32 random bytes, which show neither when printed nor in what is made of them."""

    def __init__(self, key: bytes) -> None:
        if len(key) != _BYTES:
            raise TutelageError(f"expected a secret of {_BYTES} bytes, got {len(key)}; let a new one be made")
        self._key = key

    @classmethod
    def load(cls, folder: Path) -> Secret:
        """Take the secret of the environment, else of the folder; a folder without one is given one.

        Raises TutelageError when neither can be read: without its secret a study does not know its people.
        """
        if written := os.environ.get(VARIABLE):
            return cls(_from_hex(written, VARIABLE))
        path = folder / FILE
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                write_private(path, f"{secrets.token_hex(_BYTES)}\n".encode())
            return cls(_from_hex(read_bytes(path, _LONGEST).decode("ascii", errors="replace"), str(path)))

    def pseudonym(self, source: str, external: str) -> str:
        """Return what a person is called here: the same for the same external id from the same source."""
        return f"person-{self._digest('pseudonym', source, external).hex()[:12]}"

    def sign(self, text: str, purpose: str) -> str:
        """Return `text.signature`; a signature for one purpose is worth nothing for another."""
        return f"{text}.{self._signature(text, purpose)}"

    def unsign(self, signed: str, purpose: str) -> str | None:
        """Return the text of what was signed here for this purpose; None for anything else. Constant time."""
        text, _, signature = signed.rpartition(".")
        expected = self._signature(text, purpose)
        given = signature.encode("utf-8", errors="surrogatepass")
        return text if hmac.compare_digest(given, expected.encode()) else None

    def number(self, *parts: object) -> int:
        """Return a number of 64 bits that is a function of the parts; nobody outside can foretell it."""
        return int.from_bytes(self._digest("number", *(str(part) for part in parts))[:8], "big")

    def _signature(self, text: str, purpose: str) -> str:
        return base64.urlsafe_b64encode(self._digest("sign", purpose, text)).decode().rstrip("=")

    def _digest(self, *parts: str) -> bytes:
        # each part with its length before it, so that no two lists of parts give the same bytes
        told = [part.encode("utf-8", errors="surrogatepass") for part in parts]
        message = b"".join(len(one).to_bytes(8, "big") + one for one in told)
        return hmac.digest(self._key, message, hashlib.sha256)


def has_secret(folder: Path) -> bool:
    """Say whether there is a secret to load, without making one."""
    return bool(os.environ.get(VARIABLE)) or (folder / FILE).is_file()


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
