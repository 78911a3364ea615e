"""A browser's DevTools, spoken over its pipe: many conversations at once."""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from ...files.finite_json import json_text


class DevToolsCall(NamedTuple):
    """One method of the DevTools protocol, asked of the browser or, in a session, of one tab."""

    method: str
    params: Mapping[str, Any] = {}
    session: str | None = None


class TabLost(Exception):
    """A tab crashed, hangs, or went down with its browser."""


class BrowserLost(Exception):
    """The browser's process is gone."""


Reply = dict[str, Any]
Result = TypeVar("Result")
Conversation = Generator[Sequence[DevToolsCall], list[Reply], Result]
"""Yields calls to be made together, is given their replies; thrown a TabLost, it may begin again."""


class ConversationState:
    """How far one conversation is: the calls that it waits for, by number, and until when."""

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
        """Give the conversation its replies, or say what was lost; returns its next calls, none at its end.

        `result` is then what it returned, or the exception that it raised.
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
        refused = (reply["error"] for reply in self.replies.values() if "error" in reply)
        return next((str(one.get("message", one)) for one in refused), None)


def refuse(paused: Mapping[str, Any]) -> DevToolsCall:
    """Refuse a request of a page that has no request handler."""
    return DevToolsCall(
        "Fetch.failRequest", {"requestId": paused["requestId"], "errorReason": "BlockedByClient"}
    )


class DevToolsPipe:
    """The two ends of a browser's DevTools pipe. Messages are JSON, each with a NUL at its end.

    `gone` holds the sessions of tabs that crashed and no longer answer. `answers` maps a session to the
    handler of its pages' requests.
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
        """Return what has come within that time: replies and events. Raises BrowserLost."""
        ready, _, _ = select.select([self._reading], [], [], max(seconds, 0))
        if not ready:
            return []
        data = os.read(self._reading, 1 << 20)
        if not data:
            raise BrowserLost
        self._rest += data
        *messages, rest = self._rest.split(b"\0") if b"\0" in data else (self._rest,)
        self._rest = bytearray(rest)
        return [json.loads(one) for one in messages]

    def close(self) -> None:
        for one in (self._reading, self._writing):
            os.close(one)

    def _write(self, data: bytearray) -> None:
        while data:
            try:
                del data[: os.write(self._writing, data)]
            except BlockingIOError:
                select.select([], [self._writing], [], 1)
            except OSError:
                raise BrowserLost from None


class Conversations:
    """Holds conversations over a pipe, all of them at once.

    One whose tab crashes, or that has no answer within `patience` seconds, is thrown a TabLost; it may go on.
    """

    def __init__(self, pipe: DevToolsPipe, patience: float) -> None:
        self._pipe, self._patience = pipe, patience
        self._waiting: dict[int, ConversationState] = {}

    def hold(self, turns: Sequence[ConversationState], lost: str | None = None) -> None:
        """Go on with turns until all are over; `lost` is what became of the tabs of those under way.

        Raises BrowserLost; the turns can go on over the pipe of another browser.
        """
        for turn in turns:
            self._go_on(turn, lost)
        while self._waiting:
            soonest = min(turn.until for turn in self._waiting.values())
            for message in self._pipe.receive(soonest - time.monotonic()):
                self._hear(message)
            now = time.monotonic()
            self._lose([one for one in self._waiting.values() if one.until <= now], "the page hangs")

    def _hear(self, message: dict[str, Any]) -> None:
        number = message.get("id")
        if number is None:
            self._hear_event(message["method"], message["params"], message.get("sessionId"))
        elif (turn := self._waiting.pop(number, None)) is not None:
            turn.replies[number] = message
            if len(turn.replies) == len(turn.numbers):
                self._go_on(turn)

    def _hear_event(self, method: str, params: dict[str, Any], session: str | None) -> None:
        if method == "Fetch.requestPaused":
            answer = self._pipe.answers.get(session, refuse)
            self._pipe.send([answer(params)._replace(session=session)])
        elif method == "Page.javascriptDialogOpening":
            self._pipe.send([DevToolsCall("Page.handleJavaScriptDialog", {"accept": True}, session)])
        elif method == "Target.attachedToTarget" and session is not None:
            # a window or worker that a page has made: it waits for a debugger, and never gets further
            target = params["targetInfo"]["targetId"]
            self._pipe.send([DevToolsCall("Target.closeTarget", {"targetId": target})])
        elif method in ("Inspector.targetCrashed", "Target.detachedFromTarget"):
            gone = params.get("sessionId") if method.startswith("Target") else session
            self._pipe.gone.add(gone)
            self._pipe.answers.pop(gone, None)
            self._lose([turn for turn in self._waiting.values() if gone in turn.sessions], "the page crashed")

    def _lose(self, turns: Sequence[ConversationState], why: str) -> None:
        for turn in dict.fromkeys(turns):
            for number in turn.numbers:
                self._waiting.pop(number, None)
            self._go_on(turn, why)

    def _go_on(self, turn: ConversationState, lost: str | None = None) -> None:
        calls = turn.go_on(lost)
        while calls and any(call.session in self._pipe.gone for call in calls):
            calls = turn.go_on("the page crashed")
        if calls:
            turn.wait_for(self._pipe.send(calls), calls, time.monotonic() + self._patience)
            self._waiting |= dict.fromkeys(turn.numbers, turn)
