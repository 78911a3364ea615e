"""An episode played again for whoever watches: its seed and actions run on the server, its pictures streamed.

One episode at a time, in a world of its own, so that players do not feel it; what was played is kept for a
while. Whether every step gave what was recorded is told at the end.
"""

from __future__ import annotations

import asyncio
import struct
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...console.wording import counted
from ...datasets.proof import ReplayResult, differences
from ...datasets.store import Store
from ...datasets.trajectory import Trajectory
from ...envs.suite import Suite
from ...envs.task import Task
from ...errors import TutelageError
from ...files.finite_json import json_text
from ..hosting.episode import trajectory_of
from ..hosting.frame_codec import Picture, pack
from ..hosting.host import EnvironmentHost, EpisodeStart
from ..seats.view import atlas_message
from ..server.bounded_calls import bounded_call
from ..storage.journal import Journal
from ..storage.journal_records import EpisodeRecord, StepRecord

TOLD, FRAME = 1, 2
HEADER = struct.Struct("<BI")
"""Before each part of a stream: what it is and its bytes. A frame without bytes looks like the one before."""

_BYTES = 64 << 20
_Found = tuple[EpisodeRecord, list[StepRecord], Trajectory | None]


@dataclass
class Playback:
    """What has been played of an episode so far, part by part."""

    record: EpisodeRecord
    parts: list[bytes] = field(default_factory=list)
    done: bool = False
    grown: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, part: bytes) -> None:
        """Add a part, and wake whoever waits for one."""
        self.parts.append(part)
        self.wake()

    def wake(self) -> None:
        grown, self.grown = self.grown, asyncio.Event()
        grown.set()


class Playbacks:
    """Plays episodes of a study again, from the journal or from the store. Lives in the event loop."""

    def __init__(
        self,
        study: str,
        suite: Suite,
        journal: Journal,
        store: Store,
        make_world: Callable[[Task], EnvironmentHost],
    ) -> None:
        self._study = study
        self._suite = suite
        self._journal = journal
        self._store = store
        self.make_world = make_world
        self._known: OrderedDict[str, Playback] = OrderedDict()
        self._one_at_a_time = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def find(self, episode: str) -> Playback | None:
        """Return an episode's playback, which is begun if it was not; None when there is no such episode.

        It is looked for anew each time: what has been forgotten is shown no more.
        """
        stored = await bounded_call(self._look_up, episode)
        if stored is None:
            self._known.pop(episode, None)
            return None
        record, steps, trajectory = stored
        playback = self._known.get(episode)
        # an episode that is still being played has more to show the next time
        if playback is None or playback.record.state != record.state or record.state == "open":
            playback = self._known[episode] = Playback(record)
            task = asyncio.create_task(self._play(playback, steps, trajectory))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._known.move_to_end(episode)
        self._forget_oldest()
        return playback

    async def stream(self, playback: Playback) -> AsyncIterator[bytes]:
        """Yield all parts of a playback, as they come."""
        at = 0
        while True:
            grown, done = playback.grown, playback.done
            while at < len(playback.parts):
                yield playback.parts[at]
                at += 1
            if done:
                return
            await grown.wait()

    def _look_up(self, episode: str) -> _Found | None:
        """Find an episode's row, its steps and what they should give; damaged ones in the store."""
        read: _Found | None = None
        for record in self._journal.episodes(episode=episode):
            if record.suite == self._suite.name and record.study in ("", self._study):
                steps, damage = self._journal.sound_steps(episode)
                read = record, steps, trajectory_of(record, steps, None, {}) if steps else None
                if not damage:
                    return read
        for part, group, rows in self._store.groups():
            if episode in (ids := rows["episode"].to_pylist()):
                [one] = self._store.read_rows(part, group, [ids.index(episode)])
                return as_record(one), as_steps(one), one
        return read

    async def _play(
        self, playback: Playback, steps: Sequence[StepRecord], recorded: Trajectory | None
    ) -> None:
        """Play an episode to its end; whatever goes wrong is told in the stream."""
        why = ""
        try:
            async with self._one_at_a_time:
                why = await self._play_in(playback, steps, recorded)
        except TutelageError as error:
            why = str(error)
        except Exception as error:  # an environment may raise anything
            why = f"the environment failed: {type(error).__name__}: {error}"
        finally:
            playback.done = True
            playback.add(told({"type": "end", "why": why}))

    async def _play_in(
        self, playback: Playback, steps: Sequence[StepRecord], recorded: Trajectory | None
    ) -> str:
        world = self.make_world(self._suite[playback.record.task])
        try:
            begun = await world.begin(playback.record)
            playback.add(told(described(begun, steps)))
            playback.add(framed(begun.now.picture, 0))
            now, taken = begun.now, list[StepRecord]()
            for number, step in enumerate(steps, 1):
                if now.done:
                    return (
                        f"The environment has changed: it ends after {number - 1} of "
                        f"{counted(len(steps), 'step')} now."
                    )
                again, now = await world.act(np.array(step.action), step.time_ms, step.controller, step.frame)
                taken.append(again)
                playback.add(framed(now.picture, number))
                await asyncio.sleep(0)  # others come first
            if recorded is None:  # no step was taken yet
                return (
                    "" if begun.record.digest == playback.record.digest else _inexact(["another beginning"])
                )
            return unlike(recorded, taken, world.task)
        finally:
            await world.close()

    def _forget_oldest(self) -> None:
        sizes = {name: sum(map(len, one.parts)) for name, one in self._known.items()}
        for name in list(self._known)[:-1]:
            if sum(sizes.values()) <= _BYTES:
                return
            del self._known[name], sizes[name]


