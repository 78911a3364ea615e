"""Environments in processes of their own: what one of them does there costs its own episode, and no other."""

from __future__ import annotations

import asyncio
import io
import multiprocessing
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image
from tutelage.crowd.hosting.frame_codec import SHAPES, Encoder, Picture
from tutelage.crowd.hosting.host import EnvironmentCrash, InlineHost
from tutelage.crowd.hosting.remote_host import RemoteHost
from tutelage.crowd.hosting.worker_pool import WorkerPool
from tutelage.crowd.storage.journal_records import EpisodeRecord
from tutelage.envs.spaces import action_to_row
from tutelage.envs.suite import Suite, suite_from
from tutelage.errors import TutelageError
from tutelage.foreign_code.trust import VARIABLE, trust
from tutelage.tests.support.toy_moods import DIES, EATS, FINE, HANGS, HOLDS, RAISES, SEGFAULTS

pytestmark = pytest.mark.alone  # a watchdog's seconds: needs steady time

TASKS = [
    {"id": "moody", "env": "toys/Moody-v0"},
    {"id": "calm", "env": "toys/Moody-v0"},
    {"id": "stuck-at-first", "env": "toys/Moody-v0", "kwargs": {"hangs_in": "reset"}},
    {"id": "stuck-when-drawn", "env": "toys/Moody-v0", "kwargs": {"hangs_in": "render"}},
    {"id": "lake", "env": "FrozenLake-v1", "kwargs": {"is_slippery": True}, "max_steps": 30},
    {"id": "pole", "env": "CartPole-v1"},
    {"id": "cards", "env": "Blackjack-v1"},
    *(
        {"id": f"fickle-{kind}", "env": "toys/Moody-v0", "kwargs": {"fickle": kind}}
        for kind in ("system", "numpy", "python", "hash", "memory")
    ),
    {"id": "late", "env": "toys/Moody-v0", "kwargs": {"late": True}},
]
SUITE = suite_from({"suite": "moods", "tasks": TASKS})
STEP_SECONDS, FIRST_SECONDS = 0.8, 1.5


@asynccontextmanager
async def pool(
    suite: Suite = SUITE, seconds: float = 30, first_seconds: float = 60, **limits: Any
) -> AsyncIterator[WorkerPool]:
    workers = WorkerPool(suite, 1, seconds, first_seconds, **limits)
    await workers.start()
    try:
        yield workers
    finally:
        await workers.close()


def record(task: str, seed: int = 5) -> EpisodeRecord:
    return EpisodeRecord("seat", "ada", "moods", task, SUITE[task].env, seed, b"", SUITE[task].kwargs)


def row(action: int) -> np.ndarray:
    return np.array([float(action)])


class Innocent:
    """An episode in the pool, and the same one here: both must give the same for ever."""

    def __init__(self, workers: WorkerPool, task: str = "calm") -> None:
        self.there = RemoteHost(SUITE[task], workers, pictures=False)
        self.here = InlineHost(SUITE[task])
        self.task = task
        self.longest = 0.0

    async def begin(self) -> Innocent:
        await self.there.begin(record(self.task))
        await self.here.begin(record(self.task))
        return self

    async def go_on(self, steps: int = 3) -> None:
        for at in range(steps):
            began = time.monotonic()
            one, _ = await self.there.act(row(FINE), at, 0, at)
            self.longest = max(self.longest, time.monotonic() - began)
            other, _ = await self.here.act(row(FINE), at, 0, at)
            assert one == other

    @property
    def pid(self) -> int:
        assert self.there._worker is not None
        return int(self.there._worker.process.pid)


async def fails(doing: Awaitable[object]) -> str:
    with pytest.raises(EnvironmentCrash) as caught:
        await doing
    return str(caught.value)


def run(story: Callable[[], Awaitable[None]], seconds: float = 60) -> None:
    async def within() -> None:
        await asyncio.wait_for(story(), seconds)

    asyncio.run(within())


