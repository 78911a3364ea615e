"""When garbage is looked for: once nobody plays, or else after a while; and never in between."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
import weakref
from collections.abc import AsyncIterator, Callable

import pytest
from tutelage.crowd.server import gc_schedule
from tutelage.crowd.server.gc_schedule import run_gc_schedule

LOOK = 0.03


class Knot:
    """Refers to itself: only the collector can let it go."""

    def __init__(self) -> None:
        self.itself = self


def old_garbage() -> weakref.ref[Knot]:
    """Make garbage that is no longer young."""
    knot = Knot()
    gc.collect(0)
    gc.collect(1)  # whoever outlives this is old
    assert any(one is knot for one in gc.get_objects(2))
    return weakref.ref(knot)


async def gone(garbage: weakref.ref[Knot]) -> None:
    """Wait until the collector has been there."""
    async with asyncio.timeout(30):
        while garbage() is not None:
            await asyncio.sleep(LOOK)


@contextlib.asynccontextmanager
async def tidying_while(
    is_quiet: Callable[[], bool],
    monkeypatch: pytest.MonkeyPatch,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[asyncio.Task[None]]:
    monkeypatch.setattr(gc_schedule, "_CHECK_SECONDS", LOOK)
    task = asyncio.create_task(run_gc_schedule(is_quiet, clock))
    await asyncio.sleep(0)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def test_old_garbage_waits_until_it_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        playing = True
        async with tidying_while(lambda: not playing, monkeypatch):
            garbage = old_garbage()
            young = weakref.ref(Knot())
            some = [[Knot()] for _ in range(3000)]  # what is young is looked through as ever
            assert young() is None
            del some
            await asyncio.sleep(4 * LOOK)
            assert garbage() is not None
            playing = False
            await gone(garbage)

    asyncio.run(story())


def test_while_it_is_never_quiet_old_garbage_goes_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        now = 0.0
        async with tidying_while(lambda: False, monkeypatch, lambda: now):
            for _ in range(2):
                garbage = old_garbage()
                await asyncio.sleep(4 * LOOK)
                assert garbage() is not None
                now += gc_schedule._SELDOM_SECONDS
                await gone(garbage)

    asyncio.run(story())


def test_a_server_that_stops_leaves_the_collector_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        before, frozen = gc.get_threshold(), gc.get_freeze_count()
        async with tidying_while(lambda: False, monkeypatch):
            assert gc.get_threshold()[:2] == before[:2]
            assert gc.get_threshold()[2] > 1_000_000
            assert gc.get_freeze_count() > frozen
        assert gc.get_threshold() == before
        assert gc.get_freeze_count() == 0

    asyncio.run(story())
