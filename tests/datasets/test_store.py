"""The store keeps every bit, names what is damaged, loses nothing to a full disk, and forgets."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tutelage.datasets.schema import SUMMARY
from tutelage.datasets.store import Store, select
from tutelage.datasets.trajectory import KINDS, Trajectory
from tutelage.envs.suite import Suite, suite_from
from tutelage.envs.task import RECORD, TEST, SeedRange
from tutelage.errors import TutelageError

WHO = "ann-with-a-name-of-her-own"


def finite(shape: Any) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(np.float64, shape, elements=st.floats(allow_nan=True, width=64))


# an array of fixed-width text cannot hold a trailing NUL
words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)


@st.composite
def trajectories(draw: st.DrawFn) -> Trajectory:
    """Draw any trajectory of the suite, sensible or not."""
    steps, size = draw(st.integers(1, 7)), draw(st.integers(1, 3))
    ints = {np.int8: st.integers(0, 2), np.int32: st.integers(0, 2**31 - 1)}

    def column(dtype: Any) -> np.ndarray:
        return draw(hnp.arrays(dtype, steps, elements=ints[dtype]))

    seen = {
        "": draw(finite((steps + 1, 2))),
        "file": draw(hnp.arrays(np.uint8, (steps + 1, 2, 2))),
        "a/b c": np.array(draw(st.lists(words, min_size=steps + 1, max_size=steps + 1))),
    }
    return Trajectory(
        suite="toys",
        task=draw(st.sampled_from(["words", "cartpole"])),
        env="",
        seed=draw(st.integers(0, 2**40)),
        demonstrator=draw(words),
        kind=draw(st.sampled_from(KINDS)),
        actions=draw(finite((steps, size))),
        rewards=draw(finite(steps)),
        times_ms=column(np.int32),
        controllers=column(np.int8),
        frames=column(np.int32),
        terminated=draw(st.booleans()),
        truncated=draw(st.booleans()),
        success=draw(st.booleans()),
        digest=draw(st.binary(min_size=16, max_size=16)),
        observations=draw(st.none() | st.just(seen)),
        versions=draw(st.dictionaries(words, words, max_size=2)),
        started=draw(words),
        steps_per_second=draw(st.none() | st.floats(0, 1e6)),
        study=draw(words),
        consent=draw(words),
        notes=draw(words),
    )


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=st.lists(trajectories(), min_size=1, max_size=4))
def test_whatever_is_appended_comes_back_bit_for_bit(
    drawn: list[Trajectory], equal: Callable[..., bool], toys: Suite
) -> None:
    whole = [replace(one, env=toys[one.task].env) for one in drawn]
    with tempfile.TemporaryDirectory() as folder:
        Store.create(folder, toys).append(whole)
        back = list(Store.open(folder).trajectories())
    assert len(back) == len(whole)
    assert all(equal(one, other) for one, other in zip(whole, back, strict=True))


def test_a_store_is_opened_again_with_its_whole_suite(store: Store, toys: Suite) -> None:
    assert Store.open(store.path).suite == toys
    assert Store.create(store.path, toys).suite == toys
    assert len(store) == 0
    assert store.episodes().schema.equals(SUMMARY)


def test_episodes_come_in_the_order_they_were_added_over_many_parts(store: Store, record: Any) -> None:
    added = [record(seed=seed) for seed in range(6)]
    for one in added:
        store.append([one])
    assert [one.episode for one in store.trajectories()] == [one.episode for one in added]
    assert store.episodes()["episode"].to_pylist() == [one.episode for one in added]
    assert (len(store), len(store.parts())) == (6, 6)


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({"task": "words"}, {0, 1}),
        ({"kinds": ["expert"]}, {1, 2}),
        ({"demonstrators": ["bob", "eve"]}, {2, 3}),
        ({"seeds": TEST}, {3}),
        ({"seeds": RECORD, "kinds": ["expert"], "task": "cartpole"}, {2}),
        ({"seeds": SeedRange("none", 5, 5)}, set()),
    ],
)
def test_filters_choose_episodes(
    filters: dict[str, Any], wanted: set[int], store: Store, record: Any
) -> None:
    added = [
        record("words", 1),
        record("words", 2, kind="expert"),
        record("cartpole", 3, kind="expert", demonstrator="bob"),
        record("cartpole", TEST.start, demonstrator="eve"),
    ]
    store.append(added)
    assert {one.episode for one in store.trajectories(**filters)} == {added[at].episode for at in wanted}


def test_any_parquet_reader_sees_plain_columns(store: Store, record: Any) -> None:
    one = record(seed=3)
    table = pq.read_table(store.append([one]))
    row = table.to_pylist()[0]
    assert row["actions"] == one.actions.ravel().tolist()
    assert row["times_ms"] == one.times_ms.tolist()
    assert (row["action_size"], row["steps"], row["return"]) == (2, len(one), one.total)
    assert row["observations"] is None


@pytest.mark.slow
def test_ten_thousand_steps_take_few_bytes(store: Store, record: Any) -> None:
    episodes = [record("words", seed, steps=40) for seed in range(250)]
    part = store.append([replace(one, rewards=one.rewards.round()) for one in episodes])
    assert part.stat().st_size / (250 * 40) < 12


def test_forget_removes_a_person_from_every_part_and_proves_it(store: Store, record: Any) -> None:
    store.append([record(seed=1, demonstrator=WHO), record(seed=2, demonstrator="bob")])
    store.append([record(seed=3, demonstrator=WHO)])
    kept = store.append([record(seed=4, demonstrator="bob", stored=True)])
    wanted = [one.episode for one in store.trajectories(demonstrators=["bob"])]
    (store.path / "columns").mkdir()
    (store.path / "columns" / "0.npy").write_bytes(WHO.encode())
    (store.path / ".part-half.tmp").write_bytes(WHO.encode())
    assert store.forget(WHO) == 2
    assert [one.episode for one in Store.open(store.path).trajectories()] == wanted
    assert kept in store.parts()
    assert not (store.path / "columns").exists()
    assert not list(store.path.glob(".*.tmp"))
    assert not any(WHO.encode() in path.read_bytes() for path in store.path.iterdir())
    assert store.verify() == []
    assert store.forget(WHO) == 0


def test_a_forgetting_that_was_interrupted_shows_each_episode_once(store: Store, record: Any) -> None:
    part = store.append([record(seed=1, demonstrator="ann"), record(seed=2, demonstrator="bob")])
    old = part.read_bytes()
    store.forget("ann")
    part.write_bytes(old)  # the new revision is in the manifest, the old one not yet removed
    again = Store.open(store.path)
    with pytest.raises(TutelageError, match=f"no part {part.name}.*tutelage repair"):
        list(again.trajectories())
    assert again.forget("ann") == 0
    assert not part.exists()
    assert [trajectory.demonstrator for trajectory in again.trajectories()] == ["bob"]


def test_a_full_disk_is_one_clear_line_and_loses_nothing(store: Store) -> None:
    script = """
        import resource, sys
        import numpy as np
        from tutelage.datasets.store import Store
        from tutelage.datasets.trajectory import Trajectory
        from tutelage.errors import TutelageError
        store = Store.open(sys.argv[1])
        def episode(steps):
            one = np.zeros(steps, np.int32)
            return Trajectory(
                suite="toys", task="cartpole", env="CartPole-v1", seed=1, demonstrator="ann", kind="person",
                actions=np.random.default_rng(0).random((steps, 1)), rewards=one.astype(float), times_ms=one,
                controllers=one.astype(np.int8), frames=one, terminated=True, truncated=False, success=False,
                digest=bytes(16))
        store.append([episode(5)])
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
        try:
            store.append([episode(50_000)])
        except TutelageError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(store.path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "the disk is full" in done.stdout
    assert "nothing that was there is lost" in done.stdout
    assert done.stdout.count("\n") == 1
    assert len(Store.open(store.path)) == 1
    assert sorted(path.suffix for path in store.path.iterdir()) == ["", ".json", ".parquet", ".yaml"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_said(store: Store, record: Any) -> None:
    store.path.chmod(0o500)
    try:
        with pytest.raises(TutelageError, match="expected to write to"):
            store.append([record()])
    finally:
        store.path.chmod(0o700)


def test_several_writers_append_at_once(store: Store, record: Any) -> None:
    episodes = [record(seed=seed) for seed in range(16)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: Store.open(store.path).append([one]), episodes))
    assert {one.episode for one in store.trajectories()} == {one.episode for one in episodes}


def test_readers_beside_one_who_removes_see_a_store_as_it_was_at_one_moment(
    store: Store, record: Any
) -> None:
    for seed in range(8):
        store.append([replace(record(seed=seed), demonstrator=f"person-{number}") for number in range(2)])
    before = {*store.episodes()["episode"].to_pylist()}
    is_over = threading.Event()

    def look() -> list[int]:
        counts = []
        while not is_over.is_set():
            counts.append(len(Store.open(store.path)))
            assert {*Store.open(store.path).episodes()["episode"].to_pylist()} <= before
            assert len(Store.open(store.path).part_hashes()) <= 8
        return counts

    with ThreadPoolExecutor(3) as pool:
        looks = [pool.submit(look) for _ in range(3)]
        try:
            for episode in sorted(before):
                assert Store.open(store.path).take_back([episode]) == 1
        finally:
            is_over.set()
    for counts in (look.result() for look in looks):
        assert counts
        assert counts == sorted(counts, reverse=True)


def test_a_part_that_is_removed_while_it_is_read_is_said(store: Store, record: Any) -> None:
    for seed in range(3):
        store.append([record(seed=seed)])
    reading = store.trajectories()
    assert next(reading).seed == 0
    removed = store.parts()[1].name
    Store.open(store.path).take_back(Store.open(store.path).episode_ids(removed))
    with pytest.raises(
        TutelageError, match=f"{removed}: it was replaced or removed while it was read; try again"
    ):
        next(reading)


def test_part_hashes_change_with_content_only(store: Store, record: Any) -> None:
    part = store.append([record()])
    hashes = store.part_hashes()
    assert list(hashes) == [part.name]
    assert hashes[part.name][:16] in part.name
    assert Store.open(store.path).part_hashes() == hashes


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"suite": "others"}, "got 'toys'; choose another folder"),
        ({"tasks": [{"id": "words", "env": "CartPole-v1"}]}, "task 'words' differs"),
        ({"evaluation": {"episodes": 3}}, "another evaluation"),
    ],
)
def test_a_store_of_another_suite_is_refused(change: Any, complaint: str, store: Store) -> None:
    with pytest.raises(TutelageError, match=complaint):
        Store.create(store.path, suite_from({**store.suite.source, **change}))


