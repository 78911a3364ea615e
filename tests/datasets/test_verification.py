"""What is wrong in a store is found and named: a byte, a name, a row, an episode that no longer replays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tutelage.datasets.store import Store
from tutelage.envs.suite import suite_from
from tutelage.envs.task_env import TaskEnv
from tutelage.errors import TutelageError
from tutelage.tests.support.damage import flip_bit


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.99])
def test_one_damaged_byte_is_found_and_the_part_named(share: float, store: Store, record: Any) -> None:
    store.append([record(seed=1)])
    part = store.append([record(seed=2, stored=True)])
    flip_bit(part, share)
    again = Store.open(store.path)
    problems = again.verify()
    assert len(problems) == 1
    assert part.name in problems[0]
    with pytest.raises(TutelageError, match=f"{part.name}.*damaged"):
        list(again.trajectories())
    assert len(again.episodes(again.sound_parts())) == 1


def test_a_part_cut_short_or_renamed_is_named(store: Store, record: Any) -> None:
    part = store.append([record()])
    whole = part.read_bytes()
    part.write_bytes(whole[:-20])
    assert part.name in Store.open(store.path).verify()[0]
    part.write_bytes(whole)
    part.rename(store.path / "part-copy.parquet")
    problems = Store.open(store.path).verify()
    assert ["missing" in problem and part.name in problem for problem in problems] == [True, False]
    assert "no part part-copy.parquet" in problems[1]
    with pytest.raises(TutelageError, match=f"{part.name}.*missing \\(2 such parts\\)"):
        len(Store.open(store.path))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"digest": bytes(16)}, "to replay as recorded"),
        ({"success": True}, "success to be what the rule"),
        ({"times_ms": np.arange(12, dtype=np.int32)[::-1].copy()}, "times that never go back"),
        ({"controllers": np.full(12, 9, np.int8)}, "controllers 0 to 2"),
    ],
)
def test_verify_names_the_episode_that_contradicts_itself(
    change: dict[str, Any], complaint: str, store: Store, record: Any
) -> None:
    good, bad = record("words", 1), replace(record("words", 2), truncated=True, **change)
    store.append([good, bad])
    problems = store.verify()
    assert problems
    assert all(bad.episode in one for one in problems)
    assert any(complaint in one for one in problems)


def test_verify_replays_only_when_asked_and_tells_its_progress(store: Store, record: Any) -> None:
    store.append([replace(record(seed=seed), digest=bytes(16)) for seed in range(3)])
    told: list[int] = []
    assert len(store.verify(told.append)) == 3
    assert sum(told) == 3
    assert store.verify(replayed=False) == []


def test_stored_observations_are_verified_against_their_digest(store: Store, record: Any) -> None:
    one = record("unrepeatable", 3)
    wrong = replace(
        one, observations={**one.observations, "bits": 1 - one.observations["bits"]}, episode="bad"
    )
    store.append([one, wrong])
    problems = store.verify()
    assert len(problems) == 1
    assert "bad" in problems[0]


def test_an_episode_that_is_there_twice_is_named(store: Store, record: Any) -> None:
    one = record()
    store.append([one])
    store.append([one])
    assert any(one.episode in problem and "once" in problem for problem in store.verify())


@pytest.mark.slow
def test_workers_find_the_same_as_one_process(tmp_path: Path, demonstrate: Callable[..., Any]) -> None:
    suite = suite_from({"suite": "real", "tasks": [{"id": "cartpole", "env": "CartPole-v1"}]})
    store = Store.create(tmp_path / "real", suite)
    environment = TaskEnv(suite["cartpole"])
    for seed in range(3):
        one, _ = demonstrate(environment, seed, suite="real")
        store.append([replace(one, digest=bytes(16)) if seed == 1 else one])
    assert store.verify(workers=2) == store.verify()
    assert len(store.verify(workers=2)) == 1
