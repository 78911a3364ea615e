"""Database of a recorder or a study: SQLite in a folder, or PostgreSQL by URL."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.dialects import postgresql, sqlite

from ...errors import TutelageError
from ...files.safe_tree import refuse_link
from .database_file import DatabaseFile
from .row_checksums import read_json, seal_writes

_SERVER_SETTINGS = {
    "synchronous_commit": "on",  # acknowledged means on disk, whatever the server's configuration says
    # a machine that stalls in a transaction must not block the others' seats for hours
    "idle_in_transaction_session_timeout": "15s",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
_CONNECTION = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    "options": " ".join(f"-c {name}={value}" for name, value in _SERVER_SETTINGS.items()),
}

_FILE = "database_file"
"""The key under which an engine has its file, and a connection the identity of the file it was made to."""
MAKING_TABLES, LEDGER = 7_001, 7_002
"""Numbers of our advisory locks in PostgreSQL, which are global to a database."""
_AWAY = (sql.exc.OperationalError, sql.exc.InterfaceError)
_PATIENCE_SECONDS = 60
_RETRY_SECONDS = 0.5
_TURN_SECONDS = 5.0
_CHECK_SECONDS = 10.0


def open_database(path_or_url: str | Path) -> sql.Engine:
    """Return an engine for a path (SQLite) or an SQLAlchemy URL; nothing is connected yet.

    SQLite uses a write-ahead log and syncs every commit. PostgreSQL is accessed by psycopg 3; a connection is
    tested before use, so that a dead idle one is replaced. Errors never contain the values of a statement:
    they may be people's ids, and errors are logged.
    """
    try:
        url = sql.make_url(str(path_or_url)) if "://" in str(path_or_url) else _sqlite_url(Path(path_or_url))
        if url.get_backend_name() == "sqlite":
            return _sqlite_engine(url)
        if url.get_backend_name() != "postgresql":
            raise TutelageError(
                f"expected a path, sqlite:///PATH or postgresql://..., got a URL of {url.drivername}"
            )
        if url.drivername == "postgresql":
            url = url.set(drivername="postgresql+psycopg")
        engine = sql.create_engine(
            url, pool_pre_ping=True, pool_size=10, connect_args=_CONNECTION, hide_parameters=True
        )
        seal_writes(engine)
        return engine
    except sql.exc.ArgumentError as error:  # its message does not contain the URL
        raise TutelageError(f"expected a database's URL, got one that cannot be read: {error}") from None
    except ImportError:
        raise TutelageError(
            "expected psycopg for a PostgreSQL database, found none; pip install 'tutelage[postgres]'"
        ) from None


def make_tables(engine: sql.Engine, tables: sql.MetaData) -> None:
    """Create missing tables, and add missing columns to older ones.

    Such a column needs a `server_default`. Servers that start together do this one after the other. Raises
    TutelageError for a missing column that every version had.
    """
    try:
        with engine.begin() as connection:
            if not is_sqlite(engine):
                connection.execute(sql.select(sql.func.pg_advisory_xact_lock(MAKING_TABLES)))
            present = set(sql.inspect(connection).get_table_names())
            older = [table for table in tables.sorted_tables if table.name in present]
            missing = [table for table in tables.sorted_tables if table.name not in present]
            tables.create_all(connection, missing, checkfirst=False)
            _add_new_columns(engine, connection, older)
    except TutelageError:
        raise
    except (
        TypeError,
        ValueError,
        LookupError,
        AttributeError,
    ) as error:  # raised by SQLAlchemy for a damaged schema
        raise TutelageError(
            f"expected tables and indexes in {address(engine)}, got a description that is damaged "
            f"({type(error).__name__}); restore it from a copy"
        ) from None


def _add_new_columns(engine: sql.Engine, connection: sql.Connection, tables: Sequence[sql.Table]) -> None:
    inspector = sql.inspect(connection)
    for table in tables:
        names = {column["name"] for column in inspector.get_columns(table.name)}
        for column in table.columns:
            if column.name not in names:
                _check_may_be_missing(engine, column)
                definition = sql.schema.CreateColumn(column).compile(dialect=engine.dialect)
                connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {definition}")
        indexes = {index["name"] for index in inspector.get_indexes(table.name)}
        for index in table.indexes:
            if index.name not in indexes:
                index.create(connection)


def _check_may_be_missing(engine: sql.Engine, column: sql.Column[Any]) -> None:
    """Raise TutelageError for a missing column that every version had: the schema is damaged."""
    if column.server_default is None and not column.nullable:
        raise TutelageError(
            f"expected a column {column.name} in table {column.table.name} of {address(engine)}, found none: "
            "the database is damaged, or another program's; restore it from a copy"
        )


def check_structure(engine: sql.Engine) -> None:
    """Check that a SQLite file's pages and indexes are sound; damaged indexes are rebuilt.

    Takes a bounded time. Raises TutelageError for a damaged file: reads of it may return anything. PostgreSQL
    does this itself.
    """
    if not is_sqlite(engine):
        return
    problem = _integrity(engine)
    if problem is not None:
        with contextlib.suppress(sql.exc.DBAPIError), engine.begin() as connection:
            connection.exec_driver_sql("REINDEX")
        problem = _integrity(engine)
    if problem is not None:
        raise TutelageError(
            f"expected a sound database in {engine.url.database}, got: {problem}; restore it from a copy, or "
            f"save what can be read: sqlite3 {engine.url.database} .recover"
        )


def _integrity(engine: sql.Engine) -> str | None:
    until = time.monotonic() + _CHECK_SECONDS
    with engine.connect() as connection:
        raw: Any = connection.connection.dbapi_connection
        raw.set_progress_handler(lambda: time.monotonic() > until, 10_000)
        try:
            result = str(connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar())
        except sql.exc.DatabaseError as error:
            return None if "interrupted" in str(error) else cause(error)
        finally:
            raw.set_progress_handler(None, 0)
    return None if result == "ok" else " ".join(result.split())


@contextmanager
def writing(engine: sql.Engine) -> Iterator[sql.Connection]:
    """Yield a write transaction; SQLite takes its write lock at once, so that reads in it stay valid."""
    hold_file(engine)
    with write_turn(engine), engine.begin() as connection:
        if is_sqlite(engine):
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection
    hold_file(engine)  # a commit to a file that has just been removed is not on disk


@contextmanager
def write_turn(engine: sql.Engine) -> Iterator[None]:
    """Wait for this process's write turn on a SQLite file, and hold it; OperationalError after a timeout."""
    file = engine.get_execution_options().get(_FILE)
    if file is None:
        yield
    elif file.turn.acquire(timeout=_TURN_SECONDS):
        try:
            yield
        finally:
            file.turn.release()
    else:
        raise _file_error("the database is locked by another write")


