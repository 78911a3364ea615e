"""A store is what was written: every reader names what is flipped, missing, foreign or doubled."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tutelage.agents.evaluation.people import people_on
from tutelage.agents.evaluation.report.sections import demonstrations
from tutelage.cli.main import app
from tutelage.datasets.manifest import Manifest, differences
from tutelage.datasets.store import Store
from tutelage.datasets.trajectory import Trajectory
from tutelage.envs.suite import Suite, suite_from
from tutelage.errors import TutelageError
from tutelage.tests.support.damage import flip_bit
from tutelage.tests.support.fuzz_seals import seal
from typer.testing import CliRunner

Recorder = Callable[..., Trajectory]


@pytest.fixture
def poles(tmp_path: Path, demonstrate: Any) -> Store:
    """Give a store of one real task, with three parts."""
    from tutelage.envs.task_env import TaskEnv

    suite = suite_from({"suite": "real", "tasks": [{"id": "pole", "env": "CartPole-v1"}]})
    store = Store.create(tmp_path / "poles", suite)
    environment = TaskEnv(suite["pole"])
    for seed in range(3):
        store.append([demonstrate(environment, seed, suite="real")[0]])
    return store


def read(path: Path) -> list[str]:
    return [trajectory.episode for trajectory in Store.open(path).trajectories()]


def remove(store: Store) -> str:
    part = store.parts()[1]
    part.unlink()
    return f"part {part.name} .*it is missing"


def copy(store: Store) -> str:
    part = store.parts()[1]
    other = part.with_name(part.name.replace("part-2", "part-3", 1))
    shutil.copy(part, other)
    return f"no part {other.name} .*foreign"


def rename(store: Store) -> str:
    part = store.parts()[1]
    part.rename(part.with_name(part.name.replace("part-2", "part-3", 1)))
    return f"part {part.name} .*missing"


def swap(store: Store) -> str:
    first, second, _ = store.parts()
    data = first.read_bytes(), second.read_bytes()
    first.write_bytes(data[1])
    second.write_bytes(data[0])
    return f"part ({first.name}|{second.name}) .*damaged"


def double(store: Store) -> str:
    store.append(list(store.trajectories())[:1])
    return "episode .* once"


def flip(store: Store) -> str:
    part = store.parts()[1]
    flip_bit(part, bit=2)
    return f"part {part.name} .*damaged"


def cut(store: Store) -> str:
    part = store.parts()[1]
    part.write_bytes(part.read_bytes()[:-20])
    return f"part {part.name} .*damaged"


def lose_manifest(store: Store) -> str:
    (store.path / "manifest.json").unlink()
    return "manifest.json, found none"


def change_suite(store: Store) -> str:
    document = store.path / "dataset.yaml"
    document.write_text(document.read_text().replace("CartPole-v1", "CartPole-v0"))
    return "dataset.yaml .*damaged"


def swap_suite(store: Store) -> str:
    other = Store.create(store.path.parent / "other", suite_from({**store.suite.source, "suite": "other"}))
    shutil.copy(other.path / "dataset.yaml", store.path)
    return "dataset.yaml to be the one that manifest.json was written with"


def verb(*words: str) -> Callable[[Store], None]:
    def run(store: Store) -> None:
        given = [word.replace("STORE", str(store.path)) for word in words]
        result = CliRunner().invoke(app, given)
        if result.exception is not None:
            raise result.exception
        assert result.exit_code == 0, result.output

    return run


VERBS: dict[str, Callable[[Store], object]] = {
    "inspect": verb("inspect", "STORE", "--no-verify"),
    "train": verb("train", "STORE", "-o", "STORE-run", "--steps", "1"),
    "quality": verb("quality", "STORE", "--no-experts"),
    "export": verb("export", "STORE", "--to", "minari", "-o", "STORE-minari"),
    "people": lambda store: people_on([Store.open(store.path)], store.suite, [0], required=False),
    "report": lambda store: demonstrations([Store.open(store.path)], store.suite),
    "again": lambda store: list(Store.open(store.path).trajectories()),
}
HARMS = [remove, copy, rename, swap, double, flip, cut, lose_manifest, change_suite, swap_suite]


@pytest.mark.slow
@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
def test_every_verb_that_reads_a_store_names_what_is_wrong(
    harm: Callable[[Store], str], poles: Store
) -> None:
    complaint = harm(poles)
    for run in VERBS.values():
        with pytest.raises(TutelageError, match=complaint) as caught:
            run(poles)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "harm",
    [remove, copy, rename, cut, lose_manifest, change_suite, swap_suite],
    ids=lambda harm: harm.__name__,
)
def test_what_appends_names_it_too_and_adds_nothing(
    harm: Callable[[Store], str], poles: Store, demonstrate: Any
) -> None:
    (new,) = (trajectory for trajectory in list(poles.trajectories())[:1])
    complaint = harm(poles)
    before = sorted(path.name for path in poles.path.iterdir())
    with pytest.raises(TutelageError, match=complaint):
        Store.create(poles.path, poles.suite)
    if harm not in (change_suite, swap_suite):  # which a store that is open has read already
        with pytest.raises(TutelageError, match=complaint):
            poles.append([new])
    assert sorted(path.name for path in poles.path.iterdir()) == before


def test_a_sound_store_passes_every_verb(poles: Store) -> None:
    for name, run in VERBS.items():
        if name not in ("export", "train"):  # slow, and tested where they are at home
            run(poles)


def test_every_flip_in_every_file_of_a_store_is_found(store: Store, record: Recorder) -> None:
    for seed in range(2):
        store.append([record("words", seed), record("unrepeatable", seed)])
    generator = np.random.default_rng(0)
    for file in [path for path in store.path.iterdir() if path.name != ".lock"]:
        whole = file.read_bytes()
        for at in {0, len(whole) - 1, *generator.integers(0, len(whole), 60).tolist()}:
            damaged = bytearray(whole)
            damaged[at] ^= 1 << int(generator.integers(8))
            file.write_bytes(damaged)
            with pytest.raises(TutelageError, match="expected"):
                read(store.path)
        file.write_bytes(whole)
    assert len(read(store.path)) == 4


def test_whatever_is_in_the_locks_file_is_harmless(store: Store, record: Recorder) -> None:
    store.append([record(seed=1)])
    (store.path / ".lock").write_bytes(b"anything")
    store.append([record(seed=2)])
    (store.path / ".lock").unlink()
    store.append([record(seed=3)])
    assert len(read(store.path)) == 3


def test_a_lock_that_leads_outside_makes_no_file_there(
    store: Store, record: Recorder, tmp_path: Path
) -> None:
    (store.path / ".lock").unlink(missing_ok=True)
    (store.path / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TutelageError, match="expected to write"):
        store.append([record()])
    assert not (tmp_path / "elsewhere").exists()
    assert read(store.path) == []


APPENDER = """
import sys
from tutelage.tests.support.random_episodes import random_episode
from tutelage.datasets.store import Store
from tutelage.envs.task_env import TaskEnv
store = Store.open(sys.argv[1])
environment = TaskEnv(store.suite["pole"])
for seed in range(int(sys.argv[2]), int(sys.argv[2]) + 12):
    print(store.append([random_episode(environment, seed, suite="real")[0]]).name)
