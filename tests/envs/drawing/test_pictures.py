"""Whatever an environment renders becomes the same picture a person would see, or is refused."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tutelage.envs.drawing.pictures import CELL, text_picture, to_picture
from tutelage.errors import TutelageError

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
GRAY = RGB[..., 0]
AS_GRAY = np.repeat(GRAY[..., None], 3, axis=2)


@pytest.mark.parametrize(
    ("rendered", "picture"),
    [
        (RGB, RGB),
        (RGB.astype(np.float32) / 255, RGB),
        (RGB.astype(np.float64), RGB),
        (RGB.astype(np.int64), RGB),
        (RGB.astype(np.uint16) * 257, RGB),
        (GRAY, AS_GRAY),
        (GRAY[..., None], AS_GRAY),
        (GRAY / 255, AS_GRAY),
        (GRAY > 127, np.where(AS_GRAY > 127, 255, 0)),
        (np.moveaxis(RGB, 2, 0), RGB),
        (np.dstack([RGB, np.full_like(GRAY, 255)]), RGB),
        (np.dstack([RGB, np.zeros_like(GRAY)]), np.full_like(RGB, 255)),
        ([np.zeros_like(RGB), RGB], RGB),
        (RGB.tolist(), RGB),
        (Image.fromarray(RGB), RGB),
        ([Image.fromarray(RGB)], RGB),
        (Image.fromarray(GRAY), AS_GRAY),
    ],
    ids=[
        *("rgb", "float in 0..1", "float in 0..255", "int64", "uint16", "gray", "one channel", "float gray"),
        *("boolean", "channels first", "opaque", "transparent", "list of frames", "nested lists", "PIL"),
        *("list of PIL", "gray PIL"),
    ],
)
def test_a_picture_of_any_kind_becomes_rgb(rendered: Any, picture: np.ndarray) -> None:
    shown = to_picture(rendered, "toy")
    assert isinstance(shown, np.ndarray)
    assert shown.dtype == np.uint8
    np.testing.assert_array_equal(shown, picture)


@pytest.mark.parametrize(
    "rendered",
    [None, True, 3, [], {}, np.zeros(5), np.zeros((2, 3, 5)), np.full((4, 4), np.nan), np.full((4, 4), -7.0)],
    ids=repr,
)
def test_what_is_no_picture_is_refused_by_its_environment(rendered: Any) -> None:
    with pytest.raises(TutelageError, match="toy: expected"):
        to_picture(rendered, "toy")


def test_text_stays_text_and_can_be_drawn() -> None:
    assert to_picture("S.F\nG..", "toy") == "S.F\nG.."
    assert to_picture(io.StringIO("old"), "toy") == "old"
    drawn = text_picture("S.F\nG..")
    assert drawn.shape == (2 * CELL[1], 3 * CELL[0], 3)
    assert drawn.min() == 0


def test_the_colors_of_a_terminal_are_drawn_and_other_escapes_are_not() -> None:
    drawn = text_picture("\x1b[2J \x1b[41m \x1b[0m ")
    cells = [drawn[2, column * CELL[0] + 2].tolist() for column in range(3)]
    assert cells == [[255, 255, 255], [205, 49, 49], [255, 255, 255]]
    assert drawn.shape[1] == 3 * CELL[0]
