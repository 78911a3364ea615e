"""One person's session: which episode is played, what may be done with it now, and what the journal is told.

Knows nothing of pages and sockets, nor of what is to be played next: that is the guide's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from enum import StrEnum
from functools import partial

import numpy as np

from ...envs.suite import Suite
from ...envs.task import Task
from ...envs.web.human_input import HumanInput
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
"""The role of an episode that is journalled, but is no demonstration."""


class Phase(StrEnum):
    """Where a session is. A real-time episode is READY until it is started; others are played at once."""

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

    `saved` is the number of the last step on disk; `refused` why the journal takes no more of them, if so.
    `missed` is how many deadlines were. `reactions_ms` and `lags_ms` are what the page measured: from a
    frame to the key, from a key to its frame. `hears` is called when `saved` or `refused` has changed.
    """

    def __init__(self, begun: EpisodeStart, task: Task, hears: Callable[[OpenEpisode], None]) -> None:
        self.task = task
        self.record = begun.record
        self.steps: list[StepRecord] = begun.steps
        self.now = begun.now
        self.instruction, self.limit, self.controls = begun.instruction, begun.limit, begun.controls
        self.atlas = begun.atlas
        self.saved = len(begun.steps)
        self.refused: Exception | None = None
        self.missed = 0
        self.hear = self._hear  # one and the same for every step: the journal tells it the last of many
        self._hears = hears
        self.reactions_ms: list[int] = []
        self.lags_ms: list[int] = []

    @property
    def done(self) -> bool:
        return self.now.done

    @property
    def success(self) -> bool | None:
        """Whether it is over, solved, and not given up; None where the task has no success rule."""
        return self.task.success.outcome(self.now.success and not self.record.given_up)

    @property
    def total(self) -> float:
        """The return so far."""
        return float(sum(step.reward for step in self.steps))

    @property
    def milliseconds(self) -> int:
        """Time from the start to the last step."""
        return self.steps[-1].time_ms if self.steps else 0

    def _hear(self, step: int, error: Exception | None) -> None:
        if error is None:
            self.saved = max(self.saved, step)
        else:
            self.refused = error
        self._hears(self)


