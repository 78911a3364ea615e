"""Read untrusted Parquet files: the memory that reading takes is bounded before anything is read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import TutelageError
from ...files.bounded_files import Limits, open_regular, too_large
from .parquet_sizes import UnreadablePagesError, column_bytes, schema_depth

_COLUMNS, _GROUPS, _NESTED = 10_000, 100_000, 32
_STRING = 64 << 20  # the largest text that a footer may hold
_MAGIC = b"PAR1"


class BoundedParquet:
    """A Parquet file opened for reading; offers the part of `pyarrow.parquet.ParquetFile` that is used here.

    A row group takes at most `Limits.allocation_bytes`, a table that is read whole at most `expanded_bytes`.
    Data is validated: texts are UTF-8, list offsets lie within their values. Raises TutelageError otherwise.
    """

    def __init__(self, source: str | Path | IO[bytes], where: str = "") -> None:
        self._source, self.where = source, where or str(source)
        self._sizes: dict[tuple[int, int], int] = {}
        with self._opened() as file:
            self._size = _check_footer(file, self.where)
        with self._damage():
            self._file = pq.ParquetFile(
                source, thrift_string_size_limit=_STRING, thrift_container_size_limit=_GROUPS
            )
            self.metadata = self._file.metadata
            self.schema_arrow: pa.Schema = self._file.schema_arrow
        self.num_row_groups: int = self.metadata.num_row_groups
        self._check_counts()

    def expect(self, schema: pa.Schema) -> None:
        """Raise TutelageError unless every column of a schema exists exactly once, with its type."""
        for field in schema:
            if (index := self.schema_arrow.get_field_index(field.name)) < 0:
                raise TutelageError(
                    f"expected every column once in {self.where}, missing {field.name!r}, or there twice"
                )
            if not _is_equivalent(got := self.schema_arrow.field(index).type, field.type):
                raise TutelageError(
                    f"expected column {field.name!r} of {self.where} to be {field.type}, got {got}"
                )

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Read all rows of the given columns, or of all."""
        self._bound(range(self.num_row_groups), columns, Limits.current().expanded_bytes)
        with self._damage():
            return _valid(self._file.read(columns))

    def read_row_group(self, group: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Read one row group of the given columns, or of all."""
        self._bound([group], columns, Limits.current().allocation_bytes)
        with self._damage():
            return _valid(self._file.read_row_group(group, columns))

    def iter_batches(self, batch_size: int, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Read the rows in batches; no batch spans two row groups."""
        for group in range(self.num_row_groups):
            self._bound([group], columns, Limits.current().allocation_bytes)
            with self._damage():
                batches = self._file.iter_batches(batch_size, row_groups=[group], columns=columns)
                for batch in batches:
                    batch.validate(full=True)
                    yield batch

    def check(self) -> None:
        """Raise TutelageError where any row group exceeds its limit, without reading one."""
        for group in range(self.num_row_groups):
            self._bound([group], None, Limits.current().allocation_bytes)

    def values(self, column: str, group: int) -> int:
        """Return the number of values of a column, of numbers or lists of numbers, in a row group."""
        index = self._column_indices([column])[0]
        return int(self.metadata.row_group(group).column(index).num_values)

    def close(self) -> None:
        self._file.close()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        if isinstance(self._source, str | Path):
            with open_regular(self._source) as file:
                yield file
        else:
            yield self._source

    def _check_counts(self) -> None:
        rows = [self.metadata.row_group(group).num_rows for group in range(self.num_row_groups)]
        if min(rows, default=0) < 0 or sum(rows) != self.metadata.num_rows:
            raise self._damaged("row groups that do not add up to its rows")

    def _bound(self, groups: Sequence[int], columns: Sequence[str] | None, limit: int) -> None:
        """Raise TutelageError when reading these groups takes more than `limit` bytes."""
        selected = self._column_indices(columns)
        total = 0
        with self._damage(), self._opened() as file:
            for group in groups:
                row_group = self.metadata.row_group(group)
                for column in selected:
                    if (size := self._sizes.get((group, column))) is None:
                        chunk = row_group.column(column)
                        size = column_bytes(
                            file, chunk, self.metadata.schema.column(column).length, self._size
                        )
                        self._sizes[group, column] = size
                    total += size
                    if total > limit:
                        raise too_large(self.where, "bytes of memory for a row group or table", limit)

    def _column_indices(self, columns: Sequence[str] | None) -> list[int]:
        paths = [self.metadata.schema.column(index).path for index in range(self.metadata.num_columns)]
        if columns is None:
            return [*range(len(paths))]
        names = {*columns}
        return [index for index, path in enumerate(paths) if path in names or path.partition(".")[0] in names]

    @contextlib.contextmanager
    def _damage(self) -> Iterator[None]:
        try:
            yield
        except TutelageError:
            raise
        except (
            pa.ArrowException,
            UnreadablePagesError,
            OSError,
            ValueError,
            OverflowError,
            MemoryError,
        ) as error:
            raise self._damaged(str(error)) from None

    def _damaged(self, problem: str) -> TutelageError:
        return TutelageError(
            f"expected a sound Parquet file at {self.where}, got {' '.join(problem.split())}"
        )


def read_columns(source: str | Path | IO[bytes], columns: Sequence[str] | None = None) -> pa.Table:
    """Read all rows of the given columns of a Parquet file, or of all; raises TutelageError."""
    file = BoundedParquet(source)
    try:
        if odd := [name for name in columns or () if file.schema_arrow.get_field_index(name) < 0]:
            raise TutelageError(f"expected a column {odd[0]!r} in {file.where}, got none, or several")
        return file.read(columns)
    finally:
        file.close()


def read_table(path: Path, schema: pa.Schema | None = None) -> pa.Table:
    """Read a whole Parquet file; with `schema`, its columns, cast to it. Raises TutelageError."""
    file = BoundedParquet(path)
    try:
        if schema is None:
            return file.read()
        file.expect(schema)
        return file.read(schema.names).select(schema.names).cast(schema)
    finally:
        file.close()


def _check_footer(file: IO[bytes], where: str) -> int:
    """Check length and schema nesting of a footer before Arrow parses it; return the file's size in bytes."""
    limits = Limits.current()
    size = file.seek(0, 2)
    file.seek(max(0, size - 8))
    tail = file.read(8)
    length = int.from_bytes(tail[:4], "little")
    if size < 12 or tail[4:] != _MAGIC or length > size - 12:
        raise TutelageError(f"expected a Parquet file at {where}, got something else, or a part of one")
    if length > limits.text_bytes:
        raise too_large(where, "bytes in a footer", limits.text_bytes)
    file.seek(size - 8 - length)
    footer = file.read(length)
    try:
        _, depth = schema_depth(footer, _COLUMNS)
    except UnreadablePagesError as error:
        raise TutelageError(f"expected a Parquet file at {where}, got {error}") from None
    if depth > _NESTED:
        raise too_large(where, "levels of nesting", _NESTED)
    return int(size)


def _valid(table: pa.Table) -> pa.Table:
    table.validate(full=True)
    return table


@lru_cache(maxsize=1024)
def _is_equivalent(got: pa.DataType, expected: pa.DataType) -> bool:
    """Return whether a type is the expected one; the names of list elements are ignored."""
    if pa.types.is_list(got) and pa.types.is_list(expected):
        return _is_equivalent(got.value_type, expected.value_type)
    return bool(got == expected)


def column_values(table: pa.Table, name: str, *, nulls: bool = False) -> list[Any]:
    """Return a column as a list; raises TutelageError where a value is missing, unless `nulls`."""
    column = table[name]
    if column.null_count and not nulls:
        raise TutelageError(
            f"expected a value in every row of column {name!r}, got {column.null_count} without"
        )
    return list(column.to_pylist())
