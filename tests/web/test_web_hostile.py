"""A page that was trusted to run still reaches nothing: no network, no file outside of its folder."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tutelage.envs.trust import trust
from tutelage.envs.web.actions import Action
from tutelage.envs.web.browser import Browser
from tutelage.envs.web.devtools import BrowserLost, Call
from tutelage.envs.web.environment import WebEnv
from tutelage.envs.web.vector import reset_many, step_many
from tutelage.tests.web.hostile import OUTSIDE, READING, SENDING, Listeners, write_page
from tutelage.tests.web.showing import at

TARGETS = ("file://{outside}", "../outside.txt", "..%2foutside.txt", "link.txt", "/etc/hostname")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a trusted folder of pages, with a file outside of it and a link to that file inside."""
    base = tmp_path_factory.mktemp("hostile")
    pages = base / "pages"
    pages.mkdir()
    trust([pages])
    Image.new("RGB", (7, 7)).save(pages / "mine.png")
    (pages / "worker.js").write_text("")
    for name in ("outside.txt", "outside.txt.png"):
        Image.new("RGB", (3, 3)).save(base / name, "PNG")
    (base / "outside.txt").write_text(f"/* {OUTSIDE} */")
    for name in ("link.txt", "link.txt.png"):
        (pages / name).symlink_to(base / name.replace("link", "outside"))
    return pages


def play(envs: list[WebEnv]) -> list[tuple[str, float]]:
    """Let every page do what it does; returns what it tells then, and the reward of its honest button."""
    begun = [seen for seen, _ in reset_many(envs, [0] * len(envs))]
    buttons = [at(seen, id="go") for seen in begun]
    step_many(envs, [Action("hover", button) for button in buttons])
    waited = begun
    for _ in range(25):
        waited = [one[0] for one in step_many(envs, [Action("wait", amount=1000)] * len(envs))]
        if all(one["instruction"].endswith(".") for one in waited):
            break
    buttons = [at(seen, id="go") for seen in waited]
    ended = step_many(envs, [Action("click", button) for button in buttons])
    return [(seen["instruction"], one[1]) for seen, one in zip(waited, ended, strict=True)]


def end(browser: Browser) -> None:
    """End a browser in order, so that whatever it had begun has been sent when this returns."""

    def conversation() -> Any:
        yield [Call("Browser.close")]

    process = browser.process
    assert process is not None
    try:
        browser.talk_alone(conversation())
    except BrowserLost:
        pass
    process.wait(30)


@pytest.fixture(scope="module")
def sent(folder: Path) -> Iterator[tuple[set[str], dict[str, tuple[str, float]]]]:
    """Give the names of what arrived anywhere, and what each page told and earned."""
    browser = Browser()
    with Listeners(list(SENDING)) as listeners:
        envs = []
        for name, code in SENDING.items():
            page = write_page(folder, name, code.replace("PORT", str(listeners.ports[name])))
            envs.append(WebEnv(str(page), browser=browser))
        played = dict(zip(SENDING, play(envs), strict=True))
        end(browser)
        browser.close()
        yield listeners.heard, played


@pytest.mark.parametrize("name", SENDING)
def test_nothing_leaves_and_the_honest_part_of_the_page_works(
    sent: tuple[set[str], dict[str, tuple[str, float]]], name: str
) -> None:
    heard, played = sent
    assert name not in heard
    instruction, reward = played[name]
    assert instruction == "press go 7 ."
    assert reward == 1


def test_the_listeners_hear_what_does_arrive() -> None:
    with Listeners(["stream", "packet"]) as listeners:
        socket.create_connection(("127.0.0.1", listeners.ports["stream"])).close()
        with socket.socket(type=socket.SOCK_DGRAM) as one:
            one.sendto(b"x", ("127.0.0.1", listeners.ports["packet"]))
        until = time.monotonic() + 10
        while listeners.heard != {"stream", "packet"}:
            assert time.monotonic() < until


@pytest.fixture(scope="module")
def told(folder: Path) -> Iterator[dict[tuple[str, str], tuple[str, float]]]:
    """Give what each page could tell of each target, and the reward of its honest button."""
    browser = Browser()
    envs, keys = [], []
    for place, target in enumerate(TARGETS):
        aimed = target.format(outside=folder.parent / "outside.txt")
        for name, code in READING.items():
            page = write_page(folder, f"{name}-{place}", code.replace("TARGET", aimed).replace("WORDS", OUTSIDE))
            envs.append(WebEnv(str(page), browser=browser))
            keys.append((name, target))
    yield dict(zip(keys, play(envs), strict=True))
    browser.close()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", READING)
def test_nothing_outside_of_the_folder_is_read(
    told: dict[tuple[str, str], tuple[str, float]], name: str, target: str
) -> None:
    assert told[name, target] == ("press go 7 .", 1)


def test_what_lies_in_the_folder_is_read(folder: Path, browser: Browser) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "own words.txt").write_text("own words")
    env = WebEnv(str(write_page(folder, "own", READING["fetch"].replace("TARGET", "sub/own%20words.txt"))), browser=browser)
    assert play([env]) == [("press go 7 own words.", 1)]
    env.close()
