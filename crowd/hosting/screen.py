"""What a person sees of an environment: as data where a page can draw it, else encoded; and only changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...envs.capabilities import draws_tiles
from ...envs.pictures import text_size
from ...envs.task_env import TaskEnv
from ...envs.vector_graphics import scene_of
from .frame_codec import SHAPES, TEXT, TILES, Encoder, Picture

if TYPE_CHECKING:
    from ...envs.grid.environment import GridEnv


class FrameCache:
    """Remembers the last picture of one environment. `encoder` may be shared by many of a task."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._image: np.ndarray | None = None
        self._data = b""

    def draw(self, environment: TaskEnv, anew: bool = False) -> Picture | None:
        """Return what the environment shows, or None if that was shown before and is not wanted `anew`."""
        picture = drawn_as_data(environment)
        if picture is None:
            frame = environment.frame()
            if not isinstance(frame, str):
                return self._encode(frame, anew)
            picture = Picture(TEXT, *text_size(frame), frame.encode("utf-8", "replace"))
        if picture.data == self._data and not anew:
            return None
        self._data = picture.data
        return picture

    def atlas(self, environment: TaskEnv) -> tuple[str, int] | None:
        """Name the atlas that the pictures are drawn from, with the side of a tile; None for no tiles."""
        world = _grid_world(environment)
        if world is None:
            return None
        from ...envs.grid.tile_atlas import atlas  # compiled code, which only grid worlds import

        return atlas(world.tile)[0], world.tile

    def _encode(self, image: np.ndarray, anew: bool) -> Picture | None:
        if not anew and self._image is not None and np.array_equal(image, self._image):
            return None
        self._image = image.copy()
        return self._encoder.encode(image)


def drawn_as_data(environment: TaskEnv) -> Picture | None:
    """Return an environment's picture as tiles or shapes, or None if only it can draw itself."""
    world = _grid_world(environment)
    if world is not None:
        return tiles_of(world)
    scene = scene_of(environment.env)
    return None if scene is None else Picture(SHAPES, scene.width, scene.height, scene.draw())


def _grid_world(environment: TaskEnv) -> GridEnv | None:
    world = environment.env.unwrapped
    return world if draws_tiles(world) else None  # type: ignore[return-value]


def tiles_of(world: GridEnv) -> Picture:
    """Return the picture of a grid world."""
    data = world.tiles()
    return Picture(TILES, data[1] * world.tile, data[2] * world.tile, data)
