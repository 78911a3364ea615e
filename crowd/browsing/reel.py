"""An episode of a store played again: its pictures on demand, in any order, without keeping all of them.

The world only goes forwards, so a step back that is no longer remembered begins again at the reset. What lies
far off is come to without drawing. Whether every step gave what was recorded is known once the last one was
played.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any

import numpy as np

from ...console.printable import printable
from ...console.wording import counted
from ...datasets.replay import is_grid
from ...datasets.trajectory import CONTROLLERS, Trajectory
from ...envs.suite import Suite
from ...envs.task import Task
from ...errors import TutelageError
from ..dashboard.playback import FRAME, HEADER, as_record, as_steps, described, told, unlike
from ..hosting.frame_codec import pack
from ..hosting.grid_host import GridHost, SharedGridLevel
from ..hosting.host import EnvironmentCrash, EnvironmentHost
from ..hosting.remote_host import RemoteHost
from ..hosting.worker_pool import WorkerPool
from ..storage.journal_records import StepRecord

LONGEST_WINDOW = 64
"""Pictures in one answer, at most."""
_REMEMBERED_BYTES = 64 << 20
_REELS = 3
_AROUND = LONGEST_WINDOW // 2
"""Steps up to which all pictures on the way are drawn; over more, the world steps on without drawing."""
_LOOK_SECONDS = 0.05
_TELL_SECONDS = 0.25


class RequestSuperseded(Exception):
    """The page that asked has gone on to something else."""


class EpisodePlayback:
    """One episode, its world, and the pictures that are remembered, by the number of their step."""

    def __init__(self, trajectory: Trajectory, world: EnvironmentHost) -> None:
        self.trajectory = trajectory
        self._world = world
        self._steps = as_steps(trajectory)
        self._frames: OrderedDict[int, tuple[bytes, int]] = OrderedDict()
        self._bytes = 0
        self._position = -1  # steps that the world has taken; -1 before the reset
        self._latest = b""
        self._quiet_until = 0  # steps that are taken without pictures
        self._is_over = False
        self._taken: list[StepRecord] = []
        self._turn = asyncio.Lock()
        self.why = ""
        """What differs from what was recorded, once that is known."""

    async def begin(self) -> dict[str, Any]:
        """Reset the world, and return what the page must know of the episode."""
        async with self._turn:
            begun = await self._reset()
        return described(begun, self._steps)

    async def frames(
        self, first: int, count: int, is_gone: Callable[[], Awaitable[bool]]
    ) -> AsyncGenerator[bytes, None]:
        """Yield the pictures after `first` steps and up to `count` of them, as parts of a stream.

        A picture like the one before it has no bytes. What takes long to come to is told about on the way.
        Raises Gone when the page no longer waits for them.
        """
        numbers = range(first, min(first + min(count, LONGEST_WINDOW), len(self._steps) + 1))
        looked = told_at = time.monotonic()
        async with self._turn:
            while (missing := next((n for n in numbers if n not in self._frames), None)) is not None:
                if self._is_over and 0 <= self._position < missing:
                    break
                await self._towards(missing)
                now = time.monotonic()
                if now - looked >= _LOOK_SECONDS:
                    looked = now
                    if await is_gone():
                        raise RequestSuperseded
                if now - told_at >= _TELL_SECONDS:
                    told_at = now
                    yield told({"type": "progress", "step": max(self._position, 0), "of": missing})
            yield self._packed([n for n in numbers if n in self._frames])

    async def _towards(self, number: int) -> None:
        """Bring the world nearer to a moment: by a reset, by many steps without a picture, or by one with."""
        if not 0 <= self._position < number:
            # whoever goes back goes on going back: some pictures before are drawn too
            self._quiet_until = max(0, number - _AROUND)
            await self._reset()
            return
        if number - self._position > 2 * _AROUND:
            self._quiet_until = max(self._quiet_until, number - _AROUND)
        quiet_until = min(self._quiet_until, number - 1)
        if self._position < quiet_until:
            await self._skip(quiet_until)
        else:
            await self._advance()

    async def close(self) -> None:
        """Let go of the world."""
        await self._world.close()

    async def _reset(self) -> Any:
        self._is_over, self._position = False, -1
        begun = await self._world.begin(as_record(self.trajectory))
        self._position, self._taken = 0, []
        picture = begun.now.picture
        self._latest = b"" if picture is None else pack(picture, 0, 0)
        self._remember(0, len(self._latest))
        self._is_over = begun.now.done
        return begun

    async def _skip(self, until: int) -> None:
        """Take steps without pictures, for a moment's time, and none after the first `until` of all."""
        position, self._position = self._position, -1  # nowhere, should this be interrupted
        taken = await self._world.skip(self._steps[position:until])
        self._moved(position + len(taken), taken)
        await asyncio.sleep(0)  # others come first

    async def _advance(self) -> None:
        position, self._position = self._position, -1
        step = self._steps[position]
        again, now = await self._world.act(np.array(step.action), step.time_ms, step.controller, step.frame)
        if now.picture is not None:
            self._latest = pack(now.picture, position + 1, position + 1)
        self._remember(position + 1, len(self._latest) if now.picture is not None else 0)
        self._moved(position + 1, [again])
        await asyncio.sleep(0)

    def _moved(self, position: int, taken: Sequence[StepRecord]) -> None:
        """Note where the world is now, and at an end whether all was as recorded."""
        self._position = position
        self._taken += taken
        if position == len(self._steps):
            self._is_over = True
            self.why = unlike(self.trajectory, self._taken, self._world.task)
        elif taken[-1].terminated or taken[-1].truncated:
            self._is_over = True
            steps = counted(len(self._steps), "step")
            self.why = f"The environment has changed: it ends after {position} of {steps} now."

    def _remember(self, number: int, cost: int) -> None:
        if number in self._frames:
            self._bytes -= self._frames.pop(number)[1]
        self._frames[number] = self._latest, cost
        self._bytes += cost
        while self._bytes > _REMEMBERED_BYTES and len(self._frames) > 2 * LONGEST_WINDOW:
            self._bytes -= self._frames.popitem(last=False)[1][1]

    def _packed(self, numbers: list[int]) -> bytes:
        parts, before = [], None
        for number in numbers:
            frame = self._frames[number][0]
            shown = b"" if frame is before else frame
            parts.append(HEADER.pack(FRAME, len(shown)) + shown)
            before = frame
        if self._is_over:
            parts.append(told({"type": "end", "why": self.why, "steps": self._position}))
        return b"".join(parts)


