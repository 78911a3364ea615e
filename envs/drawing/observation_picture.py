"""Draw recorded observations where no environment can: cameras side by side, numbers as curves, words."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WIDTH = 1280
_CAMERA_HEIGHT, _FEWEST_PIXELS = 480, 8
_CURVE_HEIGHT, _GAP, _NAME_WIDTH, _VALUE_WIDTH = 52, 16, 340, 180
_LINE_HEIGHT, _FONT_SIZE = 40, 27
_MOST_CURVES = 24
_PAPER, _INK, _FAINT, _CURVE, _CURSOR = "#ffffff", "#1f1f1c", "#8a8a83", "#2f55d4", "#c2410c"


class ObservationPictures:
    """Pictures of an episode's observations, leaf path → `[T+1, ...]`, for one step after another."""

    def __init__(self, observations: Mapping[str, np.ndarray]) -> None:
        self._cameras = {path: array for path, array in observations.items() if _is_camera(array)}
        self._texts = {path: array for path, array in observations.items() if array.dtype.kind in "UO"}
        others = {
            path: array.reshape(len(array), -1).astype(np.float64)
            for path, array in observations.items()
            if path not in self._cameras and path not in self._texts
        }
        self._curves = [
            (path if numbers.shape[1] == 1 else f"{path}[{column}]", numbers[:, column])
            for path, numbers in others.items()
            for column in range(numbers.shape[1])
        ]
        self._hidden = max(0, len(self._curves) - _MOST_CURVES)
        del self._curves[_MOST_CURVES:]
        self._font = ImageFont.load_default(_FONT_SIZE)
        rows = (len(self._texts) + bool(self._hidden)) * _LINE_HEIGHT + len(self._curves) * _CURVE_HEIGHT
        self._height = (_CAMERA_HEIGHT + _GAP if self._cameras else 0) + rows + 2 * _GAP
        self._paper = self._draw_curves()

    def draw(self, step: int) -> np.ndarray:
        """Return the picture of the observation after `step` steps, uint8 `[H, W, 3]`."""
        image = self._paper.copy()
        draw, top = ImageDraw.Draw(image), _GAP
        if self._cameras:
            self._draw_cameras(image, step)
            top += _CAMERA_HEIGHT + _GAP
        for path, texts in self._texts.items():
            draw.text((_GAP, top), f"{path or 'text'}: {texts[step]}", _INK, self._font)
            top += _LINE_HEIGHT
        for _, numbers in self._curves:
            right, middle = WIDTH - _VALUE_WIDTH, top + _CURVE_HEIGHT / 2
            x = _abscissas(len(numbers))[step]
            draw.line((x, top + 2, x, top + _CURVE_HEIGHT - 2), _CURSOR, 4)
            draw.text((right + _GAP, middle), f"{numbers[step]:.4g}", _INK, self._font, anchor="lm")
            top += _CURVE_HEIGHT
        return np.asarray(image)

    def words(self, step: int) -> str:
        """Return what the observation says in words after `step` steps."""
        return " ".join(str(texts[step]) for texts in self._texts.values())

    def _draw_curves(self) -> Image.Image:
        image = Image.new("RGB", (WIDTH, self._height), _PAPER)
        draw = ImageDraw.Draw(image)
        top = _GAP + (_CAMERA_HEIGHT + _GAP if self._cameras else 0) + len(self._texts) * _LINE_HEIGHT
        for name, numbers in self._curves:
            draw.text((_GAP, top + _CURVE_HEIGHT / 2), _short(name), _FAINT, self._font, anchor="lm")
            for piece in _pieces(numbers, top):
                draw.line(piece, _CURVE, 3) if len(piece) > 1 else draw.point(piece, _CURVE)
            top += _CURVE_HEIGHT
        if self._hidden:
            draw.text((_GAP, top), f"and {self._hidden:,} more numbers", _FAINT, self._font)
        return image

    def _draw_cameras(self, image: Image.Image, step: int) -> None:
        width = (WIDTH - _GAP) // len(self._cameras) - _GAP
        for place, array in enumerate(self._cameras.values()):
            picture = Image.fromarray(_rgb(array[step]))
            factor = min(width / picture.width, _CAMERA_HEIGHT / picture.height)
            size = max(1, round(picture.width * factor)), max(1, round(picture.height * factor))
            sampling = Image.Resampling.NEAREST if factor > 1 else Image.Resampling.BOX
            image.paste(picture.resize(size, sampling), (_GAP + place * (width + _GAP), _GAP))


def _is_camera(array: np.ndarray) -> bool:
    """Return whether a leaf is a picture: bytes `[H, W]` or `[H, W, C]` that are large enough to look at."""
    shape = array.shape[1:]
    return array.dtype == np.uint8 and len(shape) in (2, 3) and min(shape[:2]) >= _FEWEST_PIXELS


def _rgb(pixels: np.ndarray) -> np.ndarray:
    """Return colors `[H, W, 3]`; of anything but three channels, the last one in gray."""
    if pixels.ndim == 3 and pixels.shape[2] == 3:
        return np.ascontiguousarray(pixels)
    gray = pixels if pixels.ndim == 2 else pixels[..., -1]
    return np.repeat(gray[..., None], 3, axis=2)


def _abscissas(count: int) -> np.ndarray:
    return np.linspace(_NAME_WIDTH, WIDTH - _VALUE_WIDTH, count)


def _pieces(numbers: np.ndarray, top: float) -> list[list[tuple[float, float]]]:
    """Return the curve's points in pieces, cut where a number is not finite."""
    finite = np.isfinite(numbers)
    if not finite.any():
        return []
    numbers = np.where(finite, numbers, 0.0) / 4  # a difference of large numbers would be too large
    low, high = numbers[finite].min(), numbers[finite].max()
    shares = (numbers - low) / (high - low) if high > low else np.full(len(numbers), 0.5)
    pieces: list[list[tuple[float, float]]] = [[]]
    for x, share, is_finite in zip(_abscissas(len(numbers)), shares, finite, strict=True):
        if is_finite:
            pieces[-1].append((float(x), top + 4 + (1 - float(share)) * (_CURVE_HEIGHT - 8)))
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]


def _short(name: str, longest: int = 24) -> str:
    return name if len(name) <= longest else f"…{name[1 - longest :]}"
