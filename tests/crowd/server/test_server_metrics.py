"""What one server counts: lag in classes, and the processes that it lost."""

from __future__ import annotations

import asyncio
import time

from tutelage.crowd.hosting.worker_pool import WorkerPool
from tutelage.crowd.server.server_metrics import (
    BOUNDS_MS,
    PULSE_SECONDS,
    ServerMetrics,
    measure_loop_delay,
    quantiles,
)
from tutelage.envs.suite import suite_from


def test_counted_lag_gives_percentiles_back_to_within_a_class() -> None:
    meter = ServerMetrics()
    for lag in range(1000):
        meter.shown(lag)
    got = quantiles(meter.figures()["lag"])
    assert got is not None
    for at, value in zip((500, 950, 990), got, strict=True):
        bound = next(one for one in BOUNDS_MS if one >= at)
        assert abs(value - at) <= bound
    assert quantiles([]) is None
    meter = ServerMetrics()
    meter.shown(10**6)
    assert quantiles(meter.figures()["lag"]) == [float(BOUNDS_MS[-1])] * 3


def test_what_an_event_loop_does_itself_keeps_people_waiting_and_what_others_do_does_not() -> None:
    meter = ServerMetrics()

    async def story() -> None:
        pulse = asyncio.create_task(measure_loop_delay(meter))
        await asyncio.sleep(2 * PULSE_SECONDS)
        time.sleep(0.6)  # a machine that is busy with something else
        await asyncio.sleep(2 * PULSE_SECONDS)
        assert slow() == 0
        until = time.thread_time() + 0.6
        while time.thread_time() < until:
            pass
        await asyncio.sleep(2 * PULSE_SECONDS)
        assert slow() == 1
        pulse.cancel()

    def slow() -> int:
        return sum(meter.figures()["held_up"][BOUNDS_MS.index(250) + 1 :])

    asyncio.run(story())


def test_lately_is_five_minutes() -> None:
    now = [0.0]
    meter = ServerMetrics(lambda: now[0])
    for second in range(0, 900, 10):
        now[0] = float(second)
        meter.shown(12)
    figures = meter.figures()
    assert sum(figures["lag"]) == 90
    assert 27 <= sum(figures["latest"]) <= 30
    now[0] += 3600
    assert sum(meter.figures()["latest"]) == 0


def test_processes_that_end_by_themselves_are_counted() -> None:
    async def lose_one() -> tuple[int, int]:
        workers = WorkerPool(suite_from({"suite": "one", "tasks": [{"id": "pole", "env": "CartPole-v1"}]}), 1)
        await workers.start()
        (await workers.place("pole")).process.kill()
        async with asyncio.timeout(20):
            while not workers.ended:
                await asyncio.sleep(0.01)
        lost = workers.ended
        await workers.place("pole")
        await workers.close()
        return lost, workers.ended

    assert asyncio.run(lose_one()) == (1, 1)
