"""Columns are what was seen and done; batches are a function of (seed, step), and miss and repeat nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tutelage.datasets.arrays.sampler import Sampler, TaskArrays, load_columns
from tutelage.datasets.store import Store
from tutelage.envs.suite import Suite, suite_from
from tutelage.envs.task import TEST, SeedRange, Task
from tutelage.envs.task_env import TaskEnv
from tutelage.errors import TutelageError


def columns_of(lengths: list[int], name: str = "t") -> TaskArrays:
    """Make columns whose observation is (episode, step), so that a window's origin can be read off it."""
    starts = np.concatenate(([0], np.cumsum(lengths)))
    where = [(episode, step) for episode, length in enumerate(lengths) for step in range(length)]
    return TaskArrays(
        task=Task(name, "CartPole-v1"),
        observations={
            "where": np.array(where, np.int32),
            "text": np.array([str(e) for e, _ in where], object),
        },
        actions=np.array(where, np.float64),
        starts=starts,
        success=np.ones(len(lengths), bool),
        demonstrator=["ann"] * len(lengths),
        returns=np.zeros(len(lengths)),
        controllers=np.zeros(len(where), np.int8),
        legal=np.arange(3 * len(where)).reshape(-1, 3) % 2 == 0,
    )


def same(one: Any, other: Any) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("rows", "lengths", "actions", "weight")
    )


some_lengths = st.lists(st.integers(1, 40), min_size=1, max_size=12)


@settings(deadline=None)
@given(some_lengths, st.integers(1, 16), st.integers(1, 60), st.integers(0, 2**63), st.data())
def test_every_step_comes_once_an_epoch_and_no_window_crosses_an_episode(
    lengths: list[int], window: int, size: int, seed: int, data: st.DataObject
) -> None:
    columns = columns_of(lengths)
    weights = np.array([data.draw(st.sampled_from([0.0, 0.5, 1.0])) for _ in lengths[1:]] + [1.0])
    sampler = Sampler({"t": columns}, window, size, {"t": weights}, seed)
    used = sum(length for length, weight in zip(lengths, weights, strict=True) if weight)
    seen: Counter[int] = Counter()
    for step in range(-(-3 * used // size)):  # three epochs, and the rest of a batch
        for batch in sampler.batch(step).values():
            seen.update(batch.rows.tolist())
            assert batch.lengths.sum() == len(batch.rows)
            assert 1 <= batch.lengths.min() <= batch.lengths.max() <= window
            assert np.array_equal(batch.observations["where"], batch.actions)
            for piece in np.split(batch.actions, np.cumsum(batch.lengths)[:-1]):
                assert len(set(piece[:, 0])) == 1
                assert np.array_equal(np.diff(piece[:, 1]), np.ones(len(piece) - 1))
            assert np.array_equal(batch.weight, weights[batch.actions[:, 0].astype(int)].astype(np.float32))
    wanted = {
        row
        for episode, weight in enumerate(weights)
        for row in range(columns.starts[episode], columns.starts[episode + 1])
        if weight
    }
    assert set(seen) == wanted
    assert min(seen.values()) >= 3
    assert max(seen.values()) <= 3 + -(-(size + window) // used)


@settings(max_examples=30, deadline=None)
@given(some_lengths, st.integers(0, 10_000), st.integers(0, 50))
def test_a_batch_depends_on_seed_and_step_alone(lengths: list[int], step: int, seed: int) -> None:
    columns = {"a": columns_of(lengths), "b": columns_of([*lengths, 30], "b")}
    mine, other = (Sampler(columns, 8, 64, seed=seed) for _ in range(2))
    for before in (3, step + 7, 0):
        other.batch(before)
    one, two = mine.batch(step), other.batch(step)
    assert list(one) == list(two)
    assert all(same(one[task], two[task]) for task in one)


def test_another_seed_or_epoch_gives_another_order() -> None:
    columns = {"t": columns_of([5] * 100)}
    orders = [
        Sampler(columns, 8, 500, seed=seed).batch(step)["t"].rows.tolist()
        for seed, step in [(0, 0), (1, 0), (0, 1)]
    ]
    assert len({tuple(order) for order in orders}) == 3
    assert all(sorted(order) == list(range(500)) for order in orders)


def test_episodes_that_fit_stay_whole_and_longer_ones_start_at_any_step() -> None:
    sampler = Sampler({"t": columns_of([8] * 20 + [50])}, 8, 210, seed=0)
    begins = set()
    for step in range(200):
        batch = sampler.batch(step)["t"]
        for piece in np.split(batch.actions, np.cumsum(batch.lengths)[:-1]):
            if piece[0, 0] < 20:
                assert len(piece) == 8
            else:
                begins.add(int(piece[0, 1]))
    assert len(begins) > 40


def test_every_batch_mixes_all_tasks_by_the_root_of_their_steps() -> None:
    columns = {"small": columns_of([10] * 10), "large": columns_of([10] * 1000, "large")}
    sampler = Sampler(columns, 10, 440, seed=1)
    assert sampler.steps == {"small": 40, "large": 400}
    assert all(set(sampler.batch(step)) == {"small", "large"} for step in range(30))
    mean = np.mean([len(sampler.batch(step)["large"].rows) for step in range(100)])
    assert abs(mean - 400) < 1
    assert sampler.epoch(5) == {"small": 2.0, "large": 0.2}


def test_shares_can_be_given() -> None:
    columns = {"a": columns_of([10] * 10), "b": columns_of([10] * 10, "b")}
    assert Sampler(columns, 5, 101, shares={"a": 3, "b": 1}).steps == {"a": 76, "b": 25}


def test_masks_and_texts_are_gathered_with_their_steps() -> None:
    columns = columns_of([4, 30])
    batch = Sampler({"t": columns}, 6, 20).batch(0)["t"]
    assert batch.legal is not None
    assert columns.legal is not None
    assert np.array_equal(batch.legal, columns.legal[batch.rows])
    assert batch.observations["text"].tolist() == [str(int(one)) for one in batch.actions[:, 0]]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"window": 0}, "window >= 1"),
        ({"steps_per_batch": 0}, "steps_per_batch"),
        ({"weights": {"t": np.zeros(2)}}, "weight above 0"),
        ({"weights": {"t": np.ones(3)}}, "expected 2 finite weights"),
        ({"weights": {"t": np.array([1, -1])}}, "finite weights"),
        ({"shares": {"t": 0}}, "share above 0"),
        ({"shares": {"u": 1}}, "share above 0"),
    ],
)
def test_impossible_settings_are_refused(options: dict[str, Any], complaint: str) -> None:
    settings = {"window": 4, "steps_per_batch": 8, **options}
    with pytest.raises(TutelageError, match=complaint):
        Sampler({"t": columns_of([3, 9])}, **settings)


