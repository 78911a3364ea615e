"""`kill -9` at random moments: what the page was told is saved is on disk, and the episode goes on."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from tutelage.datasets.crowd.worlds.frames import unpack
from tutelage.datasets.store import Store
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import ClientConnection, connect

SERVERS = """
import os, sys
from pathlib import Path
from tutelage.datasets.crowd.app import record
from tutelage.envs.gymnasium_task import registry
from tutelage.envs.suite import suite_from
keys = {"ArrowLeft": 0, "ArrowDown": 1, "ArrowRight": 2, "ArrowUp": 3}
task = {"id": "lake", "env": "FrozenLake-v1", "kwargs": {"map_name": "8x8"}, "controls": keys}
suite = suite_from({"suite": "small", "tasks": [task]})
registry()
for _ in sys.stdin:
    child = os.fork()
    if not child:
        print(os.getpid(), flush=True)
        record(suite, Path(sys.argv[1]), port=0, open_browser=False)
        os._exit(0)
    os.waitpid(child, 0)
"""
KEYS = ("ArrowLeft", "ArrowDown", "ArrowRight", "ArrowUp")


class Player:
    """Plays at random, and remembers what was done and what the server said is saved."""

    def __init__(self, rng: random.Random) -> None:
        self.cookie = ""
        self.actions: dict[str, list[int]] = {}
        self.saved: dict[str, int] = {}
        self.kept: set[str] = set()
        self.steps = 0
        self._last = 0
        self._rng = rng
        self._state: dict[str, Any] = {}

    def play(self, address: str, moves: int, then: Callable[[], None]) -> None:
        """Play until the server is gone; call `then` after so many moves, and play on."""
        self.cookie = self.cookie or httpx.get(f"http://{address}/").headers["set-cookie"].split(";")[0]
        headers = {"Cookie": self.cookie, "Origin": f"http://{address}"}
        gone = (ConnectionClosed, InvalidHandshake, OSError, TimeoutError)
        url = f"ws://{address}/socket"
        with contextlib.suppress(*gone), connect(url, additional_headers=headers) as socket:
            self._read(socket, "state")
            self._check_where_we_are()
            for at in count():
                if at == moves:
                    then()
                self._move(socket)

    def _check_where_we_are(self) -> None:
        episode = self._state["episode"]
        if episode is None:
            return
        known = self.actions.setdefault(episode["id"], [])
        # the last steps may have been taken without our hearing of it, or told to us without being saved
        assert self.saved.get(episode["id"], 0) <= episode["step"] <= len(known) + 1
        if episode["step"] > len(known):
            known.append(self._last)
        del known[episode["step"] :]

    def _move(self, socket: ClientConnection) -> None:
        phase, episode = self._state["phase"], self._state["episode"]
        if phase == "playing":
            self._last = self._rng.randrange(4)
            socket.send(json.dumps({"type": "down", "code": KEYS[self._last], "frame": 0}))
            known = self.actions.setdefault(episode["id"], [])
            self._read(socket, "step", "state", step=len(known) + 1)
            known.append(self._last)
            self.steps += 1
        elif phase == "finished":
            name = self._rng.choice(("keep", "keep", "discard", "redo"))
            socket.send(json.dumps({"type": name}))
            self._read(socket, "state")
            if name == "keep":
                self.kept.add(episode["id"])
        else:
            socket.send(json.dumps({"type": "choose", "task": "lake"}))
            self._read(socket, "state")

    def _read(self, socket: ClientConnection, *kinds: str, step: int = 0) -> None:
        """Read on until a message of one of these kinds has come; a frame is a step, the one waited for."""
        while True:
            message = _told(socket.recv(timeout=10))
            if message["type"] == "state":
                self._state = message
            if "saved" in message and self._state.get("episode"):
                name = message.get("episode", self._state["episode"]["id"])
                self.saved[name] = max(self.saved.get(name, 0), message["saved"])
            if message["type"] in kinds and message.get("step", step) >= step:
                return


def _told(message: str | bytes) -> dict[str, Any]:
    if isinstance(message, bytes):
        _, number, saved = unpack(message)
        return {"type": "step", "step": number, "saved": saved}
    told: dict[str, Any] = json.loads(message)
    return told


class Servers:
    """Starts one server after the other, each a process of its own, without importing everything anew."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-c", SERVERS, str(folder)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def start(self) -> tuple[str, int]:
        """Start the next server; gives its address and its process id."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(file=self._process.stdin, flush=True)
        pid, _, line = (self._process.stdout.readline() for _ in range(3))
        return line.split("http://")[1].split("/")[0], int(pid)

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=30)


def in_journal(folder: Path) -> dict[str, list[int]]:
    query = "select episode, json_extract(action, '$[0]') from steps where not dropped order by episode, step"
    found: dict[str, list[int]] = {}
    with contextlib.closing(sqlite3.connect(folder / "journal.sqlite")) as journal:
        for episode, action in journal.execute(query):
            found.setdefault(episode, []).append(int(action))
    return found


def crash_often(folder: Path, times: int) -> Player:
    rng = random.Random(times)
    player = Player(rng)
    with Servers(folder) as servers:
        for at in range(times):
            address, pid = servers.start()
            kill = partial(os.kill, pid, signal.SIGKILL)
            if at % 4 == 3:  # any moment from the start on
                killer = threading.Timer(rng.uniform(0, 0.8), kill)
                killer.start()
                moves = -1
            else:  # any moment of the play
                killer = threading.Timer(rng.uniform(0, 0.05), kill)
                moves = int(rng.expovariate(1 / 10))
            with contextlib.suppress(httpx.TransportError):
                player.play(address, moves, killer.start)
            killer.join()
            on_disk = in_journal(folder)
            for episode, number in player.saved.items():
                assert on_disk.get(episode, [])[:number] == player.actions[episode][:number]
        check_the_store(folder, servers, player.kept)
    return player


def check_the_store(folder: Path, servers: Servers, kept: set[str]) -> None:
    """Let a last server finish what waits; every episode that was kept is stored, and only once."""
    _, pid = servers.start()
    end = time.monotonic() + 30
    while not kept <= set(Store.open(folder).episodes()["episode"].to_pylist()) and time.monotonic() < end:
        time.sleep(0.1)
    os.kill(pid, signal.SIGTERM)
    ids = Store.open(folder).episodes()["episode"].to_pylist()
    assert kept <= set(ids)
    assert len(ids) == len(set(ids))
    assert Store.open(folder).verify() == []


def test_ten_kills_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    player = crash_often(tmp_path, 10)
    assert player.steps > 20


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_two_hundred_kills_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    player = crash_often(tmp_path, 200)
    print(f"{player.steps} steps, {len(player.actions)} episodes, {len(player.kept)} kept")
