"""The command line as its users meet it, without its start: commands are forked from one that is ready.

`run` is what `subprocess.run([".../tutelage", ...])` would be. What depends on how a process starts
(variables read at import, modules found elsewhere, signals to a group) needs a process of its own.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

NEEDED = (
    "gymnasium.envs.classic_control",
    "gymnasium.envs.toy_text",
    "h5py",
    "minari",
    "rich.progress",
    "tutelage.cli.main",
    "tutelage.agents.training.behavior_cloning",
    "tutelage.agents.evaluation.compare",
    "tutelage.datasets.formats.exchange",
    "tutelage.datasets.inspection",
    "tutelage.crowd.privacy.forgetting",
)
"""What verbs import inside."""


def call(*words: str | Path, status: int = 0) -> str:
    """Call `tutelage WORDS` in this process; returns what it prints, or the error's line for status 2."""
    from tutelage.cli.main import app
    from tutelage.errors import TutelageError
    from typer.testing import CliRunner

    result = CliRunner().invoke(app, [str(word) for word in words])
    if status == 2 and isinstance(result.exception, TutelageError):
        return str(result.exception)
    assert result.exit_code == status, result.output
    return result.stdout


def run(
    *words: str | Path,
    cwd: str | Path | None = None,
    file_bytes: int = -1,
    seconds: float = 200,
    prelude: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run `tutelage WORDS`; returns its status and what it printed.

    No file may grow beyond `file_bytes`, as on a full disk. A command that takes longer than `seconds` is
    ended, which is an AssertionError. `prelude` is Python that its process runs first.
    """
    with tempfile.TemporaryDirectory() as notes:
        order = {
            "words": [str(word) for word in words],
            "cwd": str(cwd or Path.cwd()),
            "environment": dict(os.environ),
            "file_bytes": file_bytes,
            "seconds": seconds,
            "prelude": prelude,
            "notes": notes,
        }
        process = _server()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        status = int(process.stdout.readline())
        out, errors = (Path(notes, name).read_text("utf-8") for name in ("out", "errors"))
    assert status != -signal.SIGALRM, f"it took longer than {seconds} s\n{out}{errors}"
    return subprocess.CompletedProcess(order["words"], status, out, errors)


@lru_cache(maxsize=1)
def _server() -> subprocess.Popen[str]:
    program = "from tutelage.tests.support.command_line import serve; serve()"
    # -P: as for `tutelage`, modules of the current folder are not found
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    atexit.register(process.communicate)  # which ends it: nothing more comes
    return process


def serve() -> None:
    """Import everything, then run what comes, a line each; answers with the status, negative for a signal."""
    for name in NEEDED:
        importlib.import_module(name)
    for line in sys.stdin:
        gc.freeze()  # what is there already is not looked at, so not copied, in the child
        child = os.fork()
        if not child:
            _be(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _be(order: dict[str, Any]) -> None:
    """Be the command, and never return."""
    status = 99
    try:
        signal.setitimer(signal.ITIMER_REAL, order["seconds"])
        for number, name in ((1, "out"), (2, "errors")):
            os.dup2(
                os.open(Path(order["notes"], name), os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600), number
            )
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(order["cwd"])
        os.environ.clear()
        os.environ.update(order["environment"])
        tempfile.tempdir = None  # where this environment says
        if order["file_bytes"] >= 0:
            resource.setrlimit(resource.RLIMIT_FSIZE, (order["file_bytes"], order["file_bytes"]))
        sys.argv = ["tutelage", *order["words"]]
        exec(order["prelude"], {})
        from tutelage.cli.main import main

        status = status_of(main)
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def status_of(main: Callable[[], object]) -> int:
    """Call what a process is for; returns the status with which Python would end it."""
    try:
        main()
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0
