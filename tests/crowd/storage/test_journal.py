from __future__ import annotations

import contextlib
import resource
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql
from hypothesis import given, settings
from hypothesis import strategies as st
from tutelage.crowd.storage.journal import Journal
from tutelage.crowd.storage.journal_records import EpisodeRecord, SeatRecord, StepRecord
from tutelage.errors import TutelageError


@pytest.fixture
def journal(database_url: str) -> Iterator[Journal]:
    with Journal(database_url) as one:
        yield one


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Journal]:
    """A journal in a file, for what only files do."""
    with Journal(tmp_path / "journal.sqlite") as one:
        yield one


def episode(**values: object) -> EpisodeRecord:
    known = EpisodeRecord("seat", "ada", "suite", "task", "env", seed=3, digest=b"d", kwargs={"size": 5})
    return replace(known, **values)  # type: ignore[arg-type]


def step(number: int, action: tuple[float, ...] = (1.0,), reward: float = 0.5) -> StepRecord:
    return StepRecord(
        number, list(action), reward, False, False, 10 * number, 0, number, bytes([number % 256])
    )


def test_what_was_written_is_read_back(journal: Journal) -> None:
    one = episode()
    journal.sit(SeatRecord("seat", "ada", "task"))
    journal.begin(one)
    journal.append(one.episode, step(1, (0.1, -2.0, 1e-300)))
    journal.append(one.episode, step(2)).result()
    assert journal.seat("seat") == SeatRecord("seat", "ada", "task")
    assert journal.seat("other") is None
    assert journal.episodes() == [one]
    assert journal.steps(one.episode) == [step(1, (0.1, -2.0, 1e-300)), step(2)]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=4))
def test_actions_come_back_exactly(tmp_path_factory: pytest.TempPathFactory, action: list[float]) -> None:
    with Journal(tmp_path_factory.mktemp("journal") / "j.sqlite") as journal:
        journal.append("e", step(1, tuple(action))).result()
        assert journal.steps("e")[0].action == action


def test_a_reward_that_is_not_a_number_survives(journal: Journal) -> None:
    journal.append("e", step(1, reward=float("nan"))).result()
    assert journal.steps("e")[0].reward != journal.steps("e")[0].reward


def test_a_resolved_step_is_seen_by_another_connection(file: Journal, tmp_path: Path) -> None:
    file.append("e", step(1)).result()
    with sqlite3.connect(tmp_path / "journal.sqlite") as other:
        assert other.execute("select count(*) from steps").fetchone() == (1,)
        assert other.execute("pragma journal_mode").fetchone() == ("wal",)


def test_every_commit_is_synced(journal: Journal) -> None:
    sqlite = journal.engine.dialect.name == "sqlite"
    question, answer = ("pragma synchronous", 2) if sqlite else ("show synchronous_commit", "on")
    with journal.engine.connect() as connection:
        assert connection.exec_driver_sql(question).scalar() == answer


def test_steps_that_wait_share_a_commit(journal: Journal) -> None:
    commits = 0

    def count(_: object) -> None:
        nonlocal commits
        commits += 1

    sql.event.listen(journal.engine, "commit", count)
    waiting = [journal.append("e", step(at + 1)) for at in range(500)]
    waiting[-1].result()
    assert all(one.done() for one in waiting)
    assert commits < 100


