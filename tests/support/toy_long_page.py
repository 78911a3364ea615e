"""The toy's pages with a long text on them, as pages of real sites have."""

from __future__ import annotations

from typing import Any

import gymnasium
from tutelage.envs.web.actions import WebAction
from tutelage.tests.support.toy_page import PageToy, page

CHARACTERS, STEPS = 300_000, 16


class LongPageToy(PageToy):
    """Click the first of two buttons, again and again; below them stands a text that no other page has."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode=render_mode)

    def solution(self) -> WebAction:
        return WebAction("click", element=1)

    def _look(self) -> dict[str, str]:
        words = self.np_random.bytes(49).hex(" ", 8) + " "
        words *= CHARACTERS // len(words)
        return {
            "instruction": f'Press "{self.shown[0]}".',
            "elements": page(("BUTTON", self.shown[0], None), ("BUTTON", "other", None), ("P", words, None)),
        }

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.steps = 0
        return super().reset(seed=seed)

    def step(self, action: Any) -> Any:
        self.steps += 1
        return self._look(), 1.0, self.steps == STEPS, False, {}


gymnasium.register("toys/LongPageToy-v0", entry_point=LongPageToy)  # type: ignore[arg-type]
