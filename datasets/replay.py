"""Seed + actions → observations again, and the proof that they are the same, bit for bit."""

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
    """Run a trajectory's seed and actions again.

    Stored observations are returned as they are, with the digest computed over them: the
    environment could not give them back, so it is not asked.
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
        observations=stack_observations([one.observation for one in steps]),
        rewards=np.array([one.reward for one in steps[1:]]),
        terminated=step.terminated,
        truncated=step.truncated,
        success=environment.task.success.outcome(step.success),
        digest=proof,
        legal=_masks(steps),
        infos=environment.infos(),
        casts=dict(environment.casts),
    )


def prove(trajectory: Trajectory, environment: TaskEnv, observations: Mapping[str, np.ndarray]) -> Trajectory:
    """Decide whether actions are enough: return the trajectory without observations, or with them.

    `environment` must be fresh (never used); `observations` are those that were seen, leaf path →
    `[T+1, ...]`. An environment that breaks on the way proves nothing, so the observations are stored.
    """
    bare = replace(trajectory, observations=None)
    try:
        proven = is_same(trajectory, replay(bare, environment))
    except Exception:  # whatever a foreign environment raises, what was recorded must be kept
        proven = False
    return bare if proven else replace(trajectory, observations=dict(observations))


def prove_again(
    trajectory: Trajectory, environments: Environments, observations: Mapping[str, np.ndarray]
) -> Trajectory:
    """Do what `prove` does for one of many episodes: in a used environment first, then in a fresh one."""
    bare = replace(trajectory, observations=None)
    if not is_same(bare, _attempt(bare, environments)):
        environments.renew(trajectory.task)
        if not is_same(bare, _attempt(bare, environments)):
            return replace(trajectory, observations=dict(observations))
    return bare


def replay_proven(
    trajectory: Trajectory, environments: Environments, *, is_judged: bool = True
) -> ReplayResult:
    """Replay, and raise TutelageError unless all that a replay decides is what is stored (`differences`).

    An environment that has played other episodes is asked first; before a difference is called one, a
    fresh environment is asked too.
    """
    got = _attempt(trajectory, environments)
    if (unlike := _unlike(trajectory, got, is_judged)) and trajectory.observations is None:
        environments.renew(trajectory.task)
        got = _attempt(trajectory, environments)
        unlike = _unlike(trajectory, got, is_judged)
    if isinstance(got, ReplayResult) and not unlike:
        return got
    raise TutelageError(_complaint(trajectory, unlike))


def replay_many(
    trajectories: Sequence[Trajectory], environments: Environments, *, is_judged: bool = True
) -> Iterator[ReplayResult | TutelageError]:
    """Do what `replay_proven` does for many episodes, and give its error instead of raising it.

    Episodes of grid worlds are replayed by the kernels, all of a task in one call.
    """
    quick: dict[str, ReplayResult] = {}
    for task in dict.fromkeys(trajectory.task for trajectory in trajectories):
        candidates = [
            trajectory
            for trajectory in trajectories
            if trajectory.task == task and trajectory.observations is None
        ]
        if candidates and (world := _grid_world(environments[task])) is not None:
            # the kernels do not look: what is no action goes the slow way, and is refused there
            candidates = [
                trajectory
                for trajectory in candidates
                if are_choices(trajectory.actions, environments[task].action_space)
            ]
        if candidates and world is not None:
            quick |= zip(
                (trajectory.episode for trajectory in candidates),
                replay_grid(candidates, environments[task], world),
                strict=True,
            )
    for trajectory in trajectories:
        got = quick.get(trajectory.episode)
        if got is not None and not differences(trajectory, got, is_judged=is_judged):
            yield got
            continue
        try:
            yield replay_proven(trajectory, environments, is_judged=is_judged)
        except Untrusted:
            raise
        except TutelageError as error:
            yield error


def are_choices(actions: np.ndarray, space: Space[Any]) -> bool:
    """Say whether rows `[T, k]` are choices of a discrete space, which kernels may take unseen."""
    if not isinstance(space, Discrete) or actions.shape[1] != 1:
        return False
    low, high = int(space.start), int(space.start) + int(space.n) - 1
    column = actions[:, 0]
    return bool(((column >= low) & (column <= high) & (column == np.floor(column))).all())


def is_grid(task: Task) -> bool:
    """Whether a task is a grid world of ours as it is, whose episodes the kernels play and replay."""
    return is_level(task.env) and task.max_steps is None


def replay_grid(
    trajectories: Sequence[Trajectory], environment: TaskEnv, world: GridEnv
) -> Iterator[ReplayResult]:
    """Replay episodes of one grid task in one call of `GridEnv.step_many`."""
    lengths = [len(one) for one in trajectories]
    begins = np.concatenate(([0], np.cumsum(lengths)))
    actions = np.concatenate([one.actions[:, 0] for one in trajectories]).astype(np.int64)
    rule = environment.task.success
    played = world.step_many(np.array([one.seed for one in trajectories]), begins, actions)
    for n, one in enumerate(trajectories):
        steps, seen = slice(begins[n], begins[n + 1]), slice(begins[n] + n, begins[n + 1] + n + 1)
        rewards = played.rewards[steps]
        ends = bool(played.terminated[steps][-1]), bool(played.truncated[steps][-1])
        infos = rule.no_infos(len(one))
        success = rule.outcome(any(ends) and rule.judge(rewards, *ends, infos))
        observations = {
            "direction": played.directions[seen],
            "image": played.images[seen],
            "mission": np.full(len(one) + 1, played.missions[n]),
        }
        flags = np.stack([played.terminated[steps], played.truncated[steps]], 1)
        digest = _grid_digest(observations, rewards, flags, played.missions[n])
        yield ReplayResult(rewards, *ends, success, digest, observations, None, infos, {})


def _grid_digest(
    observations: Mapping[str, np.ndarray], rewards: np.ndarray, flags: np.ndarray, mission: str
) -> bytes:
    """Compute what `Digest` gives after all steps, from one array of bytes `[T + 1, ...]`."""
    rows = len(rewards) + 1
    parts: list[np.ndarray] = []
    for path in ("direction", "image"):
        parts += [_repeated(path.encode(), rows), _bytes_of(observations[path])]
    parts.append(_repeated(b"mission" + mission.encode(), rows))
    parts.append(_bytes_of(np.concatenate(([0.0], rewards))))
    parts.append(np.concatenate([np.zeros((1, 2), np.uint8), flags.astype(np.uint8)]))
    return hashlib.blake2b(np.concatenate(parts, axis=1).tobytes(), digest_size=16).digest()


def _repeated(text: bytes, rows: int) -> np.ndarray:
    return np.broadcast_to(np.frombuffer(text, np.uint8), (rows, len(text)))


def _bytes_of(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(len(array), -1).view(np.uint8)


def _grid_world(environment: TaskEnv) -> GridEnv | None:
    """Return the grid world of a task that is nothing but one, else None."""
    world = environment.env.unwrapped
    return world if draws_tiles(world) and is_grid(environment.task) else None  # type: ignore[return-value]


class Environments:
    """One environment for each task of a suite, made when first asked for, all closed at the end."""

    def __init__(self, suite: Suite) -> None:
        self.suite = suite
        self._made: dict[str, TaskEnv] = {}

    def __getitem__(self, task_id: str) -> TaskEnv:
        if task_id not in self._made:
            self._made[task_id] = TaskEnv(self.suite[task_id])
        return self._made[task_id]

    def renew(self, task_id: str) -> None:
        """Close a task's environment, so that the next one is fresh."""
        if (used := self._made.pop(task_id, None)) is not None:
            used.close()

    def __enter__(self) -> Environments:
        return self

    def __exit__(self, *_: object) -> None:
        for task_id in list(self._made):
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
    masks = [one.legal for one in steps if one.legal is not None]
    return np.stack(masks) if len(masks) == len(steps) else None


def _attempt(trajectory: Trajectory, environments: Environments) -> ReplayResult | Exception:
    if trajectory.observations is not None:
        return _stored(trajectory, trajectory.observations, environments.suite[trajectory.task].success)
    try:
        return replay(trajectory, environments[trajectory.task])
    except Untrusted:
        raise
    except Exception as error:  # foreign code; told to the user below
        return error


def _unlike(trajectory: Trajectory, got: ReplayResult | Exception, is_judged: bool) -> list[str]:
    """Say what differs, or what the environment raised."""
    if isinstance(got, Exception):
        return [f"{type(got).__name__}: {got}"]
    return differences(trajectory, got, is_judged=is_judged)


def _complaint(trajectory: Trajectory, unlike: list[str]) -> str:
    moved = [] if trajectory.observations is not None else moved_versions(trajectory.versions)
    remedy = f"; versions changed ({', '.join(moved)}): install the recorded ones" if moved else ""
    return (
        f"expected episode {trajectory.episode} (task {trajectory.task!r}, seed {trajectory.seed}) to replay "
        f"as recorded, got {', '.join(unlike)}{remedy}"
    )
