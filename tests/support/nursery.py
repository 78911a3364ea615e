"""Real servers, each a process of its own that starts in no time; and what is done to them.

A nursery is one process that has imported everything, and forks a server whenever it is asked for one. A
server can be told when to die, its clock can be set, and its files can be kept from growing.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import importlib
import json
import mmap
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from tutelage.tests.support.small_room import ROOM, SUITE

_START_SECONDS = 200
_OFFSET = struct.Struct("d")
_ADDRESS = re.compile(r"http://(127\.0\.0\.1:\d+)/")


class Nursery:
    """Starts servers; a context, which ends those that still run."""

    def __init__(self) -> None:
        program = "from tutelage.tests.support.nursery import nurse; nurse()"
        self._process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, text=True)
        self._notes = Path(tempfile.mkdtemp(prefix="tutelage-nursery-"))
        self._servers: list[Server] = []

    def start(self, kind: str, folder: Path, **wishes: Any) -> Server:
        """Start the next server on a folder; returns when it listens, or has ended instead.

        A "recorder" serves a suite into the folder, a "study" the study file in it. Wishes: `fuse`, the
        number of the commit at which it dies; `after`, whether that commit is still made; `suite`, the
        document of a recorder's suite; `imports`, a module that registers environments; `environment`,
        variables; `options` of `Settings` or `serve_study`.
        """
        assert self._process.stdin is not None
        server = Server(folder, self._notes / str(len(self._servers)))
        order = {"kind": kind, "folder": str(folder), "notes": str(server.notes), **wishes}
        print(json.dumps(order), file=self._process.stdin, flush=True)
        self._servers.append(server)
        until(lambda: server.pid, _START_SECONDS)
        until(lambda: server.address or not server.is_alive, _START_SECONDS)
        return server

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.kill()
        self._process.communicate(timeout=30)
        shutil.rmtree(self._notes)


class Server:
    """One process of a nursery; `notes` is where its log and its clock are."""

    def __init__(self, folder: Path, notes: Path) -> None:
        self.folder = folder
        self.notes = notes
        notes.mkdir()
        (notes / "clock").write_bytes(_OFFSET.pack(0.0))

    @property
    def log(self) -> str:
        """All that the server has printed and logged."""
        with contextlib.suppress(FileNotFoundError):
            return (self.notes / "log").read_text(errors="replace")
        return ""

    @property
    def pid(self) -> int:
        with contextlib.suppress(FileNotFoundError):
            return int((self.notes / "pid").read_text() or 0)
        return 0

    @property
    def address(self) -> str:
        found = _ADDRESS.search(self.log)
        return found[1] if found else ""

    @property
    def is_alive(self) -> bool:
        return psutil.pid_exists(self.pid)

    @property
    def megabytes(self) -> float:
        """The memory that the process has."""
        return float(psutil.Process(self.pid).memory_info().rss) / 1e6

    @property
    def complaints(self) -> list[str]:
        """The lines of the log that no server should ever write."""
        bad = re.compile(r"Traceback|^ERROR|^Fatal|^CRITICAL")
        return [line for line in self.log.splitlines() if bad.search(line)]

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Kill the process, if it still lives, and wait until it is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, how)
        self.gone()

    def stop(self) -> None:
        """End the process as Ctrl-C does, and wait until it is gone."""
        self.kill(signal.SIGINT)

    def gone(self, seconds: float = 60) -> None:
        """Wait until the process is gone; one that stays says where each of its threads is."""
        try:
            until(lambda: not self.is_alive, seconds)
        except AssertionError:
            length = len(self.log)
            os.kill(self.pid, signal.SIGUSR1)
            until(lambda: len(self.log) > length)
            time.sleep(0.5)  # it is being written
            raise AssertionError(f"it did not end\n{self.log}") from None

    def set_clock(self, seconds: float) -> None:
        """Let the process believe that it is so much later than it is."""
        with (self.notes / "clock").open("r+b") as file:
            file.write(_OFFSET.pack(seconds))

    def limit_files(self, size: int) -> None:
        """Let no file of the process grow beyond a size, as on a full disk; -1 for no limit."""
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (size, -1))


def until(true: Callable[[], object], seconds: float = 60) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def nurse() -> None:
    """Import everything; then fork a server for each line that comes in."""
    _adjust_clock()
    from tutelage.crowd.recruiting import prolific_webhook
    from tutelage.crowd.seats import free_choice
    from tutelage.crowd.server import study_app, study_services
    from tutelage.crowd.studies import study_file
    from tutelage.datasets.store import Store
    from tutelage.envs.registry import registry

    _ = study_services, free_choice, prolific_webhook, study_app, study_file, Store
    registry()
    asyncio.run(_warm_up())
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # whoever ends is not waited for
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin:
        if not os.fork():
            order = json.loads(line)
            try:
                _serve(order, Path(order["folder"]), Path(order["notes"]))
            finally:
                sys.stdout.flush()
                os._exit(0)


async def _warm_up() -> None:
    """Take a step, so that no server has to load the kernels of grid worlds."""
    from tutelage.crowd.hosting.grid_host import GridHost, SharedGridLevel
    from tutelage.crowd.storage.journal_records import EpisodeRecord
    from tutelage.envs.suite import suite_from

    task = suite_from({"suite": "warm", "tasks": [ROOM]})["room"]
    world = GridHost(SharedGridLevel(task))
    await world.begin(EpisodeRecord("seat", "ann", "warm", task.id, task.env, 0, b""))
    await world.act(np.zeros(1), 0, 0, 0)
    await world.draw()


def _serve(order: dict[str, Any], folder: Path, notes: Path) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    log = os.open(notes / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(log, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    faulthandler.register(signal.SIGUSR1)
    _read_clock(notes / "clock")
    if "fuse" in order:
        _lay_fuse(order["fuse"], order["after"])
    os.environ.update(order.get("environment", {}))
    (notes / "pid.new").write_text(str(os.getpid()))
    (notes / "pid.new").rename(notes / "pid")
    from tutelage.errors import TutelageError

    if "imports" in order:
        importlib.import_module(order["imports"])
    try:
        if order["kind"] == "study":
            _serve_study(folder, order.get("options", {}))
        else:
            _serve_recorder(order.get("suite", SUITE), folder, order.get("options", {}))
    except TutelageError as error:
        print(f"refused: {error}")


def _serve_recorder(document: dict[str, Any], folder: Path, options: dict[str, Any]) -> None:
    from tutelage.crowd.seats.recorder import Recorder
    from tutelage.crowd.server.recorder_app import listen, make_server, stopped_by_signals
    from tutelage.crowd.settings import Settings
    from tutelage.envs.suite import suite_from

    with listen("127.0.0.1", 0) as listening:
        server = make_server(Recorder(Settings(suite_from(document), folder, **options)))

        def stop() -> None:
            server.should_exit = True

        with stopped_by_signals(stop):
            print(f"Play at http://127.0.0.1:{listening.getsockname()[1]}/", flush=True)
            server.run(sockets=[listening])


def _serve_study(folder: Path, options: dict[str, Any]) -> None:
    from tutelage.crowd.server.study_app import serve_study
    from tutelage.crowd.studies.study_file import examine

    study, controls, wrong = examine(folder / "pilot.yaml")
    assert study is not None, wrong
    serve_study(study, folder / "out", controls, port=0, say=lambda text: print(text, flush=True), **options)


def _lay_fuse(number: int, after: bool) -> None:
    """Let this process die at a commit of its database: in front of it, or behind."""
    from sqlalchemy.engine.default import DefaultDialect

    commit, left = DefaultDialect.do_commit, iter(range(number - 1, -1, -1))

    def do_commit(self: Any, connection: Any) -> None:
        is_last = next(left) == 0
        if is_last and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        commit(self, connection)
        if is_last:
            os.kill(os.getpid(), signal.SIGKILL)

    DefaultDialect.do_commit = do_commit  # type: ignore[method-assign]


_clock: list[Callable[[], float]] = []


def _adjust_clock() -> None:
    """Put a clock that can be set before everything that tells the time; the steady one stays as it is."""
    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() + (_clock[0]() if _clock else 0.0)
    time.time_ns = lambda: now_ns() + (int(_clock[0]() * 1e9) if _clock else 0)


def _read_clock(path: Path) -> None:
    with path.open("rb") as file:
        offset = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    _clock.append(lambda: float(_OFFSET.unpack(offset[:])[0]))


@contextlib.contextmanager
def serving(nursery: Nursery, kind: str, folder: Path, **wishes: Any) -> Iterator[Server]:
    """Run one server for a while, and see that it never complained."""
    server = nursery.start(kind, folder, **wishes)
    try:
        yield server
    finally:
        server.stop()
    assert server.complaints == [], server.log
