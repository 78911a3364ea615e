"""Any moment of a long episode is shown soon: what lies before it is played without pictures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from tutelage.crowd.browsing import reel as reels
from tutelage.crowd.browsing.reel import EpisodePlayback, RequestSuperseded
from tutelage.crowd.dashboard.playback import FRAME, HEADER, TOLD
from tutelage.crowd.hosting.frame_codec import Encoder
from tutelage.crowd.hosting.grid_host import GridHost, SharedGridLevel
from tutelage.crowd.hosting.host import EnvironmentHost, InlineHost
from tutelage.datasets.trajectory import Trajectory
from tutelage.envs.suite import suite_from
from tutelage.tests.support.edited import play_actions

pytestmark = pytest.mark.anyio
LONG = 3000


class Odometer(gymnasium.Env[Any, Any]):
    """A number that grows, painted as a gray; it counts its pictures."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    observation_space = spaces.Box(0, LONG, (1,), np.float32)
    action_space = spaces.Discrete(2)
    pictures = 0

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        return np.full(1, self.steps, np.float32), 1.0, False, self.steps >= LONG, {}

    def render(self) -> np.ndarray:
        Odometer.pictures += 1
        return np.full((8, 8, 3), self.steps % 251, np.uint8)


gymnasium.register("toys/Odometer-v0", entry_point=Odometer)
SUITE = suite_from(
    {
        "suite": "long",
        "tasks": [
            {"id": "road", "env": "toys/Odometer-v0", "max_steps": LONG},
            {"id": "room", "env": "tutelage/BossLevel-v0"},
        ],
    }
)


def world(task: str) -> EnvironmentHost:
    return GridHost(SharedGridLevel(SUITE[task])) if task == "room" else InlineHost(SUITE[task], Encoder())


@pytest.fixture(scope="module")
def episodes() -> dict[str, Trajectory]:
    """Play a long episode in the toy, and one in a grid world that turns around until its end."""
    return {
        "road": play_actions(SUITE, "road", [0] * LONG),
        "room": play_actions(SUITE, "room", [0, 1, 1] * 200),
    }


def parts(stream: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(stream):
        kind, size = HEADER.unpack_from(stream, at)
        yield kind, stream[at + HEADER.size : at + HEADER.size + size]
        at += HEADER.size + size


async def shown(
    reel: EpisodePlayback, first: int, count: int = 1
) -> tuple[list[bytes], list[dict[str, Any]]]:
    """Return the pictures of a window, and what is told on the way."""

    async def stays() -> bool:
        return False

    read = [part async for body in reel.frames(first, count, stays) for part in parts(body)]
    told = [json.loads(data) for kind, data in read if kind == TOLD]
    return [data for kind, data in read if kind == FRAME], told


async def test_a_far_moment_costs_the_pictures_around_it_only(episodes: dict[str, Trajectory]) -> None:
    reel = EpisodePlayback(episodes["road"], world("road"))
    await reel.begin()
    Odometer.pictures = 0
    [far], _ = await shown(reel, 2500)
    assert Odometer.pictures <= reels.LONGEST_WINDOW
    drawn = Odometer.pictures
    for number in range(2499, 2480, -1):  # and steps back from there none
        await shown(reel, number)
    assert Odometer.pictures == drawn
    await shown(reel, 1000)
    assert Odometer.pictures <= drawn + reels.LONGEST_WINDOW + 1
    again, _ = await shown(reel, 2500)
    assert again == [far]
    _, told = await shown(reel, LONG)
    assert told[-1] == {"type": "end", "why": "", "steps": LONG}
    await reel.close()


async def test_what_is_come_to_without_pictures_is_what_is_come_to_with_them(
    episodes: dict[str, Trajectory],
) -> None:
    slow, fast = (EpisodePlayback(episodes["room"], world("room")) for _ in range(2))
    await slow.begin()
    await fast.begin()
    steps = len(episodes["room"])
    assert steps > 500
    frames = [frame for first in range(0, steps, 50) for frame in (await shown(slow, first, 50))[0]]
    frames += (await shown(slow, steps))[0]
    alone, told = await shown(fast, steps)
    assert alone == frames[-1:]
    assert told[-1] == {"type": "end", "why": "", "steps": steps}


async def test_what_takes_long_is_told_on_the_way_and_ends_when_the_page_is_gone(
    episodes: dict[str, Trajectory], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reels, "_REPORT_SECONDS", 0.0)
    monkeypatch.setattr(reels, "_CHECK_SECONDS", 0.0)
    reel = EpisodePlayback(episodes["room"], world("room"))
    await reel.begin()
    _, told = await shown(reel, len(episodes["room"]))
    progress = [part["step"] for part in told if part["type"] == "progress"]
    assert progress == sorted(progress)
    assert len(progress) > 2

    async def is_gone() -> bool:
        return True

    other = EpisodePlayback(episodes["road"], world("road"))
    await other.begin()
    with pytest.raises(RequestSuperseded):
        await anext(other.frames(LONG, 1, is_gone))
    [picture], _ = await shown(other, 0)
    assert picture  # what was broken off begins anew


async def test_what_differs_is_named_with_its_step(episodes: dict[str, Trajectory]) -> None:
    rewards = episodes["road"].rewards.copy()
    rewards[1200] = 7
    reel = EpisodePlayback(replace(episodes["road"], rewards=rewards), world("road"))
    await reel.begin()
    _, told = await shown(reel, LONG)
    assert told[-1]["why"].startswith("Not exact: another reward at step 1201 (1, stored: 7)")
