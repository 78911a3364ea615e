"""One writer for one database: in order, together, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
import sqlalchemy as sql
from tutelage.crowd.storage.commit_writer import CommitWriter, StepRow, Write
from tutelage.crowd.storage.database import make_tables, open_database
from tutelage.crowd.storage.write_fence import WriteFence, writers
from tutelage.errors import TutelageError

TABLES = sql.MetaData()
lines = sql.Table(
    "lines",
    TABLES,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("about", sql.String, nullable=False),
    sql.Column("number", sql.BigInteger, nullable=False),
    sql.UniqueConstraint("about", "number"),
)
SECONDS = 20
"""How long anything may take that does not wait for ever."""


@pytest.fixture
def engine(database_url: str) -> Iterator[sql.Engine]:
    one = open_database(database_url)
    make_tables(one, TABLES)
    yield one
    one.dispose()


@pytest.fixture
def writer(engine: sql.Engine) -> Iterator[CommitWriter]:
    writer = CommitWriter(engine, insert(engine))
    yield writer
    writer.close()


def insert(engine: sql.Engine) -> str:
    mark = "?" if engine.dialect.paramstyle == "qmark" else "%s"
    return f"INSERT INTO lines (about, number) VALUES ({mark}, {mark})"


def write(writer: CommitWriter, about: str, number: int) -> Future[None]:
    future: Future[None] = Future()
    writer.put(Write(lines.insert(), {"about": about, "number": number}, future, about))
    return future


def row(writer: CommitWriter, about: str, number: int) -> Future[None]:
    """Put a row down; who hears of it is a future: of this row, or of a later one that came with it."""
    future: Future[None] = Future()

    def hear(_: int, error: Exception | None) -> None:
        future.set_result(None) if error is None else future.set_exception(error)

    writer.put(StepRow(about, number, (about, number), hear))
    return future


def found(engine: sql.Engine, about: str | None = None) -> list[tuple[str, int]]:
    query = sql.select(lines.c.about, lines.c.number).order_by(lines.c.id)
    with engine.connect() as connection:
        rows = [(one.about, one.number) for one in connection.execute(query)]
    return [one for one in rows if about in (None, one[0])]


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.005)


def test_what_is_put_down_is_written_in_order_whatever_it_is(
    engine: sql.Engine, writer: CommitWriter
) -> None:
    rng = random.Random(0)
    put = [(rng.choice("abc"), number) for number in range(400)]
    waiting = [rng.choice((row, write))(writer, *one) for one in put]
    for one in waiting:
        one.result(SECONDS)
    assert found(engine) == put


def test_many_writers_each_find_what_they_were_told(engine: sql.Engine, writer: CommitWriter) -> None:
    def play(about: str) -> None:
        for number in range(40):
            (row if number % 3 else write)(writer, about, number).result(SECONDS)
            if number % 10 == 0:
                assert found(engine, about)[-1] == (about, number)

    threads = [threading.Thread(target=play, args=(f"w{at}",)) for at in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    for at in range(8):
        assert found(engine, f"w{at}") == [(f"w{at}", number) for number in range(40)]


def test_a_write_that_is_wrong_is_not_acknowledged_and_harms_no_other(
    engine: sql.Engine, writer: CommitWriter
) -> None:
    write(writer, "a", 1).result(SECONDS)
    wrong = [write(writer, "a", 1), row(writer, "b", 2**80)]
    right = [write(writer, "c", number) for number in range(50)]
    for one in wrong:
        assert one.exception(SECONDS) is not None
    for one in right:
        one.result(SECONDS)
    assert found(engine) == [("a", 1), *(("c", number) for number in range(50))]
    assert writer.trouble is None


def test_who_no_longer_waits_holds_nobody_up(engine: sql.Engine, writer: CommitWriter) -> None:
    async def impatient() -> None:
        waiting = [asyncio.wrap_future(write(writer, "gone", number)) for number in range(20)]
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    asyncio.run(impatient())
    write(writer, "here", 1).result(SECONDS)
    assert len(found(engine, "gone")) == 20


@pytest.mark.parametrize("error", [ValueError, RuntimeError])
def test_whoever_fails_to_hear_stops_nothing(
    engine: sql.Engine, writer: CommitWriter, error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    def hear(_: int, __: Exception | None) -> None:
        raise error("not now")

    writer.put(StepRow("deaf", 1, ("deaf", 1), hear))
    write(writer, "here", 1).result(SECONDS)
    assert found(engine) == [("deaf", 1), ("here", 1)]
    # an event loop that has closed says RuntimeError, and is nothing to speak of
    assert ("could not be told" in caplog.text) is (error is ValueError)


def test_closing_writes_all_that_waits(engine: sql.Engine) -> None:
    writer = CommitWriter(engine, insert(engine))
    waiting = [row(writer, "a", number) for number in range(1000)]
    writer.close()
    assert waiting[-1].done()
    assert len(found(engine)) == 1000


def test_a_write_that_comes_while_it_closes_is_written_or_refused(engine: sql.Engine) -> None:
    pace = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(8):
            _close_in_the_middle(engine)
    finally:
        sys.setswitchinterval(pace)


def _close_in_the_middle(engine: sql.Engine) -> None:
    writer = CommitWriter(engine, insert(engine))
    waiting: list[tuple[str, int, Future[None]]] = []
    closed = threading.Event()

    def put(about: str) -> None:
        for number in range(300):
            waiting.append((about, number, write(writer, about, number)))
            if closed.is_set():
                return

    before = len(found(engine))
    names = [f"{time.monotonic_ns()}-{at}" for at in range(4)]
    threads = [threading.Thread(target=put, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    until(lambda: len(waiting) > 20)
    writer.close()
    closed.set()
    for thread in threads:
        thread.join()
    fine = 0
    for about, number, future in waiting:
        error = future.exception(SECONDS)
        assert error is None or "closed" in str(error), (about, number)
        fine += error is None
    assert len(found(engine)) - before == fine


def test_readers_who_have_all_connections_are_waited_for(database_url: str) -> None:
    open_database(database_url).dispose()
    engine = sql.create_engine(
        open_database(database_url).url,
        poolclass=sql.QueuePool,
        pool_size=1,
        max_overflow=0,
        pool_timeout=0.1,
    )
    make_tables(engine, TABLES)
    writer = CommitWriter(engine, insert(engine))
    heard: list[str | None] = []
    writer.listeners.append(heard.append)
    with engine.connect():
        waiting = write(writer, "a", 1)
        until(lambda: writer.trouble)
        assert not waiting.done()
    waiting.result(SECONDS)
    assert heard[0]
    assert heard[1:] == [None]
    assert found(engine) == [("a", 1)]
    writer.close()
    engine.dispose()


def test_a_file_that_cannot_be_written_holds_the_writes_back_and_their_order(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "lines.sqlite")
    make_tables(engine, TABLES)
    writer = CommitWriter(engine, insert(engine))
    sql.event.listen(engine, "begin", lambda begun: begun.exec_driver_sql("pragma busy_timeout=20"))
    other = open_database(tmp_path / "lines.sqlite")
    with other.begin() as connection:
        connection.execute(lines.insert(), {"about": "other", "number": 0})
        waiting = [row(writer, "a", number) for number in range(30)]
        until(lambda: writer.trouble)
        waiting += [write(writer, "b", number) for number in range(30)]
        assert not any(future.done() for future in waiting)
    for future in waiting:
        future.result(SECONDS)
    wanted = [("other", 0), *(("a", at) for at in range(30)), *(("b", at) for at in range(30))]
    assert found(engine) == wanted
    writer.close()
    for each in (engine, other):
        each.dispose()


def test_a_seat_that_is_taken_in_the_middle_writes_nothing_more_and_the_others_do(engine: sql.Engine) -> None:
    fence = WriteFence(engine)
    fence.on_taken = lambda _: frozenset({"taken"})
    writer = CommitWriter(engine, insert(engine), fence)
    waiting: list[tuple[str, int, Future[None]]] = []
    for number in range(300):
        waiting += [(about, number, row(writer, about, number)) for about in ("taken", "mine")]
        if number == 150:
            waiting[100][2].result(SECONDS)
            with engine.begin() as connection:  # as another server takes a seat
                mine = writers.update().where(writers.c.writer == fence.name)
                connection.execute(mine.values(taken=writers.c.taken + 1))
                before = connection.execute(
                    sql.select(sql.func.count()).where(lines.c.about == "taken")
                ).scalar()
        if number % 20 == 0:
            time.sleep(0.002)
    for about, number, future in waiting:
        error = future.exception(SECONDS)
        assert error is None or (about == "taken" and "another server" in str(error)), (about, number)
    told = [number for about, number, future in waiting if about == "taken" and future.exception() is None]
    assert found(engine, "taken") == [("taken", number) for number in told]
    assert len(told) == before < 300
    assert found(engine, "mine") == [("mine", number) for number in range(300)]
    with pytest.raises(TutelageError, match="another server"):
        write(writer, "taken", 999).result(SECONDS)
    writer.close()
