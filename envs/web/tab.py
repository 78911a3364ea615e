"""One tab with one page in it: begin an episode, act, look. All conversations, see `devtools`."""

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
from .input_events import let_go, perform, write
from .origin import Origin
from .page_session import PageSession, PageView
from .page_sources import PageSource, in_miniwob

STEP = 1000
"""Milliseconds of the page's own time that pass with every action but `wait`."""

AWAY = (-1.0, -1.0)
NUDGES = (0.25, -0.25, 0.25)
_CHILDREN = {"autoAttach": True, "waitForDebuggerOnStart": True, "flatten": True}


class Tab(PageSession):
    """A tab of a browser. It is lost with the browser's process, or when it crashes: open it again then."""

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
        """Load the page anew."""
        (loaded,) = yield [self.call("Page.navigate", {"url": self._origin.url(self.page.path)})]
        if "errorText" in loaded:
            raise TutelageError(f"expected to load {self.page.path}, got {loaded['errorText']}")
        yield from self.ask("ready()")
        self._fresh, self.pointer, self.is_held, self.on_bar = True, None, False, False

    def close(self) -> Conversation[None]:
        """Close the tab, if it is there."""
        target, there = self._target, self.is_open
        self._target = self._session = ""
        if there:
            with contextlib.suppress(TabLost):
                yield [DevToolsCall("Target.closeTarget", {"targetId": target})]

    def begin(self, seed: int) -> Conversation[PageView]:
        """Begin the episode of a seed."""
        if self.page.remembers and not self._fresh:
            yield from self.load()
        if self.is_held:
            yield from let_go(self)
        if self.pointer != AWAY:
            yield self.move(*AWAY)
        seen = yield from self.ask(f"begin({seed})")
        if seen is None:
            yield from self.load()
            seen = yield from self.ask(f"begin({seed})")
        self._fresh = False
        return (yield from self._settle(seen))

    def act(self, action: WebAction, look: PageView) -> Conversation[PageView]:
        """Do something to what was seen last; an element that is not there any more is left alone."""
        span = action.amount if action.verb == "wait" else STEP
        seen = None
        if action.verb == "type" and action.element >= 0:
            seen, moves = (yield from write(self, action, look, span)), False
        else:
            moves = yield from perform(self, action, look)
        if seen is None:
            seen = yield from self._pass(span, moves)
        return (yield from self._settle(seen))

    def _pass(self, span: int, moves: bool) -> Conversation[dict[str, Any]]:
        """Let time pass, after telling the page where the pointer is."""
        for nudge in (*NUDGES, 0):
            seen = yield from self.ask(f"step({span}, {json_text(moves)}, {json_text(not nudge)})")
            if seen is not None:
                break
            yield from self._nudge(nudge)
        return seen

    def picture(self) -> Conversation[np.ndarray]:
        """Take a screenshot: uint8 `[height, width, 3]`."""
        clip = {"x": 0, "y": 0, "width": self.page.width, "height": self.page.height, "scale": 1}
        (shot,) = yield [self.call("Page.captureScreenshot", {"format": "png", "clip": clip})]
        image = Image.open(io.BytesIO(base64.b64decode(shot["data"])))
        return np.asarray(image.convert("RGB"))

    def _settle(self, seen: dict[str, Any]) -> Conversation[PageView]:
        """Tell the page where the pointer is until what lies under it knows."""
        for number, nudge in enumerate(NUDGES, 1):
            if not seen["stale"]:
                break
            yield from self._nudge(nudge)
            seen = yield from self.ask(f"look({json_text(number == len(NUDGES))})")
        del seen["stale"]
        return PageView(**(seen | {"reward": float(seen["reward"]), "covered": frozenset(seen["covered"])}))

    def _nudge(self, nudge: float) -> Conversation[None]:
        """Move the pointer as little as a page can hear of, and back for us."""
        x, y = self.pointer or AWAY
        yield self.move(x + nudge, y)
        self.pointer = (x, y)


@cache
def _script() -> str:
    folder = Path(__file__).parent
    parts = [
        (folder / f"{name}.js").read_text(encoding="utf-8")
        for name in ("wall", "clock", "bars", "elements", "fields", "page")
    ]
    return "(() => {\n" + "\n".join(parts) + "\n})();"
