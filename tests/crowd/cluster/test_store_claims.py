"""Several servers that each fill a store: every kept demonstration is in one of them, and in one only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from tutelage.crowd.cluster import seat_leases as leases_module
from tutelage.crowd.cluster.seat_leases import SeatLeases
from tutelage.crowd.cluster.store_claims import StoreClaims, store_id
from tutelage.crowd.hosting.host import FinishedEpisode
from tutelage.crowd.seats.session import Phase, Session
from tutelage.crowd.settings import Settings
from tutelage.crowd.storage import archiver
from tutelage.crowd.storage.archiver import Archiver
from tutelage.crowd.storage.journal import Journal
from tutelage.crowd.storage.journal_records import SeatRecord
from tutelage.crowd.storage.study_tables import StudyDatabase
from tutelage.datasets.store import Store
from tutelage.envs.suite import Suite

Serve = Callable[[str], "Server"]


class Server:
    """What one server has of its own: a journal's connection, a heartbeat, a store and who fills it."""

    def __init__(self, url: str, folder: Path, suite: Suite) -> None:
        self.journal = Journal(url, shared=True)
        ledger = StudyDatabase(self.journal.engine)
        self.store = Store.create(folder, suite)
        name = store_id(folder)
        self.leases = SeatLeases(self.journal, ledger, on_lost=lambda _: None, store=name)
        self.leases.beat()
        self.keepers = StoreClaims(self.journal, ledger, self.leases, name, suite.name)
        self.settings = Settings(suite, folder)
        self.delivered: list[FinishedEpisode] = []
        self.archivers: list[Archiver] = []

    def play(self, seed: int, seat: str = "a") -> FinishedEpisode:
        """Play and keep one episode; nobody stores it yet."""

        async def run() -> None:
            session = Session(
                SeatRecord(seat, "ada"), self.settings.suite, self.journal, deliver=self.delivered.append
            )
            await session.enter("lake", seed)
            while session.phase is Phase.PLAYING:
                await session.act(np.array([1.0]))
            await session.keep()
            await session.close()

        self.leases.take(seat)
        asyncio.run(run())
        return self.delivered[-1]

    def keeper(self) -> Archiver:
        self.archivers.append(Archiver(self.settings, self.journal, self.store, pytest.fail, self.keepers))
        return self.archivers[-1]

    def has(self) -> list[int]:
        return sorted(self.store.episodes()["seed"].to_pylist())

    def die(self) -> None:
        """Stop as a killed process does: nothing is said to anybody."""
        self.journal.close()

    def close(self) -> None:
        for filling in self.archivers:
            filling.close()
        self.journal.close()


@pytest.fixture
def serve(database_url: str, tmp_path: Path, suite: Suite) -> Iterator[Serve]:
    with ExitStack() as stack:

        def start(name: str) -> Server:
            server = Server(database_url, tmp_path / name, suite)
            stack.callback(server.close)
            return server

        yield start


@pytest.fixture
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archiver, "_LOOK_SECONDS", 0.1)


@pytest.fixture
def dies_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases_module, "DEAD_AFTER_SECONDS", 0.3)


def until(true: Callable[[], object], *alive: Server, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        for server in alive:
            server.leases.beat()
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.05)


@pytest.mark.slow
def test_each_server_stores_what_was_played_there(serve: Serve) -> None:
    a, b = serve("a"), serve("b")
    keepers = [a.keeper(), b.keeper()]
    keepers[0].put(a.play(1, "seat-a"))
    keepers[1].put(b.play(2, "seat-b"))
    until(lambda: (a.has(), b.has()) == ([1], [2]), a, b)
    for keeper in keepers:
        keeper.close()
    assert (a.has(), b.has()) == ([1], [2])
    assert {record.state for record in a.journal.episodes()} == {"stored"}


