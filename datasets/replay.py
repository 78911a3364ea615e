"""Replay: reproduce observations from seed and actions, and prove that they are equal, bit for bit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.spaces import Discrete, Space

from ..envs.capabilities import draws_tiles
from ..envs.grid.registration import is_level
from ..envs.success import SuccessRule
from ..envs.suite import Suite
from ..envs.task import Task
from ..envs.task_env import StepResult, TaskEnv
from ..errors import TutelageError
from ..foreign_code.trust import Untrusted
from .proof import ReplayResult, differences, is_same
from .trajectory import Digest, Trajectory, digest_of, stack_observations
from .versions import moved_versions

if TYPE_CHECKING:
    from ..envs.grid.environment import GridEnv


def replay(trajectory: Trajectory, environment: TaskEnv) -> ReplayResult:
    """Replay a trajectory's seed and actions in an environment.

    Stored observations are returned unchanged, with the digest computed over them: the environment cannot
    reproduce them, so it is not run.
    """
    if trajectory.observations is not None:
        return _stored(trajectory, trajectory.observations, environment.task.success)
    step = environment.reset(trajectory.seed)
    digest = Digest()
    proof = digest.update(step.observation, 0.0, False, False)
    steps: list[StepResult] = [step]
    for row in trajectory.actions:
        if step.done:
            break
        step = environment.step(row)
        proof = digest.update(step.observation, step.reward, step.terminated, step.truncated)
        steps.append(step)
    return ReplayResult(
        observations=stack_observations([result.observation for result in steps]),
        rewards=np.array([result.reward for result in steps[1:]]),
        terminated=step.terminated,
        truncated=step.truncated,
        success=environment.task.success.outcome(step.success),
        digest=proof,
        legal=_masks(steps),
        infos=environment.infos(),
        casts=dict(environment.casts),
    )


def prove(trajectory: Trajectory, environment: TaskEnv, observations: Mapping[str, np.ndarray]) -> Trajectory:
    """Return the trajectory without observations if replay reproduces them, else with them.

    `environment` must be fresh (never used); `observations` are the recorded ones, leaf path → `[T+1, ...]`.
    If the environment raises an error, the observations are stored.
    """
    bare = replace(trajectory, observations=None)
    try:
        proven = is_same(trajectory, replay(bare, environment))
    except Exception:  # a foreign environment may raise anything; the recording must be kept
        proven = False
    return bare if proven else replace(trajectory, observations=dict(observations))


def prove_again(
    trajectory: Trajectory, environments: Environments, observations: Mapping[str, np.ndarray]
) -> Trajectory:
    """Like `prove`, for one of many episodes: in a used environment first, then in a fresh one."""
    bare = replace(trajectory, observations=None)
    if not is_same(bare, _attempt(bare, environments)):
        environments.renew(trajectory.task)
        if not is_same(bare, _attempt(bare, environments)):
            return replace(trajectory, observations=dict(observations))
    return bare


def replay_proven(
    trajectory: Trajectory, environments: Environments, *, is_judged: bool = True
) -> ReplayResult:
    """Replay, and raise TutelageError unless the result equals the stored episode (`differences`).

    The replay runs in a used environment first; a difference counts only if a fresh environment confirms it.
    """
    result = _attempt(trajectory, environments)
    if (problems := _problems(trajectory, result, is_judged)) and trajectory.observations is None:
        environments.renew(trajectory.task)
        result = _attempt(trajectory, environments)
        problems = _problems(trajectory, result, is_judged)
    if isinstance(result, ReplayResult) and not problems:
        return result
    raise TutelageError(_complaint(trajectory, problems))


def replay_many(
    trajectories: Sequence[Trajectory], environments: Environments, *, is_judged: bool = True
) -> Iterator[ReplayResult | TutelageError]:
    """Like `replay_proven`, for many episodes; yield errors instead of raising them.

    Episodes of grid environments are replayed by the kernels, all of a task in one call.
    """
    kernel_results: dict[str, ReplayResult] = {}
    for task in dict.fromkeys(trajectory.task for trajectory in trajectories):
        candidates = [
            trajectory
            for trajectory in trajectories
            if trajectory.task == task and trajectory.observations is None
        ]
        if candidates and (grid := _grid_env(environments[task])) is not None:
            # the kernels do not validate: invalid actions take the slow path, which refuses them
            candidates = [
                trajectory
                for trajectory in candidates
                if are_choices(trajectory.actions, environments[task].action_space)
            ]
        if candidates and grid is not None:
            kernel_results |= zip(
                (trajectory.episode for trajectory in candidates),
                replay_grid(candidates, environments[task], grid),
                strict=True,
            )
    for trajectory in trajectories:
        result = kernel_results.get(trajectory.episode)
        if result is not None and not differences(trajectory, result, is_judged=is_judged):
            yield result
            continue
        try:
            yield replay_proven(trajectory, environments, is_judged=is_judged)
        except Untrusted:
            raise
        except TutelageError as error:
            yield error


def are_choices(actions: np.ndarray, space: Space[Any]) -> bool:
    """Return whether rows `[T, k]` are valid actions of a discrete space, safe for the kernels."""
    if not isinstance(space, Discrete) or actions.shape[1] != 1:
        return False
    low, high = int(space.start), int(space.start) + int(space.n) - 1
    column = actions[:, 0]
    return bool(((column >= low) & (column <= high) & (column == np.floor(column))).all())


def is_grid(task: Task) -> bool:
    """Return whether a task is an unmodified built-in grid environment, which the kernels can replay."""
    return is_level(task.env) and task.max_steps is None and not task.wrappers


def replay_grid(
    trajectories: Sequence[Trajectory], environment: TaskEnv, grid: GridEnv
) -> Iterator[ReplayResult]:
    """Replay episodes of one grid task in one call of `GridEnv.step_many`."""
    lengths = [len(trajectory) for trajectory in trajectories]
    begins = np.concatenate(([0], np.cumsum(lengths)))
    actions = np.concatenate([trajectory.actions[:, 0] for trajectory in trajectories]).astype(np.int64)
    rule = environment.task.success
    batch = grid.step_many(np.array([trajectory.seed for trajectory in trajectories]), begins, actions)
    for index, trajectory in enumerate(trajectories):
        steps, observed = (
            slice(begins[index], begins[index + 1]),
            slice(begins[index] + index, begins[index + 1] + index + 1),
        )
        rewards = batch.rewards[steps]
        ends = bool(batch.terminated[steps][-1]), bool(batch.truncated[steps][-1])
        infos = rule.no_infos(len(trajectory))
        success = rule.outcome(any(ends) and rule.judge(rewards, *ends, infos))
        observations = {
            "direction": batch.directions[observed],
            "image": batch.images[observed],
            "mission": np.full(len(trajectory) + 1, batch.missions[index]),
        }
        flags = np.stack([batch.terminated[steps], batch.truncated[steps]], 1)
        digest = _grid_digest(observations, rewards, flags, batch.missions[index])
        yield ReplayResult(rewards, *ends, success, digest, observations, None, infos, {})


def _grid_digest(
    observations: Mapping[str, np.ndarray], rewards: np.ndarray, flags: np.ndarray, mission: str
) -> bytes:
    """Compute the final value of `Digest` from one array of bytes `[T + 1, ...]`."""
    rows = len(rewards) + 1
    parts: list[np.ndarray] = []
    for path in ("direction", "image"):
        parts += [_repeat_text(path.encode(), rows), _bytes_of(observations[path])]
    parts.append(_repeat_text(b"mission" + mission.encode(), rows))
    parts.append(_bytes_of(np.concatenate(([0.0], rewards))))
    parts.append(np.concatenate([np.zeros((1, 2), np.uint8), flags.astype(np.uint8)]))
    return hashlib.blake2b(np.concatenate(parts, axis=1).tobytes(), digest_size=16).digest()


def _repeat_text(text: bytes, rows: int) -> np.ndarray:
    return np.broadcast_to(np.frombuffer(text, np.uint8), (rows, len(text)))


def _bytes_of(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(len(array), -1).view(np.uint8)


def _grid_env(environment: TaskEnv) -> GridEnv | None:
    """Return the grid environment of a task that `is_grid`, else None."""
    unwrapped = environment.env.unwrapped
    return unwrapped if draws_tiles(unwrapped) and is_grid(environment.task) else None  # type: ignore[return-value]


class Environments:
    """One environment per task of a suite, created on first use, all closed on exit."""

    def __init__(self, suite: Suite) -> None:
        self.suite = suite
        self._environments: dict[str, TaskEnv] = {}

    def __getitem__(self, task_id: str) -> TaskEnv:
        if task_id not in self._environments:
            self._environments[task_id] = TaskEnv(self.suite[task_id])
        return self._environments[task_id]

    def renew(self, task_id: str) -> None:
        """Close a task's environment, so that the next use creates a fresh one."""
        if (used := self._environments.pop(task_id, None)) is not None:
            used.close()

    def __enter__(self) -> Environments:
        return self

    def __exit__(self, *_: object) -> None:
        for task_id in list(self._environments):
            self.renew(task_id)


