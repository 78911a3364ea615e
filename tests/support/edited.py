"""What tests of edits share: the verb by name, a store's files, and a way to be killed at any step."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from tutelage.cli.main import app
from tutelage.crowd.hosting.episode import EpisodeProgress
from tutelage.crowd.storage.journal import Journal
from tutelage.crowd.storage.journal_records import EpisodeRecord
from tutelage.datasets.store import Store
from tutelage.datasets.trajectory import Trajectory
from tutelage.envs.suite import Suite, suite_from
from tutelage.envs.task_env import TaskEnv
from typer.testing import CliRunner

Recorder = Callable[..., Trajectory]
Same = Callable[[Trajectory, Trajectory], bool]


def edit(store: Store, *words: str) -> Any:
    """Call `tutelage edit STORE ...`; raises what it raises, returns what --json prints."""
    result = CliRunner().invoke(app, ["edit", str(store.path), *words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout) if "--json" in words else result.stdout


def episodes(store: Store) -> list[Trajectory]:
    return list(Store.open(store.path).trajectories())


def files(store: Store) -> dict[str, bytes]:
    paths = (path for path in store.path.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(store.path)): path.read_bytes() for path in paths}


def same(before: list[Trajectory], after: list[Trajectory], equal: Same) -> bool:
    return len(before) == len(after) and all(map(equal, before, after))


def killed_at(step: int, work: Callable[[], object]) -> bool:
    """Do some work in a child that ends before its n-th change of a folder or journal; says if it did it."""
    child = os.fork()
    if child == 0:
        left = step
        try:

            def counted(function: Any) -> Any:
                def run(*args: Any, **options: Any) -> Any:
                    nonlocal left
                    left -= 1
                    if left < 0:
                        os._exit(9)
                    return function(*args, **options)

                return run

            places = [(os, name) for name in ("rename", "replace", "unlink", "mkdir", "rmdir")]
            for place, name in [*places, (Journal, "mark")]:
                setattr(place, name, counted(getattr(place, name)))
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, 9)
    return code == 0


def idle_episodes(actions: list[list[int]], task: str = "turn") -> tuple[Suite, list[Trajectory]]:
    """Play actions in a grid world that stands still when nothing is done, or in CartPole, which does not."""
    tasks = [
        {"id": "turn", "env": "tutelage/GoToRedBallGrey-v0"},
        {"id": "pole", "env": "CartPole-v1", "pace": {"fps": 10, "idle": 0}, "success": "return >= 400"},
    ]
    suite = suite_from({"suite": "idle", "tasks": tasks})

    environment = TaskEnv(suite[task])
    played = []
    for seed, row in enumerate(actions):
        begun = EpisodeRecord("seat", "ann", "idle", task, suite[task].env, seed, b"", {}, kind="person")
        episode = EpisodeProgress.begin(environment, begun)
        for at, action in enumerate(row):
            episode.take(np.array([float(action)]), 100 * (at + 1), 0, at)
        played.append(episode.trajectory())
    environment.close()
    return suite, played


def play_actions(suite: Suite, task: str, actions: list[int]) -> Trajectory:
    """Play discrete actions, up to the end of the episode, from seed 0."""
    environment = TaskEnv(suite[task])
    begun = EpisodeRecord("seat", "ann", suite.name, task, suite[task].env, 0, b"", {}, kind="person")
    episode = EpisodeProgress.begin(environment, begun)
    for at, action in enumerate(actions):
        if not episode.done:
            episode.take(np.array([float(action)]), 100 * (at + 1), 0, at)
    environment.close()
    return episode.trajectory()
