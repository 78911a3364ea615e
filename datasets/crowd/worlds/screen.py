"""What a person sees of an environment: as data where a page can draw it, else encoded; and only changes."""

from __future__ import annotations

import numpy as np

from ....envs.grid.environment import GridEnv
from ....envs.grid.tiles import atlas
from ....envs.gymnasium_task import TaskEnvironment
from ....envs.pictures import text_size
from ....envs.scenes import scene_of
from .frames import SHAPES, TEXT, TILES, Encoder, Picture


class Screen:
    """Remembers the last picture of one environment. `encoder` may be shared by many of a task."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._image: np.ndarray | None = None
        self._data = b""

    def draw(self, environment: TaskEnvironment, anew: bool = False) -> Picture | None:
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

    def atlas(self, environment: TaskEnvironment) -> tuple[str, int] | None:
        """Name the atlas that the pictures are drawn from, with the side of a tile; None for no tiles."""
        bare = environment.env.unwrapped
        return (atlas(bare.tile)[0], bare.tile) if isinstance(bare, GridEnv) else None

    def _encode(self, image: np.ndarray, anew: bool) -> Picture | None:
        if not anew and self._image is not None and np.array_equal(image, self._image):
            return None
        self._image = image.copy()
        return self._encoder.encode(image)


def drawn_as_data(environment: TaskEnvironment) -> Picture | None:
    """Return an environment's picture as tiles or shapes, or None if only it can draw itself."""
    bare = environment.env.unwrapped
    if isinstance(bare, GridEnv):
        return tiles_of(bare)
    scene = scene_of(environment.env)
    return None if scene is None else Picture(SHAPES, scene.width, scene.height, scene.draw())


def tiles_of(world: GridEnv) -> Picture:
    """Return the picture of a grid world."""
    data = world.tiles()
    return Picture(TILES, data[1] * world.tile, data[2] * world.tile, data)