@pytest.mark.parametrize(
    ("mood", "why", "ends_its_process"),
    [
        (RAISES, "RuntimeError: in a mood", False),
        (DIES, "its process ended", True),
        (SEGFAULTS, "its process ended", True),
        (HANGS, "did not answer for 0.8 seconds", True),
        (HOLDS, "did not answer for 0.8 seconds", True),
    ],
)
def test_what_one_does_ends_its_own_episode_and_the_others_go_on(
    mood: int, why: str, ends_its_process: bool
) -> None:
    async def story() -> None:
        limits = {"seconds": STEP_SECONDS, "first_seconds": FIRST_SECONDS} if "answer" in why else {}
        async with pool(**limits) as workers:
            others = [await Innocent(workers).begin() for _ in range(3)]
            culprit = RemoteHost(SUITE["moody"], workers)
            await culprit.begin(record("moody"))
            assert len({one.pid for one in others} | {culprit._worker.process.pid}) == 1  # type: ignore[union-attr]
            await asyncio.gather(*(one.go_on() for one in others), culprit.act(row(FINE), 0, 0, 0))
            doing = asyncio.create_task(fails(culprit.act(row(mood), 0, 0, 0)))
            await asyncio.sleep(0)
            await asyncio.gather(*(one.go_on() for one in others))
            assert why in await doing
            await asyncio.gather(*(one.go_on() for one in others))
            assert workers.ended == ends_its_process
            assert max(other.longest for other in others) < STEP_SECONDS + FIRST_SECONDS

    run(story)


def test_one_that_eats_memory_is_refused_more_and_the_others_do_not_notice() -> None:
    async def story() -> None:
        async with pool(memory=2 << 30) as workers:
            other = await Innocent(workers).begin()
            culprit = RemoteHost(SUITE["moody"], workers)
            await culprit.begin(record("moody"))
            shared = psutil.Process(other.pid)
            assert "MemoryError" in await fails(culprit.act(row(EATS), 0, 0, 0))
            await other.go_on()
            assert (psutil.Process(other.pid), workers.ended) == (shared, 0)
            assert shared.memory_info().rss < 2 << 30

    run(story)


@pytest.mark.parametrize("task", ["stuck-at-first", "stuck-when-drawn"])
def test_one_that_hangs_before_its_first_step_is_ended_too(task: str) -> None:
    async def story() -> None:
        async with pool(seconds=STEP_SECONDS, first_seconds=FIRST_SECONDS) as workers:
            other = await Innocent(workers).begin()
            culprit = RemoteHost(SUITE[task], workers)
            doing = asyncio.create_task(fails(culprit.begin(record(task))))
            await asyncio.sleep(0.05)
            await other.go_on()
            assert f"did not answer for {FIRST_SECONDS} seconds" in await doing
            await other.go_on()
            assert workers.ended == 1

    run(story)


def test_the_end_of_an_episode_may_take_longer_than_a_step() -> None:
    async def story() -> None:
        async with pool(first_seconds=30.0) as workers:
            world = RemoteHost(SUITE["late"], workers)
            begun = await world.begin(record("late"))
            await world.act(row(FINE), 0, 0, 0)
            kept = await world.finish(begun.record, 0)
            assert (len(kept.trajectory), workers.ended) == (1, 0)

    run(story)


def test_others_are_played_elsewhere_while_one_takes_its_time() -> None:
    """A long wait is not needed: they leave a process as soon as it is found blocked."""

    async def story() -> None:
        workers = WorkerPool(SUITE, 1, seconds=8.0)
        await workers.start()
        other = await Innocent(workers).begin()
        before = other.pid
        culprit = RemoteHost(SUITE["moody"], workers)
        await culprit.begin(record("moody"))
        doing = asyncio.create_task(fails(culprit.act(row(HANGS), 0, 0, 0)))
        await asyncio.sleep(0)
        await other.go_on()
        assert not doing.done()
        assert other.pid != before
        assert 0.5 < other.longest < 4
        doing.cancel()
        await workers.close()

    run(story)


