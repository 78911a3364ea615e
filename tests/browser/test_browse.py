"""The page that looks through a store: every kind of picture played again, filters, notes, tags and marks."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Route, expect
from tutelage.crowd.browsing import serve
from tutelage.crowd.server.recorder_app import listen, server_of
from tutelage.datasets.store import Store
from tutelage.envs.suite import suite_from
from tutelage.envs.task_env import TaskEnv
from tutelage.envs.web.browser import shared
from tutelage.tests.browser.looks import WIDTHS, every_scheme, findings
from tutelage.tests.browser.test_looks import fits, legible
from tutelage.tests.envs.web.showing import PAGES

Open = Callable[..., Page]
SUITE = suite_from(
    {
        "suite": "mixed",
        "tasks": [
            {"id": "find-the-ball", "env": "tutelage/GoToLocal-v0"},
            {
                "id": "pole",
                "env": "CartPole-v1",
                "instruction": "keep the pole upright",
                "controls": {"ArrowLeft": {"action": 0, "label": "push left"}, "ArrowRight": 1},
            },
            {"id": "lake", "env": "FrozenLake-v1", "instruction": "cross the ice"},
            {"id": "text-lake", "env": "FrozenLake-v1", "kwargs": {"render_mode": "ansi"}},
            {"id": "form", "env": "tests/WebPage-v0", "kwargs": {"task": str(PAGES / "form.html")}},
        ],
    }
)
KINDS = {"find-the-ball": "3", "pole": "4", "lake": "image", "text-lake": "5", "form": "image"}


def fill(folder: Path, demonstrate: Any) -> Store:
    store = Store.create(folder, SUITE)
    for task in SUITE:
        environment = TaskEnv(task)
        for seed, person in enumerate(("ann", "ann", "<b>bob</b>")):
            trajectory, _ = demonstrate(environment, seed, steps=12, suite="mixed", demonstrator=person)
            store.append([replace(trajectory, rewards=trajectory.rewards)])
        environment.close()
    shared().close()
    return store


class Served:
    """A served store: its folder and address, and the link that lets a browser in."""

    def __init__(self, store: Store, url: str, link: str) -> None:
        self.store, self.url, self.link = store, url, link

    def ids(self, task: str) -> list[str]:
        rows = self.store.episodes().to_pylist()
        return [row["episode"] for row in rows if row["task"] == task]


@contextlib.contextmanager
def serving(store: Store, **options: Any) -> Iterator[Served]:
    page = serve.StoreBrowser(store.path, **options)
    with listen("127.0.0.1", 0) as listening:
        server = server_of(page.app())
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        try:
            yield Served(store, url, page.link.link(url))
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, demonstrate: Any) -> Iterator[Served]:
    with serving(fill(tmp_path_factory.mktemp("browse") / "episodes", demonstrate)) as at:
        yield at


@pytest.fixture
def look(browser: Browser, served: Served) -> Iterator[Open]:
    """Give a way to open the page in a profile of its own; what goes wrong in it fails the test."""
    wrong: list[str] = []

    def complain(kind: str, text: str) -> None:
        if kind == "error" and "status of 409" not in text:  # refused: no mistake of the page
            wrong.append(text)

    with contextlib.ExitStack() as stack:

        def open_page(**options: Any) -> Page:
            context = browser.new_context(**{"viewport": {"width": 1280, "height": 860}, **options})
            stack.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(60_000)
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("console", lambda told: complain(told.type, told.text))
            page.on(
                "request", lambda sent: None if sent.url.startswith(served.url) else wrong.append(sent.url)
            )
            page.goto(served.link)
            page.wait_for_selector("body[data-state=ready]")
            assert "token" not in page.url
            return page

        yield open_page
    assert not wrong


def show(page: Page, episode: str) -> None:
    page.click(f".row[data-episode='{episode}']")
    page.wait_for_selector("#shown:visible")
    expect(page.locator(f".row[data-episode='{episode}']")).to_have_attribute("aria-current", "true")


def at_step(page: Page, step: int) -> None:
    expect(page.locator("#scrub")).to_have_value(str(step))
    page.wait_for_selector(f"#picture[data-frame='{step}']")


def pixels(page: Page) -> int:
    """Count the colors of the picture."""
    return int(
        page.evaluate(
            """() => { const c = document.getElementById("picture"); const seen = new Set();
            const data = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
            for (let i = 0; i < data.length; i += 4) seen.add(data[i] << 16 | data[i + 1] << 8 | data[i + 2]);
            return seen.size; }"""
        )
    )


@pytest.mark.slow
@pytest.mark.parametrize("task", KINDS)
def test_every_kind_of_picture_is_played_again_and_proven(look: Open, served: Served, task: str) -> None:
    page = look()
    episode = served.ids(task)[0]
    show(page, episode)
    page.wait_for_selector("#picture[data-frame='0']")
    assert pixels(page) > 1
    steps = served.store.episodes().to_pylist()
    [row] = [row for row in steps if row["episode"] == episode]
    page.keyboard.press("End")
    at_step(page, row["steps"])
    expect(page.locator("#screen-note")).to_have_text("Every step gives what was recorded.")
    assert pixels(page) > 1
    expect(page.locator("#steps tr.now")).to_have_count(1)
    expect(page.locator("#facts")).to_contain_text(episode)


@pytest.mark.slow
def test_pictures_and_labels_are_those_of_the_environment(look: Open, served: Served) -> None:
    page = look()
    episode = served.ids("lake")[0]
    [trajectory] = [played for played in served.store.trajectories(task="lake") if played.episode == episode]
    environment = TaskEnv(SUITE["lake"], rgb=True)
    environment.reset(trajectory.seed)
    environment.step(trajectory.actions[0])
    frame = np.asarray(environment.frame())
    environment.close()
    show(page, episode)
    page.keyboard.press("ArrowRight")
    at_step(page, 1)
    drawn = page.evaluate(
        """() => { const c = document.getElementById("picture");
        return [...c.getContext("2d").getImageData(0, 0, c.width, c.height).data]; }"""
    )
    assert (np.array(drawn, np.uint8).reshape(*frame.shape[:2], 4)[..., :3] == frame).all()
    pole = served.ids("pole")[0]
    [trajectory] = [played for played in served.store.trajectories(task="pole") if played.episode == pole]
    show(page, pole)
    expect(page.locator("#instruction")).to_have_text("Keep the pole upright")
    page.keyboard.press("ArrowRight")
    at_step(page, 1)
    first = page.locator("#steps tr").first.locator("td")
    label = "push left" if trajectory.actions[0][0] == 0 else "1"
    expect(first.nth(1)).to_have_text(label)
    expect(first.nth(2)).to_have_text("1")
    expect(first.nth(4)).to_have_text(("person", "policy", "expert")[trajectory.controllers[0]])


@pytest.mark.slow
def test_it_plays_pauses_steps_and_scrubs_by_keys(look: Open, served: Served) -> None:
    page = look()
    episode = served.ids("find-the-ball")[0]
    show(page, episode)
    at_step(page, 0)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    at_step(page, 2)
    page.keyboard.press("ArrowLeft")
    at_step(page, 1)
    page.keyboard.press("Shift+ArrowRight")
    at_step(page, 11)
    page.keyboard.press("Home")
    at_step(page, 0)
    page.click("#speed")
    expect(page.locator("#speed")).to_have_text("4×")
    for _ in range(4):
        page.keyboard.press(",")
    expect(page.locator("#speed")).to_have_text("1×")
    page.locator("#screen-title").focus()
    page.keyboard.press("Space")
    expect(page.locator("#play")).to_have_attribute("aria-label", "Pause")
    expect(page.locator("#scrub")).to_have_value("12")
    expect(page.locator("#play")).to_have_attribute("aria-label", "Play")
    page.locator("#scrub").fill("5")
    at_step(page, 5)


def test_filters_search_and_keys_lead_through_the_list(look: Open, served: Served) -> None:
    page = look()
    expect(page.locator("#found")).to_have_text("15 episodes")
    page.select_option("#task", "lake")
    expect(page.locator("#found")).to_have_text("3 of 15 episodes")
    page.select_option("#by", "<b>bob</b>")
    expect(page.locator(".row")).to_have_count(1)
    expect(page.locator(".row .under").first).to_contain_text("<b>bob</b>")
    page.select_option("#by", "")
    page.select_option("#task", "")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("BOB pole")
    page.keyboard.press("Escape")
    page.keyboard.press("j")  # the list is not drawn yet: what was typed counts
    expect(page.locator("#screen-title")).to_have_text("Pole, seed 2")
    page.fill("#text", "")
    expect(page.locator(".row")).to_have_count(15)
    page.locator("#text").blur()
    page.keyboard.press("k")
    expect(page.locator("#screen-title")).to_have_text("Pole, seed 1")
    page.select_option("#order", "longest")
    steps = sorted(served.store.episodes()["steps"].to_pylist(), reverse=True)
    expect(page.locator(".row .under").first).to_contain_text(f"{steps[0]} steps")


def test_an_episode_that_takes_its_time_is_said_to_be_opening(look: Open, served: Served) -> None:
    page = look(viewport={"width": 400, "height": 800})
    held: list[Route] = []
    page.route("**/episode/*", lambda route: held.append(route))
    page.click(f".row[data-episode='{served.ids('lake')[0]}']")
    expect(page.get_by_text("Opening the episode…")).to_be_in_viewport()
    [request] = held
    request.continue_()
    expect(page.locator("#screen-title")).to_have_text("Lake, seed 0")
    expect(page.get_by_text("Opening the episode…")).to_be_hidden()


@pytest.mark.slow
def test_notes_tags_and_marks_are_on_disk_when_the_page_says_so(look: Open, served: Served) -> None:
    page = look()
    episode = served.ids("text-lake")[0]
    show(page, episode)
    page.keyboard.press("m")
    expect(page.locator("#saved")).to_have_text("Saved")
    assert Store.open(served.store.path).annotations()[episode].marked
    page.keyboard.press("n")
    page.keyboard.type("<img src=x onerror=alert(1)> lost at the third hole")
    page.keyboard.press("Escape")
    expect(page.locator("#saved")).to_have_text("Saved")
    page.keyboard.press("t")
    page.keyboard.type("odd, to check,odd")
    page.keyboard.press("Escape")
    expect(page.locator(f".row[data-episode='{episode}'] .chip")).to_have_text(["Marked", "odd", "to check"])
    annotation = Store.open(served.store.path).annotations()[episode]
    assert annotation.tags == ("odd", "to check")
    assert annotation.note == "<img src=x onerror=alert(1)> lost at the third hole"
    page.reload()
    page.wait_for_selector("#shown:visible")
    expect(page.locator("#note")).to_have_value(annotation.note)
    page.check("#only-marked")
    expect(page.locator("#found")).to_have_text("1 of 15 episodes")
    expect(page.locator("#marked")).to_have_text("1 marked for removal")
    page.fill("#tags", "!?")
    page.locator("#tags").blur()
    expect(page.locator("#saved")).to_contain_text("Not saved: expected a tag")
    page.uncheck("#only-marked")
    page.locator("#only-marked").blur()
    page.keyboard.press("k")  # what was typed is not lost by going elsewhere
    expect(page.locator("#tags")).to_have_value("!?")
    page.fill("#tags", "odd, to check")
    page.keyboard.press("Escape")
    page.click("#mark")
    expect(page.locator("#marked")).to_have_text("")


def looks_well(page: Page) -> None:
    """See that what is shown fits, is legible and has no finding, light and dark."""
    for scheme in every_scheme(page):
        fits(page)
        legible(page, scheme)
        assert findings(page) == []


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_is_legible_and_axe_finds_nothing(look: Open, served: Served, width: int) -> None:
    options = {"has_touch": True, "is_mobile": True} if width == 400 else {}
    page = look(viewport={"width": width, "height": 860}, reduced_motion="reduce", **options)
    looks_well(page)
    row = page.locator(f".row[data-episode='{served.ids('find-the-ball')[1]}']")
    row.tap() if options else row.click()
    at_step(page, 0)
    page.locator("#on").tap() if options else page.click("#on")
    at_step(page, 1)
    looks_well(page)
    if options:
        expect(page.locator("#list")).to_be_hidden()
        smallest = page.evaluate(
            "Math.min(...[...document.querySelectorAll('#player button, #mark, #close')]"
            ".map((node) => node.getBoundingClientRect().height))"
        )
        assert smallest >= 44
        page.tap("#close")
        expect(page.locator("#list")).to_be_visible()
        expect(row).to_be_focused()


def test_only_its_own_page_with_the_link_is_answered(served: Served) -> None:
    episode = served.ids("pole")[0]
    with httpx.Client() as client:
        assert client.get(f"{served.url}episodes").status_code == 403
        assert client.get(f"{served.url}episodes", headers={"Host": "evil.example"}).status_code == 400
        client.get(served.link, follow_redirects=True)
        assert client.get(f"{served.url}episodes").status_code == 200
        foreign = {"Host": f"evil.example:{urlsplit(served.url).port}"}
        assert client.get(f"{served.url}episodes", headers=foreign).status_code == 400
        body = json.dumps({"episode": episode, "marked": True})
        for origin in ({}, {"Origin": "http://evil.example"}):
            assert client.post(f"{served.url}annotate", content=body, headers=origin).status_code == 403
        same_origin = {"Origin": served.url.rstrip("/")}
        for wrong in (
            {"episode": "none"},
            {"episode": episode, "marked": "yes"},
            {"episode": episode, "x": 1},
        ):
            answer = client.post(f"{served.url}annotate", content=json.dumps(wrong), headers=same_origin)
            assert answer.status_code == 409
            assert answer.text.startswith("expected")
        assert (
            client.post(f"{served.url}annotate", content=b"[" * 70_000, headers=same_origin).status_code
            == 413
        )
        assert client.get(f"{served.url}frames/{episode}?first=x&count=1").status_code == 400
        assert client.get(f"{served.url}episode/none").status_code == 404
        assert not Store.open(served.store.path).annotations()[episode].marked
