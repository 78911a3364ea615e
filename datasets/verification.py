"""Check episodes: what each says of itself, and that it replays to its digest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ..envs.suite import Suite
from ..errors import TutelageError
from .arrays.array_profile import ArrayProfile
from .replay import Environments, replay_many
from .trajectory import CONTROLLERS, Trajectory


def check_episodes(
    episodes: Iterable[Trajectory],
    suite: Suite,
    environments: Environments | None,
    profile: ArrayProfile | None,
) -> Iterator[str]:
    """Yield what is wrong with episodes: contradictions first, then those that do not replay.

    Without `environments` nothing is replayed. The observations of episodes that replay are added to
    `profile`. Raises Untrusted where replay would run code that is not trusted.
    """
    tasks = {task.id for task in suite}
    playable = []
    for episode in episodes:
        for problem in check_row(episode, suite):
            yield f"episode {episode.episode}: {problem}"
        if episode.task in tasks:
            playable.append(episode)
    if environments is None:
        return
    for episode, result in zip(playable, replay_many(playable, environments), strict=True):
        if isinstance(result, TutelageError):
            yield str(result)
        elif profile is not None:
            profile.add(episode.task, result.observations)


def check_row(episode: Trajectory, suite: Suite) -> list[str]:
    """List what an episode says of itself that cannot be: its task, times, controllers, outcome."""
    if episode.task not in [task.id for task in suite]:
        return [f"expected a task of suite {suite.name!r}, got {episode.task!r}"]
    task = suite[episode.task]
    problems = []
    if (episode.suite, episode.env) != (suite.name, task.env):
        problems.append(f"expected {suite.name} and {task.env}, got {episode.suite} and {episode.env}")
    if dict(episode.kwargs) != dict(task.kwargs):
        problems.append(f"expected the kwargs of its task, {dict(task.kwargs)}, got {dict(episode.kwargs)}")
    if (np.diff(episode.times_ms, prepend=0) < 0).any():
        problems.append("expected times that never go back")
    if (episode.controllers < 0).any() or (episode.controllers >= len(CONTROLLERS)).any():
        problems.append(f"expected controllers 0 to {len(CONTROLLERS) - 1}")
    if len(episode.digest) != 16:
        problems.append(f"expected a digest of 16 bytes, got {len(episode.digest)}")
    if not (episode.terminated or episode.truncated):
        if episode.success != task.success.outcome(None):
            problems.append("expected no success of an episode that was left before its end")
        return problems
    verdict = task.success.judge(episode.rewards, episode.terminated, episode.truncated, episode.infos)
    if verdict is None and task.success.is_known and episode.success is not None:
        places = ", ".join(path.text for path in task.success.paths)
        problems.append(f"expected the values of {places}, which the success rule reads, got none")
    elif episode.success != verdict:
        problems.append(f"expected success to be what the rule {task.success.text!r} says")
    return problems
