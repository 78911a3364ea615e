"""A web page as a Gymnasium environment, in a real Chromium; `vector.py` runs many at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from ...errors import TutelageError
from ..capabilities import InputReader, Stepped
from .action_space import action_space, observation_space, to_action
from .actions import WebAction
from .browser import Browser, shared
from .devtools import Conversation
from .episode import WebEpisode
from .human_input import PageInput
from .page_session import PageView
from .page_sources import find_page

Observed = dict[str, Any]
STEPS = 30
"""Default step limit of an episode."""
TABS = 16
"""Most tabs of one browser at once: each takes about 30 MB."""


class WebEnv(gymnasium.Env[Observed, Any]):
    """A task of MiniWoB++, or a page of your own (`task="folder/page.html"`) in a trusted folder.

    Observation: `instruction`, `elements` (see `observation.read_elements`), with `screenshot=True` also
    `screenshot`, uint8 `[210, 160, 3]`. Accepts `WebAction`s or values of the action space. The reward comes
    at the end: the page's own, not scaled by elapsed time. `info["done"]` is true if the page ended the
    episode; after `max_steps` actions it is truncated.

    Episodes are deterministic: the seed determines the page, as in MiniWoB++, and the page's clock advances
    with actions only. After a crash of the tab or the browser the episode is replayed; `info["repeats"]`
    counts these replays.

    Differences from the package's own environment: every action lasts one second of the page's time, which
    always begins at noon of 16 October 2017, and only `max_steps` ends a long episode. CSS transitions finish
    at once. The START cover and everything beside the task are hidden. Links lead nowhere, dialogs are
    accepted, and the browser's own dragging of links and text is off. Text for a field is inserted by the
    browser's editing, with key events made by a script; all other keys and the mouse are the browser's. An
    element is clicked where it is visible, after scrolling it into view if necessary.
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

    @classmethod
    def most_together(cls) -> int:
        return TABS

    @classmethod
    def reset_together(
        cls, environments: Sequence[WebEnv], seeds: Sequence[int | None]
    ) -> list[tuple[Observed, dict[str, Any]]]:
        """Reset environments of one browser concurrently; returns the result of each `reset`, in order."""
        if not environments:
            return []
        pairs = zip(environments, seeds, strict=True)
        return browser_of(environments).talk([env.beginning(seed) for env, seed in pairs])

    @classmethod
    def step_together(cls, environments: Sequence[WebEnv], actions: Sequence[Any]) -> list[Stepped]:
        """Step environments of one browser concurrently; returns the result of each `step`, in order."""
        if not environments:
            return []
        pairs = zip(environments, actions, strict=True)
        return browser_of(environments).talk([env.acting(action) for env, action in pairs])

    def input_reader(self) -> InputReader:
        """Return the reader of a person's input in this episode."""
        return PageInput(self.episode)

    def beginning(self, seed: int | None = None) -> Conversation[tuple[Observed, dict[str, Any]]]:
        """Return `reset` as a conversation, to run concurrently with those of other tabs."""
        super().reset(seed=seed)
        chosen = int(self.np_random.integers(2**31)) if seed is None else seed
        view = yield from self.episode.begin(chosen)
        observation = yield from self._observation(view)
        return observation, self._info(view)

    def acting(self, action: Any) -> Conversation[Stepped]:
        """Return `step` as a conversation."""
        view = yield from self.episode.act(action if isinstance(action, WebAction) else to_action(action))
        observation = yield from self._observation(view)
        truncated = not view.done and self.episode.steps >= self.max_steps
        reward = view.reward if view.done else 0.0
        return observation, reward, view.done, truncated, self._info(view)

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """Take a screenshot, uint8 `[210, 160, 3]`."""
        if self.render_mode != "rgb_array":
            return None
        return self.browser.talk_alone(self.episode.picture())

    def close(self) -> None:
        """Close the tab; the browser runs on for other tabs, until the process ends."""
        self.browser.talk_alone(self.episode.tab.close())

    def _observation(self, view: PageView) -> Conversation[Observed]:
        observation: Observed = {"instruction": view.instruction, "elements": view.elements}
        if self.screenshot:
            observation["screenshot"] = yield from self.episode.picture()
        return observation

    def _info(self, view: PageView) -> dict[str, Any]:
        return {"done": view.done, "repeats": self.episode.repeats}


def browser_of(environments: Sequence[WebEnv]) -> Browser:
    """Return the browser of environments; raises TutelageError for several."""
    if len({id(env.browser) for env in environments}) > 1:
        raise TutelageError("expected environments of one browser, got several browsers")
    return environments[0].browser
