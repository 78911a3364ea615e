"""Pages of our own: what they show, and somebody who does anything and everything to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from tutelage.envs.web.actions import WebAction
from tutelage.envs.web.environment import WebEnv
from tutelage.envs.web.observation import Element, read_elements
from tutelage.foreign_code.trust import trust

PAGES = Path(__file__).parent / "pages"
trust([PAGES])
gymnasium.register("tests/WebPage-v0", "tutelage.envs.web.environment:WebEnv")


def elements(observation: dict[str, Any]) -> tuple[Element, ...]:
    return read_elements(observation["elements"])


def at(observation: dict[str, Any], **wanted: Any) -> int:
    """Return the place of the first element with these attributes."""
    return next(
        place
        for place, one in enumerate(elements(observation))
        if all(getattr(one, name) == value for name, value in wanted.items())
    )


def named(observation: dict[str, Any], element_id: str) -> Element:
    return elements(observation)[at(observation, id=element_id)]


def play(env: WebEnv, seed: int, steps: int = 25) -> list[Any]:
    """Do anything and everything to a page; returns all that `reset` and `step` gave."""
    generator = np.random.default_rng(seed)
    seen: list[Any] = [env.reset(seed=seed)]
    while len(seen) <= steps and not seen[-1][-1]["done"]:
        seen.append(env.step(_something(seen[-1][0], generator)))
    return seen


def _something(observation: dict[str, Any], generator: np.random.Generator) -> WebAction:
    count = len(elements(observation))
    element = int(generator.integers(count))
    choices = [
        WebAction("click", element),
        WebAction("click", element, *generator.random(2)),
        WebAction("hover", element),
        WebAction("press", element),
        WebAction("drag", element, target=int(generator.integers(count))),
        WebAction("type", element, text="Zoë"),
        WebAction("key", key=["Tab", "Enter", "ArrowDown", "Control+A"][int(generator.integers(4))]),
        WebAction("scroll", element, amount=int(generator.integers(-60, 60))),
    ]
    return choices[int(generator.integers(len(choices)))]
