"""Servers of a small study, each a process of its own, and strangers who play there over real sockets."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx
import psycopg
from tutelage.crowd.hosting.frame_codec import unpack
from tutelage.datasets.store import Store
from tutelage.tests.support.forked_commands import Forge, until
from tutelage.tests.support.toy_study import ACROSS, KEYS, write
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage
from websockets.sync.client import ClientConnection, connect

GONE = (ConnectionClosed, InvalidHandshake, InvalidMessage, OSError, TimeoutError, httpx.HTTPError)
CODES = list(KEYS)
TUTELAGE = str(Path(sys.executable).parent / "tutelage")
SECRET = "5ec4e7" * 10 + "0000"
ADMIN = "who-runs-this-study-" + "a" * 20


@lru_cache(maxsize=1)
def _forge() -> Forge:
    """Return what starts servers in this process of tests."""
    with contextlib.ExitStack() as stack:
        notes = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tutelage-servers-")))
        forge = stack.enter_context(
            Forge(notes, ("tutelage.cli.main", "tutelage.crowd.server.study_app", "psycopg"))
        )
        atexit.register(stack.pop_all().close)
    return forge


class Server:
    """One `tutelage serve`. It may be killed, stopped in its tracks, and started again on the same folder."""

    def __init__(self, command: Sequence[str], out: Path, port: int = 0, **environment: str) -> None:
        assert command[0] == TUTELAGE
        self.out = out
        self._words = list(command[1:])
        self._port = port
        self._environment = {
            "TUTELAGE_SECRET": SECRET,
            "TUTELAGE_ADMIN_TOKEN": ADMIN,
            "OMP_NUM_THREADS": "1",
            **environment,
        }
        self.start()

    def start(self) -> None:
        """Start the process; `address` waits for it."""
        self.process = _forge().start(*self._words, environment=self._environment)

    @property
    def address(self) -> str:
        """The host and port where it listens, as it says itself."""
        deadline = time.monotonic() + 60
        while "People join at" not in (printed := self.process.out):
            assert self.process.status is None, f"the server ended: {self.process.errors}"
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.05)
        return f"127.0.0.1:{self._port}" if self._port else printed.split("http://")[1].split("/")[0]

    @property
    def printed(self) -> str:
        """All that it has printed and logged since it was started."""
        return self.process.out + self.process.errors

    def kill(self) -> None:
        """Send the signal that cannot be answered."""
        self.signal(signal.SIGKILL)
        until(lambda: self.process.status is not None, 60)

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def close(self) -> None:
        """End it as an administrator does, and say so when it does not end."""
        if self.process.status is None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            until(lambda: self.process.status is not None, 20)

    def episodes(self) -> list[str]:
        """List what its store holds."""
        return list(Store.open(self.out).episodes()["episode"].to_pylist())


@contextlib.contextmanager
def servers(folder: Path, url: str, count: int, *options: str, **changes: Any) -> Iterator[list[Server]]:
    """Serve a small study by several servers on one database until the block ends."""
    study = write(folder, **{"people": 40, "check": None, "practice": None, **changes})
    started = []
    for out in [folder / f"server-{at}" for at in range(count)]:
        command = [TUTELAGE, "serve", str(study), "--out", str(out), "--port", "0", *options]
        started.append(Server(command, out, TUTELAGE_DATABASE=url))
    with running(started):
        yield started


@contextlib.contextmanager
def running(servers: list[Server]) -> Iterator[None]:
    """Wait for servers that have been started, and end them when the block does."""
    try:
        assert all(one.address for one in servers)
        yield
    finally:
        for one in servers:
            one.close()


class Stranger:
    """Somebody who plays, and remembers what they did and what they were told is saved."""

    def __init__(self, query: str = "") -> None:
        self.query = query
        self.cookie = ""
        self.page = os.urandom(4).hex()
        self.done: dict[str, int] = {}
        self.saved: dict[str, int] = {}
        self.state: dict[str, Any] = {}
        self.way: dict[str, Any] = {}
        self.finished: set[str] = set()

    def join(self, address: str, **options: Any) -> None:
        """Follow the link."""
        scheme = "https" if "verify" in options else "http"
        with httpx.Client(base_url=f"{scheme}://{address}", timeout=60, **options) as browser:
            answer = browser.get(f"/join{self.query}")
            if answer.status_code == 200:  # a link for one person: its page asks
                origin = {"Origin": f"{scheme}://{address}"}
                answer = browser.post(f"/join{self.query}", headers=origin)
                assert answer.json() == {"state": "in"}
            else:
                assert answer.status_code == 303, answer.text
        self.cookie = answer.headers["set-cookie"].split(";")[0]

    @contextlib.contextmanager
    def at(self, address: str, take: bool = False, **options: Any) -> Iterator[ClientConnection]:
        """Open the page's socket at a server, and read where we are."""
        scheme, web = ("wss", "https") if "ssl" in options else ("ws", "http")
        headers = {"Cookie": self.cookie, "Origin": f"{web}://{address}"}
        url = f"{scheme}://{address}/socket?page={self.page}{'&take' if take else ''}"
        with connect(url, additional_headers=headers, open_timeout=60, **options) as socket:
            self.state, self.way, known = {}, {}, dict(self.done)
            while not (self.state and self.way):
                self.read(socket)
            self._look_where_we_are(known)
            yield socket

    def play(self, socket: ClientConnection, steps: int, then: Callable[[], None] = lambda: None) -> int:
        """Go on until so many steps were taken or all is done; returns how many were."""
        taken = 0
        while taken < steps and self.way.get("stage") != "done":
            taken += self.move(socket)
        then()
        return taken

    def move(self, socket: ClientConnection) -> bool:
        """Do what comes next; says whether that was a step."""
        stage, episode = self.way["stage"], self.state["episode"]
        if stage == "consent":
            self._say(socket, "consent", given=True)
        elif stage == "instructions":
            self._say(socket, "ready")
        elif stage == "play" and self.state["phase"] == "playing" and episode:
            return self._step(socket, episode["id"])
        elif stage == "play" and self.state["phase"] in ("ready", "paused"):
            self._press(socket, CODES[0])  # which only starts it
            self._wait_for_quiet(socket)
        elif stage in ("play", "rest"):
            self._say(socket, "next")
        return False

    def read(self, socket: ClientConnection, seconds: float = 60) -> str:
        """Take one message; returns its type."""
        text = socket.recv(timeout=seconds)
        if isinstance(text, bytes):
            _, number, saved = unpack(text)
            message: dict[str, Any] = {"type": "step", "step": number, "saved": saved}
        else:
            message = json.loads(text)
        kind = str(message["type"])
        if kind == "state":
            self.state = message
            if message["episode"] is not None:
                self.done[message["episode"]["id"]] = message["episode"]["step"]
        elif kind == "way":
            self.way = message
        elif kind in ("step", "saved") and (episode := self.state.get("episode")) is not None:
            name = message.get("episode", episode["id"])
            self.saved[name] = max(message["saved"], self.saved.get(name, 0))
            if kind == "step":
                self.done[name] = message["step"]
        return kind

    def _say(self, socket: ClientConnection, kind: str, **values: Any) -> None:
        socket.send(json.dumps({"type": kind, **values}))
        self.way = {}
        while not self.way:
            self.read(socket)

    def _step(self, socket: ClientConnection, episode: str) -> bool:
        number, before = self.done.get(episode, 0), self.way
        if number == len(actions(episode)):  # all is done, and what came of it is still to be told
            while not self.way.get("outcome"):
                self.read(socket)
            self.finished.add(episode)
            return False
        is_last = number + 1 == len(actions(episode))
        self.way = {}
        self._press(socket, CODES[actions(episode)[number]])
        while not (self.way.get("outcome") if is_last else self.done.get(episode, 0) > number):
            if self.read(socket) in ("error", "saving"):  # play waits for the database, keys may be overheard
                self._wait_for_quiet(socket)
                break
        self.way = self.way or before
        if is_last and self.way.get("outcome"):
            self.finished.add(episode)
            self.done[episode] = number + 1
        return self.done.get(episode, 0) > number

    def _press(self, socket: ClientConnection, code: str) -> None:
        socket.send(json.dumps({"type": "down", "code": code, "frame": 0}))
        socket.send(json.dumps({"type": "up", "code": code}))

    def _wait_for_quiet(self, socket: ClientConnection) -> None:
        with contextlib.suppress(TimeoutError):
            while True:
                self.read(socket, 0.7)

    def _look_where_we_are(self, known: dict[str, int]) -> None:
        """What was saved must be there; of the last steps, some may be, and others not."""
        if (episode := self.state["episode"]) is not None:
            before = known.get(episode["id"], 0)
            assert self.saved.get(episode["id"], 0) <= episode["step"] <= before + 1


