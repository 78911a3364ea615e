"""Episodes of random actions, without anybody who plays them: what tests store, read and replay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from tutelage.crowd.hosting.episode import EpisodeProgress
from tutelage.crowd.storage.journal_records import EpisodeRecord
from tutelage.datasets.trajectory import Trajectory
from tutelage.envs.spaces import action_to_row
from tutelage.envs.task_env import TaskEnv

Recorded = tuple[Trajectory, dict[str, np.ndarray]]


def random_episode(
    environment: TaskEnv,
    seed: int,
    steps: int = 12,
    suite: str = "toys",
    demonstrator: str = "ann",
    kind: str = "person",
) -> Recorded:
    """Play random actions; returns the trajectory and the observations `[T+1, ...]` that were seen."""
    generator = np.random.default_rng(seed)
    space = environment.action_space
    space.seed(seed)
    task = environment.task
    record = EpisodeRecord("seat", demonstrator, suite, task.id, task.env, seed, b"", task.kwargs, kind=kind)
    episode = EpisodeProgress.begin(environment, record)
    times = np.cumsum(generator.integers(80, 900, steps)).tolist()
    while not episode.done and len(episode.steps) < steps:
        at = len(episode.steps)
        row = action_to_row(space, space.sample())
        episode.take(row, times[at], int(generator.integers(0, 3)), frame=at)
    trajectory = replace(
        episode.trajectory(),
        started="2026-11-23T10:00:00+00:00",
        steps_per_second=14.5 if seed % 2 else None,
        study="pilot",
        consent="v1",
        notes="über",
    )
    return trajectory, episode.observations()
