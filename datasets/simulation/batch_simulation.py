"""The simulated crowd in environments that `capabilities.Simulates`: many episodes a call, then proven."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from gymnasium.spaces import Discrete

from ...envs.capabilities import ReplaysMany, SimulatedEpisodes, Simulates, plain
from ...envs.spaces import action_size
from ...envs.task import Task
from ...envs.task_env import TaskEnv
from ...envs.task_spec import class_of
from ...errors import TutelageError
from ...foreign_code.objects import foreign_errors
from ..batch_replay import are_valid, replay_batch
from ..proof import differences
from ..replay import replay
from ..trajectory import CONTROLLERS, Trajectory
from ..versions import versions_of

if TYPE_CHECKING:
    from .profiles import SimulatedDemonstrator


def simulates(task: Task) -> bool:
    """Return whether a task's environment simulates whole episodes of the expert that the task names."""
    made_by = class_of(task)
    return (
        made_by is not None
        and issubclass(made_by, Simulates)
        and issubclass(made_by, ReplaysMany)
        and made_by.simulated_expert() == task.expert
        and not task.fps
        and task.max_steps is None
        and not task.success.paths
    )


def play_batch(
    environment: TaskEnv,
    people: Sequence[SimulatedDemonstrator],
    seeds: Sequence[int],
    suite: str,
    started: str,
) -> list[Trajectory]:
    """Play the episodes of `seeds`, the demonstrators in turn, and prove each by replay.

    The random numbers of an episode are a function of its demonstrator's name, the task and the seed.
    """
    players = [people[seed % len(people)] for seed in seeds]
    actions, times, starts = _simulate(environment, players, np.array(seeds))
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
            actions=actions[start:end],
            rewards=np.zeros(end - start),
            times_ms=times[start:end],
            controllers=np.full(end - start, CONTROLLERS.index(player.controller), np.int8),
            frames=np.arange(end - start, dtype=np.int32),
            terminated=False,
            truncated=False,
            success=False,
            digest=bytes(16),
            versions=versions,
            started=started,
        )
        for player, seed, start, end in zip(players, seeds, starts[:-1], starts[1:], strict=True)
        if end > start
    ]
    return _fill_from_replay(bare, environment)


def _simulate(
    environment: TaskEnv, players: Sequence[SimulatedDemonstrator], seeds: np.ndarray
) -> SimulatedEpisodes:
    bare = plain(environment.env, Simulates)
    assert bare is not None
    profiles = np.array(
        [
            (
                profile.slip,
                profile.give_up,
                profile.against,
                profile.misread,
                profile.reaction_ms,
                profile.reaction_spread,
            )
            for profile in (player.profile for player in players)
        ]
    )
    name_hashes = [zlib.crc32(f"{player.name}/{environment.task.id}".encode()) for player in players]
    random_seeds = (np.array(name_hashes, np.uint64) << np.uint64(32)) ^ seeds.astype(np.uint64)
    bound = [int(binding.action[0]) for binding in environment.controls().bindings]
    space = environment.action_space
    if not bound and isinstance(space, Discrete):  # people click on the picture
        bound = [int(space.start) + index for index in range(int(space.n))]
    who = f"simulate of {environment.task.env}"
    with foreign_errors(f"{who} failed: "):
        answer = bare.simulate(profiles, np.unique(bound), random_seeds, seeds.copy())
        actions, times, starts = (np.asarray(array) for array in answer)
    _check(actions, times, starts, len(seeds), environment, who)
    return SimulatedEpisodes(actions.astype(np.float64), times.astype(np.int32), starts.astype(np.int64))


def _check(
    actions: np.ndarray, times: np.ndarray, starts: np.ndarray, episodes: int, environment: TaskEnv, who: str
) -> None:
    """Check what an environment's `simulate` returned; raises TutelageError."""
    size = action_size(environment.action_space)
    is_numeric = all(array.dtype.kind in "biuf" for array in (actions, times, starts))
    if not is_numeric or actions.shape != (len(times), size) or starts.shape != (episodes + 1,):
        raise TutelageError(
            f"expected {who} to return actions [N, {size}], N times and {episodes + 1} starts, got "
            f"{list(actions.shape)}, {list(times.shape)}, {list(starts.shape)}"
        )
    if starts[0] != 0 or starts[-1] != len(times) or (np.diff(starts) < 0).any():
        raise TutelageError(f"expected starts of {who} from 0 to {len(times)} that never fall, got others")
    if not are_valid(actions.astype(np.float64), environment.action_space):
        raise TutelageError(f"expected actions of {environment.action_space} of {who}, got others")
    episode = np.repeat(np.arange(episodes), np.diff(starts).astype(np.int64))
    falls = (np.diff(times.astype(np.float64)) < 0) & (np.diff(episode) == 0)
    is_odd = len(times) and (not np.isfinite(times).all() or times.min() < 0 or times.max() >= 2**31)
    if is_odd or falls.any():
        raise TutelageError(f"expected times of {who} in ms that never fall within an episode, got others")


def _fill_from_replay(bare: list[Trajectory], environment: TaskEnv) -> list[Trajectory]:
    """Fill in rewards, ends and digest from a replay: the proof that seeds and actions suffice.

    One episode is replayed step by step, too. Raises TutelageError where that differs, and for an episode
    that goes on after its end.
    """
    filled = []
    for trajectory, result in zip(bare, replay_batch(bare, environment) if bare else (), strict=True):
        if result is None:
            raise TutelageError(
                f"expected simulate of {environment.task.env} to stop when an episode ends, but it goes on "
                f"with seed {trajectory.seed}"
            )
        filled.append(
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
        )
    if filled:
        with closing(TaskEnv(environment.task)) as witness:
            problems = differences(filled[0], replay(filled[0], witness))
        if problems:
            raise TutelageError(
                f"expected replay_many of {environment.task.env} to give what steps give, got "
                f"{', '.join(problems)} with seed {filled[0].seed}"
            )
    return filled
