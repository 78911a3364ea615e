"""Stores are merged and split, and suites corrected, with every episode proven."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from tutelage.datasets.editing import edit_commit
from tutelage.datasets.editing.annotate import annotate
from tutelage.datasets.editing.edit_stores import plan_merge
from tutelage.datasets.store import Store
from tutelage.envs.suite import Suite, suite_from
from tutelage.envs.task_env import TaskEnv
from tutelage.errors import TutelageError
from tutelage.tests.support.edited import Recorder, Same, edit, episodes, files, idle_episodes, same


def test_stores_are_merged_once_and_a_contradiction_is_refused(
    filled: Store, tmp_path: Path, record: Recorder, toys: Suite, equal: Same
) -> None:
    other = Store.create(tmp_path / "other", toys)
    new = record(seed=20, demonstrator="eve")
    other.append([new, episodes(filled)[0]])
    annotate(other, {new.episode: {"tags": ["late"]}})
    told = edit(filled, "merge", str(other.path), "--apply", "--json")
    assert [line["episode"] for line in told["episodes"]] == [new.episode]
    assert told["notes"] == ["passed over, being here already: 1 episode"]
    assert equal(episodes(filled)[-1], new)
    assert Store.open(filled.path).annotations()[new.episode].tags == ("late",)
    edit(filled, "undo", "--apply")
    assert new.episode not in [trajectory.episode for trajectory in episodes(filled)]
    edit(other, "relabel", new.episode, "--to-demonstrator", "eva", "--apply")
    broken = Store.create(tmp_path / "broken", toys)
    broken.append([replace(record(seed=21), rewards=np.zeros(12))])
    before = files(filled)
    with pytest.raises(TutelageError, match="expected every episode to replay"):
        edit(filled, "merge", str(broken.path), "--apply")
    third = suite_from({"suite": "third", "tasks": [{"id": "words", "env": "CartPole-v1"}]})
    Store.create(tmp_path / "third", third)
    with pytest.raises(TutelageError, match=r"expected task 'words' of .* to be the one of this store"):
        edit(filled, "merge", str(tmp_path / "third"))
    assert files(filled) == before


def test_a_large_merge_is_planned_on_disk_and_made_in_parts(
    filled: Store, tmp_path: Path, record: Recorder, toys: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Store.create(tmp_path / "other", toys)
    for seed in range(100, 104):
        episode = record("camera", seed=seed, stored=True, steps=30)
        other.append([replace(episode, episode=f"{seed}-{copy}") for copy in range(25)])
    monkeypatch.setattr(edit_commit, "_EPISODES_A_PART", 40)
    pool = pa.default_memory_pool()
    before, parts = pool.bytes_allocated(), len(filled.parts())
    planned = plan_merge(filled, [other.path], lambda _: None)
    held = pool.bytes_allocated() - before
    assert planned.change.rows.nbytes > 10_000_000
    assert held < planned.change.rows.nbytes / 4
    edit_commit.commit(filled, planned.change)
    assert len(filled.parts()) == parts + 3
    merged = [episode for episode in episodes(filled) if episode.task == "camera"]
    assert [episode.episode for episode in merged] == [episode.episode for episode in episodes(other)]
    edit(filled, "undo", "--apply")
    assert len(filled.parts()) == parts


def test_a_merge_brings_tasks_that_are_new(filled: Store, tmp_path: Path, demonstrate: Any) -> None:
    suite = suite_from(
        {"suite": "more", "tasks": [{"id": "long", "env": "toys/Words-v0", "instruction": "go"}]}
    )
    other = Store.create(tmp_path / "more", suite)
    other.append([demonstrate(TaskEnv(suite["long"]), 3, suite="more")[0]])
    edit(filled, "merge", str(other.path), "--apply")
    store = Store.open(filled.path)
    assert store.suite["long"].instruction == "go"
    assert [trajectory.suite for trajectory in store.trajectories(task="long")] == ["toys"]
    assert store.verify() == []
    edit(filled, "undo", "--apply")
    assert Store.open(filled.path).suite.source == filled.suite.source


def test_a_split_moves_and_a_filter_copies(filled: Store, tmp_path: Path, equal: Same) -> None:
    held = episodes(filled)
    bobs = [trajectory for trajectory in held if trajectory.demonstrator == "bob"]
    annotate(filled, {bobs[0].episode: {"note": "mine"}})
    edit(filled, "filter", "--by", "bob", "-o", str(tmp_path / "copy"))
    assert not (tmp_path / "copy").exists()
    edit(filled, "filter", "--by", "bob", "-o", str(tmp_path / "copy"), "--apply")
    assert same(bobs, list(Store.open(tmp_path / "copy").trajectories()), equal)
    assert same(held, episodes(filled), equal)
    edit(filled, "split", "--by", "bob", "-o", str(tmp_path / "moved"), "--apply")
    moved = Store.open(tmp_path / "moved")
    assert same(bobs, list(moved.trajectories()), equal)
    assert moved.annotations()[bobs[0].episode].note == "mine"
    assert moved.verify() == []
    assert same(
        [trajectory for trajectory in held if trajectory.demonstrator == "ann"], episodes(filled), equal
    )
    edit(filled, "undo", "--apply")
    edit(filled, "split", "--by", "bob", "-o", str(tmp_path / "moved"), "--apply")  # as after a crash
    with pytest.raises(TutelageError, match="found one with other episodes"):
        edit(filled, "split", "--by", "ann", "-o", str(tmp_path / "moved"), "--apply")


def test_a_suite_is_corrected_and_outcomes_follow_its_rules(filled: Store, tmp_path: Path) -> None:
    printed = yaml.safe_load(edit(filled, "suite"))
    assert printed == filled.suite.source
    pole = next(task for task in printed["tasks"] if task["id"] == "cartpole")
    pole |= {"instruction": "balance", "success": "steps >= 2", "controls": {"KeyA": 0, "KeyD": 1}}
    printed["tasks"][printed["tasks"].index(pole)]["id"] = "pole"
    file = tmp_path / "corrected.yaml"
    file.write_text(yaml.safe_dump(printed))
    words = ["suite", str(file), "--rename", "cartpole=pole"]
    edit(filled, *words, "--apply")
    store = Store.open(filled.path)
    assert store.suite["pole"].instruction == "balance"
    assert [trajectory.task for trajectory in store.trajectories()].count("pole") == 1
    assert store.verify() == []
    Store.create(filled.path, store.suite)  # a recorder goes on with the corrected suite
    edit(filled, "undo", "--apply")
    assert Store.open(filled.path).suite.source == filled.suite.source
    pole["env"] = "Acrobot-v1"
    file.write_text(yaml.safe_dump(printed))
    with pytest.raises(TutelageError, match="expected every episode to replay"):
        edit(filled, *words, "--apply")


def test_episodes_move_to_a_task_in_which_they_replay(tmp_path: Path) -> None:
    tasks = [
        {"id": "pole", "env": "CartPole-v1"},
        {"id": "short", "env": "CartPole-v1", "success": "steps >= 3", "max_steps": 3},
        {"id": "hill", "env": "MountainCar-v0"},
    ]
    suite = suite_from({"suite": "idle", "tasks": tasks})
    _, [trajectory] = idle_episodes([[0, 1, 0]], "pole")
    store = Store.create(tmp_path / "idle", suite)
    store.append([trajectory])
    with pytest.raises(TutelageError, match="it does not replay so"):
        edit(store, "relabel", "--all", "--to-task", "hill")
    with pytest.raises(TutelageError, match="expected a pseudonym"):
        edit(store, "relabel", "--all", "--to-demonstrator", "a b")
    with pytest.raises(TutelageError, match="expected a kind of person"):
        edit(store, "relabel", "--all", "--to-kind", "cat")
    edit(store, "relabel", "--all", "--to-kind", "expert", "--to-study", "pilot", "--apply")
    assert (episodes(store)[0].kind, episodes(store)[0].study) == ("expert", "pilot")
