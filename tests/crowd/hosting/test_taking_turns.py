"""An episode that is played again, to be taken up where it was, lets the others of its process play on."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from tutelage.crowd.hosting.remote_host import RemoteHost
from tutelage.crowd.hosting.worker_pool import WorkerPool
from tutelage.crowd.storage.journal_records import EpisodeRecord
from tutelage.envs.suite import suite_from
from tutelage.foreign_code.trust import VARIABLE
from tutelage.tests.browser.slow import slow

SUITE = suite_from({"suite": "slow", "tasks": [slow("long", step_seconds=0.005), slow("other")]})
STEPS = 200
FORWARD = np.zeros(1)


def record(task: str) -> EpisodeRecord:
    return EpisodeRecord("seat", "ada", "slow", task, SUITE[task].env, 5, b"", SUITE[task].kwargs)


@pytest.mark.slow
def test_others_have_their_turns_and_how_far_it_is_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "tutelage.tests.support.toy_slow")

    async def story() -> None:
        workers = WorkerPool(SUITE, 1, seconds=20.0)
        await workers.start()
        world, other = RemoteHost(SUITE["long"], workers), RemoteHost(SUITE["other"], workers)
        begun = await world.begin(record("long"))
        await other.begin(record("other"))
        steps = [(await world.act(FORWARD, at, 0, at))[0] for at in range(STEPS)]
        told: list[tuple[int, int]] = []
        again = RemoteHost(SUITE["long"], workers)
        restoring = asyncio.create_task(
            again.restore(begun.record, steps, lambda done, of: told.append((done, of)))
        )
        turns = 0
        while not restoring.done():
            await other.act(FORWARD, turns, 0, turns)
            turns += 1
        assert turns >= 5
        back = await restoring
        assert (back.steps, back.torn) == (steps, 0)
        assert told == sorted(told)
        assert len(told) >= 5
        assert {of for _, of in told} == {STEPS}
        assert (await again.act(FORWARD, STEPS, 0, STEPS))[0].step == STEPS + 1
        wrong = [*steps[:150], steps[150]._replace(digest=b"x"), *steps[151:]]
        back = await again.restore(replace(begun.record), wrong)
        assert (back.steps, back.torn) == (steps[:150], STEPS - 150)
        await workers.close()

    asyncio.run(asyncio.wait_for(story(), 120))
