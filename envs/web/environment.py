"""A web page as a Gymnasium environment, in a real Chromium; `vector.py` is the same for many at once."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from ...errors import TutelageError
from .action_space import action_space, observation_space, to_action
from .actions import WebAction
from .browser import Browser, shared
from .devtools import Conversation
from .episode import WebEpisode
from .page_session import PageView
from .page_sources import find_page

Observed = dict[str, Any]
Stepped = tuple[Observed, float, bool, bool, dict[str, Any]]
STEPS = 30
"""Actions that an episode may take, unless another number is asked for."""


class WebEnv(gymnasium.Env[Observed, Any]):
    """One task of MiniWoB++, or a page of one's own (`task="folder/page.html"`) in a folder that is trusted.

    Observation: `instruction`, `elements` (see `elements.read_elements`), with `screenshot=True` also
    `screenshot`, uint8 `[210, 160, 3]`. Takes `WebAction`s or values of the action space. The reward
    comes at the end: what the page gives, not scaled by the time that was taken. `info["done"]` says that
    the page ended the episode; after `max_steps` actions it is truncated.

    The seed decides the page, as in MiniWoB++ itself; a clock that moves with actions alone decides the
    rest, so that the same actions show the same pages. A crash of the tab or of the browser is made good:
    `info["repeats"]` counts how often an episode was repeated so.

    What differs from the package's own environment: every action lasts a second of the page's own time,
    which always begins at noon of 16 October 2017, and only `max_steps` ends a long episode. Slow changes of
    style are over at once. The cover that says START, and what stands beside the task, are hidden. Links
    lead nowhere else, dialogs are answered, and a browser's own dragging of links and texts is off. Letters
    for a field are typed by the browser's editing, with the events of keys made by a script; all other keys
    and the mouse are the browser's. An element is clicked where it shows, scrolled into view if need be.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012

    def __init__(
        self,
        task: str,
        render_mode: str | None = None,
        screenshot: bool = False,
        max_steps: int = STEPS,
        browser: Browser | None = None,
    ) -> None:
        if max_steps < 1:
            raise TutelageError(f"expected max_steps from 1, got {max_steps}")
        self.page = find_page(task)
        self.render_mode, self.screenshot, self.max_steps = render_mode, screenshot, max_steps
        self.observation_space = observation_space(self.page.width, self.page.height, screenshot)
        self.action_space = action_space()
        self.browser = browser or shared()
        self.episode = WebEpisode(self.browser, self.page)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observed, dict[str, Any]]:
        return self.browser.talk_alone(self.beginning(seed))

    def step(self, action: Any) -> Stepped:
        return self.browser.talk_alone(self.acting(action))

    def beginning(self, seed: int | None = None) -> Conversation[tuple[Observed, dict[str, Any]]]:
        """Return what `reset` does as a conversation, to be held together with those of other tabs."""
        super().reset(seed=seed)
        chosen = int(self.np_random.integers(2**31)) if seed is None else seed
        look = yield from self.episode.begin(chosen)
        observation = yield from self._observed(look)
        return observation, self._info(look)

    def acting(self, action: Any) -> Conversation[Stepped]:
        """Return what `step` does as a conversation."""
        look = yield from self.episode.act(action if isinstance(action, WebAction) else to_action(action))
        observation = yield from self._observed(look)
        truncated = not look.done and self.episode.steps >= self.max_steps
        reward = look.reward if look.done else 0.0
        return observation, reward, look.done, truncated, self._info(look)

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """Take a screenshot, uint8 `[210, 160, 3]`."""
        if self.render_mode != "rgb_array":
            return None
        return self.browser.talk_alone(self.episode.picture())

    def close(self) -> None:
        """Close the tab; the browser stays for others, until the process ends."""
        self.browser.talk_alone(self.episode.tab.close())

    def _observed(self, look: PageView) -> Conversation[Observed]:
        seen: Observed = {"instruction": look.instruction, "elements": look.elements}
        if self.screenshot:
            seen["screenshot"] = yield from self.episode.picture()
        return seen

    def _info(self, look: PageView) -> dict[str, Any]:
        return {"done": look.done, "repeats": self.episode.repeats}
