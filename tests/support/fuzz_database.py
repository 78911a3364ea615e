"""Ways to spoil a SQLite database by its structure: values, rows, columns, tables, triggers."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from tutelage.crowd.storage import journal_tables, study_tables
from tutelage.crowd.storage.database import open_database
from tutelage.crowd.storage.row_checksums import seal_rows

SEALED = [journal_tables.seats, journal_tables.episodes, journal_tables.steps, *study_tables.SEALED]
VALUES: list[Any] = [
    None,
    0,
    -1,
    2**62,
    1.5,
    1e308,
    "",
    "x",
    "\x1b[2J",
    "../..",
    "{}",
    "[",
    "null",
    b"",
    b"\xff",
]
VALUES += ["[[1]]", '["x"]', "[1, 2, 3]", "[NaN]", "[" * 300, "9" * 5000, "finished", "kept", "a" * 5000]
_STATEMENTS = [
    "DROP TABLE {table}",
    "ALTER TABLE {table} RENAME TO {table}x",
    "ALTER TABLE {table} RENAME COLUMN {column} TO {column}x",
    "DELETE FROM {table}",
    "ALTER TABLE {table} RENAME TO old; CREATE VIEW {table} AS SELECT * FROM old",
    "ALTER TABLE {table} RENAME TO old; CREATE TABLE {table} (x)",
    "CREATE TRIGGER harm AFTER UPDATE ON {table} BEGIN SELECT RAISE(ABORT, 'no'); END",
    "CREATE TRIGGER harm AFTER INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'no'); END",
    "ALTER TABLE {table} ADD COLUMN x DEFAULT 1",
    "DELETE FROM {table} WHERE rowid % 2",
    "PRAGMA user_version = 99",
    "PRAGMA application_id = 7",
]


def spoil_database(path: Path, dice: random.Random) -> str:
    """Change a value, most of the time, and put the row's checksum right; else the tables themselves."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        names = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if not name.startswith("sqlite_")
        ]
        filled = [name for name in names if connection.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone()]
        table = dice.choice(filled if dice.random() < 0.9 else names)
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        column = dice.choice(columns)
        if table not in filled or dice.random() < 0.2:
            statement = dice.choice(_STATEMENTS).format(table=table, column=column)
            with contextlib.suppress(sqlite3.Error):
                connection.executescript(statement)
            return f"{path.name}: {statement}"
        rows = [row for (row,) in connection.execute(f"SELECT rowid FROM {table} ORDER BY rowid")]
        row, value = dice.choice(rows), dice.choice(VALUES)
        done = f"{table}.{column} of row {row} is {str(value)[:40]!r}"
        with contextlib.suppress(sqlite3.Error):  # a constraint stands against it
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (value, row))
            if "checksum" in columns and column != "checksum":
                connection.execute(f"UPDATE {table} SET checksum = NULL WHERE rowid = ?", (row,))
            connection.commit()
    _seal_rows(path)
    return f"{path.name}: {done}"


def _seal_rows(path: Path) -> None:
    """Give the rows that have none their checksums."""
    engine = open_database(path)
    for table in SEALED:
        checksum = {"checksum": journal_tables.step_checksum} if table is journal_tables.steps else {}
        refused = contextlib.suppress(sql.exc.SQLAlchemyError, ValueError, TypeError)
        with refused, engine.begin() as connection:
            seal_rows(connection, table, **checksum)
    engine.dispose()
