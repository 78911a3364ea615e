"""PostgreSQL goes away, crashes, or loses its answers: what was acknowledged is there, and once."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sql
from tutelage.crowd.storage.journal import Journal
from tutelage.crowd.storage.journal_records import EpisodeRecord, SeatRecord, StepRecord
from tutelage.tests.support.postgres import PostgreSQL
from tutelage.tests.support.wire import Wire

PLAYERS = 6


@pytest.fixture
def url(postgres: PostgreSQL) -> Iterator[str]:
    with postgres.database() as one:
        yield one


@pytest.fixture
def wire(postgres: PostgreSQL) -> Iterator[Wire]:
    one = Wire(postgres.folder)
    yield one
    one.close()


def step(number: int) -> StepRecord:
    return StepRecord(number, [float(number % 3)], 0.5, False, False, number, 0, number, bytes(8))


class Crowd:
    """Players who each append to an episode of their own, and note what they were told is on disk."""

    def __init__(self, journal: Journal) -> None:
        self.acknowledged = [0] * PLAYERS
        self.heard: list[str | None] = []
        self._journal = journal
        self._leaving = threading.Event()
        journal.listeners.append(self.heard.append)
        self._threads = [threading.Thread(target=self._play, args=(at,)) for at in range(PLAYERS)]

    def __enter__(self) -> Crowd:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        for thread in self._threads:
            thread.join()

    def _play(self, player: int) -> None:
        number = 0
        while not self._leaving.is_set():
            number += 1
            saved = self._journal.append(f"episode-{player}", step(number))
            if number % 5 == 0:  # some steps are underway while others are waited for
                saved.result()
                self.acknowledged[player] = number
        saved.result()
        self.acknowledged[player] = number


def rows(journal: Journal, episode: str) -> list[int]:
    query = sql.text("select step from steps where episode = :episode order by id")
    with journal.engine.connect() as connection:
        return list(connection.execute(query, {"episode": episode}).scalars())


def check(journal: Journal, crowd: Crowd) -> None:
    for player, number in enumerate(crowd.acknowledged):
        assert rows(journal, f"episode-{player}") == list(range(1, number + 1))
    assert journal.trouble is None
    assert crowd.heard[-1] is None
    assert crowd.heard[0]


def until(true: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.01)


@pytest.mark.slow
def test_a_server_that_crashes_in_mid_play_loses_nothing(url: str, postgres: PostgreSQL) -> None:
    rng = random.Random(0)
    with Journal(url) as journal:
        with Crowd(journal) as crowd:
            for _ in range(3):
                time.sleep(rng.uniform(0.1, 0.4))
                before = sum(crowd.acknowledged)
                postgres.stop("immediate")
                postgres.start()
                until(lambda before=before: sum(crowd.acknowledged) > before + 5 * PLAYERS)
        check(journal, crowd)


def gone(url: str, postgres: PostgreSQL, seconds: float) -> None:
    with Journal(url) as journal:
        with Crowd(journal) as crowd:
            time.sleep(0.2)
            postgres.stop()
            try:
                until(lambda: journal.trouble)
                waiting = journal.append("late", step(1))
                time.sleep(seconds)
                assert not waiting.done()
            finally:
                postgres.start()
            waiting.result(timeout=60)
        check(journal, crowd)
        assert rows(journal, "late") == [1]


def test_writes_wait_for_a_database_that_is_gone(url: str, postgres: PostgreSQL) -> None:
    gone(url, postgres, 1.5)


@pytest.mark.soak
def test_writes_wait_for_a_database_that_is_gone_for_thirty_seconds(url: str, postgres: PostgreSQL) -> None:
    gone(url, postgres, 30)


@pytest.mark.slow
def test_reads_wait_for_it_too(url: str, postgres: PostgreSQL) -> None:
    with Journal(url) as journal:
        journal.append("e", step(1)).result()
        postgres.stop("immediate")
        back = threading.Timer(0.7, postgres.start)
        back.start()
        assert len(journal.steps("e")) == 1
        back.join()


def test_a_commit_whose_answer_was_lost_is_not_made_again(url: str, wire: Wire) -> None:
    episode = EpisodeRecord("seat", "ada", "suite", "task", "env", seed=3, digest=b"d")
    with Journal(wire.url(url)) as journal:
        journal.flush()
        wire.lose_answer()
        journal.sit(SeatRecord("seat", "ada"))
        journal.begin(episode)
        journal.append(episode.episode, step(1))
        journal.append(episode.episode, step(2))
        journal.drop(episode.episode, 2)
        journal.append(episode.episode, step(2)).result(timeout=60)
        assert wire.lost.is_set()
        assert rows(journal, episode.episode) == [1, 2, 2]  # one of which is dropped
        assert [one.step for one in journal.steps(episode.episode)] == [1, 2]
        assert len(journal.episodes()) == 1
        assert journal.append(episode.episode, step(3)).result(timeout=60) is None


def test_nor_while_the_database_is_still_busy_with_it(url: str, wire: Wire, postgres: PostgreSQL) -> None:
    with Journal(wire.url(url)) as journal:
        journal.append("e", step(1)).result()
        # commits now wait, with all their locks, for a standby that does not exist
        postgres.administer("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        postgres.administer("SELECT pg_reload_conf()")
        try:
            time.sleep(0.3)
            wire.lose_answer()
            waiting = journal.append("e", step(2))
            assert wire.lost.wait(20)
            until(lambda: journal.trouble)
            time.sleep(1)
            assert not waiting.done()
        finally:
            postgres.administer("ALTER SYSTEM RESET synchronous_standby_names")
            postgres.administer("SELECT pg_reload_conf()")
        waiting.result(timeout=60)
        assert rows(journal, "e") == [1, 2]


def test_a_cut_network_is_waited_out(url: str, wire: Wire) -> None:
    with Journal(wire.url(url)) as journal:
        with Crowd(journal) as crowd:
            for _ in range(3):
                time.sleep(0.2)
                wire.cut()
                time.sleep(0.2)
                wire.mend()
                journal.flush()
        check(journal, crowd)
