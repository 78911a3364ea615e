"""How many steps the expert needs on given seeds: what a person's length is set beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...envs.suite import Suite
from ...envs.task_env import TaskEnv
from ...foreign_code.trust import Untrusted
from ..simulation.grid_simulation import play_grid
from ..simulation.profiles import PROFILES, SimulatedDemonstrator
from ..simulation.simulated_crowd import SimulatedPlayer, play, plays_grid
from ..trajectory import Trajectory

_EXPERT = SimulatedDemonstrator("expert", PROFILES["expert"])


def expert_steps(suite: Suite, seeds: Mapping[str, Sequence[int]]) -> dict[tuple[str, int], int]:
    """Say how many steps the expert needs: (task id, seed) → steps, for the seeds of each task.

    A task without an expert, one that would act and is not trusted, and a seed that the expert does not
    solve, are left out.
    """
    found: dict[tuple[str, int], int] = {}
    for task, wanted in seeds.items():
        if suite[task].expert is None or not wanted:
            continue
        try:
            environment = TaskEnv(suite[task])
        except Untrusted:
            continue
        try:
            found |= {(task, one.seed): len(one) for one in _solved(environment, wanted, suite.name)}
        except Untrusted:
            continue
        finally:
            environment.close()
    return found


def _solved(environment: TaskEnv, seeds: Sequence[int], suite: str) -> list[Trajectory]:
    if plays_grid(environment.task):
        played = play_grid(environment, [_EXPERT], seeds, suite, "")
    else:
        player = SimulatedPlayer(_EXPERT, environment)
        tries = [play(player, environment, seed, suite) for seed in seeds]
        played = [one[0] for one in tries if one is not None]
    return [one for one in played if one.success]
