"""Progress of long work, on stderr: bars on a terminal, otherwise one plain line every ten seconds."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from ..errors import TutelageError
from .printable import printable
from .terminal import SafeConsole
from .wording import counted

VARIABLE = "TUTELAGE_PROGRESS"
"""Environment variable with the seconds between plain lines; 0 for none."""

_EVERY_SECONDS = 10.0
_MOST_NAMED = 3

Report = Callable[[int], None]
"""Callback that receives the number of items completed since its last call."""


@dataclass
class _ProgressPart:
    """The work of one bar; `total` is None if unknown."""

    label: str
    total: int | None
    done: int = 0

    @property
    def is_under_way(self) -> bool:
        return self.total is None or self.done < self.total


class Progress:
    """Progress of work in one or several parts; a context manager, shown while it is open.

    `title` names the work, e.g. "replaying". A part with unknown `total` (None) is counted, and shown as a
    spinner on a terminal. If parts are added during the work, their sum is not the total: pass `open_ended`,
    and set the total with `expect`. Thread-safe; nothing is shown if `shown` is False.
    """

    def __init__(
        self,
        title: str,
        *,
        shown: bool = True,
        open_ended: bool = False,
        transient: bool = True,
        console: SafeConsole | None = None,
    ) -> None:
        self._title, self._shown, self._open_ended = title, shown, open_ended
        self._console = console or SafeConsole(stderr=True, soft_wrap=True)
        self._parts: list[_ProgressPart] = []
        self._note = ""
        self._expected, self._unit = 0, ""
        self._began, self._done_before = time.monotonic(), 0
        self._over = threading.Event()
        self._bars: Bars | None = None
        if shown and self._console.is_terminal and not self._console.is_dumb_terminal:
            self._bars = Bars(*_columns(), console=self._console, transient=transient)
        self._every = lines_every() if shown and self._bars is None else 0.0

    def __enter__(self) -> Progress:
        self._began = time.monotonic()
        if self._every:
            threading.Thread(target=self._tell_lines, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._bars is not None:
            self._bars.stop()

    def add(self, label: str = "", total: int | None = None, done: int = 0) -> int:
        """Add a part, of which `done` items are complete already; returns its index."""
        self._parts.append(_ProgressPart(label or self._title, total, done))
        self._done_before += done
        if self._bars is not None:
            if (
                not self._bars.live.is_started
            ):  # not before there is a part to show: an earlier error should stand alone
                self._bars.start()
            self._bars.add_task(label or self._title, total=total, completed=done, note="")
        return len(self._parts) - 1

    def advance(self, count: int = 1, part: int = 0) -> None:
        """Add `count` completed items to a part."""
        self.reach(self._parts[part].done + count, part)

    def reach(self, done: int, part: int = 0) -> None:
        """Set the number of completed items of a part."""
        self._parts[part].done = done
        if self._bars is not None:
            self._bars.update(self._bars.task_ids[part], completed=done)

    def expect(self, total: int, unit: str) -> None:
        """Set the total over all parts, including future ones; `unit` is a noun such as "episode"."""
        self._expected, self._unit = total, unit

    def note(self, text: str, part: int = 0) -> None:
        """Show a text behind the counts of a part."""
        self._note = text
        if self._bars is not None:
            self._bars.update(self._bars.task_ids[part], note=text)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hide the bars within the context, e.g. for a prompt."""
        if self._bars is not None:
            self._bars.stop()
        yield
        if self._bars is not None:
            self._bars.start()

    def line(self) -> str:
        """Return the progress as one plain line."""
        seconds = time.monotonic() - self._began
        parts, pieces = list(self._parts), [self._title]
        finite = [part for part in parts if part.total is not None]
        done, total = sum(part.done for part in finite), sum(part.total or 0 for part in finite)
        under_way = [part for part in parts if part.is_under_way and part.label != self._title]
        if self._open_ended or len(parts) > 1:
            labels = [f"{printable(part.label)} {_count(part)}" for part in under_way[:_MOST_NAMED]]
            more = len(under_way) - len(labels)
            pieces += [", ".join(labels) + (f" and {more} more" if more > 0 else "")] if labels else []
        total = self._expected if self._open_ended else total
        if finite:
            share = f" ({100 * done // total} %)" if total else ""
            pieces.append(f"{done:,} of {counted(total, self._unit) if self._unit else f'{total:,}'}{share}")
        elif any(part.done for part in parts):
            pieces.append(f"{sum(part.done for part in parts):,} so far")
        pieces.append(f"{_duration(seconds)}{self._time_left(done, total, seconds)}")
        pieces += [printable(self._note)] if self._note else []
        return f"{pieces[0]}: {', '.join(pieces[1:])}"

    def _time_left(self, done: int, total: int, seconds: float) -> str:
        fresh = done - self._done_before
        if fresh <= 0 or done >= total:
            return ""
        return f", about {_duration(seconds / fresh * (total - done))} left"

    def _tell_lines(self) -> None:
        while not self._over.wait(self._every):
            with suppress(OSError, ValueError):  # a closed log must not stop the work
                self._console.print(f"tutelage: {self.line()}")


@contextmanager
def counting(title: str, total: int | None, shown: bool = True) -> Iterator[Report]:
    """Show the progress of work with an optional `total`; yields the callback for completed items."""
    with Progress(title, shown=shown and total != 0) as progress:
        progress.add(total=total)
        yield progress.advance


@contextmanager
def waiting(text: str, shown: bool = True) -> Iterator[Callable[[str], None]]:
    """Show that work without a count is under way; yields a callback for a status text."""
    with Progress(text, shown=shown) as progress:
        progress.add()
        yield progress.note


def lines_every() -> float:
    """Return the seconds between plain lines; raises TutelageError if the variable is not a number."""
    text = os.environ.get(VARIABLE, "")
    try:
        seconds = float(text) if text else _EVERY_SECONDS
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= threading.TIMEOUT_MAX:
        raise TutelageError(f"expected {VARIABLE} to be a number of seconds, 0 or more, got {text!r}")
    return seconds


def _columns() -> tuple[ProgressColumn, ...]:
    """Return the columns of every bar: spinner, label, bar, done of total, time left, note."""
    text, note = (
        TextColumn("{task.description}", markup=False),
        TextColumn("{task.fields[note]}", markup=False),
    )
    return (
        SpinnerColumn(finished_text=" "),
        text,
        BarColumn(24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        note,
    )


def _count(part: _ProgressPart) -> str:
    return f"{part.done:,}" if part.total is None else f"{part.done:,} of {part.total:,}"


def _duration(seconds: float) -> str:
    """Format a time span with its two largest units."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
