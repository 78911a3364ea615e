"""A deleted episode stays deleted: neither a recorder's journal nor a repair brings it back, only `undo`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tutelage.cli.main import app
from tutelage.crowd.hosting.episode import EpisodeProgress
from tutelage.crowd.settings import Settings
from tutelage.crowd.storage.archiver import Archiver
from tutelage.crowd.storage.journal import Journal
from tutelage.crowd.storage.journal_records import JOURNAL, EpisodeRecord, SeatRecord
from tutelage.datasets.editing import edit_log
from tutelage.datasets.store import Store
from tutelage.envs.suite import Suite
from tutelage.envs.task_env import TaskEnv
from tutelage.tests.support.edited import edit, killed_at
from typer.testing import CliRunner


def keep_one(folder: Path, suite: Suite) -> str:
    """Make a store, and a journal with an episode that is kept and not stored yet; returns its id."""
    Store.create(folder, suite)
    environment, task = TaskEnv(suite["cartpole"]), suite["cartpole"]
    begun = EpisodeRecord("seat", "ann", suite.name, task.id, task.env, 3, b"")
    episode = EpisodeProgress.begin(environment, begun)
    with Journal(folder / JOURNAL) as journal:
        journal.sit(SeatRecord("seat", "ann"))
        journal.begin(episode.record)
        while not episode.done:
            journal.append(
                episode.record.episode, episode.take(np.zeros(1), 100 * (len(episode.steps) + 1), 0, 0)
            )
        journal.mark(episode.record.episode, "kept")
        journal.flush()
    environment.close()
    return episode.record.episode


def start_recorder(folder: Path, suite: Suite) -> None:
    """Do what a recorder does at its start: store what the journal has as kept, and mark it."""
    with Journal(folder / JOURNAL) as journal:
        Archiver(Settings(suite, folder), journal, Store.create(folder, suite), pytest.fail).close()
        journal.flush()


def ids(folder: Path) -> list[str]:
    return list(Store.open(folder).episodes()["episode"].to_pylist())


@pytest.mark.slow
def test_a_recorder_killed_at_any_step_never_stores_again_what_was_deleted_meanwhile(
    toys: Suite, tmp_path: Path
) -> None:
    deleted = 0
    for step in range(100):
        folder = tmp_path / str(step)
        episode = keep_one(folder, toys)
        is_done = killed_at(step, lambda folder=folder: start_recorder(folder, toys))  # type: ignore[misc]
        store = Store.create(folder, toys)  # an edit finishes what a crash interrupted
        was_stored = ids(folder) == [episode]
        if was_stored:
            edit(store, "delete", "--all", "--apply")
            deleted += 1
        start_recorder(folder, toys)
        assert ids(folder) == ([] if was_stored else [episode])
        with Journal(folder / JOURNAL) as journal:
            assert [record.state for record in journal.episodes()] == ["stored"]
        if is_done:
            break
    assert deleted >= 2  # before the mark, and after it
    edit(store, "undo", "--apply")
    start_recorder(folder, toys)
    assert ids(folder) == [episode]
    assert Store.open(folder).verify() == []


def test_deleted_episodes_are_known_after_compacting_and_after_damaged_annotations(
    toys: Suite, tmp_path: Path
) -> None:
    for is_compacted in (False, True):
        folder = tmp_path / str(is_compacted)
        episode = keep_one(folder, toys)
        start_recorder(folder, toys)
        store = Store.open(folder)
        edit(store, "delete", "--all", "--apply")
        with Journal(folder / JOURNAL) as journal:
            journal.mark(episode, "kept")  # as where the mark was lost
            journal.flush()
        if is_compacted:
            edit(store, "compact", "--apply")
            assert edit_log.count(folder) == 0
        else:
            [path] = folder.glob("annotations-*.json")
            path.write_bytes(path.read_bytes().replace(b"1", b"2"))
        repaired = CliRunner().invoke(app, ["repair", str(folder)])
        assert repaired.exit_code == 0, repaired.output
        start_recorder(folder, toys)
        assert ids(folder) == []
        assert Store.open(folder).annotations().deleted == {episode}
