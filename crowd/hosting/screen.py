"""Pictures of an environment: as data if a page can draw it, else encoded; sent only on change."""

from __future__ import annotations

import numpy as np

from ...envs.capabilities import DrawsTiles
from ...envs.drawing.pictures import text_size
from ...envs.task_env import TaskEnv
from ...envs.vector_graphics import scene_of
from .frame_codec import SHAPES, TEXT, TILES, Encoder, Picture


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
        bare = environment.env.unwrapped
        if not isinstance(bare, DrawsTiles):
            return None
        atlas = bare.atlas()
        return atlas.name, atlas.side

    def _encode(self, image: np.ndarray, anew: bool) -> Picture | None:
        if not anew and self._image is not None and np.array_equal(image, self._image):
            return None
        self._image = image.copy()
        return self._encoder.encode(image)


def drawn_as_data(environment: TaskEnv) -> Picture | None:
    """Return an environment's picture as tiles or shapes; None if only it can draw itself."""
    bare = environment.env.unwrapped
    if isinstance(bare, DrawsTiles):
        return tiles_of(bare)
    scene = scene_of(environment.env)
    return None if scene is None else Picture(SHAPES, scene.width, scene.height, scene.draw())


def tiles_of(environment: DrawsTiles) -> Picture:
    """Return the picture of an environment that is drawn from tiles."""
    data, side = environment.tiles(), environment.atlas().side
    return Picture(TILES, data[1] * side, data[2] * side, data)
