"""WebSockets with limits per peer: frames are counted, and a peer that does not read is cut off."""

from __future__ import annotations

import asyncio
import http
import logging
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from .host_check import FIXED_HEADERS, STRICTEST_POLICY
from .rate_limit import TokenBucket

_SLICE = 4096
"""Bytes that are parsed at once: a peer over its limits is cut off before the rest is parsed."""
_POLICY, _NOT_TEXT = 1008, 1007
_log = logging.getLogger("tutelage.crowd")


@dataclass(frozen=True)
class SocketLimits:
    """Limits of one peer.

    `frames` data frames and `controls` pings, pongs and closes per second, after a burst of each; `fragments`
    frames per message; `unread` seconds until a peer with more than `buffer` unread bytes is cut off;
    `closing` seconds to read the last bytes of a closed socket.
    """

    frames: float = 1000.0
    frames_burst: float = 2000.0
    controls: float = 2.0
    controls_burst: float = 30.0
    fragments: int = 64
    buffer: int = 64 * 1024
    unread: float = 30.0
    closing: float = 10.0


class LimitedProtocol(WebSocketsSansIOProtocol):
    """The WebSocket protocol of one server, with its limits."""

    @classmethod
    def drop_unanswered(cls) -> None:
        """Drop the messages of all sockets that wait for their turn: the server stops."""
        raise NotImplementedError


def limited_websockets(limits: SocketLimits | None = None) -> type[LimitedProtocol]:
    """Make the WebSocket protocol of one server, for `uvicorn.Config(ws=...)`."""
    bounds, lines = limits or SocketLimits(), TokenBucket(0.2, 20)
    running: set[LimitedProtocol] = set()  # a socket that its peer has aborted may still have messages

    def note(why: object) -> None:
        """Log why a socket was closed, at a limited rate."""
        if lines.take():
            _log.warning("a socket was closed: %s", why)

    class Limited(LimitedProtocol):
        _timer: asyncio.TimerHandle | None = None

        @classmethod
        def drop_unanswered(cls) -> None:
            for protocol in running:
                waiting = [protocol.queue.get_nowait() for _ in range(protocol.queue.qsize())]
                for message in waiting:
                    if message["type"] != "websocket.receive":
                        protocol.queue.put_nowait(message)

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            # no extensions: nothing to decompress
            self.conn = _Handshake(max_size=self.config.ws_max_size, logger=self.logger)
            self._frames = TokenBucket(bounds.frames, bounds.frames_burst)
            self._controls = TokenBucket(bounds.controls, bounds.controls_burst)
            self._fragments = 0

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.set_write_buffer_limits(high=bounds.buffer)

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timer()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            for start in range(0, len(data), _SLICE):
                if self.close_sent and self.transport.is_closing():
                    return
                super().data_received(data[start : start + _SLICE])
                if self.conn.handshake_exc is not None and not self.handshake_initiated:
                    self._refuse_handshake()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._abort_after(bounds.unread)

        def resume_writing(self) -> None:
            self._stop_timer()
            super().resume_writing()

        def handle_cont(self, event: Frame) -> None:
            self._fragments += 1
            if self._fragments >= bounds.fragments:
                self._refuse(_POLICY, "too many fragments")
            elif self._is_allowed(self._frames):
                super().handle_cont(event)

        def handle_text(self, event: Frame) -> None:
            self._fragments = 0
            if self._is_allowed(self._frames):
                super().handle_text(event)

        def handle_bytes(self, event: Frame) -> None:
            self._fragments = 0
            if self._is_allowed(self._frames):
                super().handle_bytes(event)

        def handle_ping(self) -> None:
            if not self._is_allowed(self._controls):
                return
            pong = b"".join(self.conn.data_to_send())
            if self.writable.is_set():  # a peer that does not read gets no pongs: they would only pile up
                self.transport.write(pong)

        def handle_pong(self, event: Frame) -> None:
            if self._is_allowed(self._controls):
                super().handle_pong(event)

        def send_receive_event_to_app(self) -> None:
            if self.curr_msg_data_type == "text" and not _is_utf8(b"".join(self.frames)):
                self.frames = []
                self._refuse(_NOT_TEXT, "not UTF-8")
                return
            super().send_receive_event_to_app()

        def handle_connect(self, event: Request) -> None:
            super().handle_connect(event)
            if self.transport.is_closing():
                self._abort_after(bounds.closing)

        def handle_parser_exception(self) -> None:
            note(self.conn.close_sent)
            super().handle_parser_exception()
            self._abort_after(bounds.closing)

        def _refuse_handshake(self) -> None:
            """Answer an unreadable handshake."""
            self.handshake_complete = self.close_sent = True
            answer = b"".join(self.conn.data_to_send())
            self.transport.write(answer or _bad_request(self.conn))
            self.transport.close()
            self._abort_after(bounds.closing)

        def keepalive_timeout(self) -> None:
            super().keepalive_timeout()
            self._abort_after(bounds.closing)

        async def send(self, message: Any) -> None:
            await super().send(message)
            is_answer = message["type"] == "websocket.http.response.body"
            if is_answer and not message.get("more_body", False):
                self.handshake_complete = True  # a refusal is an answer too, and is not logged

        async def run_asgi(self) -> None:
            running.add(self)
            try:
                await super().run_asgi()
            finally:
                running.discard(self)
                if not self.disconnected:  # otherwise a closed, unread socket is kept forever
                    self._abort_after(self.close_timeout + bounds.closing)

        def _is_allowed(self, bucket: TokenBucket) -> bool:
            """Take a token for a frame; close the socket if there is none."""
            if self.close_sent:
                return bucket.take()
            if bucket.take():
                return True
            self._refuse(_POLICY, "too many frames")
            return False

        def _refuse(self, code: int, why: str) -> None:
            """Close the socket for a violation, without waiting for the peer."""
            if self.close_sent:
                return
            self.conn.fail(code, why)
            note(why)
            self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": why})
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
            self.transport.close()
            self._abort_after(bounds.closing)

        def _abort_after(self, seconds: float) -> None:
            self._stop_timer()
            self._timer = self.loop.call_later(seconds, self.transport.abort)

        def _stop_timer(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    return Limited


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


class _Handshake(ServerProtocol):
    """Refuses with the headers of every answer."""

    def reject(self, status: http.HTTPStatus | int, text: str) -> Response:
        response = super().reject(status, text)
        for name, value in {**FIXED_HEADERS, "Content-Security-Policy": STRICTEST_POLICY}.items():
            response.headers[name] = value
        return response


def _bad_request(conn: ServerProtocol) -> bytes:
    return conn.reject(400, "Expected a WebSocket handshake, got something else.\n").serialize()
