"""The simulated crowd in grid environments: the kernels play chunks of episodes, then replay proves them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ...envs.grid.environment import GridEnv
from ...envs.task_env import TaskEnv
from ...errors import TutelageError
from ..replay import replay_grid
from ..trajectory import CONTROLLERS, Trajectory
from ..versions import versions_of

if TYPE_CHECKING:
    from .profiles import SimulatedDemonstrator


def play_grid(
    environment: TaskEnv,
    people: Sequence[SimulatedDemonstrator],
    seeds: Sequence[int],
    suite: str,
    started: str,
) -> list[Trajectory]:
    """Play the episodes of `seeds`, the demonstrators in turn, and prove each by replay.

    The random numbers of an episode are a function of its demonstrator's name, the task and the seed.
    """
    grid = environment.env.unwrapped
    assert isinstance(grid, GridEnv)
    players = [people[seed % len(people)] for seed in seeds]
    actions, times, begins = _play_episodes(environment, grid, players, np.array(seeds))
    task, versions = environment.task, versions_of(environment)
    bare = [
        Trajectory(
            suite=suite,
            task=task.id,
            env=task.env,
            kwargs=dict(task.kwargs),
            seed=seed,
            demonstrator=player.name,
            kind=player.kind,
            actions=actions[begin:end, None].astype(float),
            rewards=np.zeros(end - begin),
            times_ms=times[begin:end],
            controllers=np.full(end - begin, CONTROLLERS.index(player.controller), np.int8),
            frames=np.arange(end - begin, dtype=np.int32),
            terminated=False,
            truncated=False,
            success=False,
            digest=bytes(16),
            versions=versions,
            started=started,
        )
        for player, seed, begin, end in zip(players, seeds, begins[:-1], begins[1:], strict=True)
        if end > begin
    ]
    return _fill_from_replay(bare, environment, grid)


def _play_episodes(
    environment: TaskEnv, grid: GridEnv, players: Sequence[SimulatedDemonstrator], seeds: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    from ...envs.grid.planner.memory import empty_memory
    from ...envs.grid.simulated_players import play_episodes

    profiles = [player.profile for player in players]
    people = np.array(
        [
            (
                profile.slip,
                profile.give_up,
                profile.against,
                profile.misread,
                profile.reaction_ms,
                profile.reaction_spread,
            )
            for profile in profiles
        ]
    )
    name_hashes = [zlib.crc32(f"{player.name}/{environment.task.id}".encode()) for player in players]
    random_seeds = (np.array(name_hashes, np.uint64) << np.uint64(32)) ^ seeds.astype(np.uint64)
    keys = np.unique([int(binding.action[0]) for binding in environment.controls().bindings])
    memory = empty_memory(1, grid.level.height, grid.level.width)
    limit = 4 * 2 * grid.level.room_size**2 * grid.level.rows * grid.level.columns
    actions, times = (
        np.zeros(len(seeds) * 160 + limit, np.uint8),
        np.zeros(len(seeds) * 160 + limit, np.int32),
    )
    begins = np.zeros(len(seeds) + 1, np.int64)
    level, offset, completed = grid.level.packed(), 0, 0
    chunks: list[tuple[np.ndarray, np.ndarray]] = []
    edges = [0]
    while completed < len(seeds):  # hostile profiles need many steps: continue where the arrays were full
        rest = slice(completed, None)
        count = play_episodes(
            grid.grids,
            memory,
            level,
            keys,
            people[rest],
            random_seeds[rest],
            seeds[rest],
            actions,
            times,
            begins,
        )
        if not count:
            raise TutelageError(f"expected room for an episode of {environment.task.env}, got none")
        chunks.append((actions[: begins[count]].copy(), times[: begins[count]].copy()))
        edges += (offset + begins[1 : count + 1]).tolist()
        offset, completed = edges[-1], completed + count
    return (
        np.concatenate([chunk for chunk, _ in chunks]),
        np.concatenate([chunk for _, chunk in chunks]),
        edges,
    )


def _fill_from_replay(bare: list[Trajectory], environment: TaskEnv, grid: GridEnv) -> list[Trajectory]:
    """Fill in rewards, ends and digest from a replay: the proof that seeds and actions suffice."""
    return [
        replace(
            trajectory,
            rewards=result.rewards,
            terminated=result.terminated,
            truncated=result.truncated,
            success=result.success,
            digest=result.digest,
            infos=result.infos or {},
            notes="" if result.terminated or result.truncated else "walked away",
        )
        for trajectory, result in zip(bare, replay_grid(bare, environment, grid), strict=True)
    ]