class Session:
    """The state machine of one seat. For one coroutine at a time; whoever calls it sees to that.

    Every transition but a step returns when the journal has it on disk. A wrong transition raises
    TutelageError, which says what was expected and what came, and changes nothing; an environment that
    fails raises WorldError. `deliver` is handed each demonstration as soon as the journal has it marked
    as kept. `number` and `target` are the guide's to set: which demonstration this is, of how many.
    `on_saved` is called when more of an episode is on disk, or refused; `on_working(task, done, of)` while an
    episode is opened, of which `done` of its `of` steps have been played again.
    """

    def __init__(
        self,
        seat: SeatRecord,
        suite: Suite,
        journal: Journal,
        make_world: Callable[[Task], EnvironmentHost] = InlineHost,
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
        self._make_world = make_world
        self._kind = kind
        self._deliver = deliver
        self._world: EnvironmentHost | None = None
        self._watch = Stopwatch()

    @property
    def task(self) -> Task | None:
        """The task of the episode at hand."""
        return self.episode.task if self.episode else None

    @property
    def milliseconds(self) -> int:
        """How long the episode at hand has been played; pauses do not count."""
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
        world = await self._world_of(task)
        try:
            begun = await world.begin(record)
        except TutelageError:
            raise
        except Exception as error:  # an environment may raise anything
            raise await self._failure(error) from error
        await written(self._journal.begin(begun.record))
        self._show(begun)

    async def take_up(self, record: EpisodeRecord) -> bool:
        """Play an episode of the journal up to where it was; False when it no longer can be."""
        self._expect("take_up")
        self.on_working(record.task, 0, 0)
        world = await self._world_of(self.suite[record.task])
        await written(self._journal.flushed())
        steps, damage = await asyncio.to_thread(self._journal.sound_steps, record.episode)
        try:
            begun = await world.restore(record, steps, partial(self.on_working, record.task))
        except Exception as error:  # an environment may raise anything
            await self.close()
            await written(self._journal.mark(record.episode, "abandoned", notes=str(error)))
            self.notices.append(f"An unfinished episode could not be taken up again: {error}")
            return False
        if begun.torn or damage:
            self._journal.drop(record.episode, len(begun.steps) + 1)
            self.notices.append(
                f"The steps after {len(begun.steps)} were damaged and have been dropped; go on from here."
            )
        await written(self._journal.mark(record.episode, "finished" if begun.now.done else "open"))
        self._show(begun)
        return True

    def start(self) -> None:
        """Start or go on with an episode that waits."""
        self._expect("start")
        self._watch.start()
        self.phase = Phase.PLAYING

    def pause(self) -> None:
        """Let the episode wait; its time stands still."""
        self._expect("pause")
        self._watch.stop()
        self.phase = Phase.PAUSED

    async def act(self, row: np.ndarray, frame: int = 0, controller: str = "person") -> StepView:
        """Take one action, a row `[k]`. `frame` is the number of the frame it was chosen on."""
        episode, world = self._expect("act")
        try:
            step, now = await world.act(row, self._watch.read(), controller_index(controller), frame)
        except Exception as error:  # an environment may raise anything
            raise await self._failure(error) from error
        self._journal.add(episode.record.episode, step, episode.hear)
        episode.steps.append(step)
        episode.now = now
        if now.done:
            self._watch.stop()
            self._journal.mark(episode.record.episode, "finished")
            self.phase = Phase.FINISHED
        return now

    async def read(self, gesture: HumanInput | None) -> InputResult:
        """Read what hands did to a page; what is to be taken of it, `act` takes."""
        _, world = self._expect("act")
        try:
            return await world.read(gesture)
        except Exception as error:  # an environment may raise anything
            raise await self._failure(error) from error

    async def draw(self) -> Picture | None:
        """Draw what the environment shows now, for a page that has nothing yet."""
        return await self._world.draw() if self._world and self.episode else None

    async def keep(self) -> None:
        """Keep the finished episode as a demonstration; one of practice is put aside instead."""
        episode, world = self._expect("keep")
        if episode.record.role == PRACTICE:
            await self.put_aside()
        else:
            await self._keep(episode, world)

    async def give_up(self) -> None:
        """End an unfinished episode here, for good: a failure, kept if anything was done at all."""
        episode, world = self._expect("give_up")
        self._watch.stop()
        if not episode.steps or episode.record.role == PRACTICE:
            await self._let_go("abandoned")
            return
        notes = "; ".join(part for part in (episode.record.notes, GIVEN_UP) if part)
        episode.record = replace(episode.record, notes=notes)
        await self._keep(episode, world)

    async def put_aside(self) -> None:
        """Put the episode aside: it stays in the journal, and is no demonstration."""
        self._expect("put_aside")
        await self._let_go("discarded")

    async def leave(self, state: str | None = None) -> None:
        """Let the episode be, as it is, to be taken up again; or marked with another `state`."""
        self._expect("leave")
        await self._let_go(state)

    async def close(self) -> None:
        """Let go of the environment; the journal has everything."""
        world, self._world, self.episode = self._world, None, None
        self.phase = Phase.CHOOSING
        if world is not None:
            await world.close()

    def _expect(self, what: str) -> tuple[OpenEpisode, EnvironmentHost]:
        """Check a transition; returns what it is about (nothing, for those that begin an episode)."""
        phases = _EXPECTED[what]
        if self.phase not in phases:
            wanted = " or ".join(phases)
            raise TutelageError(f"expected to be {wanted} for {what}, got it while {self.phase}")
        return self.episode, self._world  # type: ignore[return-value]

    async def _world_of(self, task: Task) -> EnvironmentHost:
        """Return the world of a task: the last episode's if it was of the same."""
        if self._world is None or self._world.task is not task:
            await self.close()
            self._world = self._make_world(task)
        return self._world

    def _show(self, begun: EpisodeStart) -> None:
        assert self._world is not None
        self.episode = OpenEpisode(begun, self._world.task, lambda episode: self.on_saved(episode))
        self._watch = Stopwatch(self.episode.milliseconds)
        self.phase = Phase.FINISHED if self.episode.done else Phase.READY
        if self.phase is Phase.READY and self._world.task.fps is None:
            self.start()

    async def _keep(self, episode: OpenEpisode, world: EnvironmentHost) -> None:
        kept: FinishedEpisode | None = None
        try:
            kept = await world.finish(episode.record, episode.missed)
        except Exception as error:  # the journal has all of it, and what it holds is stored at the next start
            self.notices.append(f"This episode is kept, and will be stored later ({error}).")
        await self._let_go("kept", episode.record.notes or None)
        if self._deliver is not None and kept is not None:
            self._deliver(kept)

    async def _let_go(self, state: str | None, notes: str | None = None) -> None:
        assert self.episode is not None
        if state is None:
            await written(self._journal.flushed())
        else:
            await written(self._journal.mark(self.episode.record.episode, state, notes))
        self._watch.stop()
        self.episode, self.phase = None, Phase.CHOOSING

    async def _failure(self, error: Exception) -> EpisodeAborted:
        """Give up the episode whose environment has failed; returns what is to be raised."""
        what = (
            str(error)
            if isinstance(error, TutelageError | EnvironmentCrash)
            else f"{type(error).__name__}: {error}"
        )
        episode = self.episode
        await self.close()
        if episode is not None:
            notes = "; ".join(part for part in (episode.record.notes, what) if part)
            await written(self._journal.mark(episode.record.episode, "abandoned", notes))
        return EpisodeAborted(f"The task failed: {what}")


async def written(future: Future[None]) -> None:
    """Wait until the journal has something on disk."""
    await asyncio.wrap_future(future)
