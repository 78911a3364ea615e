"""Lossless, fast encoding of pictures."""

from __future__ import annotations

import io
import struct
import time
from typing import NamedTuple

import numpy as np
from PIL import Image

PNG, WEBP, TILES, SHAPES, TEXT = 1, 2, 3, 4, 5
"""Kinds of picture data.

An image file, tiles of a grid (see `envs.grid.tile_atlas`), shapes (see `envs.vector_graphics`), or lines of
UTF-8 text with terminal colors.
"""

HEADER = struct.Struct("<BxHHxxII")
"""Kind, width, height, number of the step, number of the last step on disk: little-endian, 16 bytes."""

_FORMATS = ((WEBP, 1), (WEBP, 0), (PNG, 1))
"""Formats with their effort: the first is best for few colors, the others for textures."""
_SECONDS_A_BYTE = 1e-7  # a line of 80 Mbit/s


class Picture(NamedTuple):
    """A picture ready to be sent: its kind, its size in pixels and its bytes."""

    kind: int
    width: int
    height: int
    data: bytes


class Encoder:
    """Encodes the frames of one task; several threads may use it.

    The first frame is encoded in every format; the cheapest, by encoding time plus transfer time, is used for
    all others.
    """

    def __init__(self) -> None:
        self._format: tuple[int, int] | None = None

    def encode(self, image: np.ndarray) -> Picture:
        """Return a uint8 `[H, W, 3]` picture as a PNG or WEBP file."""
        picture = Image.fromarray(np.ascontiguousarray(image[..., :3], dtype=np.uint8))
        if self._format is None:
            self._format = min(_FORMATS, key=lambda format_: _cost(picture, *format_))
        return Picture(self._format[0], image.shape[1], image.shape[0], _save(picture, *self._format))


def pack(picture: Picture, number: int, saved: int) -> bytes:
    """Prepend the header to a picture of the state after `number` steps, `saved` of them on disk."""
    return HEADER.pack(picture.kind, picture.width, picture.height, number, saved) + picture.data


def unpack(message: bytes) -> tuple[Picture, int, int]:
    """Return the picture, its step and the last step on disk: the inverse of `pack`."""
    kind, width, height, number, saved = HEADER.unpack_from(message)
    return Picture(kind, width, height, message[HEADER.size :]), number, saved


def _cost(picture: Image.Image, kind: int, effort: int) -> float:
    """Return the seconds to encode a frame, after a warm-up, and to send it."""
    size = len(_save(picture, kind, effort))
    began = time.thread_time()
    _save(picture, kind, effort)
    return time.thread_time() - began + size * _SECONDS_A_BYTE


def _save(picture: Image.Image, kind: int, effort: int) -> bytes:
    buffer = io.BytesIO()
    if kind == PNG:
        picture.save(buffer, "PNG", compress_level=effort)
    else:
        picture.save(buffer, "WEBP", lossless=True, exact=True, quality=0, method=effort)
    return buffer.getvalue()
