"""The simulated crowd in our own grid worlds: whole chunks of episodes played by the kernels, then proven."""

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
    """Let people take turns at the episodes of `seeds`, and prove each by replay.

    The dice of an episode are a function of its player's name, the task and the seed.
    """
    world = environment.env.unwrapped
    assert isinstance(world, GridEnv)
    players = [people[seed % len(people)] for seed in seeds]
    actions, times, begins = _played(environment, world, players, np.array(seeds))
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
    return _proven(bare, environment, world)


def _played(
    environment: TaskEnv, world: GridEnv, players: Sequence[SimulatedDemonstrator], seeds: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    from ...envs.grid.planner.memory import empty_minds
    from ...envs.grid.simulated_players import play_episodes

    profiles = [one.profile for one in players]
    people = np.array(
        [
            (one.slip, one.give_up, one.against, one.misread, one.reaction_ms, one.reaction_spread)
            for one in profiles
        ]
    )
    words = [zlib.crc32(f"{one.name}/{environment.task.id}".encode()) for one in players]
    chances = (np.array(words, np.uint64) << np.uint64(32)) ^ seeds.astype(np.uint64)
    keys = np.unique([int(one.action[0]) for one in environment.controls().bindings])
    minds = empty_minds(1, world.level.height, world.level.width)
    limit = 4 * 2 * world.level.room_size**2 * world.level.rows * world.level.columns
    actions, times = (
        np.zeros(len(seeds) * 160 + limit, np.uint8),
        np.zeros(len(seeds) * 160 + limit, np.int32),
    )
    begins = np.zeros(len(seeds) + 1, np.int64)
    level, at, done = world.level.packed(), 0, 0
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    edges = [0]
    while done < len(seeds):  # hostile people need many steps: go on where the arrays were full
        rest = slice(done, None)
        count = play_episodes(
            world.worlds, minds, level, keys, people[rest], chances[rest], seeds[rest], actions, times, begins
        )
        if not count:
            raise TutelageError(f"expected room for an episode of {environment.task.env}, got none")
        kept.append((actions[: begins[count]].copy(), times[: begins[count]].copy()))
        edges += (at + begins[1 : count + 1]).tolist()
        at, done = edges[-1], done + count
    return np.concatenate([one for one, _ in kept]), np.concatenate([one for _, one in kept]), edges


def _proven(bare: list[Trajectory], environment: TaskEnv, world: GridEnv) -> list[Trajectory]:
    """Fill in what a replay from the seeds gives: the proof that seeds and actions are enough."""
    return [
        replace(
            one,
            rewards=again.rewards,
            terminated=again.terminated,
            truncated=again.truncated,
            success=again.success,
            digest=again.digest,
            infos=again.infos or {},
            notes="" if again.terminated or again.truncated else "walked away",
        )
        for one, again in zip(bare, replay_grid(bare, environment, world), strict=True)
    ]
