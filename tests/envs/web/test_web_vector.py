"""Many pages at once show what each shows alone."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from tutelage.envs.web.actions import WebAction
from tutelage.envs.web.browser import Browser
from tutelage.envs.web.environment import WebEnv
from tutelage.envs.web.vector import WebVectorEnv
from tutelage.errors import TutelageError
from tutelage.tests.envs.web.showing import PAGES, at

FORM, CHECKLIST, CANVAS = (str(PAGES / f"{name}.html") for name in ("form", "checklist", "canvas"))


def test_tabs_together_show_what_each_shows_alone(browser: Browser) -> None:
    tasks = [FORM, CHECKLIST, CANVAS]
    alone = [WebEnv(one, browser=browser) for one in tasks]
    together = [WebEnv(one, browser=browser) for one in tasks]
    begun = WebEnv.reset_together(together, [4, 5, 6])
    assert begun == [env.reset(seed=seed) for env, seed in zip(alone, (4, 5, 6), strict=True)]
    for place in (2, 5, 3, 6):
        actions = [WebAction("click", place), WebAction("type", place, text="x"), WebAction("hover", place)]
        expected = [env.step(action) for env, action in zip(alone, actions, strict=True)]
        assert WebEnv.step_together(together, actions) == expected


def test_a_vector_begins_the_next_episode_by_itself(browser: Browser) -> None:
    vector = WebVectorEnv([FORM, CANVAS], 4, browser=browser, max_steps=2)
    seen, _ = vector.reset(seed=1)
    assert seen["instruction"][0] == "Call yourself bob, choose red and send."
    assert seen["instruction"][2] == "Call yourself dieter, choose red and send."
    send = at({"elements": seen["elements"][0]}, id="send")
    actions = [WebAction("click", send), WebAction("wait"), WebAction("wait"), WebAction("wait")]
    _, rewards, terminated, truncated, _ = vector.step(actions)
    assert (rewards.tolist(), terminated.tolist()) == ([-1, 0, 0, 0], [True, False, False, False])
    assert not truncated.any()
    _, rewards, terminated, truncated, _ = vector.step(actions)
    assert truncated.tolist() == [False, True, True, True]
    assert not terminated.any()  # tab 0 was begun again instead
    assert rewards.tolist() == [0, 0, 0, 0]


def test_without_autoreset_the_caller_says_which_begin_again(browser: Browser) -> None:
    vector = WebVectorEnv(FORM, 2, "Disabled", browser=browser, max_steps=1)
    vector.reset(seed=1)
    vector.step([WebAction("wait")] * 2)
    with pytest.raises(TutelageError, match="reset_mask"):
        vector.step([WebAction("wait")] * 2)
    vector.reset(seed=[7, None], options={"reset_mask": np.array([True, True])})
    assert vector.step([WebAction("wait")] * 2)[3].all()


def test_a_batch_of_the_action_space_is_taken(browser: Browser) -> None:
    vector = WebVectorEnv(FORM, 2, browser=browser, screenshot=True)
    seen, _ = vector.reset(seed=1)
    assert seen["screenshot"].shape == (2, 210, 160, 3)
    vector.action_space.seed(3)
    for _ in range(5):
        vector.step(vector.action_space.sample())
    with pytest.raises(TutelageError, match="expected 2 actions, got 1"):
        vector.step([WebAction("wait")])
    vector.close()


def test_gymnasium_makes_a_vector_of_a_registered_page(browser: Browser) -> None:
    gymnasium.register(
        "tests/WebVector-v0",
        "tutelage.envs.web.environment:WebEnv",
        vector_entry_point="tutelage.envs.web.vector:WebVectorEnv",
        kwargs={"task": FORM},
    )
    vector = gymnasium.make_vec(
        "tests/WebVector-v0", 2, vectorization_mode="vector_entry_point", browser=browser
    )
    vector.reset(seed=1)
    vector.close()