def insert_missing(engine: sql.Engine, table: sql.Table, row: Mapping[str, Any]) -> sql.Executable:
    """Make a statement that inserts a row unless its key exists."""
    make = sqlite.insert if is_sqlite(engine) else postgresql.insert
    return make(table).values(**row).on_conflict_do_nothing()


def read_with_retries(
    engine: sql.Engine, query: sql.Select[Any], stop: threading.Event
) -> list[dict[str, Any]]:
    """Read rows as dictionaries; while a server is away, retry for a minute, or until `stop` is set."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            with engine.connect() as connection:
                return [dict(row) for row in connection.execute(query).mappings()]
        except sql.exc.DBAPIError as error:
            is_away = not is_sqlite(engine) and isinstance(error, _AWAY)
            if not is_away or time.monotonic() > until or stop.wait(_RETRY_SECONDS):
                raise


def file_fault(engine: sql.Engine) -> str | None:
    """Say why a SQLite database's path no longer leads to the file in use; None if it does."""
    file = engine.get_execution_options().get(_FILE)
    return None if file is None else file.fault()


def rewritten_files(engine: sql.Engine) -> Sequence[str]:
    """Say why a SQLite database's file has been written anew, each time, by whatever thread."""
    file = engine.get_execution_options().get(_FILE)
    return () if file is None else file.rewritten


