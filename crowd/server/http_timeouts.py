"""HTTP that does not wait for ever: a request arrives in time, and its answer is read, or the line is cut."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from .host_check import FIXED_HEADERS, STRICTEST_POLICY


@dataclass(frozen=True)
class Timeouts:
    """How long a server waits, in seconds, for a whole `request`, and for a page to `read` what was sent.

    Of connections whose request has not come yet only the `most` last ones are kept: who means to ask does
    so at once, and a file for each connection is all that a system grants.
    """

    request: float = 20.0
    read: float = 60.0
    most: int = 256


def punctual(patience: Timeouts | None = None) -> type[H11Protocol]:
    """Make the HTTP protocol of one server, for `uvicorn.Config(http=...)`."""
    limits, waiting = patience or Timeouts(), dict[H11Protocol, asyncio.TimerHandle]()

    class Punctual(H11Protocol):
        _unread: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._look()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._look()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._look()
            if self.transport.is_closing() and self.transport.get_write_buffer_size():
                self._abort_unread()

        def handle_websocket_upgrade(self, event: h11.Request) -> None:
            self._came()
            super().handle_websocket_upgrade(event)

        def connection_lost(self, exc: Exception | None) -> None:
            self._came()
            self._was_read()
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._abort_unread()

        def resume_writing(self) -> None:
            self._was_read()
            super().resume_writing()

        def send_400_response(self, msg: str) -> None:
            """Answer what is no HTTP, with the headers that every answer has."""
            fixed = {**FIXED_HEADERS, "Content-Security-Policy": STRICTEST_POLICY}
            headers = [(name.lower().encode(), value.encode()) for name, value in fixed.items()]
            headers += [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
            start = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
            for event in (start, h11.Data(data=msg.encode("ascii", "replace")), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
            self.transport.close()
            self._abort_unread()

        def _abort_unread(self) -> None:
            """Cut the line unless what was sent is read in time."""
            self._was_read()
            self._unread = self.loop.call_later(limits.read, self.transport.abort)

        def _look(self) -> None:
            """Set a deadline for a request that is still to come; more of it does not move the deadline."""
            is_upgraded = self.transport.get_protocol() is not self
            if is_upgraded or self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
                self._came()
            elif self not in waiting and not self.transport.is_closing():
                waiting[self] = self.loop.call_later(limits.request, self.transport.abort)
                if len(waiting) > limits.most:
                    next(iter(waiting)).transport.abort()

        def _came(self) -> None:
            if (timer := waiting.pop(self, None)) is not None:
                timer.cancel()

        def _was_read(self) -> None:
            if self._unread is not None:
                self._unread.cancel()

    return Punctual
