"""A person at a page, without a screen between them: what they did, and what it came to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tutelage.envs.capabilities import HumanInput, InputQuestion
from tutelage.envs.web.actions import WebAction
from tutelage.envs.web.environment import WebEnv
from tutelage.envs.web.human_input import HumanInputReader
from tutelage.tests.envs.web.showing import PAGES, named


class Sitting:
    """One person at one page: what they did, and what it came to."""

    def __init__(self, env: WebEnv, seed: int) -> None:
        self.env, self.seed = env, seed
        self.seen, _ = env.reset(seed=seed)
        self.person = HumanInputReader(env.episode)
        self.actions: list[WebAction] = []
        self.questions: list[InputQuestion] = []
        self.reward, self.done = 0.0, False
        self.proof = [self.seen]

    def do(self, kind: Any, element_id: str = "", **more: Any) -> None:
        """Do something at the middle of an element."""
        if element_id:
            element = named(self.shown(), element_id)
            more |= {"x": element.left + element.width / 2, "y": element.top + element.height / 2}
        heard = self.person.hear(HumanInput(kind, **more))
        while True:
            if heard.question:
                self.questions.append(heard.question)
            if heard.action:
                self.actions.append(heard.action)
                self.seen, self.reward, self.done, *_ = self.env.step(heard.action)
                self.proof.append(self.seen)
            if self.done or not heard.more:
                return
            heard = self.person.go_on()

    def type(self, keys: Sequence[str], *held: str) -> None:
        for key in keys:
            self.do("key", key=key, held=held)

    def shown(self) -> Any:
        """Return what the page shows ahead of any action."""
        look = self.env.episode.view
        assert look is not None
        return {"elements": look.elements}

    def check(self) -> None:
        """Another tab shows the same after the same actions."""
        other = WebEnv(str(PAGES / f"{self.env.page.name}.html"), browser=self.env.browser)
        seen = [other.reset(seed=self.seed)[0]] + [other.step(action)[0] for action in self.actions]
        other.close()
        assert seen == self.proof
