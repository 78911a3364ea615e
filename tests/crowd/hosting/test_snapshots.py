"""Environments with snapshots: their hosts go back in an episode without a replay from the start."""

from __future__ import annotations

import numpy as np
import pytest
from tutelage.crowd.browsing.reel import EpisodePlayback
from tutelage.crowd.dashboard.playback import as_steps
from tutelage.crowd.hosting.episode import EpisodeProgress
from tutelage.crowd.hosting.frame_codec import Encoder
from tutelage.crowd.hosting.host import EnvironmentHost, InlineHost
from tutelage.crowd.hosting.remote_host import RemoteHost
from tutelage.crowd.hosting.worker_pool import WorkerPool
from tutelage.crowd.storage.journal_records import EpisodeRecord, StepRecord
from tutelage.envs.capabilities import HumanInput
from tutelage.envs.suite import suite_from
from tutelage.envs.task_env import TaskEnv
from tutelage.foreign_code.trust import trust
from tutelage.tests.support.counter_env import CounterEnv
from tutelage.tests.support.edited import play_actions

ENV = "tutelage.tests.support.counter_env:LongCounter-v0"
SUITE = suite_from({"suite": "counters", "tasks": [{"id": "count", "env": ENV, "success": "reward > 0"}]})
RECORD = EpisodeRecord("e", "seat", "ann", "count", ENV, 3, b"")
STEPS = 450
pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTELAGE_TRUST", "")
    trust(["tutelage"])


def recorded() -> list[StepRecord]:
    return as_steps(play_actions(SUITE, "count", [k // 3 % 2 for k in range(STEPS)]))


async def skip(host: EnvironmentHost, steps: list[StepRecord]) -> list[StepRecord]:
    taken: list[StepRecord] = []
    while len(taken) < len(steps):
        taken += await host.skip(steps[len(taken) :])
    return taken


async def there_and_back(host: EnvironmentHost) -> None:
    await host.begin(RECORD)
    steps = await skip(host, recorded())
    assert len(steps) == STEPS
    assert await host.back_to(STEPS - 20) == 400
    assert await skip(host, steps[400:410]) == steps[400:410]
    assert await host.back_to(10) == 0
    assert await skip(host, steps[:5]) == steps[:5]
    assert (await host.act(np.array([steps[5].action[0]]), steps[5].time_ms, 0, steps[5].frame))[0] == steps[
        5
    ]


async def test_a_host_goes_back_to_a_snapshot() -> None:
    host = InlineHost(SUITE["count"], Encoder())
    await there_and_back(host)
    await host.close()


async def test_so_does_a_host_in_another_process() -> None:
    workers = WorkerPool(SUITE, 1)
    await workers.start()
    try:
        host = RemoteHost(SUITE["count"], workers)
        await there_and_back(host)
        await host.close()
    finally:
        await workers.close()


async def test_a_long_episode_keeps_few_snapshots() -> None:
    episode = EpisodeProgress.begin(TaskEnv(SUITE["count"]), RECORD)
    steps = recorded()[:300]  # whole turns
    while len(episode.steps) < 18_000:
        episode.skip(steps, 60.0)
    assert len(episode._snapshots) <= 64
    assert episode.back_to(10_050) == 10_000


async def test_play_keeps_none() -> None:
    episode = EpisodeProgress.begin(TaskEnv(SUITE["count"]), RECORD)
    for k in range(STEPS):
        episode.take(np.array([k // 3 % 2]), k, 0, k)
    assert episode.back_to(STEPS) is None


async def stays() -> bool:
    return False


async def shown(reel: EpisodePlayback, number: int) -> bytes:
    return [body async for body in reel.frames(number, 1, stays)][-1]


@pytest.mark.parametrize("wrong", ["raises", "shares", "says another"])
async def test_wrong_snapshots_cost_time_only(wrong: str) -> None:
    task = {"id": "count", "env": f"{ENV.rpartition(':')[0]}:Forgetful-v0", "kwargs": {"wrong": wrong}}
    suite = suite_from({"suite": "counters", "tasks": [task]})
    trajectory = play_actions(suite, "count", [k // 3 % 2 for k in range(STEPS)])
    encoder = Encoder()
    reel, right = (EpisodePlayback(trajectory, InlineHost(suite["count"], encoder)) for _ in range(2))
    await reel.begin()
    await right.begin()
    pictures = {number: await shown(reel, number) for number in (440, 130, 441, 131, STEPS)}
    assert reel.why == ""
    for number in (130, 131):
        assert await shown(right, number) == pictures[number]


async def test_stepping_back_while_looking_takes_few_steps() -> None:
    trajectory = play_actions(SUITE, "count", [k // 3 % 2 for k in range(STEPS)])
    encoder = Encoder()
    reel = EpisodePlayback(trajectory, InlineHost(SUITE["count"], encoder))
    await reel.begin()
    pictures = {}
    for number in (440, 130, 440):
        taken = CounterEnv.taken
        pictures[number] = [body async for body in reel.frames(number, 1, stays)]
        assert number == 440 or CounterEnv.taken - taken <= 130
    fresh = EpisodePlayback(trajectory, InlineHost(SUITE["count"], encoder))
    await fresh.begin()
    assert [body async for body in fresh.frames(130, 1, stays)][-1] == pictures[130][-1]


async def test_people_click_on_the_picture() -> None:
    host = InlineHost(SUITE["count"], Encoder())
    start = await host.begin(RECORD)
    assert start.controls.hands
    result = await host.read(HumanInput("click", x=30.0, y=5.0))
    assert result.row is not None
    assert result.row.tolist() == [1.0]
