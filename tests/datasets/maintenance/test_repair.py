"""A store is mended from copies and the journal, wherever it is killed, and nothing is thrown away."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tutelage.cli.main import app
from tutelage.crowd.hosting.host import FinishedEpisode
from tutelage.crowd.seats.free_choice import FreeChoice, play
from tutelage.crowd.seats.seed_assignment import SeedAssignment
from tutelage.crowd.seats.session import Session
from tutelage.crowd.settings import Settings
from tutelage.crowd.storage.archiver import Archiver
from tutelage.crowd.storage.journal import Journal
from tutelage.crowd.storage.journal_records import SeatRecord
from tutelage.crowd.storage.store_repair import mend
from tutelage.datasets.editing.edit_commit import commit, compact
from tutelage.datasets.editing.plans import plan_delete
from tutelage.datasets.editing.selection import Selection
from tutelage.datasets.maintenance.replication import PartCopies
from tutelage.datasets.manifest import MANIFEST, Manifest
from tutelage.datasets.pending import EDITS
from tutelage.datasets.store import Store
from tutelage.datasets.trajectory import Trajectory
from tutelage.envs.suite import Suite
from tutelage.errors import TutelageError
from tutelage.tests.support.damage import flip_bit
from tutelage.tests.support.postgres import PostgreSQL
from typer.testing import CliRunner

Recorder = Callable[..., Trajectory]
WHO = "eve-with-a-name-of-her-own"


def read(path: Path) -> list[str]:
    return [trajectory.episode for trajectory in Store.open(path).trajectories()]


@pytest.fixture
def filled(store: Store, record: Recorder) -> Store:
    for seed in range(3):
        store.append([record(seed=seed), record("cartpole", seed, demonstrator=WHO)])
    return store


@pytest.fixture
def copy(filled: Store, tmp_path: Path) -> Path:
    return shutil.copytree(filled.path, tmp_path / "copy")


HARMS: dict[str, Callable[[Path, list[Path]], object]] = {
    "missing": lambda _, parts: parts[1].unlink(),
    "flipped": lambda _, parts: flip_bit(parts[1]),
    "cut": lambda _, parts: parts[1].write_bytes(parts[1].read_bytes()[:-1]),
    "swapped": lambda _, parts: parts[0].write_bytes(parts[1].read_bytes()),
    "suite": lambda path, _: flip_bit(path / "dataset.yaml"),
    "no suite": lambda path, _: (path / "dataset.yaml").unlink(),
    "manifest": lambda path, _: flip_bit(path / "manifest.json"),
    "no manifest": lambda path, parts: [(path / "manifest.json").unlink(), parts[2].unlink()],
    "neither": lambda path, _: [(path / "dataset.yaml").unlink(), (path / "manifest.json").unlink()],
    "all parts": lambda _, parts: [part.unlink() for part in parts],
}


@pytest.mark.parametrize("harm", HARMS)
def test_what_a_copy_has_comes_back(harm: str, filled: Store, copy: Path) -> None:
    whole = read(filled.path)
    HARMS[harm](filled.path, filled.parts())
    listing = mend(filled.path, [str(copy)], dry_run=True)
    assert listing.problems
    with pytest.raises(TutelageError, match=r"tutelage repair|found no dataset\.yaml"):
        read(filled.path)  # the listing has changed nothing
    done = mend(filled.path, [str(copy)])
    assert (done.problems, done.lost, done.restored) == ([], 0, 0)
    assert read(filled.path) == whole
    assert Store.open(filled.path).verify() == []
    assert mend(filled.path, dry_run=True).findings == []


@pytest.mark.parametrize("harm", ["missing", "flipped", "swapped", "suite", "no suite", "manifest"])
def test_without_a_copy_the_rest_is_sound_and_what_is_lost_is_said(harm: str, filled: Store) -> None:
    whole = read(filled.path)
    parts = filled.parts()
    HARMS[harm](filled.path, parts)
    done = mend(filled.path)
    assert done.problems == []
    loses = harm in ("missing", "flipped", "swapped")
    assert done.lost == 2 * loses
    assert done.lines()[-1] == "the store is sound"
    left = read(filled.path)
    assert left == [episode for episode in whole if episode in left]
    assert len(left) == 6 - 2 * loses
    aside = filled.path / ".damaged"
    assert aside.exists() == (harm not in ("missing", "no suite"))


def test_a_lost_part_is_taken_in_when_it_is_put_back(filled: Store) -> None:
    whole = read(filled.path)
    part = filled.parts()[1]
    part.rename(filled.path.parent / part.name)
    assert mend(filled.path).lost == 2
    shutil.copy(filled.path.parent / part.name, part)
    assert mend(filled.path).problems == []
    assert read(filled.path) == whole


def test_a_renamed_part_gets_its_name_back(filled: Store) -> None:
    whole, part = read(filled.path), filled.parts()[1]
    part.rename(filled.path / "part-copy.parquet")
    done = mend(filled.path)
    assert ([finding.remedy for finding in done.findings], done.lost) == (
        ["part-copy.parquet has its content and gets its name"],
        0,
    )
    assert read(filled.path) == whole


def test_a_part_under_a_second_name_is_moved_aside(filled: Store) -> None:
    whole, part = read(filled.path), filled.parts()[1]
    other = filled.path / part.name.replace("part-2", "part-3", 1)
    shutil.copy(part, other)
    assert mend(filled.path).problems == []
    assert read(filled.path) == whole
    assert [path.name for path in (filled.path / ".damaged").iterdir()] == [other.name]


def test_episodes_that_were_appended_twice_stay_once(filled: Store, record: Recorder) -> None:
    whole = list(filled.trajectories())
    new = record(seed=9)
    filled.append([whole[0], new, whole[3]])
    filled.append([whole[1]])
    done = mend(filled.path)
    assert (done.problems, len(done.findings)) == ([], 2)
    assert read(filled.path) == [*(trajectory.episode for trajectory in whole), new.episode]
    assert len(list((filled.path / ".damaged").iterdir())) == 2


def test_what_is_no_part_of_this_suite_is_moved_aside(
    filled: Store, record: Recorder, tmp_path: Path
) -> None:
    other = Store.create(tmp_path / "more", filled.suite)
    theirs = other.append([record(seed=7)])
    shutil.copy(theirs, filled.path)
    (finding,) = mend(filled.path).findings
    assert finding.remedy == "it is taken in"  # of this suite, and new
    (filled.path / "part-nonsense.parquet").write_bytes(b"PAR1")
    (filled.path / "part-folder.parquet").mkdir()
    (filled.path / "part-link.parquet").symlink_to(theirs)
    assert mend(filled.path).problems == []
    assert len(list((filled.path / ".damaged").iterdir())) == 3
    assert theirs.exists()
    assert len(read(filled.path)) == 7


def test_a_store_of_schema_1_is_upgraded(filled: Store) -> None:
    whole = read(filled.path)
    (filled.path / "manifest.json").unlink()
    document = yaml.safe_dump({"schema": 1, "suite": dict(filled.suite.source)}, sort_keys=False)
    (filled.path / "dataset.yaml").write_text(document)
    with pytest.raises(TutelageError, match="older store"):
        Store.open(filled.path)
    assert mend(filled.path).problems == []
    assert read(filled.path) == whole
    assert Store.open(filled.path).suite == filled.suite


def test_a_folder_of_copies_brings_back_what_several_stores_lost(
    filled: Store, record: Recorder, tmp_path: Path
) -> None:
    other = Store.create(tmp_path / "other", filled.suite)
    other.append([record(seed=20)])
    url = f"file://{tmp_path / 'copies'}"
    for store in (filled, other):
        copies = PartCopies(store, url, pytest.fail)
        copies.start()
        copies.close()
    whole = read(filled.path)
    for part in filled.parts():
        part.unlink()
    assert mend(filled.path, [url]).problems == []
    assert read(filled.path) == whole
    assert len(read(tmp_path / "copies")) == 7  # a folder of copies is a store itself
    os.unlink(tmp_path / "copies" / other.parts()[0].name)
    with pytest.raises(TutelageError, match="missing"):
        read(tmp_path / "copies")


def test_a_damaged_copy_brings_nothing(filled: Store, copy: Path) -> None:
    part = filled.parts()[1]
    part.unlink()
    flip_bit(copy / part.name)
    assert mend(filled.path, [str(copy)]).lost == 2
    assert len(read(filled.path)) == 4


def test_a_place_without_a_copy_is_named(filled: Store, tmp_path: Path) -> None:
    with pytest.raises(TutelageError, match="expected a copy of the store at"):
        mend(filled.path, [str(tmp_path / "nowhere")])
    with pytest.raises(TutelageError, match="found no such folder"):
        mend(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TutelageError, match="the suite is lost here"):
        mend(tmp_path / "empty")


def test_forgetting_empties_what_was_moved_aside(filled: Store) -> None:
    flip_bit(filled.parts()[1])
    mend(filled.path)
    assert (filled.path / ".damaged").exists()
    filled.forget(WHO)
    assert not (filled.path / ".damaged").exists()
    assert not any(WHO.encode() in path.read_bytes() for path in filled.path.iterdir())


def test_the_verb_lists_first_and_ends_with_status_0_when_all_is_sound(filled: Store, copy: Path) -> None:
    part = filled.parts()[1]
    part.unlink()
    dry = CliRunner().invoke(app, ["repair", str(filled.path), "--dry-run"])
    assert isinstance(dry.exception, TutelageError)
    assert f"part {part.name} with 2 episodes is missing" in dry.output
    assert not part.exists()
    done = CliRunner().invoke(app, ["repair", str(filled.path), "--from", str(copy), "--json"])
    assert (done.exception, json.loads(done.output)["problems"]) == (None, [])
    again = CliRunner().invoke(app, ["repair", str(filled.path)])
    assert (again.exit_code, again.output.strip()) == (0, "the store is sound")


@pytest.mark.anyio
@pytest.mark.parametrize("marked", [True, False])
async def test_what_the_journal_has_comes_back_after_a_part_was_deleted(
    opened: Callable[..., Awaitable[FreeChoice]],
    tmp_path: Path,
    suite: Suite,
    delivered: list[FinishedEpisode],
    marked: bool,
) -> None:
    choice, other = await opened(), await opened("b", "bob")
    store = Store.create(tmp_path / "store", suite)
    keeper = Archiver(choice.settings, choice._journal, store, pytest.fail)
    for _ in range(3):
        await play(choice, "lake", lambda _: np.array([1.0]))
    await play(other, "unrepeatable", lambda _: np.array([1.0, 2.0]))
    for kept in delivered:
        keeper.put(kept)
    keeper.close()
    choice._journal.flush()
    before = {trajectory.episode: trajectory for trajectory in store.trajectories()}
    for record in choice._journal.episodes(state="stored") if not marked else ():
        choice._journal.mark(record.episode, "kept")
    choice._journal.close()
    for part in store.parts():
        part.unlink()
    done = mend(store.path, journal=str(tmp_path / "journal.sqlite"))
    assert (done.problems, done.restored, done.lost) == ([], 3, 4)
    (reason,) = done.unrestored  # no seed gives its noise back
    after = {trajectory.episode: trajectory for trajectory in Store.open(store.path).trajectories()}
    gone = before.keys() - after.keys()
    assert [before[episode].task for episode in gone] == ["unrepeatable"]
    assert all(episode in reason for episode in gone)
    for episode, trajectory in after.items():
        assert np.array_equal(trajectory.actions, before[episode].actions)
        assert trajectory.digest == before[episode].digest
        assert np.array_equal(trajectory.times_ms, before[episode].times_ms)
    assert Store.open(store.path).verify() == []
    assert mend(store.path, journal=str(tmp_path)).restored == 0


@pytest.mark.anyio
async def test_a_journal_on_postgresql_brings_back_what_a_store_lost(
    postgres: PostgreSQL, tmp_path: Path, suite: Suite
) -> None:
    store = Store.create(tmp_path / "store", suite)
    with postgres.database() as url:
        with Journal(url, shared=True) as journal:
            settings = Settings(suite, store.path)
            keeper = Archiver(settings, journal, store, pytest.fail)
            seat = SeatRecord("a" * 32, WHO)
            session = Session(seat, suite, journal, kind="person", deliver=keeper.put)
            assignment = SeedAssignment(settings.seeds, settings.is_baseline, journal)
            choice = FreeChoice(session, settings, journal, assignment)
            await choice.count()
            for _ in range(2):
                await play(choice, "lake", lambda _: np.array([1.0]))
            keeper.close()
            journal.flush()
        before = {trajectory.episode: trajectory for trajectory in store.trajectories()}
        for part in store.parts():
            part.unlink()
        done = CliRunner().invoke(app, ["repair", str(store.path), "--journal", url, "--json"])
    assert done.exception is None, done.output
    assert (json.loads(done.stdout)["restored"], json.loads(done.stdout)["problems"]) == (2, [])
    after = {trajectory.episode: trajectory for trajectory in Store.open(store.path).trajectories()}
    assert after.keys() == before.keys()
    assert all(after[episode].digest == before[episode].digest for episode in before)


@pytest.mark.anyio
async def test_what_was_deleted_on_purpose_does_not_come_back_from_the_journal(
    opened: Callable[..., Awaitable[FreeChoice]],
    tmp_path: Path,
    suite: Suite,
    delivered: list[FinishedEpisode],
) -> None:
    choice = await opened()
    store = Store.create(tmp_path / "store", suite)
    keeper = Archiver(choice.settings, choice._journal, store, pytest.fail)
    for _ in range(2):
        await play(choice, "lake", lambda _: np.array([1.0]))
    for kept in delivered:
        keeper.put(kept)
    keeper.close()
    choice._journal.flush()
    choice._journal.close()
    first, second = store.episodes()["episode"].to_pylist()
    commit(store, plan_delete(store, Selection(episodes=[first])).change)
    compact(store)
    (tmp_path / "store" / MANIFEST).unlink()  # what is noted as deleted outlasts the manifest
    done = mend(store.path, journal=str(tmp_path / "journal.sqlite"))
    assert (done.problems, done.restored) == ([], 0)
    assert read(store.path) == [second]


def test_an_edit_that_was_interrupted_is_named_and_finished(filled: Store) -> None:
    change = plan_delete(filled, Selection(episodes=read(filled.path)[:1])).change
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Manifest, "write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            commit(filled, change)
    whole = read(filled.path)
    told: list[str] = []
    assert mend(filled.path, dry_run=True, tell=told.append).problems == ["an edit was interrupted"]
    assert told == ["an edit was interrupted: it is finished, or taken back"]
    assert mend(filled.path).problems == []
    assert read(filled.path) == whole
    assert not (filled.path / EDITS).exists()


def readable(path: Path) -> set[str] | None:
    """Read the episodes of a store; None where it says that it has to be repaired."""
    try:
        return set(read(path))
    except TutelageError:
        return None


class Fuse:
    """Kills this process before or after the n-th change that it makes to a folder."""

    def __init__(self, patch: pytest.MonkeyPatch, number: int, after: bool) -> None:
        self._left, self._after = number, after
        for name in ("replace", "rename", "unlink", "mkdir"):
            patch.setattr(os, name, self._burning(getattr(os, name)))

    def _burning(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def burn(*words: Any, **options: Any) -> Any:
            self._left -= 1
            if self._left == 0 and not self._after:
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return function(*words, **options)
            finally:
                if self._left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        return burn


def survives(work: Callable[[], object], number: int, after: bool) -> bool:
    """Do some work in a process that dies at its n-th change; True when it came to its end before."""
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        try:
            Fuse(pytest.MonkeyPatch(), number, after)
            work()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return not os.WIFSIGNALED(status)


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("work", ["append", "forget", "repair"])
def test_a_process_may_die_at_any_change(
    work: str, after: bool, filled: Store, copy: Path, record: Recorder, tmp_path: Path
) -> None:
    new, whole = record(seed=11), list(filled.trajectories())
    theirs = {trajectory.episode for trajectory in whole if trajectory.demonstrator == WHO}
    place = tmp_path / "victim"
    deaths = 0

    def harmed() -> None:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(filled.path, place)
        if work == "repair":
            parts = sorted(place.glob("part-*"))
            flip_bit(parts[0])
            parts[1].unlink()
            parts[2].rename(place / "part-renamed.parquet")
            flip_bit(place / "dataset.yaml")

    def carry_out() -> None:
        if work == "append":
            Store.open(place).append([new])
        elif work == "forget":
            Store.open(place).forget(WHO)
        else:
            mend(place, [str(copy)])

    def again() -> None:
        if work == "append":
            store = Store.create(place, filled.suite)
            if new.episode not in store.episodes()["episode"].to_pylist():
                store.append([new])
        else:
            carry_out()

    for number in range(1, 40):
        harmed()
        finished = survives(carry_out, number, after)
        everything = {trajectory.episode for trajectory in whole}
        assert readable(place) in (None, everything, everything | {new.episode}, everything - theirs)
        again()
        expected = {
            "append": {trajectory.episode for trajectory in whole} | {new.episode},
            "forget": {trajectory.episode for trajectory in whole} - theirs,
            "repair": {trajectory.episode for trajectory in whole},
        }[work]
        assert sorted(read(place)) == sorted(expected)
        assert mend(place, dry_run=True).findings == []
        if work == "forget":
            assert not any(WHO.encode() in path.read_bytes() for path in place.iterdir() if path.is_file())
        if finished:
            break
        deaths += 1
    assert deaths >= {"append": 2, "forget": 6, "repair": 5}[work]


def test_a_dry_run_changes_no_byte_of_a_journal(filled: Store) -> None:
    journal = filled.path / "journal.sqlite"
    with Journal(journal) as opened:
        opened.sit(SeatRecord("a" * 32, WHO))
    with contextlib.closing(sqlite3.connect(journal)) as connection:
        connection.execute("UPDATE seats SET checksum = NULL")  # as an older version left them
        connection.commit()
    before = journal.read_bytes()
    assert mend(filled.path, dry_run=True).findings == []
    assert journal.read_bytes() == before
    assert mend(filled.path).findings == []
    assert journal.read_bytes() != before
