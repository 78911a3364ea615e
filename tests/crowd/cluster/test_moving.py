"""Several real servers on one PostgreSQL: people move, servers die, and nothing is lost or twice."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tutelage.crowd.seats.protocol import OCCUPIED, REPLACED
from tutelage.tests.support.nursery import until
from tutelage.tests.support.postgres import PostgreSQL
from tutelage.tests.support.stranger import (
    GONE,
    Server,
    Stranger,
    check,
    check_stores,
    servers,
    states_in,
    steps_in,
)
from websockets.exceptions import ConnectionClosed


@pytest.fixture
def url(postgres: PostgreSQL) -> Iterator[str]:
    with postgres.database() as one:
        yield one


@pytest.mark.slow
def test_a_person_goes_on_at_another_server(url: str, tmp_path: Path) -> None:
    ann = Stranger()
    with servers(tmp_path, url, 2) as (a, b):
        ann.join(a.address)
        with ann.at(a.address) as here:
            ann.play(here, 3)  # the shortest episode has six steps
            episode = ann.state["episode"]["id"]
            with ann.at(b.address) as there:  # the proxy has sent the same page elsewhere
                assert ann.state["episode"]["id"] == episode
                ann.play(there, 2)
                with pytest.raises(ConnectionClosed) as told:
                    list(here)  # the old page's socket is read to its end
                assert told.value.rcvd is not None
                assert told.value.rcvd.code == REPLACED
                with ann.at(a.address) as back:
                    assert ann.state["episode"]["id"] == episode
                    ann.play(back, 100)
        assert ann.way["stage"] == "done"
        check(url, [ann])
        check_stores([a, b], [ann])
        assert len(ann.finished) == 3


@pytest.mark.slow
def test_a_second_page_is_refused_kindly_even_at_another_server(url: str, tmp_path: Path) -> None:
    ann = Stranger()
    with servers(tmp_path, url, 2) as (a, b):
        ann.join(a.address)
        with ann.at(a.address) as here:
            ann.play(here, 2)
            first, ann.page = ann.page, "another"
            with pytest.raises(ConnectionClosed) as told, ann.at(b.address):
                pass
            assert told.value.rcvd is not None
            assert told.value.rcvd.code == OCCUPIED
            with ann.at(b.address, take=True) as there:
                ann.play(there, 2)
                ann.page = first
                with pytest.raises(ConnectionClosed), ann.at(a.address):
                    pass
        check(url, [ann])


@pytest.mark.slow
def test_a_server_that_is_killed_leaves_nothing_undone(url: str, tmp_path: Path) -> None:
    ann, bob = Stranger(), Stranger()
    with servers(tmp_path, url, 2) as (a, b):
        for one in (ann, bob):
            one.join(a.address)
        with ann.at(a.address) as here, bob.at(a.address) as there:
            bob.play(there, 100)  # bob is through, and not all of it may be stored yet
            ann.play(here, 5, then=a.kill)
        with ann.at(b.address) as here:
            ann.play(here, 100)
        assert (ann.way["stage"], bob.way["stage"]) == ("done", "done")
        check(url, [ann, bob])
        check_stores([a, b], [ann, bob])
        until(lambda: set(states_in(url).values()) == {"stored"})  # noted after it is in a store
        a.start()  # and finds that others have done its work
        assert a.address
        check_stores([a, b], [ann, bob])


@pytest.mark.slow
def test_a_server_that_only_stood_still_writes_nothing_more(url: str, tmp_path: Path) -> None:
    ann = Stranger()
    with servers(tmp_path, url, 2) as (a, b):
        ann.join(a.address)
        with ann.at(a.address) as here:
            ann.play(here, 3)
            a.signal(signal.SIGSTOP)
            # these keys lie in the sleeping server's socket
            for code in ("ArrowLeft", "ArrowLeft", "ArrowUp"):
                here.send(f'{{"type": "down", "code": "{code}", "frame": 0}}')
            with ann.at(b.address) as there:
                ann.play(there, 2)
                a.signal(signal.SIGCONT)
                time.sleep(1)
                ann.play(there, 100)
        assert ann.way["stage"] == "done"
        check(url, [ann])
        check_stores([a, b], [ann])


def wander(strangers: list[Stranger], running: list[Server], rng: random.Random, until: float) -> None:
    """Let everybody play at once, each a few steps here and a few there."""

    def one_of_them(stranger: Stranger, mine: random.Random) -> None:
        address = running[0].address
        while time.monotonic() < until and stranger.way.get("stage") != "done":
            try:
                with contextlib.suppress(AssertionError):  # it has just been killed
                    address = mine.choice(running).address
                if not stranger.cookie:
                    stranger.join(address)
                with stranger.at(address, take=True) as socket:
                    stranger.play(socket, mine.randrange(1, 25))
            except GONE:
                time.sleep(0.05)
            except Exception as error:
                wrong.append(error)
                return

    wrong: list[Exception] = []
    threads = [
        threading.Thread(target=one_of_them, args=(one, random.Random(rng.random()))) for one in strangers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise wrong[0]


def fall(running: list[Server], postgres: PostgreSQL, rng: random.Random, until: float) -> None:
    """Kill servers, one at a time, and now and then the database."""
    while time.monotonic() < until:
        time.sleep(rng.uniform(0.5, 2.5))
        if rng.random() < 0.3:
            postgres.stop("immediate")
            time.sleep(rng.uniform(0, 1))
            postgres.start()
        else:
            one = rng.choice(running)
            one.kill()
            one.start()
            assert one.address


def storm(url: str, postgres: PostgreSQL, folder: Path, seconds: float) -> int:
    rng = random.Random(int(seconds))
    strangers = [Stranger() for _ in range(5)]
    with servers(folder, url, 2, episodes=1000, people=100) as running:
        until = time.monotonic() + seconds
        faller = threading.Thread(target=fall, args=(running, postgres, rng, until - 3))
        faller.start()
        wander(strangers, running, rng, until)
        faller.join()
        check(url, strangers)
        check_stores(running, strangers)
    return sum(len(one.finished) for one in strangers)


@pytest.mark.slow
def test_nothing_is_lost_or_twice_while_servers_and_database_fall(
    url: str, postgres: PostgreSQL, tmp_path: Path
) -> None:
    assert storm(url, postgres, tmp_path, 20) > 5


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_nor_in_a_quarter_of_an_hour_of_it(url: str, postgres: PostgreSQL, tmp_path: Path) -> None:
    finished = storm(url, postgres, tmp_path, 900)
    print(f"{finished} episodes finished, {sum(map(len, steps_in(url).values()))} steps")
