"""The keys a person holds, as the page reports them, and the action they mean when it is asked for."""

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
        del self._held[:-16], self._tapped[:-16]  # nobody has more fingers; a hostile page might

    def up(self, code: str) -> None:
        if code in self._held:
            self._held.remove(code)

    def clear(self) -> None:
        """Forget all keys: the page lost the focus or the connection."""
        self._held, self._tapped = [], []

    def decide(self, controls: Controls) -> np.ndarray | None:
        """Return the action at a deadline: the held keys', else that of keys tapped since the last one.

        Without the second, a tap shorter than a frame would be lost.
        """
        pressed = self._held or self._tapped
        self._tapped = []
        return controls.action(pressed)

    def decision(self, controls: Controls) -> np.ndarray:
        """Return the action at a deadline, or raise TutelageError where there is none to be idle with."""
        row = self.decide(controls)
        if row is None:
            raise TutelageError("expected an idle action in real time, got none; give the suite one")
        return row

    def turn(self, controls: Controls, code: str) -> np.ndarray | None:
        """Return the action that pressing `code` means in a task that waits; None if it means nothing."""
        self._tapped = []
        return controls.turn(self._held, code)


def measure(episode: OpenEpisode, key: KeyDown | PageInput, meter: ServerMetrics) -> None:
    """Note what the page has measured of a key or a hand."""
    if key.reaction is not None:
        episode.reactions_ms.append(key.reaction)
    if key.lag is not None:
        episode.lags_ms.append(key.lag)
        meter.shown(key.lag)
