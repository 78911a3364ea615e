"""Who leaves and wants what they did removed: it goes from every store, the copies and the journal."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tutelage.crowd.storage.journal import Journal
from tutelage.crowd.studies import study_context, study_server
from tutelage.crowd.studies.study_checks import rehearse_study
from tutelage.crowd.studies.study_server import StudyServer
from tutelage.datasets.remote import RemoteFolder
from tutelage.datasets.store import Store
from tutelage.tests.support.postgres import PostgreSQL
from tutelage.tests.support.toy_study import run, study_in, walk_in


@contextlib.asynccontextmanager
async def server(folder: Path, name: str, database: str = "", parts: str = "") -> AsyncIterator[StudyServer]:
    study = study_in(folder, practice=None, check=None)
    one = StudyServer(study, folder / name, rehearse_study(study)[0], database, parts)
    await one.start()
    try:
        yield one
    finally:
        await one.close()


async def until(true: Callable[[], object], seconds: float = 60) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while not true():
        assert asyncio.get_running_loop().time() < deadline, "nothing came"
        await asyncio.sleep(0.05)


@pytest.mark.slow
def test_it_goes_from_the_stores_of_all_servers_and_their_copies(
    postgres: PostgreSQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_server, "_SWEEP_EVERY", 1)
    monkeypatch.setenv("TUTELAGE_SECRET", "ab" * 32)
    parts = f"file://{tmp_path / 'copies'}"

    async def story(url: str) -> None:
        async with server(tmp_path, "a", url, parts) as a, server(tmp_path, "b", url, parts) as b:
            bob = await walk_in(a, "person-bob")
            await bob.to_the_tasks()
            await bob.play()
            ann = await walk_in(a)
            await ann.to_the_tasks()
            await ann.play()
            ann = await walk_in(b)
            await ann.send("next")
            await ann.play()
            await until(lambda: (len(a.store), len(b.store)) == (2, 1))
            # demonstrations that come at once share a part
            await until(
                lambda: len(RemoteFolder(parts).sizes()) == 3 + len(a.store.parts()) + len(b.store.parts())
            )
            await ann.send("withdraw", keep=False)
            await until(lambda: (len(a.store), len(b.store)) == (1, 0))
            await until(lambda: len(RemoteFolder(parts).sizes()) == 3 + 1)
            assert [one.demonstrator for one in a.store.trajectories()] == ["person-bob"]
            mine = a.journal.episodes(demonstrator="person-ann")
            assert {one.state for one in mine} == {"discarded"}
            assert [a.journal.steps(one.episode) for one in mine] == [[], []]
            assert len(a.journal.steps(a.journal.episodes(demonstrator="person-bob")[0].episode)) == 6
            await until(lambda: not a._removals.due() and not b._removals.due())  # type: ignore[union-attr]

    with postgres.database() as url:
        run(story(url))


@pytest.mark.slow
def test_what_a_crash_prevented_is_done_at_the_next_start(tmp_path: Path) -> None:
    async def story() -> None:
        async with server(tmp_path, "out") as one:
            ann = await walk_in(one)
            await ann.to_the_tasks()
            await ann.play()
            await until(lambda: len(one.store) == 1)
            one._removals = None  # a crash comes before anything is removed
            await ann.send("withdraw", keep=False)
        assert len(Store.open(tmp_path / "out")) == 1
        async with server(tmp_path, "out"):
            await until(lambda: len(Store.open(tmp_path / "out")) == 0)

    run(story())
    with Journal(tmp_path / "out" / "journal.sqlite") as journal:
        assert [len(journal.steps(one.episode)) for one in journal.episodes()] == [0]


@pytest.mark.slow
def test_what_was_open_when_somebody_left_just_before_a_crash_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_server, "_SWEEP_EVERY", 1)
    monkeypatch.setattr(study_context, "_LEFT_SECONDS", 0.0)

    async def story() -> None:
        async with server(tmp_path, "out") as study_server:
            ann = await walk_in(study_server)
            await ann.to_the_tasks()
            await ann.play()
            await ann.send("next")
            underway = study_server.journal.episodes(state="open")
            assert len(underway) == 1
            # her way ends, and nothing comes after that: the server is gone
            change = {
                "stage": "done",
                "outcome": "withdrew",
                "ended": time.time(),
                "progress": {"keeps": True},
            }
            study_server.database.change("person-ann", **change)
        async with server(tmp_path, "out") as again:
            await until(lambda: not again.journal.episodes(state="open"))
            (left,) = again.journal.episodes(episode=underway[0].episode)
            assert left.state == "abandoned"
            assert len(again.store) == 1

    run(story())
