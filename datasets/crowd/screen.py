"""What a person sees of an environment: encoded pictures, and only when something has changed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...envs.gymnasium_task import TaskEnvironment
from .frames import Encoder


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture ready to be sent: its kind (see `frames`), its size in pixels and its bytes."""

    kind: int
    width: int
    height: int
    data: bytes


class Screen:
    """Remembers the last picture of one environment. `encoder` may be shared by many of a task."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._image: np.ndarray | None = None

    def draw(self, environment: TaskEnvironment, anew: bool = False) -> Picture | None:
        """Return what the environment shows, or None if that was shown before and is not wanted `anew`."""
        image = environment.frame()
        if not anew and self._image is not None and np.array_equal(image, self._image):
            return None
        self._image = image.copy()
        kind, data = self._encoder.encode(image)
        return Picture(kind, image.shape[1], image.shape[0], data)
