"""Replay of a stored episode: frames on demand, in any order, with a bounded cache.

The environment only steps forward: a step back to a frame outside the cache starts again at the reset.
Distant steps are reached without drawing. Whether every step gave what was recorded is known after the last
one.
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
from ...datasets.trajectory import CONTROLLERS, Trajectory
from ...envs.suite import Suite
from ...errors import TutelageError
from ..dashboard.playback import (
    FRAME,
    HEADER,
    as_record,
    as_steps,
    episode_message,
    message_part,
    replay_mismatch,
)
from ..hosting.frame_codec import pack
from ..hosting.host import EnvironmentCrash, PlaybackHost
from ..hosting.host_factory import HostFactory
from ..hosting.worker_pool import WorkerPool
from ..storage.journal_records import StepRecord
from .recorded_host import AS_RECORDED, RecordedHost, is_shown_from_recording

LONGEST_WINDOW = 64
"""Largest number of frames in one answer."""
_REMEMBERED_BYTES = 64 << 20
_MOST_OPEN = 3
_AROUND = LONGEST_WINDOW // 2
"""Distance in steps up to which every frame on the way is drawn; beyond it, steps are not drawn."""
_CHECK_SECONDS = 0.05
_REPORT_SECONDS = 0.25


class RequestSuperseded(Exception):
    """The page that sent the request no longer waits for it."""


class EpisodePlayback:
    """One episode, its environment, and its cached frames by step number."""

    def __init__(self, trajectory: Trajectory, host: PlaybackHost, note: str = "") -> None:
        self.trajectory = trajectory
        self._host = host
        self._note = note  # told at the end, if nothing is wrong
        self._steps = as_steps(trajectory)
        self._frames: OrderedDict[int, tuple[bytes, int]] = OrderedDict()
        self._bytes = 0
        self._position = -1  # environment steps taken; -1 before the reset
        self._latest = b""
        self._quiet_until = 0  # steps up to this one are not drawn
        self._is_over = False
        self._replayed: list[StepRecord] = []
        self._turn = asyncio.Lock()
        self.why = ""
        """How the replay differs from the recording, once that is known."""

    async def begin(self) -> dict[str, Any]:
        """Reset the environment, and return the page's description of the episode."""
        async with self._turn:
            start = await self._reset()
        return episode_message(start, self._steps)

    async def frames(
        self, first: int, count: int, is_gone: Callable[[], Awaitable[bool]]
    ) -> AsyncGenerator[bytes, None]:
        """Yield the frames after `first` steps, at most `count` of them, as parts of a stream.

        A frame equal to the one before it has no bytes. Progress is reported while a distant step is reached.
        Raises RequestSuperseded when the page no longer waits for the frames.
        """
        numbers = range(first, min(first + min(count, LONGEST_WINDOW), len(self._steps) + 1))
        checked_at = reported_at = time.monotonic()
        async with self._turn:
            while (
                missing := next((number for number in numbers if number not in self._frames), None)
            ) is not None:
                if self._is_over and 0 <= self._position < missing:
                    break
                await self._approach(missing)
                now = time.monotonic()
                if now - checked_at >= _CHECK_SECONDS:
                    checked_at = now
                    if await is_gone():
                        raise RequestSuperseded
                if now - reported_at >= _REPORT_SECONDS:
                    reported_at = now
                    yield message_part({"type": "progress", "step": max(self._position, 0), "of": missing})
            yield self._pack_frames([number for number in numbers if number in self._frames])

    async def _approach(self, number: int) -> None:
        """Move the environment closer to a step: by a reset, by many undrawn steps, or by one drawn step."""
        if not 0 <= self._position < number:
            # stepping back usually continues: some earlier frames are drawn too
            self._quiet_until = max(0, number - _AROUND)
            if not await self._go_back(self._quiet_until):
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
        """Close the environment."""
        await self._host.close()

    async def _reset(self) -> Any:
        self._is_over, self._position = False, -1
        start = await self._host.begin(as_record(self.trajectory))
        self._position, self._replayed = 0, []
        picture = start.now.picture
        self._latest = b"" if picture is None else pack(picture, 0, 0)
        self._remember(0, len(self._latest))
        self._is_over = start.now.done
        return start

    async def _go_back(self, number: int) -> bool:
        """Return to a snapshot at or before a step; False if there is none."""
        position, self._position = self._position, -1
        earlier = await self._host.back_to(number) if position > number else None
        if earlier is None:
            return False
        picture = await self._host.draw()
        self._position, self._is_over = earlier, False
        del self._replayed[earlier:]
        self._latest = b"" if picture is None else pack(picture, earlier, earlier)
        self._remember(earlier, len(self._latest))
        return True

    async def _skip(self, until: int) -> None:
        """Take steps without drawing, for a short time, up to step `until` at most."""
        position, self._position = self._position, -1  # undefined if this is interrupted
        steps = await self._host.skip(self._steps[position:until])
        self._record_position(position + len(steps), steps)
        await asyncio.sleep(0)  # let other tasks run

    async def _advance(self) -> None:
        position, self._position = self._position, -1
        step = self._steps[position]
        replayed, view = await self._host.act(
            np.array(step.action), step.time_ms, step.controller, step.frame
        )
        if view.picture is not None:
            self._latest = pack(view.picture, position + 1, position + 1)
        self._remember(position + 1, len(self._latest) if view.picture is not None else 0)
        self._record_position(position + 1, [replayed])
        await asyncio.sleep(0)

    def _record_position(self, position: int, new_steps: Sequence[StepRecord]) -> None:
        """Record the environment's position; at the end, compare the replay with the recording."""
        self._position = position
        self._replayed += new_steps
        if position == len(self._steps):
            self._is_over = True
            self.why = replay_mismatch(self.trajectory, self._replayed, self._host.task)
        elif new_steps[-1].terminated or new_steps[-1].truncated:
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

    def _pack_frames(self, numbers: list[int]) -> bytes:
        parts, previous = [], None
        for number in numbers:
            frame = self._frames[number][0]
            data = b"" if frame is previous else frame
            parts.append(HEADER.pack(FRAME, len(data)) + data)
            previous = frame
        if self._is_over:
            end = {"type": "end", "why": self.why, "steps": self._position}
            parts.append(message_part(end | ({"note": self._note} if self._note else {})))
        return b"".join(parts)


