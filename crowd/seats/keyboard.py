"""Keys held by a person, as reported by the page, and the action that they mean at a decision."""

from __future__ import annotations

import numpy as np

from ...envs.keys.controls import Controls
from ...errors import TutelageError
from ..server.server_metrics import ServerMetrics
from .protocol import KeyDown, PageInput
from .session import OpenEpisode


class HeldKeys:
    """Held keys, oldest first, and those tapped since the last decision."""

    def __init__(self) -> None:
        self._held: list[str] = []
        self._tapped: list[str] = []

    def down(self, code: str) -> None:
        if code not in self._held:
            self._held.append(code)
        if code not in self._tapped:
            self._tapped.append(code)
        del self._held[:-16], self._tapped[:-16]  # more than fingers: only from a hostile page

    def up(self, code: str) -> None:
        if code in self._held:
            self._held.remove(code)

    def clear(self) -> None:
        """Release all keys: the page lost the focus or the connection."""
        self._held, self._tapped = [], []

    def decide(self, controls: Controls) -> np.ndarray | None:
        """Return the action at a deadline: the held keys', else that of keys tapped since the last one.

        Without tapped keys, a tap shorter than a frame would be lost.
        """
        pressed = self._held or self._tapped
        self._tapped = []
        return controls.action(pressed)

    def decision(self, controls: Controls) -> np.ndarray:
        """Return the action at a deadline; raises TutelageError without a key and an idle action."""
        row = self.decide(controls)
        if row is None:
            raise TutelageError("expected an idle action in real time, got none; give the suite one")
        return row

    def turn(self, controls: Controls, code: str) -> np.ndarray | None:
        """Return the action of pressing `code` in a turn-based task; None if it has none."""
        self._tapped = []
        return controls.turn(self._held, code)


def measure(episode: OpenEpisode, key: KeyDown | PageInput, metrics: ServerMetrics) -> None:
    """Record the page's measurements of a key or a page input."""
    if key.reaction is not None:
        episode.reactions_ms.append(key.reaction)
    if key.lag is not None:
        episode.lags_ms.append(key.lag)
        metrics.shown(key.lag)
