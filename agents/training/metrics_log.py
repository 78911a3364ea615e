"""Metrics of a training run: `metrics.jsonl`, and the same figures as TensorBoard event files."""

from __future__ import annotations

import contextlib
import math
import os
import re
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...errors import TutelageError
from ...files.atomic_files import disk_errors, write_whole
from .sealed_lines import SealedLines, read_lines, seal_line

METRICS = "metrics.jsonl"

LOG_EVERY = 10
"""Training steps between two lines; the last step has a line too."""

RESUME = "go on with --resume"
"""Advice after a full disk."""

_REMEDY = "restore it from a copy, or move it away: the weights do not depend on it"


class MetricsLog:
    """`metrics.jsonl`, one sealed object a line (see `sealed_lines`), and event files.

    Opened at a `step` above 0 it continues after the lines up to that step. An unfinished last line, which a
    killed process leaves, is dropped and reported to `notice`. Raises TutelageError naming a damaged line, or
    when lines before `step` are missing from the end.
    """

    def __init__(self, run: Path, step: int, notice: Callable[[str], None]) -> None:
        self._run, self._path = run, run / METRICS
        self._check = ""
        lines: list[str] = []
        if step and not self._path.exists():
            notice(f"no {METRICS} in {run}: its curves begin at step {step}")
        elif step:
            written = read_log(run)
            if written.torn:
                notice(f"dropped the unfinished last line of {self._path}")
            expect_steps(run, written, step)
            # steps never decrease along the file: what stays is a prefix, so its hashes remain valid
            lines = [
                line
                for line, record in zip(written.lines, written.records, strict=True)
                if record["step"] <= step
            ]
            self._check = _last_check(lines)
        with _to_disk(run):
            write_whole(self._path, "".join(f"{line}\n" for line in lines).encode())
            self._events = _event_file(run / "tensorboard", step)

    def write(self, step: int, figures: Mapping[str, Any]) -> None:
        """Append one line; nested dicts become groups of curves. Raises TutelageError for a full disk."""
        line, self._check = seal_line({"step": step, **figures}, self._check)
        with _to_disk(self._run):
            with self._path.open("ab") as file:
                file.write(f"{line}\n".encode())
            if self._events is not None:
                self._events.write(step, figures)

    def sync(self) -> None:
        """Flush the lines to disk, before a state that depends on them is saved."""
        with _to_disk(self._run), self._path.open("ab") as file:
            os.fsync(file.fileno())

    def close(self) -> None:
        """Close the event file."""
        if self._events is not None:
            self._events.close()


def read_log(run: Path) -> SealedLines:
    """Read the figures of a run; no lines if it has no `metrics.jsonl`.

    Raises TutelageError naming a damaged line, or one without a step.
    """
    path = run / METRICS
    written = read_lines(path, _REMEDY)
    last = 0
    for number, record in enumerate(written.records, 1):
        step = record.get("step")
        if isinstance(step, bool) or not isinstance(step, int) or step < last:
            raise TutelageError(
                f"expected a step of at least {last} in line {number} of {path}, got {step!r}"
            )
        last = step
        if not isinstance(record.get("select", {}), dict):
            raise TutelageError(f"expected success by task in line {number} of {path}, got another value")
    return written


def expect_steps(run: Path, written: SealedLines, step: int) -> None:
    """Raise TutelageError when lines of a run up to `step` are missing from the end."""
    last = max((record["step"] for record in written.records if "loss" in record), default=0)
    if last < step - step % LOG_EVERY:
        raise TutelageError(
            f"expected figures up to step {step} in {run / METRICS}, got none after step {last}; {_REMEDY}"
        )


class _EventFile:
    """TensorBoard event file, written in this thread so that disk errors are raised to the caller."""

    def __init__(self, folder: Path, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        # files are read in the order of their names: each begins with a second that no other has
        words = [path.name.split(".")[3] for path in folder.glob("events.out.tfevents.*.*")]
        taken = [int(word) for word in words if re.fullmatch("[0-9]{10}", word)]
        second = max([int(time.time()), *(number + 1 for number in taken)])
        name = f"events.out.tfevents.{second:010d}.{socket.gethostname()}.{os.getpid()}.0"
        self._file = (folder / name).open("wb")
        self._records = RecordWriter(self._file)
        self._add(Event(wall_time=time.time(), file_version="brain.Event:2"))
        if step:  # TensorBoard then hides figures of later steps from before a stop
            start = SessionLog(status=SessionLog.START)
            self._add(Event(wall_time=time.time(), step=step + 1, session_log=start))
        self._file.flush()

    def write(self, step: int, figures: Mapping[str, Any]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [
            Summary.Value(tag=f"{name}/{key}" if key else name, simple_value=number)
            for name, value in figures.items()
            for key, number in (value.items() if isinstance(value, dict) else [("", value)])
            if isinstance(number, int | float) and math.isfinite(number)
        ]
        self._add(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))
        self._file.flush()

    def close(self) -> None:
        with contextlib.suppress(OSError):  # `write` has raised for anything not written
            self._file.close()

    def _add(self, event: Any) -> None:
        self._records.write(event.SerializeToString())


def _event_file(folder: Path, step: int) -> _EventFile | None:
    """Return a writer, or None without the package: metrics.jsonl holds the same figures."""
    try:
        return _EventFile(folder, step)
    except ImportError:
        return None


def _last_check(lines: list[str]) -> str:
    return lines[-1][-18:-2] if lines else ""


def _to_disk(run: Path) -> contextlib.AbstractContextManager[None]:
    return disk_errors(run, RESUME)
