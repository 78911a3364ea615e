"""Environments of people: built-in grids in the server's own process, all others in worker processes."""

from __future__ import annotations

from ...envs.grid.environment import TILE
from ...envs.grid.registration import is_level
from ...envs.grid.tile_atlas import atlas
from ...envs.suite import Suite
from ...envs.task import Task
from .grid_host import GridHost, SharedGridLevel
from .host import EnvironmentHost
from .remote_host import RemoteHost
from .worker_pool import WorkerPool


def runs_here(task: Task) -> bool:
    """Return whether a task is an unmodified built-in grid: its kernels neither hang nor crash."""
    return is_level(task.env) and task.max_steps is None and not task.wrappers


def atlases(suite: Suite) -> dict[str, bytes]:
    """Return the tile atlases of a suite's built-in grids: file name → PNG."""
    sides = {int(task.kwargs.get("tile", TILE)) for task in suite if is_level(task.env)}
    return {drawn.name: drawn.png for drawn in map(atlas, sides)}


class HostFactory:
    """Makes environment hosts; those of one grid task share what does not change."""

    def __init__(self, workers: WorkerPool) -> None:
        self._workers = workers
        self._levels: dict[str, SharedGridLevel] = {}

    def make(self, task: Task, pictures: bool = True) -> EnvironmentHost:
        """Make a host of a task, with or without pictures; the first of a grid task blocks for a moment."""
        if not runs_here(task):
            return RemoteHost(task, self._workers, pictures)
        if task.id not in self._levels:
            self._levels[task.id] = SharedGridLevel(task)
        return GridHost(self._levels[task.id])

    def warm_up(self, task: Task) -> None:
        """Compile or load what the first player of a task would wait for."""
        host = self.make(task)
        if isinstance(host, GridHost):
            host.warm_up()