def unlike(recorded: Trajectory, taken: Sequence[StepRecord], task: Task) -> str:
    """Say in one sentence what steps that were played again gave otherwise than recorded; "" for nothing.

    The outcome is compared where the record has one.
    """
    last = taken[-1]
    again = ReplayResult(
        rewards=np.array([step.reward for step in taken], np.float64),
        terminated=last.terminated,
        truncated=last.truncated,
        success=task.success.outcome(last.success),
        digest=last.digest,
    )
    places = differences(recorded, again, is_judged=recorded.success is not None)
    return _inexact(places) if places else ""


def _inexact(places: Sequence[str]) -> str:
    return f"Not exact: {', '.join(places)}; this environment does not repeat itself, or it has changed."


def described(begun: EpisodeStart, steps: Sequence[StepRecord]) -> dict[str, Any]:
    """Build the message that comes before the pictures: the task, and each step's action, reward and time."""
    record = begun.record
    return {
        "type": "episode",
        "episode": record.episode,
        "task": record.task,
        "seed": record.seed,
        "instruction": begun.instruction,
        "atlas": atlas_message(begun.atlas),
        "actions": [begun.controls.label(step.action) for step in steps],
        "rewards": [step.reward for step in steps],
        "times": [step.time_ms for step in steps],
    }


def told(message: dict[str, Any]) -> bytes:
    """Write a message as a part of a stream."""
    body = json_text(message, is_compact=True).encode()
    return HEADER.pack(TOLD, len(body)) + body


def framed(picture: Picture | None, number: int) -> bytes:
    """Write the picture after `number` steps as a part of a stream; None for one like that before."""
    if picture is None:
        return HEADER.pack(FRAME, 0)
    frame = pack(picture, number, number)
    return HEADER.pack(FRAME, len(frame)) + frame


def as_record(trajectory: Trajectory) -> EpisodeRecord:
    """Return a stored episode as the journal would have its row."""
    return EpisodeRecord(
        seat="",
        demonstrator=trajectory.demonstrator,
        suite=trajectory.suite,
        task=trajectory.task,
        env=trajectory.env,
        seed=trajectory.seed,
        digest=b"",
        kwargs=trajectory.kwargs,
        kind=trajectory.kind,
        started=trajectory.started,
        state="stored",
        notes=trajectory.notes,
        episode=trajectory.episode,
    )


def as_steps(trajectory: Trajectory) -> list[StepRecord]:
    """Return a stored episode's steps as the journal would have them; only the last has its digest."""
    last = len(trajectory) - 1
    return [
        StepRecord(
            step=at + 1,
            action=trajectory.actions[at].tolist(),
            reward=float(trajectory.rewards[at]),
            terminated=trajectory.terminated and at == last,
            truncated=trajectory.truncated and at == last,
            time_ms=int(trajectory.times_ms[at]),
            controller=int(trajectory.controllers[at]),
            frame=int(trajectory.frames[at]),
            digest=trajectory.digest if at == last else b"",
        )
        for at in range(len(trajectory))
    ]
