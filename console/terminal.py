"""A terminal console for untrusted text: control characters are escaped, lines are not wrapped in files."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleDimensions, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import TextType

from .printable import printable

_WHOLE_LINES = 1 << 20
"""Width of output that does not go to a terminal: nothing is wrapped, since its readers split it by lines."""


class SafeConsole(Console):
    """Rich's console without markup, emoji codes and highlighting; control characters are escaped.

    All output passes through `printable`, including tables and progress bars. Output to anything but a
    terminal is never wrapped.
    """

    def __init__(self, *, stderr: bool = False, **options: Any) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False, **options)

    @property
    def size(self) -> ConsoleDimensions:
        """The terminal's size; without a terminal, wider than any line."""
        plain = super().size
        return plain if self.is_terminal else ConsoleDimensions(_WHOLE_LINES, plain.height)

    @size.setter
    def size(self, new_size: tuple[int, int]) -> None:
        self._width, self._height = new_size

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as Rich does; text is wrapped on a terminal only."""
        if not self.is_terminal:
            options.setdefault("soft_wrap", True)
        super().print(*objects, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as Rich does, with control characters escaped."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(printable(segment.text, lines=True), segment.style)

    def rule(self, title: TextType = "", **options: Any) -> None:
        """Draw a line with a title; without a terminal, only the title."""
        if self.is_terminal:
            super().rule(title, **options)
        else:
            self.print(title)


class LineFormatter(logging.Formatter):
    """Formats a log record as one line, followed by its traceback, with control characters escaped."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return printable(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record), lines=True)


def log_to_stderr() -> None:
    """Send the package's warnings to stderr, escaped; idempotent."""
    logger = logging.getLogger("tutelage")
    if not any(isinstance(handler.formatter, LineFormatter) for handler in logger.handlers):
        handler = logging.StreamHandler()
        handler.setLevel(logging.WARNING)
        handler.setFormatter(LineFormatter("%(message)s"))
        logger.addHandler(handler)
