"""What is said of errors that no mistake explains: one line, and a traceback in a file."""

from __future__ import annotations

import os
import tempfile
import traceback
from pathlib import Path

from ..console.printable import printable
from ..foreign_code.extras import missing

DEFECT = 70
"""Exit status of a defect of ours, as in BSD's sysexits.h."""
_LONGEST, _END = 2000, 300
"""Characters of a message that are shown, and how many of them are its end, where the remedy is."""


def message_of(error: object) -> str:
    """Return an error's message as one printable line; of a very long one, its beginning and its end."""
    text = str(error)
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST - _END]} … {text[-_END:]}"
    return printable(text)


def describe(error: Exception) -> tuple[str, int]:
    """Return the line that is shown for an error that no verb expected, and the exit status.

    2 where the machine refuses: its disk, memory, or a pipe's other end; and where the package of an extra is
    not installed. Else it is a defect: its traceback
    is written to a file, which the line names.
    """
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python complains once more at its end
        return "expected the output to be read to its end, got a closed pipe", 2
    if isinstance(error, OSError):
        return f"expected the system to do this, got: {message_of(error)}; check disk and permissions", 2
    if isinstance(error, MemoryError):
        return "expected enough memory, got none; close other programs, or ask for less at once", 2
    if isinstance(error, ImportError) and (named := missing(error)):
        return message_of(named), 2
    if isinstance(error, RecursionError):
        return "expected input that nests less deeply, got more than can be followed", 2
    what = f"{type(error).__name__}: {message_of(error)}"
    return f"this is a defect of tutelage ({what}); {_written()}", DEFECT


def _written() -> str:
    """Write the traceback of the error that is being handled to a file; say where."""
    text = traceback.format_exc()
    try:
        handle, path = tempfile.mkstemp(prefix="tutelage-", suffix=".log")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError:
        return "its traceback could not be written"
    return f"please report it with {Path(path)}"
