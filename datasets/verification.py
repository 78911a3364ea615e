"""Check a store: part by part, row by row, and every replayed episode against its digest."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..envs.admission import admit
from ..envs.suite import Suite
from ..errors import TutelageError
from ..foreign_code.trust import Untrusted
from .arrays.array_profile import ArrayProfile
from .parallel import spread
from .replay import Environments, replay_many
from .trajectory import CONTROLLERS, Trajectory

if TYPE_CHECKING:
    from .store import Progress, Store


def verify(
    store: Store, progress: Progress | None, workers: int, replayed: bool, profile: ArrayProfile | None = None
) -> list[str]:
    """List what is wrong with a store, in part order; see `Store.verify`.

    The observations of episodes that replay are added to `profile`.
    """
    problems, units = _sound_units(store)
    try:
        store.annotations()
    except TutelageError as error:
        problems.append(str(error))
    if replayed and units:
        admit_played(store, replayed=True)
    check = partial(check_group, store.path, replayed, profile is not None)
    for (wrong, part_profile), (_, _, count) in zip(spread(check, units, workers), units, strict=True):
        problems += wrong
        if profile is not None:
            profile.join(part_profile)
        if progress:
            progress(count)
    return problems + _twice(store, units)


def admit_played(store: Store, replayed: bool = False) -> None:
    """Raise Untrusted where making the environments of a store's episodes would run untrusted code.

    With `replayed`, only tasks are asked about whose episodes hold no observations. See `envs.admission`.
    """
    rows = store.episodes(store.sound_parts())
    pairs = zip(rows["task"].to_pylist(), rows["stored"].to_pylist(), strict=True)
    played = {task for task, is_stored in pairs if not (replayed and is_stored)}
    for task in store.suite:
        if task.id in played:
            admit(task)


def _sound_units(store: Store) -> tuple[list[str], list[tuple[str, int, int]]]:
    """Check every part's bytes; return the problems, and (part, row group, rows) of what is sound."""
    problems = store.differences()
    units: list[tuple[str, int, int]] = []
    for part in store.listed():
        if any(part in problem for problem in problems):
            continue
        try:
            units += [(part, group, rows) for group, rows in enumerate(store.group_sizes(part))]
        except (TutelageError, OSError) as error:
            problems.append(str(error))
    return problems, units


def check_group(
    path: Path, replayed: bool, profiled: bool, unit: tuple[str, int, int]
) -> tuple[list[str], ArrayProfile]:
    """List what is wrong with the episodes of one unit, (part, row group, rows); profile them if asked."""
    from .store import Store

    part, group, _ = unit
    store = Store.open(path)
    problems, profile = [], ArrayProfile()
    try:
        with Environments(store.suite) as environments:
            where, tasks = f"part {part}: ", {task.id for task in store.suite}
            playable = []
            for one in store.read_rows(part, group):
                contradictions = check_row(one, store.suite)
                problems += [f"{where}episode {one.episode}: {what}" for what in contradictions]
                playable += [one] if one.task in tasks else []
            again = replay_many(playable, environments) if replayed else ()
            for trajectory, got in zip(playable, again, strict=replayed):
                if isinstance(got, TutelageError):
                    problems.append(f"{where}{got}")
                elif profiled:
                    profile.add(trajectory.task, got.observations)
    except Untrusted:
        raise
    except TutelageError as error:
        problems.append(str(error))
    return problems, profile


def check_row(one: Trajectory, suite: Suite) -> list[str]:
    """List what an episode says of itself that can't be: its task, times, controllers, outcome."""
    if one.task not in [task.id for task in suite]:
        return [f"expected a task of suite {suite.name!r}, got {one.task!r}"]
    task = suite[one.task]
    problems = []
    if (one.suite, one.env) != (suite.name, task.env):
        problems.append(f"expected {suite.name} and {task.env}, got {one.suite} and {one.env}")
    if dict(one.kwargs) != dict(task.kwargs):
        problems.append(f"expected the kwargs of its task, {dict(task.kwargs)}, got {dict(one.kwargs)}")
    if (np.diff(one.times_ms, prepend=0) < 0).any():
        problems.append("expected times that never go back")
    if (one.controllers < 0).any() or (one.controllers >= len(CONTROLLERS)).any():
        problems.append(f"expected controllers 0 to {len(CONTROLLERS) - 1}")
    if len(one.digest) != 16:
        problems.append(f"expected a digest of 16 bytes, got {len(one.digest)}")
    if not (one.terminated or one.truncated):
        if one.success != task.success.outcome(None):
            problems.append("expected no success of an episode that was left before its end")
        return problems
    verdict = task.success.judge(one.rewards, one.terminated, one.truncated, one.infos)
    if verdict is None and task.success.is_known and one.success is not None:
        places = ", ".join(path.text for path in task.success.paths)
        problems.append(f"expected the values of {places}, which the success rule reads, got none")
    elif one.success != verdict:
        problems.append(f"expected success to be what the rule {task.success.text!r} says")
    return problems


def _twice(store: Store, units: list[tuple[str, int, int]]) -> list[str]:
    """Name episodes that are there more than once: a part copied back beside its newer revision."""
    seen: dict[str, str] = {}
    problems = []
    for part in dict.fromkeys(part for part, _, _ in units):
        for episode in store.episode_ids(part):
            if episode in seen:
                problems.append(
                    f"part {part}: episode {episode}: expected it once, found it in {seen[episode]} too"
                )
            seen[episode] = part
    return problems