def test_a_missing_or_foreign_folder_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(TutelageError, match=r"found no dataset\.yaml"):
        Store.open(tmp_path / "nowhere")
    (tmp_path / "dataset.yaml").write_text("schema: 1\nsuite: {}\n")
    with pytest.raises(TutelageError, match=r"got 1: an older store.*upgrade it with `tutelage repair"):
        Store.open(tmp_path)
    for text in ("schema: 99\nsuite: {}\n", "{"):
        (tmp_path / "dataset.yaml").write_text(text)
        with pytest.raises(TutelageError, match=r"expected .*of schema 2 as it was written"):
            Store.open(tmp_path)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"suite": "other"}, "expected episodes of suite 'toys'"),
        ({"task": "wrods"}, "did you mean 'words'"),
        ({"env": "CartPole-v0"}, "expected task 'words' to be toys/Words-v0"),
        ({"kwargs": {"length": 3}}, "got toys/Words-v0 with"),
    ],
)
def test_an_episode_of_another_task_is_refused(
    change: dict[str, Any], complaint: str, store: Store, record: Any
) -> None:
    with pytest.raises(TutelageError, match=complaint):
        store.append([replace(record(), **change)])
    with pytest.raises(TutelageError, match="at least one"):
        store.append([])
    assert len(store) == 0


def test_of_no_rows_none_are_chosen() -> None:
    assert select(SUMMARY.empty_table(), ["words"], ["person"]) == []
