"""A seat: one person's session and flow, their held keys, the clock, and the page they use."""

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
    """Connects a session and its flow to the page that has it open. Everything runs in the event loop."""

    def __init__(
        self, session: Session, flow: Flow, journal: Journal, metrics: ServerMetrics | None = None
    ) -> None:
        self.session = session
        self.flow = flow
        self._journal = journal
        self._metrics = metrics or ServerMetrics()
        self._lock = asyncio.Lock()
        self._broadcast = Broadcast(session, flow)
        self._keys = HeldKeys()
        self._web_input = WebInput(session, self._broadcast, self._act, self._metrics)
        self._clock = RealtimeClock(session, self._lock, self._act_in_time, self._report_and_pause)
        self._shown = 0
        self._in_doubt = False
        session.on_saved = self._on_saved
        session.on_working = self._broadcast.working

    @property
    def is_open(self) -> bool:
        """Say whether a page has this seat open."""
        return self._broadcast.page is not None

    @property
    def is_watched(self) -> bool:
        """Say whether the dashboard watches this seat."""
        return bool(self._broadcast.watchers)

    async def attend(self, socket: WebSocket, page: str = "") -> None:
        """Serve the page of that name until it closes or another takes its place."""
        outbox = Outbox(socket)
        has_moved = self._broadcast.open(outbox, page)
        self._keys.clear()
        sender = asyncio.create_task(outbox.drain())
        try:
            await self._welcome_page(outbox, has_moved)
            while (text := await receive(socket)) is not None:
                if self._broadcast.page is outbox:
                    await self._answer(text, outbox)
                    await outbox.room()
        finally:
            if self._broadcast.page is outbox:
                self._broadcast.page = None
                await self._answer('{"type":"release"}', outbox)
            sender.cancel()

    @contextlib.asynccontextmanager
    async def changing(self) -> AsyncIterator[None]:
        """Lock the seat while its session or flow is changed; the page is updated afterwards.

        After a database error the state is in doubt: it is read from the database before anything else.
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
            self._broadcast.send({"type": "error", "text": str(error)})
            await self._finished(None)

    async def trouble(self, why: str | None) -> None:
        """Tell the page that saving fails, and pause the episode; or that saving works again."""
        self._broadcast.send({"type": "saving", "failing": why is not None, "why": why or ""})
        async with self._lock:
            if self._journal.trouble != why:
                return
            if why is not None:
                self._pause()
            elif self._in_doubt:
                await self._recover_state()
            elif self.is_open:
                self._resume_turn_based()
            self._send_state()

    def note(self, text: str) -> None:
        """Show a sentence on the page."""
        self._broadcast.send({"type": "note", "text": text})

    def ask_to_confirm(self, code: str) -> None:
        """Ask the page, but no watcher, whether the browser that shows a code is the same participant's.

        An empty code withdraws the question.
        """
        if self._broadcast.page is not None:
            self._broadcast.page.send({"type": "confirm", "code": code})

    async def watch(self, outbox: Outbox) -> None:
        """Send all messages of the page to another outbox, too; it has no input."""
        self._broadcast.watchers.add(outbox)
        async with self._lock:
            await self._send_all()

    def unwatch(self, outbox: Outbox) -> None:
        """Stop sending to a watcher's outbox."""
        self._broadcast.watchers.discard(outbox)

    async def hand_over(self) -> None:
        """Close everything at once: another server has the seat from now on."""
        self._broadcast.hand_over()
        await self.close()

    async def close(self) -> None:
        """Stop the clock and close the environment; the journal has everything."""
        async with self._lock:
            self._clock.stop()
            await self.session.close()

    async def _welcome_page(self, outbox: Outbox, has_moved: bool) -> None:
        async with self._lock:
            before = self.session.episode
            self._pause()  # a running episode must not continue before its player sees it on this page
            if has_moved:
                self.note(self.flow.texts.say("notice.moved-here"))
            try:
                await self.flow.arrive()
                self._in_doubt = False
            except TutelageError as error:
                outbox.send({"type": "error", "text": str(error)})
            self._resume_turn_based()
            if self.session.episode is before:
                await self._send_all()
            else:
                self._refresh(before)
            if self._journal.trouble is not None:
                self._broadcast.send({"type": "saving", "failing": True, "why": self._journal.trouble})

    async def _send_all(self) -> None:
        """Send a new page the full state, and the episode's picture."""
        self._send_state()
        if (episode := self.session.episode) is None:
            self._broadcast.last_picture()
            return
        try:
            picture = await self.session.draw()
        except Exception as error:  # an environment may raise anything; the page can still play or leave
            self._broadcast.send({"type": "error", "text": f"The task could not be drawn: {error}"})
            return
        if picture is not None:
            self._broadcast.picture(episode, picture)

    def _resume_turn_based(self) -> None:
        """Resume a turn-based task without its player: nothing happens in it without a key."""
        if (task := self.session.task) and task.fps is None and self.session.phase is Phase.PAUSED:
            self.session.start()

    async def _answer(self, text: str | bytes, outbox: Outbox) -> None:
        try:
            await self._handle(parse(text))
        except Exception as error:  # our own errors, too, must not cost a person their seat
            await self._report_error(error, outbox.send)

    async def _report_error(self, error: Exception, send: Callable[[dict[str, Any]], None]) -> None:
        """Report an error in one line, and recover as far as possible."""
        match error:
            case TutelageError():
                send({"type": "error", "text": str(error)})
            case sql.exc.SQLAlchemyError():
                _log.warning("what somebody did could not be saved: %s", cause(error))
                send({"type": "error", "text": NOT_SAVED})
                async with self._lock:
                    self._in_doubt = True
                    await self._recover_state()
            case _:
                _log.error("what a page asked for could not be done", exc_info=error)
                send({"type": "error", "text": FAILED})

    async def _recover_state(self) -> None:
        """Read this person's state from the database if it is in doubt; it stays so while that fails."""
        before = self.session.episode
        if self._in_doubt:
            with contextlib.suppress(sql.exc.SQLAlchemyError, TutelageError):
                await self.flow.arrive()
                self._in_doubt = False
            self._refresh(before)

    async def _handle(self, message: Message) -> None:
        if not isinstance(message, KeyDown | KeyUp | PageInput | FrameShown):
            async with self._lock, self._playing():
                await self._web_input.rest()
        match message:
            case KeyUp():
                self._keys.up(message.code)
            case FrameShown():
                self._record_shown(message.frame)
            case ReleaseKeys():
                await self._release()
            case KeyDown() | PageInput():
                self._record_shown(message.frame)
                await self._press(message)
            case Command() if message.episode and not self._is_at_hand(message.episode):
                self._send_state()  # a repeated press: it is done already
            case Command(type="pause"):
                async with self._lock:
                    self._pause()
                    self._send_state()
            case Command(type="go"):
                async with self._lock:
                    self._start_or_resume()
            case _:
                async with self.changing():
                    await self._recover_state()
                    if self._in_doubt:
                        raise TutelageError(NOT_SAVED)
                    if not await self.flow.answer(message):
                        raise TutelageError(f"expected what can be done here, got {message.type}")

    def _is_at_hand(self, episode: str) -> bool:
        return self.session.episode is not None and self.session.episode.record.episode == episode

    def _send_state(self) -> None:
        """Send the page the full state, unless it is in doubt."""
        if not self._in_doubt:
            self._broadcast.state()

    def _record_shown(self, frame: int) -> None:
        self._shown = frame
        lag = self._broadcast.shown(frame)
        if lag is not None and self.session.episode is not None:
            self.session.episode.lags_ms.append(lag)
            self._metrics.shown(lag)

    async def _press(self, key: KeyDown | PageInput) -> None:
        session = self.session
        if isinstance(key, KeyDown):
            self._keys.down(key.code)
            if session.phase is Phase.PLAYING and session.task and session.task.fps:
                self._broadcast.asked()
                return  # in real time the clock reads the keys
        async with self._lock, self._playing():
            if session.phase in WAITING:
                self._start_or_resume()
            elif isinstance(key, PageInput):
                await self._web_input.touch(key)
            elif session.phase is Phase.PLAYING and session.episode and session.episode.task.fps is None:
                row = self._keys.turn(session.episode.controls, key.code)
                if row is None:
                    self._broadcast.step(session.episode)  # the page waits for an answer
                    return
                measure(session.episode, key, self._metrics)
                await self._act(session.episode, row, key.frame)

    def _refresh(self, before: OpenEpisode | None) -> None:
        """After a change: drop the keys of another episode, start or stop the clock, update the page."""
        session = self.session
        if session.episode is not before:
            self._clock.stop()
            self._keys.clear()
            self._shown = len(session.episode.steps) if session.episode else 0
            self._broadcast.forget_frames()
        if session.phase is Phase.PLAYING and session.episode:
            self._clock.start(session.episode)
        else:
            self._clock.stop()
        self._send_state()
        if session.episode is not None and session.episode is not before and session.episode.now.picture:
            self._broadcast.picture(session.episode, session.episode.now.picture)
        while session.notices:
            self.note(session.notices.pop(0))

    def _start_or_resume(self) -> None:
        if self._journal.trouble is not None:
            raise TutelageError(f"expected a disk to save to, got: {self._journal.trouble}; play waits")
        if self.session.phase is not Phase.PLAYING:  # otherwise a repeated press: it runs already
            self.session.start()
        if self.session.episode is not None:
            self._clock.start(self.session.episode)
        self._send_state()

    def _pause(self) -> None:
        self._clock.stop()
        self._keys.clear()
        if self.session.phase is Phase.PLAYING:
            self.session.pause()

    async def _release(self) -> None:
        """Release all keys; a real-time episode pauses."""
        self._keys.clear()
        async with self._lock:
            task, is_alone = self.session.task, self._broadcast.page is None
            if self.session.phase is Phase.PLAYING and task and (task.fps is not None or is_alone):
                self._pause()
                self._send_state()

    async def _act_in_time(self, episode: OpenEpisode) -> None:
        async with self._playing():
            await self._act(episode, self._keys.decision(episode.controls), self._shown)

    async def _report_and_pause(self, error: Exception) -> None:
        """Report an error at a deadline, and pause: the clock has stopped."""
        await self._report_error(error, self._broadcast.send)
        async with self.changing():
            self._pause()

    async def _act(self, episode: OpenEpisode, row: np.ndarray, frame: int) -> None:
        """Take one action and send the page the result. The caller holds the lock."""
        view = await self.session.act(row, frame)
        self._metrics.stepped()
        if view.picture is not None:
            self._broadcast.picture(episode, view.picture)
        if self.session.phase is Phase.PLAYING:
            if view.picture is None:
                self._broadcast.step(episode)
            return
        await self._finished(episode)

    async def _finished(self, episode: OpenEpisode | None) -> None:
        try:
            await self.flow.finished()
        except sql.exc.SQLAlchemyError:
            self._in_doubt = True
            raise
        finally:
            self._refresh(episode)

    def _on_saved(self, episode: OpenEpisode) -> None:
        """Handle an acknowledgment: more is on disk, or the journal refused a step of another server."""
        is_at_hand = self.session.episode is episode
        if is_at_hand and episode.refused is not None:
            asyncio.get_running_loop().create_task(self._yield_to_another())
        elif is_at_hand:
            self._broadcast.saved()

    async def _yield_to_another(self) -> None:
        """Leave the episode to the server that writes it; the page may reopen it from there."""
        async with self._lock:
            self._clock.stop()
            await self.session.close()
            self._broadcast.hand_over()
