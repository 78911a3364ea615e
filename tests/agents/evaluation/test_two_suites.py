"""What was recorded for several suites is learned and measured as one; people count where they fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tutelage.agents.evaluation.actors import ChanceActor, ExpertActor
from tutelage.agents.evaluation.compare import measure, select_success
from tutelage.agents.evaluation.people import people_on
from tutelage.agents.evaluation.rollout import rollout
from tutelage.agents.policy.checkpoint import load
from tutelage.agents.training.behavior_cloning import train
from tutelage.agents.training.config import TrainConfig
from tutelage.datasets.store import Store
from tutelage.datasets.suite_union import union
from tutelage.envs.suite import suite_from
from tutelage.envs.task import RECORD, TEST
from tutelage.errors import TutelageError

POLE = {"id": "pole", "env": "CartPole-v1", "max_steps": 10, "expert": "cartpole", "success": "return > 9"}
LAKE = {"id": "lake", "env": "FrozenLake-v1", "max_steps": 6}
CONFIG = TrainConfig(size=1, steps=2, batch_steps=64, warmup=1, threads=1, workers=1, evaluate_every=2)


def stored(
    folder: Path, name: str, *tasks: dict[str, Any], seeds: range, kind: str = "expert", **more: Any
) -> Store:
    suite = suite_from({"suite": name, "tasks": list(tasks), **more})
    store = Store.create(folder / name, suite)
    for task in suite:
        actor = ExpertActor() if task.expert else ChanceActor()
        played = rollout(actor, task, seeds, suite_name=name)
        store.append([replace(episode, kind=kind, demonstrator="ann") for episode in played])
    return store


def test_a_policy_of_two_suites_is_chosen_and_measured_on_the_tasks_of_both(tmp_path: Path) -> None:
    first = stored(tmp_path, "balance", POLE, seeds=range(6), evaluation={"episodes": 3})
    second = stored(tmp_path, "ice", LAKE, seeds=range(6), evaluation={"episodes": 2})
    stores = [first, second]
    run = train(stores, tmp_path / "run", CONFIG, evaluate=select_success(union(stores), episodes=2))
    kept = load(run)
    assert kept.lineage["select"].keys() == {"pole", "lake"}
    assert [task.id for task in kept.suite] == ["pole", "lake"]
    assert (kept.suite.name, kept.suite.episodes) == ("balance-and-ice", 3)
    measured = measure([run], tmp_path / "out", actors=["random"])
    played = {(row["task"], row["actor"]) for row in measured.rows.to_pylist()}
    assert played == {(task, actor) for task in ("pole", "lake") for actor in ("policy", "random")}
    assert Store.open(tmp_path / "out" / "episodes").verify() == []


def test_the_union_has_every_task_once_and_one_suite_stays_as_it_is(tmp_path: Path) -> None:
    first = stored(tmp_path, "balance", POLE, seeds=range(1))
    suite = suite_from({"suite": "both", "tasks": [LAKE, POLE], "imports": ["json"]})
    both = Store.create(tmp_path / "both", suite)
    assert union([first, first]) is first.suite
    joined = union([first, both])
    assert [task.id for task in joined] == ["pole", "lake"]
    assert {task.imports for task in joined} == {("json",)}


@pytest.mark.parametrize(
    "change", [{"success": "return > 8"}, {"max_steps": 9}, {"kwargs": {"sutton_barto_reward": True}}]
)
def test_two_tasks_of_one_id_are_one_clear_error(change: dict[str, Any], tmp_path: Path) -> None:
    first = stored(tmp_path, "balance", POLE, seeds=range(1))
    other = stored(tmp_path, "other", POLE | change, seeds=range(1))
    field = next(iter(change))
    message = (
        rf"'pole' to be the same in all stores, got another in .*other than in .*balance \({field} differ\)"
    )
    with pytest.raises(TutelageError, match=message):
        train([first, other], tmp_path / "run", CONFIG)
    assert not (tmp_path / "run").exists()


SEEDS = TEST.first(4)
SUITE = suite_from({"suite": "balance", "tasks": [POLE]})
Make = Callable[..., Store]


@pytest.fixture
def people(tmp_path: Path) -> Make:
    def make(seeds: range = SEEDS, kind: str = "person", **change: Any) -> Store:
        return stored(tmp_path, "theirs", POLE | change, seeds=seeds, kind=kind)

    return make


def test_people_count_on_the_very_same_seeds_of_the_very_same_task(people: Make) -> None:
    episodes, notes = people_on([people(TEST.first(6, 2))], SUITE, SEEDS)
    assert {episode.seed for episode in episodes} == set(SEEDS[2:])
    [note] = notes
    assert note.startswith("4 of 6 episodes in ")
    assert note.endswith("theirs left out: 4 on other seeds")


def test_what_is_shown_otherwise_is_the_same_task(people: Make) -> None:
    store = people(controls={"KeyA": 0, "KeyB": 1}, actions=["left", "right"], expert=None)
    assert people_on([store], SUITE, SEEDS)[1] == []
    assert len(people_on([store], SUITE, SEEDS)[0]) == 4


@pytest.mark.parametrize(
    ("made", "why"),
    [
        ({"seeds": RECORD.first(4)}, "4 on other seeds"),
        ({"kind": "simulated"}, r"4 by another actor than a person \(simulated\)"),
        ({"success": "return > 5"}, r"4 of task 'pole', which is defined otherwise there \(success\)"),
        ({"max_steps": 12}, r"defined otherwise there \(max_steps\)"),
        ({"kwargs": {"sutton_barto_reward": True}}, r"defined otherwise there \(kwargs\)"),
        ({"instruction": "fall"}, r"defined otherwise there \(instruction\)"),
        ({"pace": {"fps": 10, "idle": 0}}, r"defined otherwise there \(fps, idle\)"),
        ({"id": "other"}, "4 of tasks that suite 'balance' does not have"),
    ],
)
def test_a_store_of_people_that_fits_nothing_is_an_error(
    made: dict[str, Any], why: str, people: Make
) -> None:
    with pytest.raises(
        TutelageError, match=rf"expected people in .*theirs who played .*{why}.*; leave this store out"
    ):
        people_on([people(**made)], SUITE, SEEDS)


def test_an_empty_store_of_people_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TutelageError, match="got an empty store"):
        people_on([Store.create(tmp_path / "none", SUITE)], SUITE, SEEDS)
