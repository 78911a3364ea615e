"""A page that was trusted to run still reaches nothing: no network, no file outside of its folder."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tutelage.envs.web.actions import WebAction
from tutelage.envs.web.browser import Browser
from tutelage.envs.web.devtools import Conversation, DevToolsCall
from tutelage.envs.web.environment import WebEnv
from tutelage.errors import TutelageError
from tutelage.foreign_code.trust import trust
from tutelage.tests.envs.web.hostile import ASKING, OUTSIDE, READING, SENDING, Listeners, aimed, write_page
from tutelage.tests.envs.web.showing import at

EARLY = ("location", "refresh", "window", "form", "form_in_a_window", "webrtc", "frame", "worker", *ASKING)
"""What is tried while a page is loaded, too: before most of our own script runs."""
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


def playing(env: WebEnv) -> Conversation[tuple[str, float]]:
    """Let a page do what it does; returns what it tells then, and the reward of its honest button."""
    try:
        seen, _ = yield from env.beginning(0)
        seen, *_ = yield from env.acting(WebAction("hover", at(seen, id="go")))
        for _ in range(500):
            if seen["instruction"].endswith("."):
                break
            seen, *_ = yield from env.acting(WebAction("wait", amount=1))
        _, reward, *_ = yield from env.acting(WebAction("click", at(seen, id="go")))
    except TutelageError as error:
        return f"lost: {error}", 0.0
    return seen["instruction"], reward


def play(browser: Browser, pages: list[Path]) -> list[tuple[str, float]]:
    """Play each page in a tab of its own, see `playing`."""
    return browser.talk([playing(WebEnv(str(page), browser=browser)) for page in pages])


def end(browser: Browser) -> None:
    """End a browser in order, so that whatever it had begun has been sent when this returns."""

    def conversation() -> Any:
        yield [DevToolsCall("Browser.close")]

    process = browser.process
    assert process is not None
    browser.talk_alone(conversation())
    process.wait(30)
    browser.close()


@pytest.fixture(scope="module")
def sent(folder: Path) -> Iterator[tuple[set[str], dict[str, tuple[str, float]]]]:
    """Give the names of what arrived anywhere, and what each page told and earned."""
    browser = Browser()
    tried = {name: (code, False) for name, code in (SENDING | ASKING).items()}
    tried |= {f"early {name}": ((SENDING | ASKING)[name], True) for name in EARLY}
    with Listeners(list(tried)) as listeners:
        pages = [
            write_page(folder, name, aimed(code, listeners.ports[name]), is_early)
            for name, (code, is_early) in tried.items()
        ]
        played = dict(zip(tried, play(browser, pages), strict=True))
        end(browser)
        yield listeners.heard, played


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SENDING, *ASKING, *(f"early {name}" for name in EARLY)])
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
        with socket.socket(type=socket.SOCK_DGRAM) as sender:
            sender.sendto(b"x", ("127.0.0.1", listeners.ports["packet"]))
        until = time.monotonic() + 10
        while listeners.heard != {"stream", "packet"}:
            assert time.monotonic() < until


def test_the_browser_itself_reaches_nothing_where_nobody_answers_for_a_page() -> None:
    browser = Browser()
    with Listeners(["navigation", "webrtc"]) as listeners:
        browser.talk_alone(bare_tab(listeners.ports))
        end(browser)
        assert listeners.heard == set()


def bare_tab(ports: dict[str, int]) -> Conversation[None]:
    """Open a tab without all that `Tab` does, and let it reach out until it has been told that it cannot."""
    (target,) = yield [DevToolsCall("Target.createTarget", {"url": "about:blank"})]
    (tab,) = yield [DevToolsCall("Target.attachToTarget", {"targetId": target["targetId"], "flatten": True})]
    gathered = (
        f"{{ {aimed(SENDING['webrtc'], ports['webrtc'])} new Promise((done) => {{"
        "p.onicegatheringstatechange = () => p.iceGatheringState === 'complete' && done(); }) }"
    )
    params = {"expression": gathered, "awaitPromise": True}
    (answer,) = yield [DevToolsCall("Runtime.evaluate", params, tab["sessionId"])]
    assert "exceptionDetails" not in answer
    url = f"http://127.0.0.1:{ports['navigation']}/"
    (answer,) = yield [DevToolsCall("Page.navigate", {"url": url}, tab["sessionId"])]
    assert "errorText" in answer


@pytest.fixture(scope="module")
def told(folder: Path) -> dict[tuple[str, str], tuple[str, float]]:
    """Give what each page could tell of each target, and the reward of its honest button."""
    pages = {}
    for place, target in enumerate(TARGETS):
        path = target.format(outside=folder.parent / "outside.txt")
        for name, code in READING.items():
            code = code.replace("TARGET", path).replace("WORDS", OUTSIDE)
            pages[name, target] = write_page(folder, f"{name}-{place}", code)
    browser = Browser()
    played = play(browser, list(pages.values()))
    browser.close()
    return dict(zip(pages, played, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", READING)
def test_nothing_outside_of_the_folder_is_read(
    told: dict[tuple[str, str], tuple[str, float]], name: str, target: str
) -> None:
    assert told[name, target] == ("press go 7 .", 1)


def test_what_lies_in_the_folder_is_read(folder: Path, browser: Browser) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "own words.txt").write_text("own words")
    page = write_page(folder, "own", READING["fetch"].replace("TARGET", "sub/own%20words.txt"))
    assert play(browser, [page]) == [("press go 7 own words.", 1)]