def actions(episode: str) -> list[int]:
    """Return what everybody does in an episode: step on the spot for a while, then cross the lake."""
    return [0] * (int(episode[:2], 16) % 12) + list(ACROSS)


def steps_in(url: str) -> dict[str, list[int]]:
    """Read what the database has: episode → actions in the order of their steps."""
    found: dict[str, list[int]] = {}
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        query = "SELECT episode, step, action FROM steps WHERE NOT dropped ORDER BY episode, step"
        for episode, step, action in connection.execute(query):
            rows = found.setdefault(episode, [])
            rows.append(int(action[0]))
            assert step == len(rows), "a step is missing, or there twice"
    return found


def states_in(url: str) -> dict[str, str]:
    """Read what the database has: episode → state."""
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        return dict(connection.execute("SELECT episode, state FROM episodes").fetchall())


def check(url: str, strangers: list[Stranger]) -> None:
    """Whatever somebody was told is saved is there, once, and as they did it."""
    there = steps_in(url)
    for one in strangers:
        for episode, number in one.saved.items():
            assert len(there.get(episode, ())) >= number
    for episode, rows in there.items():
        assert rows == actions(episode)[: len(rows)]


def check_stores(running: list[Server], strangers: list[Stranger], seconds: float = 45) -> None:
    """Wait until everything that was finished is stored; all of it is, and in one store only."""
    finished = {episode for one in strangers for episode in one.finished}
    deadline = time.monotonic() + seconds
    while not finished <= {episode for one in running for episode in one.episodes()}:
        assert time.monotonic() < deadline, "not everything that was finished is stored"
        time.sleep(0.2)
    stored = [episode for one in running for episode in one.episodes()]
    assert len(stored) == len(set(stored))
    for one in running:
        assert Store.open(one.out).verify() == []
