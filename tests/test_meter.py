"""What one server counts: lag in classes, and the processes that it lost."""

from __future__ import annotations

import asyncio

from tutelage.datasets.crowd.servers.meter import BOUNDS_MS, Meter, quantiles
from tutelage.datasets.crowd.worlds.workers import Workers
from tutelage.envs.suite import suite_from


def test_counted_lag_gives_percentiles_back_to_within_a_class() -> None:
    meter = Meter()
    for lag in range(1000):
        meter.shown(lag)
    got = quantiles(meter.figures()["lag"])
    assert got is not None
    for at, value in zip((500, 950, 990), got, strict=True):
        bound = next(one for one in BOUNDS_MS if one >= at)
        assert abs(value - at) <= bound
    assert quantiles([]) is None
    meter = Meter()
    meter.shown(10**6)
    assert quantiles(meter.figures()["lag"]) == [float(BOUNDS_MS[-1])] * 3


def test_lately_is_five_minutes() -> None:
    now = [0.0]
    meter = Meter(lambda: now[0])
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
        workers = Workers(suite_from({"suite": "one", "tasks": [{"id": "pole", "env": "CartPole-v1"}]}), 1)
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
