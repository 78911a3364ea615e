"""Colours of a page, sorted coarsely, and how like they are to those that an instruction names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import ImageColor

SORTS = 28
"""Three of red by three of green by three of blue, and nothing."""

_FAR = 128.0  # of red, green and blue together, up to 442: as far as this is not alike at all
_GREY = 24.0  # less colour than this has no hue
_THIRDS = np.exp(2j * np.pi * np.arange(3) / 3)


def rgba_of(packed: Sequence[int]) -> np.ndarray:
    """Take colours apart, 0xRRGGBBAA → int64 `[n, 4]`."""
    bits = np.array(packed, np.int64).reshape(-1) & 0xFFFFFFFF
    return np.stack([bits >> 24, bits >> 16 & 255, bits >> 8 & 255, bits & 255], 1)


def sort_of(rgba: np.ndarray) -> np.ndarray:
    """Return the sort of each colour `[n]`, below SORTS."""
    sorts: np.ndarray = rgba[:, :3] // 86 @ np.array([9, 3, 1])
    sorts[_is_clear(rgba)] = SORTS - 1
    return sorts


def named_in(words: Sequence[str]) -> np.ndarray:
    """Return the colours that are said by the names that style sheets know them by, `[n, 3]`."""
    named = [ImageColor.getrgb(word)[:3] for word in words if word in ImageColor.colormap]
    return np.array(named, float).reshape(-1, 3)


def likeness(rgba: np.ndarray, said: np.ndarray) -> np.ndarray:
    """Return how like the likest of the colours `said` each is, from 0 to 1: in all, and in hue `[n, 2]`."""
    if not len(said):
        return np.zeros((len(rgba), 2))
    seen = rgba[:, :3].astype(float)
    apart = np.linalg.norm(seen[:, None] - said, axis=2).min(1)
    hues, wanted = _hues(seen), _hues(said)
    alike = np.stack([1 - apart / _FAR, (hues[:, None] * wanted.conj()).real.max(1)], 1).clip(0, 1)
    alike[_is_clear(rgba)] = 0
    return alike


def _is_clear(rgba: np.ndarray) -> np.ndarray:
    return rgba[:, 3] < 32


def _hues(rgb: np.ndarray) -> np.ndarray:
    """Return each colour's place on the wheel, a complex number of size 1; 0 for a grey."""
    wheel = rgb @ _THIRDS
    size = np.abs(wheel)
    return np.where(size < _GREY, 0, wheel / np.maximum(size, _GREY))