def _stored(
    trajectory: Trajectory, observations: Mapping[str, np.ndarray], rule: SuccessRule
) -> ReplayResult:
    ends = trajectory.terminated, trajectory.truncated
    judged = rule.judge(trajectory.rewards, *ends, trajectory.infos) if any(ends) else rule.outcome(False)
    return ReplayResult(
        observations=dict(observations),
        rewards=trajectory.rewards,
        terminated=trajectory.terminated,
        truncated=trajectory.truncated,
        success=judged,
        digest=digest_of(observations, trajectory.rewards, *ends),
    )


def _masks(steps: list[StepResult]) -> np.ndarray | None:
    masks = [step.legal for step in steps if step.legal is not None]
    return np.stack(masks) if len(masks) == len(steps) else None


def _attempt(trajectory: Trajectory, environments: Environments) -> ReplayResult | Exception:
    if trajectory.observations is not None:
        return _stored(trajectory, trajectory.observations, environments.suite[trajectory.task].success)
    try:
        return replay(trajectory, environments[trajectory.task])
    except Untrusted:
        raise
    except Exception as error:  # foreign code; reported to the user by the caller
        return error


def _problems(trajectory: Trajectory, result: ReplayResult | Exception, is_judged: bool) -> list[str]:
    """Describe the differences, or the error that the environment raised."""
    if isinstance(result, Exception):
        return [f"{type(result).__name__}: {result}"]
    return differences(trajectory, result, is_judged=is_judged)


def _complaint(trajectory: Trajectory, problems: list[str]) -> str:
    changes = [] if trajectory.observations is not None else moved_versions(trajectory.versions)
    remedy = f"; versions changed ({', '.join(changes)}): install the recorded ones" if changes else ""
    return (
        f"expected episode {trajectory.episode} (task {trajectory.task!r}, seed {trajectory.seed}) to replay "
        f"as recorded, got {', '.join(problems)}{remedy}"
    )
