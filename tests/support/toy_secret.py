"""A deployment's secret for tests: real signatures, under a key that everybody knows."""

from __future__ import annotations

import hashlib
import hmac


class ToySecret:
    def __init__(self, key: bytes = b"key") -> None:
        self._key = key

    def pseudonym(self, source: str, external: str) -> str:
        return "person-" + self._mac(f"pseudonym {source} {external}")[:12]

    def sign(self, text: str, purpose: str) -> str:
        return f"{text}.{self._mac(f'{purpose} {text}')}"

    def unsign(self, signed: str, purpose: str) -> str | None:
        text = signed.rpartition(".")[0]
        return text if hmac.compare_digest(self.sign(text, purpose).encode(), signed.encode()) else None

    def _mac(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()
