"""Images are told from vectors and boards by their space, and their axes by their shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from tutelage.agents.policy.images.layout import ImageLayout, image_layout, map_size
from tutelage.tests.support.toy_images import IMAGES, image_space

NO_IMAGES: dict[str, spaces.Space[Any]] = {
    "memory of a console": image_space(128),
    "table of bytes": image_space(5, 40),
    "table of floats": image_space(8, 8, dtype=np.float32, high=1),
    "floats of any size": spaces.Box(-np.inf, np.inf, (64, 64, 3), np.float32),
    "floats from -1": spaces.Box(-1, 1, (64, 64, 3), np.float32),
    "volume of floats": image_space(20, 20, 20, dtype=np.float32, high=1),
    "two bounds": spaces.Box(
        np.zeros((40, 40, 3), np.float32), np.arange(1, 4801, dtype=np.float32).reshape(40, 40, 3)
    ),
    "bits": spaces.MultiBinary((40, 40)),
    "integers": spaces.Box(0, 255, (40, 40, 3), np.int64),
    "five axes": image_space(2, 2, 40, 40, 3),
    "nothing": image_space(0, 40, 3),
}


@pytest.mark.parametrize("world", IMAGES)
def test_every_image_is_recognized_with_its_axes(world: str) -> None:
    space, axes = IMAGES[world]
    layout = image_layout(space)
    assert layout is not None
    assert (layout.axes, layout.shape, layout.low) == (axes, space.shape, 0)
    assert layout.high == np.asarray(space.high).max()  # type: ignore[attr-defined]


@pytest.mark.parametrize("world", NO_IMAGES)
def test_what_is_no_image_stays_what_it_was(world: str) -> None:
    assert image_layout(NO_IMAGES[world]) is None


def test_a_binary_image_is_black_and_white() -> None:
    layout = image_layout(image_space(40, 40, high=1))
    assert layout is not None
    assert layout.high == 1


@pytest.mark.parametrize("world", IMAGES)
def test_every_pixel_is_in_its_place_with_channels_last(world: str) -> None:
    space, axes = IMAGES[world]
    layout = image_layout(space)
    assert layout is not None
    images = np.stack([np.asarray(space.sample()) for _ in range(2)])
    last = layout.channels_last(images)
    assert last.shape == (2, *layout.size)
    height, width, channels = layout.size
    for row, column, channel in [(0, 0, 0), (height - 1, 1, channels - 1), (3, width - 1, channels // 2)]:
        colors = layout.shape[axes.index("C")] if "C" in axes else 1
        place = {"H": row, "W": column, "C": channel % colors, "K": channel // colors}
        assert (last[:, row, column, channel] == images[(slice(None), *[place[axis] for axis in axes])]).all()


@pytest.mark.parametrize(
    ("axes", "shape", "colors"),
    [
        ("HWC", (64, 64, 3), 3),
        ("HWC", (64, 64, 4), 4),
        ("HWC", (64, 64, 9), 3),
        ("HWC", (64, 64, 2), 1),
        ("CHW", (3, 64, 64), 3),
        ("CHW", (4, 64, 64), 1),
        ("KHWC", (4, 64, 64, 3), 3),
        ("HW", (64, 64), 1),
    ],
)
def test_a_frame_has_its_colors(axes: str, shape: tuple[int, ...], colors: int) -> None:
    assert ImageLayout(axes, shape, 0, 255).colors == colors


@given(st.integers(1, 1000), st.integers(1, 1000))
def test_a_map_has_at_most_8_cells_a_side_and_more_than_4_of_a_large_image(height: int, width: int) -> None:
    halvings, rows, columns = map_size(height, width)
    assert halvings >= 1
    assert 1 <= min(rows, columns) <= max(rows, columns) <= 8
    if max(height, width) > 8:
        assert max(rows, columns) > 4
