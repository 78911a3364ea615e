"""One episode in a tab that may crash at any time: after a crash, the episode is replayed in a new tab."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...console.wording import counted
from ...errors import TutelageError
from .actions import WebAction
from .browser import Browser
from .devtools import Conversation, Result, TabLost
from .page_session import PageView
from .page_sources import PageSource
from .tab import Tab

ATTEMPTS = 4


class WebEpisode:
    """Runs one episode of a page after another. Its methods return conversations, for `Browser.talk`."""

    def __init__(self, browser: Browser, page: PageSource) -> None:
        self.tab = Tab(browser, page)
        self._browser = browser
        self.view: PageView | None = None
        self.repeats = 0
        self._seed = 0
        self._actions: list[WebAction] = []

    @property
    def steps(self) -> int:
        return len(self._actions)

    def begin(self, seed: int) -> Conversation[PageView]:
        """Begin the episode of a seed; returns its first view."""
        self._seed, self._actions = seed, []
        return (yield from self._retry(self._attempt_begin))

    def act(self, action: WebAction) -> Conversation[PageView]:
        """Take one action."""
        if self.view is None:
            raise TutelageError("expected reset() before step(); call it first")
        self._actions.append(action)
        return (yield from self._retry(self._attempt_act))

    def undo(self, count: int) -> Conversation[PageView]:
        """Undo the last actions: restart the episode and replay the others."""
        del self._actions[len(self._actions) - count :]
        return (yield from self._retry(self._attempt_redo))

    def ask(self, expression: str) -> Conversation[Any]:
        """Evaluate one of the functions of `page.js`."""
        return (yield from self._retry(lambda: self.tab.ask(expression)))

    def picture(self) -> Conversation[Any]:
        """Take a screenshot."""
        return (yield from self._retry(self.tab.picture))

    def talk(self, conversation: Conversation[Result]) -> Result:
        """Run one of these conversations alone, to its end."""
        return self._browser.talk_alone(conversation)

    def _attempt_begin(self) -> Conversation[PageView]:
        if not self.tab.is_open:
            yield from self.tab.open()
        self.view = yield from self.tab.begin(self._seed)
        return self.view

    def _attempt_redo(self) -> Conversation[PageView]:
        if self.tab.is_open:  # some pages keep state of an unfinished episode
            yield from self.tab.load()
        view = yield from self._attempt_begin()
        for action in self._actions:
            view = yield from self.tab.act(action, view)
        self.view = view
        return view

    def _attempt_act(self) -> Conversation[PageView]:
        assert self.view is not None
        self.view = yield from self.tab.act(self._actions[-1], self.view)
        return self.view

    def _retry(self, attempt: Callable[[], Conversation[Result]]) -> Conversation[Result]:
        """Run an attempt; if the tab is lost, replay the episode in a new one and retry, `ATTEMPTS` times."""
        reason = "its browser was gone"
        for _ in range(ATTEMPTS):
            try:
                if not self.tab.is_open and attempt != self._attempt_begin:
                    yield from self._replay(attempt == self._attempt_act)
                return (yield from attempt())
            except TabLost as lost:
                reason = str(lost)
                yield from self._abandon()
        raise TutelageError(
            f"expected the page {self.tab.page.name} to live, but it was lost {ATTEMPTS} times on seed "
            f"{self._seed} after {counted(self.steps, 'action')}: {reason}"
        )

    def _abandon(self) -> Conversation[None]:
        try:
            yield from self.tab.close()
        except TabLost:  # the browser is gone, too
            return

    def _replay(self, omit_last: bool) -> Conversation[None]:
        self.repeats += 1
        yield from self.tab.open()
        self.view = yield from self.tab.begin(self._seed)
        for action in self._actions[: -1 if omit_last else None]:
            self.view = yield from self.tab.act(action, self.view)
