"""A study over real sockets, and what a page of it knows: for tests without a browser."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from tutelage.crowd.server.host_names import AllowedHosts
from tutelage.crowd.server.recorder_app import listen
from tutelage.crowd.server.study_app import make_server
from tutelage.crowd.server.study_services import StudyServices
from tutelage.crowd.studies.study_server import StudyServer
from tutelage.tests.support.toy_study import serve
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

KEYS = ("ArrowLeft", "ArrowDown", "ArrowRight", "ArrowUp")
ACROSS = [KEYS[action] for action in (1, 1, 2, 2, 1, 2)]


@contextlib.contextmanager
def running(
    folder: Path, host: str = "127.0.0.1", named: str = "", **changes: Any
) -> Iterator[tuple[StudyServer, str]]:
    """Serve a study with its dashboard in a thread of this process; gives the server and `host:port`.

    It listens at `host`, and people find it at the address `named`.
    """
    server = serve(folder, **changes)
    with listen(host, 0) as listening:
        office = StudyServices(server)
        uvicorn = make_server(server, AllowedHosts(named), proof=office.proof, extra_routes=office.routes())
        thread = threading.Thread(target=uvicorn.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield server, f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            uvicorn.should_exit = True
            thread.join()


def browser(address: str, **options: Any) -> httpx.Client:
    return httpx.Client(base_url=f"http://{address}", **{"timeout": 60, "verify": False, **options})


def enter(client: httpx.Client, path: str) -> httpx.Response:
    """Open a link as a browser does: where its page asks to be let in, give what it was answered."""
    opened = client.get(path)
    if opened.status_code != 200 or "/static/join.js" not in opened.text:
        return opened
    return ask(client, path)


def ask(client: httpx.Client, path: str) -> httpx.Response:
    """Ask to be let in, as the page of a link does."""
    return client.post(path, headers={"Origin": str(client.base_url).rstrip("/")})


class Page:
    """What a page knows: the last `way` and `state`, the number of frames, and why it was closed."""

    def __init__(self, address: str, client: httpx.Client, query: str = "?page=a") -> None:
        cookies = "; ".join(f"{one.name}={one.value}" for one in client.cookies.jar)
        headers = {"Cookie": cookies, "Origin": f"http://{address}"}
        self._opening = connect(f"ws://{address}/socket{query}", additional_headers=headers, open_timeout=60)
        self.socket: ClientConnection = self._opening.__enter__()
        self.way: dict[str, Any] = {}
        self.state: dict[str, Any] = {}
        self.told: list[dict[str, Any]] = []

    def __enter__(self) -> Page:
        self.wait("way")
        return self

    def __exit__(self, *error: Any) -> None:
        self._opening.__exit__(*error)

    def send(self, kind: str, **values: Any) -> None:
        self.socket.send(json.dumps({"type": kind, **values}))

    def wait(self, kind: str) -> dict[str, Any]:
        while True:
            message = self.socket.recv(timeout=60)
            if isinstance(message, bytes):
                continue
            parsed: dict[str, Any] = json.loads(message)
            self.told.append(parsed)
            if parsed["type"] in ("way", "state"):
                setattr(self, parsed["type"], parsed)
            if parsed["type"] == kind:
                return parsed

    def until(self, **wanted: Any) -> dict[str, Any]:
        while any(self.way.get(key) != value for key, value in wanted.items()):
            self.wait("way")
        return self.way

    def press(self, codes: list[str]) -> None:
        for code in codes:
            self.send("down", code=code, frame=0)
            self.send("up", code=code)

    def closed(self) -> int:
        """Read on until the server closes; returns why."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                self.socket.recv(timeout=60)
        assert self.socket.close_code is not None
        self.socket.close()
        return self.socket.close_code

    def to_the_tasks(self) -> None:
        self.send("consent", given=True)
        self.until(stage="instructions")
        self.send("ready")
        self.until(stage="practice")
        self.press(ACROSS)
        self.until(enough=True)
        self.send("next")
        self.until(stage="check")
        self.send("answers", chosen=[0])
        self.until(stage="play", outcome=None)
