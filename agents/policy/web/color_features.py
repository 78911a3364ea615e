"""Colors of a page: coarse classes, and similarity to the colors that an instruction names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import ImageColor

SORTS = 28
"""Color classes: 3 levels each of red, green and blue, and transparent."""

_FAR = 128.0  # Euclidean RGB distance (at most 442) from which on similarity is 0
_GRAY = 24.0  # least chroma of a color with a hue
_THIRDS = np.exp(2j * np.pi * np.arange(3) / 3)


def rgba_of(packed: Sequence[int]) -> np.ndarray:
    """Unpack colors 0xRRGGBBAA into int64 `[n, 4]`."""
    bits = np.array(packed, np.int64).reshape(-1) & 0xFFFFFFFF
    return np.stack([bits >> 24, bits >> 16 & 255, bits >> 8 & 255, bits & 255], 1)


def sort_of(rgba: np.ndarray) -> np.ndarray:
    """Return the class of each color `[n]`, below SORTS."""
    sorts: np.ndarray = rgba[:, :3] // 86 @ np.array([9, 3, 1])
    # 86 = ceil(256 / 3): level 0, 1 or 2 of each channel
    sorts[_is_transparent(rgba)] = SORTS - 1
    return sorts


def named_in(words: Sequence[str]) -> np.ndarray:
    """Return the RGB values `[n, 3]` of CSS color names among the words."""
    named = [ImageColor.getrgb(word)[:3] for word in words if word in ImageColor.colormap]
    return np.array(named, float).reshape(-1, 3)


def likeness(rgba: np.ndarray, named: np.ndarray) -> np.ndarray:
    """Return the highest similarity of each color to any in `named`, 0 to 1: in RGB and in hue, `[n, 2]`."""
    if not len(named):
        return np.zeros((len(rgba), 2))
    rgb = rgba[:, :3].astype(float)
    distance = np.linalg.norm(rgb[:, None] - named, axis=2).min(1)
    hues, named_hues = _hues(rgb), _hues(named)
    # the real part of the product is the cosine of the angle between hues
    similarity = np.stack([1 - distance / _FAR, (hues[:, None] * named_hues.conj()).real.max(1)], 1).clip(
        0, 1
    )
    similarity[_is_transparent(rgba)] = 0
    return similarity


def _is_transparent(rgba: np.ndarray) -> np.ndarray:
    return rgba[:, 3] < 32


def _hues(rgb: np.ndarray) -> np.ndarray:
    """Return each color's hue as a complex number of magnitude 1; 0 for a gray."""
    wheel = rgb @ _THIRDS
    size = np.abs(wheel)
    return np.where(size < _GRAY, 0, wheel / np.maximum(size, _GRAY))
