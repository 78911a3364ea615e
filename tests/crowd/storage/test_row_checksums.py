"""A journal with flipped bits: what is damaged is named, and nothing else than was written is used."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql
from tutelage.crowd.storage.database import database_errors, is_sqlite, open_database
from tutelage.crowd.storage.journal import Journal
from tutelage.crowd.storage.journal_records import EpisodeRecord, SeatRecord, StepRecord
from tutelage.crowd.storage.row_checksums import CHECKSUM, checksum_of
from tutelage.crowd.storage.study_tables import SEALED, PersonRecord, StudyDatabase, consents, events, people
from tutelage.errors import TutelageError
from tutelage.tests.support.postgres import PostgreSQL

SECONDS = 20
STEPS = 40
SWAP = "update sqlite_master set sql = replace(sql, ?, ?) where name = 'live_step'"


@pytest.fixture
def journal(database_url: str) -> Iterator[Journal]:
    with Journal(database_url) as opened:
        yield opened


def step(number: int) -> StepRecord:
    action = [float(number % 7)] if number % 2 else [float(number), 0.5]
    reward = float("nan") if number % 5 == 0 else -0.0 if number % 5 == 1 else number / 7
    return StepRecord(number, action, reward, number == 9, False, 90 * number, 0, number, bytes([number] * 8))


def fill(journal: Journal) -> None:
    """Write a few people, with their episodes, and a study's rows about them."""
    ledger = StudyDatabase(journal.engine)
    for person in ("ada", "bob", "eve"):
        journal.sit(SeatRecord(f"seat-{person}", person))
        for number in range(3):
            journal.begin(episode(person, number))
            for at in range(1, STEPS + 1):
                journal.append(f"{person}-{number}", step(at))
            journal.mark(f"{person}-{number}", "kept", "über").result(SECONDS)
        with ledger.write() as connection:
            connection.execute(people.insert(), person_row(person))
            decided = {"study": "s", "consent": "c0ffee", "language": "en", "decision": "given", "at": 1.5}
            connection.execute(consents.insert(), {"person": person, **decided})
        ledger.note("s", "bonus-set-up", person, details={"pence": 150, "bulk": "b"})
        ledger.change(person, stage="done", outcome="completed", code="C0DE")


def episode(person: str, number: int) -> EpisodeRecord:
    return EpisodeRecord(
        f"seat-{person}", person, "s", "t", "e", number, b"d" * 8, {"n": 1}, episode=f"{person}-{number}"
    )


def person_row(person: str) -> dict[str, Any]:
    return {
        "person": person, "seat": f"seat-{person}", "study": "s", "source": "link", "language": "en",
        "stage": "consent", "progress": {"number": 1}, "joined": 1.0, "seen": 2.0, "ended": None,
    }  # fmt: skip


def test_whatever_is_written_is_sealed_and_sound_on_every_database(journal: Journal) -> None:
    fill(journal)
    ledger = StudyDatabase(journal.engine)
    journal.drop("ada-0", 30).result(SECONDS)
    journal.append("ada-0", step(30)).result(SECONDS)
    assert ledger.damaged() == []
    assert journal._check_rows() == []
    with journal.engine.connect() as connection:
        for name in ("seats", "episodes", "steps", *(table.name for table in SEALED)):
            query = sql.text(f"select count(*) from {name} where checksum is null")
            assert connection.execute(query).scalar() == 0, name
    assert len(journal.steps("ada-0")) == 30
    assert len(journal.steps("bob-1")) == STEPS


