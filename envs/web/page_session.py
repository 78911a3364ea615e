"""Calls to an open page: evaluate expressions, move the mouse, press keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .devtools import Conversation, DevToolsCall, TabLost
from .observation import read_columns


@dataclass(frozen=True)
class PageView:
    """The state that a page showed, see `WebEnv`; the center of `covered` elements cannot be clicked."""

    instruction: str
    elements: str
    done: bool
    reward: float
    covered: frozenset[int] = frozenset()

    @cached_property
    def columns(self) -> Mapping[str, list[Any]]:
        return read_columns(self.elements)


class PageSession:
    """The page that a DevTools session is attached to, and the position of its pointer."""

    def __init__(self) -> None:
        self._session = ""
        self.pointer: tuple[float, float] | None = None
        self.is_held = False
        self.on_bar = False
        """Whether the button holds a scroll bar, of which the page gets no events, see `bars.js`."""

    def ask(self, expression: str) -> Conversation[Any]:
        """Evaluate one of the functions of `page.js`."""
        (answer,) = yield [self.asking(expression)]
        if "exceptionDetails" in answer:
            raise TabLost(_reason(str(answer["exceptionDetails"].get("exception", {}).get("description"))))
        return answer["result"].get("value")

    def asking(self, expression: str) -> DevToolsCall:
        """Return the call that evaluates one of the functions of `page.js`."""
        params = {"expression": f"tutelage.{expression}", "awaitPromise": True, "returnByValue": True}
        return self.call("Runtime.evaluate", params)

    def move(self, x: float, y: float) -> list[DevToolsCall]:
        """Return calls that move the pointer and deliver the event at once.

        Chromium delays a move until the next frame, up to 16 ms, unless another event follows: here, the
        release of a key that no keyboard has.
        """
        button = {"button": "left" if self.is_held else "none", "buttons": int(self.is_held)}
        flush = self.call("Input.dispatchKeyEvent", {"type": "keyUp", "key": "Unidentified"})
        return [self.mouse("mouseMoved", x, y, **button), flush]

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> DevToolsCall:
        self.pointer = (x, y)
        return self.call("Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y, **more})

    def call(self, method: str, params: Mapping[str, Any] | None = None) -> DevToolsCall:
        return DevToolsCall(method, params or {}, self._session)


def _reason(description: str) -> str:
    """Return an exception's message and its first place in a file: `Error: no items (a.html:3:5)`."""
    message, *stack = description.splitlines() or [""]
    places = (re.search(r"/([^/\s]+:\d+:\d+)\)?$", line) for line in stack)
    place = next((match[1] for match in places if match), "")
    return f"{message} ({place})" if place else message
