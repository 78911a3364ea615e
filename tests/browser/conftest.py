"""A recorder to open pages of, and the system's Chromium to open them in."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright
from tutelage.crowd.seats.recorder import Recorder
from tutelage.crowd.server.recorder_app import listen, make_server
from tutelage.crowd.settings import Settings
from tutelage.crowd.studies.study_server import StudyServer
from tutelage.envs.preflight import rehearse
from tutelage.envs.suite import Suite, load_suite
from tutelage.tests.browser.lake import STUDY, at
from tutelage.tests.support.study_page import running as running_study

expect.set_options(timeout=60_000)  # what is expected comes, however busy the machine is
FLAGS = (
    "--no-sandbox --disable-gpu --disable-background-networking --disable-quic --no-first-run "
    "--disable-component-update --disable-sync"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = (
        shutil.which("chromium-headless-shell")
        or shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    if chromium is None:
        pytest.fail("expected Chromium on the path, found none; install it (apt-get install chromium)")
    with sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=chromium, args=FLAGS.split())
        yield one
        one.close()


@pytest.fixture
def suite() -> Suite:
    return load_suite("first-steps")


_rehearsed: list[object] = []


def rehearse_once(suite: Suite) -> None:
    """Rehearse a suite as the command does, where this process has not yet: a first use compiles for long."""
    if suite.source not in _rehearsed:
        rehearse(suite)
        _rehearsed.append(suite.source)


@pytest.fixture
def running(tmp_path: Path, suite: Suite) -> Callable[..., AbstractContextManager[str]]:
    """Give a way to serve a recorder into the test's folder for a while; gives its address."""

    rehearse_once(suite)

    @contextlib.contextmanager
    def one(port: int = 0, **options: Any) -> Iterator[str]:
        with listen("127.0.0.1", port) as listening:
            server = make_server(Recorder(Settings(suite, tmp_path / "store", **options)))
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
            thread.start()
            try:
                yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
            finally:
                server.should_exit = True
                thread.join()

    return one


@pytest.fixture
def serve(running: Callable[..., AbstractContextManager[str]]) -> Iterator[Callable[..., str]]:
    """Give a way to serve a recorder until the test ends; gives its address."""
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(running(**options))


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Give a way to open a page in a browser profile of its own; what goes wrong in it fails the test."""
    wrong: list[str] = []

    def complain(message: ConsoleMessage) -> None:
        # a server that is away is no mistake of the page
        if message.type == "error" and "ERR_CONNECTION_REFUSED" not in message.text:
            wrong.append(message.text)

    with contextlib.ExitStack() as stack:

        def one(url: str, **options: Any) -> Page:
            context = browser.new_context(**{"viewport": {"width": 1280, "height": 860}, **options})
            stack.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(60_000)
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("console", complain)
            page.on("request", lambda sent: None if sent.url.startswith(url) else wrong.append(sent.url))
            page.goto(url)
            page.wait_for_selector("body:not([data-phase=loading])")
            return page

        yield one
    assert not wrong


@pytest.fixture
def serve_study(tmp_path: Path) -> Callable[..., AbstractContextManager[tuple[StudyServer, str]]]:
    """Give a way to serve the study; again on the same folder, it is the same study."""
    return lambda **changes: running_study(tmp_path, **{**STUDY, **changes})


@pytest.fixture
def join(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Give a way to come by the link in a profile of its own; what goes wrong in it fails the test."""
    wrong: list[str] = []

    def complain(message: ConsoleMessage) -> None:
        if message.type == "error" and "ERR_CONNECTION_REFUSED" not in message.text:
            wrong.append(message.text)

    with contextlib.ExitStack() as stack:

        def one(address: str, **options: Any) -> Page:
            given = {"viewport": {"width": 1280, "height": 860}, "locale": "en-GB", **options}
            context = browser.new_context(**given)
            stack.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(60_000)
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("console", complain)
            own = f"http://{address}/"
            page.on("request", lambda sent: None if sent.url.startswith(own) else wrong.append(sent.url))
            page.goto(f"http://{address}/join")
            assert page.url == f"http://{address}/"
            at(page, "consent")
            return page

        yield one
    assert not wrong
