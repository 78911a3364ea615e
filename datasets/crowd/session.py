"""One person's session: which episode is played, what may be done with it now, and what the journal is told.

Knows nothing of pages and sockets: a person's keys drive it, or any `act(observation) -> row`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from ...envs.errors import TutelageError
from ...envs.gymnasium_task import Step, TaskEnvironment
from ...envs.spaces import Observation
from ...envs.task import Task
from ..journal import EpisodeRecord, Journal, SeatRecord
from ..trajectory import Trajectory
from .assignment import Assignment
from .episode import Episode, controller_index
from .pace import Stopwatch
from .settings import Settings


class Phase(StrEnum):
    """Where a session is. A real-time episode is READY until it is started; others are played at once."""

    CHOOSING = "choosing"
    READY = "ready"
    PLAYING = "playing"
    PAUSED = "paused"
    FINISHED = "finished"


_UNDERWAY = (Phase.READY, Phase.PLAYING, Phase.PAUSED)
_EXPECTED: dict[str, tuple[Phase, ...]] = {
    "choose": (Phase.CHOOSING,),
    "start": (Phase.READY, Phase.PAUSED),
    "act": (Phase.PLAYING,),
    "pause": (Phase.PLAYING,),
    "keep": (Phase.FINISHED,),
    "discard": (*_UNDERWAY, Phase.FINISHED),
    "redo": (*_UNDERWAY, Phase.FINISHED),
    "undo": _UNDERWAY,
    "leave": (*_UNDERWAY, Phase.FINISHED),
}
_IN_BASELINE = _EXPECTED | {"discard": _UNDERWAY, "redo": (), "undo": ()}
"""On test seeds the first try counts: a finished episode can only be kept, an unfinished one given up."""


@dataclass(frozen=True)
class Acted:
    """What one action gave; `saved` is resolved when it is on disk."""

    step: Step
    number: int
    saved: Future[None]


@dataclass(frozen=True)
class Kept:
    """A finished demonstration, and the observations (leaf path → `[T+1, ...]`) to prove it with."""

    trajectory: Trajectory
    observations: dict[str, np.ndarray]


class Session:
    """The state machine of one seat. Not thread-safe: one thread at a time.

    Every transition that is not a step returns when the journal has it on disk. A wrong transition
    raises TutelageError, which says what was expected and what came, and changes nothing.
    `deliver` is handed each demonstration as soon as the journal has it marked as kept.
    """

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        assignment: Assignment,
        seat: SeatRecord,
        kind: str = "person",
        deliver: Callable[[Kept], None] | None = None,
    ) -> None:
        self.seat = seat
        self.phase = Phase.CHOOSING
        self.episode: Episode | None = None
        self.notices: list[str] = []
        self.kept: Counter[str] = Counter()
        self.given_up: Counter[str] = Counter()
        self._settings = settings
        self._journal = journal
        self._assignment = assignment
        self._kind = kind
        self._deliver = deliver
        self._environment: TaskEnvironment | None = None
        self._discarded: list[EpisodeRecord] = []
        self._watch = Stopwatch()
        for one in journal.episodes(demonstrator=seat.demonstrator, suite=settings.suite.name):
            if one.seed in settings.seeds:
                self.kept[one.task] += one.state in ("kept", "stored") and not one.given_up
                self.given_up[one.task] += settings.is_baseline and (one.given_up or one.state == "abandoned")

    @property
    def task(self) -> Task | None:
        return self._environment.task if self._environment else None

    @property
    def environment(self) -> TaskEnvironment:
        """The environment of the chosen task; raises TutelageError when none is chosen."""
        if self._environment is None:
            raise TutelageError("expected a chosen task, got none; choose one first")
        return self._environment

    @property
    def choices(self) -> tuple[str, ...]:
        """List what may be done with the episode now."""
        table = self._table()
        names = [name for name in ("keep", "discard", "redo", "leave") if self.phase in table[name]]
        return (*names, "undo") if self._discarded and self.phase in table["undo"] else tuple(names)

    def choose(self, task_id: str) -> None:
        """Go to a task: to its undecided or unfinished episode if there is one, else to a new one."""
        self._expect("choose")
        task = self._settings.suite[task_id]
        if self._target_met(task.id):
            raise TutelageError(
                f"expected a task with demonstrations left to give, got {task_id!r}: all done"
            )
        self._environment = TaskEnvironment(task, rgb=self._kind == "person")
        self._sit(task.id)
        mine = self._mine("discarded")
        self._discarded = [] if self._settings.is_baseline else mine
        self._continue()

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

    def act(self, row: np.ndarray, frame: int = 0, controller: str = "person") -> Acted:
        """Take one action, a row `[k]`. `frame` is the number of the frame it was chosen on."""
        episode = self._expect("act")
        step = episode.take(row, self._watch.read(), controller_index(controller), frame)
        saved = self._journal.append(episode.record.episode, step)
        if episode.done:
            self._watch.stop()
            self._journal.mark(episode.record.episode, "finished")
            self.phase = Phase.FINISHED
        return Acted(episode.now, step.step, saved)

    def keep(self) -> Kept:
        """Keep the finished episode and go on to the next."""
        episode = self._expect("keep")
        kept = self._keep(episode)
        self.kept[episode.record.task] += 1
        self._next()
        return kept

    def discard(self) -> None:
        """Put the episode aside and go on to the next; on test seeds, give it up for good: a failure."""
        episode = self._expect("discard")
        if self._settings.is_baseline:
            episode.give_up()
            if episode.steps:
                self._keep(episode)
            else:
                self._journal.mark(episode.record.episode, "abandoned").result()
            self.given_up[episode.record.task] += 1
        else:
            self._put_aside(episode)
        self._next()

    def redo(self) -> None:
        """Put the episode aside and play the same seed again."""
        episode = self._expect("redo")
        self._put_aside(episode)
        self._begin(episode.record.seed, episode.record.attempt + 1)

    def undo(self) -> None:
        """Bring the last discarded episode back; the one underway waits, or is forgotten if not begun."""
        episode = self._expect("undo")
        if not self._discarded:
            raise TutelageError("expected a discarded episode to bring back, got none")
        if not episode.steps:
            self._journal.mark(episode.record.episode, "unplayed").result()
            if episode.record.attempt == 1:
                self._assignment.give_back(episode.record.task, self.seat.demonstrator, episode.record.seed)
        back = self._discarded.pop()
        self._journal.mark(back.episode, "open").result()
        if not self._restore(back):
            self._continue()

    def leave(self) -> None:
        """Go back to the choice of tasks; the episode waits there as it is."""
        self._expect("leave")
        self._to_choosing()

    def close(self) -> None:
        """Let go of the environment; the journal has everything."""
        if self._environment is not None:
            self._environment.close()
        self._environment, self.episode = None, None
        self.phase = Phase.CHOOSING

    def _table(self) -> dict[str, tuple[Phase, ...]]:
        return _IN_BASELINE if self._settings.is_baseline else _EXPECTED

    def _expect(self, what: str) -> Episode:
        """Check a transition, and return the episode it is about (that of `choose` is never used)."""
        phases = self._table()[what]
        if self.phase in phases and (self.episode is not None or what == "choose"):
            return self.episode  # type: ignore[return-value]
        if not phases:
            raise TutelageError(f"expected the first try to count, got {what}; test seeds are played once")
        wanted = " or ".join(phases)
        raise TutelageError(f"expected to be {wanted} for {what}, got it while {self.phase}")

    def _target_met(self, task_id: str) -> bool:
        target = self._settings.episodes
        return target is not None and self.kept[task_id] + self.given_up[task_id] >= target

    def _next(self) -> None:
        if self._target_met(self.environment.task.id):
            self._to_choosing()
        else:
            self._continue()

    def _continue(self) -> None:
        self._journal.flush()
        for record in (*reversed(self._mine("finished")), *reversed(self._mine("open"))):
            if self._restore(record):
                return
        self._begin(self._assignment.take(self.environment.task.id, self.seat.demonstrator), 1)

    def _mine(self, state: str) -> list[EpisodeRecord]:
        task = self.environment.task.id
        found = self._journal.episodes(seat=self.seat.seat, task=task, state=state)
        return [one for one in found if one.seed in self._settings.seeds]

    def _begin(self, seed: int, attempt: int) -> None:
        task = self.environment.task
        record = EpisodeRecord(
            seat=self.seat.seat,
            demonstrator=self.seat.demonstrator,
            suite=self._settings.suite.name,
            task=task.id,
            env=task.env,
            kwargs=dict(task.kwargs),
            seed=seed,
            attempt=attempt,
            kind=self._kind,
            digest=b"",
        )
        episode = Episode.begin(self.environment, record)
        self._journal.begin(episode.record).result()
        self._enter(episode)

    def _restore(self, record: EpisodeRecord) -> bool:
        """Play an episode of the journal up to where it was; False when it no longer can be."""
        steps = self._journal.steps(record.episode)
        try:
            episode, torn = Episode.restore(self.environment, record, steps)
        except TutelageError as error:
            self._journal.mark(record.episode, "abandoned", notes=str(error)).result()
            self.notices.append(f"An unfinished episode could not be taken up again: {error}")
            return False
        if torn:
            self._journal.drop(record.episode, len(episode.steps) + 1)
            self.notices.append(f"The last {torn} steps were damaged and have been dropped; go on from here.")
        self._journal.mark(record.episode, "finished" if episode.done else "open").result()
        self._enter(episode)
        return True

    def _enter(self, episode: Episode) -> None:
        self.episode = episode
        self._watch = Stopwatch(episode.milliseconds)
        self.phase = Phase.FINISHED if episode.done else Phase.READY
        if self.phase is Phase.READY and self.environment.task.fps is None:
            self.start()

    def _keep(self, episode: Episode) -> Kept:
        kept = Kept(episode.trajectory(), episode.observations())
        self._journal.mark(episode.record.episode, "kept", episode.record.notes or None).result()
        if self._deliver is not None:
            self._deliver(kept)
        return kept

    def _put_aside(self, episode: Episode) -> None:
        self._journal.mark(episode.record.episode, "discarded").result()
        self._discarded.append(episode.record)

    def _to_choosing(self) -> None:
        self._journal.flush()
        self.close()
        self._sit("")

    def _sit(self, task_id: str) -> None:
        self.seat = replace(self.seat, task=task_id)
        self._journal.sit(self.seat).result()


def play(
    session: Session, task_id: str, act: Callable[[Observation], np.ndarray], controller: str = "person"
) -> Kept:
    """Play one episode of a task to its end with `act(observation) -> row`, and keep it."""
    if session.phase is Phase.CHOOSING:
        session.choose(task_id)
    if session.phase in (Phase.READY, Phase.PAUSED):
        session.start()
    while session.phase is Phase.PLAYING and session.episode is not None:
        seen = session.episode.now.observation
        session.act(act(seen), frame=len(session.episode.steps), controller=controller)
    return session.keep()
