"""One person's place: their session and its guide, the keys they hold, the clock, the page they look at."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import numpy as np
from starlette.websockets import WebSocket

from ....envs.controls import Controls
from ....envs.errors import TutelageError
from ...journal import Journal
from ..servers.meter import Meter
from ..worlds.pace import Deadlines
from .display import Display
from .guide import Guide
from .keys import Keys
from .line import Line, receive
from .protocol import Command, Down, Message, Release, Shown, Up, parse
from .session import Phase, Session, Underway, WorldError

_WAITING = (Phase.READY, Phase.PAUSED)
_log = logging.getLogger("tutelage.crowd")


class Seat:
    """Joins a session and its guide to whichever page has them open. Everything lives in the event loop."""

    def __init__(self, session: Session, guide: Guide, journal: Journal, meter: Meter | None = None) -> None:
        self.session = session
        self.guide = guide
        self._journal = journal
        self._meter = meter or Meter()
        self._lock = asyncio.Lock()
        self._display = Display(session, guide)
        self._keys = Keys()
        self._clock: asyncio.Task[None] | None = None
        self._shown = 0
        session.on_saved = self._hear

    @property
    def is_open(self) -> bool:
        """Say whether a page has this seat open."""
        return self._display.page is not None

    @property
    def is_watched(self) -> bool:
        """Say whether somebody looks on."""
        return bool(self._display.watchers)

    async def attend(self, socket: WebSocket) -> None:
        """Serve a page until it goes or another takes its place."""
        line = Line(socket)
        self._display.open(line)
        sender = asyncio.create_task(line.drain())
        try:
            await self._greet(line)
            while (text := await receive(socket)) is not None:
                if self._display.page is line:
                    await self._answer(text, line)
                    await line.room()
        finally:
            if self._display.page is line:
                self._display.page = None
                await self._release()
            sender.cancel()

    @contextlib.asynccontextmanager
    async def changing(self) -> AsyncIterator[None]:
        """Hold the seat while its session or guide is changed; afterwards the page is told all."""
        async with self._lock:
            before = self.session.episode
            try:
                yield
            finally:
                self._refresh(before)

    async def trouble(self, why: str | None) -> None:
        """Tell the page that saving fails, and let the play wait; or that it works again."""
        self._display.send({"type": "saving", "failing": why is not None, "why": why or ""})
        async with self._lock:
            if self._journal.trouble != why:
                return
            if why is not None:
                self._pause()
            elif self._display.page is not None:
                self._go_on_by_itself()
            self._display.state()

    def note(self, text: str) -> None:
        """Show a sentence on the page."""
        self._display.send({"type": "note", "text": text})

    async def watch(self, line: Line) -> None:
        """Show on another line, too, what the page is shown; nothing comes back from there."""
        self._display.watchers.add(line)
        async with self._lock:
            self._display.state()
            await self._draw_again()

    def unwatch(self, line: Line) -> None:
        """Show nothing more on a line that only looked on."""
        self._display.watchers.discard(line)

    async def hand_over(self) -> None:
        """Let go of everything at once: another server has the seat from now on."""
        self._display.hand_over()
        await self.close()

    async def close(self) -> None:
        """Stop the clock and let go of the environment; the journal has everything."""
        async with self._lock:
            self._stop_clock()
            await self.session.close()

    async def _greet(self, line: Line) -> None:
        async with self._lock:
            before = self.session.episode
            try:
                await self.guide.arrive()
            except TutelageError as error:
                line.send({"type": "error", "text": str(error)})
            self._go_on_by_itself()
            if self.session.episode is before:
                self._display.state()
                await self._draw_again()
            else:
                self._refresh(before)
            if self._journal.trouble is not None:
                self._display.send({"type": "saving", "failing": True, "why": self._journal.trouble})

    async def _draw_again(self) -> None:
        """Show the episode to a page that has nothing yet."""
        episode = self.session.episode
        if episode is None:
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
        session = self.session
        if session.task and session.task.fps is None and session.phase is Phase.PAUSED:
            session.start()

    async def _answer(self, text: str | bytes, line: Line) -> None:
        try:
            await self._handle(parse(text))
        except WorldError as error:
            await self._recover(error)
        except TutelageError as error:
            line.send({"type": "error", "text": str(error)})
        except Exception:  # a mistake of ours must not cost a person their seat
            _log.exception("a message of a page could not be answered")
            line.send({"type": "error", "text": "Something failed here; what you did is saved. Try again."})

    async def _recover(self, error: WorldError) -> None:
        """The environment failed and its episode is over: let the guide go on from there."""
        _log.warning("%s", error)
        self._display.send({"type": "error", "text": str(error)})
        try:
            async with self.changing():
                await self.guide.finished()
        except TutelageError as another:
            self._display.send({"type": "error", "text": str(another)})

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
                await self._press(message)
            case Command(type="pause"):
                async with self._lock:
                    self._pause()
                    self._display.state()
            case Command(type="go"):
                async with self._lock:
                    self._go()
            case _:
                async with self.changing():
                    if not await self.guide.answer(message):
                        raise TutelageError(f"expected what can be done here, got {message.type}")

    def _see(self, frame: int) -> None:
        self._shown = frame
        lag = self._display.shown(frame)
        if lag is not None and self.session.episode is not None:
            self.session.episode.lags_ms.append(lag)
            self._meter.shown(lag)

    async def _press(self, key: Down) -> None:
        session = self.session
        if session.phase is Phase.PLAYING and session.task and session.task.fps:
            self._display.asked()
            return  # in real time the clock asks for the keys
        async with self._lock:
            if session.phase in _WAITING:
                self._go()
            elif session.phase is Phase.PLAYING and session.episode and session.episode.task.fps is None:
                row = self._keys.turn(session.episode.controls, key.code)
                if row is not None:
                    _measure(session.episode, key)
                    if key.lag is not None:
                        self._meter.shown(key.lag)
                    await self._act(session.episode, row, key.frame)

    def _refresh(self, before: Underway | None) -> None:
        """After a change: forget the keys of another episode, let the clock follow, tell the page."""
        session = self.session
        if session.episode is not before:
            self._stop_clock()
            self._keys.clear()
            self._shown = len(session.episode.steps) if session.episode else 0
            self._display.forget_frames()
        if session.phase is Phase.PLAYING and session.episode:
            self._start_clock(session.episode)
        else:
            self._stop_clock()
        self._display.state()
        if session.episode is not None and session.episode is not before and session.episode.now.picture:
            self._display.picture(session.episode, session.episode.now.picture)
        while session.notices:
            self.note(session.notices.pop(0))

    def _go(self) -> None:
        if self._journal.trouble is not None:
            raise TutelageError(
                f"expected a disk to save to, got: {self._journal.trouble}; play waits for it"
            )
        self.session.start()
        if self.session.episode is not None:
            self._start_clock(self.session.episode)
        self._display.state()

    def _pause(self) -> None:
        self._stop_clock()
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
                self._display.state()

    def _start_clock(self, episode: Underway) -> None:
        if episode.task.fps is not None and self._clock is None:
            self._clock = asyncio.create_task(self._run_clock(episode, episode.task.fps))

    def _stop_clock(self) -> None:
        # whoever stops it holds the lock, so the clock is asleep and not in the middle of a step
        if self._clock is not None and self._clock is not asyncio.current_task():
            self._clock.cancel()
        self._clock = None

    async def _run_clock(self, episode: Underway, fps: float) -> None:
        session, loop = self.session, asyncio.get_running_loop()
        deadlines = Deadlines(fps, loop.time())
        try:
            while session.episode is episode and session.phase is Phase.PLAYING:
                missed = deadlines.missed
                await asyncio.sleep(deadlines.next(loop.time()) - loop.time())
                async with self._lock:
                    if session.episode is not episode or session.phase is not Phase.PLAYING:
                        return
                    episode.missed += deadlines.missed - missed
                    await self._act(episode, _decision(self._keys, episode.controls), self._shown)
        except WorldError as error:
            await self._recover(error)
        except Exception as error:  # a person must not wait for a clock that stands
            _log.exception("the clock of a seat stopped")
            self._display.send({"type": "error", "text": str(error)})
            async with self.changing():
                self._pause()

    async def _act(self, episode: Underway, row: np.ndarray, frame: int) -> None:
        """Take one action and tell the page what came of it. Whoever calls this holds the lock."""
        now = await self.session.act(row, frame)
        self._meter.stepped()
        if now.picture is not None:
            self._display.picture(episode, now.picture)
        if self.session.phase is Phase.PLAYING:
            if now.picture is None:
                self._display.step(episode)
            return
        try:
            await self.guide.finished()
        finally:
            self._refresh(episode)

    def _hear(self, episode: Underway) -> None:
        """More of an episode is on disk; or the journal refused it, since it is played elsewhere too."""
        if self.session.episode is not episode:
            return
        if episode.refused is not None:
            asyncio.get_running_loop().create_task(self._yield_to_another())
        else:
            self._display.saved()

    async def _yield_to_another(self) -> None:
        """Leave the episode to whoever else writes it; the page may take it up again from there."""
        async with self._lock:
            self._stop_clock()
            await self.session.close()
            self._display.hand_over()


def _measure(episode: Underway, key: Down) -> None:
    """Note what the page has measured."""
    if key.reaction is not None:
        episode.reactions_ms.append(key.reaction)
    if key.lag is not None:
        episode.lags_ms.append(key.lag)


def _decision(keys: Keys, controls: Controls) -> np.ndarray:
    row = keys.decide(controls)
    if row is None:
        raise TutelageError("expected an idle action in real time, got none; give the suite one")
    return row
