"""A person is forgotten everywhere, others stay as they were, and what is left is named."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
import sqlalchemy as sql
from tutelage.cli.main import app
from tutelage.crowd.cluster.seat_leases import SeatLeases
from tutelage.crowd.privacy.forgetting import StudyLocations, find, forget
from tutelage.crowd.storage import study_records as records
from tutelage.crowd.storage import study_tables as tables
from tutelage.crowd.storage.journal import Journal
from tutelage.crowd.storage.journal_records import JOURNAL, EpisodeRecord, SeatRecord, StepRecord
from tutelage.crowd.storage.secret import Secret
from tutelage.crowd.storage.study_tables import StudyDatabase
from tutelage.datasets.formats.exchange import export_store
from tutelage.datasets.maintenance.byte_search import needles
from tutelage.datasets.maintenance.replication import PartCopies
from tutelage.datasets.manifest import COPIED
from tutelage.datasets.remote import RemoteFolder
from tutelage.datasets.store import Store
from tutelage.datasets.trajectory import Trajectory
from tutelage.envs.suite import Suite
from tutelage.errors import TutelageError
from tutelage.files.folder_lock import lock_folder
from tutelage.tests.support.command_line import run
from tutelage.tests.support.postgres import PostgreSQL
from typer.testing import CliRunner

CANARY = "5f3c-cänary-61b9"
EVE, ANN = "person-e0e0e0e0e0e0", "person-a1a1a1a1a1a1"
Recorder = Callable[..., Trajectory]


def step(number: int) -> StepRecord:
    return StepRecord(number, [1.0], 0.5, False, False, number, 0, number, bytes(8))


def people(url: str | Path, *, study: str = "pilot") -> dict[str, str]:
    """Fill a database with two people who did the same things; returns their seats."""
    seats = {EVE: "5ea70000000000e0", ANN: "5ea70000000000a1"}
    with Journal(url) as journal:
        ledger = StudyDatabase(journal.engine)
        for person, seat in seats.items():
            journal.sit(SeatRecord(seat, person))
            for seed in range(3):
                record = EpisodeRecord(
                    seat, person, "toys", "words", "toys/Words-v0", seed, b"d", study=study
                )
                journal.begin(replace(record, state="stored"))
                for number in range(1, 40):
                    journal.append(record.episode, step(number))
            journal.flush()
            ids = {
                "participant": CANARY if person == EVE else "60aa-other",
                "study": "shared-by-all",
                "n": "7",
            }
            claim = {
                "study": study,
                "task": "words",
                "seed": 1,
                "role": "repeat",
                "slot": person,
                "until": 0.0,
            }
            known = {"study": study, "source": "prolific", "language": "en", "stage": "play", "progress": {}}
            with ledger.write() as connection:
                for table, row in (
                    (tables.people, {"seat": seat, **known, "joined": 1.0, "seen": 2.0}),
                    (tables.identities, {"source": "prolific", "ids": ids}),
                    (
                        tables.consents,
                        {"study": study, "consent": "c0", "language": "en", "decision": "given", "at": 3.0},
                    ),
                    (tables.claims, {**claim, "state": "done"}),
                    (
                        tables.events,
                        {"study": study, "what": "pause", "reason": "x", "details": {}, "at": 1.0},
                    ),
                    (tables.links, {"link": f"hash of {seat}", "study": study}),
                    (records.points, {"episode": f"points of {seat}", "points": 250}),
                    (
                        records.answers,
                        {"study": study, "question": "q", "attempt": 1, "answer": 0, "correct": True}
                        | {"language": "en", "at": 4.0},
                    ),
                    (
                        records.devices,
                        {"study": study, "device": "phone", "browser": "Firefox", "width": 400}
                        | {"height": 800, "language": "en", "at": 4.0},
                    ),
                    (
                        records.payments,
                        {"study": study, "kind": "bonus", "number": 1, "state": "owed", "amount": 75}
                        | {
                            "currency": "GBP",
                            "reason": "",
                            "answer": {"bulk": ids["participant"]},
                            "at": 5.0,
                        },
                    ),
                ):
                    connection.execute(table.insert(), {"person": person, **row})
    return seats


def fill(folder: Path, suite: Suite, record: Recorder) -> Store:
    store = Store.create(folder, suite)
    store.append([record(seed=1, demonstrator=EVE), record(seed=2, demonstrator=ANN)])
    store.append([record(seed=3, demonstrator=EVE)])
    return store


def bytes_in(folder: Path, *words: str) -> list[Path]:
    found = needles(words)
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and any(one in path.read_bytes() for one in found)
    ]


@pytest.fixture
def study(tmp_path: Path, toys: Suite, record: Recorder) -> Path:
    folder = tmp_path / "study"
    fill(folder, toys, record)
    people(folder / JOURNAL)
    return folder


def test_a_person_is_gone_from_every_byte_of_a_study(study: Path) -> None:
    assert bytes_in(study, CANARY)
    done = forget(EVE, StudyLocations(study))
    assert done.left == []
    assert bytes_in(study, EVE, CANARY, "5ea70000000000e0") == []
    assert done.removed["episodes in stores"] == 2
    assert done.removed["steps"] == 3 * 39
    assert any("bytes" in one for one in done.searched)


def test_others_stay_as_they_were(study: Path, toys: Suite) -> None:
    with Journal(study / JOURNAL) as journal:
        before = journal.episodes(demonstrator=ANN), journal.seat("5ea70000000000a1")
    forget(EVE, StudyLocations(study))
    with Journal(study / JOURNAL) as journal:
        assert (journal.episodes(demonstrator=ANN), journal.seat("5ea70000000000a1")) == before
        assert all(len(journal.steps(one.episode)) == 39 for one in before[0])
        ledger = StudyDatabase(journal.engine)
        for table in (
            tables.people,
            tables.identities,
            tables.claims,
            tables.events,
            tables.links,
            *records.RECORDS,
        ):
            assert [row["person"] for row in ledger.rows(sql.select(table))] == [ANN]
        consents = ledger.rows(sql.select(tables.consents))
    assert {one["person"]: one["decision"] for one in consents} == {ANN: "given", "": "withdrawn"}
    (bare,) = [one for one in consents if not one["person"]]
    assert (bare["study"], bare["consent"], bare["language"]) == ("pilot", "", "")
    assert bare["at"] % (24 * 3600) == 0
    store = Store.open(study)
    assert [one.demonstrator for one in store.trajectories()] == [ANN]
    assert store.verify() == []


def test_what_is_left_is_named(study: Path) -> None:
    (study / "notes.txt").write_text(f"{CANARY} called today")
    with zipfile.ZipFile(study / "records.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("people.csv", f"person\n{EVE}\n")
    (study / f"log-of-{EVE}").touch()
    done = forget(EVE, StudyLocations(study))
    assert done.left == [
        f"the name of {study / f'log-of-{EVE}'}",
        str(study / "notes.txt"),
        str(study / "records.zip"),
    ]
    for path in ("notes.txt", "records.zip", f"log-of-{EVE}"):
        (study / path).unlink()
    again = forget(EVE, StudyLocations(study), also=[CANARY])
    assert again.left == []
    assert again.removed == {}


def test_a_word_that_somebody_else_table_holds_is_found(study: Path) -> None:
    with Journal(study / JOURNAL) as journal:
        StudyDatabase(journal.engine).note("pilot", "note", person=ANN, reason=f"works with {EVE}")
    done = forget(EVE, StudyLocations(study))
    assert "1 row of the table events, in reason" in done.left


def test_a_study_that_is_served_is_left_alone(study: Path) -> None:
    with lock_folder(study), pytest.raises(TutelageError, match="stop that one first"):
        forget(EVE, StudyLocations(study))
    assert bytes_in(study, CANARY)


def test_somebody_is_found_by_an_external_id(study: Path, toys: Suite, record: Recorder) -> None:
    assert find(StudyLocations(study), "PROLIFIC_PID", CANARY) == EVE
    with pytest.raises(TutelageError, match="found 2 people"):
        find(StudyLocations(study), "STUDY_ID", "shared-by-all")
    with pytest.raises(TutelageError, match="found none"):
        find(StudyLocations(study), "PROLIFIC_PID", "unheard-of")
    assert not (study / "secret.key").exists()
    # who no longer stands in the table is found by the secret, in a store say
    pseudonym = Secret.load(study).pseudonym("prolific", "unheard-of")
    Store.open(study).append([record(seed=9, demonstrator=pseudonym)])
    assert find(StudyLocations(study), "PROLIFIC_PID", "unheard-of") == pseudonym


@pytest.mark.slow
def test_exports_are_written_anew(study: Path, tmp_path: Path) -> None:
    store = Store.open(study)
    for to in ("minari", "lerobot"):
        export_store(store, to, tmp_path / to)
    assert bytes_in(tmp_path / "minari", EVE)
    done = forget(EVE, StudyLocations(study))
    assert done.left == []
    assert done.removed["exports written anew"] == 2
    assert bytes_in(tmp_path / "minari", EVE) == []
    assert bytes_in(tmp_path / "minari", ANN)
    assert forget(ANN, StudyLocations(study)).left == []
    assert bytes_in(tmp_path / "minari", ANN) == []


@pytest.fixture
def bucket(s3: object) -> str:
    boto3.client("s3").put_bucket_versioning(Bucket="crowd", VersioningConfiguration={"Status": "Enabled"})
    return "s3://crowd/parts"


@pytest.mark.slow
def test_copies_are_reached_in_every_version(study: Path, bucket: str) -> None:
    store = Store.open(study)
    copies = PartCopies(store, bucket, pytest.fail)
    copies.start()
    copies.close()
    remote = RemoteFolder(bucket)
    # an older version, which a bucket keeps when a file is written over
    remote.copy(store.parts()[0])
    assert len(remote.versions()) == 4 + 1
    done = forget(EVE, StudyLocations(study, parts=bucket))
    assert done.left == []
    assert done.removed["episodes in copies"] == 2
    # older versions of manifests stay: they hold hashes of parts, and no participant's name
    left = [name for name, _ in remote.versions() if not COPIED.fullmatch(name)]
    assert left == [name for name in sorted(remote.sizes()) if not COPIED.fullmatch(name)]
    assert any(bucket in one for one in done.searched)


@pytest.mark.slow
def test_what_stands_in_an_old_version_is_named(study: Path, bucket: str, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    for text in (f"{EVE} was here", "nobody was here"):
        note.write_text(text)
        RemoteFolder(bucket).copy(note)
    copies = PartCopies(Store.open(study), bucket, pytest.fail)
    copies.start()
    copies.close()
    assert forget(EVE, StudyLocations(study, parts=bucket)).left == [f"note.txt at {bucket}"]


@contextmanager
def serving(url: str) -> Iterator[tuple[Journal, SeatLeases, list[str]]]:
    """A server that beats, as one that is being played on."""
    lost: list[str] = []
    with Journal(url) as journal:
        leases = SeatLeases(journal, StudyDatabase(journal.engine), on_lost=lost.append)
        leases.start()
        yield journal, leases, lost
        leases.close()


@pytest.mark.slow
def test_on_postgresql_somebody_is_forgotten_while_they_play(
    postgres: PostgreSQL, tmp_path: Path, toys: Suite, record: Recorder
) -> None:
    study = tmp_path / "study"
    fill(study, toys, record)
    with postgres.database() as url:
        seats = people(url)
        with serving(url) as (journal, leases, lost):
            for seat in seats.values():
                leases.take(seat)
            playing = EpisodeRecord(seats[EVE], EVE, "toys", "words", "toys/Words-v0", 5, b"d")
            journal.begin(playing).result()
            other = EpisodeRecord(seats[ANN], ANN, "toys", "words", "toys/Words-v0", 6, b"d")
            journal.begin(other).result()
            done = forget(EVE, StudyLocations(study, database=url))
            late = journal.append(playing.episode, step(1))
            with pytest.raises(TutelageError, match="moved"):
                late.result()
            journal.append(other.episode, step(1)).result()
            assert lost == [seats[EVE]]
        assert done.left == []
        assert any("write-ahead log" in one for one in done.unreachable)
        # the pages of the tables themselves: nothing in what deleted rows left, nor in the statistics
        postgres.administer("CHECKPOINT")
        assert bytes_in(postgres.data / "base", ANN)
        assert bytes_in(postgres.data / "base", EVE, CANARY, seats[EVE]) == []


def test_the_command_says_what_it_did_and_ends_with_2_when_something_is_left(study: Path) -> None:
    (study / "notes.txt").write_text(EVE)
    done = run("forget", "--id", f"PROLIFIC_PID={CANARY}", "--study", study)
    assert done.returncode == 2
    assert "notes.txt" in done.stderr
    (study / "notes.txt").unlink()
    done = run("forget", EVE, "--study", study, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["left"] == []
    for wrong in ([], [EVE, "--id", "A=b"], ["--id", "A"], [EVE]):
        told = CliRunner().invoke(app, ["forget", *wrong])
        assert isinstance(told.exception, TutelageError), wrong


@pytest.mark.parametrize("words", [[], ["--dry-run"], ["--json"]], ids=["forget", "dry run", "json"])
def test_a_person_who_was_never_there_is_said_so_with_status_2(study: Path, words: list[str]) -> None:
    done = run("forget", "person-nobody", "--study", study, *words)
    assert done.returncode == 2
    assert "expected a person named person-nobody, found no person of that name" in done.stderr
    assert "is left where" not in done.stdout


def test_every_table_with_a_person_is_reached(study: Path) -> None:
    named = [table for table in tables.TABLES.sorted_tables if "person" in table.c]
    with Journal(study / JOURNAL) as journal:
        filled = [table for table in named if StudyDatabase(journal.engine).rows(sql.select(table))]
    assert {table.name for table in named} - {table.name for table in filled} <= {"browsers", "conduct"}
    forget(EVE, StudyLocations(study))
    with Journal(study / JOURNAL) as journal:
        for table in named:
            query = sql.select(table).where(table.c.person == EVE)
            assert StudyDatabase(journal.engine).rows(query) == [], table.name


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TutelageError, match="found none; check the path"):
        forget(EVE, StudyLocations(tmp_path / "nowhere"))


@pytest.mark.parametrize("harm", ["cut", "ids", "table"])
@pytest.mark.parametrize("words", [[], ["--dry-run"]], ids=["forget", "dry run"])
def test_a_damaged_database_is_one_line(tmp_path: Path, harm: str, words: list[str]) -> None:
    people(tmp_path / JOURNAL)
    if harm == "cut":
        data = (tmp_path / JOURNAL).read_bytes()
        (tmp_path / JOURNAL).write_bytes(data[: len(data) // 2])
    else:
        statement = {
            "ids": "UPDATE identities SET ids = '[1]', checksum = NULL",
            "table": "ALTER TABLE episodes RENAME COLUMN demonstrator TO x; "
            "CREATE TRIGGER no BEFORE UPDATE ON episodes BEGIN SELECT RAISE(ABORT, 'no'); END",
        }[harm]
        with contextlib.closing(sqlite3.connect(tmp_path / JOURNAL)) as connection:
            connection.executescript(statement)
    before = (tmp_path / JOURNAL).read_bytes()
    done = CliRunner().invoke(app, ["forget", EVE, "--study", str(tmp_path), *words])
    assert isinstance(done.exception, TutelageError), done.exception
    assert "\n" not in str(done.exception)
    assert not words or (tmp_path / JOURNAL).read_bytes() == before
