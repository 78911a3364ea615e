"""The session of one person: the episode at hand, its allowed transitions, and its journal entries.

Independent of pages and sockets, and of what is played next: the flow decides that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from enum import StrEnum
from functools import partial

import numpy as np

from ...envs.capabilities import HumanInput
from ...envs.suite import Suite
from ...envs.task import Task
from ...errors import TutelageError
from ..hosting.episode import controller_index
from ..hosting.frame_codec import Picture
from ..hosting.host import (
    EnvironmentCrash,
    EnvironmentHost,
    EpisodeStart,
    FinishedEpisode,
    InlineHost,
    InputResult,
    StepView,
)
from ..hosting.pace import Stopwatch
from ..storage.journal import Journal
from ..storage.journal_records import GIVEN_UP, EpisodeRecord, SeatRecord, StepRecord

PRACTICE = "practice"
"""The role of an episode that is in the journal, but is no demonstration."""


class Phase(StrEnum):
    """State of a session. A real-time episode is READY until it is started; others start at once."""

    CHOOSING = "choosing"
    READY = "ready"
    PLAYING = "playing"
    PAUSED = "paused"
    FINISHED = "finished"


WAITING = (Phase.READY, Phase.PAUSED)
OPEN_PHASES = (Phase.READY, Phase.PLAYING, Phase.PAUSED)
_EXPECTED: dict[str, tuple[Phase, ...]] = {
    "enter": (Phase.CHOOSING,),
    "take_up": (Phase.CHOOSING,),
    "start": (Phase.READY, Phase.PAUSED),
    "act": (Phase.PLAYING,),
    "pause": (Phase.PLAYING,),
    "keep": (Phase.FINISHED,),
    "give_up": OPEN_PHASES,
    "put_aside": (*OPEN_PHASES, Phase.FINISHED),
    "leave": (*OPEN_PHASES, Phase.FINISHED),
}


class EpisodeAborted(TutelageError):
    """The environment of an episode failed; the session has given that episode up and is choosing."""


class OpenEpisode:
    """The episode at hand: the journal's row and steps, and what its environment shows.

    `saved` is the number of the last step on disk; `refused` the reason if the journal takes no more steps.
    `missed` counts missed deadlines. `reactions_ms` and `lags_ms` are the page's measurements: from a frame
    to the key, from a key to its frame. `on_change` is called when `saved` or `refused` has changed.
    """

    def __init__(self, start: EpisodeStart, task: Task, on_change: Callable[[OpenEpisode], None]) -> None:
        self.task = task
        self.record = start.record
        self.steps: list[StepRecord] = start.steps
        self.now = start.now
        self.instruction, self.limit, self.controls = start.instruction, start.limit, start.controls
        self.atlas = start.atlas
        self.saved = len(start.steps)
        self.refused: Exception | None = None
        self.missed = 0
        self.on_written = (
            self._on_written
        )  # the same object for every step: the journal calls it once for many
        self._on_change = on_change
        self.reactions_ms: list[int] = []
        self.lags_ms: list[int] = []

    @property
    def done(self) -> bool:
        return self.now.done

    @property
    def success(self) -> bool | None:
        """Whether it is over, solved, and not given up; None if the task has no success rule."""
        return self.task.success.outcome(self.now.success and not self.record.given_up)

    @property
    def total(self) -> float:
        """The return so far."""
        return float(sum(step.reward for step in self.steps))

    @property
    def milliseconds(self) -> int:
        """Time from the start to the last step."""
        return self.steps[-1].time_ms if self.steps else 0

    def _on_written(self, step: int, error: Exception | None) -> None:
        if error is None:
            self.saved = max(self.saved, step)
        else:
            self.refused = error
        self._on_change(self)


class Session:
    """The state machine of one seat. For one coroutine at a time, which the caller ensures.

    Every transition except a step returns when the journal has it on disk. A wrong transition raises
    TutelageError with the expected and the actual phase, and changes nothing; an environment that fails
    raises EpisodeAborted. `deliver` receives each demonstration as soon as the journal has marked it as kept.
    `number` and `target` are set by the flow: which demonstration this is, of how many. `on_saved` is called
    when more of an episode is on disk, or refused; `on_working(task, done, of)` while an episode is opened,
    of which `done` of its `of` steps have been replayed.
    """

    def __init__(
        self,
        seat: SeatRecord,
        suite: Suite,
        journal: Journal,
        make_host: Callable[[Task], EnvironmentHost] = InlineHost,
        kind: str = "person",
        deliver: Callable[[FinishedEpisode], None] | None = None,
    ) -> None:
        self.seat = seat
        self.suite = suite
        self.phase = Phase.CHOOSING
        self.episode: OpenEpisode | None = None
        self.notices: list[str] = []
        self.on_saved: Callable[[OpenEpisode], None] = lambda _: None
        self.on_working: Callable[[str, int, int], None] = lambda *_: None
        self.number = 1
        self.target: int | None = None
        self._journal = journal
        self._make_host = make_host
        self._kind = kind
        self._deliver = deliver
        self._host: EnvironmentHost | None = None
        self._watch = Stopwatch()

    @property
    def task(self) -> Task | None:
        """The task of the episode at hand."""
        return self.episode.task if self.episode else None

    @property
    def milliseconds(self) -> int:
        """How long the episode at hand has been played, without pauses."""
        return self._watch.read()

    async def enter(
        self,
        task_id: str,
        seed: int,
        *,
        role: str = "",
        study: str = "",
        consent: str = "",
        attempt: int = 1,
    ) -> None:
        """Begin an episode of a task; `role`, `study` and `consent` go into its journal row."""
        self._expect("enter")
        task = self.suite[task_id]
        self.on_working(task.id, 0, 0)
        record = EpisodeRecord(
            seat=self.seat.seat,
            demonstrator=self.seat.demonstrator,
            suite=self.suite.name,
            task=task.id,
            env=task.env,
            kwargs=dict(task.kwargs),
            seed=seed,
            attempt=attempt,
            kind=self._kind,
            study=study,
            consent=consent,
            role=role,
            digest=b"",
        )
        host = await self._host_of(task)
        try:
            start = await host.begin(record)
        except TutelageError:
            raise
        except Exception as error:  # an environment may raise anything
            raise await self._failure(error) from error
        await written(self._journal.begin(start.record))
        self._open_episode(start)

    async def take_up(self, record: EpisodeRecord) -> bool:
        """Replay an episode of the journal up to its last step; False if that is no longer possible."""
        self._expect("take_up")
        self.on_working(record.task, 0, 0)
        host = await self._host_of(self.suite[record.task])
        await written(self._journal.flushed())
        steps, damage = await asyncio.to_thread(self._journal.sound_steps, record.episode)
        try:
            start = await host.restore(record, steps, partial(self.on_working, record.task))
        except Exception as error:  # an environment may raise anything
            await self.close()
            await written(self._journal.mark(record.episode, "abandoned", notes=str(error)))
            self.notices.append(f"An unfinished episode could not be taken up again: {error}")
            return False
        if start.torn or damage:
            self._journal.drop(record.episode, len(start.steps) + 1)
            self.notices.append(
                f"The steps after {len(start.steps)} were damaged and have been dropped; go on from here."
            )
        await written(self._journal.mark(record.episode, "finished" if start.now.done else "open"))
        self._open_episode(start)
        return True

    def start(self) -> None:
        """Start or resume an episode that waits."""
        self._expect("start")
        self._watch.start()
        self.phase = Phase.PLAYING

    def pause(self) -> None:
        """Pause the episode and its time."""
        self._expect("pause")
        self._watch.stop()
        self.phase = Phase.PAUSED

    async def act(self, row: np.ndarray, frame: int = 0, controller: str = "person") -> StepView:
        """Take one action, a row `[k]`. `frame` is the number of the frame it was chosen on."""
        episode, host = self._expect("act")
        try:
            step, view = await host.act(row, self._watch.read(), controller_index(controller), frame)
        except Exception as error:  # an environment may raise anything
            raise await self._failure(error) from error
        self._journal.add(episode.record.episode, step, episode.on_written)
        episode.steps.append(step)
        episode.now = view
        if view.done:
            self._watch.stop()
            self._journal.mark(episode.record.episode, "finished")
            self.phase = Phase.FINISHED
        return view

    async def read(self, gesture: HumanInput | None) -> InputResult:
        """Read input to a web page; resulting actions are taken by `act`."""
        _, host = self._expect("act")
        try:
            return await host.read(gesture)
        except Exception as error:  # an environment may raise anything
            raise await self._failure(error) from error

    async def draw(self) -> Picture | None:
        """Draw the environment's current picture, for a page that has none yet."""
        return await self._host.draw() if self._host and self.episode else None

    async def keep(self) -> None:
        """Keep the finished episode as a demonstration; a practice episode is put aside instead."""
        episode, host = self._expect("keep")
        if episode.record.role == PRACTICE:
            await self.put_aside()
        else:
            await self._keep_episode(episode, host)

    async def give_up(self) -> None:
        """End an unfinished episode for good: a failure, kept if it has any steps."""
        episode, host = self._expect("give_up")
        self._watch.stop()
        if not episode.steps or episode.record.role == PRACTICE:
            await self._close_episode("abandoned")
            return
        notes = "; ".join(part for part in (episode.record.notes, GIVEN_UP) if part)
        episode.record = replace(episode.record, notes=notes)
        await self._keep_episode(episode, host)

    async def put_aside(self) -> None:
        """Put the episode aside: it stays in the journal, and is no demonstration."""
        self._expect("put_aside")
        await self._close_episode("discarded")

    async def leave(self, state: str | None = None) -> None:
        """Close the episode as it is, to be taken up again; or mark it with another `state`."""
        self._expect("leave")
        await self._close_episode(state)

    async def close(self) -> None:
        """Close the environment; the journal has everything."""
        host, self._host, self.episode = self._host, None, None
        self.phase = Phase.CHOOSING
        if host is not None:
            await host.close()

    def _expect(self, transition: str) -> tuple[OpenEpisode, EnvironmentHost]:
        """Check a transition; returns the episode and its host (None for those that begin an episode)."""
        phases = _EXPECTED[transition]
        if self.phase not in phases:
            expected = " or ".join(phases)
            raise TutelageError(f"expected to be {expected} for {transition}, got it while {self.phase}")
        return self.episode, self._host  # type: ignore[return-value]

    async def _host_of(self, task: Task) -> EnvironmentHost:
        """Return the host of a task: the last episode's if it has the same task."""
        if self._host is None or self._host.task is not task:
            await self.close()
            self._host = self._make_host(task)
        return self._host

    def _open_episode(self, start: EpisodeStart) -> None:
        assert self._host is not None
        self.episode = OpenEpisode(start, self._host.task, lambda episode: self.on_saved(episode))
        self._watch = Stopwatch(self.episode.milliseconds)
        self.phase = Phase.FINISHED if self.episode.done else Phase.READY
        if self.phase is Phase.READY and self._host.task.fps is None:
            self.start()

    async def _keep_episode(self, episode: OpenEpisode, host: EnvironmentHost) -> None:
        finished: FinishedEpisode | None = None
        try:
            finished = await host.finish(episode.record, episode.missed)
        except Exception as error:  # the journal has all of it, and the episode is stored at the next start
            self.notices.append(f"This episode is kept, and will be stored later ({error}).")
        await self._close_episode("kept", episode.record.notes or None)
        if self._deliver is not None and finished is not None:
            self._deliver(finished)

    async def _close_episode(self, state: str | None, notes: str | None = None) -> None:
        assert self.episode is not None
        if state is None:
            await written(self._journal.flushed())
        else:
            await written(self._journal.mark(self.episode.record.episode, state, notes))
        self._watch.stop()
        self.episode, self.phase = None, Phase.CHOOSING

    async def _failure(self, error: Exception) -> EpisodeAborted:
        """Give up the episode whose environment has failed; returns the exception to raise."""
        reason = (
            str(error)
            if isinstance(error, TutelageError | EnvironmentCrash)
            else f"{type(error).__name__}: {error}"
        )
        episode = self.episode
        await self.close()
        if episode is not None:
            notes = "; ".join(part for part in (episode.record.notes, reason) if part)
            await written(self._journal.mark(episode.record.episode, "abandoned", notes))
        return EpisodeAborted(f"The task failed: {reason}")


async def written(future: Future[None]) -> None:
    """Wait until the journal has something on disk."""
    await asyncio.wrap_future(future)
