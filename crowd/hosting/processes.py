"""Start and end the processes of the worker pool."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import tempfile
import time
from typing import Any, Literal

from ...console.signals import inherited_by_none

_LONGEST_SOCKET_PATH = 103
"""Most bytes of a socket's path: 103 on macOS, 107 on Linux."""

_SOCKET_NAME = "/pymp-xxxxxxxx/listener-xxxxxxxx"
"""The form of the forkserver's socket, in the folder of temporary files."""

_END_SECONDS = 1.0
"""How long processes may take to end, all together, before they are killed."""


def start_method() -> Literal["forkserver", "spawn"]:
    """Return forkserver, or spawn where the folder of temporary files is too long for its socket's path."""
    path = os.fsencode(tempfile.gettempdir() + _SOCKET_NAME)
    has_forkserver = "forkserver" in multiprocessing.get_all_start_methods()
    return "forkserver" if has_forkserver and len(path) <= _LONGEST_SOCKET_PATH else "spawn"


def start_process(process: Any) -> None:
    """Start a process that Ctrl-C at the terminal does not reach."""
    with inherited_by_none():
        process.start()


def end_processes(processes: list[Any]) -> None:
    """Wait a moment for processes to end, then kill the rest."""
    until = time.monotonic() + _END_SECONDS
    for process in processes:
        process.join(max(0.0, until - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()
        with contextlib.suppress(ValueError):
            process.close()


def end_forkserver() -> None:
    """Kill the forkserver: while it imports, it answers nothing, and notices no end."""
    from multiprocessing.forkserver import _forkserver

    pid = getattr(_forkserver, "_forkserver_pid", None)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
