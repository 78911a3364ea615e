"""One grid world as a Gymnasium environment; `vector.py` runs thousands at once."""

from __future__ import annotations

import dataclasses
from enum import IntEnum
from string import ascii_lowercase
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces

from ...errors import TutelageError, nearest
from ..capabilities import ReplayedEpisodes, SimulatedEpisodes, TileAtlas
from .dynamics import observe
from .language import sentence
from .levels import LEVELS, Level
from .render import as_text, draw_view, draw_world
from .state import VIEW, GridState, copied, empty_grids, restore
from .stepping import replay_one, reset_all, step_one
from .tile_atlas import atlas, pack_view, pack_world

Observed = dict[str, Any]
TILE = 32
"""Default side of a tile, in pixels."""
Actions = IntEnum("Actions", ["left", "right", "forward", "pickup", "drop", "toggle", "done"], start=0)


def find_level(name: str, **options: Any) -> Level:
    """Return a level of the paper by name, with the fields in `options` replaced.

    Raises TutelageError for an unknown name or field, and for a level that cannot be generated.
    """
    if name not in LEVELS:
        raise TutelageError(
            f"expected one of the levels {', '.join(LEVELS)}, got {name!r}{nearest(name, LEVELS)}"
        )
    fields = [field.name for field in dataclasses.fields(Level)]
    for option in options:
        if option not in fields:
            raise TutelageError(
                f"expected options {', '.join(fields)}, got {option!r}{nearest(option, fields)}"
            )
    level = dataclasses.replace(LEVELS[name], **options)
    level.check()
    return level


def observation_space() -> spaces.Dict:
    """Return the space of one observation: MiniGrid's image and direction, and the instruction."""
    # every letter that `language` writes
    letters = frozenset(ascii_lowercase + " ,")
    return spaces.Dict(
        {
            "image": spaces.Box(0, 255, (VIEW, VIEW, 3), np.uint8),
            "direction": spaces.Discrete(4),
            "mission": spaces.Text(400, charset=letters),
        }
    )