def test_many_threads_lose_nothing(journal: Journal) -> None:
    def play(name: str) -> None:
        for at in range(50):
            journal.append(name, step(at + 1)).result()

    threads = [threading.Thread(target=play, args=(f"e{at}",)) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all([one.step for one in journal.steps(f"e{at}")] == list(range(1, 51)) for at in range(8))


def test_a_step_written_twice_is_refused_and_harms_no_other(journal: Journal) -> None:
    journal.append("e", step(1)).result()
    again, other = journal.append("e", step(1)), journal.append("f", step(1))
    with pytest.raises(sql.exc.IntegrityError):
        again.result()
    other.result()
    assert [one.step for one in journal.steps("f")] == [1]
    assert journal.trouble is None


def test_after_a_refused_step_an_episode_takes_no_more_until_it_is_opened_again(journal: Journal) -> None:
    one = episode()
    journal.begin(one)
    journal.append(one.episode, step(1))
    refused = [journal.append(one.episode, step(number)) for number in (1, 2, 3)]
    for waiting in refused[1:]:
        with pytest.raises(TutelageError, match="written elsewhere"):
            waiting.result()
    assert [found.step for found in journal.steps(one.episode)] == [1]
    journal.mark(one.episode, "open")
    journal.append(one.episode, step(2)).result()
    assert [found.step for found in journal.steps(one.episode)] == [1, 2]


def test_a_commit_is_acknowledged_in_one_call_whatever_it_holds(journal: Journal) -> None:
    calls: list[list[tuple[int, Exception | None]]] = []
    heard: dict[str, list[tuple[int, Exception | None]]] = {"e": [], "f": []}

    def deliver(function: Callable[..., None], told: list[Any]) -> None:
        calls.append(told)
        function(told)

    journal.deliver_by(deliver)
    hears = {name: lambda number, error, name=name: heard[name].append((number, error)) for name in heard}
    for number in range(200):
        for name, hear in hears.items():
            journal.add(name, step(number + 1), hear)
    journal.flush()
    assert len(calls) < 40
    assert all(len(told) <= 2 for told in calls)
    for told in heard.values():
        assert told[-1] == (200, None)
        assert [number for number, _ in told] == sorted({number for number, _ in told})


def test_dropped_steps_stay_in_the_table_and_make_room(journal: Journal) -> None:
    for at in range(3):
        journal.append("e", step(at + 1))
    journal.drop("e", 2)
    journal.append("e", step(2, (9.0,))).result()
    assert [one.action for one in journal.steps("e")] == [[1.0], [9.0]]
    with journal.engine.connect() as connection:
        assert connection.exec_driver_sql("select count(*) from steps").scalar() == 4


def test_a_state_changes_and_orders_episodes(journal: Journal) -> None:
    first, second = episode(), episode()
    journal.begin(first)
    journal.begin(second)
    journal.mark(first.episode, "discarded", notes="slipped").result()
    assert [one.episode for one in journal.episodes(seat="seat")] == [second.episode, first.episode]
    assert [one.notes for one in journal.episodes(state="discarded")] == ["slipped"]
    with pytest.raises(TutelageError, match="expected a state of open"):
        journal.mark(first.episode, "lost")


def test_a_full_disk_is_told_and_nothing_is_lost(file: Journal, tmp_path: Path) -> None:
    heard: list[str | None] = []
    file.listeners.append(heard.append)
    file.append("e", step(1)).result()
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # no file of this process may grow beyond what the log has now: a real error from a real write
    size = (tmp_path / "journal.sqlite-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        waiting = [file.append("e", step(at + 2)) for at in range(50)]
        deadline = time.monotonic() + 60
        while file.trouble is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert file.trouble is not None
        assert not waiting[-1].done()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    waiting[-1].result(timeout=60)
    assert [one.step for one in file.steps("e")] == list(range(1, 52))
    assert file.trouble is None
    assert heard[-1] is None
    assert heard[0]


def test_closing_a_journal_that_cannot_write_tells_who_waits(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    with sqlite3.connect(tmp_path / "journal.sqlite", isolation_level=None) as other:
        other.execute("begin immediate")
        # the writer waits for a lock that nobody gives back
        sql.event.listen(journal.engine, "begin", lambda one: one.exec_driver_sql("pragma busy_timeout=50"))
        waiting = journal.append("e", step(1))
        while journal.trouble is None:
            time.sleep(0.01)
        journal.close()
        with pytest.raises(TutelageError, match="could not be written"):
            waiting.result()
    with pytest.raises(TutelageError, match="closed"):
        journal.append("e", step(2)).result()


def test_a_file_that_is_no_journal_is_named(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite").write_bytes(b"not a database, but long enough to be read as one" * 40)
    with pytest.raises(TutelageError, match=r"expected a journal at .*journal\.sqlite, got"):
        Journal(tmp_path / "journal.sqlite")


def test_a_url_is_taken_as_well_as_a_path(tmp_path: Path) -> None:
    with Journal(f"sqlite:///{tmp_path / 'by-url.sqlite'}") as journal:
        journal.append("e", step(1)).result()
    assert (tmp_path / "by-url.sqlite").is_file()


def test_a_journal_of_an_older_version_gets_the_columns_that_came_later(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.begin(episode()).result()
    with sqlite3.connect(tmp_path / "journal.sqlite") as old:
        for name in ("study", "consent", "role"):
            old.execute(f"alter table episodes drop column {name}")
    with Journal(tmp_path / "journal.sqlite") as journal:
        assert [(one.demonstrator, one.study, one.role) for one in journal.episodes()] == [("ada", "", "")]
        journal.begin(episode(study="pilot", consent="c0ffee", role="gold")).result()
        assert [one.consent for one in journal.episodes(role="gold")] == ["c0ffee"]


def test_a_journal_with_the_index_of_an_older_one_gets_its_own(tmp_path: Path) -> None:
    file = tmp_path / "journal.sqlite"
    with Journal(file):
        pass
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute("drop index live_step")
        database.execute("create unique index one_step on steps (episode, step) where dropped is 0")
        database.commit()
    with Journal(file):
        pass
    with contextlib.closing(sqlite3.connect(file)) as database:
        asked = "select step from steps where episode = 'a' and dropped is not 1 order by step"
        assert "USING INDEX live_step" in str(database.execute(f"explain query plan {asked}").fetchall())
