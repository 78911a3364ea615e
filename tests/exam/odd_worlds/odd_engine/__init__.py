"""A simulator with the interface of old: reset takes nothing, step gives four things, seeds come at first."""

from __future__ import annotations

from typing import Any

import numpy as np


class Garden:
    """A walk in a garden of `size` x `size` beds; every bed that is visited first gives 1."""

    def __init__(self, size: int = 6, seed: int | None = None) -> None:
        self.size, self.seed, self.plays = size, seed, 0

    def reset(self) -> np.ndarray:
        dice = np.random.default_rng((self.seed or 0, self.plays))
        self.plays += 1
        self.place = dice.integers(0, self.size, 2)
        self.visited = np.zeros((self.size, self.size), bool)
        return self.picture()

    def step(self, action: int) -> tuple[np.ndarray, float, bool, dict[str, Any]]:
        moves = ((0, -1), (0, 1), (-1, 0), (1, 0))
        self.place = np.clip(self.place + moves[action], 0, self.size - 1)
        reward = float(not self.visited[tuple(self.place)])
        self.visited[tuple(self.place)] = True
        return self.picture(), reward, bool(self.visited.all()), {}

    def picture(self) -> np.ndarray:
        beds = np.where(self.visited[..., None], (60, 120, 60), (130, 90, 50)).astype(np.uint8)
        beds[tuple(self.place)] = (250, 250, 90)
        return np.kron(beds, np.ones((8, 8, 1), np.uint8))