class GridEnv(gymnasium.Env[Observed, int]):
    """A BabyAI level with MiniGrid's actions, view and rewards, bit for bit.

    `options` change fields of the level (`room_size`, `rows`, `columns`, `distractors`, ...). `perspective`
    selects what `render()` draws with `rgb_array`: the "agent"'s view, or the whole "world" from above.
    Implements all of `capabilities` but StepsTogether and ReadsInput.
    """

    metadata = {"render_modes": ["rgb_array", "ansi"], "render_fps": 10}  # noqa: RUF012

    def __init__(
        self,
        level: str,
        render_mode: str | None = None,
        perspective: Literal["agent", "world"] = "agent",
        tile: int = TILE,
        **options: Any,
    ) -> None:
        if perspective not in ("agent", "world"):
            raise TutelageError(f"expected perspective 'agent' or 'world', got {perspective!r}")
        self.level = find_level(level, **options)
        self.render_mode, self.perspective, self.tile = render_mode, perspective, tile
        self.observation_space = observation_space()
        self.action_space = spaces.Discrete(7)
        self.actions = Actions
        self.grids = empty_grids(1, self.level.height, self.level.width)
        # batches of one: the kernels read and write arrays with a leading batch axis
        self._packed = self.level.packed()[None]
        self._mission = ""
        self._images = np.zeros((1, VIEW, VIEW, 3), np.uint8)
        self._directions = np.zeros(1, np.int64)

    @property
    def max_steps(self) -> int:
        """The step limit of the current episode: 64 a journey in one room of side 8, 576 in nine rooms."""
        return int(self.grids.state["limits"][0])

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observed, dict[str, Any]]:
        super().reset(seed=seed)
        # the generator of Gymnasium draws only the seed; everything else follows from it
        episode_seed = int(self.np_random.integers(2**62)) if seed is None else seed
        seeds, mask = np.array([episode_seed], np.int64), np.ones(1, np.bool_)
        if not reset_all(self.grids, self._packed, seeds, mask, self._images, self._directions):
            raise TutelageError(
                f"expected a level with room for {self.level.distractors} distractors, got rooms of side "
                f"{self.level.room_size}; ask for fewer distractors or larger rooms"
            )
        self._mission = sentence(self.grids, 0)
        return self._observation(), {}

    def step(self, action: int) -> tuple[Observed, float, bool, bool, dict[str, Any]]:
        reward, terminated, truncated = step_one(self.grids, 0, int(action))
        observe(self.grids, self._images, self._directions)
        return self._observation(), float(reward), bool(terminated), bool(truncated), {}

    def render(self) -> Any:
        if self.render_mode == "ansi":
            return f"{sentence(self.grids, 0)}\n{as_text(self.grids, 0)}"
        if self.render_mode == "rgb_array":
            draw = draw_view if self.perspective == "agent" else draw_world
            return draw(self.grids, 0, self.tile)
        return None

    def tiles(self) -> bytes:
        """Return what `render()` shows as packed cell codes, see `tile_atlas`."""
        return (pack_view if self.perspective == "agent" else pack_world)(self.grids, 0)

    def atlas(self) -> TileAtlas:
        """Return the pictures of the tiles."""
        return atlas(self.tile)

    def get_keys_to_action(self) -> dict[tuple[str, ...], int]:
        """Return a person's keys, by their pygame names."""
        return {("left",): 0, ("right",): 1, ("up",): 2, ("p",): 3, ("d",): 4, ("space",): 5}

    def replay_many(self, seeds: np.ndarray, starts: np.ndarray, actions: np.ndarray) -> ReplayedEpisodes:
        """Replay episodes by the kernels, see `capabilities.ReplaysMany`."""
        steps, episodes = len(actions), len(seeds)
        choices = actions[:, 0].astype(np.int64)
        images = np.zeros((steps + episodes, VIEW, VIEW, 3), np.uint8)
        directions, rewards = np.zeros(steps + episodes, np.int64), np.zeros(steps)
        flags = np.zeros(steps, np.bool_), np.zeros(steps, np.bool_)
        missions = np.empty(episodes, object)
        spans = zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)
        for n, (start, end) in enumerate(spans):
            # each earlier episode has one observation more than actions, hence the shift by n
            rows = slice(start + n, end + n + 1)
            replay_one(
                self.grids,
                self._packed[0],
                seeds[n],
                choices[start:end],
                images[rows],
                directions[rows],
                rewards[start:end],
                *(flag[start:end] for flag in flags),
            )
            missions[n] = sentence(self.grids, 0)
        observations: dict[str, np.ndarray] = {
            "direction": directions,
            "image": images,
            "mission": np.repeat(missions, np.diff(starts) + 1),
        }
        return ReplayedEpisodes(observations, rewards, *flags)

    @classmethod
    def simulated_expert(cls) -> str:
        return "grid"

    def simulate(
        self, profiles: np.ndarray, keys: np.ndarray, random_seeds: np.ndarray, seeds: np.ndarray
    ) -> SimulatedEpisodes:
        """Play episodes by the kernels, see `capabilities.Simulates`."""
        from .planner.memory import empty_memory
        from .simulated_players import play_episodes

        level = self.level
        memory = empty_memory(1, level.height, level.width)
        limit = 4 * 2 * level.room_size**2 * level.rows * level.columns
        room = len(seeds) * 160 + limit
        actions, times = np.zeros(room, np.uint8), np.zeros(room, np.int32)
        ends = np.zeros(len(seeds) + 1, np.int64)
        chunks: list[tuple[np.ndarray, np.ndarray]] = []
        starts = [0]
        while (completed := len(starts) - 1) < len(seeds):  # hostile profiles fill the arrays: go on there
            rest = slice(completed, None)
            count = play_episodes(
                self.grids,
                memory,
                self._packed[0],
                keys.astype(np.int64),
                profiles[rest],
                random_seeds[rest],
                seeds[rest],
                actions,
                times,
                ends,
            )
            if not count:
                raise TutelageError(f"expected room for an episode of {level}, got none")
            chunks.append((actions[: ends[count]].copy(), times[: ends[count]].copy()))
            starts += (starts[-1] + ends[1 : count + 1]).tolist()
        return SimulatedEpisodes(
            np.concatenate([chunk for chunk, _ in chunks])[:, None].astype(np.float64),
            np.concatenate([chunk for _, chunk in chunks]),
            np.array(starts),
        )

    def snapshot(self) -> GridState:
        """Return a copy of the whole state."""
        return copied(self.grids)

    def restore(self, snapshot: GridState) -> Observed:
        """Restore a snapshot of this level; returns its observation."""
        restore(self.grids, snapshot)
        observe(self.grids, self._images, self._directions)
        self._mission = sentence(self.grids, 0)
        return self._observation()

    def _observation(self) -> Observed:
        return {
            "image": self._images[0].copy(),
            "direction": int(self._directions[0]),
            "mission": self._mission,
        }