@pytest.fixture
def filled(store: Store, record: Any) -> Store:
    store.append([record("words", 1, steps=40), record("unrepeatable", 5), record("words", 2, kind="expert")])
    store.append([record("cartpole", 3, demonstrator="bob"), record("words", TEST.start)])
    return store


def test_columns_hold_what_was_seen_when_each_action_was_taken(
    filled: Store, demonstrate: Callable[..., Any], toys: Suite
) -> None:
    columns = load_columns([filled])
    assert set(columns) == {"words", "unrepeatable", "cartpole"}
    words = columns["words"]
    played = list(filled.trajectories(task="words"))
    assert words.starts.tolist() == [0, 40, 52, 64]
    assert np.array_equal(words.actions, np.concatenate([one.actions for one in played]))
    assert words.returns.tolist() == [one.total for one in played]
    assert words.success.tolist() == [one.success for one in played]
    assert np.array_equal(words.controllers, np.concatenate([one.controllers for one in played]))
    assert len(words) == 64
    for at, trajectory in enumerate(played):
        _, seen = demonstrate(TaskEnv(toys["words"]), trajectory.seed, steps=len(trajectory))
        part = slice(words.starts[at], words.starts[at + 1])
        for path in ("pair/0", "pair/1", "bits"):
            assert np.array_equal(words.observations[path][part], seen[path][:-1])
            assert words.observations[path].dtype == seen[path].dtype
        assert words.observations["words"][part].tolist() == seen["words"][:-1].tolist()
    assert words.observations["words"].dtype == object
    assert columns["cartpole"].demonstrator == ["bob"]


def test_columns_can_be_chosen_by_task_seed_and_kind(filled: Store) -> None:
    assert set(load_columns([filled], tasks=["cartpole"])) == {"cartpole"}
    assert len(load_columns([filled], seeds=TEST)["words"].starts) == 2
    assert load_columns([filled], kinds=["expert"])["words"].starts.tolist() == [0, 12]
    with pytest.raises(TutelageError, match="none of those asked for"):
        load_columns([filled], seeds=SeedRange("none", 9, 9))
    with pytest.raises(TutelageError, match="did you mean 'cartpole'"):
        load_columns([filled], tasks=["cartpol"])


def test_several_stores_join_and_must_mean_the_same_task(filled: Store, tmp_path: Path, record: Any) -> None:
    more = Store.create(tmp_path / "more", filled.suite)
    more.append([record("cartpole", 9)])
    assert len(load_columns([filled, more])["cartpole"].starts) == 3
    other = suite_from({"suite": "toys", "tasks": [{"id": "cartpole", "env": "CartPole-v0"}]})
    with pytest.raises(TutelageError, match="to be the same in all stores"):
        load_columns([filled, Store.create(tmp_path / "other", other)])


