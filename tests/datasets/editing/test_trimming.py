"""Idle steps at either end are cut off where replay proves that nothing else changes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tutelage.datasets.store import Store
from tutelage.envs.suite import suite_from
from tutelage.errors import TutelageError
from tutelage.tests.support.edited import Recorder, edit, episodes, idle_episodes


def test_idle_steps_are_trimmed_where_replay_shows_that_nothing_else_changes(tmp_path: Path) -> None:
    suite, [trajectory, busy] = idle_episodes([[6, 6, 6, 0, 1, 6, 2, 6, 6], [0, 1, 2]])
    store = Store.create(tmp_path / "idle", suite)
    store.append([trajectory, busy])
    told = edit(store, "trim", "--all", "--idle", "6", "--apply", "--json")
    assert [(line["episode"], line["what"]) for line in told["episodes"]] == [
        (trajectory.episode, "3 idle steps at the start, 2 at the end: 9 → 4 steps")
    ]
    [after, same_as_before] = episodes(store)
    assert after.actions[:, 0].tolist() == [0, 1, 6, 2]
    assert after.times_ms.tolist() == [100, 200, 300, 400]
    assert after.frames.tolist() == [0, 1, 2, 3]
    assert after.digest != trajectory.digest
    assert same_as_before.digest == busy.digest
    assert "trimmed: 3 idle steps at the start, 2 at the end" in after.notes
    assert store.verify() == []
    only_end = edit(store, "undo", "--apply") and edit(
        store, "trim", "--all", "--end", "--idle", "6", "--apply", "--json"
    )
    assert only_end["episodes"][0]["what"] == "2 idle steps at the end: 9 → 7 steps"


def test_a_start_that_the_world_moved_on_in_is_refused(tmp_path: Path) -> None:
    suite, [trajectory] = idle_episodes([[0, 0, 1, 1, 0]], "pole")
    store = Store.create(tmp_path / "idle", suite)
    store.append([trajectory])
    with pytest.raises(TutelageError, match="a reset is another state, so the start cannot be cut"):
        edit(store, "trim", "--all")
    edit(store, "trim", "--all", "--end", "--apply")
    assert episodes(store)[0].actions[:, 0].tolist() == [0, 0, 1, 1]
    assert store.verify() == []


def test_an_end_that_ended_the_episode_is_refused(tmp_path: Path, record: Recorder) -> None:
    suite, [trajectory] = idle_episodes([[0] * 8], "pole")
    ended = replace(trajectory, terminated=True)
    store = Store.create(tmp_path / "idle", suite)
    store.append([ended])
    with pytest.raises(TutelageError, match="nothing but idle steps: delete it instead"):
        edit(store, "trim", "--all", "--start")
    toys = Store.create(
        tmp_path / "toys",
        suite_from(
            {"suite": "toys", "tasks": [{"id": "short", "env": "toys/Words-v0", "kwargs": {"length": 6}}]}
        ),
    )
    toys.append([record("short")])
    last = [int(part) for part in record("short").actions[-1]]
    with pytest.raises(TutelageError, match="its last step ended it"):
        edit(toys, "trim", "--all", "--idle", json.dumps(last))
    with pytest.raises(TutelageError, match="expected --idle to be an action as JSON"):
        edit(toys, "trim", "--all", "--idle", "{")
    with pytest.raises(TutelageError, match="expected an idle action in its suite, got none"):
        edit(toys, "trim", "--all")
