"""Convert what an environment renders to uint8 `[H, W, 3]`, or to text that a page shows as text."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ...errors import TutelageError

CELL = (8, 16)
"""Size of a character cell in pixels (width, height), where text is drawn as a picture."""

RENDER_MODES = ("rgb_array", "rgb_array_list", "ansi")
"""Render modes that a page can show, in order of preference."""

_COLOR = re.compile(r"\x1b\[([0-9;]*)m")
_ESCAPE = re.compile(r"\x1b(\[[0-9;?]*[@-~]|[@-_])")
_PALETTE = (
    *((0, 0, 0), (205, 49, 49), (13, 128, 80), (160, 125, 0)),
    *((36, 114, 200), (188, 63, 188), (17, 140, 165), (110, 110, 110)),
)
"""RGB of the eight terminal colors, 30 to 37 and 40 to 47."""


def to_picture(rendered: Any, name: str) -> np.ndarray | str:
    """Convert the result of `render()` to uint8 `[H, W, 3]`; text stays text.

    Accepts RGB, RGBA (over white), gray `[H, W]` or `[H, W, 1]`, channels first, booleans, floats in [0, 1]
    or [0, 255], 16-bit integers, PIL images, and lists of these (the last one). Raises TutelageError,
    beginning with `name`, for anything else.
    """
    if isinstance(rendered, str):
        return rendered
    if hasattr(rendered, "getvalue"):  # io.StringIO, of old text environments
        return str(rendered.getvalue())
    if isinstance(rendered, Image.Image):
        return np.asarray(rendered.convert("RGB"))
    if isinstance(rendered, list | tuple) and rendered:
        last = rendered[-1]
        if isinstance(last, str | Image.Image) or (isinstance(last, np.ndarray) and last.ndim >= 2):
            return to_picture(last, name)
    try:
        array = np.asarray(rendered)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.dtype.kind not in "buif" or array.ndim not in (2, 3) or 0 in array.shape:
        got = f"shape {array.shape}" if isinstance(rendered, np.ndarray) else type(rendered).__name__
        raise TutelageError(f"{name}: expected a picture [H, W, 3] or text from render(), got {got}")
    return _channels(_bytes(array, name), name)


def text_picture(text: str) -> np.ndarray:
    """Draw text in fixed-width cells, uint8 `[H, W, 3]`; the eight ANSI colors are drawn."""
    lines = _colored_lines(text)
    width = max((len(line) for line in lines), default=1) or 1
    image = Image.new("RGB", (width * CELL[0], max(1, len(lines)) * CELL[1]), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(13)
    for row, line in enumerate(lines):
        for column, (letter, ink, paper) in enumerate(line):
            x, y = column * CELL[0], row * CELL[1]
            if paper is not None:
                draw.rectangle((x, y, x + CELL[0] - 1, y + CELL[1] - 1), fill=paper)
            draw.text((x + CELL[0] / 2, y + CELL[1] / 2), letter, ink or (0, 0, 0), font, anchor="mm")
    return np.asarray(image)


def text_size(text: str) -> tuple[int, int]:
    """Return width and height, in pixels, of text drawn by `text_picture`."""
    lines = _ESCAPE.sub("", text.replace("\t", "    ")).split("\n")
    return max(1, *map(len, lines)) * CELL[0], len(lines) * CELL[1]


def _colored_lines(text: str) -> list[list[tuple[str, tuple[int, ...] | None, tuple[int, ...] | None]]]:
    ink: tuple[int, ...] | None = None
    paper: tuple[int, ...] | None = None
    lines = []
    for line in text.replace("\t", "    ").split("\n"):
        cells = []
        for part, codes in _pieces(line):
            cells += [(letter, ink, paper) for letter in part if letter.isprintable()]
            for code in codes:
                ink = None if code in (0, 39) else _PALETTE[code - 30] if 30 <= code < 38 else ink
                paper = None if code in (0, 49) else _PALETTE[code - 40] if 40 <= code < 48 else paper
        lines.append(cells)
    return lines


def _pieces(line: str) -> list[tuple[str, list[int]]]:
    """Split a line into (text, color codes after it)."""
    parts = _COLOR.split(line)
    texts, codes = parts[::2], [*parts[1::2], None]
    return [
        (_ESCAPE.sub("", text), [] if code is None else [int(number or 0) for number in code.split(";")])
        for text, code in zip(texts, codes, strict=True)
    ]


def _bytes(array: np.ndarray, name: str) -> np.ndarray:
    """Scale an array to uint8, according to its dtype and range."""
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    if not np.isfinite(array).all():
        raise TutelageError(f"{name}: expected finite numbers from render(), got others")
    low, high = float(array.min()), float(array.max())
    if array.dtype.kind == "f" and low >= 0 and high <= 1:
        return np.rint(array * 255).astype(np.uint8)
    if array.dtype == np.uint16 and high > 255:
        return (array // 257).astype(np.uint8)
    if low < 0 or high > 255:
        raise TutelageError(
            f"{name}: expected a picture in [0, 1] or [0, 255] from render(), got {low:g} to {high:g}"
        )
    return np.rint(array).astype(np.uint8)


def _channels(array: np.ndarray, name: str) -> np.ndarray:
    if array.ndim == 2:
        return np.repeat(array[..., None], 3, axis=2)
    if array.shape[2] not in (1, 3, 4) and array.shape[0] in (1, 3, 4):
        array = np.moveaxis(array, 0, 2)
    channels = array.shape[2]
    if channels == 1:
        return np.repeat(array, 3, axis=2)
    if channels == 4:
        alpha = array[..., 3:].astype(np.uint16)
        return ((array[..., :3] * alpha + 255 * (255 - alpha)) // 255).astype(np.uint8)
    if channels != 3:
        raise TutelageError(f"{name}: expected 1, 3 or 4 channels from render(), got shape {array.shape}")
    return np.ascontiguousarray(array)
