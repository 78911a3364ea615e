"""An environment that does as it is told: goes on, raises, hangs, or takes its whole process with it."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import time
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

FINE, RAISES, HANGS, DIES, SEGFAULTS, HOLDS, EATS = range(7)
"""HOLDS hangs in C, with Python's lock in its hand: not even another thread of its process runs."""


class Thing:
    """What a set orders by where it lies."""


class Late(type):
    """The type of what a package imports only when it is looked at: its module is known after a while."""

    @property
    def __module__(cls) -> str:
        time.sleep(1.6)
        return "late"


class Moody(gymnasium.Env[Any, Any]):
    """Its action says what becomes of it.

    `hangs_in` makes it hang in "reset" or "render" instead; a `late` one takes a second and a half to tell
    which packages it is made of. One that is `fickle` never looks the same twice: it draws from the system,
    from one of the generators that everything shares, or depends on how its process, or memory, orders sets.
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    observation_space = spaces.Discrete(1_000_000)
    action_space = spaces.Discrete(7)

    def __init__(
        self,
        render_mode: str | None = None,
        hangs_in: str = "",
        fickle: str = "",
        late: bool = False,
    ) -> None:
        self.render_mode = render_mode
        self.part = Late("Part", (), {})() if late else None
        self.hangs_in = hangs_in
        self.fickle = fickle
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self._maybe_hang("reset")
        self.steps = 0
        return self._look(), {}

    def step(self, action: Any) -> Any:
        match int(action):
            case 1:
                raise RuntimeError("in a mood")
            case 2:
                time.sleep(1000)
            case 3:
                os._exit(3)
            case 4:
                os.kill(os.getpid(), signal.SIGSEGV)
            case 5:
                ctypes.PyDLL(None).sleep(1000)
            case 6:
                eaten = [np.ones(1 << 20)]
                while True:
                    eaten.append(np.ones(1 << 23))
        self.steps += 1
        return self._look(), 0.0, False, False, {}

    def render(self) -> Any:
        self._maybe_hang("render")
        return np.full((32, 32, 3), self.steps, np.uint8)

    def _look(self) -> int:
        match self.fickle:
            case "system":
                return int.from_bytes(os.urandom(4), "big") % 1_000_000
            case "numpy":
                return int(np.random.randint(1_000_000))  # noqa: NPY002
            case "python":
                return random.randrange(1_000_000)
            case "memory":
                things = [Thing() for _ in range(12)]
                order = [things.index(thing) for thing in set(things)]
                return sum(at * number for at, number in enumerate(order))
            case "hash":
                return hash("the order of sets of texts") % 1_000_000
        return int(self.np_random.integers(1_000_000))

    def _maybe_hang(self, where: str) -> None:
        if self.hangs_in == where:
            time.sleep(1000)


gymnasium.register("toys/Moody-v0", entry_point=Moody)  # type: ignore[arg-type]
