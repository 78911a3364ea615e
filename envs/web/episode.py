"""One episode in a tab that may crash at any time: it is begun again and every action repeated."""

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
    """Plays one episode after another of a page. What it does are conversations, for `Browser.talk`."""

    def __init__(self, browser: Browser, page: PageSource) -> None:
        self.tab = Tab(browser, page)
        self.look: PageView | None = None
        self.repeats = 0
        self._seed = 0
        self._actions: list[WebAction] = []

    @property
    def steps(self) -> int:
        return len(self._actions)

    def begin(self, seed: int) -> Conversation[PageView]:
        """Begin the episode of a seed."""
        self._seed, self._actions = seed, []
        return (yield from self._persist(self._begun))

    def act(self, action: WebAction) -> Conversation[PageView]:
        """Take one action."""
        if self.look is None:
            raise TutelageError("expected reset() before step(); call it first")
        self._actions.append(action)
        return (yield from self._persist(self._acted))

    def undo(self, count: int) -> Conversation[PageView]:
        """Take back the last actions: the episode is begun again, and the others repeated."""
        del self._actions[len(self._actions) - count :]
        return (yield from self._persist(self._redone))

    def ask(self, expression: str) -> Conversation[Any]:
        """Evaluate one of the functions of `page.js`."""
        return (yield from self._persist(lambda: self.tab.ask(expression)))

    def picture(self) -> Conversation[Any]:
        """Take a screenshot of what is to be seen now."""
        return (yield from self._persist(self.tab.picture))

    def _begun(self) -> Conversation[PageView]:
        if not self.tab.is_open:
            yield from self.tab.open()
        self.look = yield from self.tab.begin(self._seed)
        return self.look

    def _redone(self) -> Conversation[PageView]:
        if self.tab.is_open:  # a page that is left in mid-episode may remember it
            yield from self.tab.load()
        look = yield from self._begun()
        for action in self._actions:
            look = yield from self.tab.act(action, look)
        self.look = look
        return look

    def _acted(self) -> Conversation[PageView]:
        assert self.look is not None
        self.look = yield from self.tab.act(self._actions[-1], self.look)
        return self.look

    def _persist(self, attempt: Callable[[], Conversation[Result]]) -> Conversation[Result]:
        """Do it; where the tab is lost, bring another one to where this one was, and do it again."""
        why = "its browser was gone"
        for _ in range(ATTEMPTS):
            try:
                if not self.tab.is_open and attempt != self._begun:
                    yield from self._repeat(attempt == self._acted)
                return (yield from attempt())
            except TabLost as lost:
                why = str(lost)
                yield from self._abandon()
        raise TutelageError(
            f"expected the page {self.tab.page.name} to live, but it was lost {ATTEMPTS} times on seed "
            f"{self._seed} after {counted(self.steps, 'action')}: {why}"
        )

    def _abandon(self) -> Conversation[None]:
        try:
            yield from self.tab.close()
        except TabLost:  # the browser went, too
            return

    def _repeat(self, but_the_last: bool) -> Conversation[None]:
        self.repeats += 1
        yield from self.tab.open()
        self.look = yield from self.tab.begin(self._seed)
        for action in self._actions[: -1 if but_the_last else None]:
            self.look = yield from self.tab.act(action, self.look)
