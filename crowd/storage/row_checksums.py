"""A checksum in each row that decides a participant's actions, consent or pay; a changed row is never used.

SQLite's pages have no checksum, so one flipped bit is another action, outcome or amount. A row's checksum
covers its values as the program reads them, so that it is the same on every database. Inserted and updated
rows are sealed just before their transaction commits; NULL marks an unsealed row.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import sqlalchemy as sql

from ...files.finite_json import exact_json

CHECKSUM = "checksum"
_TOUCHED = "unsealed_tables"
_SEALING = {"is_sealing": True}
_CHUNK = 2000


class DamagedRow(NamedTuple):
    """A row whose values differ from those written: its table, and its key as it reads now."""

    table: str
    key: tuple[Any, ...]

    def __str__(self) -> str:
        return f"{self.table} {', '.join(str(part)[:80] for part in self.key)}"


def checksum_column() -> sql.Column[int]:
    """Make the checksum column of a table with sealed rows."""
    return sql.Column(CHECKSUM, sql.BigInteger, nullable=True)


def index_unsealed(*tables: sql.Table) -> None:
    """Add the index of unsealed rows to tables."""
    for table in tables:
        is_open = table.c[CHECKSUM].is_(None)
        sql.Index(f"unsealed_{table.name}", table.c[CHECKSUM], sqlite_where=is_open, postgresql_where=is_open)


def checksum_of(table: sql.Table, row: Mapping[Any, Any]) -> int:
    """Return the checksum of a row (column → value): 64 bits, signed."""
    parts = [_encoded(row[column.name]) for column in table.columns if column.name != CHECKSUM]
    return checksum_of_bytes(b"".join(len(part).to_bytes(4, "big") + part for part in parts))


def checksum_of_bytes(data: bytes) -> int:
    """Return the checksum of bytes, as stored in databases."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big", signed=True)


def is_sound(table: sql.Table, row: Mapping[Any, Any]) -> bool:
    """Say whether a whole row, read back, is what was sealed."""
    try:
        return row[CHECKSUM] is None or bool(row[CHECKSUM] == checksum_of(table, row))
    except (TypeError, ValueError, OverflowError):  # a damaged row may contain anything
        return False


def seal_writes(engine: sql.Engine) -> None:
    """Seal every row that is inserted or updated through an engine when its transaction commits."""

    @sql.event.listens_for(engine, "before_execute", retval=True)
    def unseal(
        connection: sql.Connection, statement: Any, many: Any, parameters: Any, options: Mapping[Any, Any]
    ) -> Any:
        table = statement.table if isinstance(statement, sql.Update | sql.Insert) else None
        if isinstance(table, sql.Table) and _is_sealed(table) and not options.get("is_sealing"):
            connection.info.setdefault(_TOUCHED, {})[table.name] = table
            if isinstance(statement, sql.Update):
                statement = statement.values({CHECKSUM: None})
        return statement, many, parameters

    @sql.event.listens_for(engine, "commit")
    def seal(connection: sql.Connection) -> None:
        for table in connection.info.pop(_TOUCHED, {}).values():
            seal_rows(connection, table)

    @sql.event.listens_for(engine, "rollback")
    def forget(connection: sql.Connection) -> None:
        if not connection.invalidated:  # otherwise its notes are gone, and reading them hides the cause
            connection.info.pop(_TOUCHED, None)


_SEALED_BY_WRITER = frozenset({"steps"})
"""Tables whose rows carry their checksum when they are inserted: the most frequent writes."""


def read_json(text: str) -> Any:
    """Read a JSON column; invalid JSON is returned as text, which is not what was sealed."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def seal_rows(
    connection: sql.Connection,
    table: sql.Table,
    checksum: Callable[[sql.Table, Mapping[Any, Any]], int] = checksum_of,
) -> None:
    """Seal the unsealed rows of a table."""
    keys = list(table.primary_key.columns)
    is_row = [column == sql.bindparam(f"key_{column.name}") for column in keys]
    change = table.update().where(*is_row).values({CHECKSUM: sql.bindparam("sealed")})
    rows = connection.execute(sql.select(table).where(table.c[CHECKSUM].is_(None))).mappings().all()
    for start in range(0, len(rows), _CHUNK):
        parameters = [
            {f"key_{column.name}": row[column.name] for column in keys} | {"sealed": checksum(table, row)}
            for row in rows[start : start + _CHUNK]
        ]
        connection.execute(change, parameters, execution_options=_SEALING)


def damaged_rows(
    engine: sql.Engine,
    tables: Iterable[sql.Table],
    seconds: float = math.inf,
    sound: Callable[[sql.Table, Mapping[Any, Any]], bool] = is_sound,
) -> Iterator[DamagedRow]:
    """Yield the damaged rows of whole tables, latest rows first, within a time limit in seconds."""
    until = time.monotonic() + seconds
    with engine.connect() as connection:
        for table in tables:
            keys = [column.name for column in table.primary_key.columns]
            query = sql.select(table).order_by(*(column.desc() for column in table.primary_key.columns))
            result = connection.execution_options(yield_per=_CHUNK).execute(query)
            for chunk in result.mappings().partitions():
                for row in chunk:
                    if not sound(table, row):
                        yield DamagedRow(table.name, tuple(row[name] for name in keys))
                if time.monotonic() > until:
                    result.close()
                    return


def _is_sealed(table: sql.Table) -> bool:
    return CHECKSUM in table.c and table.name not in _SEALED_BY_WRITER


def _encoded(value: Any) -> bytes:
    if value is None:
        return b"n"
    if isinstance(value, bool | int):
        return b"i%d" % value
    if isinstance(value, float):
        return b"f" + struct.pack(">d", value + 0.0)  # databases have no -0.0
    if isinstance(value, str):
        return b"s" + value.encode("utf-8", errors="surrogatepass")
    if isinstance(value, bytes):
        return b"b" + value
    return b"j" + exact_json(value, is_sorted=True, is_compact=True).encode()
