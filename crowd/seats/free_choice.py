"""The flow of `tutelage record`: people choose their tasks, and what happens to each episode."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ...envs.spaces import Observation
from ...errors import TutelageError
from ..settings import Settings
from ..storage.journal import Journal
from ..storage.journal_records import EpisodeRecord
from ..translations import ENGLISH, load_texts
from .protocol import ChooseLanguage, ChooseTask, Command, Message, PageHidden
from .seed_assignment import SeedAssignment
from .session import OPEN_PHASES, Phase, Session, written
from .view import choice_message

_EXPECTED: dict[str, tuple[Phase, ...]] = {
    "choose": (Phase.CHOOSING,),
    "keep": (Phase.FINISHED,),
    "discard": (*OPEN_PHASES, Phase.FINISHED),
    "redo": (*OPEN_PHASES, Phase.FINISHED),
    "undo": OPEN_PHASES,
    "leave": (*OPEN_PHASES, Phase.FINISHED),
}
_IN_BASELINE = _EXPECTED | {"discard": OPEN_PHASES, "redo": (), "undo": ()}
"""On test seeds the first try counts: a finished episode can only be kept, an unfinished one given up."""


class FreeChoice:
    """Leads a session as its person chooses; a `Flow`.

    `kept` and `given_up` count this seat's demonstrations by task, once `count` has been called.
    """

    def __init__(
        self, session: Session, settings: Settings, journal: Journal, assignment: SeedAssignment
    ) -> None:
        self.session = session
        self.settings = settings
        self.texts = load_texts(ENGLISH)
        self.kept: Counter[str] = Counter()
        self.given_up: Counter[str] = Counter()
        self._journal = journal
        self._assignment = assignment
        self._task = ""
        self._discarded: list[EpisodeRecord] = []
        self._counted = False

    @property
    def choices(self) -> tuple[str, ...]:
        """List the commands that are possible now."""
        table, phase = self._allowed_phases(), self.session.phase
        names = [name for name in ("keep", "discard", "redo", "leave") if phase in table[name]]
        return (*names, "undo") if self._discarded and phase in table["undo"] else tuple(names)

    async def arrive(self) -> None:
        """If nothing is underway, as after a restart, go to the last task."""
        if not self._counted:
            await self.count()
        playable = {task.id for task in self.settings.tasks}
        if self.session.phase is Phase.CHOOSING and self.session.seat.task in playable:
            await self.choose(self.session.seat.task)

    async def count(self) -> None:
        """Count this seat's demonstrations so far."""
        filters = {"demonstrator": self.session.seat.demonstrator, "suite": self.settings.suite.name}
        self._counted = True
        for record in await self._read_episodes(**filters):
            self.kept[record.task] += record.state in ("kept", "stored") and not record.given_up
            self.given_up[record.task] += self.settings.is_baseline and (
                record.given_up or record.state == "abandoned"
            )

    async def answer(self, message: Message) -> bool:
        if isinstance(message, ChooseTask):
            await self.choose(message.task)
            return True
        if isinstance(message, PageHidden):
            return True  # used by studies only
        if isinstance(message, ChooseLanguage):
            self.texts = load_texts(message.code)
            return True
        commands: dict[str, Callable[[], Awaitable[None]]] = {
            "keep": self.keep,
            "discard": self.discard,
            "redo": self.redo,
            "undo": self.undo,
            "leave": self.leave,
        }
        if not isinstance(message, Command) or message.type not in commands:
            return False
        await commands[message.type]()
        return True

    async def finished(self) -> None:
        if self.session.phase is Phase.CHOOSING:
            await self._save_task("")

    def tell(self) -> list[dict[str, Any]]:
        return [choice_message(self.settings, self.choices, self.kept, self.given_up)]

    async def choose(self, task_id: str) -> None:
        """Go to a task: to its undecided or unfinished episode if there is one, else to a new one."""
        task = self.settings.suite[task_id]
        if task.id in self.settings.unavailable:
            raise TutelageError(f"expected a task that can be played, got {task.id!r}, which is left out")
        if self.session.task is task:
            return  # a repeated press: the task is open already
        self._expect("choose")
        if self._target_met(task.id):
            raise TutelageError(
                f"expected a task with demonstrations left to give, got {task_id!r}: all done"
            )
        self._task = task.id
        self._discarded = [] if self.settings.is_baseline else await self._own_episodes("discarded")
        await self._continue()
        await self._save_task(task.id)

    async def keep(self) -> None:
        """Keep the finished episode and go on to the next."""
        self._expect("keep")
        await self.session.keep()
        self.kept[self._task] += 1
        await self._next()

    async def discard(self) -> None:
        """Put the episode aside and go on to the next; on test seeds, give it up for good: a failure."""
        self._expect("discard")
        if self.settings.is_baseline:
            await self.session.give_up()
            self.given_up[self._task] += 1
        else:
            await self._put_aside()
        await self._next()

    async def redo(self) -> None:
        """Put the episode aside and play the same seed again."""
        self._expect("redo")
        record = await self._put_aside()
        await self.session.enter(record.task, record.seed, attempt=record.attempt + 1)

    async def undo(self) -> None:
        """Reopen the last discarded episode; the one underway waits, or is dropped if it has no steps."""
        self._expect("undo")
        if not self._discarded:
            raise TutelageError("expected a discarded episode to bring back, got none")
        episode = self.session.episode
        assert episode is not None
        await self.session.leave(None if episode.steps else "unplayed")
        if not episode.steps and episode.record.attempt == 1:
            self._assignment.give_back(self._task, episode.record.demonstrator, episode.record.seed)
        record = self._discarded.pop()
        await written(self._journal.mark(record.episode, "open"))
        if not await self.session.take_up(record):
            await self._continue()

    async def leave(self) -> None:
        """Go back to the choice of tasks; the episode waits there unchanged."""
        self._expect("leave")
        await self.session.leave()
        await self._to_choosing()

    def _allowed_phases(self) -> dict[str, tuple[Phase, ...]]:
        return _IN_BASELINE if self.settings.is_baseline else _EXPECTED

    def _expect(self, command: str) -> None:
        phases = self._allowed_phases()[command]
        if self.session.phase in phases:
            return
        if not phases:
            raise TutelageError(f"expected the first try to count, got {command}; test seeds are played once")
        expected = " or ".join(phases)
        raise TutelageError(f"expected to be {expected} for {command}, got it while {self.session.phase}")

    def _target_met(self, task_id: str) -> bool:
        target = self.settings.episodes
        return target is not None and self.kept[task_id] + self.given_up[task_id] >= target

    async def _next(self) -> None:
        if self._target_met(self._task):
            await self._to_choosing()
        else:
            await self._continue()

    async def _continue(self) -> None:
        self.session.number = self.kept[self._task] + self.given_up[self._task] + 1
        self.session.target = self.settings.episodes
        for state in ("finished", "open"):
            for record in reversed(await self._own_episodes(state)):
                if await self.session.take_up(record):
                    return
        name = self.session.seat.demonstrator
        seed = self._assignment.take(self._task, name)
        try:
            await self.session.enter(self._task, seed)
        except TutelageError:
            self._assignment.give_back(self._task, name, seed)
            raise

    async def _own_episodes(self, state: str) -> list[EpisodeRecord]:
        await written(self._journal.flushed())
        return await self._read_episodes(seat=self.session.seat.seat, task=self._task, state=state)

    async def _read_episodes(self, **filters: str) -> list[EpisodeRecord]:
        records = await asyncio.to_thread(lambda: self._journal.episodes(**filters))
        return [record for record in records if record.seed in self.settings.seeds]

    async def _put_aside(self) -> EpisodeRecord:
        assert self.session.episode is not None
        record = self.session.episode.record
        await self.session.put_aside()
        self._discarded.append(record)
        return record

    async def _to_choosing(self) -> None:
        await self.session.close()
        await self._save_task("")

    async def _save_task(self, task_id: str) -> None:
        self.session.seat = replace(self.session.seat, task=task_id)
        await written(self._journal.sit(self.session.seat))


async def play(
    choice: FreeChoice, task_id: str, act: Callable[[Observation], np.ndarray], controller: str = "person"
) -> None:
    """Play one episode of a task to its end with `act(observation) -> row`, and keep it."""
    session = choice.session
    if session.phase is Phase.CHOOSING:
        await choice.choose(task_id)
    if session.phase in (Phase.READY, Phase.PAUSED):
        session.start()
    while session.phase is Phase.PLAYING and session.episode is not None:
        observation = session.episode.now.observation
        assert observation is not None
        await session.act(act(observation), frame=len(session.episode.steps), controller=controller)
    await choice.keep()
