"""Commands as real processes that start in no time: forked from a process that has imported everything."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
from tutelage.tests.support.command_line import NEEDED

_START_SECONDS = 60
_IMPORTED = (
    *NEEDED,
    "tutelage.agents.training.self_imitation",
    "tutelage.cli.demo",
    "tutelage.datasets.quality.quality_table",
    "tutelage.crowd.server.recorder_app",
    "tutelage.envs.preflight",
    "tutelage.tests.support.toy_slow_pole",
    "matplotlib.pyplot",
)


class Forge:
    """Starts commands; a context, which ends those that still run."""

    def __init__(self, notes: Path, imported: Sequence[str] = _IMPORTED) -> None:
        program = f"from tutelage.tests.support.forked_commands import forge; forge({tuple(imported)!r})"
        self._process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, text=True)
        self._notes, self._commands = notes, list[Command]()

    def start(self, *words: str | Path, environment: dict[str, str] | None = None) -> Command:
        """Start `tutelage WORDS` in a session of its own, as a terminal does for a foreground job."""
        assert self._process.stdin is not None
        command = Command(self._notes / str(len(self._commands)))
        order = {
            "words": list(map(str, words)),
            "notes": str(command.notes),
            "environment": environment or {},
        }
        print(json.dumps(order), file=self._process.stdin, flush=True)
        self._commands.append(command)
        until(lambda: command.pid, _START_SECONDS)
        return command

    def __enter__(self) -> Forge:
        return self

    def __exit__(self, *_: object) -> None:
        for command in self._commands:
            for process in command.family():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        self._process.communicate(timeout=60)


class Command:
    """One command; `notes` is where its output and its status go."""

    def __init__(self, notes: Path) -> None:
        self.notes = notes
        notes.mkdir()

    @property
    def pid(self) -> int:
        return int(self._read("pid") or 0)

    @property
    def out(self) -> str:
        return self._read("out")

    @property
    def errors(self) -> str:
        return self._read("errors")

    @property
    def status(self) -> int | None:
        """The exit status, negative where a signal ended it; None while it runs."""
        text = self._read("status")
        return int(text) if text else None

    def family(self) -> list[psutil.Process]:
        """The process and all that it has started, in whatever session they are."""
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.pid)
            return [process, *process.children(recursive=True)]
        return []

    def wait_for(self, text: str, seconds: float = 60) -> None:
        """Wait until it has printed a text."""
        until(lambda: text in self.out + self.errors or self.status is not None, seconds)
        assert text in self.out + self.errors, f"status {self.status}: {self.out}{self.errors}"

    def stop(self, number: signal.Signals, *, group: bool, seconds: float) -> list[psutil.Process]:
        """Send a signal, and wait until it has ended; returns what still runs of all that it had started."""
        family = self.family()
        os.killpg(self.pid, number) if group else os.kill(self.pid, number)
        until(lambda: self.status is not None, seconds)
        return [process for process in family if process.is_running() and process.status() != "zombie"]

    def _read(self, name: str) -> str:
        with contextlib.suppress(FileNotFoundError):
            return (self.notes / name).read_text()
        return ""


def until(true: Callable[[], object], seconds: float) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.005)


def forge(imported: Sequence[str]) -> None:
    """Import what is needed; then fork a command for each line that comes in, and write down how it ended."""
    for name in imported:
        importlib.import_module(name)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    running: dict[int, Path] = {}

    def reap(*_: Any) -> None:
        while running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            _write(running.pop(pid) / "status", str(os.waitstatus_to_exitcode(status)))

    signal.signal(signal.SIGCHLD, reap)
    for line in sys.stdin:
        order = json.loads(line)
        notes = Path(order["notes"])
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        if pid := os.fork():
            running[pid] = notes
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        else:
            _run(order, notes)


def _run(order: dict[str, Any], notes: Path) -> None:
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, "out"), (2, "errors")):
        os.dup2(os.open(notes / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.environ.update(order["environment"])
    sys.argv = ["tutelage", *order["words"]]
    _write(notes / "pid", str(os.getpid()))
    from tutelage.cli.main import main
    from tutelage.console.signals import signals
    from tutelage.datasets.workers.parallel import spread
    from tutelage.tests.support.toy_slow_pole import stay_with_a_page

    status: Any = 1
    try:
        if order["words"][0] == "pages":  # no verb, but what several have in common
            with signals.installed():
                list(spread(stay_with_a_page, [order["words"][1]] * 2, workers=2))
        else:
            main()
    except SystemExit as error:
        status = error.code
    except KeyboardInterrupt:
        status = signals.status
    finally:
        sys.stdout.flush()
        if sys.exc_info()[0] is not None:
            sys.excepthook(*sys.exc_info())
        # as Python ends a process: what is registered with `atexit` runs, threads are waited for
        import atexit
        import threading

        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 1)


def _write(path: Path, text: str) -> None:
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").rename(path)
