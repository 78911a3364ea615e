"""Replay many episodes in one call, by an environment's `capabilities.ReplaysMany`; its answer is checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from gymnasium.spaces import Discrete, Space

from ..envs.capabilities import ReplayedEpisodes, ReplaysMany, plain
from ..envs.spaces import is_text, leaves, row_to_action
from ..envs.task_env import TaskEnv
from ..errors import TutelageError
from ..foreign_code.objects import foreign_errors
from .proof import ReplayResult
from .trajectory import Trajectory, digest_of_steps


def replays_many(environment: TaskEnv, seed: int) -> bool:
    """Return whether an environment replays many episodes at once, by a reset to a seed.

    Not within wrappers, nor with what only `info` has: action masks, and what the success rule reads.
    """
    if plain(environment.env, ReplaysMany) is None or environment.task.success.paths:
        return False
    try:
        return environment.reset(seed).legal is None
    except Exception:  # a replay step by step tells why
        return False


def are_valid(actions: np.ndarray, space: Space) -> bool:
    """Return whether rows `[T, k]` are actions of a space: `ReplaysMany.replay_many` checks none."""
    if not isinstance(space, Discrete):
        return all(space.contains(row_to_action(space, row)) for row in actions)
    if actions.shape[1] != 1:
        return False
    low, high = int(space.start), int(space.start) + int(space.n) - 1
    column = actions[:, 0]
    return bool(((column >= low) & (column <= high) & (column == np.floor(column))).all())


def replayed(
    environment: TaskEnv, seeds: np.ndarray, starts: np.ndarray, actions: np.ndarray
) -> ReplayedEpisodes:
    """Call an environment's `replay_many`, with observations in the order of its space.

    Raises TutelageError for what it raises, and for arrays of other lengths, shapes or dtypes.
    """
    bare = plain(environment.env, ReplaysMany)
    assert bare is not None
    who = f"replay_many of {environment.task.env}"
    with foreign_errors(f"{who} failed: "):
        answer = bare.replay_many(seeds.copy(), starts.copy(), actions.copy())
        if not isinstance(answer, ReplayedEpisodes):
            raise TutelageError(f"expected {who} to return ReplayedEpisodes, got {type(answer).__name__}")
        steps, rows = len(actions), len(actions) + len(seeds)
        observations = {}
        for leaf in leaves(environment.observation_space):
            array = np.asarray(answer.observations[leaf.path])
            _check(array, leaf.space, rows, f"{who}, {leaf.path!r}")
            observations[leaf.path] = array
        numbers = np.asarray(answer.rewards, np.float64)
        flags = [np.asarray(answer.terminated, np.bool_), np.asarray(answer.truncated, np.bool_)]
        for name, array in zip(("rewards", "terminated", "truncated"), (numbers, *flags), strict=True):
            if array.shape != (steps,):
                raise TutelageError(f"expected {who} to return {steps} {name}, got {list(array.shape)}")
    return ReplayedEpisodes(observations, numbers, *flags)


def _check(array: np.ndarray, space: Space, rows: int, who: str) -> None:
    if is_text(space):
        is_sound = array.shape == (rows,) and all(isinstance(text, str) for text in array.tolist())
        expected = f"{rows} texts"
    else:
        shape = (rows, *(space.shape or ()))
        is_sound = array.shape == shape and array.dtype == space.dtype
        expected = f"{space.dtype} {list(shape)}"
    if not is_sound:
        raise TutelageError(f"expected {expected} of {who}, got {array.dtype} {list(array.shape)}")


def replay_batch(trajectories: Sequence[Trajectory], environment: TaskEnv) -> Iterator[ReplayResult | None]:
    """Replay episodes of one task, whose environment `replays_many`, in one call.

    None for an episode that goes on after its end. Raises TutelageError, see `replayed`.
    """
    starts = np.concatenate(([0], np.cumsum([len(trajectory) for trajectory in trajectories])))
    seeds = np.array([trajectory.seed for trajectory in trajectories], np.int64)
    actions = np.concatenate([trajectory.actions for trajectory in trajectories])
    batch = replayed(environment, seeds, starts, actions)
    rule, limit, time_limit = environment.task.success, environment.fixed_limit, environment.time_limit
    for index, trajectory in enumerate(trajectories):
        steps, observed = (
            slice(starts[index], starts[index + 1]),
            slice(starts[index] + index, starts[index + 1] + index + 1),
        )
        rewards = batch.rewards[steps]
        flags = np.stack([batch.terminated[steps], batch.truncated[steps]], 1)
        if flags[:-1].any():
            yield None
            continue
        # Gymnasium's own limit truncates what has terminated, too; the others do not
        if len(trajectory) == time_limit or (len(trajectory) == limit and not flags[-1, 0]):
            flags[-1, 1] = True
        ends = bool(flags[-1, 0]), bool(flags[-1, 1])
        infos = rule.no_infos(len(trajectory))
        success = rule.outcome(any(ends) and rule.judge(rewards, *ends, infos))
        observations = {path: array[observed] for path, array in batch.observations.items()}
        digest = digest_of_steps(observations, rewards, flags)
        yield ReplayResult(rewards, *ends, success, digest, observations, None, infos, {})