def hold_file(engine: sql.Engine) -> None:
    """Check that committed data is in the file at the database's path; write that file anew if not.

    Raises OperationalError while that fails, and FileLost when it never can succeed.
    """
    file = engine.get_execution_options().get(_FILE)
    if file is None or file.fault() is None:
        return
    try:
        # connections to the old file are not reused; those in use fail to commit
        file.mend(lambda: _replace_pool(engine))
    except (sqlite3.Error, OSError) as error:
        raise _file_error(f"{file.fault()}, and cannot be written anew: {error}") from error


def _replace_pool(engine: sql.Engine) -> None:
    old_pool, engine.pool = engine.pool, engine.pool.recreate()
    old_pool.dispose()


def address(engine: sql.Engine) -> str:
    """Return the location of a database, without its password."""
    return engine.url.database or "" if is_sqlite(engine) else engine.url.render_as_string(hide_password=True)


def is_sqlite(engine: sql.Engine) -> bool:
    """Say whether a database is a file."""
    return engine.dialect.name == "sqlite"


def cause(error: Exception) -> str:
    """Say in one line what a database refused, without the statement and its values."""
    return " ".join(str(getattr(error, "orig", None) or error).split())


@contextmanager
def database_errors() -> Iterator[None]:
    """Convert database errors, and unreadable files, into a TutelageError of one line."""
    try:
        yield
    except sql.exc.SQLAlchemyError as error:
        raise TutelageError(
            f"expected the database to do this, got: {cause(error)}; see that it is there and sound, "
            "or restore it from a copy"
        ) from None


@contextmanager
def snapshot(path: Path) -> Iterator[Path]:
    """Yield a copy of a SQLite file with the contents of its log; it is removed afterwards.

    For callers that only read: opening a database adds missing columns and checksums to older tables. Errors
    name the original file.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        uri = f"{path.absolute().as_uri()}?mode=ro"
        try:
            with (
                contextlib.closing(sqlite3.connect(uri, uri=True)) as source,
                contextlib.closing(sqlite3.connect(copy)) as target,
            ):
                source.backup(target)
            yield copy
        except sqlite3.Error as error:
            raise TutelageError(
                f"expected a database at {path}, got: {error}; restore it from a copy"
            ) from None
        except TutelageError as error:
            raise TutelageError(str(error).replace(str(copy), str(path))) from None


def _sqlite_url(path: Path) -> sql.URL:
    path.parent.mkdir(parents=True, exist_ok=True)
    return sql.URL.create("sqlite", database=str(path))


def _sqlite_engine(url: sql.URL) -> sql.Engine:
    if not url.database or url.database == ":memory:" or url.query:
        return sql.create_engine(url, hide_parameters=True)
    refuse_link(Path(url.database))  # a link in a received folder would redirect writes elsewhere
    file = DatabaseFile(Path(url.database))
    engine = sql.create_engine(
        url,
        hide_parameters=True,
        creator=file.connect,
        execution_options={_FILE: file},
        json_deserializer=read_json,
    )

    @sql.event.listens_for(engine, "connect")
    def remember(_: Any, record: Any) -> None:
        record.info[_FILE] = file.identity

    seal_writes(engine)  # registered before the last check

    @sql.event.listens_for(engine, "commit")
    def check(connection: sql.Connection) -> None:
        if connection.info.get(_FILE) != file.identity:
            raise _file_error(f"{file.path} was written anew meanwhile")
        if fault := file.fault():
            raise _file_error(fault)

    @sql.event.listens_for(engine, "engine_disposed")
    def close(_: sql.Engine) -> None:
        file.close()

    return engine


def _file_error(why: str) -> sql.exc.OperationalError:
    return sql.exc.OperationalError("COMMIT", None, sqlite3.OperationalError(why))
