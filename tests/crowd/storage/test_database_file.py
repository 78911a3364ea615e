"""A journal whose file is removed, replaced or cut short while it is served: nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sql
from tutelage.crowd.storage.database import file_fault, hold_file, open_database
from tutelage.crowd.storage.database_file import FileLost
from tutelage.crowd.storage.journal import Journal
from tutelage.crowd.storage.journal_records import EpisodeRecord, SeatRecord, StepRecord
from tutelage.errors import TutelageError
from tutelage.files.folder_lock import lock_folder
from tutelage.tests.support import small_room
from tutelage.tests.support.nursery import Nursery, Server, until
from tutelage.tests.support.players import Player
from tutelage.tests.support.what_is_stored import check_acknowledged

SECONDS = 20
Attack = Callable[[Path], None]


def remove(*ends: str) -> Attack:
    def attack(file: Path) -> None:
        for end in ends:
            file.with_name(file.name + end).unlink()

    return attack


def replace_by_another(file: Path) -> None:
    with contextlib.closing(sqlite3.connect(file.with_name("other"))) as other:
        other.execute("create table strangers (name text)")
    file.with_name("other").replace(file)


def rename_file(file: Path) -> None:
    file.rename(file.with_name("renamed"))


ATTACKS = {
    "file": remove(""),
    "log": remove("-wal"),
    "index": remove("-shm"),
    "all three": remove("", "-wal", "-shm"),
    "file and log": remove("", "-wal"),
    "replaced": replace_by_another,
    "renamed": rename_file,
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "journal.sqlite"


@pytest.fixture
def journal(file: Path) -> Iterator[Journal]:
    with Journal(file) as opened:
        yield opened


def step(number: int) -> StepRecord:
    return StepRecord(number, [float(number % 3)], 0.5, False, False, number, 0, number, bytes(8))


def steps_in(file: Path, episode: str = "e") -> list[int]:
    """Read a file as a later process does: the file alone, by its path."""
    with contextlib.closing(sqlite3.connect(file)) as database:
        query = "select step from steps where episode = ? order by step"
        return [number for (number,) in database.execute(query, (episode,))]


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_what_is_acknowledged_is_in_the_file_at_the_path(
    journal: Journal, file: Path, attack: Attack
) -> None:
    heard: list[str | None] = []
    journal.listeners.append(heard.append)
    for number in range(1, 21):
        journal.append("e", step(number)).result(SECONDS)
    attack(file)
    for number in range(21, 41):
        journal.append("e", step(number)).result(SECONDS)
        copy = file.parent / "copy"  # as after `kill -9`: what is on disk, without this process
        copy.mkdir()
        for end in ("", "-wal"):
            shutil.copy(file.with_name(file.name + end), copy)
        assert steps_in(copy / file.name) == list(range(1, number + 1))
        shutil.rmtree(copy)
    assert heard[0] is not None
    assert ("was removed" in heard[0]) or ("was replaced" in heard[0])
    assert heard[-1] is None
    journal.close()
    assert steps_in(file) == list(range(1, 41))


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_a_file_is_written_anew_though_nobody_plays(journal: Journal, file: Path, attack: Attack) -> None:
    journal.append("e", step(1)).result(SECONDS)
    attack(file)
    assert file_fault(journal.engine)
    until(lambda: file_fault(journal.engine) is None)
    journal.close()
    assert steps_in(file) == [1]


def test_a_repair_by_another_thread_is_told_as_the_journal_s_own(journal: Journal, file: Path) -> None:
    told: list[str | None] = []
    journal.listeners.append(told.append)
    for count in (1, 2):
        remove("")(file)
        hold_file(journal.engine)
        journal.append("e", step(count)).result(SECONDS)
        until(lambda count=count: len(told) == 2 * count)  # type: ignore[misc]
    assert [why and "was removed while it was in use" in why for why in told] == [True, None, True, None]


def test_a_stranger_in_its_place_is_kept_under_another_name(journal: Journal, file: Path) -> None:
    journal.append("e", step(1)).result(SECONDS)
    replace_by_another(file)
    journal.append("e", step(2)).result(SECONDS)
    [aside] = file.parent.glob("journal.sqlite.set-aside-*")
    with contextlib.closing(sqlite3.connect(aside)) as other:
        assert other.execute("select count(*) from strangers").fetchone() == (0,)


def test_many_writers_lose_nothing_while_the_file_is_removed_again_and_again(
    journal: Journal, file: Path
) -> None:
    leaving = threading.Event()
    acknowledged = [0] * 6

    def play(player: int) -> None:
        number = 0
        while not leaving.is_set():
            number += 1
            journal.append(f"e{player}", step(number)).result(SECONDS)
            acknowledged[player] = number

    threads = [threading.Thread(target=play, args=(player,)) for player in range(len(acknowledged))]
    for thread in threads:
        thread.start()
    for attack in (ATTACKS["file"], ATTACKS["log"], ATTACKS["all three"], ATTACKS["replaced"]):
        before = sum(acknowledged)
        until(lambda before=before: sum(acknowledged) > before + 30)  # type: ignore[misc]
        attack(file)
        until(lambda: file_fault(journal.engine) is None)
    leaving.set()
    for thread in threads:
        thread.join()
    journal.close()
    for player, number in enumerate(acknowledged):
        assert steps_in(file, f"e{player}") == list(range(1, number + 1))


def test_a_file_that_is_removed_last_of_all_is_there_after_closing(file: Path) -> None:
    with Journal(file) as journal:
        journal.append("e", step(1)).result(SECONDS)
        remove("", "-wal", "-shm")(file)
    assert steps_in(file) == [1]


def test_a_folder_that_was_removed_is_made_again_and_serving_stops(journal: Journal, file: Path) -> None:
    lost: list[TutelageError] = []
    journal.on_lost(lost.append)
    journal.append("e", step(1)).result(SECONDS)
    shutil.rmtree(file.parent)
    with pytest.raises(FileLost, match="removed; the journal has been written anew to"):
        journal.append("e", step(2)).result(SECONDS)
    with pytest.raises(FileLost):
        journal.append("e", step(3)).result(SECONDS)
    assert len(lost) == 1
    assert "\n" not in str(lost[0])
    assert steps_in(file) == [1]
    journal.close()
    assert steps_in(file) == [1]


def test_a_folder_that_was_moved_keeps_all_and_serving_stops(journal: Journal, file: Path) -> None:
    journal.append("e", step(1)).result(SECONDS)
    moved = file.parent.rename(file.parent.with_name("moved"))
    with pytest.raises(FileLost, match=r"was moved; everything acknowledged is in journal\.sqlite there"):
        journal.append("e", step(2)).result(SECONDS)
    journal.close()
    assert not file.parent.exists()
    assert steps_in(moved / file.name) == [1]


def test_a_new_folder_in_its_place_is_somebody_elses(journal: Journal, file: Path) -> None:
    journal.append("e", step(1)).result(SECONDS)
    shutil.rmtree(file.parent)
    with Journal(file) as other:
        other.append("e", step(9)).result(SECONDS)
        with pytest.raises(FileLost, match=r"written anew to .*journal-[0-9a-f]{8}\.sqlite"):
            journal.append("e", step(2)).result(SECONDS)
        other.append("e", step(10)).result(SECONDS)
    [rescued] = file.parent.glob("journal-*.sqlite")
    assert (steps_in(file), steps_in(rescued)) == ([9, 10], [1])


def test_a_file_that_was_cut_short_acknowledges_nothing_more(journal: Journal, file: Path) -> None:
    for number in range(1, 2000):
        waiting = journal.append("e", step(number))
    waiting.result(SECONDS)
    with journal.engine.connect() as connection:
        connection.exec_driver_sql("pragma wal_checkpoint(truncate)").close()
    assert file_fault(journal.engine) is None
    os.truncate(file, 20_000)
    with pytest.raises(FileLost, match="got a file that was cut short from"):
        journal.append("e", step(2000)).result(SECONDS)


def test_a_database_that_was_made_smaller_by_vacuum_goes_on(journal: Journal, file: Path) -> None:
    for number in range(1, 2000):
        waiting = journal.append("e", step(number))
    waiting.result(SECONDS)
    with journal.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in ("pragma wal_checkpoint(truncate)", "delete from steps where step > 9", "vacuum"):
            connection.exec_driver_sql(statement).close()
        assert file_fault(journal.engine) is None
        before = file.stat().st_size
        connection.exec_driver_sql("pragma wal_checkpoint(truncate)").close()
    assert file.stat().st_size < before
    journal.append("e", step(10)).result(SECONDS)
    assert journal.trouble is None


def test_a_copy_whose_process_died_just_before_it_was_in_place_is_taken(file: Path) -> None:
    with Journal(file) as journal:
        journal.append("e", step(1)).result(SECONDS)
    file.rename(file.with_name("journal.sqlite.anew"))
    with Journal(file) as journal:
        assert [row.step for row in journal.steps("e")] == [1]
    assert not file.with_name("journal.sqlite.anew").exists()


def test_no_connection_ever_makes_a_file_anew(file: Path) -> None:
    engine = open_database(file)
    with engine.connect() as held:
        held.execute(sql.select(1))
        file.unlink()
        with pytest.raises(sql.exc.OperationalError, match="was removed"), engine.connect():
            pass
    assert not file.exists()
    engine.dispose()


def test_the_lock_of_a_folder_survives_the_deletion_of_everything_in_it(tmp_path: Path) -> None:
    with lock_folder(tmp_path):
        for path in tmp_path.iterdir():
            path.unlink()
        with pytest.raises(TutelageError, match="another recorder"):
            lock_folder(tmp_path)
    lock_folder(tmp_path).close()


@pytest.mark.parametrize("kind", ["recorder", "study"])
def test_a_server_whose_journal_is_removed_loses_nothing_it_acknowledged(
    nursery: Nursery, tmp_path: Path, kind: str
) -> None:
    folder = small_room.write(tmp_path / "served", episodes=12)
    place = folder / "out" if kind == "study" else folder
    player = Player(random.Random(1))
    server = nursery.start(kind, folder)

    async def story(server: Server = server) -> None:
        await player.join(server.address)
        async with player.page(server.address) as page:
            await player.greet(page)
            while player.answered < 10:
                await player.move(page)
            for path in place.glob("journal.*"):
                path.unlink()
            while (await player.read(page, "saving"))["failing"]:
                pass
            while player.answered < 25:
                await player.move(page)
            await player.settle(page)

    asyncio.run(story())
    assert [told["failing"] for told in player.told if told["type"] == "saving"] == [True, False]
    second = nursery.start(kind, folder)  # the lock's file is gone too
    second.gone()
    assert "another recorder" in second.log
    server.kill()
    check_acknowledged(place, [player])


def test_a_server_whose_folder_is_moved_stops_with_one_line(nursery: Nursery, tmp_path: Path) -> None:
    folder = small_room.write(tmp_path / "served")
    server = nursery.start("study", folder)
    until(lambda: "token" in server.log)  # the last thing that is written while it starts
    (folder / "out").rename(folder / "elsewhere")
    server.gone()
    [line] = [line for line in server.log.splitlines() if line.startswith("refused")]
    assert "was moved; everything acknowledged is in journal.sqlite there" in line
    assert server.complaints == [], server.log


def test_a_person_who_agreed_is_in_the_file_that_was_removed_meanwhile(file: Path) -> None:
    from tutelage.crowd.storage.study_tables import StudyDatabase, consents

    with Journal(file) as journal:
        ledger = StudyDatabase(journal.engine)
        journal.sit(SeatRecord("seat", "ada")).result(SECONDS)
        journal.begin(EpisodeRecord("seat", "ada", "s", "t", "e", 1, b"d")).result(SECONDS)
        file.unlink()
        row = {
            "person": "ada",
            "study": "s",
            "consent": "c",
            "language": "en",
            "decision": "given",
            "at": 1.0,
        }
        with ledger.write() as connection:
            connection.execute(consents.insert(), row)
        with contextlib.closing(sqlite3.connect(file)) as other:
            assert other.execute("select person, decision from consents").fetchall() == [("ada", "given")]
