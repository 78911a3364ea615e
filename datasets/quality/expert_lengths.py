"""Number of steps the expert needs on given seeds: the reference for a person's episode lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...envs.suite import Suite
from ...envs.task_env import TaskEnv
from ...foreign_code.trust import Untrusted
from ..batch_replay import replays_many
from ..simulation.batch_simulation import play_batch, simulates
from ..simulation.profiles import PROFILES, SimulatedDemonstrator
from ..simulation.simulated_crowd import SimulatedPlayer, play
from ..trajectory import Trajectory

_EXPERT = SimulatedDemonstrator("expert", PROFILES["expert"])


def expert_steps(suite: Suite, seeds: Mapping[str, Sequence[int]]) -> dict[tuple[str, int], int]:
    """Return the number of steps the expert needs: (task id, seed) → steps, for the seeds of each task.

    Left out are tasks without an expert, tasks whose code is not trusted, and seeds that the expert does not
    solve.
    """
    steps: dict[tuple[str, int], int] = {}
    for task, task_seeds in seeds.items():
        if suite[task].expert is None or not task_seeds:
            continue
        try:
            environment = TaskEnv(suite[task])
        except Untrusted:
            continue
        try:
            steps |= {
                (task, trajectory.seed): len(trajectory)
                for trajectory in _solved_trajectories(environment, task_seeds, suite.name)
            }
        except Untrusted:
            continue
        finally:
            environment.close()
    return steps


def _solved_trajectories(environment: TaskEnv, seeds: Sequence[int], suite: str) -> list[Trajectory]:
    if simulates(environment.task) and replays_many(environment, seeds[0]):
        trajectories = play_batch(environment, [_EXPERT], seeds, suite, "")
    else:
        player = SimulatedPlayer(_EXPERT, environment)
        attempts = [play(player, environment, seed, suite) for seed in seeds]
        trajectories = [attempt[0] for attempt in attempts if attempt is not None]
    return [trajectory for trajectory in trajectories if trajectory.success]