def test_a_write_that_is_rolled_back_leaves_the_seal(journal: Journal) -> None:
    fill(journal)
    ledger = StudyDatabase(journal.engine)
    with contextlib.suppress(KeyError), ledger.write() as connection:
        connection.execute(people.update().values(code="other"))
        raise KeyError
    assert ledger.damaged() == []
    assert ledger.person(person="ada") is not None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "number"),
    [
        ("update steps set action = '[3.0]' where episode = 'ada-1' and step = 20", 19),
        ("update steps set time_ms = time_ms + 1 where episode = 'ada-1' and step = 7", 6),
        ("update steps set controller = 1 where episode = 'ada-1' and step = 1", 0),
        ("update steps set frame = 0 where episode = 'ada-1' and step = 40", 39),
        ("update steps set dropped = (1 = 1) where episode = 'ada-1' and step = 12", 11),
        ("update steps set episode = 'ada-7' where episode = 'ada-1' and step = 13", 12),
        ("update steps set reward = 0.25 where episode = 'ada-1' and step = 10", 9),
        ("delete from steps where episode = 'ada-1' and step = 5", 4),
    ],
)
def test_the_sound_beginning_of_an_episode_is_used_and_the_rest_named(
    journal: Journal, change: str, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    fill(journal)
    with journal.engine.begin() as connection:
        connection.exec_driver_sql(change)
    steps, damage = journal.sound_steps("ada-1")
    assert [row.step for row in steps] == list(range(1, number + 1))
    assert damage == f"step {number + 1} of episode ada-1 is damaged or missing"
    assert damage in caplog.text
    assert len(journal.steps("ada-2")) == STEPS


@pytest.mark.slow
@pytest.mark.parametrize(
    "column", ["seed = seed + 1", "demonstrator = 'eve'", "state = 'stored'", "kwargs = '{}'"]
)
def test_a_damaged_episode_is_named_and_the_others_are_there(
    journal: Journal, column: str, caplog: pytest.LogCaptureFixture
) -> None:
    fill(journal)
    with journal.engine.begin() as connection:
        connection.exec_driver_sql(f"update episodes set {column} where episode = 'ada-1'")
    assert {row.episode for row in journal.episodes(seat="seat-ada")} == {"ada-0", "ada-2"}
    assert "episodes ada-1 is damaged" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        "update people set outcome = 'failed-check' where person = 'ada'",
        "update people set progress = '{\"number\": 3}' where person = 'ada'",
        "update consents set decision = 'withdrawn' where person = 'ada'",
        "update consents set person = 'ada' where person = 'eve'",
        "update events set details = '{\"pence\": 950}' where person = 'ada'",
    ],
)
def test_nothing_is_decided_by_a_row_that_was_changed(journal: Journal, change: str) -> None:
    fill(journal)
    ledger = StudyDatabase(journal.engine)
    ledger.check("ada")
    with journal.engine.begin() as connection:
        connection.exec_driver_sql(change)
    with pytest.raises(TutelageError, match="as it was written, got a changed one"):
        ledger.check("ada")
    ledger.check("bob")
    assert len(ledger.damaged()) == 1


def test_rows_of_an_older_version_are_sealed_when_it_is_opened(database_url: str) -> None:
    with Journal(database_url) as journal:
        fill(journal)
        with journal.engine.begin() as connection:
            for name in ("seats", "episodes", "steps", "people", "consents", "events"):
                connection.exec_driver_sql(f"update {name} set checksum = null")
    with Journal(database_url) as journal:
        ledger = StudyDatabase(journal.engine)
        assert journal.damaged == ledger.damaged() == []
        assert len(journal.steps("eve-2")) == STEPS


def test_a_checksum_is_the_same_whatever_a_database_makes_of_a_value() -> None:
    row = {**person_row("ada"), "outcome": "", "code": "", CHECKSUM: None}
    assert checksum_of(people, row) == checksum_of(people, {**row, "progress": {"number": 1}})
    for name, value in {"joined": 1.5, "ended": 0.0, "code": "1", "progress": {"number": 2}}.items():
        assert checksum_of(people, row) != checksum_of(people, {**row, name: value})


