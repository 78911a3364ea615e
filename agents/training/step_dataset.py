"""Steps of demonstrations as a dataset of Torch, for training programs of one's own."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch.utils.data import Dataset


class StepDataset(Dataset[tuple[Any, Any]]):
    """A map-style dataset of `size` steps; an item is (observation, action).

    `observations` and `actions` are arrays `[N, ...]`, or dicts and tuples of them.
    """

    def __init__(self, observations: Any, actions: Any, size: int) -> None:
        self.observations, self.actions = observations, actions
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, step: int) -> tuple[Any, Any]:
        if not -self._size <= step < self._size:
            raise IndexError(step)
        return _at(self.observations, step), _at(self.actions, step)


def _at(values: Any, step: int) -> Any:
    if isinstance(values, dict):
        return {key: _at(part, step) for key, part in values.items()}
    if isinstance(values, tuple):
        return tuple(_at(part, step) for part in values)
    return np.array(values[step]) if isinstance(values, np.ndarray) else values[step]  # Torch wants a copy
