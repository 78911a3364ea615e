"""Stores of episodes that were played as a recorder plays them, without a recorder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tutelage.crowd.hosting.episode import EpisodeProgress
from tutelage.crowd.storage.journal_records import EpisodeRecord
from tutelage.datasets.replay import prove
from tutelage.datasets.store import Store
from tutelage.datasets.trajectory import Trajectory
from tutelage.envs.spaces import action_to_row
from tutelage.envs.suite import Suite, suite_from
from tutelage.envs.task_env import TaskEnv


def play(suite: Suite, task_id: str, seed: int, actions: Sequence[Any], person: str = "ada") -> Trajectory:
    """Play one episode of a task, and decide whether its observations are stored."""
    task = suite[task_id]
    environment = TaskEnv(task)
    record = EpisodeRecord(
        seat="seat",
        demonstrator=person,
        suite=suite.name,
        task=task.id,
        env=task.env,
        kwargs=dict(task.kwargs),
        seed=seed,
        digest=b"",
    )
    episode = EpisodeProgress.begin(environment, record)
    for number, action in enumerate(actions):
        row = np.asarray(action_to_row(environment.action_space, action))
        episode.take(row, 300 * (number + 1), 0, number)
    trajectory, observations = episode.trajectory(), episode.observations()
    environment.close()
    fresh = TaskEnv(task)
    proven = prove(trajectory, fresh, observations)
    fresh.close()
    return proven


def store_of(folder: Path, document: dict[str, Any], episodes: Sequence[Sequence[Any]]) -> Store:
    """Make a store of a suite's first task, one episode for each list of actions, seeds from 0 on."""
    suite = suite_from(document)
    store = Store.create(folder, suite)
    store.append(
        [
            play(suite, suite.tasks[0].id, seed, actions, f"person-{seed % 3}")
            for seed, actions in enumerate(episodes)
        ]
    )
    return store