def everything(journal: Journal) -> dict[str, Any]:
    """Read all that a journal and a ledger give."""
    ledger = StudyDatabase(journal.engine)
    told: dict[str, Any] = {}
    for person in ("ada", "bob", "eve"):
        with contextlib.suppress(TutelageError):
            ledger.check(person)
            told[person] = ledger.person(person=person)
            for table in (consents, events):
                query = sql.select(table).where(table.c.person == person).order_by(table.c.id)
                told[f"{table.name} {person}"] = [
                    {name: value for name, value in row.items() if name != CHECKSUM}
                    for row in ledger.rows(query)
                ]
        told[f"seat {person}"] = journal.seat(f"seat-{person}")
    for record in journal.episodes():
        told[record.episode] = record
        told[f"steps {record.episode}"] = [repr(step) for step in journal.steps(record.episode)]
    return told


@pytest.mark.slow
def test_no_flipped_bit_passes_silently(tmp_path: Path) -> None:
    """Each flip harms nothing, or is named: never is there another value than was written."""
    flips_unnoticed(tmp_path, 30)


@pytest.mark.soak
def test_none_of_two_thousand_flipped_bits_passes_silently(tmp_path: Path) -> None:
    flips_unnoticed(tmp_path, 2000)


def flips_unnoticed(folder: Path, count: int) -> None:
    good = folder / "good.sqlite"
    with Journal(good) as journal:
        fill(journal)
        before = everything(journal)
    assert isinstance(before["ada"], PersonRecord)
    rng = random.Random(0)
    used = [at for at, value in enumerate(good.read_bytes()) if value]
    outcomes = {"refused": 0, "named": 0, "harmless": 0}
    for _ in range(count):
        file = shutil.copy(good, folder / "journal.sqlite")
        at, bit = rng.choice(used), rng.randrange(8)
        with open(file, "r+b") as flipped:
            flipped.seek(at)
            [value] = flipped.read(1)
            flipped.seek(at)
            flipped.write(bytes([value ^ 1 << bit]))
        try:
            with database_errors(), Journal(file) as journal:
                after = everything(journal)
                named = bool(journal.damaged or StudyDatabase(journal.engine).damaged())
        except TutelageError:  # one line, as every such error
            outcomes["refused"] += 1
            continue
        for name, value in after.items():
            if name.startswith("steps "):
                assert value == before[name][: len(value)], (at, bit, name)
            elif value is not None:
                assert value == before.get(name), (at, bit, name)
        if after != before:
            assert named, (at, bit)
        outcomes["named" if named else "harmless"] += 1
    print(outcomes)
    assert outcomes["named"] > count / 8, outcomes


def test_an_index_that_lost_a_row_is_made_anew(tmp_path: Path) -> None:
    file = tmp_path / "journal.sqlite"
    with Journal(file) as journal:
        fill(journal)
        assert is_sqlite(journal.engine)
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute("pragma writable_schema = on")
        assert database.execute(SWAP, ("dropped IS NOT 1", "step < 5")).rowcount == 1
        database.commit()
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute("reindex")
        database.execute("pragma writable_schema = on")
        database.execute(SWAP, ("step < 5", "dropped IS NOT 1"))
        database.commit()
    with contextlib.closing(sqlite3.connect(file)) as database:
        assert "live_step" in str(database.execute("pragma integrity_check").fetchall())
    with Journal(file) as journal:
        assert len(journal.steps("ada-1")) == STEPS


def test_a_connection_that_its_server_ended_says_so_and_nothing_else(postgres: PostgreSQL) -> None:
    with postgres.database() as url:
        engine = open_database(url)

        def is_cut_off() -> None:
            with engine.begin() as connection:
                number = connection.scalar(sql.text("SELECT pg_backend_pid()"))
                postgres.administer(f"SELECT pg_terminate_backend({number})")
                connection.execute(sql.text("SELECT 1"))

        with pytest.raises(sql.exc.OperationalError):
            is_cut_off()
        engine.dispose()
