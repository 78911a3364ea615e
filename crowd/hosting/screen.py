"""Pictures of an environment: as data if a page can draw it, else encoded; sent only on change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...envs.capabilities import draws_tiles
from ...envs.drawing.pictures import text_size
from ...envs.task_env import TaskEnv
from ...envs.vector_graphics import scene_of
from .frame_codec import SHAPES, TEXT, TILES, Encoder, Picture

if TYPE_CHECKING:
    from ...envs.grid.environment import GridEnv


class FrameCache:
    """Caches the last picture of one environment. `encoder` may be shared by many hosts of a task."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._image: np.ndarray | None = None
        self._data = b""

    def draw(self, environment: TaskEnv, anew: bool = False) -> Picture | None:
        """Return the environment's picture; None if it is unchanged and not requested `anew`."""
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
        """Return the atlas of the tiles, with the side of a tile; None without tiles."""
        grid = _grid_env(environment)
        if grid is None:
            return None
        from ...envs.grid.tile_atlas import atlas  # compiled code, imported for grid tasks only

        return atlas(grid.tile)[0], grid.tile

    def _encode(self, image: np.ndarray, anew: bool) -> Picture | None:
        if not anew and self._image is not None and np.array_equal(image, self._image):
            return None
        self._image = image.copy()
        return self._encoder.encode(image)


def drawn_as_data(environment: TaskEnv) -> Picture | None:
    """Return an environment's picture as tiles or shapes; None if only it can draw itself."""
    grid = _grid_env(environment)
    if grid is not None:
        return tiles_of(grid)
    scene = scene_of(environment.env)
    return None if scene is None else Picture(SHAPES, scene.width, scene.height, scene.draw())


def _grid_env(environment: TaskEnv) -> GridEnv | None:
    bare = environment.env.unwrapped
    return bare if draws_tiles(bare) else None  # type: ignore[return-value]


def tiles_of(grid: GridEnv) -> Picture:
    """Return the picture of a grid environment."""
    data = grid.tiles()
    return Picture(TILES, data[1] * grid.tile, data[2] * grid.tile, data)