class EpisodePlaybacks:
    """The reels that are open, the latest few. Lives in the event loop."""

    def __init__(self, suite: Suite, find: Callable[[str], Trajectory | None]) -> None:
        self._suite, self._find = suite, find
        self._open: OrderedDict[str, EpisodePlayback] = OrderedDict()
        self._told: dict[str, dict[str, Any]] = {}
        self._grounds: dict[str, SharedGridLevel] = {}
        self._workers = WorkerPool(suite, 1)
        self._turn = asyncio.Lock()

    async def reel(self, episode: str) -> EpisodePlayback | None:
        """Return the reel of an episode, begun; None where there is no such episode.

        Raises TutelageError when its environment cannot be made or played.
        """
        async with self._turn:
            if episode not in self._open:
                trajectory = await asyncio.to_thread(self._find, episode)
                if trajectory is None:
                    return None
                reel = EpisodePlayback(trajectory, await self._world(self._suite[trajectory.task]))
                try:
                    self._told[episode] = await reel.begin()
                except BaseException:
                    await reel.close()
                    raise
                self._open[episode] = reel
            self._open.move_to_end(episode)
            while len(self._open) > _REELS:
                name, oldest = self._open.popitem(last=False)
                del self._told[name]
                await oldest.close()
            return self._open[episode]

    async def describe(self, episode: str) -> dict[str, Any] | None:
        """Return what the page must know to show an episode: labels, rewards, times, who acted."""
        reel = await self.reel(episode)
        return None if reel is None else {**self._told[episode], **timeline(reel.trajectory)}

    async def drop(self, episode: str) -> None:
        """Let go of an episode's world, which failed."""
        async with self._turn:
            if (reel := self._open.pop(episode, None)) is not None:
                del self._told[episode]
                await reel.close()

    async def close(self) -> None:
        """Let go of every world, and end the processes."""
        for episode in list(self._open):
            await self.drop(episode)
        await self._workers.close()

    async def _world(self, task: Task) -> EnvironmentHost:
        if not is_grid(task):
            return RemoteHost(task, self._workers)
        if task.id not in self._grounds:
            self._grounds[task.id] = await asyncio.to_thread(SharedGridLevel, task)
        return GridHost(self._grounds[task.id])


def timeline(trajectory: Trajectory) -> dict[str, Any]:
    """Return what is known of each step without playing it: actions as numbers, rewards, times, who acted."""
    rows = trajectory.actions.tolist()
    return {
        "numbers": [" ".join(f"{number:g}" for number in row) for row in rows],
        "rewards": [float(reward) if np.isfinite(reward) else None for reward in trajectory.rewards],
        "times": trajectory.times_ms.tolist(),
        "controllers": [
            CONTROLLERS[number] if 0 <= number < len(CONTROLLERS) else "–"
            for number in trajectory.controllers
        ],
        "versions": dict(trajectory.versions),
    }


def reason(error: Exception) -> str:
    """Say in one line why an episode cannot be shown."""
    if isinstance(error, TutelageError | EnvironmentCrash):
        return printable(error)
    return f"the environment failed: {type(error).__name__}: {printable(error)}"