"""


@pytest.mark.slow
def test_processes_that_append_at_once_lose_nothing_and_readers_never_see_half(poles: Store) -> None:
    command = [sys.executable, "-c", APPENDER, str(poles.path)]
    running = [
        subprocess.Popen([*command, str(first)], stdout=subprocess.PIPE, text=True)
        for first in (100, 200, 300)
    ]
    counts = []
    while any(process.poll() is None for process in running):
        counts.append(len(Store.open(poles.path)))
    added = [name for process in running for name in process.communicate()[0].split()]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len(added) == 36
    assert set(added) <= {part.name for part in poles.parts()}
    assert counts == sorted(counts)
    assert len(Store.open(poles.path)) == 39
    assert poles.verify() == []


def test_a_part_that_a_crash_left_is_taken_in_by_the_next_append(store: Store, record: Recorder) -> None:
    store.append([record(seed=1)])
    manifest = (store.path / "manifest.json").read_bytes()
    part = store.append([record(seed=2)])
    (store.path / "manifest.json").write_bytes(manifest)  # the crash came before this was written
    with pytest.raises(TutelageError, match=f"no part {part.name}"):
        read(store.path)
    Store.open(store.path).append([record(seed=3)])
    assert [trajectory.seed for trajectory in Store.open(store.path).trajectories()] == [1, 2, 3]


def test_an_append_that_is_tried_again_after_its_part_was_left_adds_nothing_twice(
    store: Store, record: Recorder
) -> None:
    first, second = record(seed=1), record(seed=2)
    manifest = (store.path / "manifest.json").read_bytes()
    part = store.append([first])
    (store.path / "manifest.json").write_bytes(manifest)
    again = Store.open(store.path)
    assert again.append([first]) == part
    (store.path / "manifest.json").write_bytes(manifest)
    again.append([first, second])
    assert read(store.path) == [first.episode, second.episode]


def test_a_removed_part_that_comes_back_is_not_taken_in(store: Store, record: Recorder) -> None:
    part = store.append([record(seed=1, demonstrator="eve")])
    store.append([record(seed=2)])
    data = part.read_bytes()
    store.forget("eve")
    part.write_bytes(data)
    with pytest.raises(TutelageError, match=f"no part {part.name}"):
        read(store.path)
    Store.create(store.path, store.suite)
    assert not part.exists()
    assert len(read(store.path)) == 1


def test_a_store_without_its_suite_is_not_begun_anew(store: Store, record: Recorder, toys: Suite) -> None:
    store.append([record()])
    (store.path / "dataset.yaml").unlink()
    with pytest.raises(TutelageError, match="beside the parts that are there"):
        Store.create(store.path, toys)
    (store.path / "manifest.json").unlink()
    with pytest.raises(TutelageError, match="beside the parts that are there"):
        Store.create(store.path, toys)


def test_a_store_whose_beginning_was_interrupted_is_begun_again(tmp_path: Path, toys: Suite) -> None:
    Store.create(tmp_path / "store", toys)
    (tmp_path / "store" / "dataset.yaml").unlink()
    assert len(Store.create(tmp_path / "store", toys)) == 0


def test_a_manifest_comes_back_as_it_was_written(store: Store, record: Recorder) -> None:
    for seed in range(3):
        store.append([record(seed=seed)])
    store.take_back([next(store.trajectories()).episode])
    manifest = Manifest.read(store.path)
    assert Manifest.decode(manifest.encode(), store.path) == manifest
    assert len(manifest.removed) == 1
    assert differences(store.path, manifest) == []
    assert {name: entry.sha256 for name, entry in manifest.parts.items()} == store.part_hashes()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda document, entry: entry.update(episodes="3"),
        lambda document, entry: entry.update(episodes=True),
        lambda document, entry: entry.update(bytes=-1),
        lambda document, entry: entry.update(bytes=2**63),
        lambda document, entry: entry.update(sha256=None),
        lambda document, entry: document.update(document="suite: \ud800"),
    ],
    ids=["text", "flag", "negative", "huge", "no hash", "half a letter"],
)
def test_a_sealed_manifest_of_other_types_is_refused(
    store: Store, record: Recorder, spoil: Callable[[Any, Any], None]
) -> None:
    store.append([record()])
    path = store.path / "manifest.json"
    document = json.loads(path.read_text("utf-8"))
    spoil(document, next(iter(document["parts"].values())))
    path.write_text(json.dumps(document), "utf-8")
    seal(path)
    with pytest.raises(TutelageError, match="expected a manifest of version"):
        Manifest.read(store.path)


def test_a_sealed_suite_that_is_no_text_is_refused(store: Store) -> None:
    path = store.path / "dataset.yaml"
    path.write_bytes(b"schema: 2 # \xff\n" + path.read_bytes())
    seal(path)
    with pytest.raises(TutelageError, match=r"expected UTF-8 text in .*dataset\.yaml"):
        Store.open(store.path)
