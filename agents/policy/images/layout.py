"""Which observations are images, where their axes lie, and their pixels as `[S, H, W, C]`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

LAYOUTS = ("HW", "HWC", "CHW", "KHWC", "KCHW")
"""Order of the axes of one step: height, width, channels, and frames of a stack (K)."""

_CHANNELS = (1, 3, 4)
_LEAST_SIDE = 8  # of images that are recognized by their shape
_LEAST_PLAIN_SIDE = 32  # of float images without a channel axis, which may be tables
_MOST_FIRST = 32  # most channels, or gray frames, before height and width


@dataclass(frozen=True)
class ImageLayout:
    """Axes of an image leaf (see LAYOUTS) of a `shape`, and the values of black and white."""

    axes: str
    shape: tuple[int, ...]
    low: float
    high: float

    @property
    def size(self) -> tuple[int, int, int]:
        """Height, width, and the channels of all frames together."""
        sides = dict(zip(self.axes, self.shape, strict=True))
        return sides["H"], sides["W"], sides.get("K", 1) * sides.get("C", 1)

    @property
    def colors(self) -> int:
        """Channels of one frame: 3 or 4 for color, 1 for gray; 4 channels before height are 4 gray frames."""
        channels = self.shape[self.axes.index("C")] if "C" in self.axes else 1
        if channels == 4 and self.axes != "CHW":
            return 4
        return 3 if channels % 3 == 0 else 1

    def channels_last(self, images: np.ndarray) -> np.ndarray:
        """Return images `[S, *shape]` as `[S, H, W, C]`, frame after frame in C; a view where it can be."""
        order = [1 + self.axes.index(axis) for axis in "HWKC" if axis in self.axes]
        return images.transpose(0, *order).reshape(len(images), *self.size)


def image_layout(space: spaces.Space[Any]) -> ImageLayout | None:
    """Return the layout of a space that holds images, None for any other.

    Images are boxes of uint8 with three dimensions; of uint8 with two, or with four where one axis has 1, 3
    or 4 channels; and of floats in [0, 1] or [0, 255] whose shape has such an axis (or is 32 x 32 or more).
    Boards of symbols look the same, see `encoding.GRID_SIDE`.
    """
    shape = tuple(space.shape or ())
    if not isinstance(space, spaces.Box) or not 2 <= len(shape) <= 4 or min(shape) < 1:
        return None
    is_byte = space.dtype == np.uint8
    if (span := _span(space)) is None or (axes := _axes(shape, is_byte)) is None:
        return None
    return ImageLayout(axes, shape, *span)


def _span(space: spaces.Box) -> tuple[float, float] | None:
    """Return the values of black and white; None for a box whose bounds are not those of pixels."""
    if space.dtype == np.uint8:
        return 0.0, 1.0 if space.high.max() == 1 else 255.0
    if space.dtype is None or space.dtype.kind != "f" or (space.low != 0).any():
        return None
    high = float(space.high.flat[0])
    return (0.0, high) if high in (1.0, 255.0) and (space.high == high).all() else None


def _axes(shape: tuple[int, ...], is_byte: bool) -> str | None:
    if len(shape) == 2:
        return "HW" if min(shape) >= (_LEAST_SIDE if is_byte else _LEAST_PLAIN_SIDE) else None
    if len(shape) == 3:
        first, *sides = shape
        if first < shape[2] and first <= _MOST_FIRST and min(sides) >= max(_LEAST_SIDE, 2 * first):
            return "CHW"
        is_plausible = min(shape[:2]) >= _LEAST_SIDE and 2 * shape[2] <= min(shape[:2])
        return "HWC" if is_byte or is_plausible else None
    if shape[3] in _CHANNELS and min(shape[1:3]) >= _LEAST_SIDE:
        return "KHWC"
    return "KCHW" if shape[1] in _CHANNELS and min(shape[2:]) >= _LEAST_SIDE else None


def map_size(height: int, width: int, most: int = 8) -> tuple[int, int, int]:
    """Return how often convolutions halve an image, at least once, and its map's sides, at most `most`."""
    # sides are rounded up at each halving, which is rounding up once at the end
    halvings = max(1, (-(-max(height, width) // most) - 1).bit_length())
    return halvings, -(-height // 2**halvings), -(-width // 2**halvings)
