"""A terminal table that never cuts a number: where its columns do not fit, it folds into several tables.

At very narrow terminals each figure stands on a line of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from .printable import printable

_GAP = 2
"""Columns of a terminal between two columns of a table."""
_LEAST_WORDS, _LEAST_KEY = 16, 12
"""Columns that text beside figures, and the names of rows, may be folded to."""
_LONGEST_HEAD = 12
"""Letters of a heading's longest word that widen a column of figures; the rest of it is folded."""


@dataclass(frozen=True)
class Column:
    """A heading, and whether figures or words stand under it; figures are never folded."""

    name: str
    words: bool = False


@dataclass
class FoldedTable:
    """Rows of cells under headings; the first `keys` columns name a row, and are repeated in every fold.

    A cell is text, which passes `printable`, or `Text`, of several lines perhaps, that has passed it.
    `sections` are the rows that begin one.
    """

    columns: Sequence[Column]
    keys: int = 1
    title: str = ""
    caption: str = ""
    rows: list[list[Text]] = field(default_factory=list)
    sections: set[int] = field(default_factory=set)

    def add_row(self, *cells: str | Text) -> None:
        """Add a row, a cell a column."""
        assert len(cells) == len(self.columns), "a row that does not fit its headings"
        self.rows.append([cell if isinstance(cell, Text) else Text(printable(cell)) for cell in cells])

    def add_section(self) -> None:
        """Set the rows that follow apart."""
        self.sections.add(len(self.rows))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        if self.title:
            yield Text(printable(self.title), style="italic")
        folds = self._folds(width)
        if folds is None:
            yield from self._lines(width)
        else:
            for number, fold in enumerate(folds):
                if number:
                    yield Text()
                yield self._table(fold, width)
        if self.caption:
            yield Text(printable(self.caption), style="dim italic")

    def _natural(self, at: int) -> int:
        """Return how wide a column is where nothing is folded."""
        head = cell_len(printable(self.columns[at].name))
        return max(head, self._cells(at), 1)

    def _least(self, at: int) -> int:
        """Return how wide a column must be: of figures, as wide as they are; its heading may fold."""
        if at < self.keys:
            return min(self._natural(at), _LEAST_KEY)
        if self.columns[at].words:
            return min(self._natural(at), _LEAST_WORDS)
        longest = max((cell_len(word) for word in printable(self.columns[at].name).split()), default=0)
        return max(self._cells(at), min(longest, _LONGEST_HEAD), 1)

    def _cells(self, at: int) -> int:
        return max((_width(row[at]) for row in self.rows), default=0)

    def _folds(self, width: int) -> list[list[int]] | None:
        """Distribute the columns over tables that fit; None where a table would hold one of them, or none."""
        keys = list(range(self.keys))
        whole = [*keys, *range(self.keys, len(self.columns))]
        if self._sum(whole, self._least) <= width:
            return [whole]
        folds: list[list[int]] = []
        for at in range(self.keys, len(self.columns)):
            if self._sum([*keys, at], self._least) > width:
                return None
            if folds and self._sum([*folds[-1], at], self._least) <= width:
                folds[-1].append(at)
            else:
                folds.append([*keys, at])
        lonely = len(folds) > 1 and max(map(len, folds)) == self.keys + 1
        return None if lonely else folds or [keys]

    def _sum(self, places: Sequence[int], measure: Callable[[int], int]) -> int:
        return sum(measure(at) + _GAP for at in places) - _GAP

    def _widths(self, fold: Sequence[int], width: int) -> dict[int, int]:
        """Give every column what it needs, and what is left to those that would be folded."""
        widths = {at: self._least(at) for at in fold}
        left = width - self._sum(fold, self._least)
        for at in fold:
            more = min(left, self._natural(at) - widths[at])
            widths[at] += more
            left -= more
        return widths

    def _table(self, fold: Sequence[int], width: int) -> Table:
        widths = self._widths(fold, width)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, show_edge=False)
        table.padding = (0, 1)
        for at in fold:
            column, words = self.columns[at], self.columns[at].words or at < self.keys
            table.add_column(
                Text(printable(column.name), overflow="fold"),
                width=widths[at],
                justify="left" if words else "right",
                overflow="fold",
            )
        for number, row in enumerate(self.rows):
            if number in self.sections and number:
                table.add_section()
            table.add_row(*(row[at] for at in fold))
        return table

    def _lines(self, width: int) -> Iterator[Text]:
        """Write each row as its name and, below it, a line for each figure."""
        for row in self.rows:
            names = [cell for cell in row[: self.keys] if cell.plain]
            yield Text(" · ", style="bold").join(Text(" ").join(cell.split("\n")) for cell in names)
            for column, cell in zip(self.columns[self.keys :], row[self.keys :], strict=True):
                if cell.plain:
                    yield from _figure(column, cell, width)


def _figure(column: Column, cell: Text, width: int) -> Iterator[Text]:
    """Write a heading and its figure on one line; where that is too long, below each other."""
    name = Text(f"  {printable(column.name)}  ", style="dim")
    parts = list(cell.split("\n"))
    joined = Text(" ").join(parts)
    if column.words or cell_len(name.plain) + cell_len(joined.plain) <= width:
        yield name + joined
        return
    yield name
    for part in parts:
        yield Text("    ") + part


def _width(cell: Text) -> int:
    return max((cell_len(line) for line in cell.plain.split("\n")), default=0)
