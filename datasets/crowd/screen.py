"""What a person sees of an environment: encoded frames, and only when the picture has changed."""

from __future__ import annotations

import numpy as np

from .frames import Encoder, pack
from .session import Session


class Screen:
    """Remembers the last picture of one seat. `encoders` (by task) are shared by all seats."""

    def __init__(self, encoders: dict[str, Encoder]) -> None:
        self._encoders = encoders
        self._image: np.ndarray | None = None

    def forget(self) -> None:
        """Take the next picture for a new one: the page has none yet, or the episode is another."""
        self._image = None

    def draw(self, session: Session) -> bytes | None:
        """Return a packed frame of what the environment shows, or None if that was shown before."""
        if session.episode is None:
            return None
        image = session.environment.frame()
        if self._image is not None and np.array_equal(image, self._image):
            return None
        self._image = image.copy()
        encoder = self._encoders.setdefault(session.environment.task.id, Encoder())
        kind, data = encoder.encode(image)
        return pack(kind, data, image.shape, len(session.episode.steps))
