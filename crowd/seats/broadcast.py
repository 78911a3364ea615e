"""What a seat shows: on the line of the page that has it open, and on those of whoever looks on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from ..hosting.frame_codec import Picture, pack
from ..translations import Translations
from .flow import Flow
from .outbox import Outbox
from .protocol import REPLACED
from .session import OpenEpisode, Session
from .view import atlas_message, messages, texts_message

_SAVED_SECONDS = 0.2
"""How long a page waits, after its last frame, to hear that more is on disk: frames say it in passing."""
_WORKING_SECONDS = 0.1
"""The least time between two words of how far an episode has been played again."""


class Broadcast:
    """The lines of one seat. `page` is the one that plays, None while no page is open."""

    def __init__(self, session: Session, guide: Flow) -> None:
        self.page: Outbox | None = None
        self.watchers: set[Outbox] = set()
        self._session = session
        self._guide = guide
        self._spoken: Translations | None = None
        self._last: tuple[bytes, dict[str, Any] | None] | None = None
        self._asked: tuple[int, float] | None = None  # in real time: the step before a key, and when it came
        self._told = 0
        self._said_at = 0.0
        self._saved_timer: asyncio.TimerHandle | None = None
        self._name = ""
        self._worked_at = 0.0

    def open(self, line: Outbox, name: str) -> bool:
        """Let a line be that of the page called `name`; the line before is told that it was replaced.

        Returns whether another page had the seat open until now, and not this one that came back.
        """
        previous, self.page, self._spoken = self.page, line, None
        is_other, self._name = previous is not None and name != self._name, name
        replace(previous)
        return is_other

    def hand_over(self) -> None:
        """Leave the page to whoever has the seat from now on."""
        line, self.page = self.page, None
        replace(line)

    def send(self, message: dict[str, Any]) -> None:
        """Show a message."""
        for line in self._lines():
            line.send(message)

    def state(self) -> None:
        """Show everything about the present stage, in the guide's language."""
        episode = self._session.episode
        self._asked = None
        self._told = episode.saved if episode else 0
        if not (lines := self._lines()):
            return
        texts = self._guide.texts
        if self.page is not None and self._spoken is not texts:
            self._spoken = texts
            self.page.send(texts_message(texts))
        told = messages(self._session, self._guide.tell(), texts)
        if self._last is not None and self._looks_back(told):
            told[0]["atlas"] = self._last[1]
        for message in told:
            for line in lines:
                line.send(message)

    def picture(self, episode: OpenEpisode, picture: Picture) -> None:
        """Show what a step gave; the frame says how much is on disk, too."""
        number = len(episode.steps)
        self._said_at = asyncio.get_running_loop().time()
        self._told = episode.saved
        frame = pack(picture, number, episode.saved)
        self._last = frame, atlas_message(episode.atlas)
        for line in self._lines():
            if episode.task.fps is None:
                line.send_frame(frame)
            else:
                line.send_paced(number, frame)

    def last_picture(self) -> None:
        """Show once more how the last episode ended, to a page that was loaded anew at its outcome."""
        if self._last is not None and self._looks_back(self._guide.tell()):
            for line in self._lines():
                line.send_frame(self._last[0])

    def step(self, episode: OpenEpisode) -> None:
        """Show that a step was taken which changed no picture."""
        self._told = episode.saved
        self._asked = None  # a key that changed nothing has no picture
        self.send({"type": "step", "step": len(episode.steps), "saved": episode.saved})

    def working(self, task: str, done: int, of: int) -> None:
        """Show that an episode is being opened: `done` of its `of` steps have been played again."""
        now = asyncio.get_running_loop().time()
        if done and now - self._worked_at < _WORKING_SECONDS:
            return
        self._worked_at = now
        self.send({"type": "working", "task": self._guide.texts.phrase(task), "done": done, "of": of})

    def asked(self) -> None:
        """Note that a key came in real time: with the next picture it is answered."""
        if self._asked is None and self._session.episode is not None:
            self._asked = len(self._session.episode.steps), asyncio.get_running_loop().time()

    def shown(self, number: int) -> int | None:
        """Note that the page shows a frame; returns the milliseconds since the key that it answers, if so.

        The key came one way late, and this word of its frame another: together that is a key to its frame.
        """
        if self.page is not None:
            self.page.shown(number)
        if self._asked is None or number <= self._asked[0]:
            return None
        asked_at, self._asked = self._asked[1], None
        return round(1000 * (asyncio.get_running_loop().time() - asked_at))

    def forget_frames(self) -> None:
        """Another episode begins: whatever of the last was not shown is nothing to wait for."""
        for line in self._lines():
            line.forget_frames()

    def saved(self) -> None:
        """Say soon how much is on disk, unless frames are still coming that say it."""
        if self._saved_timer is None and self.page is not None:
            loop = asyncio.get_running_loop()
            self._saved_timer = loop.call_later(_SAVED_SECONDS, self._tell_saved)

    def _tell_saved(self) -> None:
        self._saved_timer = None
        episode, loop = self._session.episode, asyncio.get_running_loop()
        if episode is None or episode.saved <= self._told:
            return
        if loop.time() - self._said_at < _SAVED_SECONDS:
            self._saved_timer = loop.call_later(_SAVED_SECONDS, self._tell_saved)
            return
        self._told = episode.saved
        self.send({"type": "saved", "episode": episode.record.episode, "saved": episode.saved})

    def _looks_back(self, told: Iterable[Mapping[str, Any]]) -> bool:
        """Say whether the outcome of an episode is shown that is not at hand any more."""
        return self._session.episode is None and any(isinstance(one.get("outcome"), dict) for one in told)

    def _lines(self) -> list[Outbox]:
        """List the page's line and those that look on."""
        return [line for line in (self.page, *self.watchers) if line is not None]


def replace(line: Outbox | None) -> None:
    """Tell a page that another has taken its seat."""
    if line is not None:
        line.send({"type": "replaced"})
        line.close(REPLACED)
