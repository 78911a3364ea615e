"""One person's place: their session and its thread, the keys they hold, the clock, the page they look at."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from starlette.websockets import WebSocket, WebSocketDisconnect

from ...envs.controls import Controls
from ...envs.errors import TutelageError
from ..journal import Journal
from .frames import Encoder
from .keys import Keys
from .line import Line
from .pace import Deadlines
from .protocol import REPLACED, Choose, Command, Down, Message, Release, Shown, Up, parse
from .screen import Screen
from .session import Acted, Phase, Session
from .settings import Settings
from .view import state_message

T = TypeVar("T")
_WAITING = (Phase.READY, Phase.PAUSED)
_log = logging.getLogger("tutelage.crowd")


class Seat:
    """Joins a session to whichever page has it open.

    The session lives in a thread of its own (some environments insist on one); everything else here
    lives in the event loop. `lock` is held by whoever uses the session.
    """

    def __init__(
        self,
        make_session: Callable[[], Session],
        settings: Settings,
        journal: Journal,
        encoders: dict[str, Encoder],
    ) -> None:
        self._make_session = make_session
        self._settings = settings
        self._journal = journal
        self._screen = Screen(encoders)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="seat")
        self._lock = asyncio.Lock()
        self._session: Session | None = None
        self._line: Line | None = None
        self._keys = Keys()
        self._controls = Controls(())
        self._clock: asyncio.Task[None] | None = None
        self._shown = 0
        self._saved = 0
        self._saved_is_due = False

    async def attend(self, socket: WebSocket) -> None:
        """Serve a page until it goes or another takes its place."""
        line = Line(socket)
        previous, self._line = self._line, line
        if previous is not None:
            previous.send({"type": "replaced"})
            previous.close(REPLACED)
        sender = asyncio.create_task(line.drain())
        try:
            await self._greet()
            while (text := await _receive(socket)) is not None:
                if self._line is line:
                    await self._answer(text, line)
        finally:
            if self._line is line:
                self._line = None
                await self._release()
            sender.cancel()

    async def trouble(self, why: str | None) -> None:
        """Tell the page that saving fails, and let the play wait; or that it works again."""
        self._send({"type": "saving", "failing": why is not None, "why": why or ""})
        async with self._lock:
            if self._session is None or self._journal.trouble != why:
                return
            if why is not None:
                await self._pause()
            elif self._line is not None:
                await self._go_on_by_itself()
            self._send_state()

    def note(self, text: str) -> None:
        """Show a sentence on the page."""
        self._send({"type": "note", "text": text})

    async def close(self) -> None:
        """Stop the clock and let go of the environment; the journal has everything."""
        async with self._lock:
            self._stop_clock()
            if self._session is not None:
                await self._do(self._session.close)
        self._thread.shutdown(wait=False)

    async def _greet(self) -> None:
        async with self._lock:
            if self._session is None:
                self._session = await self._do(self._make_session)
                await self._sit_down_again(self._session)
            await self._go_on_by_itself()
            self._screen.forget()
            await self._show()
            if self._journal.trouble is not None:
                self._send({"type": "saving", "failing": True, "why": self._journal.trouble})

    async def _sit_down_again(self, session: Session) -> None:
        """After a restart: go to the task that was being played."""
        if session.seat.task in {one.id for one in self._settings.suite}:
            try:
                await self._do(session.choose, session.seat.task)
            except TutelageError as error:
                self.note(str(error))
            self._new_episode(session)

    async def _go_on_by_itself(self) -> None:
        """A task that waits for keys need not wait for its player: nothing happens without one."""
        session = self._session
        if session and session.phase is Phase.PAUSED and session.environment.task.fps is None:
            session.start()

    async def _answer(self, text: str | bytes, line: Line) -> None:
        try:
            await self._handle(parse(text))
        except TutelageError as error:
            line.send({"type": "error", "text": str(error)})
        except Exception as error:  # an environment may raise anything
            _log.exception("the environment of a seat failed")
            line.send({"type": "error", "text": f"The task failed: {type(error).__name__}: {error}"})
            await self._give_up()

    async def _give_up(self) -> None:
        async with self._lock:
            if self._session is not None:
                self._stop_clock()
                with contextlib.suppress(Exception):
                    await self._do(self._session.leave)
            self._send_state()

    async def _handle(self, message: Message) -> None:
        match message:
            case Up():
                self._keys.up(message.code)
            case Shown():
                self._see(message.frame)
            case Release():
                await self._release()
            case Down():
                self._see(message.frame)
                self._keys.down(message.code)
                await self._press(message.code, message.frame)
            case Choose():
                async with self._lock:
                    await self._move(lambda session: session.choose(message.task))
            case Command():
                await self._command(message.type)

    def _see(self, frame: int) -> None:
        self._shown = frame
        if self._line is not None:
            self._line.shown(frame)

    async def _press(self, code: str, frame: int) -> None:
        session = self._session
        if session is None or (session.phase is Phase.PLAYING and session.environment.task.fps):
            return  # in real time the clock asks for the keys
        async with self._lock:
            if session.phase in _WAITING:
                await self._go()
            elif session.phase is Phase.PLAYING and session.environment.task.fps is None:
                row = self._keys.turn(self._controls, code)
                if row is not None:
                    await self._act(session, row, frame)

    async def _command(self, name: str) -> None:
        async with self._lock:
            if name == "pause":
                await self._pause()
                self._send_state()
            elif name == "go":
                await self._go()
            else:
                await self._move(lambda session: getattr(session, name)())

    async def _move(self, transition: Callable[[Session], T]) -> T:
        """Make a transition that may change the episode, then show where that led."""
        session = self._require()
        before = session.episode
        self._stop_clock()
        try:
            return await self._do(transition, session)
        finally:
            if session.episode is not before:
                self._new_episode(session)
            elif session.phase is Phase.PLAYING:
                self._start_clock(session)  # it was refused: all goes on
            await self._show()

    def _new_episode(self, session: Session) -> None:
        self._keys.clear()
        self._screen.forget()
        self._controls = session.environment.controls() if session.episode else Controls(())
        self._saved = self._shown = len(session.episode.steps) if session.episode else 0

    async def _go(self) -> None:
        if self._journal.trouble is not None:
            raise TutelageError(
                f"expected a disk to save to, got: {self._journal.trouble}; play waits for it"
            )
        session = self._require()
        session.start()
        self._start_clock(session)
        self._send_state()

    async def _pause(self) -> None:
        self._stop_clock()
        self._keys.clear()
        if self._session is not None and self._session.phase is Phase.PLAYING:
            self._session.pause()

    async def _release(self) -> None:
        """No key is held any more; in real time, nobody can be playing."""
        self._keys.clear()
        async with self._lock:
            session = self._session
            if session is None or session.phase is not Phase.PLAYING:
                return
            if session.environment.task.fps is not None or self._line is None:
                await self._pause()
                self._send_state()

    def _start_clock(self, session: Session) -> None:
        fps = session.environment.task.fps
        if fps is not None and self._clock is None and session.phase is Phase.PLAYING:
            self._clock = asyncio.create_task(self._run_clock(session, fps))

    def _stop_clock(self) -> None:
        # whoever stops it holds the lock, so the clock is asleep and not in the middle of a step
        if self._clock is not None and self._clock is not asyncio.current_task():
            self._clock.cancel()
        self._clock = None

    async def _run_clock(self, session: Session, fps: float) -> None:
        loop = asyncio.get_running_loop()
        deadlines = Deadlines(fps, loop.time())
        try:
            while session.phase is Phase.PLAYING:
                missed = deadlines.missed
                await asyncio.sleep(deadlines.next(loop.time()) - loop.time())
                async with self._lock:
                    row = self._keys.decide(self._controls)
                    if row is None or session.episode is None:
                        raise TutelageError(
                            "expected an idle action in real time, got none; give the suite one"
                        )
                    session.episode.missed += deadlines.missed - missed
                    await self._act(session, row, self._shown)
        except Exception as error:  # an environment may raise anything
            _log.exception("the clock of a seat stopped")
            self._send({"type": "error", "text": f"The task failed: {type(error).__name__}: {error}"})
            self._clock = None
            await self._give_up()

    async def _act(self, session: Session, row: np.ndarray, frame: int) -> None:
        assert session.episode is not None
        episode = session.episode.record.episode
        acted, picture = await self._do(self._act_and_draw, session, row, frame)
        if picture is not None and self._line is not None:
            self._line.send_frame(picture)
        loop = asyncio.get_running_loop()

        def on_disk(future: Future[None]) -> None:
            if future.exception() is None and not loop.is_closed():
                loop.call_soon_threadsafe(self._note_saved, episode, acted.number)

        if session.phase is Phase.PLAYING:
            self._send({"type": "step", "step": acted.number})
        else:
            self._clock = None
            self._send_state()
        acted.saved.add_done_callback(on_disk)

    def _act_and_draw(self, session: Session, row: np.ndarray, frame: int) -> tuple[Acted, bytes | None]:
        acted = session.act(row, frame)
        return acted, self._screen.draw(session)

    def _note_saved(self, episode: str, number: int) -> None:
        session = self._session
        if session is None or session.episode is None or session.episode.record.episode != episode:
            return
        self._saved = max(self._saved, number)
        if not self._saved_is_due:  # one message for all the steps of a commit
            self._saved_is_due = True
            asyncio.get_running_loop().call_soon(self._send_saved, episode)

    def _send_saved(self, episode: str) -> None:
        self._saved_is_due = False
        self._send({"type": "saved", "episode": episode, "saved": self._saved})

    async def _show(self) -> None:
        session = self._require()
        picture = await self._do(self._screen.draw, session)
        self._send_state()
        if picture is not None and self._line is not None:
            self._line.send_frame(picture)
        while session.notices:
            self.note(session.notices.pop(0))

    def _send_state(self) -> None:
        if self._session is not None:
            self._send(state_message(self._session, self._settings, self._controls, self._saved))

    def _send(self, message: dict[str, Any]) -> None:
        if self._line is not None:
            self._line.send(message)

    def _require(self) -> Session:
        if self._session is None:
            raise TutelageError("expected an open session, got none yet; wait for the state")
        return self._session

    async def _do(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)


async def _receive(socket: WebSocket) -> str | bytes | None:
    """Wait for a message; None when the page has gone."""
    try:
        message = await socket.receive()
    except (WebSocketDisconnect, RuntimeError):
        return None
    if message["type"] == "websocket.disconnect":
        return None
    text: str | bytes | None = message.get("text") or message.get("bytes")
    return text if text is not None else ""
