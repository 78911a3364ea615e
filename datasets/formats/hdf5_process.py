"""Write and read HDF5 files in a child process, since HDF5 crashes its process on a full disk.

The process receives pickled calls from its parent only and answers each with one line of JSON.
"""

from __future__ import annotations

import errno
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from ...console.signals import inherited_by_none, leave_to_parent, signals
from ...errors import TutelageError
from ...files.finite_json import exact_json

_CODE = "from tutelage.datasets.formats.hdf5_process import serve; serve()"
_ERRNO = re.compile(r"errno = (\d+)")
_SMALL_BYTES = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Hdf5Process:
    """A child process that calls functions of this package one after another; `with` ends it.

    Functions must be module-level, with arguments that can be pickled.
    """

    def __init__(self, folder: Path) -> None:
        """Start the process; `folder` is where it writes, for the error message when it dies."""
        self._folder = folder
        path = os.pathsep.join(dict.fromkeys(str(Path(entry).absolute()) for entry in sys.path if entry))
        # -P: the working folder may be untrusted and contain modules
        with inherited_by_none():
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _CODE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": path},
            )
        signals.on_end(self._process.kill)

    def __enter__(self) -> Hdf5Process:
        return self

    def __exit__(self, *_: object) -> None:
        signals.off_end(self._process.kill)
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function in the process, and return its result (after a round trip through JSON).

        Raises OSError when the disk is full, TutelageError for every other failure.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            pickle.dump((function, arguments), self._process.stdin)
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            raise self._death()
        answer = json.loads(line)
        if answer["errno"] is not None:
            raise OSError(answer["errno"], os.strerror(answer["errno"]))
        if answer["error"]:
            raise TutelageError(f"expected HDF5 in {self._folder} to be sound, got {answer['error']}")
        return answer["result"]

    def _death(self) -> Exception:
        status = self._process.wait()
        if shutil.disk_usage(self._folder).free < _SMALL_BYTES or _has_file_limit():
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return TutelageError(
            f"expected HDF5 to be written and read in {self._folder}, but its process ended with status "
            f"{status}; check the disk and the file"
        )


def _has_file_limit() -> bool:
    """Return whether the size of this process's files is limited, which kills as a full disk does."""
    try:
        import resource
    except ImportError:  # Windows
        return False
    return resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY


def serve() -> None:
    """Answer the parent's calls until it closes the pipe."""
    leave_to_parent()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # other output must not be taken for an answer
    calls: BinaryIO = sys.stdin.buffer
    while True:
        try:
            function, arguments = pickle.load(calls)  # from the parent alone
        except EOFError:
            break
        answers.write(exact_json(_answer(function, arguments)).encode() + b"\n")
        answers.flush()
    os._exit(0)  # HDF5's own cleanup after a failed write would crash


def _answer(function: Callable[..., Any], arguments: Sequence[Any]) -> dict[str, Any]:
    try:
        return {"result": function(*arguments), "errno": None, "error": ""}
    except Exception as error:  # h5py and Minari may raise anything
        number = error.errno if isinstance(error, OSError) else None
        if number is None and (match := _ERRNO.search(str(error))):
            number = int(match[1])
        text = " ".join(f"{type(error).__name__}: {error}".split())
        return {"result": None, "errno": number if number in _FULL else None, "error": text}