def test_masks_become_a_column_where_the_task_has_them(
    tmp_path: Path, demonstrate: Callable[..., Any]
) -> None:
    suite = suite_from({"suite": "real", "tasks": [{"id": "taxi", "env": "tutelage/Taxi-v0"}]})
    store = Store.create(tmp_path / "real", suite)
    trajectory, seen = demonstrate(TaskEnv(suite["taxi"]), 1, suite="real")
    store.append([trajectory, replace(demonstrate(TaskEnv(suite["taxi"]), 2, suite="real")[0])])
    store.append([replace(trajectory, observations=seen, episode="stored")])
    legal = load_columns([store])["taxi"].legal
    assert legal is not None
    assert legal.shape == (36, 6)
    assert not legal[:24].all()
    assert legal[24:].all()  # stored episodes know no mask: all is allowed


def test_an_episode_that_no_longer_replays_stops_the_loading(filled: Store, record: Any) -> None:
    bad = replace(record("words", 8), digest=bytes(16))
    filled.append([bad])
    with pytest.raises(TutelageError, match=bad.episode):
        load_columns([filled])


@pytest.mark.slow
def test_workers_and_cache_give_the_same_columns(tmp_path: Path, demonstrate: Callable[..., Any]) -> None:
    suite = suite_from({"suite": "real", "tasks": [{"id": "red", "env": "BabyAI-GoToRedBallGrey-v0"}]})
    store = Store.create(tmp_path / "real", suite)
    environment = TaskEnv(suite["red"])
    for first in (0, 4):
        store.append([demonstrate(environment, seed, suite="real")[0] for seed in range(first, first + 4)])
    told: list[int] = []
    plain = load_columns([store], progress=told.append)["red"]
    assert sum(told) == 8
    cache = store.path / "columns"
    for workers in (2, 1):
        cached = load_columns([store], workers=workers, cache=True, progress=told.append)["red"]
        assert list(cached.observations) == list(plain.observations)
        assert all(
            np.array_equal(cached.observations[path], plain.observations[path]) for path in plain.observations
        )
        assert np.array_equal(cached.actions, plain.actions)
        assert np.array_equal(cached.starts, plain.starts)
    assert sum(told) == 16  # the last call replayed nothing
    assert len(list(cache.iterdir())) == 1
    store.append([demonstrate(environment, 11, suite="real")[0]])
    assert len(load_columns([store], cache=True)["red"].starts) == 10
    batch = Sampler({"red": cached}, 6, 20).batch(0)["red"]
    assert type(batch.observations["image"]) is np.ndarray


@settings(deadline=None)
@given(some_lengths, st.integers(1, 16), st.integers(1, 20), st.integers(0, 2**63))
def test_empty_batches_are_foreseen_and_hold_what_goes_on_there(
    lengths: list[int], window: int, size: int, seed: int
) -> None:
    columns = {"a": columns_of(lengths, "a"), "b": columns_of(lengths[::-1], "b")}
    sampler = Sampler(columns, window, size + 1, seed=seed)
    begun = [
        any(
            stream.between(step * sampler.steps[task], (step + 1) * sampler.steps[task])
            for task, stream in sampler._streams.items()
        )
        for step in range(30)
    ]
    assert sampler.first_empty(30) == (begun.index(False) if False in begun else None)
    for step in (at for at, full in enumerate(begun) if not full):
        assert sampler.batch(step) == {}
        (window_there,) = sampler.going_on(step).values()
        assert len(window_there.lengths) == 1


@settings(deadline=None)
@given(some_lengths, st.integers(1, 16), st.integers(2, 200), st.integers(1, 9), st.integers(0, 30))
def test_the_parts_of_a_batch_are_its_windows_each_once(
    lengths: list[int], window: int, size: int, count: int, step: int
) -> None:
    columns = {"a": columns_of(lengths), "b": columns_of([*lengths, 30], "b")}
    sampler = Sampler(columns, window, size, seed=3)
    whole = sampler.batch(step) or sampler.going_on(step)
    parts = [sampler.part(step, number, count) for number in range(count)]
    for task, examples in whole.items():
        mine = [part[task] for part in parts if task in part]
        windows = [
            rows.tolist() for part in mine for rows in np.split(part.rows, np.cumsum(part.lengths)[:-1])
        ]
        expected = [rows.tolist() for rows in np.split(examples.rows, np.cumsum(examples.lengths)[:-1])]
        assert sorted(windows) == sorted(expected)
        # no part has more than its share and a window
        assert max(len(part.rows) for part in mine) < len(examples.rows) / count + window
    assert sampler.size(step) == sum(len(examples.rows) for examples in whole.values())
    assert all(same(part, whole[task]) for task, part in sampler.part(step, 0, 1).items())


def test_the_odd_window_rotates_among_parts_and_tasks() -> None:
    columns = {name: columns_of([8] * 20, name) for name in "abc"}
    sampler = Sampler(columns, 8, 24, seed=0)  # one window a task
    owners = [
        {task: number for number in range(3) for task in sampler.part(step, number, 3)} for step in range(6)
    ]
    assert all(sorted(owner.values()) == [0, 1, 2] for owner in owners)
    assert {owner["a"] for owner in owners} == {0, 1, 2}