def test_a_task_that_ended_a_process_is_kept_apart_from_then_on() -> None:
    async def story() -> None:
        async with pool() as workers:
            other = await Innocent(workers).begin()
            culprit = RemoteHost(SUITE["moody"], workers)
            await culprit.begin(record("moody"))
            await fails(culprit.act(row(DIES), 0, 0, 0))
            await other.go_on()
            home = other.pid
            for ended in (2, 3):
                await culprit.begin(record("moody"))
                await fails(culprit.act(row(DIES), 0, 0, 0))
                await other.go_on()
                assert (other.pid, workers.ended) == (home, ended)

    run(story)


def test_an_innocent_that_does_not_play_the_same_again_is_told_so() -> None:
    async def story() -> None:
        async with pool() as workers:
            other = RemoteHost(SUITE["fickle-system"], workers)
            await other.begin(record("fickle-system"))
            assert other._worker is not None
            other._worker.process.kill()
            while not other._worker.lost:
                await asyncio.sleep(0.01)
            with pytest.raises(TutelageError, match="not deterministic"):
                await other.act(row(FINE), 0, 0, 0)

    run(story)


@pytest.mark.parametrize("task", ["lake", "pole", "cards"])
def test_an_environment_there_gives_what_it_gives_here(task: str) -> None:
    async def story() -> None:
        async with pool() as workers:
            here, there = InlineHost(SUITE[task], Encoder()), RemoteHost(SUITE[task], workers)
            one, other = await here.begin(record(task)), await there.begin(record(task))
            assert (one.record.digest, one.limit, one.instruction, one.atlas) == (
                other.record.digest,
                other.limit,
                other.instruction,
                other.atlas,
            )
            assert one.controls == other.controls
            _same_picture(one.now.picture, other.now.picture)
            space = here._player.environment.action_space
            space.seed(0)
            for at in range(12):
                action = action_to_row(space, space.sample())
                one_step, one_now = await here.act(action, at, 0, at)
                other_step, other_now = await there.act(action, at, 0, at)
                assert one_step == other_step
                assert (one_now.done, one_now.success) == (other_now.done, other_now.success)
                _same_picture(one_now.picture, other_now.picture)
                if one_now.done:
                    break
            kept, same = await here.finish(one.record, 0), await there.finish(one.record, 0)
            assert kept.trajectory.digest == same.trajectory.digest
            assert kept.trajectory.actions.tolist() == same.trajectory.actions.tolist()
            mine, theirs = await kept.observations(), await same.observations()
            assert {path: seen.tolist() for path, seen in mine.items()} == {
                path: seen.tolist() for path, seen in theirs.items()
            }
            assert await workers.prove(same.trajectory, SUITE[task])
            same.let_go()
            with pytest.raises(TutelageError, match="none any more"):
                await same.observations()

    run(story)


def _same_picture(one: Picture | None, other: Picture | None) -> None:
    assert (one is None) == (other is None)
    if one is None or other is None:
        return
    assert (one.width, one.height) == (other.width, other.height)
    if one.kind == SHAPES:
        assert one == other
    else:
        first, second = (
            np.asarray(Image.open(io.BytesIO(each.data)).convert("RGB")) for each in (one, other)
        )
        assert np.array_equal(first, second)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["system", "numpy", "python", "hash", "memory"])
def test_what_does_not_play_the_same_again_is_not_proven(kind: str) -> None:
    task = f"fickle-{kind}"

    async def story() -> None:
        async with pool() as workers:
            world = RemoteHost(SUITE[task], workers)
            begun = await world.begin(record(task))
            await world.act(row(FINE), 0, 0, 0)
            kept = await world.finish(begun.record, 0)
            assert not await workers.prove(kept.trajectory, SUITE[task])

    run(story)


