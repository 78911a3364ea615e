"""Chromium's DevTools protocol over a pipe, with many concurrent conversations."""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from ...files.finite_json import json_text


class DevToolsCall(NamedTuple):
    """A call of a DevTools method, to the browser or, with a session, to one tab."""

    method: str
    params: Mapping[str, Any] = {}
    session: str | None = None


class TabLost(Exception):
    """A tab crashed, hangs, or was lost with its browser."""


class BrowserLost(Exception):
    """The browser's process has ended."""


Reply = dict[str, Any]
Result = TypeVar("Result")
Conversation = Generator[Sequence[DevToolsCall], list[Reply], Result]
"""A generator that yields calls to make together and is sent their replies; it may recover from a TabLost."""


class ConversationState:
    """The progress of one conversation: the calls that it waits for, by number, and the deadline."""

    def __init__(self, conversation: Conversation[Any]) -> None:
        self._conversation = conversation
        self._started = False
        self.numbers: list[int] = []
        self.replies: dict[int, Reply] = {}
        self.sessions: set[str | None] = set()
        self.until = 0.0
        self.result: Any = None
        self.over = False

    def go_on(self, lost: str | None = None) -> Sequence[DevToolsCall]:
        """Send the conversation its replies, or throw a TabLost; returns its next calls, none at its end.

        At the end, `result` is its return value or the exception that it raised.
        """
        error = lost or self._refusal()
        try:
            if not self._started:
                self._started = True
                return next(self._conversation)
            if error is not None:
                return self._conversation.throw(TabLost(error))
            return self._conversation.send([self.replies[number]["result"] for number in self.numbers])
        except StopIteration as end:
            self.result = end.value
        except Exception as failed:
            self.result = failed
        self.over = True
        return ()

    def wait_for(self, numbers: list[int], calls: Sequence[DevToolsCall], until: float) -> None:
        self.numbers, self.replies, self.until = numbers, {}, until
        self.sessions = {call.session for call in calls} - {None}

    def _refusal(self) -> str | None:
        errors = (reply["error"] for reply in self.replies.values() if "error" in reply)
        return next((str(error.get("message", error)) for error in errors), None)


def refuse(paused: Mapping[str, Any]) -> DevToolsCall:
    """Return the call that blocks a request of a page without a request handler."""
    return DevToolsCall(
        "Fetch.failRequest", {"requestId": paused["requestId"], "errorReason": "BlockedByClient"}
    )


class DevToolsPipe:
    """The two ends of a browser's DevTools pipe. Messages are JSON, terminated by NUL.

    `gone` holds the sessions of crashed tabs. `answers` maps a session to the handler of its pages' requests.
    """

    def __init__(self, reading: int, writing: int) -> None:
        self._reading, self._writing = reading, writing
        self._rest = bytearray()
        self.gone: set[str | None] = set()
        self.answers: dict[str | None, Callable[[Mapping[str, Any]], DevToolsCall]] = {}
        self._last = 0
        os.set_blocking(writing, False)

    def send(self, calls: Sequence[DevToolsCall]) -> list[int]:
        """Send calls without waiting; returns their numbers. Raises BrowserLost."""
        numbers, data = [], bytearray()
        for call in calls:
            self._last += 1
            numbers.append(self._last)
            message = {"id": self._last, "method": call.method, "params": call.params}
            if call.session is not None:
                message["sessionId"] = call.session
            data += json_text(message).encode() + b"\0"
        self._write(data)
        return numbers

    def receive(self, seconds: float) -> list[dict[str, Any]]:
        """Return the replies and events that arrive within that time. Raises BrowserLost."""
        ready, _, _ = select.select([self._reading], [], [], max(seconds, 0))
        if not ready:
            return []
        data = os.read(self._reading, 1 << 20)
        if not data:
            raise BrowserLost
        self._rest += data
        *messages, rest = self._rest.split(b"\0") if b"\0" in data else (self._rest,)
        self._rest = bytearray(rest)
        return [json.loads(message) for message in messages]

    def close(self) -> None:
        for descriptor in (self._reading, self._writing):
            os.close(descriptor)

    def _write(self, data: bytearray) -> None:
        while data:
            try:
                del data[: os.write(self._writing, data)]
            except BlockingIOError:
                select.select([], [self._writing], [], 1)
            except OSError:
                raise BrowserLost from None


class Conversations:
    """Runs conversations over a pipe concurrently.

    A conversation whose tab crashes, or that has no answer within `patience` seconds, is thrown a TabLost; it
    may continue.
    """

    def __init__(self, pipe: DevToolsPipe, patience: float) -> None:
        self._pipe, self._patience = pipe, patience
        self._waiting: dict[int, ConversationState] = {}

    def hold(self, states: Sequence[ConversationState], lost: str | None = None) -> None:
        """Run conversations until all are over; `lost` is the reason if their tabs were lost.

        Raises BrowserLost; the conversations can then continue over the pipe of another browser.
        """
        for state in states:
            self._go_on(state, lost)
        while self._waiting:
            soonest = min(state.until for state in self._waiting.values())
            for message in self._pipe.receive(soonest - time.monotonic()):
                self._handle_message(message)
            now = time.monotonic()
            self._lose([state for state in self._waiting.values() if state.until <= now], "the page hangs")

    def _handle_message(self, message: dict[str, Any]) -> None:
        number = message.get("id")
        if number is None:
            self._handle_event(message["method"], message["params"], message.get("sessionId"))
        elif (state := self._waiting.pop(number, None)) is not None:
            state.replies[number] = message
            if len(state.replies) == len(state.numbers):
                self._go_on(state)

    def _handle_event(self, method: str, params: dict[str, Any], session: str | None) -> None:
        if method == "Fetch.requestPaused":
            answer = self._pipe.answers.get(session, refuse)
            self._pipe.send([answer(params)._replace(session=session)])
        elif method == "Page.javascriptDialogOpening":
            self._pipe.send([DevToolsCall("Page.handleJavaScriptDialog", {"accept": True}, session)])
        elif method == "Target.attachedToTarget" and session is not None:
            # a window or worker opened by a page: it waits for a debugger and never runs
            target = params["targetInfo"]["targetId"]
            self._pipe.send([DevToolsCall("Target.closeTarget", {"targetId": target})])
        elif method in ("Inspector.targetCrashed", "Target.detachedFromTarget"):
            lost_session = params.get("sessionId") if method.startswith("Target") else session
            self._pipe.gone.add(lost_session)
            self._pipe.answers.pop(lost_session, None)
            self._lose(
                [state for state in self._waiting.values() if lost_session in state.sessions],
                "the page crashed",
            )

    def _lose(self, states: Sequence[ConversationState], reason: str) -> None:
        for state in dict.fromkeys(states):
            for number in state.numbers:
                self._waiting.pop(number, None)
            self._go_on(state, reason)

    def _go_on(self, state: ConversationState, lost: str | None = None) -> None:
        calls = state.go_on(lost)
        while calls and any(call.session in self._pipe.gone for call in calls):
            calls = state.go_on("the page crashed")
        if calls:
            state.wait_for(self._pipe.send(calls), calls, time.monotonic() + self._patience)
            self._waiting |= dict.fromkeys(state.numbers, state)
