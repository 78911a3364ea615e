"""Several servers on one database: a seat is one server's at a time, whatever that server believes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy as sql
from tutelage.crowd.cluster import seat_leases as module
from tutelage.crowd.cluster.seat_leases import SeatLeases
from tutelage.crowd.storage.database import writing
from tutelage.crowd.storage.journal import Journal
from tutelage.crowd.storage.journal_records import EpisodeRecord, SeatRecord, StepRecord
from tutelage.crowd.storage.study_tables import StudyDatabase
from tutelage.crowd.storage.write_fence import writers
from tutelage.errors import TutelageError


@dataclass
class Server:
    journal: Journal
    leases: SeatLeases
    lost: list[str] = field(default_factory=list)


@pytest.fixture
def server(database_url: str) -> Iterator[Callable[..., Server]]:
    """Give a way to start one more server on the database; none beats by itself."""
    with ExitStack() as stack:

        def one(store: str = "") -> Server:
            journal = stack.enter_context(Journal(database_url, shared=True))
            lost: list[str] = []
            leases = SeatLeases(journal, StudyDatabase(journal.engine), on_lost=lost.append, store=store)
            stack.callback(leases.close)
            leases.beat()
            return Server(journal, leases, lost)

        yield one


def step(number: int) -> StepRecord:
    return StepRecord(number, [1.0], 0.5, False, False, number, 0, number, bytes(8))


EPISODE = EpisodeRecord("seat", "ada", "suite", "task", "env", seed=3, digest=b"d", episode="e")


def test_a_seat_moves_and_its_epoch_rises(server: Callable[..., Server]) -> None:
    a, b = server(), server()
    assert a.leases.take("seat") == a.leases.take("seat") == 1
    assert (a.leases.holds("seat"), b.leases.holds("seat")) == (True, False)
    assert b.leases.take("seat") == 2
    assert (a.leases.holds("seat"), b.leases.holds("seat")) == (False, True)
    assert a.lost == []
    a.leases.beat()
    assert (a.lost, b.lost) == (["seat"], [])


def test_who_lost_a_seat_can_write_nothing_more_about_it(server: Callable[..., Server]) -> None:
    a, b = server(), server()
    for seat in ("seat", "other"):
        a.leases.take(seat)
    a.journal.sit(SeatRecord("seat", "ada"))
    a.journal.begin(EPISODE)
    a.journal.append("e", step(1)).result()
    b.leases.take("seat")
    late: list[Any] = [
        a.journal.append("e", step(2)),
        a.journal.mark("e", "discarded"),
        a.journal.drop("e", 1),
        a.journal.sit(SeatRecord("seat", "ada", "elsewhere")),
        a.journal.begin(EpisodeRecord("seat", "ada", "suite", "task", "env", seed=4, digest=b"d")),
    ]
    fine = a.journal.begin(EpisodeRecord("other", "bob", "suite", "task", "env", seed=5, digest=b"d"))
    fine.result()
    for one in late:
        with pytest.raises(TutelageError, match="moved to another server"):
            one.result()
    assert a.lost == ["seat"]
    assert [one.step for one in b.journal.steps("e")] == [1]
    assert b.journal.seat("seat") == SeatRecord("seat", "ada")
    assert {one.seed: one.state for one in b.journal.episodes()} == {3: "open", 5: "open"}
    b.journal.append("e", step(2)).result()


def test_a_seat_that_comes_back_can_be_written_about_again(server: Callable[..., Server]) -> None:
    a, b = server(), server()
    a.leases.take("seat")
    a.journal.begin(EPISODE).result()
    for at, (one, other) in enumerate([(b, a), (a, b)] * 3):
        one.leases.take("seat")
        stale = other.journal.append("e", step(at + 1))
        with pytest.raises(TutelageError, match="moved"):
            stale.result()
        one.journal.append("e", step(at + 1)).result()
    assert [row.step for row in a.journal.steps("e")] == list(range(1, 7))
    assert a.lost == b.lost == ["seat"] * 3


def test_what_was_written_late_is_refused_even_if_the_seat_comes_back_first(
    server: Callable[..., Server],
) -> None:
    a, b = server(), server()
    a.leases.take("seat")
    a.journal.begin(EPISODE).result()
    b.leases.take("seat")
    with writing(b.journal.engine):  # the database is busy: what `a` writes has to wait
        stale = a.journal.append("e", step(1))
        time.sleep(0.2)
    a.leases.take("seat")
    with pytest.raises(TutelageError, match="moved"):
        stale.result()
    a.journal.append("e", step(1)).result()


def test_a_commit_underway_is_waited_for(server: Callable[..., Server]) -> None:
    a, b = server(), server()
    a.leases.take("seat")
    a.journal.begin(EPISODE).result()
    underway = threading.Event()

    def wait(connection: sql.Connection, *_: object) -> None:
        underway.set()
        time.sleep(0.4)  # the first statement of a commit is made, the last one not

    def after(connection: Any, cursor: Any, statement: str, *_: object) -> None:
        if "INSERT INTO steps" in statement:
            wait(connection)

    sql.event.listen(a.journal.engine, "before_cursor_execute", after)
    saved = a.journal.append("e", step(1))
    assert underway.wait(60)
    b.leases.take("seat")
    assert [one.step for one in b.journal.steps("e")] == [1]
    saved.result()


def test_two_that_take_from_each_other_get_through(server: Callable[..., Server]) -> None:
    a, b = server(), server()
    seats = [f"seat-{at}" for at in range(10)]

    def take(one: Server, order: list[str]) -> None:
        for seat in order * 3:
            one.leases.take(seat)
            one.journal.flush()

    threads = [threading.Thread(target=take, args=one) for one in ((a, seats), (b, seats[::-1]))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(a.leases.holds(seat) != b.leases.holds(seat) for seat in seats)


@pytest.mark.slow
def test_a_server_is_dead_when_its_heart_stood_still(
    server: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DEAD_AFTER_SECONDS", 2)  # many times what a busy machine takes away
    a, b = server("store-a"), server("store-b")
    for _ in range(4):
        time.sleep(0.1)
        a.leases.beat()
        b.leases.beat()
    assert set(a.leases.living().values()) == {"store-a", "store-b"}
    end = time.monotonic() + 60
    while set(a.leases.living().values()) != {"store-a"}:
        assert time.monotonic() < end
        time.sleep(0.1)
        a.leases.beat()
    assert set(b.leases.living().values()) >= {"store-b"}


def test_a_clock_that_is_set_back_kills_nobody(
    server: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DEAD_AFTER_SECONDS", 10)
    a, b = server("store-a"), server("store-b")
    hours = 3
    with monkeypatch.context() as patch:
        now = time.time
        patch.setattr(time, "time", lambda: now() - hours * 3600)
        for _ in range(3):
            a.leases.beat()
            b.leases.beat()
            time.sleep(0.05)
    assert set(a.leases.living()) == set(b.leases.living()) == {a.leases.server, b.leases.server}


def test_a_server_that_leaves_takes_its_row_with_it(server: Callable[..., Server]) -> None:
    a, b = server(), server()
    a.leases.take("seat")
    a.leases.close()
    a.journal.close()
    b.leases.beat()
    assert set(b.leases.living()) == {b.leases.server}
    assert b.leases.take("seat") == 2
    with b.journal.engine.connect() as connection:
        assert connection.execute(sql.select(writers.c.writer)).scalars().all() == [b.leases.server]


def test_leases_need_a_shared_journal(tmp_path: Any) -> None:
    with Journal(tmp_path / "j.sqlite") as journal, pytest.raises(TutelageError, match="servers share"):
        SeatLeases(journal, StudyDatabase(journal.engine), on_lost=print)
