"""What time does to a visit: limits of episode and session, idleness, claims, and decisions from outside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ..seats.session import OPEN_PHASES, Phase

if TYPE_CHECKING:
    from .visit import Visit


class Watchfulness:
    """Looks after one visit; `due` is asked about once a second, and mostly says: nothing."""

    def __init__(self, visit: Visit) -> None:
        self.is_idle = False
        """Whether play waits because nobody seems to be there."""
        self._visit = visit
        self._active = visit.house.steady()
        self._renewed = self._active
        self._seen: tuple[str, int] = ("", 0)
        self._told: str | None = None

    @property
    def session_is_up(self) -> bool:
        """Say whether the time for the whole session is over."""
        minutes = self._visit.study.limits.session_minutes
        began = float(self._visit.progress.get("began", 0))
        return minutes is not None and began > 0 and self._visit.house.clock() >= began + 60 * minutes

    @property
    def seconds_left(self) -> float | None:
        """How long the episode at hand may still be played; None where there is no limit."""
        limit = self._visit.study.limits.episode_seconds
        if limit is None or self._visit.session.episode is None:
            return None
        return max(0.0, limit - self._visit.session.milliseconds / 1000)

    def note_activity(self) -> None:
        """Note that the person is there."""
        self._active, self.is_idle = self._visit.house.steady(), False

    async def tick(self) -> None:
        """Do what time has made due, if anything."""
        if (work := self.due()) is not None:
            await work()

    def due(self) -> Callable[[], Awaitable[None]] | None:
        """Say what is to be done now; nearly always nothing. Cheap, and changes nothing by itself."""
        visit, session = self._visit, self._visit.session
        if visit.is_over:
            return None
        self._look_for_keys()
        plays = session.phase is Phase.PLAYING
        found = (
            (visit.house.standing.of(visit.person.person) == "banned", self._ban),
            (visit.person.person in visit.house.standing.ended, self._hear_of_the_end),
            (self.session_is_up and not plays, self._end_session),
            (plays and self.seconds_left == 0, self._end_episode),
            (plays and self._is_gone(), self._let_wait),
            (
                visit.must_wait != self._told or (visit.is_waiting and visit.must_wait is None),
                self._look_again,
            ),
            (self._must_renew(), self._renew),
        )
        return next((work for is_due, work in found if is_due), None)

    async def _ban(self) -> None:
        async with self._visit.changing():
            if not self._visit.is_over:
                await self._visit.end("banned")

    async def _hear_of_the_end(self) -> None:
        """Somebody's way was ended elsewhere: by the panel that sent them, say."""
        async with self._visit.changing():
            await self._visit.arrive()

    async def _end_episode(self) -> None:
        async with self._visit.changing():
            if self.seconds_left == 0 and self._visit.session.phase in OPEN_PHASES:
                await self._visit.playing.over("time")

    async def _let_wait(self) -> None:
        async with self._visit.changing():
            if self._visit.session.phase is Phase.PLAYING and self._is_gone():
                self.is_idle = True
                self._visit.session.pause()

    async def _look_again(self) -> None:
        async with self._visit.changing():
            self._told = self._visit.must_wait
            await self._visit.go_on()

    async def _end_session(self) -> None:
        visit = self._visit
        async with visit.changing():
            if visit.is_over or visit.session.phase is Phase.PLAYING:
                return
            if visit.session.phase in OPEN_PHASES and visit.session.episode and visit.session.episode.steps:
                await visit.playing.over("time")
            if not visit.is_over:
                await visit.end("completed" if visit.playing.done >= visit.study.episodes else "timed-out")

    def _look_for_keys(self) -> None:
        """Take a step for a sign of life; in real time, one with a key."""
        episode = self._visit.session.episode
        if episode is None:
            return
        if self.is_idle and self._visit.session.phase is Phase.PLAYING:
            self.note_activity()  # a key has let play go on
        before = self._seen[1] if self._seen[0] == episode.record.episode else 0
        fresh = episode.steps[before:]
        self._seen = (episode.record.episode, len(episode.steps))
        idle = episode.controls.idle if episode.task.fps is not None else None
        if any(idle is None or tuple(step.action) != tuple(idle) for step in fresh):
            self.note_activity()

    def _is_gone(self) -> bool:
        patience = self._visit.study.limits.idle_seconds
        return patience is not None and self._visit.house.steady() - self._active >= patience

    def _must_renew(self) -> bool:
        """Whether somebody who is there has a claim to be held for longer, well before it runs out."""
        period = 60 * self._visit.study.limits.claim_minutes
        is_old = self._visit.house.steady() - self._renewed >= period / 4
        return self._visit.playing.claim is not None and is_old and self._active > self._renewed

    async def _renew(self) -> None:
        visit, claim = self._visit, self._visit.playing.claim
        self._renewed = visit.house.steady()
        if claim is None:
            return
        if await visit.house.in_thread(visit.house.claims.renew, claim):
            until = visit.house.clock() + 60 * visit.study.limits.claim_minutes
            if visit.playing.claim is claim:
                visit.playing.claim = replace(claim, until=until)
            return
        async with visit.changing():
            if visit.playing.claim is claim:
                await visit.playing.lose()
