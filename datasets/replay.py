"""Replay: reproduce observations from seed and actions, and prove that they are equal, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..envs.success import SuccessRule
from ..envs.suite import Suite
from ..envs.task_env import StepResult, TaskEnv
from ..errors import TutelageError
from ..foreign_code.trust import Untrusted
from .batch_replay import are_valid, replay_batch, replays_many
from .proof import ReplayResult, differences, is_same
from .trajectory import Digest, Trajectory, digest_of, stack_observations
from .versions import moved_versions


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

    Episodes of environments that `capabilities.ReplaysMany` are replayed all of a task in one call.
    """
    fast_results: dict[str, ReplayResult] = {}
    for task in dict.fromkeys(trajectory.task for trajectory in trajectories):
        candidates = [
            trajectory
            for trajectory in trajectories
            if trajectory.task == task and trajectory.observations is None
        ]
        if candidates and replays_many(environments[task], candidates[0].seed):
            fast_results |= _replay_fast(candidates, environments[task])
    for trajectory in trajectories:
        result = fast_results.get(trajectory.episode)
        if result is not None and not differences(trajectory, result, is_judged=is_judged):
            yield result
            continue
        try:
            yield replay_proven(trajectory, environments, is_judged=is_judged)
        except Untrusted:
            raise
        except TutelageError as error:
            yield error


def _replay_fast(trajectories: Sequence[Trajectory], environment: TaskEnv) -> dict[str, ReplayResult]:
    """Replay at once those episodes that can be: id → result. An error of the environment leaves all out."""
    limit, space = environment.fixed_limit or len(max(trajectories, key=len)), environment.action_space
    fit = [
        trajectory
        for trajectory in trajectories
        if 0 < len(trajectory) <= limit and are_valid(trajectory.actions, space)
    ]
    try:
        results = list(replay_batch(fit, environment)) if fit else []
    except TutelageError:  # the episodes are replayed step by step instead
        return {}
    pairs = zip(fit, results, strict=True)
    return {trajectory.episode: result for trajectory, result in pairs if result is not None}


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
