"""A Gymnasium vector environment of thousands of grid worlds; several levels in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from ...errors import TutelageError
from .dynamics import observe
from .environment import find_level, observation_space
from .language import sentences
from .render import draw_view
from .state import VIEW, GridState, chosen, copied, empty_grids, restore
from .stepping import DISABLED, NEXT_STEP, SAME_STEP, reset_all, step_all

Observed = dict[str, Any]
_MODES = {
    AutoresetMode.DISABLED: DISABLED,
    AutoresetMode.NEXT_STEP: NEXT_STEP,
    AutoresetMode.SAME_STEP: SAME_STEP,
}


class GridVectorEnv(VectorEnv[Observed, np.ndarray, np.ndarray]):
    """A batch of grids of one level, or of several: grid i has level `level[i % len(level)]`.

    Grids and observations of a seed are those of `GridEnv`, independent of batch size and threads. The arrays
    that `step` returns are overwritten by the next step unless `copy`. After an episode, the next seed is a
    function of the last one. `options` change fields of all levels.
    """

    metadata = {  # noqa: RUF012
        "render_modes": ["rgb_array"],
        "render_fps": 10,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        level: str | Sequence[str],
        num_envs: int = 1,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        threads: int = 1,
        copy: bool = True,
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        if num_envs < 1 or threads < 1:
            raise TutelageError(f"expected num_envs and threads from 1, got {num_envs} and {threads}")
        names = [level] if isinstance(level, str) else list(level)
        levels = [find_level(name, **options) for name in names]
        self.num_envs, self.render_mode, self._copy = num_envs, render_mode, copy
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = self.metadata | {"autoreset_mode": self.autoreset_mode}
        self.single_observation_space, self.single_action_space = observation_space(), spaces.Discrete(7)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        height, width = max(spec.height for spec in levels), max(spec.width for spec in levels)
        self.grids = empty_grids(num_envs, height, width)
        packed = np.stack([spec.packed() for spec in levels])
        self._levels = packed[np.arange(num_envs) % len(levels)]  # [N, PACKED]
        self._over = np.zeros(num_envs, np.bool_)
        self._seen, self._last = _views(num_envs), _views(num_envs)
        self._rewards = np.zeros(num_envs)
        self._flags = np.zeros(num_envs, np.bool_), np.zeros(num_envs, np.bool_)
        self._missions = [""] * num_envs
        # one contiguous slice of the batch per thread; the kernels release the GIL
        edges = np.linspace(0, num_envs, min(threads, num_envs) + 1).astype(int)
        self._shares = [slice(begin, end) for begin, end in pairwise(edges.tolist())]
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observed, dict[str, Any]]:
        """Begin episodes: `seed + i` in grid i, or a list of seeds; `options["reset_mask"]` bool `[N]`."""
        mask = np.asarray((options or {}).get("reset_mask", np.ones(self.num_envs)), np.bool_)
        # the vector's own generator draws the seeds of grids that are given none
        if seed is None or isinstance(seed, int | np.integer):
            super().reset(seed=None if seed is None else int(seed))
            drawn = self.np_random.integers(2**62, size=self.num_envs)
            seeds = drawn if seed is None else int(seed) + np.arange(self.num_envs)
        else:
            drawn = self.np_random.integers(2**62, size=self.num_envs)
            seeds = np.array(
                [
                    drawn_seed if own_seed is None else own_seed
                    for own_seed, drawn_seed in zip(seed, drawn, strict=True)
                ]
            )
        if not reset_all(self.grids, self._levels, seeds.astype(np.int64), mask, *self._seen):
            raise TutelageError(
                "expected levels with room for their distractors, got one that is too full; "
                "ask for fewer distractors or larger rooms"
            )
        self._over[mask] = False
        self._speak(np.flatnonzero(mask))
        return self._observation(), {}

    def step(
        self, actions: np.ndarray
    ) -> tuple[Observed, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        actions = np.asarray(actions)
        was_over = self._over.copy()
        missions = self._missions  # before the restarts: `final_obs` needs the old ones
        restarted_count = sum(self._each_share(actions))
        infos: dict[str, Any] = {}
        if restarted_count:
            same_step = self.autoreset_mode == AutoresetMode.SAME_STEP
            restarted = np.flatnonzero(self._over if same_step else was_over)
            if same_step:
                infos = self._endings(restarted, missions)
            self._speak(restarted)
        copied_ = np.copy if self._copy else np.asarray
        # the kernels wrote into our arrays: copy them, unless the caller accepts that they change
        terminated, truncated = self._flags
        return self._observation(), copied_(self._rewards), copied_(terminated), copied_(truncated), infos

    def snapshot(self) -> tuple[GridState, np.ndarray]:
        """Return a copy of the whole state of all grids."""
        return copied(self.grids), self._over.copy()

    def restore(self, snapshot: tuple[GridState, np.ndarray]) -> Observed:
        """Restore a snapshot; returns its observations."""
        restore(self.grids, snapshot[0])
        self._over[:] = snapshot[1]
        observe(self.grids, *self._seen)
        self._speak(np.arange(self.num_envs))
        return self._observation()

    def render(self) -> tuple[Any, ...] | None:
        """Draw each agent's view, if the render mode is `rgb_array`."""
        if self.render_mode != "rgb_array":
            return None
        return tuple(draw_view(self.grids, b) for b in range(self.num_envs))

    def close_extras(self, **kwargs: Any) -> None:
        """Shut the thread pool down."""
        if self._pool is not None:
            self._pool.shutdown()

    def _each_share(self, actions: np.ndarray) -> list[int]:
        # slices are views, so each thread writes into its own rows of the shared arrays
        def step_share(rows: slice) -> int:
            return int(
                step_all(  # type: ignore[call-arg]  # numba's stubs count starred arguments once
                    chosen(self.grids, rows),
                    self._levels[rows],
                    actions[rows],
                    _MODES[self.autoreset_mode],
                    self._over[rows],
                    *(array[rows] for array in self._seen),
                    self._rewards[rows],
                    *(array[rows] for array in self._flags),
                    *(array[rows] for array in self._last),
                )
            )

        return list((self._pool.map if self._pool else map)(step_share, self._shares))

    def _speak(self, rows: np.ndarray) -> None:
        # a new list: `step` may still hold the old one for `final_obs`
        self._missions = self._missions.copy()
        for b, mission in zip(rows.tolist(), sentences(self.grids, rows), strict=True):
            self._missions[b] = mission

    def _observation(self) -> Observed:
        images, directions = (array.copy() for array in self._seen) if self._copy else self._seen
        return {"image": images, "direction": directions, "mission": tuple(self._missions)}

    def _endings(self, rows: np.ndarray, missions: list[str]) -> dict[str, Any]:
        """Return the last observations of the episodes that ended, in the format of Gymnasium's vectors."""
        images, directions = self._last
        endings = np.full(self.num_envs, None, object)
        for b in rows:
            endings[b] = {
                "image": images[b].copy(),
                "direction": int(directions[b]),
                "mission": missions[b],
            }
        return {"final_obs": endings, "_final_obs": self._over.copy()}


def _views(count: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((count, VIEW, VIEW, 3), np.uint8), np.zeros(count, np.int64)
