"""The dashboard's routes: who gets in, what comes out, and what never does."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from tutelage.tests.support.busy import Busy, busy
from tutelage.tests.support.busy_server import Served, serving

CROWD = {"careful": 10, "hostile": 1}
READ = ("figures", "people", "records.zip", "demonstrations.zip")


@pytest.fixture(scope="module")
def busy_study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Busy]:
    with busy(tmp_path_factory.mktemp("busy"), counts=CROWD) as made:
        yield made


@pytest.fixture(scope="module")
def served(busy_study: Busy) -> Iterator[Served]:
    with serving(busy_study) as at:
        yield at


class Browser:
    """A browser of whoever runs the study: keeps its cookie, and says whose page it is."""

    def __init__(self, served: Served) -> None:
        self.url, self.origin = served.url, served.url.removesuffix("/admin")
        self.http = httpx.Client(timeout=60, verify=False)
        self.csrf = ""

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.http.get(f"{self.url}/{path}", **options)

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        sent = {"Origin": self.origin, "X-CSRF-Token": self.csrf, **headers}
        return self.http.post(
            f"{self.url}/{path}", content=body if isinstance(body, bytes) else json.dumps(body), headers=sent
        )

    def arrive(self) -> bool:
        read = self.get("session").json()
        self.csrf = read["csrf"]
        return bool(read["signedIn"])

    def sign_in(self, token: str) -> httpx.Response:
        self.arrive()
        response = self.post("login", {"token": token})
        if response.is_success:
            self.csrf = response.json()["csrf"]
        return response


@pytest.fixture
def open_browser() -> Iterator[Callable[[Served], Browser]]:
    """Give a way to open a browser; all are closed in the end."""
    with contextlib.ExitStack() as stack:

        def make(served: Served) -> Browser:
            made = Browser(served)
            stack.enter_context(made.http)
            return made

        yield make


@pytest.fixture
def browser(served: Served, open_browser: Callable[[Served], Browser]) -> Browser:
    return open_browser(served)


@pytest.fixture
def inside(served: Served, browser: Browser) -> Browser:
    assert browser.sign_in(served.token).is_success
    return browser
