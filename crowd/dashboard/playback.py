"""Replay of an episode for the dashboard: its seed and actions run on the server, its pictures are streamed.

One episode at a time, in its own environment, so that players are not slowed down; results are cached.
Whether every step gave what was recorded is reported at the end.
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
"""Before each part of a stream: its kind and its length in bytes. An empty frame equals the one before."""

_BYTES = 64 << 20
_RecordedEpisode = tuple[EpisodeRecord, list[StepRecord], Trajectory | None]


@dataclass
class Playback:
    """The parts of an episode's replay so far."""

    record: EpisodeRecord
    parts: list[bytes] = field(default_factory=list)
    done: bool = False
    grown: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, part: bytes) -> None:
        """Add a part, and wake the streams that wait for one."""
        self.parts.append(part)
        self.wake()

    def wake(self) -> None:
        grown, self.grown = self.grown, asyncio.Event()
        grown.set()


class Playbacks:
    """Replays episodes of a study, from the journal or from the store. Lives in the event loop."""

    def __init__(
        self,
        study: str,
        suite: Suite,
        journal: Journal,
        store: Store,
        make_host: Callable[[Task], EnvironmentHost],
    ) -> None:
        self._study = study
        self._suite = suite
        self._journal = journal
        self._store = store
        self.make_host = make_host
        self._cached: OrderedDict[str, Playback] = OrderedDict()
        self._replay_lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def find(self, episode: str) -> Playback | None:
        """Return an episode's playback, started if it was not; None when the episode does not exist.

        The episode is looked up on every call: what has been erased is not shown again.
        """
        stored = await bounded_call(self._look_up, episode)
        if stored is None:
            self._cached.pop(episode, None)
            return None
        record, steps, trajectory = stored
        playback = self._cached.get(episode)
        # an open episode has more steps the next time
        if playback is None or playback.record.state != record.state or record.state == "open":
            playback = self._cached[episode] = Playback(record)
            task = asyncio.create_task(self._play(playback, steps, trajectory))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._cached.move_to_end(episode)
        self._drop_oldest()
        return playback

    async def stream(self, playback: Playback) -> AsyncIterator[bytes]:
        """Yield all parts of a playback, as they are produced."""
        index = 0
        while True:
            grown, is_done = playback.grown, playback.done
            while index < len(playback.parts):
                yield playback.parts[index]
                index += 1
            if is_done:
                return
            await grown.wait()

    def _look_up(self, episode: str) -> _RecordedEpisode | None:
        """Find an episode's row, its steps and the expected trajectory; a damaged one in the store."""
        damaged: _RecordedEpisode | None = None
        for record in self._journal.episodes(episode=episode):
            if record.suite == self._suite.name and record.study in ("", self._study):
                steps, damage = self._journal.sound_steps(episode)
                damaged = record, steps, trajectory_of(record, steps, None, {}) if steps else None
                if not damage:
                    return damaged
        for part, group, rows in self._store.groups():
            if episode in (ids := rows["episode"].to_pylist()):
                [trajectory] = self._store.read_rows(part, group, [ids.index(episode)])
                return as_record(trajectory), as_steps(trajectory), trajectory
        return damaged

    async def _play(
        self, playback: Playback, steps: Sequence[StepRecord], recorded: Trajectory | None
    ) -> None:
        """Replay an episode to its end; a failure is reported within the stream."""
        why = ""
        try:
            async with self._replay_lock:
                why = await self._play_in(playback, steps, recorded)
        except TutelageError as error:
            why = str(error)
        except Exception as error:  # an environment may raise anything
            why = f"the environment failed: {type(error).__name__}: {error}"
        finally:
            playback.done = True
            playback.add(message_part({"type": "end", "why": why}))

    async def _play_in(
        self, playback: Playback, steps: Sequence[StepRecord], recorded: Trajectory | None
    ) -> str:
        host = self.make_host(self._suite[playback.record.task])
        try:
            start = await host.begin(playback.record)
            playback.add(message_part(episode_message(start, steps)))
            playback.add(frame_part(start.now.picture, 0))
            view, replayed = start.now, list[StepRecord]()
            for number, step in enumerate(steps, 1):
                if view.done:
                    return (
                        f"The environment has changed: it ends after {number - 1} of "
                        f"{counted(len(steps), 'step')} now."
                    )
                new_step, view = await host.act(
                    np.array(step.action), step.time_ms, step.controller, step.frame
                )
                replayed.append(new_step)
                playback.add(frame_part(view.picture, number))
                await asyncio.sleep(0)  # let other tasks run
            if recorded is None:  # no step was recorded yet
                return (
                    ""
                    if start.record.digest == playback.record.digest
                    else _mismatch_sentence(["another beginning"])
                )
            return replay_mismatch(recorded, replayed, host.task)
        finally:
            await host.close()

    def _drop_oldest(self) -> None:
        sizes = {name: sum(map(len, playback.parts)) for name, playback in self._cached.items()}
        for name in list(self._cached)[:-1]:
            if sum(sizes.values()) <= _BYTES:
                return
            del self._cached[name], sizes[name]


def replay_mismatch(recorded: Trajectory, replayed: Sequence[StepRecord], task: Task) -> str:
    """Say in one sentence how replayed steps differ from the recording; "" for no difference.

    The outcome is compared where the record has one.
    """
    last = replayed[-1]
    result = ReplayResult(
        rewards=np.array([step.reward for step in replayed], np.float64),
        terminated=last.terminated,
        truncated=last.truncated,
        success=task.success.outcome(last.success),
        digest=last.digest,
    )
    places = differences(recorded, result, is_judged=recorded.success is not None)
    return _mismatch_sentence(places) if places else ""


def _mismatch_sentence(places: Sequence[str]) -> str:
    return f"Not exact: {', '.join(places)}; this environment does not repeat itself, or it has changed."


def episode_message(start: EpisodeStart, steps: Sequence[StepRecord]) -> dict[str, Any]:
    """Build the message before the pictures: the task, and each step's action, reward and time."""
    record = start.record
    return {
        "type": "episode",
        "episode": record.episode,
        "task": record.task,
        "seed": record.seed,
        "instruction": start.instruction,
        "atlas": atlas_message(start.atlas),
        "actions": [start.controls.label(step.action) for step in steps],
        "rewards": [step.reward for step in steps],
        "times": [step.time_ms for step in steps],
    }


def message_part(message: dict[str, Any]) -> bytes:
    """Encode a message as a part of a stream."""
    body = json_text(message, is_compact=True).encode()
    return HEADER.pack(TOLD, len(body)) + body


def frame_part(picture: Picture | None, number: int) -> bytes:
    """Encode the picture after `number` steps as a part of a stream; None if it equals the one before."""
    if picture is None:
        return HEADER.pack(FRAME, 0)
    frame = pack(picture, number, number)
    return HEADER.pack(FRAME, len(frame)) + frame


def as_record(trajectory: Trajectory) -> EpisodeRecord:
    """Return a stored episode as the journal's row of it."""
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
    """Return a stored episode's steps as the journal's; only the last has its digest."""
    last = len(trajectory) - 1
    return [
        StepRecord(
            step=index + 1,
            action=trajectory.actions[index].tolist(),
            reward=float(trajectory.rewards[index]),
            terminated=trajectory.terminated and index == last,
            truncated=trajectory.truncated and index == last,
            time_ms=int(trajectory.times_ms[index]),
            controller=int(trajectory.controllers[index]),
            frame=int(trajectory.frames[index]),
            digest=trajectory.digest if index == last else b"",
        )
        for index in range(len(trajectory))
    ]
