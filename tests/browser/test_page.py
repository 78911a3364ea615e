"""The recorder's page in a real browser, played by keys."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect
from tutelage.crowd.storage.journal import Journal
from tutelage.datasets.store import Store
from tutelage.envs.experts import make_expert
from tutelage.envs.suite import Suite
from tutelage.envs.task import TEST
from tutelage.envs.task_env import TaskEnv

KEYS = ("ArrowLeft", "ArrowRight", "ArrowUp")
Serve = Callable[..., str]
Open = Callable[..., Page]


def plan(suite: Suite, task: str, seed: int) -> list[str]:
    """Ask the expert for the keys that solve an episode."""
    environment = TaskEnv(suite[task])
    step, expert = environment.reset(seed), make_expert(suite[task], environment)
    expert.reset()
    keys: list[str] = []
    while not step.done:
        action = expert.act()
        assert action is not None
        keys.append(KEYS[int(action[0])])
        step = environment.step(action)
    assert step.success
    return keys


def choose(page: Page, task: str) -> None:
    page.click(f"[data-task={task}]")
    page.wait_for_selector("#play:visible")


def press(page: Page, *codes: str) -> None:
    """Press keys one by one, each on the picture that the one before gave."""
    for code in codes:
        step = step_of(page) + 1
        page.keyboard.press(code)
        at_step(page, step)


def step_of(page: Page) -> int:
    return int(page.inner_text("#step").split()[1])


def at_step(page: Page, step: int) -> None:
    expect(page.locator("#step")).to_have_text(re.compile(f"^Step {step} "), timeout=60_000)


def at_least(page: Page, step: int) -> None:
    end = time.monotonic() + 60
    while step_of(page) < step:
        assert time.monotonic() < end
        time.sleep(0.02)


def phase(page: Page, name: str) -> None:
    page.wait_for_selector(f"body[data-phase={name}]")


def stored(folder: Path, count: int) -> list[Any]:
    end = time.monotonic() + 60
    while len(found := list(Store.open(folder / "store").trajectories())) < count and time.monotonic() < end:
        time.sleep(0.05)
    return found


def play_to_the_ball(page: Page, suite: Suite, seed: int) -> list[str]:
    keys = plan(suite, "goto-red-ball-grey", seed)
    press(page, *keys[:-1])
    page.keyboard.press(keys[-1])
    phase(page, "finished")
    return keys


@pytest.mark.slow
def test_a_person_solves_a_task_by_keys_and_it_is_kept(
    serve: Serve, open_page: Open, suite: Suite, tmp_path: Path
) -> None:
    page = open_page(serve(episodes=2))
    choose(page, "goto-red-ball-grey")
    expect(page.locator("h1:visible")).to_have_text("Go to the red ball")
    keys = play_to_the_ball(page, suite, 0)
    expect(page.locator("#verdict")).to_contain_text("Success")
    expect(page.locator("#saved")).to_have_text(f"Saved to step {len(keys)}")
    expect(page.locator("#announcer")).to_contain_text("Success. Return 0.")
    page.keyboard.press("k")
    phase(page, "playing")
    expect(page.locator("#count")).to_have_text("demonstration 2 of 2")
    [one] = stored(tmp_path, 1)
    assert [KEYS[int(action)] for action in one.actions.ravel()] == keys
    assert one.success
    assert one.observations is None
    # each key was pressed on the frame that the key before it gave, or an equal one
    assert one.frames[0] == 0
    assert all(frame <= at for at, frame in enumerate(one.frames))
    assert list(one.frames) == sorted(one.frames)
    play_to_the_ball(page, suite, 1)
    page.keyboard.press("Enter")
    phase(page, "choosing")
    expect(page.locator("[data-task=goto-red-ball-grey]")).to_be_disabled()
    expect(page.locator("[data-task=goto-red-ball-grey]")).to_contain_text("2 of 2")


def test_discard_undo_and_redo_by_keys(serve: Serve, open_page: Open, suite: Suite, tmp_path: Path) -> None:
    page = open_page(serve())
    choose(page, "goto-red-ball-grey")
    play_to_the_ball(page, suite, 0)
    page.keyboard.press("x")
    phase(page, "playing")
    assert step_of(page) == 0
    page.keyboard.press("u")
    phase(page, "finished")
    page.keyboard.press("r")
    phase(page, "playing")
    expect(page.locator("#count")).to_have_text("demonstration 1, try 2")
    play_to_the_ball(page, suite, 0)
    page.keyboard.press("k")
    phase(page, "playing")
    [one] = stored(tmp_path, 1)
    assert (one.seed, one.notes) == (0, "attempt 2")


def test_a_reload_in_mid_episode_goes_on_at_the_same_step(
    serve: Serve, open_page: Open, suite: Suite, tmp_path: Path
) -> None:
    page = open_page(serve())
    choose(page, "goto-red-ball-grey")
    keys = plan(suite, "goto-red-ball-grey", 0)
    press(page, *keys[:1])
    page.reload()
    phase(page, "playing")
    assert step_of(page) == 1
    expect(page.locator("#saved")).to_have_text("Saved to step 1")
    page.wait_for_selector("canvas[data-frame]")
    press(page, *keys[1:-1])
    page.keyboard.press(keys[-1])
    phase(page, "finished")
    page.keyboard.press("k")
    [one] = stored(tmp_path, 1)
    assert [KEYS[int(action)] for action in one.actions.ravel()] == keys


def test_the_page_comes_back_by_itself_when_the_server_does(
    running: Callable[..., AbstractContextManager[str]], open_page: Open
) -> None:
    with running() as url:
        page = open_page(url)
        choose(page, "goto-red-ball-grey")
        press(page, "ArrowLeft")
        expect(page.locator("#saved")).to_have_text("Saved to step 1")
    expect(page.locator("#connection")).to_have_attribute("data-state", "lost")
    with running(port=int(url.split(":")[-1].strip("/"))):
        expect(page.locator("#connection")).to_have_attribute("data-state", "open", timeout=60_000)
        press(page, "ArrowRight")
        assert step_of(page) == 2


@pytest.mark.slow
def test_real_time_waits_for_a_key_and_keeps_its_rate(serve: Serve, open_page: Open, tmp_path: Path) -> None:
    page = open_page(serve())
    choose(page, "cartpole")
    expect(page.locator("#curtain-text")).to_have_text("Press any key to start")
    time.sleep(0.3)
    assert step_of(page) == 0
    page.keyboard.press("ArrowRight")
    phase(page, "finished")
    expect(page.locator("#figures")).to_contain_text("steps a second")
    page.keyboard.press("k")
    [one] = stored(tmp_path, 1)
    assert one.actions[0] == 1  # the tap that started it
    # on a busy machine deadlines are missed: they are counted, the pace itself stays
    missed = int(one.notes.split()[0]) if "missed" in one.notes else 0
    seconds = (one.times_ms[-1] - one.times_ms[0]) / 1000
    assert one.steps_per_second == pytest.approx((len(one) - 1) / seconds)
    assert (len(one) - 1 + missed) / seconds == pytest.approx(15, rel=0.25)
    # a late step may come just before one in time, but no three come at once to make up for it
    assert np.all(one.times_ms[2:] - one.times_ms[:-2] > 55)


def test_a_held_key_decides_until_the_page_loses_the_focus(
    serve: Serve, open_page: Open, tmp_path: Path
) -> None:
    page = open_page(serve())
    choose(page, "pendulum")
    page.keyboard.down("ArrowRight")
    at_least(page, 6)
    page.evaluate("window.dispatchEvent(new Event('blur'))")
    phase(page, "paused")
    expect(page.locator("#curtain-text")).to_have_text("Paused")
    expect(page.locator(".cap.held")).to_have_count(0)
    held = step_of(page)
    time.sleep(0.4)
    assert step_of(page) == held
    page.keyboard.press("g")  # any key that means nothing
    at_least(page, held + 4)
    page.keyboard.press("Escape")
    phase(page, "paused")
    with Journal(tmp_path / "store" / "journal.sqlite") as journal:
        [episode] = journal.episodes()
        actions = [step.action for step in journal.steps(episode.episode)]
    assert actions[1:held] == [[-2.0]] * (held - 1)
    assert set(map(tuple, actions[held + 1 :])) == {(0.0,)}


def test_buttons_on_the_screen_do_what_keys_do(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(), has_touch=True, viewport={"width": 400, "height": 800})
    page.tap("[data-task=goto-local]")
    page.wait_for_selector("#play:visible")
    page.tap(".cap:has-text('turn left')")
    expect(page.locator("#step")).to_have_text("Step 1 of 64")
    page.click(".cap:has-text('turn right')")
    expect(page.locator("#step")).to_have_text("Step 2 of 64")
    page.locator(".cap:has-text('turn right')").focus()
    page.keyboard.press("Enter")  # as a screen reader does
    expect(page.locator("#step")).to_have_text("Step 3 of 64")
    page.tap("[data-choice=leave]")
    phase(page, "choosing")


@pytest.mark.slow
def test_a_second_tab_takes_over_and_the_first_can_take_it_back(serve: Serve, open_page: Open) -> None:
    url = serve()
    page = open_page(url)
    choose(page, "taxi")
    press(page, "ArrowUp")
    second = page.context.new_page()
    second.goto(url)
    phase(second, "playing")
    expect(page.locator("#elsewhere-title")).to_be_visible()
    page.click("#here")
    page.wait_for_selector("#play:visible")
    assert step_of(page) == 1
    expect(second.locator("#elsewhere-title")).to_be_visible()


def test_a_baseline_offers_no_second_try(serve: Serve, open_page: Open, suite: Suite, tmp_path: Path) -> None:
    page = open_page(serve(seeds=TEST))
    expect(page.locator("#intro")).to_contain_text("The first try counts")
    choose(page, "goto-red-ball-grey")
    expect(page.locator("[data-choice=discard]")).to_contain_text("Give up")
    expect(page.locator("[data-choice=redo]")).to_have_count(0)
    play_to_the_ball(page, suite, TEST.start)
    assert page.locator("[data-choice]").evaluate_all("all => all.map((one) => one.dataset.choice)") == [
        "keep",
        "leave",
    ]
    page.keyboard.press("k")
    [one] = stored(tmp_path, 1)
    assert one.seed == TEST.start