class EpisodePlaybacks:
    """The latest few open playbacks. Lives in the event loop."""

    def __init__(self, suite: Suite, find: Callable[[str], Trajectory | None]) -> None:
        self._suite, self._find = suite, find
        self._open: OrderedDict[str, EpisodePlayback] = OrderedDict()
        self._descriptions: dict[str, dict[str, Any]] = {}
        self._workers = WorkerPool(suite, 1)
        self._hosts = HostFactory(self._workers)
        self._turn = asyncio.Lock()

    async def reel(self, episode: str) -> EpisodePlayback | None:
        """Return the playback of an episode, already begun; None if the episode does not exist.

        Raises TutelageError when its environment cannot be made or played.
        """
        async with self._turn:
            if episode not in self._open:
                trajectory = await asyncio.to_thread(self._find, episode)
                if trajectory is None:
                    return None
                reel = await asyncio.to_thread(self._playback_of, trajectory)
                try:
                    self._descriptions[episode] = await reel.begin()
                except BaseException:
                    await reel.close()
                    raise
                self._open[episode] = reel
            self._open.move_to_end(episode)
            while len(self._open) > _MOST_OPEN:
                name, oldest = self._open.popitem(last=False)
                del self._descriptions[name]
                await oldest.close()
            return self._open[episode]

    def _playback_of(self, trajectory: Trajectory) -> EpisodePlayback:
        task = self._suite[trajectory.task]
        if is_shown_from_recording(trajectory, task):
            return EpisodePlayback(trajectory, RecordedHost(task, trajectory), AS_RECORDED)
        return EpisodePlayback(trajectory, self._hosts.make(task))

    async def describe(self, episode: str) -> dict[str, Any] | None:
        """Return the page's description of an episode: labels, rewards, times and controllers."""
        reel = await self.reel(episode)
        return None if reel is None else {**self._descriptions[episode], **timeline(reel.trajectory)}

    async def drop(self, episode: str) -> None:
        """Close the environment of an episode, which failed."""
        async with self._turn:
            if (reel := self._open.pop(episode, None)) is not None:
                del self._descriptions[episode]
                await reel.close()

    async def close(self) -> None:
        """Close every environment, and end the processes."""
        for episode in list(self._open):
            await self.drop(episode)
        await self._workers.close()


def timeline(trajectory: Trajectory) -> dict[str, Any]:
    """Return what is known of each step without a replay: actions as numbers, rewards, times, controllers."""
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
