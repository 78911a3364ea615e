"""One browser tab with one page: begin an episode, act, take screenshots. Conversations, see `devtools`."""

from __future__ import annotations

import base64
import contextlib
import io
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...errors import TutelageError
from ...files.finite_json import json_text
from .actions import WebAction
from .browser import Browser
from .devtools import Conversation, DevToolsCall, TabLost
from .input_events import perform, release, write
from .origin import Origin
from .page_session import PageSession, PageView
from .page_sources import PageSource, in_miniwob

STEP = 1000
"""Milliseconds of the page's time that pass with every action but `wait`."""

AWAY = (-1.0, -1.0)
NUDGES = (0.25, -0.25, 0.25)
_CHILDREN = {"autoAttach": True, "waitForDebuggerOnStart": True, "flatten": True}


class Tab(PageSession):
    """A browser tab. It is lost if it crashes or its browser ends; it can be opened again."""

    def __init__(self, browser: Browser, page: PageSource) -> None:
        super().__init__()
        self.page = page
        self._browser = browser
        self._origin = Origin(page.root, is_fixed=in_miniwob(page.root))
        self._generation = 0
        self._target = ""
        self._fresh = False

    @property
    def is_open(self) -> bool:
        return bool(self._session) and self._generation == self._browser.generation

    def open(self) -> Conversation[None]:
        """Open the tab and load its page."""
        yield from self.close()
        (target,) = yield [DevToolsCall("Target.createTarget", {"url": "about:blank"})]
        self._target, self._generation = target["targetId"], self._browser.generation
        (attached,) = yield [
            DevToolsCall("Target.attachToTarget", {"targetId": self._target, "flatten": True})
        ]
        self._session = attached["sessionId"]
        self._browser.answer(self._session, self._origin.answer)
        size = {"width": self.page.width, "height": self.page.height, "deviceScaleFactor": 1, "mobile": False}
        yield [
            DevToolsCall("Browser.setDownloadBehavior", {"behavior": "deny"}),
            self.call("Fetch.enable", {"patterns": [{"urlPattern": "*"}]}),
            self.call("Target.setAutoAttach", _CHILDREN),
            self.call("Emulation.setDocumentCookieDisabled", {"disabled": True}),
            self.call("Inspector.enable"),
            self.call("Page.enable"),
            self.call("Emulation.setDeviceMetricsOverride", size),
            self.call("Emulation.setFocusEmulationEnabled", {"enabled": True}),
            self.call("Page.addScriptToEvaluateOnNewDocument", {"source": _script()}),
        ]
        yield from self.load()

    def load(self) -> Conversation[None]:
        """Reload the page."""
        (loaded,) = yield [self.call("Page.navigate", {"url": self._origin.url(self.page.path)})]
        if "errorText" in loaded:
            raise TutelageError(f"expected to load {self.page.path}, got {loaded['errorText']}")
        yield from self.ask("ready()")
        self._fresh, self.pointer, self.is_held, self.on_bar = True, None, False, False

    def close(self) -> Conversation[None]:
        """Close the tab, if it is open."""
        target, was_open = self._target, self.is_open
        self._target = self._session = ""
        if was_open:
            with contextlib.suppress(TabLost):
                yield [DevToolsCall("Target.closeTarget", {"targetId": target})]

    def begin(self, seed: int) -> Conversation[PageView]:
        """Begin the episode of a seed."""
        if self.page.remembers and not self._fresh:
            yield from self.load()
        if self.is_held:
            yield from release(self)
        if self.pointer != AWAY:
            yield self.move(*AWAY)
        page_state = yield from self.ask(f"begin({seed})")
        if page_state is None:
            yield from self.load()
            page_state = yield from self.ask(f"begin({seed})")
        self._fresh = False
        return (yield from self._settle(page_state))

    def act(self, action: WebAction, view: PageView) -> Conversation[PageView]:
        """Perform an action on the page of the last view; an element that has vanished is left alone."""
        span = action.amount if action.verb == "wait" else STEP
        page_state = None
        if action.verb == "type" and action.element >= 0:
            page_state, needs_frame = (yield from write(self, action, view, span)), False
        else:
            needs_frame = yield from perform(self, action, view)
        if page_state is None:
            page_state = yield from self._pass(span, needs_frame)
        return (yield from self._settle(page_state))

    def _pass(self, span: int, needs_frame: bool) -> Conversation[dict[str, Any]]:
        """Advance the page's time, after updating its pointer position."""
        for nudge in (*NUDGES, 0):
            page_state = yield from self.ask(
                f"step({span}, {json_text(needs_frame)}, {json_text(not nudge)})"
            )
            if page_state is not None:
                break
            yield from self._nudge(nudge)
        return page_state

    def picture(self) -> Conversation[np.ndarray]:
        """Take a screenshot: uint8 `[height, width, 3]`."""
        clip = {"x": 0, "y": 0, "width": self.page.width, "height": self.page.height, "scale": 1}
        (shot,) = yield [self.call("Page.captureScreenshot", {"format": "png", "clip": clip})]
        image = Image.open(io.BytesIO(base64.b64decode(shot["data"])))
        return np.asarray(image.convert("RGB"))

    def _settle(self, page_state: dict[str, Any]) -> Conversation[PageView]:
        """Nudge the pointer until the element under it has noticed it; returns the view."""
        for number, nudge in enumerate(NUDGES, 1):
            if not page_state["stale"]:
                break
            yield from self._nudge(nudge)
            page_state = yield from self.ask(f"look({json_text(number == len(NUDGES))})")
        del page_state["stale"]
        return PageView(
            **(
                page_state
                | {"reward": float(page_state["reward"]), "covered": frozenset(page_state["covered"])}
            )
        )

    def _nudge(self, nudge: float) -> Conversation[None]:
        """Move the pointer by less than a pixel, enough for an event; the recorded position stays."""
        x, y = self.pointer or AWAY
        yield self.move(x + nudge, y)
        self.pointer = (x, y)


@cache
def _script() -> str:
    folder = Path(__file__).parent
    parts = [
        (folder / f"{name}.js").read_text(encoding="utf-8")
        for name in ("wall", "requests", "clock", "bars", "elements", "fields", "page")
    ]
    return "(() => {\n" + "\n".join(parts) + "\n})();"
