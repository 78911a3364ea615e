"""One person's place: their session and its guide, the keys they hold, the clock, the page they look at."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import sqlalchemy as sql
from starlette.websockets import WebSocket

from ...errors import TutelageError
from ..server.server_metrics import ServerMetrics
from ..storage.database import cause
from ..storage.journal import Journal
from .broadcast import Broadcast
from .flow import Flow
from .keyboard import HeldKeys, measure
from .outbox import Outbox, receive
from .protocol import (
    FAILED,
    NOT_SAVED,
    Command,
    FrameShown,
    KeyDown,
    KeyUp,
    Message,
    PageInput,
    ReleaseKeys,
    parse,
)
from .realtime_clock import RealtimeClock
from .session import WAITING, EpisodeAborted, OpenEpisode, Phase, Session
from .web_input import WebInput

_log = logging.getLogger("tutelage.crowd")


class Seat:
    """Joins a session and its guide to whichever page has them open. Everything lives in the event loop."""

    def __init__(
        self, session: Session, guide: Flow, journal: Journal, meter: ServerMetrics | None = None
    ) -> None:
        self.session = session
        self.guide = guide
        self._journal = journal
        self._meter = meter or ServerMetrics()
        self._lock = asyncio.Lock()
        self._display = Broadcast(session, guide)
        self._keys = HeldKeys()
        self._hands = WebInput(session, self._display, self._act, self._meter)
        self._clock = RealtimeClock(session, self._lock, self._act_in_time, self._stand_still)
        self._shown = 0
        self._in_doubt = False
        session.on_saved = self._hear
        session.on_working = self._display.working

    @property
    def is_open(self) -> bool:
        """Say whether a page has this seat open."""
        return self._display.page is not None

    @property
    def is_watched(self) -> bool:
        """Say whether somebody looks on."""
        return bool(self._display.watchers)

    async def attend(self, socket: WebSocket, page: str = "") -> None:
        """Serve the page of that name until it goes or another takes its place."""
        line = Outbox(socket)
        has_moved = self._display.open(line, page)
        self._keys.clear()
        sender = asyncio.create_task(line.drain())
        try:
            await self._greet(line, has_moved)
            while (text := await receive(socket)) is not None:
                if self._display.page is line:
                    await self._answer(text, line)
                    await line.room()
        finally:
            if self._display.page is line:
                self._display.page = None
                await self._answer('{"type":"release"}', line)
            sender.cancel()

    @contextlib.asynccontextmanager
    async def changing(self) -> AsyncIterator[None]:
        """Hold the seat while its session or guide is changed; afterwards the page is told all.

        Unless the database failed: what holds is what it has, and that is read before anything else is done.
        """
        async with self._lock:
            before = self.session.episode
            try:
                async with self._playing():
                    yield
            except sql.exc.SQLAlchemyError:
                self._in_doubt = True
                raise
            finally:
                self._refresh(before)

    @contextlib.asynccontextmanager
    async def _playing(self) -> AsyncIterator[None]:
        """Pass over an episode whose environment fails; the lock is held, so that no other begins first."""
        try:
            yield
        except EpisodeAborted as error:
            _log.warning("%s", error)
            self._display.send({"type": "error", "text": str(error)})
            await self._finished(None)

    async def trouble(self, why: str | None) -> None:
        """Tell the page that saving fails, and let the play wait; or that it works again."""
        self._display.send({"type": "saving", "failing": why is not None, "why": why or ""})
        async with self._lock:
            if self._journal.trouble != why:
                return
            if why is not None:
                self._pause()
            elif self._in_doubt:
                await self._read_again()
            elif self.is_open:
                self._go_on_by_itself()
            self._tell()

    def note(self, text: str) -> None:
        """Show a sentence on the page."""
        self._display.send({"type": "note", "text": text})

    def ask_to_confirm(self, code: str) -> None:
        """Ask the page, but no watcher, whether the browser that shows a code is the same participant's.

        An empty code withdraws the question.
        """
        if self._display.page is not None:
            self._display.page.send({"type": "confirm", "code": code})

    async def watch(self, line: Outbox) -> None:
        """Show on another line, too, what the page is shown; nothing comes back from there."""
        self._display.watchers.add(line)
        async with self._lock:
            await self._tell_all()

    def unwatch(self, line: Outbox) -> None:
        """Show nothing more on a line that only looked on."""
        self._display.watchers.discard(line)

    async def hand_over(self) -> None:
        """Let go of everything at once: another server has the seat from now on."""
        self._display.hand_over()
        await self.close()

    async def close(self) -> None:
        """Stop the clock and let go of the environment; the journal has everything."""
        async with self._lock:
            self._clock.stop()
            await self.session.close()

    async def _greet(self, line: Outbox, has_moved: bool) -> None:
        async with self._lock:
            before = self.session.episode
            self._pause()  # what runs must not run on before its player has found it on this page
            if has_moved:
                self.note(self.guide.texts.say("notice.moved-here"))
            try:
                await self.guide.arrive()
                self._in_doubt = False
            except TutelageError as error:
                line.send({"type": "error", "text": str(error)})
            self._go_on_by_itself()
            if self.session.episode is before:
                await self._tell_all()
            else:
                self._refresh(before)
            if self._journal.trouble is not None:
                self._display.send({"type": "saving", "failing": True, "why": self._journal.trouble})

    async def _tell_all(self) -> None:
        """Tell a page that has nothing yet, and show it the episode."""
        self._tell()
        if (episode := self.session.episode) is None:
            self._display.last_picture()
            return
        try:
            picture = await self.session.draw()
        except Exception as error:  # an environment may raise anything; the page can still play or leave
            self._display.send({"type": "error", "text": f"The task could not be drawn: {error}"})
            return
        if picture is not None:
            self._display.picture(episode, picture)

    def _go_on_by_itself(self) -> None:
        """A task that waits for keys need not wait for its player: nothing happens without one."""
        if (task := self.session.task) and task.fps is None and self.session.phase is Phase.PAUSED:
            self.session.start()

    async def _answer(self, text: str | bytes, line: Outbox) -> None:
        try:
            await self._handle(parse(text))
        except Exception as error:  # a mistake of ours, too, must not cost a person their seat
            await self._explain(error, line.send)

    async def _explain(self, error: Exception, send: Callable[[dict[str, Any]], None]) -> None:
        """Say what went wrong, in one line, and go on from there as well as can be."""
        match error:
            case TutelageError():
                send({"type": "error", "text": str(error)})
            case sql.exc.SQLAlchemyError():
                _log.warning("what somebody did could not be saved: %s", cause(error))
                send({"type": "error", "text": NOT_SAVED})
                async with self._lock:
                    self._in_doubt = True
                    await self._read_again()
            case _:
                _log.error("what a page asked for could not be done", exc_info=error)
                send({"type": "error", "text": FAILED})

    async def _read_again(self) -> None:
        """Read where this person is, if that is in doubt; it stays so for as long as nothing can be read."""
        before = self.session.episode
        if self._in_doubt:
            with contextlib.suppress(sql.exc.SQLAlchemyError, TutelageError):
                await self.guide.arrive()
                self._in_doubt = False
            self._refresh(before)

    async def _handle(self, message: Message) -> None:
        if not isinstance(message, KeyDown | KeyUp | PageInput | FrameShown):
            async with self._lock, self._playing():
                await self._hands.rest()
        match message:
            case KeyUp():
                self._keys.up(message.code)
            case FrameShown():
                self._see(message.frame)
            case ReleaseKeys():
                await self._release()
            case KeyDown() | PageInput():
                self._see(message.frame)
                await self._press(message)
            case Command() if message.episode and not self._is_at_hand(message.episode):
                self._tell()  # a second press of what the first has done already
            case Command(type="pause"):
                async with self._lock:
                    self._pause()
                    self._tell()
            case Command(type="go"):
                async with self._lock:
                    self._go()
            case _:
                async with self.changing():
                    await self._read_again()
                    if self._in_doubt:
                        raise TutelageError(NOT_SAVED)
                    if not await self.guide.answer(message):
                        raise TutelageError(f"expected what can be done here, got {message.type}")

    def _is_at_hand(self, episode: str) -> bool:
        return self.session.episode is not None and self.session.episode.record.episode == episode

    def _tell(self) -> None:
        """Tell the page all, unless it is in doubt."""
        if not self._in_doubt:
            self._display.state()

    def _see(self, frame: int) -> None:
        self._shown = frame
        lag = self._display.shown(frame)
        if lag is not None and self.session.episode is not None:
            self.session.episode.lags_ms.append(lag)
            self._meter.shown(lag)

    async def _press(self, key: KeyDown | PageInput) -> None:
        session = self.session
        if isinstance(key, KeyDown):
            self._keys.down(key.code)
            if session.phase is Phase.PLAYING and session.task and session.task.fps:
                self._display.asked()
                return  # in real time the clock asks for the keys
        async with self._lock, self._playing():
            if session.phase in WAITING:
                self._go()
            elif isinstance(key, PageInput):
                await self._hands.touch(key)
            elif session.phase is Phase.PLAYING and session.episode and session.episode.task.fps is None:
                row = self._keys.turn(session.episode.controls, key.code)
                if row is None:
                    self._display.step(session.episode)  # the page waits for an answer
                    return
                measure(session.episode, key, self._meter)
                await self._act(session.episode, row, key.frame)

    def _refresh(self, before: OpenEpisode | None) -> None:
        """After a change: forget the keys of another episode, let the clock follow, tell the page."""
        session = self.session
        if session.episode is not before:
            self._clock.stop()
            self._keys.clear()
            self._shown = len(session.episode.steps) if session.episode else 0
            self._display.forget_frames()
        if session.phase is Phase.PLAYING and session.episode:
            self._clock.start(session.episode)
        else:
            self._clock.stop()
        self._tell()
        if session.episode is not None and session.episode is not before and session.episode.now.picture:
            self._display.picture(session.episode, session.episode.now.picture)
        while session.notices:
            self.note(session.notices.pop(0))

    def _go(self) -> None:
        if self._journal.trouble is not None:
            raise TutelageError(f"expected a disk to save to, got: {self._journal.trouble}; play waits")
        if self.session.phase is not Phase.PLAYING:  # else a second press of what runs already
            self.session.start()
        if self.session.episode is not None:
            self._clock.start(self.session.episode)
        self._tell()

    def _pause(self) -> None:
        self._clock.stop()
        self._keys.clear()
        if self.session.phase is Phase.PLAYING:
            self.session.pause()

    async def _release(self) -> None:
        """No key is held any more; in real time, nobody can be playing."""
        self._keys.clear()
        async with self._lock:
            task, alone = self.session.task, self._display.page is None
            if self.session.phase is Phase.PLAYING and task and (task.fps is not None or alone):
                self._pause()
                self._tell()

    async def _act_in_time(self, episode: OpenEpisode) -> None:
        async with self._playing():
            await self._act(episode, self._keys.decision(episode.controls), self._shown)

    async def _stand_still(self, error: Exception) -> None:
        """Say what went wrong at a deadline: a person must not wait for a clock that stands."""
        await self._explain(error, self._display.send)
        async with self.changing():
            self._pause()

    async def _act(self, episode: OpenEpisode, row: np.ndarray, frame: int) -> None:
        """Take one action and tell the page what came of it. Whoever calls this holds the lock."""
        now = await self.session.act(row, frame)
        self._meter.stepped()
        if now.picture is not None:
            self._display.picture(episode, now.picture)
        if self.session.phase is Phase.PLAYING:
            if now.picture is None:
                self._display.step(episode)
            return
        await self._finished(episode)

    async def _finished(self, episode: OpenEpisode | None) -> None:
        try:
            await self.guide.finished()
        except sql.exc.SQLAlchemyError:
            self._in_doubt = True
            raise
        finally:
            self._refresh(episode)

    def _hear(self, episode: OpenEpisode) -> None:
        """More of an episode is on disk; or the journal refused it, since it is played elsewhere too."""
        is_at_hand = self.session.episode is episode
        if is_at_hand and episode.refused is not None:
            asyncio.get_running_loop().create_task(self._yield_to_another())
        elif is_at_hand:
            self._display.saved()

    async def _yield_to_another(self) -> None:
        """Leave the episode to whoever else writes it; the page may take it up again from there."""
        async with self._lock:
            self._clock.stop()
            await self.session.close()
            self._display.hand_over()
