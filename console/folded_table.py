"""A terminal table that never truncates a number: if its columns do not fit, it folds into several tables.

On very narrow terminals each number gets a line of its own.
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
"""Spaces between two columns, in terminal cells."""
_LEAST_WORDS, _LEAST_KEY = 16, 12
"""Minimal widths, in terminal cells, of a text column and of a key column; longer text is folded."""
_LONGEST_HEAD = 12
"""A numeric column is at least as wide as its heading's longest word, up to this; longer words are folded."""


@dataclass(frozen=True)
class Column:
    """A heading, and whether the column holds text (`words`) or numbers, which are never folded."""

    name: str
    words: bool = False


@dataclass
class FoldedTable:
    """Rows of cells under headings; the first `keys` columns name a row and are repeated in every fold.

    A cell is a str, which is passed through `printable`, or a `Text`, possibly of several lines, that is safe
    already. `sections` are the indices of rows that begin a section.
    """

    columns: Sequence[Column]
    keys: int = 1
    title: str = ""
    caption: str = ""
    rows: list[list[Text]] = field(default_factory=list)
    sections: set[int] = field(default_factory=set)

    def add_row(self, *cells: str | Text) -> None:
        """Add a row with one cell per column."""
        assert len(cells) == len(self.columns), "a row that does not fit its headings"
        self.rows.append([cell if isinstance(cell, Text) else Text(printable(cell)) for cell in cells])

    def add_section(self) -> None:
        """Begin a new section with the next row."""
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

    def _natural(self, index: int) -> int:
        """Return the width of a column without folding."""
        head = cell_len(printable(self.columns[index].name))
        return max(head, self._widest_cell(index), 1)

    def _minimal(self, index: int) -> int:
        """Return the minimal width of a column: numbers are kept whole, headings may fold."""
        if index < self.keys:
            return min(self._natural(index), _LEAST_KEY)
        if self.columns[index].words:
            return min(self._natural(index), _LEAST_WORDS)
        longest = max((cell_len(word) for word in printable(self.columns[index].name).split()), default=0)
        return max(self._widest_cell(index), min(longest, _LONGEST_HEAD), 1)

    def _widest_cell(self, index: int) -> int:
        return max((_width(row[index]) for row in self.rows), default=0)

    def _folds(self, width: int) -> list[list[int]] | None:
        """Distribute columns over tables that fit; None if the tables would hold one column each, or none."""
        keys = list(range(self.keys))
        every_column = [*keys, *range(self.keys, len(self.columns))]
        if self._sum(every_column, self._minimal) <= width:
            return [every_column]
        folds: list[list[int]] = []
        for index in range(self.keys, len(self.columns)):
            if self._sum([*keys, index], self._minimal) > width:
                return None
            if folds and self._sum([*folds[-1], index], self._minimal) <= width:
                folds[-1].append(index)
            else:
                folds.append([*keys, index])
        lonely = len(folds) > 1 and max(map(len, folds)) == self.keys + 1
        return None if lonely else folds or [keys]

    def _sum(self, indices: Sequence[int], measure: Callable[[int], int]) -> int:
        return sum(measure(index) + _GAP for index in indices) - _GAP

    def _widths(self, fold: Sequence[int], width: int) -> dict[int, int]:
        """Give every column its minimal width, and distribute the rest to columns that would be folded."""
        widths = {index: self._minimal(index) for index in fold}
        spare = width - self._sum(fold, self._minimal)
        for index in fold:
            more = min(spare, self._natural(index) - widths[index])
            widths[index] += more
            spare -= more
        return widths

    def _table(self, fold: Sequence[int], width: int) -> Table:
        widths = self._widths(fold, width)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, show_edge=False)
        table.padding = (0, 1)
        for index in fold:
            column, words = self.columns[index], self.columns[index].words or index < self.keys
            table.add_column(
                Text(printable(column.name), overflow="fold"),
                width=widths[index],
                justify="left" if words else "right",
                overflow="fold",
            )
        for number, row in enumerate(self.rows):
            if number in self.sections and number:
                table.add_section()
            table.add_row(*(row[index] for index in fold))
        return table

    def _lines(self, width: int) -> Iterator[Text]:
        """Write each row as its name and, below it, one line per number."""
        for row in self.rows:
            names = [cell for cell in row[: self.keys] if cell.plain]
            yield Text(" · ", style="bold").join(Text(" ").join(cell.split("\n")) for cell in names)
            for column, cell in zip(self.columns[self.keys :], row[self.keys :], strict=True):
                if cell.plain:
                    yield from _figure(column, cell, width)


def _figure(column: Column, cell: Text, width: int) -> Iterator[Text]:
    """Write a heading and its number on one line, or below each other if that is too long."""
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
