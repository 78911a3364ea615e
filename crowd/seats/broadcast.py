"""Messages of a seat: to the page that has it open, and to watching pages."""

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
"""How long a page waits, after its last frame, for a message that more is on disk; frames carry that too."""
_WORKING_SECONDS = 0.1
"""Minimum interval between two progress messages of a replay."""


class Broadcast:
    """The outboxes of one seat. `page` is the playing page's, None while no page is open."""

    def __init__(self, session: Session, flow: Flow) -> None:
        self.page: Outbox | None = None
        self.watchers: set[Outbox] = set()
        self._session = session
        self._flow = flow
        self._texts_sent: Translations | None = None
        self._last: tuple[bytes, dict[str, Any] | None] | None = None
        self._pending_key: tuple[int, float] | None = (
            None  # in real time: the step before a key, and when the key came
        )
        self._saved_sent = 0
        self._frame_sent_at = 0.0
        self._saved_timer: asyncio.TimerHandle | None = None
        self._name = ""
        self._progress_sent_at = 0.0

    def open(self, outbox: Outbox, name: str) -> bool:
        """Make an outbox that of the page `name`; the previous page is told that it was replaced.

        Returns whether another page had the seat open, and not the same one reconnecting.
        """
        previous, self.page, self._texts_sent = self.page, outbox, None
        is_other, self._name = previous is not None and name != self._name, name
        replace(previous)
        return is_other

    def hand_over(self) -> None:
        """Close the page: another server has the seat from now on."""
        outbox, self.page = self.page, None
        replace(outbox)

    def send(self, message: dict[str, Any]) -> None:
        """Send a message to all pages."""
        for outbox in self._outboxes():
            outbox.send(message)

    def state(self) -> None:
        """Send everything about the present stage, in the flow's language."""
        episode = self._session.episode
        self._pending_key = None
        self._saved_sent = episode.saved if episode else 0
        if not (outboxes := self._outboxes()):
            return
        texts = self._flow.texts
        if self.page is not None and self._texts_sent is not texts:
            self._texts_sent = texts
            self.page.send(texts_message(texts))
        stage_messages = messages(self._session, self._flow.tell(), texts)
        if self._last is not None and self._shows_past_outcome(stage_messages):
            stage_messages[0]["atlas"] = self._last[1]
        for message in stage_messages:
            for outbox in outboxes:
                outbox.send(message)

    def picture(self, episode: OpenEpisode, picture: Picture) -> None:
        """Send the picture after a step; its frame also carries the number of saved steps."""
        number = len(episode.steps)
        self._frame_sent_at = asyncio.get_running_loop().time()
        self._saved_sent = episode.saved
        frame = pack(picture, number, episode.saved)
        self._last = frame, atlas_message(episode.atlas)
        for outbox in self._outboxes():
            if episode.task.fps is None:
                outbox.send_frame(frame)
            else:
                outbox.send_paced(number, frame)

    def last_picture(self) -> None:
        """Resend the last picture of the finished episode, for a page that was reloaded at its outcome."""
        if self._last is not None and self._shows_past_outcome(self._flow.tell()):
            for outbox in self._outboxes():
                outbox.send_frame(self._last[0])

    def step(self, episode: OpenEpisode) -> None:
        """Send that a step was taken which changed no picture."""
        self._saved_sent = episode.saved
        self._pending_key = None  # a key without effect has no picture
        self.send({"type": "step", "step": len(episode.steps), "saved": episode.saved})

    def working(self, task: str, steps_done: int, step_count: int) -> None:
        """Send that an episode is being opened: `steps_done` of its `step_count` steps have been replayed."""
        now = asyncio.get_running_loop().time()
        if steps_done and now - self._progress_sent_at < _WORKING_SECONDS:
            return
        self._progress_sent_at = now
        self.send(
            {"type": "working", "task": self._flow.texts.phrase(task), "done": steps_done, "of": step_count}
        )

    def asked(self) -> None:
        """Record that a key came in real time: the next picture answers it."""
        if self._pending_key is None and self._session.episode is not None:
            self._pending_key = len(self._session.episode.steps), asyncio.get_running_loop().time()

    def shown(self, number: int) -> int | None:
        """Record that the page shows a frame; returns the milliseconds since the key that it answers, if any.

        The time includes the key's way to the server and this acknowledgment's, which together equal the
        key's delay to its frame.
        """
        if self.page is not None:
            self.page.shown(number)
        if self._pending_key is None or number <= self._pending_key[0]:
            return None
        asked_at, self._pending_key = self._pending_key[1], None
        return round(1000 * (asyncio.get_running_loop().time() - asked_at))

    def forget_frames(self) -> None:
        """Forget frames that were not shown yet: another episode begins."""
        for outbox in self._outboxes():
            outbox.forget_frames()

    def saved(self) -> None:
        """Send soon how much is on disk, unless further frames carry it."""
        if self._saved_timer is None and self.page is not None:
            loop = asyncio.get_running_loop()
            self._saved_timer = loop.call_later(_SAVED_SECONDS, self._send_saved)

    def _send_saved(self) -> None:
        self._saved_timer = None
        episode, loop = self._session.episode, asyncio.get_running_loop()
        if episode is None or episode.saved <= self._saved_sent:
            return
        if loop.time() - self._frame_sent_at < _SAVED_SECONDS:
            self._saved_timer = loop.call_later(_SAVED_SECONDS, self._send_saved)
            return
        self._saved_sent = episode.saved
        self.send({"type": "saved", "episode": episode.record.episode, "saved": episode.saved})

    def _shows_past_outcome(self, stage_messages: Iterable[Mapping[str, Any]]) -> bool:
        """Say whether the outcome of an episode is shown that is no longer at hand."""
        return self._session.episode is None and any(
            isinstance(message.get("outcome"), dict) for message in stage_messages
        )

    def _outboxes(self) -> list[Outbox]:
        """List the outboxes of the page and of watchers."""
        return [outbox for outbox in (self.page, *self.watchers) if outbox is not None]


def replace(outbox: Outbox | None) -> None:
    """Tell a page that another has taken its seat."""
    if outbox is not None:
        outbox.send({"type": "replaced"})
        outbox.close(REPLACED)
