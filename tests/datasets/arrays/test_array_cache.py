"""Training columns on disk are read only when this person made them; nothing outside a store is touched."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tutelage.datasets.arrays.sampler import TaskArrays
from tutelage.datasets.arrays.task_arrays import load_columns
from tutelage.datasets.store import Store
from tutelage.files.state_folder import CACHE_VARIABLE, STATE_VARIABLE, cache_folder


@pytest.fixture
def filled(store: Store, record: Any) -> Store:
    store.append([record("cartpole", 1), record("cartpole", 2), record("words", 3)])
    return store


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))


def loaded(*stores: Store) -> tuple[dict[str, TaskArrays], int]:
    """Load the columns, and count the episodes that were replayed for it."""
    told: list[int] = []
    opened = [Store.open(store.path) for store in stores]
    return load_columns(opened, cache=True, progress=told.append), sum(told)


def same(first: dict[str, TaskArrays], second: dict[str, TaskArrays]) -> bool:
    return list(first) == list(second) and all(
        np.array_equal(first[task].actions, second[task].actions)
        and np.array_equal(first[task].controllers, second[task].controllers)
        and all(
            np.array_equal(first[task].observations[path], second[task].observations[path])
            for path in first[task].observations
        )
        for task in first
    )


def test_the_second_load_replays_nothing(filled: Store) -> None:
    first, replayed = loaded(filled)
    again, replayed_again = loaded(filled)
    assert (replayed, replayed_again) == (3, 0)
    assert same(first, again)
    assert same(again, load_columns([filled]))


def files_of(filled: Store) -> list[Path]:
    return sorted(path for path in (filled.path / "columns").rglob("*") if path.is_file())


def zero_actions(filled: Store) -> None:
    for file in files_of(filled):
        if file.suffix == ".npy" and (array := np.load(file)).dtype == np.float64:
            np.save(file, np.zeros_like(array))


def swap_tasks(filled: Store) -> None:
    (folder,) = (filled.path / "columns").iterdir()
    (folder / "0").rename(folder / "2")
    (folder / "1").rename(folder / "0")
    (folder / "2").rename(folder / "1")


def with_another_key(filled: Store) -> None:
    (Path(os.environ[STATE_VARIABLE]) / "state.key").unlink()


@pytest.mark.parametrize(
    "spoil",
    [
        zero_actions,
        swap_tasks,
        with_another_key,
        lambda filled: files_of(filled)[0].unlink(),
        lambda filled: next(path for path in files_of(filled) if path.name == "proof").write_text("0" * 64),
        lambda filled: next(path for path in files_of(filled) if path.name == "proof").unlink(),
        lambda filled: [path.write_bytes(path.read_bytes()[:50]) for path in files_of(filled)],
    ],
    ids=["zeroed actions", "swapped", "another key", "deleted", "forged proof", "no proof", "cut short"],
)
def test_columns_that_are_not_as_they_were_made_are_made_anew(
    filled: Store, spoil: Callable[[Store], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    first = load_columns([filled])  # not mapped to the files that are spoiled
    loaded(filled)
    spoil(filled)
    again, replayed = loaded(filled)
    assert replayed == 3
    assert same(first, again)
    assert loaded(filled)[1] == 0


@pytest.mark.slow
def test_every_flip_in_a_cache_is_found(filled: Store) -> None:
    first = load_columns([filled])
    loaded(filled)
    generator = np.random.default_rng(0)
    for file in files_of(filled):
        whole = file.read_bytes() or b"\0"  # texts may all be empty: then a byte is added
        for at in generator.integers(0, len(whole), 6):
            damaged = bytearray(whole)
            damaged[at] ^= 1 << int(generator.integers(8))
            file.write_bytes(damaged)
            again, replayed = loaded(filled)
            assert replayed == 3, (file.name, at)
            assert same(first, again)


def test_a_copied_cache_says_nothing_of_other_parts(filled: Store, record: Any) -> None:
    loaded(filled)
    (old,) = (filled.path / "columns").iterdir()
    filled.append([record("cartpole", 9)])
    columns, _ = loaded(filled)
    new = next(path for path in (filled.path / "columns").iterdir() if path != old)
    shutil.rmtree(new)
    shutil.copytree(old, new)
    assert same(loaded(filled)[0], columns)


def test_forgetting_reaches_columns_of_several_stores(filled: Store, tmp_path: Path, record: Any) -> None:
    more = Store.create(tmp_path / "more", filled.suite)
    more.append([record("cartpole", 9, demonstrator="eve"), record("cartpole", 10)])
    loaded(filled)
    loaded(filled, more)
    kept = cache_folder() / "columns"
    assert (len(list(kept.iterdir())), len(list((filled.path / "columns").iterdir()))) == (1, 1)
    more.forget("eve")
    assert (len(list(kept.iterdir())), len(list((filled.path / "columns").iterdir()))) == (0, 1)
    assert loaded(filled, more)[0]["cartpole"].demonstrator == ["ann", "ann", "ann"]


def test_columns_of_a_store_that_was_deleted_go_with_the_next_forgetting(
    filled: Store, tmp_path: Path
) -> None:
    other = Store.create(tmp_path / "other", filled.suite)
    shutil.copytree(filled.path, tmp_path / "copy")
    loaded(Store.open(tmp_path / "copy"), other)
    shutil.rmtree(tmp_path / "copy")
    other.forget("nobody")
    assert list((cache_folder() / "columns").iterdir()) == []


def test_a_store_never_names_what_is_removed_or_written_outside(filled: Store, tmp_path: Path) -> None:
    """A note and links that came with a store lead to folders of the person's own."""
    precious = tmp_path / "precious"
    (precious / "0").mkdir(parents=True)
    (precious / "0" / "columns.json").write_text("{}")
    (filled.path / "columns").mkdir()
    (filled.path / "columns" / "precious.elsewhere").write_text(str(precious))
    filled.forget("nobody")
    assert (precious / "0" / "columns.json").exists()
    (filled.path / "columns").symlink_to(precious)
    assert loaded(filled)[1] == 3
    assert [path.name for path in precious.iterdir()] == ["0"]
    filled.forget("nobody")
    assert (precious / "0" / "columns.json").exists()
    assert not (filled.path / "columns").exists()


def test_a_linked_cache_is_replaced_and_what_it_leads_to_stays(filled: Store, tmp_path: Path) -> None:
    first, _ = loaded(filled)
    (folder,) = (filled.path / "columns").iterdir()
    folder.rename(tmp_path / "moved")
    folder.symlink_to(tmp_path / "moved")
    again, replayed = loaded(filled)
    assert replayed == 3
    assert same(first, again)
    assert not folder.is_symlink()
    assert (tmp_path / "moved" / "proof").exists()


def test_without_a_folder_of_their_own_nothing_is_kept(
    filled: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "file"))
    assert [loaded(filled)[1] for _ in range(2)] == [3, 3]
    assert not (filled.path / "columns").exists()


def test_what_is_kept_names_its_sources_in_the_persons_folder_only(filled: Store, tmp_path: Path) -> None:
    other = Store.create(tmp_path / "other", filled.suite)
    loaded(filled, other)
    (folder,) = (cache_folder() / "columns").iterdir()
    assert json.loads((folder / "sources.json").read_text()) == [str(filled.path), str(other.path)]