def test_a_seat_that_moved_on_leaves_its_last_demonstration_behind_safely(serve: Serve) -> None:
    a, b = serve("a"), serve("b")
    keeper = a.keeper()
    kept = a.play(1)
    b.leases.take("a")
    keeper.put(kept)
    until(lambda: [record.state for record in b.journal.episodes()] == ["stored"], a, b)
    keeper.close()
    assert a.has() == [1]


@pytest.mark.usefixtures("looks_often")
def test_what_a_look_at_the_journal_found_first_is_not_stored_again(serve: Serve) -> None:
    a = serve("a")
    keeper = a.keeper()
    kept = a.play(1)
    until(lambda: a.has() == [1], a)  # the server stood still between keeping it and putting it here
    keeper.put(kept)
    keeper.put(a.play(2))
    keeper.close()
    assert a.has() == [1, 2]


@pytest.mark.usefixtures("looks_often", "dies_soon")
def test_what_a_dead_server_left_is_stored_by_a_living_one(serve: Serve) -> None:
    a, b = serve("a"), serve("b")
    a.keepers.claim(a.play(1).trajectory.episode)
    a.play(2)  # it died before it claimed this one
    a.die()
    keeper = b.keeper()
    until(lambda: b.has() == [1, 2], b)
    keeper.close()
    assert {record.state for record in b.journal.episodes()} == {"stored"}
    assert b.store.verify() == []


def test_nobody_takes_what_a_living_server_is_storing(serve: Serve) -> None:
    a, b = serve("a"), serve("b")
    a.keepers.claim(a.play(1).trajectory.episode)
    keeper = b.keeper()
    for _ in range(10):
        a.leases.beat()
        b.leases.beat()
        time.sleep(0.05)
    keeper.close()
    assert b.has() == []


@pytest.mark.slow
def test_who_was_taken_for_dead_takes_back_what_another_stores(serve: Serve) -> None:
    a, b = serve("a"), serve("b")
    kept = a.play(1)
    a.keepers.claim(kept.trajectory.episode)
    heir = b.keeper()
    until(lambda: b.has() == [1], b)  # `a` has been silent for long, and is not dead
    heir.close()
    late = a.keeper()
    late.put(kept)
    late.close()
    assert a.has() == []
    assert not a.keepers.confirm(kept.trajectory.episode)


@pytest.mark.slow
def test_who_died_between_storing_and_saying_so_takes_it_back_at_its_next_start(serve: Serve) -> None:
    a, b = serve("a"), serve("b")
    kept, other = a.play(1), a.play(2)
    for one in (kept, other):
        a.keepers.claim(one.trajectory.episode)
        a.store.append([one.trajectory])
    a.keepers.confirm(other.trajectory.episode)
    a.die()
    heir = b.keeper()
    until(lambda: b.has() == [1], b)
    heir.close()
    again = serve("a")
    again.keeper().close()
    assert (again.has(), b.has()) == ([2], [1])


@pytest.mark.slow
def test_who_died_and_comes_back_soon_goes_on_with_its_own(serve: Serve) -> None:
    a, b = serve("a"), serve("b")
    kept, stored = a.play(1), a.play(2)
    for one in (kept, stored):
        a.keepers.claim(one.trajectory.episode)
    a.store.append([stored.trajectory])
    a.die()
    again = serve("a")
    again.keeper().close()
    heir = b.keeper()
    heir.close()
    assert (again.has(), b.has()) == ([1, 2], [])
    assert {record.state for record in b.journal.episodes()} == {"stored"}


@pytest.mark.slow
def test_one_of_two_that_want_an_orphan_gets_it(serve: Serve) -> None:
    a, b, c = serve("a"), serve("b"), serve("c")
    for seed in range(6):
        a.keepers.claim(a.play(seed).trajectory.episode)
    a.die()
    heirs = [b.keeper(), c.keeper()]
    until(lambda: len(b.has()) + len(c.has()) >= 6, b, c)
    time.sleep(0.5)
    for one in heirs:
        one.close()
    assert sorted(b.has() + c.has()) == list(range(6))
