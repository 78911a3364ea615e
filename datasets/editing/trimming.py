"""Trim idle steps at both ends of episodes, where replay proves that nothing else changes.

The end is trimmed only if the last step did not end the episode: in an episode that was abandoned, or that
ran out of time without success. The start is trimmed only if the remaining actions, taken from the reset,
give exactly the recorded observations; if the state changed during the idle steps, trimming is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from gymnasium.spaces import Box, Discrete

from ...console.printable import printable
from ...console.wording import counted
from ...envs.keys.controls import from_mapping
from ...envs.success import SuccessRule
from ...errors import TutelageError
from ...foreign_code.trust import Untrusted
from ..proof import ReplayResult
from ..replay import Environments, replay, replay_proven
from ..store import Store
from ..trajectory import Trajectory, digest_of
from .edit_commit import StoreChange
from .plans import EditPlan, line_of, meant_rows, read_episodes
from .row_spool import RowSpool
from .selection import Selection


class TrimRefusal(Exception):
    """The reason why an episode cannot be trimmed."""


def plan_trim(
    store: Store,
    selection: Selection,
    *,
    start: bool = True,
    end: bool = True,
    idle: str = "",
    progress: Callable[[int], None] = lambda _: None,
) -> EditPlan:
    """Plan to trim idle steps at the start and the end of the selected episodes.

    `idle` is the idle action as JSON, for a task that does not define it. Raises TutelageError without
    either.
    """
    rows = store.episodes()
    ids = frozenset(rows["episode"][index].as_py() for index in meant_rows(store, selection, rows))
    plan, put = EditPlan(StoreChange("trim", "")), RowSpool()
    untouched = 0
    with Environments(store.suite) as environments:
        for trajectory in read_episodes(store, ids):
            progress(1)
            idle_counts = idle_steps(trajectory, idle_row(environments, trajectory.task, idle))
            first, last = idle_counts[0] * start, idle_counts[1] * end
            if not first and not last:
                untouched += 1
                continue
            try:
                trimmed = trim(trajectory, environments, first, last)
            except TrimRefusal as refusal:
                plan.refused.append(line_of(trajectory, str(refusal)))
                continue
            put.add([trimmed])
            plan.lines.append(
                line_of(
                    trajectory,
                    f"{_cut_note(first, last)}: {len(trajectory)} → {counted(len(trimmed), 'step')}",
                )
            )
    plan.change = replace(plan.change, put=put.table(), text=f"trim {counted(len(put), 'episode')}")
    if untouched:
        plan.notes.append(f"no idle steps at the ends of {counted(untouched, 'episode')}")
    return plan


def idle_row(environments: Environments, task_id: str, idle: str = "") -> np.ndarray:
    """Return the idle action of a task as a row `[k]`; raises TutelageError if there is none."""
    environment = environments[task_id]
    if idle:
        try:
            action = json.loads(idle)
        except ValueError:
            raise TutelageError(
                f"expected --idle to be an action as JSON, such as 0 or [0, 0], got {printable(idle)!r}"
            ) from None
        row = from_mapping({}, action, environment.action_space).idle
        if row is not None:
            return np.array(row, np.float64)
    is_certain = environment.task.idle is not None or isinstance(environment.action_space, Box | Discrete)
    row = environment.controls().idle if is_certain else None  # zeros of other spaces may have a meaning
    if row is not None:
        return np.array(row, np.float64)
    names = [name.casefold() for name in environment.action_names]
    raise TutelageError(
        f"task {task_id!r}: expected an idle action in its suite, got none; say which action does nothing, "
        f"as JSON: --idle 0" + (f" (its actions: {', '.join(map(printable, names))})" if names else "")
    )


def idle_steps(trajectory: Trajectory, idle: np.ndarray) -> tuple[int, int]:
    """Return the number of idle steps at the start and at the end; if all are idle, they count as start."""
    if idle.shape != trajectory.actions.shape[1:]:
        return 0, 0
    acted = np.flatnonzero((trajectory.actions != idle).any(1))
    if not len(acted):
        return len(trajectory), 0
    return int(acted[0]), int(len(trajectory) - 1 - acted[-1])


def trim(trajectory: Trajectory, environments: Environments, first: int, last: int) -> Trajectory:
    """Return an episode without its `first` and `last` steps, after a replay; raises TrimRefusal."""
    if first + last >= len(trajectory):
        raise TrimRefusal("it holds nothing but idle steps: delete it instead")
    if last and trajectory.terminated:
        raise TrimRefusal("its last step ended it: the end cannot be cut (--start cuts the start alone)")
    if last and trajectory.success:
        raise TrimRefusal("it would no longer be a success: the end cannot be cut")
    try:
        before = replay_proven(trajectory, environments)
    except Untrusted:
        raise
    except TutelageError as error:
        raise TrimRefusal(f"it does not replay as recorded: {printable(error)}") from None
    if trajectory.observations is not None:
        return _trim_stored(trajectory, environments.suite[trajectory.task].success, first, last)
    trimmed = _without_ends(trajectory, first, last)
    try:
        result = replay(trimmed, environments[trajectory.task])
    except Exception as error:  # foreign code
        raise TrimRefusal(f"the environment fails then: {type(error).__name__}: {printable(error)}") from None
    _check_same(trajectory, before, result, first, last)
    return replace(
        trimmed,
        digest=result.digest,
        terminated=result.terminated,
        truncated=result.truncated,
        success=result.success,
        infos=result.infos or {},
        casts=result.casts or {},
    )


def _trim_stored(trajectory: Trajectory, rule: SuccessRule, first: int, last: int) -> Trajectory:
    if first:
        raise TrimRefusal(
            "its observations are stored, so no replay shows what a reset would give: the start cannot be "
            "cut (--end cuts the end alone)"
        )
    trimmed = _without_ends(trajectory, first, last)
    assert trajectory.observations is not None
    observations = {path: array[: len(trimmed) + 1] for path, array in trajectory.observations.items()}
    digest = digest_of(observations, trimmed.rewards, False, False)
    success = rule.outcome(None)  # the trimmed episode has no end
    return replace(
        trimmed, observations=observations, digest=digest, terminated=False, truncated=False, success=success
    )


def _without_ends(trajectory: Trajectory, first: int, last: int) -> Trajectory:
    steps = slice(first, len(trajectory) - last)
    before_ms = int(trajectory.times_ms[first - 1]) if first else 0
    before_frame = int(trajectory.frames[first - 1]) + 1 if first else 0
    note = f"trimmed: {_cut_note(first, last)}"
    return replace(
        trajectory,
        actions=trajectory.actions[steps],
        rewards=trajectory.rewards[steps],
        times_ms=(trajectory.times_ms[steps] - before_ms).astype(np.int32),
        controllers=trajectory.controllers[steps],
        frames=np.maximum(trajectory.frames[steps] - before_frame, 0).astype(np.int32),
        infos={path: numbers[steps] for path, numbers in trajectory.infos.items()},
        observations=None,
        notes="; ".join(part for part in (trajectory.notes, note) if part),
    )


def _check_same(
    trajectory: Trajectory, before: ReplayResult, result: ReplayResult, first: int, last: int
) -> None:
    """Raise TrimRefusal unless observations and rewards of the remaining steps are unchanged."""
    steps = len(trajectory) - first - last
    differs = "the world moves on in its idle steps: a reset is another state, so the start cannot be cut"
    if len(result.rewards) != steps:
        raise TrimRefusal(f"it ends after {len(result.rewards)} of {counted(steps, 'step')} then: {differs}")
    same = np.array_equal(result.rewards, before.rewards[first : first + steps], equal_nan=True)
    for path, array in before.observations.items():
        same = same and _equal(array[first : first + steps + 1], result.observations[path])
    if not same:
        raise TrimRefusal(
            f"{differs} (--end cuts the end alone)" if first else "it does not replay as recorded"
        )
    if (result.terminated, result.success) != (trajectory.terminated, trajectory.success):
        raise TrimRefusal("its outcome would be another one")


def _equal(before: np.ndarray, after: np.ndarray) -> bool:
    if before.dtype == object or before.dtype.kind == "U":
        return list(before) == list(after)
    return before.dtype == after.dtype and before.tobytes() == after.tobytes()


def _cut_note(first: int, last: int) -> str:
    parts = [f"{first} idle steps at the start"] * bool(first) + [f"{last} at the end"] * bool(last)
    return ", ".join(parts) if first else f"{last} idle steps at the end"
