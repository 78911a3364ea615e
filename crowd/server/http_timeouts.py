"""HTTP with deadlines: a connection is cut unless its request arrives, and its answer is read, in time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from .host_check import FIXED_HEADERS, STRICTEST_POLICY


@dataclass(frozen=True)
class Timeouts:
    """How long a server waits, in seconds, for a whole `request`, and for a page to `read` an answer.

    Of connections without a request yet only the `most` recent are kept: real clients ask at once, and the
    system limits the number of open files.
    """

    request: float = 20.0
    read: float = 60.0
    most: int = 256


def timed_http_protocol(timeouts: Timeouts | None = None) -> type[H11Protocol]:
    """Make the HTTP protocol of one server, for `uvicorn.Config(http=...)`."""
    limits, waiting = timeouts or Timeouts(), dict[H11Protocol, asyncio.TimerHandle]()

    class TimedProtocol(H11Protocol):
        _unread: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._update_deadline()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._update_deadline()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._update_deadline()
            if self.transport.is_closing() and self.transport.get_write_buffer_size():
                self._abort_unread()

        def handle_websocket_upgrade(self, event: h11.Request) -> None:
            self._stop_request_timer()
            super().handle_websocket_upgrade(event)

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_request_timer()
            self._stop_read_timer()
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._abort_unread()

        def resume_writing(self) -> None:
            self._stop_read_timer()
            super().resume_writing()

        def send_400_response(self, msg: str) -> None:
            """Answer what is not HTTP, with the headers of every answer."""
            fixed = {**FIXED_HEADERS, "Content-Security-Policy": STRICTEST_POLICY}
            headers = [(name.lower().encode(), value.encode()) for name, value in fixed.items()]
            headers += [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
            start = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
            for event in (start, h11.Data(data=msg.encode("ascii", "replace")), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
            self.transport.close()
            self._abort_unread()

        def _abort_unread(self) -> None:
            """Cut the connection unless what was sent is read in time."""
            self._stop_read_timer()
            self._unread = self.loop.call_later(limits.read, self.transport.abort)

        def _update_deadline(self) -> None:
            """Set a deadline for a request still to arrive; further data does not move the deadline."""
            is_upgraded = self.transport.get_protocol() is not self
            if is_upgraded or self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
                self._stop_request_timer()
            elif self not in waiting and not self.transport.is_closing():
                waiting[self] = self.loop.call_later(limits.request, self.transport.abort)
                if len(waiting) > limits.most:
                    next(iter(waiting)).transport.abort()

        def _stop_request_timer(self) -> None:
            if (timer := waiting.pop(self, None)) is not None:
                timer.cancel()

        def _stop_read_timer(self) -> None:
            if self._unread is not None:
                self._unread.cancel()

    return TimedProtocol
