"""Run verbs of the command line in forked children: what they need is imported once, each starts afresh.

Reads one request a line from stdin, JSON: {"arguments", "folder"}, where `make FOLDER` makes the specimens;
answers one line each: {"status", "seconds", "bytes", "out", "errors"}. `status` is negative where a signal
ended the child, SIGALRM's when it took too long.
"""

from __future__ import annotations

import contextlib
import gc
import http.client
import importlib
import json
import os
import re
import resource
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tutelage.tests.support.command_line import NEEDED, status_of

SECONDS = 60
"""After which a child is ended: many times what is promised, since other work may share the machine."""
_SHOWN = 4000
_NEEDED = (
    *NEEDED,
    "tutelage.crowd.storage.store_repair",
    "tutelage.datasets.quality.quality_table",
    "tutelage.crowd.server.study_app",
)
"""Imported once rather than in a child first, and then here for the next ones."""
_ADDRESS = re.compile(r"http://(127\.0\.0\.1:\d+)\S* ")


def serve() -> None:
    """Answer every request until stdin ends."""
    _import_everything()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), flush=True)


def _import_everything() -> None:
    for name in _NEEDED:
        importlib.import_module(name)
    from tutelage.envs.registry import registry

    registry()
    _compile_kernels()


def _compile_kernels() -> None:
    """Play a step in the grid world: its kernels are compiled, or found in the cache of this home."""
    from tutelage.datasets.replay import Environments
    from tutelage.envs.suite import load_suite

    suite = load_suite("babyai-small")
    with Environments(suite) as environments:
        environment = environments[next(iter(suite)).id]
        environment.reset(0)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    folder = Path(request["folder"])
    began = time.monotonic()
    gc.freeze()  # what is there already is not looked at, so not copied, in the child
    child = os.fork()
    if not child:
        _run(request["arguments"], folder)
    server = threading.Thread(target=_stop_when_it_serves, args=(child, folder / ".stdout"), daemon=True)
    if request["arguments"][0] in ("record", "serve"):
        server.start()
    _, status, used = os.wait4(child, 0)
    _import_what_it_needed(folder / ".modules")
    logs = [path.read_text("utf-8") for path in (folder / ".home").glob("tutelage-*.log")]
    return {
        "defect": "".join(logs)[-_SHOWN:],
        "status": os.waitstatus_to_exitcode(status),
        "seconds": used.ru_utime + used.ru_stime,
        "wall": time.monotonic() - began,
        "bytes": used.ru_maxrss * 1024,
        "out": _read(folder / ".stdout"),
        "errors": _read(folder / ".stderr"),
    }


def _stop_when_it_serves(child: int, told: Path) -> None:
    """Ask a server for its first page as soon as it says where that is; then end it like Ctrl-C."""
    while True:
        try:
            os.kill(child, 0)
            if match := _ADDRESS.search(_read(told)):
                break
        except ProcessLookupError:
            return
        except FileNotFoundError:
            pass
        time.sleep(0.02)
    with contextlib.suppress(OSError, http.client.HTTPException):
        connection = http.client.HTTPConnection(match[1], timeout=20)
        connection.request("GET", "/")
        connection.getresponse().read()
        connection.close()
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGTERM)


def _import_what_it_needed(listed: Path) -> None:
    """Import what a child had to import itself: the next one finds it there."""
    names = listed.read_text("utf-8").split() if listed.exists() else []
    for name in names:
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def _read(path: Path) -> str:
    return path.read_text("utf-8", errors="replace")[-_SHOWN:]


def _run(arguments: list[str], folder: Path) -> None:
    """Be the child: run one verb in a folder, and never return."""
    status = 99
    try:
        signal.alarm(SECONDS)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for number, name in ((1, ".stdout"), (2, ".stderr")):
            os.dup2(os.open(folder / name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(folder)
        home = folder / ".home"
        home.mkdir(exist_ok=True)
        os.environ |= {"HOME": str(home), "TMPDIR": str(home), "XDG_STATE_HOME": str(home)}
        os.environ |= {"XDG_CACHE_HOME": str(home), "COLUMNS": "120"}
        tempfile.tempdir = str(home)
        sys.argv = ["tutelage", *arguments]
        there = {*sys.modules}
        main: Callable[[], object]
        if arguments[0] == "make":
            from tutelage.tests.support import fuzz_makers

            signal.alarm(0)
            main = partial(fuzz_makers.make, Path(arguments[1]))
        else:
            from tutelage.cli.main import main as command_line

            main = command_line
        status = status_of(main)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        (folder / ".modules").write_text("\n".join(sys.modules.keys() - there), "utf-8")
        os._exit(status)


if __name__ == "__main__":
    serve()
