"""Cache of the expert's number of steps per seed: computed once, in a separate thread, and stored."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from concurrent.futures import ThreadPoolExecutor

import sqlalchemy as sql

from ...envs.experts import make_expert
from ...envs.suite import Suite
from ...envs.task import Task
from ...envs.task_env import TaskEnv
from ..storage.study_tables import StudyDatabase, bests

_MOST_CACHED = 4096
_log = logging.getLogger("tutelage.crowd")


class ExpertLengthCache:
    """The expert's lengths on the seeds of a suite; None without an expert, or when it fails."""

    def __init__(self, suite: Suite, database: StudyDatabase) -> None:
        self._suite = suite
        self._database = database
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="expert")
        self._lengths: dict[tuple[str, int], asyncio.Future[int | None]] = {}
        self._environments: dict[str, TaskEnv] = {}

    def prepare(self, task: str, seed: int) -> asyncio.Future[int | None]:
        """Start to compute a length, so that it is ready when it is requested."""
        key = (task, seed)
        if key not in self._lengths:
            while len(self._lengths) >= _MOST_CACHED:
                del self._lengths[next(iter(self._lengths))]
            loop = asyncio.get_running_loop()
            self._lengths[key] = loop.run_in_executor(self._thread, self._find, self._suite[task], seed)
        return self._lengths[key]

    async def of(self, task: str, seed: int) -> int | None:
        """Return the expert's length on a seed."""
        return await asyncio.shield(self.prepare(task, seed))

    def known(self, task: str, seed: int) -> int | None:
        """Return the expert's length on a seed, computed now. Blocks."""
        return self._thread.submit(self._find, self._suite[task], seed).result()

    def close(self) -> None:
        """Stop the thread after its current computation."""
        self._thread.shutdown(cancel_futures=True)
        for environment in self._environments.values():
            environment.close()

    def _find(self, task: Task, seed: int) -> int | None:
        if task.expert is None:
            return None
        is_seed = (bests.c.suite == self._suite.name) & (bests.c.task == task.id) & (bests.c.seed == seed)
        if rows := self._database.rows(sql.select(bests.c.steps).where(is_seed)):
            return rows[0]["steps"]
        try:
            steps = self._play(task, seed)
        except Exception:  # an environment may raise anything; a person's episode counts without its length
            _log.exception("the expert of task %s failed on seed %d", task.id, seed)
            return None
        row = {"suite": self._suite.name, "task": task.id, "seed": seed, "steps": steps}
        with contextlib.suppress(sql.exc.IntegrityError), self._database.write() as connection:
            connection.execute(bests.insert(), row)
        return steps

    def _play(self, task: Task, seed: int) -> int | None:
        if task.id not in self._environments:
            self._environments[task.id] = TaskEnv(task)
        environment = self._environments[task.id]
        step, steps = environment.reset(seed), 0
        expert = make_expert(task, environment)
        expert.reset()
        while not step.done:
            action = expert.act()
            if action is None:
                return None
            step, steps = environment.step(action), steps + 1
        return steps if step.success else None
