"""From the journal to the store: each kept demonstration arrives, exactly once, whatever came between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tutelage.datasets.crowd.keeping import Keeper
from tutelage.datasets.crowd.session import Session, play
from tutelage.datasets.store import Store
from tutelage.envs.suite import Suite
from tutelage.envs.task import TEST

Opener = Callable[..., Session]
LEFT, RIGHT = np.array([0.0]), np.array([1.0])


def test_kept_demonstrations_are_stored_once_even_if_the_mark_was_lost(
    opened: Opener, tmp_path: Path, suite: Suite
) -> None:
    session = opened()
    store = Store.create(tmp_path / "store", suite)
    settings = session._settings
    kept = play(session, "lake", lambda _: RIGHT)
    unmarked = play(session, "lake", lambda _: RIGHT)
    store.append([unmarked.trajectory])  # a crash came between this and the mark
    Keeper(settings, session._journal, store, pytest.fail).close()
    session._journal.flush()  # a mark is written a moment after the store is
    ids = store.episodes()["episode"].to_pylist()
    assert sorted(ids) == sorted([kept.trajectory.episode, unmarked.trajectory.episode])
    assert {one.state for one in session._journal.episodes(state="stored")} == {"stored"}
    again = next(one for one in store.trajectories() if one.episode == kept.trajectory.episode)
    assert np.array_equal(again.actions, kept.trajectory.actions)
    assert again.digest == kept.trajectory.digest


def test_a_given_up_test_seed_reaches_the_store_even_after_a_crash(
    opened: Opener, tmp_path: Path, suite: Suite
) -> None:
    session = opened(seeds=TEST)
    store = Store.create(tmp_path / "store", suite)
    session.choose("lake")
    session.act(RIGHT)
    session.discard()  # kept in the journal; a crash comes before anything is stored
    Keeper(session._settings, session._journal, store, pytest.fail).close()
    (one,) = store.trajectories()
    assert (one.success, one.terminated, one.notes, len(one)) == (False, False, "given up", 1)
    assert store.verify() == []


def test_what_does_not_replay_is_stored_with_its_observations(
    opened: Opener, tmp_path: Path, suite: Suite
) -> None:
    session = opened()
    store = Store.create(tmp_path / "store", suite)
    heard: list[str] = []
    keeper = Keeper(session._settings, session._journal, store, heard.append)
    kept = play(session, "unrepeatable", lambda _: np.array([1.0, 2.0]))
    keeper.put(kept)
    keeper.close()
    assert store.episodes()["stored"].to_pylist() == [True]
    assert not heard


def test_what_follows_a_kept_demonstration_may_fail(opened: Opener, tmp_path: Path, suite: Suite) -> None:
    session = opened()
    heard: list[str] = []

    def fail(_: object) -> None:
        raise RuntimeError("no report today")

    store = Store.create(tmp_path / "store", suite)
    keeper = Keeper(replace(session._settings, on_kept=fail), session._journal, store, heard.append)
    keeper.put(play(session, "lake", lambda _: RIGHT))
    keeper.close()
    assert heard == ["What follows a kept demonstration failed: no report today"]
    assert len(store) == 1