@pytest.mark.skipif(not Path("/proc/self/oom_score_adj").exists(), reason="only Linux chooses whom to end")
def test_when_memory_runs_out_the_system_ends_the_environments_before_the_server() -> None:
    def willing(pid: int | str) -> int:
        return int(Path(f"/proc/{pid}/oom_score_adj").read_text())

    async def story() -> None:
        async with pool() as workers:
            other = await Innocent(workers).begin()
            assert willing(other.pid) > willing("self")

    run(story)


@pytest.mark.slow
def test_a_server_that_is_killed_leaves_no_process_behind_though_an_environment_hangs() -> None:
    program = "from tutelage.tests.crowd.hosting.test_worker_pool import hang; hang()"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "hanging\n"
        processes = psutil.Process(server.pid).children(recursive=True)
        assert len(processes) >= 3  # two full of environments, and the one that Python forks them off
        server.kill()
    _, left = psutil.wait_procs(processes, timeout=60)
    for one in left:
        one.kill()
    assert not left


def hang() -> None:
    """Be a server whose environment hangs, for a test that ends it."""

    async def story() -> None:
        workers = WorkerPool(SUITE, 2, STEP_SECONDS, 30.0)
        await workers.start()
        worlds = [RemoteHost(SUITE["moody"], workers) for _ in range(2)]
        for world in worlds:
            await world.begin(record("moody"))
        doing = [asyncio.create_task(world.act(row(HOLDS), 0, 0, 0)) for world in worlds]
        await asyncio.sleep(0.1)
        print("hanging", flush=True)
        time.sleep(1000)  # and its own loop stands still, so that no watchdog sees to it
        await asyncio.gather(*doing)

    asyncio.run(story())


def test_closing_ends_every_process_even_one_that_hangs() -> None:
    async def story() -> None:
        workers = WorkerPool(SUITE, 2, seconds=30.0)
        await workers.start()
        other = await Innocent(workers).begin()
        culprit = RemoteHost(SUITE["moody"], workers)
        await culprit.begin(record("moody"))
        processes = [psutil.Process(other.pid), psutil.Process(culprit._worker.process.pid)]  # type: ignore[union-attr]
        doing = asyncio.create_task(fails(culprit.act(row(HOLDS), 0, 0, 0)))
        await asyncio.sleep(0.1)
        await workers.close()
        assert not any(one.is_running() for one in processes)
        assert "its process ended" in await doing
        with pytest.raises(TutelageError, match="has stopped"):
            await RemoteHost(SUITE["calm"], workers).begin(record("calm"))

    run(story)


def test_a_process_that_is_just_made_while_the_pool_closes_ends_with_it() -> None:
    async def story() -> None:
        workers = WorkerPool(SUITE, 1)
        starting = asyncio.create_task(workers.start())
        while not workers._is_starting:
            await asyncio.sleep(0)
        while workers._is_starting:
            await asyncio.sleep(0)
        await workers.close()  # the process runs, its connection is made at this moment
        with pytest.raises(TutelageError, match="has stopped"):
            await starting
        assert not any(workers._groups.values())
        assert not multiprocessing.active_children()

    run(story)


@pytest.mark.anyio
async def test_a_process_trusts_what_the_server_trusts_though_its_forkserver_is_older(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    suite = suite_from({"suite": "own", "tasks": [{"id": "pole", "env": "json:CartPole-v1"}]})
    monkeypatch.setenv(VARIABLE, "")
    begun = EpisodeRecord("seat", "ada", "own", "pole", "json:CartPole-v1", 5, b"")
    async with pool(suite) as workers:
        with pytest.raises(TutelageError, match=r"this would import the module json; .* --trust json"):
            await RemoteHost(suite["pole"], workers, pictures=False).begin(begun)
    trust(["json"])
    async with pool(suite) as workers:
        world = RemoteHost(suite["pole"], workers, pictures=False)
        await world.begin(begun)
        await world.close()
