"""A picture as few bytes, without loss and without waiting."""

from __future__ import annotations

import io
import struct
import time

import numpy as np
from PIL import Image

PNG, WEBP = 1, 2
HEADER = struct.Struct("<BxHHxxI")
"""format, width, height, frame number: little-endian, 12 bytes, before the image file itself."""

_WAYS = ((WEBP, 1), (WEBP, 0), (PNG, 1))
"""Formats with their effort: the first is best where colours are few, the others for textures."""
_SECONDS_A_BYTE = 1e-7  # a line of 80 Mbit/s


class Encoder:
    """Encodes the frames of one task; several threads may use it.

    The first frame is encoded in every way; the one that costs least, its own time and that of the
    line together, is kept for all others.
    """

    def __init__(self) -> None:
        self._way: tuple[int, int] | None = None

    def encode(self, image: np.ndarray) -> tuple[int, bytes]:
        """Return the format (PNG or WEBP) and the file for a uint8 `[H, W, 3]` picture."""
        picture = Image.fromarray(np.ascontiguousarray(image[..., :3], dtype=np.uint8))
        if self._way is None:
            self._way = min(_WAYS, key=lambda way: _cost(picture, *way))
        return self._way[0], _save(picture, *self._way)


def pack(kind: int, image: bytes, shape: tuple[int, ...], number: int) -> bytes:
    """Put the header before an encoded frame. Frame `number` shows the state after so many steps."""
    return HEADER.pack(kind, shape[1], shape[0], number) + image


def unpack(message: bytes) -> tuple[int, int, int, int, bytes]:
    """Return format, width, height, frame number and the image file: the inverse of `pack`."""
    kind, width, height, number = HEADER.unpack_from(message)
    return kind, width, height, number, message[HEADER.size :]


def _cost(picture: Image.Image, kind: int, effort: int) -> float:
    """Return the seconds that a frame takes to encode, once warm, and to send."""
    size = len(_save(picture, kind, effort))
    began = time.thread_time()
    _save(picture, kind, effort)
    return time.thread_time() - began + size * _SECONDS_A_BYTE


def _save(picture: Image.Image, kind: int, effort: int) -> bytes:
    out = io.BytesIO()
    if kind == PNG:
        picture.save(out, "PNG", compress_level=effort)
    else:
        picture.save(out, "WEBP", lossless=True, exact=True, quality=0, method=effort)
    return out.getvalue()
