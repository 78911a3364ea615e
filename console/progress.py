"""How far long work has come, on stderr: bars at a terminal, elsewhere one plain line every ten seconds."""

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
"""The environment variable that says how many seconds lie between plain lines; 0 for none."""

_EVERY_SECONDS = 10.0
_MOST_NAMED = 3

Report = Callable[[int], None]
"""Told how many more have been done."""


@dataclass
class _ProgressPart:
    """One bar's worth of work; `total` is None where it is not known how much there is."""

    label: str
    total: int | None
    done: int = 0

    @property
    def is_under_way(self) -> bool:
        return self.total is None or self.done < self.total


class Progress:
    """Work in one or several parts; a context, shown while it is open.

    `title` says what is done, as in "replaying". A part that is not known to end, with `total` None, is
    counted, and shown as a spinner at a terminal. Parts whose number grows while the work goes on have no
    sum that would mean anything: give `open_ended`, and say with `expect` how much there is in all. Use it
    from any thread; nothing is shown where `shown` is False.
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
        """Add a part, of which some may be done already; returns its number."""
        self._parts.append(_ProgressPart(label or self._title, total, done))
        self._done_before += done
        if self._bars is not None:
            if not self._bars.live.is_started:  # not before there is something to show: an error stands alone
                self._bars.start()
            self._bars.add_task(label or self._title, total=total, completed=done, note="")
        return len(self._parts) - 1

    def advance(self, count: int = 1, part: int = 0) -> None:
        """Note that `count` more of a part have been done."""
        self.reach(self._parts[part].done + count, part)

    def reach(self, done: int, part: int = 0) -> None:
        """Note how many of a part have been done."""
        self._parts[part].done = done
        if self._bars is not None:
            self._bars.update(self._bars.task_ids[part], completed=done)

    def expect(self, total: int, unit: str) -> None:
        """Note how much there is in all, parts to come included; `unit` is a noun such as "episode"."""
        self._expected, self._unit = total, unit

    def note(self, text: str, part: int = 0) -> None:
        """Show a text behind the figures of a part."""
        self._note = text
        if self._bars is not None:
            self._bars.update(self._bars.task_ids[part], note=text)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Show nothing for a while: a person is asked something."""
        if self._bars is not None:
            self._bars.stop()
        yield
        if self._bars is not None:
            self._bars.start()

    def line(self) -> str:
        """Say in one plain line how far the work has come."""
        seconds = time.monotonic() - self._began
        parts, words = list(self._parts), [self._title]
        finite = [part for part in parts if part.total is not None]
        done, total = sum(part.done for part in finite), sum(part.total or 0 for part in finite)
        under_way = [part for part in parts if part.is_under_way and part.label != self._title]
        if self._open_ended or len(parts) > 1:
            labels = [f"{printable(part.label)} {_count(part)}" for part in under_way[:_MOST_NAMED]]
            more = len(under_way) - len(labels)
            words += [", ".join(labels) + (f" and {more} more" if more > 0 else "")] if labels else []
        total = self._expected if self._open_ended else total
        if finite:
            share = f" ({100 * done // total} %)" if total else ""
            words.append(f"{done:,} of {counted(total, self._unit) if self._unit else f'{total:,}'}{share}")
        elif any(part.done for part in parts):
            words.append(f"{sum(part.done for part in parts):,} so far")
        words.append(f"{_duration(seconds)}{self._time_left(done, total, seconds)}")
        words += [printable(self._note)] if self._note else []
        return f"{words[0]}: {', '.join(words[1:])}"

    def _time_left(self, done: int, total: int, seconds: float) -> str:
        fresh = done - self._done_before
        if fresh <= 0 or done >= total:
            return ""
        return f", about {_duration(seconds / fresh * (total - done))} left"

    def _tell_lines(self) -> None:
        while not self._over.wait(self._every):
            with suppress(OSError, ValueError):  # the log's other end is closed: no reason to stop the work
                self._console.print(f"tutelage: {self.line()}")


@contextmanager
def counting(title: str, total: int | None, shown: bool = True) -> Iterator[Report]:
    """Show how much of some work is done; yields what is told how many more are. `total` may be unknown."""
    with Progress(title, shown=shown and total != 0) as progress:
        progress.add(total=total)
        yield progress.advance


@contextmanager
def waiting(text: str, shown: bool = True) -> Iterator[Callable[[str], None]]:
    """Show that something is being done; yields what is told a text about where it stands."""
    with Progress(text, shown=shown) as progress:
        progress.add()
        yield progress.note


def lines_every() -> float:
    """Return the seconds between plain lines; raises TutelageError where the variable holds no number."""
    text = os.environ.get(VARIABLE, "")
    try:
        seconds = float(text) if text else _EVERY_SECONDS
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= threading.TIMEOUT_MAX:
        raise TutelageError(f"expected {VARIABLE} to be a number of seconds, 0 or more, got {text!r}")
    return seconds


def _columns() -> tuple[ProgressColumn, ...]:
    """Return the columns of every bar: what, bar, how many of how many, time left, figures."""
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
    """Write a time span with its two largest units."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
