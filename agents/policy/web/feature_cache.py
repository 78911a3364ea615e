"""A cache of page features that is bounded in bytes: features are needed again in every epoch."""

from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

Features = TypeVar("Features")


class FeatureCache(Generic[Features]):
    """Results of a function of two texts, up to `most` bytes of memory.

    Texts are kept as digests. A full cache gives up entries at random: an epoch reads every page once, so
    giving up the least recently read would never leave one that is read again.
    """

    def __init__(self, compute: Callable[[str, str], Features], most: Callable[[], int]) -> None:
        self._compute, self._most = compute, most
        self._limit: int | None = None
        self._entries: dict[bytes, tuple[Features, int]] = {}
        self._keys: list[bytes] = []
        self._lock = threading.Lock()
        self.bytes = 0
        """What the entries take, in bytes."""

    def __call__(self, instruction: str, document: str) -> Features:
        """Return the features of two texts, computed or as computed before."""
        text = f"{instruction}\0{document}".encode("utf-8", "surrogatepass")
        key = hashlib.blake2b(text, digest_size=16).digest()
        if (entry := self._entries.get(key)) is not None:
            return entry[0]
        features = self._compute(instruction, document)
        self._add(key, features, _size(features))
        return features

    def _add(self, key: bytes, features: Features, size: int) -> None:
        with self._lock:
            if self._limit is None:
                self._limit = self._most()
            if key in self._entries or size > self._limit:
                return
            while self.bytes + size > self._limit:
                # the digest of the new entry is as good as a random number
                index = int.from_bytes(key[:8], "little") % len(self._keys)
                self._keys[index], last = self._keys[-1], self._keys[index]
                self._keys.pop()
                self.bytes -= self._entries.pop(last)[1]
            self._entries[key] = features, size
            self._keys.append(key)
            self.bytes += size


def _size(value: Any) -> int:
    """Return the bytes of an object, of what its attributes hold, and of its entry."""
    parts = [_size(part) for part in vars(value).values()] if hasattr(value, "__dict__") else [100]
    return sys.getsizeof(value) + sum(parts)
