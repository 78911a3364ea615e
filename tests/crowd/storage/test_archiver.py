"""From the journal to the store: each kept demonstration arrives, exactly once, whatever came between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tutelage.crowd.hosting.host import FinishedEpisode
from tutelage.crowd.seats.free_choice import FreeChoice, play
from tutelage.crowd.storage.archiver import Archiver
from tutelage.datasets.store import Store
from tutelage.envs.suite import Suite
from tutelage.envs.task import TEST

Opener = Callable[..., Awaitable[FreeChoice]]
RIGHT = np.array([1.0])
pytestmark = pytest.mark.anyio


async def test_kept_demonstrations_are_stored_once_even_if_the_mark_was_lost(
    opened: Opener, tmp_path: Path, suite: Suite, delivered: list[FinishedEpisode]
) -> None:
    choice = await opened()
    store = Store.create(tmp_path / "store", suite)
    settings = choice.settings
    await play(choice, "lake", lambda _: RIGHT)
    await play(choice, "lake", lambda _: RIGHT)
    kept, unmarked = delivered
    store.append([unmarked.trajectory])  # a crash came between this and the mark
    Archiver(settings, choice._journal, store, pytest.fail).close()
    choice._journal.flush()  # a mark is written a moment after the store is
    ids = store.episodes()["episode"].to_pylist()
    assert sorted(ids) == sorted([kept.trajectory.episode, unmarked.trajectory.episode])
    assert {one.state for one in choice._journal.episodes(state="stored")} == {"stored"}
    again = next(one for one in store.trajectories() if one.episode == kept.trajectory.episode)
    assert np.array_equal(again.actions, kept.trajectory.actions)
    assert again.digest == kept.trajectory.digest


async def test_a_given_up_test_seed_reaches_the_store_even_after_a_crash(
    opened: Opener, tmp_path: Path, suite: Suite, delivered: list[FinishedEpisode]
) -> None:
    choice = await opened(seeds=TEST)
    store = Store.create(tmp_path / "store", suite)
    await choice.choose("lake")
    await choice.session.act(RIGHT)
    await choice.discard()  # kept in the journal; a crash comes before anything is stored
    Archiver(choice.settings, choice._journal, store, pytest.fail).close()
    (one,) = store.trajectories()
    assert (one.success, one.terminated, one.notes, len(one)) == (False, False, "given up", 1)
    assert store.verify() == []


async def test_what_does_not_replay_is_stored_with_its_observations(
    opened: Opener, tmp_path: Path, suite: Suite, delivered: list[FinishedEpisode]
) -> None:
    choice = await opened()
    store = Store.create(tmp_path / "store", suite)
    heard: list[str] = []
    keeper = Archiver(choice.settings, choice._journal, store, heard.append)
    await play(choice, "unrepeatable", lambda _: np.array([1.0, 2.0]))
    keeper.put(delivered[0])
    keeper.close()
    assert store.episodes()["stored"].to_pylist() == [True]
    assert not heard


async def test_what_follows_a_kept_demonstration_may_fail(
    opened: Opener, tmp_path: Path, suite: Suite, delivered: list[FinishedEpisode]
) -> None:
    choice = await opened()
    heard: list[str] = []

    def fail(_: object) -> None:
        raise RuntimeError("no report today")

    store = Store.create(tmp_path / "store", suite)
    keeper = Archiver(replace(choice.settings, on_kept=fail), choice._journal, store, heard.append)
    await play(choice, "lake", lambda _: RIGHT)
    keeper.put(delivered[0])
    keeper.close()
    assert heard == ["What follows a kept demonstration failed: no report today"]
    assert len(store) == 1
